#include "consul/dns_client.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <stdexcept>
#include <thread>

#include "consul/service_lookup.h"
#include "tests/integration/ports.h"
#include "tests/unit/dns_bytes.h"

namespace rcb::consul {
namespace {

using namespace std::chrono_literals;
using integration::FreePort;
using Bytes = DnsBytes::Bytes;

constexpr const char* kName = "master.redis.service.consul";

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
  using Answer = std::function<Bytes(const Bytes& question, bool tcp)>;

  /// With `strange_port` its UDP answers come from another port than the one that was asked.
  explicit ScriptedServer(Answer answer, bool strange_port = false)
      : port_(FreePort()),
        answer_(std::move(answer)),
        udp_(SOCK_DGRAM, port_),
        other_udp_(SOCK_DGRAM, FreePort()),
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
Bytes WithIdOf(const Bytes& question, Bytes answer) {
  std::copy_n(question.begin(), 2, answer.begin());
  return answer;
}

/// An answer to kName SRV with `count` servers in 10.0.0.0/8.
DnsBytes AnswerOf(unsigned count, std::uint16_t flags = 0x8400) {
  DnsBytes answer(flags, 1, static_cast<std::uint16_t>(count));
  answer.Question(kName, 33);
  for (unsigned i = 0; i < count; ++i) answer.Srv(kName, 1, 1, 7000 + i, "0a000001.addr.dc1.consul");
  return answer;
}

Result<DnsMessage> Ask(const DnsClient::Options& options, std::chrono::milliseconds timeout = 2s) {
  const auto client = DnsClient::Create(options);
  REQUIRE(client);
  return (*client)->Ask(kName, RecordType::kSrv, timeout);
}

ErrorKind Failure(const ScriptedServer& server, std::chrono::milliseconds timeout = 2s) {
  const auto message = Ask(server.options(), timeout);
  REQUIRE_FALSE(message);
  const std::string address = "DNS at 127.0.0.1:" + std::to_string(server.options().port);
  CHECK_MESSAGE(message.error().message.find(address) != std::string::npos, message.error().message);
  return message.error().kind;
}

}  // namespace

TEST_CASE("DnsClient: a question carries EDNS0 with 4096 bytes") {
  Bytes seen;
  {
    ScriptedServer server([&](const Bytes& question, bool) {
      seen = question;
      return WithIdOf(question, AnswerOf(1).bytes());
    });
    REQUIRE(Ask(server.options()));
  }
  REQUIRE(seen.size() > 12 + 11);
  CHECK(seen[11] == 1);  // One additional record: the root's OPT (41) with the size in place of the class.
  const Bytes edns(seen.end() - 11, seen.end());
  CHECK(edns == Bytes{0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("DnsClient: a truncated answer is asked for again over TCP") {
  ScriptedServer server([](const Bytes& question, bool tcp) {
    return WithIdOf(question, tcp ? AnswerOf(500).bytes() : AnswerOf(1, 0x8600).bytes());
  });
  const auto message = Ask(server.options());
  REQUIRE(message);
  CHECK(message->services.size() == 500);
}

TEST_CASE("DnsClient: TCP from the start never asks over UDP") {
  ScriptedServer server(
      [](const Bytes& question, bool tcp) { return tcp ? WithIdOf(question, AnswerOf(7).bytes()) : Bytes(); });
  DnsClient::Options options = server.options();
  options.tcp = true;
  const auto message = Ask(options);
  REQUIRE(message);
  CHECK(message->services.size() == 7);
}

TEST_CASE("DnsClient: a lost question is asked again") {
  int questions = 0;
  ScriptedServer server(
      [&](const Bytes& question, bool) { return ++questions < 2 ? Bytes() : WithIdOf(question, AnswerOf(1).bytes()); });
  CHECK(Ask(server.options(), 2s));
}

TEST_CASE("DnsClient: a server without EDNS0 is asked without it") {
  ScriptedServer server([](const Bytes& question, bool) {
    const bool has_edns = question[11] != 0;
    return WithIdOf(question, has_edns ? DnsBytes(0x8001, 1).Question(kName, 33).bytes() : AnswerOf(1).bytes());
  });
  CHECK(Ask(server.options()));
}

TEST_CASE("DnsClient: NXDOMAIN and an empty answer are answers") {
  for (const std::uint16_t flags : std::initializer_list<std::uint16_t>{0x8403, 0x8400}) {
    ScriptedServer server([&](const Bytes& question, bool) { return WithIdOf(question, AnswerOf(0, flags).bytes()); });
    const auto message = Ask(server.options());
    REQUIRE(message);
    CHECK(message->services.empty());
  }
}

TEST_CASE("DnsClient: what a server says of its own failure is told apart") {
  const auto failure_of = [](std::uint16_t flags) {
    ScriptedServer server([&](const Bytes& question, bool) { return WithIdOf(question, AnswerOf(0, flags).bytes()); });
    return Failure(server);
  };
  CHECK(failure_of(0x8005) == ErrorKind::kDenied);
  CHECK(failure_of(0x8002) == ErrorKind::kServer);
  CHECK(failure_of(0x8004) == ErrorKind::kServer);
}

TEST_CASE("DnsClient: silence ends at the timeout") {
  ScriptedServer server([](const Bytes&, bool) { return Bytes(); });
  const auto start = std::chrono::steady_clock::now();
  CHECK(Failure(server, 200ms) == ErrorKind::kTimeout);
  const auto took = std::chrono::steady_clock::now() - start;
  CHECK(took >= 200ms);
  CHECK(took < 2s);
}

TEST_CASE("DnsClient: a closed port is known at once") {
  const auto start = std::chrono::steady_clock::now();
  for (const bool tcp : {false, true}) {
    const auto message = Ask({.host = "127.0.0.1", .port = FreePort(), .tcp = tcp}, 10s);
    REQUIRE_FALSE(message);
    CHECK(message.error().kind == ErrorKind::kUnreachable);
  }
  CHECK(std::chrono::steady_clock::now() - start < 5s);
}

TEST_CASE("DnsClient: a name of the server may have several addresses; the one that answers counts") {
  ScriptedServer server([](const Bytes& question, bool) { return WithIdOf(question, AnswerOf(1).bytes()); });
  DnsClient::Options options = server.options();
  options.host = "localhost";  // ::1 as well on most hosts, where nothing listens.
  CHECK(Ask(options));
}

TEST_CASE("DnsClient: a server's name without address is an error") {
  const auto client = DnsClient::Create({.host = "256.0.0.1", .port = 53, .tcp = false});
  REQUIRE_FALSE(client);
  CHECK(client.error().kind == ErrorKind::kUnreachable);
  CHECK(client.error().message.find("256.0.0.1") != std::string::npos);
}

TEST_CASE("DnsClient: what is no answer to the question is never taken for one") {
  const auto judge = [](const ScriptedServer::Answer& answer) {
    ScriptedServer server(answer);
    return Failure(server, 200ms);
  };
  CHECK(judge([](const Bytes&, bool) { return Bytes{1, 2, 3}; }) == ErrorKind::kMalformedReply);
  CHECK(judge([](const Bytes& question, bool) {
          Bytes wrong_id = WithIdOf(question, AnswerOf(1).bytes());
          wrong_id[0] ^= 0xff;
          return wrong_id;
        }) == ErrorKind::kMalformedReply);
  CHECK(judge([](const Bytes& question, bool) {
          return WithIdOf(question, DnsBytes(0x8400, 1, 1).Question("evil", 33).Srv("evil", 1, 1, 1, "x").bytes());
        }) == ErrorKind::kMalformedReply);
  CHECK(judge([](const Bytes& question, bool) {  // The right question, then a loop.
          const Bytes loop = DnsBytes(0x8400, 1, 1).Question(kName, 33).Pointer(12 + 33).Raw(Bytes(20)).bytes();
          return WithIdOf(question, loop);
        }) == ErrorKind::kMalformedReply);
  CHECK(judge([](const Bytes& question, bool) { return question; }) == ErrorKind::kMalformedReply);
}

TEST_CASE("DnsClient: an answer from another port is not heard") {
  ScriptedServer server([](const Bytes& question, bool) { return WithIdOf(question, AnswerOf(1).bytes()); },
                        /*strange_port=*/true);
  CHECK(Failure(server, 200ms) == ErrorKind::kTimeout);
}

TEST_CASE("LookUpService: a target without an address beside it is asked for, IPv4 before IPv6") {
  // Answers A questions for "four", AAAA questions for "six", and refuses "elsewhere".
  ScriptedServer server([](const Bytes& question, bool) {
    const std::uint8_t type = question[question.size() - 11 - 3];  // In front of class and OPT.
    const std::string text(question.begin(), question.end());
    const auto asks = [&](const char* name) { return text.find(name) != std::string::npos; };
    DnsBytes answer(0x8400, 1, 3);
    if (type == 33) {
      answer.Question(kName, 33);
      for (const char* target : {"four.corp", "six.corp", "elsewhere.corp"}) answer.Srv(kName, 1, 1, 6379, target);
    } else if (asks("four") && type == 1) {
      answer = DnsBytes(0x8400, 1, 1).Question("four.corp", 1).Record("four.corp", 1, {10, 0, 0, 4});
    } else if (asks("six")) {
      const Bytes address{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6};
      answer = DnsBytes(0x8400, 1, type == 28 ? 1 : 0).Question("six.corp", type);
      if (type == 28) answer.Record("six.corp", 28, address);
    } else {
      answer = DnsBytes(0x8005, 1).Question("elsewhere.corp", type);
    }
    return WithIdOf(question, answer.bytes());
  });
  const auto client = DnsClient::Create(server.options());
  REQUIRE(client);
  const auto found = LookUpService(
      **client, kName, {.first_only = false, .timeout = 2s, .draw = [](std::uint32_t) { return std::uint32_t{0}; }});
  REQUIRE(found);
  REQUIRE(found->size() == 3);
  CHECK((*found)[0].host == "10.0.0.4");
  CHECK((*found)[1].host == "2001:db8::6");
  CHECK((*found)[2].host == "elsewhere.corp");
}

TEST_CASE("LookUpService: the root as target means that there is none, and twice the same address is one") {
  const auto look_up = [](std::initializer_list<const char*> targets) {
    ScriptedServer server([&](const Bytes& question, bool) {
      DnsBytes answer(0x8400, 1, static_cast<std::uint16_t>(targets.size()));
      answer.Question(kName, 33);
      for (const char* target : targets) answer.Srv(kName, 1, 1, 6379, target);
      return WithIdOf(question, answer.bytes());
    });
    const auto client = DnsClient::Create(server.options());
    REQUIRE(client);
    return LookUpService(**client, kName,
                         {.first_only = false, .timeout = 2s, .draw = [](std::uint32_t max) { return max; }});
  };
  const auto none = look_up({""});
  REQUIRE_FALSE(none);
  CHECK(none.error().kind == ErrorKind::kNotFound);

  const auto one = look_up({"0a000001.addr.dc1.consul", "0a000001.addr.dc2.consul"});
  REQUIRE(one);
  CHECK(one->size() == 1);
}

}  // namespace rcb::consul
