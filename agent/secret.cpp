#include "agent/secret.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace rcb::agent {
namespace {

using redis::StampOf;

/// Longer tokens exist nowhere: Consul's are 36 bytes, those of a Kubernetes service account 1 KiB.
constexpr std::size_t kMaxSecretBytes = 4096;

tl::expected<std::string, std::string> ReadFirstLine(const std::string& path) {
  const auto fail = [&path](int error) {
    return tl::unexpected("cannot read " + path + ": " + std::generic_category().message(error));
  };
  // A named pipe that nobody writes to must not stop the loop.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return fail(errno);
  std::string text;
  std::array<char, kMaxSecretBytes> block{};
  ssize_t length = 0;
  while (text.size() <= kMaxSecretBytes && (length = read(file, block.data(), block.size())) > 0) {
    text.append(block.data(), static_cast<std::size_t>(length));
  }
  const int error = errno;
  close(file);
  if (length < 0) return fail(error);
  std::string line = text.substr(0, text.find_first_of("\r\n"));
  if (line.empty()) return tl::unexpected(path + " holds no secret: its first line is empty");
  if (line.size() > kMaxSecretBytes) return tl::unexpected(path + " holds no secret: its first line is over 4 KiB");
  return line;
}

}  // namespace

tl::expected<Secret, std::string> Secret::FromFile(const std::string& path) {
  Secret secret;
  secret.path_ = path;
  secret.stamp_ = StampOf(path);
  auto line = ReadFirstLine(path);
  if (!line) return tl::unexpected(line.error());
  secret.value_ = *std::move(line);
  return secret;
}

const std::string& Secret::Current() {
  if (path_.empty()) return value_;
  const redis::FileStamp stamp = StampOf(path_);
  if (stamp == stamp_) return value_;
  stamp_ = stamp;
  if (auto line = ReadFirstLine(path_)) value_ = *std::move(line);
  return value_;
}

}  // namespace rcb::agent
