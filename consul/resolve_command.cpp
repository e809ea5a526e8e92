#include "consul/resolve_command.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace rcb::consul {
namespace {

constexpr std::string_view kAddressMark = "{}";

/// Replaces every `mark` in `text`, never within what was put in. True when there was one.
bool Replace(std::string& text, std::string_view mark, const std::string& value) {
  bool is_there = false;
  for (std::size_t at = 0; (at = text.find(mark, at)) != std::string::npos; at += value.size()) {
    text.replace(at, mark.size(), value);
    is_there = true;
  }
  return is_there;
}

std::string Join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// argv as exec() takes it; valid as long as `arguments`.
std::vector<char*> Pointers(const std::vector<std::string>& arguments) {
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

/// redis-cli, valkey-benchmark and their kin take options only in front of what they are to do.
bool IsRedisTool(std::string_view program) {
  const std::string_view name = program.substr(program.rfind('/') + 1);  // npos + 1 is 0.
  return name.starts_with("redis-") || name.starts_with("valkey-");
}

CommandFailure FailureOf(const std::string& program, int error) {
  return {error == ENOENT ? 127 : 126, "cannot run " + program + ": " + std::strerror(error)};
}

}  // namespace

std::vector<std::string> FillIn(const std::vector<std::string>& command, const ServiceAddress& address, Format format,
                                bool tls) {
  const std::vector<std::string> words = Words(address, format, tls);
  std::vector<std::string> arguments;
  bool is_there = false;
  for (std::string argument : command) {
    if (argument == kAddressMark) {
      arguments.insert(arguments.end(), words.begin(), words.end());
      is_there = true;
      continue;
    }
    is_there |= Replace(argument, kAddressMark, Join(words));
    is_there |= Replace(argument, "{host}", address.host);
    is_there |= Replace(argument, "{port}", std::to_string(address.port));
    arguments.push_back(std::move(argument));
  }
  if (!is_there) {
    arguments.insert(IsRedisTool(command.front()) ? arguments.begin() + 1 : arguments.end(), words.begin(),
                     words.end());
  }
  return arguments;
}

void SetEnvironment(const ServiceAddress& address, bool tls) {
  setenv("REDIS_HOST", address.host.c_str(), 1);
  setenv("REDIS_PORT", std::to_string(address.port).c_str(), 1);
  setenv("REDIS_URL", Url(address, tls).c_str(), 1);
}

CommandFailure Become(const std::vector<std::string>& arguments) {
  const std::vector<char*> argv = Pointers(arguments);
  execvp(argv[0], argv.data());
  return FailureOf(arguments.front(), errno);
}

tl::expected<int, CommandFailure> RunToEnd(const std::vector<std::string>& arguments) {
  const std::vector<char*> argv = Pointers(arguments);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ);
  if (error != 0) return tl::unexpected(FailureOf(arguments.front(), error));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace rcb::consul
