#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

#include "consul/dns_client.h"
#include "tests/integration/ports.h"
#include "tests/unit/dns_bytes.h"

namespace rcb::consul {

/// A bound or accepted socket; closed with the object.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(int type, std::uint16_t port) : fd_(socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    const int reuse = 1;
    setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("cannot bind port " + std::to_string(port));
    }
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

/// A DNS server that answers every question with what `answer` makes of it; an empty answer is silence.
class ScriptedServer {
 public:
  using Bytes = DnsBytes::Bytes;
  using Answer = std::function<Bytes(const Bytes& question, bool tcp)>;

  /// With `strange_port` its UDP answers come from another port than the one that was asked.
  explicit ScriptedServer(Answer answer, bool strange_port = false)
      : port_(integration::FreePort()),
        answer_(std::move(answer)),
        udp_(SOCK_DGRAM, port_),
        other_udp_(SOCK_DGRAM, integration::FreePort()),
        tcp_(SOCK_STREAM, port_),
        answers_from_(strange_port ? other_udp_.fd() : udp_.fd()) {
    if (listen(tcp_.fd(), 8) != 0 || pipe(stop_.data()) != 0) throw std::runtime_error("cannot listen");
    thread_ = std::thread([this] { Serve(); });
  }
  ~ScriptedServer() {
    close(stop_[1]);
    thread_.join();
    close(stop_[0]);
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  DnsClient::Options options() const { return {.host = "127.0.0.1", .port = port_, .tcp = false}; }

 private:
  void Serve() {
    for (;;) {
      std::array<pollfd, 3> polled{pollfd{udp_.fd(), POLLIN, 0}, {tcp_.fd(), POLLIN, 0}, {stop_[0], POLLIN, 0}};
      if (poll(polled.data(), polled.size(), -1) < 0 || polled[2].revents != 0) return;
      if (polled[0].revents != 0) ServeUdp();
      if (polled[1].revents != 0) ServeTcp();
    }
  }

  void ServeUdp() {
    Bytes question(4096);
    sockaddr_in from{};
    socklen_t from_size = sizeof from;
    const ssize_t size =
        recvfrom(udp_.fd(), question.data(), question.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_size);
    if (size < 12) return;
    question.resize(static_cast<std::size_t>(size));
    const Bytes bytes = answer_(question, false);
    if (!bytes.empty()) {
      sendto(answers_from_, bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&from), from_size);
    }
  }

  void ServeTcp() {
    const Socket connection(accept(tcp_.fd(), nullptr, nullptr));
    std::array<std::uint8_t, 2> prefix{};
    if (recv(connection.fd(), prefix.data(), prefix.size(), MSG_WAITALL) != 2) return;
    Bytes question(static_cast<std::size_t>(prefix[0]) << 8 | prefix[1]);
    if (recv(connection.fd(), question.data(), question.size(), MSG_WAITALL) != static_cast<ssize_t>(question.size())) {
      return;
    }
    Bytes bytes = answer_(question, true);
    if (bytes.empty()) return;
    const std::size_t size = bytes.size();
    bytes.insert(bytes.begin(), {static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
    send(connection.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }

  const std::uint16_t port_;
  const Answer answer_;
  const Socket udp_;
  const Socket other_udp_;
  const Socket tcp_;
  const int answers_from_;
  std::array<int, 2> stop_{};
  std::thread thread_;
};

/// Gives an answer the id of its question.
inline DnsBytes::Bytes WithIdOf(const DnsBytes::Bytes& question, DnsBytes::Bytes answer) {
  std::copy_n(question.begin(), 2, answer.begin());
  return answer;
}

}  // namespace rcb::consul
