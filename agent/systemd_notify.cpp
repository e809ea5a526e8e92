#include "agent/systemd_notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace rcb::agent {
namespace {

std::string TakeVariable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  unsetenv(name);
  return text;
}

}  // namespace

SystemdNotify::SystemdNotify() : path_(TakeVariable("NOTIFY_SOCKET")) {
  const std::string microseconds = TakeVariable("WATCHDOG_USEC");
  if (path_.empty() || path_.size() >= sizeof(sockaddr_un::sun_path)) return;
  socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  std::int64_t value = 0;
  const auto parsed = std::from_chars(microseconds.data(), microseconds.data() + microseconds.size(), value);
  if (parsed.ec == std::errc{} && value >= 2000) watchdog_interval_ = std::chrono::milliseconds(value / 2000);
}

SystemdNotify::~SystemdNotify() {
  if (socket_ >= 0) close(socket_);
}

void SystemdNotify::Ready() { Send("READY=1"); }

void SystemdNotify::Reloading() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  Send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.tv_sec * 1000000 + now.tv_nsec / 1000));
}

void SystemdNotify::Stopping() { Send("STOPPING=1"); }

void SystemdNotify::Status(const std::string& text) {
  if (text == status_) return;
  status_ = text;
  Send("STATUS=" + text);
}

void SystemdNotify::KickWatchdog() { Send("WATCHDOG=1"); }

void SystemdNotify::Send(const std::string& message) const {
  if (socket_ < 0) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';  // The abstract name space, sd_notify(3).
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size());
  // The manager's word is a courtesy: a lost datagram changes nothing here.
  static_cast<void>(sendto(socket_, message.data(), message.size(), MSG_NOSIGNAL,
                           reinterpret_cast<const sockaddr*>(&address), length));
}

}  // namespace rcb::agent
