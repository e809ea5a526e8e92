#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace rcb::agent {

/// Tells the service manager how the agent is, by the protocol of sd_notify(3). Does nothing where NOTIFY_SOCKET is not
/// set.
class SystemdNotify {
 public:
  SystemdNotify();  ///< Reads NOTIFY_SOCKET and WATCHDOG_USEC and removes them from the environment.
  ~SystemdNotify();
  SystemdNotify(const SystemdNotify&) = delete;
  SystemdNotify& operator=(const SystemdNotify&) = delete;

  void Ready();
  void Reloading();
  void Stopping();
  void Status(const std::string& text);  ///< One line for `systemctl status`. An unchanged one is not sent again.
  void KickWatchdog();

  /// How often to kick: half of WATCHDOG_USEC, as sd_watchdog_enabled(3) advises. Absent: no watchdog.
  std::optional<std::chrono::milliseconds> watchdog_interval() const { return watchdog_interval_; }

 private:
  void Send(const std::string& message) const;

  int socket_ = -1;
  std::string path_;
  std::string status_;
  std::optional<std::chrono::milliseconds> watchdog_interval_;
};

}  // namespace rcb::agent
