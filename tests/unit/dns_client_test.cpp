#include "consul/dns_client.h"

#include <doctest/doctest.h>

#include "consul/service_lookup.h"
#include "tests/integration/ports.h"
#include "tests/unit/dns_bytes.h"
#include "tests/unit/dns_scripted_server.h"

namespace rcb::consul {
namespace {

using namespace std::chrono_literals;
using integration::FreePort;
using Bytes = DnsBytes::Bytes;

constexpr const char* kName = "master.redis.service.consul";

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

Error FailureOf(const ScriptedServer& server, std::chrono::milliseconds timeout = 2s) {
  const auto message = Ask(server.options(), timeout);
  REQUIRE_FALSE(message);
  const std::string address = "DNS at 127.0.0.1:" + std::to_string(server.options().port);
  CHECK_MESSAGE(message.error().message.find(address) != std::string::npos, message.error().message);
  return message.error();
}

ErrorKind Failure(const ScriptedServer& server, std::chrono::milliseconds timeout = 2s) {
  return FailureOf(server, timeout).kind;
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

TEST_CASE("DnsClient: what is no answer to the question is never taken for one, and told apart") {
  const auto is_told = [](const char* what, const ScriptedServer::Answer& answer) {
    ScriptedServer server(answer);
    const Error error = FailureOf(server, 200ms);
    CHECK(error.kind == ErrorKind::kMalformedReply);
    CHECK_MESSAGE(error.message.find(what) != std::string::npos, error.message);
  };
  is_told("shorter than a header", [](const Bytes&, bool) { return Bytes{1, 2, 3}; });
  is_told("another question", [](const Bytes& question, bool) {
    Bytes wrong_id = WithIdOf(question, AnswerOf(1).bytes());
    wrong_id[0] ^= 0xff;
    return wrong_id;
  });
  is_told("another question", [](const Bytes& question, bool) {
    return WithIdOf(question, DnsBytes(0x8400, 1, 1).Question("evil", 33).Srv("evil", 1, 1, 1, "x").bytes());
  });
  is_told("in a circle", [](const Bytes& question, bool) {  // The right question, then a name that leads to itself.
    const Bytes loop = DnsBytes(0x8400, 1, 1).Question(kName, 33).Pointer(12 + 33).Raw(Bytes(20)).bytes();
    return WithIdOf(question, loop);
  });
  is_told("it is a question", [](const Bytes& question, bool) { return question; });
}

TEST_CASE("DnsClient: over TCP nonsense and an early end are told as well") {
  for (const Bytes& answer : {Bytes{1, 2, 3}, Bytes()}) {
    ScriptedServer server([&](const Bytes&, bool) { return answer; });
    DnsClient::Options options = server.options();
    options.tcp = true;
    const auto message = Ask(options, 1s);
    REQUIRE_FALSE(message);
    CHECK(message.error().kind == ErrorKind::kMalformedReply);
    CHECK(message.error().message.find("(TCP) closed the connection or sent no usable answer") != std::string::npos);
  }
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
  const auto found = LookUpService(**client, kName, {.draw = [](std::uint32_t) { return std::uint32_t{0}; }});
  REQUIRE(found);
  REQUIRE(found->size() == 3);
  CHECK((*found)[0].host == "10.0.0.4");
  CHECK((*found)[1].host == "2001:db8::6");
  CHECK((*found)[2].host == "elsewhere.corp");
}

TEST_CASE("LookUpService: an alias alone is followed by asking for its target, a few times at most") {
  ScriptedServer server([](const Bytes& question, bool) {
    const std::uint8_t type = question[question.size() - 11 - 3];  // In front of class and OPT.
    const std::string text(question.begin(), question.end());
    const auto asks = [&](const char* name) { return text.find(name) != std::string::npos; };
    DnsBytes answer(0x8400, 1, 1);
    if (asks("start")) {
      answer.Question("start.corp", type).Cname("start.corp", "end.corp");
    } else if (asks("end")) {
      answer.Question("end.corp", type).Srv("end.corp", 1, 1, 6379, "host.corp");
    } else if (asks("host")) {
      answer.Question("host.corp", type).Cname("host.corp", "real.corp");
    } else if (asks("real")) {
      answer.Question("real.corp", type).Record("real.corp", 1, {10, 0, 0, 9});
    } else {
      answer.Question("loop.corp", type).Cname("loop.corp", "loop.corp");
    }
    return WithIdOf(question, answer.bytes());
  });
  const auto client = DnsClient::Create(server.options());
  REQUIRE(client);
  const auto look_up = [&](const char* name) {
    return LookUpService(**client, name, {.draw = [](std::uint32_t) { return std::uint32_t{0}; }});
  };
  const auto found = look_up("start.corp");
  REQUIRE(found);
  REQUIRE(found->size() == 1);
  CHECK((*found)[0].host == "10.0.0.9");
  const auto loop = look_up("loop.corp");
  REQUIRE_FALSE(loop);
  CHECK(loop.error().kind == ErrorKind::kNotFound);
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
    return LookUpService(**client, kName, {.draw = [](std::uint32_t max) { return max; }});
  };
  const auto none = look_up({""});
  REQUIRE_FALSE(none);
  CHECK(none.error().kind == ErrorKind::kNotFound);

  const auto one = look_up({"0a000001.addr.dc1.consul", "0a000001.addr.dc2.consul"});
  REQUIRE(one);
  CHECK(one->size() == 1);
}

}  // namespace rcb::consul
