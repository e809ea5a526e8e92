#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rcb::integration {

/// A child process in a process group of its own. It never outlives the test: the destructor kills and reaps it, and
/// the kernel kills it when the test itself dies.
class Process {
 public:
  struct Options {
    std::vector<std::string> command;                  ///< The program is looked up in PATH.
    std::filesystem::path output;                      ///< Standard output and error are appended to it.
    std::map<std::string, std::string> environment{};  ///< Added to this process's own.
    std::string network_namespace{};                   ///< It runs in this one (`ip netns`); empty: in this process's.
  };

  /// Throws std::runtime_error that names the program when it cannot be started.
  explicit Process(const Options& options);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool IsRunning();
  void Signal(int signal) const;  ///< To the process alone. Nothing once it has ended.

  /// The exit status (128 + N when signal N ended it); none when it still runs after `deadline`.
  std::optional<int> WaitForExit(std::chrono::milliseconds deadline);

  void Kill();  ///< SIGKILL to its group; returns when it is reaped.

  /// User and system time spent so far.
  std::chrono::milliseconds CpuTime() const;
  long ResidentKib() const;

 private:
  void Reap(int options);

  pid_t pid_ = -1;
  std::optional<int> status_;
};

}  // namespace rcb::integration
