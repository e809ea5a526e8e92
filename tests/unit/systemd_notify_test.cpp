#include "agent/systemd_notify.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

using rcb::agent::SystemdNotify;

namespace {

/// What the service manager would receive.
class Manager {
 public:
  Manager() {
    socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    REQUIRE(bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~Manager() {
    close(socket_);
    unlink(path_.c_str());
  }

  /// The next datagram, empty when there is none. A unix datagram is there once it was sent.
  std::string Received() const {
    std::array<char, 4096> bytes{};
    const ssize_t size = recv(socket_, bytes.data(), bytes.size(), 0);
    return {bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
  }
  const std::string& path() const { return path_; }

 private:
  int socket_ = -1;
  std::string path_ = "/tmp/rcb-notify-test-" + std::to_string(getpid());
};

}  // namespace

TEST_CASE("SystemdNotify: the manager hears the states, and an unchanged status once") {
  const Manager manager;
  setenv("NOTIFY_SOCKET", manager.path().c_str(), 1);
  setenv("WATCHDOG_USEC", "30000000", 1);
  SystemdNotify systemd;
  CHECK(std::getenv("NOTIFY_SOCKET") == nullptr);  // Not for children.
  CHECK(systemd.watchdog_interval() == std::chrono::seconds(15));
  systemd.Ready();
  CHECK(manager.Received() == "READY=1");
  systemd.Status("master at epoch 5");
  CHECK(manager.Received() == "STATUS=master at epoch 5");
  systemd.Status("master at epoch 5");
  CHECK(manager.Received().empty());
  systemd.KickWatchdog();
  CHECK(manager.Received() == "WATCHDOG=1");
  systemd.Reloading();
  CHECK(manager.Received().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  systemd.Stopping();
  CHECK(manager.Received() == "STOPPING=1");
}

TEST_CASE("SystemdNotify: without a manager nothing happens") {
  unsetenv("NOTIFY_SOCKET");
  setenv("WATCHDOG_USEC", "nonsense", 1);
  SystemdNotify systemd;
  systemd.Ready();
  systemd.Status("x");
  CHECK_FALSE(systemd.watchdog_interval());
}
