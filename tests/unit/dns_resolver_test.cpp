#include "consul/resolver.h"

#include <doctest/doctest.h>

#include <map>

#include "consul/resolve_watch.h"
#include "tests/unit/dns_scripted_server.h"

namespace rcb::consul {
namespace {

using namespace std::chrono_literals;
using Bytes = DnsBytes::Bytes;

/// The name that a question asks for.
std::string NameOf(const Bytes& question) {
  std::string name;
  for (std::size_t at = 12; question[at] != 0; at += 1 + question[at]) {
    name.append(name.empty() ? "" : ".").append(reinterpret_cast<const char*>(&question[at + 1]), question[at]);
  }
  return name;
}

/// What a server has under each name: the ports of 10.0.0.1.
using Services = std::map<std::string, std::vector<unsigned>>;

Bytes AnswerFrom(const Services& services, const Bytes& question) {
  const std::string name = NameOf(question);
  const auto found = services.find(name);
  if (found == services.end()) return WithIdOf(question, DnsBytes(0x8403, 1).Question(name, 33).bytes());
  DnsBytes answer(0x8400, 1, static_cast<std::uint16_t>(found->second.size()));
  answer.Question(name, 33);
  for (const unsigned port : found->second) answer.Srv(name, 1, 1, port, "0a000001.addr.dc1.consul");
  return WithIdOf(question, answer.bytes());
}

/// A DNS server that heeds tags.
class Server : public ScriptedServer {
 public:
  explicit Server(Services services)
      : ScriptedServer(
            [services = std::move(services)](const Bytes& question, bool) { return AnswerFrom(services, question); }) {}
};

Resolver Make(std::vector<DnsClient::Options> servers, Resolver::Options options = {}) {
  options.dns = std::move(servers);
  options.timeout = 500ms;
  options.draw = [](std::uint32_t) { return std::uint32_t{0}; };
  auto resolver = Resolver::Create(std::move(options));
  REQUIRE(resolver);
  return *std::move(resolver);
}

DnsClient::Options Closed() { return {.host = "127.0.0.1", .port = integration::FreePort(), .tcp = false}; }

}  // namespace

TEST_CASE("Resolver: servers are asked in their order until one answers, and that one first from then on") {
  ScriptedServer failing([](const Bytes& question, bool) {
    return WithIdOf(question, DnsBytes(0x8002, 1).Question(NameOf(question), 33).bytes());
  });
  Server empty({});
  Server full({{"master.redis.service.consul", {7001}}});
  SUBCASE("the first that answers counts, whatever it says") {
    Resolver resolver = Make({Closed(), failing.options(), empty.options(), full.options()});
    const auto found = resolver.LookUp(500ms);
    REQUIRE_FALSE(found);
    CHECK(found.error().code == kNone);
  }
  SUBCASE("a silent one costs its time only once") {
    int questions = 0;
    ScriptedServer silent([&](const Bytes&, bool) {
      ++questions;
      return Bytes();
    });
    Resolver resolver = Make({silent.options(), full.options()});
    for (int i = 0; i < 3; ++i) {
      const auto found = resolver.LookUp(200ms);
      REQUIRE(found);
      CHECK(found->front().port == 7001);
    }
    CHECK(questions <= 3);  // One question, sent up to three times.
  }
  SUBCASE("all of them fail: each is named") {
    const DnsClient::Options closed = Closed();
    const auto found = Make({closed, failing.options()}).LookUp(500ms);
    REQUIRE_FALSE(found);
    CHECK(found.error().code == kDnsFailed);
    for (const std::uint16_t port : {closed.port, failing.options().port}) {
      CHECK(found.error().message.find("DNS at 127.0.0.1:" + std::to_string(port)) != std::string::npos);
    }
    CHECK(found.error().message.find("SERVFAIL") != std::string::npos);
  }
}

TEST_CASE("Resolver: several masters are refused and named, unless all are wanted") {
  Server server({{"master.redis.service.consul", {7001, 7002}}});
  const auto refused = Make({server.options()}).LookUp(500ms);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == kAmbiguous);
  CHECK(refused.error().message.find("10.0.0.1:7001 and 10.0.0.1:7002") != std::string::npos);
  const auto all = Make({server.options()}, {.all = true}).LookUp(500ms);
  REQUIRE(all);
  CHECK(all->size() == 2);
}

TEST_CASE("Resolver: a server that ignores tags is found out, even when it has one instance to name") {
  // As Consul 1.19.0: whatever stands in front of the service, it answers with every instance.
  const auto ignores_tags = [](std::vector<unsigned> ports) {
    return [ports](const Bytes& question, bool) { return AnswerFrom({{NameOf(question), ports}}, question); };
  };
  for (const Role role : {Role::kMaster, Role::kReplica}) {
    ScriptedServer server(ignores_tags({7001}));
    Resolver resolver = Make({server.options()}, {.name = {.role = role}});
    REQUIRE(resolver.LookUp(500ms));
    const auto heeded = resolver.CheckTagsAreHeeded();
    REQUIRE_FALSE(heeded);
    CHECK(heeded.error().code == kAmbiguous);
    CHECK(heeded.error().message.find("does not heed roles") != std::string::npos);
  }
  ScriptedServer server(ignores_tags({7001, 7002}));
  const auto refused = Make({server.options()}).LookUp(500ms);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("does not heed roles") != std::string::npos);
}

