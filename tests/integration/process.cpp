#include "tests/integration/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "tests/integration/test_folder.h"
#include "tests/integration/wait_until.h"

namespace rcb::integration {
namespace {

/// In the child, between fork and exec. Returns only when that failed, with errno set.
void Become(const Process::Options& options, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // The parent died before the line above.
  const int output = open(options.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (output < 0 || input < 0) return;
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
  std::vector<std::string> command;
  // It becomes the command and does not fork, so that the process is the command's own.
  if (!options.network_namespace.empty()) command = {"ip", "netns", "exec", options.network_namespace};
  command.insert(command.end(), options.command.begin(), options.command.end());
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
}

}  // namespace

Process::Process(const Options& options) {
  // The child's end closes at exec; a byte in it is the errno of a failure before that.
  std::array<int, 2> failure{};
  if (pipe2(failure.data(), O_CLOEXEC) != 0) throw std::runtime_error("cannot create a pipe");
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    Become(options, parent);
    const int error = errno;
    _exit(write(failure[1], &error, sizeof(error)) == sizeof(error) ? 127 : 126);
  }
  close(failure[1]);
  int error = 0;
  const bool failed = pid_ > 0 && read(failure[0], &error, sizeof(error)) == sizeof(error);
  close(failure[0]);
  if (pid_ < 0 || failed) {
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
    throw std::runtime_error("cannot start " + options.command[0] + ": " + std::strerror(pid_ < 0 ? errno : error) +
                             (options.command[0].find('/') == std::string::npos ? " (ctest sets PATH)" : ""));
  }
}

Process::~Process() { Kill(); }

bool Process::IsRunning() {
  if (!status_) Reap(WNOHANG);
  return !status_;
}

void Process::Signal(int signal) const {
  if (!status_) kill(pid_, signal);
}

std::optional<int> Process::WaitForExit(std::chrono::milliseconds deadline) {
  WaitUntil([this] { return !IsRunning(); }, deadline);
  return status_;
}

void Process::Kill() {
  if (status_) return;
  kill(-pid_, SIGKILL);
  kill(pid_, SIGKILL);  // The group does not exist yet when the child has not come to setpgid().
  Reap(0);
}

void Process::Reap(int options) {
  int status = 0;
  pid_t reaped = 0;
  do {
    reaped = waitpid(pid_, &status, options);
  } while (reaped < 0 && errno == EINTR);
  if (reaped == pid_) status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::chrono::milliseconds Process::CpuTime() const {
  // proc(5): fields 14 and 15 are utime and stime in clock ticks; field 2 ends with the last ')'.
  const std::string stat = ReadFile("/proc/" + std::to_string(pid_) + "/stat");
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  long user = 0;
  long system = 0;
  fields >> user >> system;
  return std::chrono::milliseconds((user + system) * 1000 / sysconf(_SC_CLK_TCK));
}

long Process::ResidentKib() const {
  long total = 0;
  long resident = 0;
  std::istringstream(ReadFile("/proc/" + std::to_string(pid_) + "/statm")) >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE) / 1024;
}

}  // namespace rcb::integration
