#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/wait_until.h"

namespace rcb::redis {

using std::chrono::milliseconds;

/// How long a test waits for what should take milliseconds: generous, for a loaded machine.
constexpr milliseconds kPatience{20000};

/// A socket bound to a loopback port; listening on demand. Closed with the object.
class LoopbackSocket {
 public:
  explicit LoopbackSocket(std::uint16_t port = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    is_bound_ = bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    socklen_t length = sizeof(address);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
  }
  ~LoopbackSocket() { close(fd_); }
  LoopbackSocket(const LoopbackSocket&) = delete;
  LoopbackSocket& operator=(const LoopbackSocket&) = delete;

  void Listen() const { listen(fd_, 8); }
  int fd() const { return fd_; }
  std::uint16_t port() const { return port_; }
  bool is_bound() const { return is_bound_; }

 private:
  int fd_;
  std::uint16_t port_ = 0;
  bool is_bound_ = false;
};

/// A loopback port that nobody uses, from the range that is this library's tests' own. Another one each time: a server
/// may not listen yet on the last.
inline std::uint16_t FreePort() {
  static unsigned next = std::random_device{}();
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const auto port = static_cast<std::uint16_t>(21000 + next++ % 1000);
    if (LoopbackSocket(port).is_bound()) return port;
  }
  throw std::runtime_error("no free port from 21000 to 21999");
}

/// Answers each connection with `answer` and closes it, on a thread of its own: a peer that is not Redis.
class FakeServer {
 public:
  explicit FakeServer(std::string answer) : answer_(std::move(answer)) {
    socket_.Listen();
    thread_ = std::thread([this] {
      for (;;) {
        const int client = accept(socket_.fd(), nullptr, nullptr);
        if (client < 0) return;
        char request[4096];
        if (recv(client, request, sizeof(request), 0) > 0) send(client, answer_.data(), answer_.size(), MSG_NOSIGNAL);
        close(client);
      }
    });
  }
  ~FakeServer() {
    shutdown(socket_.fd(), SHUT_RDWR);  // Wakes accept().
    thread_.join();
  }
  std::uint16_t port() const { return socket_.port(); }

 private:
  std::string answer_;
  LoopbackSocket socket_;
  std::thread thread_;
};

/// A real redis-server (or Sentinel) on a loopback port with a folder of its own; ended with the object.
class RealServer {
 public:
  /// `config` is what stands in its configuration file besides port, address and folder.
  explicit RealServer(const std::string& config = "", bool sentinel = false) : port_(FreePort()) {
    std::string folder = std::filesystem::temp_directory_path() / "rcb-redis-XXXXXX";
    if (mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder_ = folder;
    const std::string file = folder_ / "server.conf";
    std::ofstream(file) << "port " << port_ << "\nbind 127.0.0.1\ndir " << folder << "\nlogfile " << folder << "/log\n"
                        << "unixsocket " << unix_path() << "\n"
                        << (sentinel ? "" : "save \"\"\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n")
                        << config << "\n";
    pid_ = fork();
    if (pid_ == 0) {
      const int null = open("/dev/null", O_RDWR);
      dup2(null, 0);
      dup2(null, 1);
      dup2(null, 2);
      if (sentinel) {
        execlp("redis-server", "redis-server", file.c_str(), "--sentinel", nullptr);
      } else {
        execlp("redis-server", "redis-server", file.c_str(), nullptr);
      }
      _exit(127);
    }
    WaitFor([this] { return !Ask("PING").empty(); });
  }

  ~RealServer() {
    Kill();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  RealServer(const RealServer&) = delete;
  RealServer& operator=(const RealServer&) = delete;

  void Signal(int signal) const { kill(pid_, signal); }

  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  /// Sends one inline command on a connection of its own and returns its answer; empty
  /// when it cannot be reached.
  std::string Ask(const std::string& command) const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    timeval patience{5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port_);
    std::string answer;
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
      const std::string line = command + "\r\n";
      send(fd, line.data(), line.size(), MSG_NOSIGNAL);
      shutdown(fd, SHUT_WR);  // Then the server closes behind its answer (a Sentinel knows no QUIT).
      char chunk[4096];
      for (ssize_t got; (got = recv(fd, chunk, sizeof(chunk), 0)) > 0;) answer.append(chunk, static_cast<size_t>(got));
    }
    close(fd);
    return answer;
  }

  /// Waits until `condition` holds, asking it again and again. For what no loop can tell us.
  static void WaitFor(const std::function<bool()>& condition) {
    if (!integration::WaitUntil(condition, kPatience)) throw std::runtime_error("a real server did not get ready");
  }

  std::uint16_t port() const { return port_; }
  std::string unix_path() const { return (folder_ / "socket").string(); }

 private:
  std::uint16_t port_;
  std::filesystem::path folder_;
  pid_t pid_ = -1;
};

/// A libuv loop that must end clean: a handle that outlives its owner fails the test.
class TestLoop {
 public:
  TestLoop() {
    uv_loop_init(&loop_);
    uv_timer_init(&loop_, &tick_);
  }
  ~TestLoop() {
    uv_close(reinterpret_cast<uv_handle_t*>(&tick_), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop_) != 0) std::abort();
  }
  TestLoop(const TestLoop&) = delete;
  TestLoop& operator=(const TestLoop&) = delete;

  uv_loop_t* get() { return &loop_; }

  /// Runs the loop until `condition` holds; false when it does not within `patience`.
  bool RunUntil(const std::function<bool()>& condition, milliseconds patience = kPatience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    uv_timer_start(
        &tick_, [](uv_timer_t*) {}, 10, 10);  // So that the deadline is looked at.
    while (!condition() && std::chrono::steady_clock::now() < deadline) uv_run(&loop_, UV_RUN_ONCE);
    uv_timer_stop(&tick_);
    return condition();
  }

 private:
  uv_loop_t loop_{};
  uv_timer_t tick_{};
};

}  // namespace rcb::redis