TEST_CASE("Resolver: a server that heeds tags, or is silent about them, is believed") {
  Server heeds({{"master.redis.service.consul", {7001}}});
  ScriptedServer silent([](const Bytes& question, bool) {
    return NameOf(question).starts_with("master") ? AnswerFrom({{NameOf(question), {7001}}}, question) : Bytes();
  });
  for (const ScriptedServer* server : std::initializer_list<const ScriptedServer*>{&heeds, &silent}) {
    Resolver resolver = Make({server->options()});
    REQUIRE(resolver.LookUp(500ms));
    CHECK(resolver.CheckTagsAreHeeded());
  }
  // A name without a role in front cannot be judged.
  Server any({{"redis.service.consul", {7001}}});
  Resolver resolver = Make({any.options()}, {.name = {.role = Role::kAny}});
  REQUIRE(resolver.LookUp(500ms));
  CHECK(resolver.CheckTagsAreHeeded());
}

TEST_CASE("Resolver: what a check refuses is passed over") {
  const Addresses found{{"10.0.0.1", 7001, {}}, {"10.0.0.1", 7002, {}}, {"10.0.0.1", 7003, {}}};
  const auto refuse_below = [](std::uint16_t port) -> Resolver::Check {
    return [port](const ServiceAddress& address) {
      return address.port < port ? std::optional("no " + std::to_string(address.port)) : std::nullopt;
    };
  };
  const Resolver one = Make({Closed()}, {.name = {.role = Role::kReplica}, .candidates = true});
  const auto chosen = one.Choose(found, refuse_below(7002));
  REQUIRE(chosen);
  REQUIRE(chosen->size() == 1);
  CHECK(chosen->front().port == 7002);
  CHECK(one.Choose(found, nullptr)->front().port == 7001);

  const Resolver all = Make({Closed()}, {.all = true});
  CHECK(all.Choose(found, refuse_below(7002))->size() == 2);
  const auto none = all.Choose(found, refuse_below(7004));
  REQUIRE_FALSE(none);
  CHECK(none.error().code == kUnverified);
  CHECK(none.error().message == "no 7001");
}

TEST_CASE("Resolver: among candidates one without an address is left out") {
  ScriptedServer server([](const Bytes& question, bool) {
    const std::string name = NameOf(question);
    DnsBytes answer(0x8400, 1, 2);
    answer.Question(name, 33).Srv(name, 1, 1, 0, "0a000001.addr.dc1.consul");
    answer.Srv(name, 1, 1, 7002, "0a000001.addr.dc1.consul");
    return WithIdOf(question, answer.bytes());
  });
  const auto found = Make({server.options()}, {.name = {.role = Role::kReplica}, .candidates = true}).LookUp(500ms);
  REQUIRE(found);
  CHECK(found->size() == 1);
  const auto all = Make({server.options()}, {.name = {.role = Role::kReplica}, .all = true}).LookUp(500ms);
  REQUIRE_FALSE(all);
  CHECK(all.error().message.find("without a port") != std::string::npos);
}

TEST_CASE("IsKnown: a change is another address, not another order") {
  const ServiceAddress a{"10.0.0.1", 1, {}};
  const ServiceAddress b{"10.0.0.1", 2, {}};
  CHECK_FALSE(IsKnown({}, {a}, false));
  CHECK(IsKnown({a}, {a}, false));
  CHECK(IsKnown({a}, {b, a}, false));
  CHECK_FALSE(IsKnown({a}, {b}, false));
  CHECK(IsKnown({a, b}, {b, a}, true));
  CHECK_FALSE(IsKnown({a}, {b, a}, true));
  CHECK_FALSE(IsKnown({a, b}, {a}, true));
}

TEST_CASE("PollPause: steady while DNS answers, longer and longer while it does not") {
  PollPause pause;
  const auto low = [](std::uint32_t) { return std::uint32_t{0}; };
  const auto high = [](std::uint32_t max) { return max; };
  CHECK(pause.Next(false, low) == 20ms);
  CHECK(pause.Next(false, high) == 30ms);
  CHECK(pause.Next(true, low) == 40ms);
  CHECK(pause.Next(true, low) == 80ms);
  for (int i = 0; i < 5; ++i) pause.Next(true, low);
  CHECK(pause.Next(true, low) == 250ms);
  CHECK(pause.Next(false, low) == 20ms);
}

}  // namespace rcb::consul
