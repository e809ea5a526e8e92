// Client against real Consul agents.
#include "consul/client.h"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/unit/consul_calls.h"
#include "tests/unit/consul_loop.h"
#include "tests/unit/consul_server.h"

namespace rcb::consul {
namespace {

using namespace std::chrono_literals;

TEST_CASE("Client: a service is registered, seen, updated and deregistered") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  const auto self = loop.Await<AgentSelf>([&](auto handler) { client->Self(std::move(handler)); });
  REQUIRE(self);
  CHECK(self->node == "n1");
  CHECK(self->datacenter == "dc1");

  REQUIRE(Register(loop, *client, Registration("r/1 ä", "replica")));
  const ServiceEntry entry = AwaitEntry(loop, *client, [](const auto& e) { return e.id == "r/1 ä"; });
  CHECK(entry.IsServed());
  CHECK(entry.HasTag("replica"));
  CHECK(entry.address == "127.0.0.1");
  CHECK(entry.port == 7001);
  CHECK(entry.meta.at("role") == "replica");
  CHECK(RoleCheck(entry).notes == "fed by a test");

  REQUIRE(UpdateTtl(loop, *client, "r/1 ä:role", CheckStatus::kCritical, "it is \"gone\""));
  const ServiceEntry critical = AwaitEntry(loop, *client, [](const auto& e) { return !e.IsServed(); });
  CHECK(RoleCheck(critical).output == "it is \"gone\"");
  REQUIRE(UpdateTtl(loop, *client, "r/1 ä:role", CheckStatus::kWarning, "lags"));
  CHECK(RoleCheck(AwaitEntry(loop, *client, [](const auto& e) { return e.IsServed(); })).status == "warning");

  // Seen on 1.8.7: registering anew keeps status and output of a check that is known already.
  REQUIRE(Register(loop, *client, Registration("r/1 ä", "master")));
  const ServiceEntry again = AwaitEntry(loop, *client, [](const auto& e) { return e.HasTag("master"); });
  CHECK(RoleCheck(again).status == "warning");
  // The same once more writes nothing.
  REQUIRE(Register(loop, *client, Registration("r/1 ä", "master")));
  CHECK(AwaitEntry(loop, *client, [](const auto&) { return true; }).modify_index == again.modify_index);

  REQUIRE(Deregister(loop, *client, "r/1 ä"));
  const auto entries =
      loop.Await<std::vector<ServiceEntry>>([&](auto handler) { client->HealthService("redis", std::move(handler)); });
  REQUIRE(entries);
  CHECK(entries->empty());
}

TEST_CASE("Client: a check that the agent does not know is kNotFound") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  const auto updated = UpdateTtl(loop, *client, "never", CheckStatus::kPassing, "");
  REQUIRE_FALSE(updated);
  CHECK(updated.error().kind == ErrorKind::kNotFound);
  CHECK(updated.error().message ==
        "cannot update check never: the Consul agent does not know it (HTTP 500: CheckID \"never\" does not have "
        "associated TTL)");
}

TEST_CASE("Client: compare-and-set of a key, over TCP and over a unix socket") {
  Loop loop;
  ConsulServer& server = SharedServer(loop);
  std::string url = server.url();
  std::string key = "service/k ey/master";
  SUBCASE("TCP") {}
  SUBCASE("a bare host:port") {
    url = url.substr(std::string("http://").size());
    key += "/bare";
  }
  SUBCASE("a slash at the end") {
    url += "/";
    key += "/slash";
  }
  SUBCASE("a unix socket") {
    std::ifstream file(server.dir() / "consul.json");
    const std::string settings{std::istreambuf_iterator<char>(file), {}};
    const std::size_t at = settings.find("unix://");
    url = settings.substr(at, settings.find('"', at) - at);
    key += "/unix";
  }
  const auto client = Connect(loop, {.url = url});
  const auto before = KvGet(loop, *client, key);
  REQUIRE(before);
  const std::string value = std::string("\0\xff{\"a\":1}", 9) + std::string(100000, 'x');
  REQUIRE(KvCas(loop, *client, key, value, before->modify_index));
  const auto after = KvGet(loop, *client, key);
  REQUIRE(after);
  CHECK(after->value == value);
  CHECK(after->modify_index > before->modify_index);
  const auto lost = KvCas(loop, *client, key, "other", before->modify_index);
  REQUIRE_FALSE(lost);
  CHECK(lost.error().kind == ErrorKind::kConflict);
}

TEST_CASE("Client: a transaction is committed or rolled back as a whole") {
  // One of its own for each subcase: the end of the last may still be on its way to the catalog.
  static int runs = 0;
  const std::string id = "t" + std::to_string(++runs);
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  REQUIRE(Register(loop, *client, Registration(id, "replica")));
  const ServiceEntry before = AwaitEntry(loop, *client, [&id](const auto& e) { return e.id == id; });
  CatalogCheck check = RoleCheck(before);
  check.output = "confirmed";
  const TxnServiceSet set{.entry = before, .tags = {"master"}, .meta = {{"role", "master"}}};
  const TxnCheckSet check_set{.node = before.node, .service_name = before.name, .check = check};

  const auto claim_before = KvGet(loop, *client, "t/claim");
  REQUIRE(claim_before);
  const std::string value = "after " + claim_before->value;  // Writing the same value would not move the index.
  const auto index = Txn(
      loop, *client, {TxnKvCas{.key = "t/claim", .value = value, .index = claim_before->modify_index}, set, check_set});
  REQUIRE(index);
  const ServiceEntry after = AwaitEntry(loop, *client, [&id](const auto& e) { return e.id == id; });
  CHECK(after.modify_index == *index);
  CHECK(after.tags == std::vector<std::string>{"master"});
  CHECK(after.meta.at("role") == "master");
  CHECK(after.address == before.address);
  CHECK(RoleCheck(after).output == "confirmed");

  TxnServiceSet stale = set;
  stale.tags = {"replica"};
  SUBCASE("the key has another index") {
    const auto lost = Txn(loop, *client, {TxnKvCheckIndex{.key = "t/claim", .index = *index - 1}, stale});
    REQUIRE_FALSE(lost);
    CHECK(lost.error().kind == ErrorKind::kConflict);
    CHECK_MESSAGE(lost.error().message.find("t/claim") != std::string::npos, lost.error().message);
  }
  SUBCASE("the service has another index") {
    stale.index = before.modify_index;
    const auto lost = Txn(loop, *client, {TxnKvCheckIndex{.key = "t/claim", .index = *index}, stale});
    REQUIRE_FALSE(lost);
    CHECK(lost.error().kind == ErrorKind::kConflict);
  }
  SUBCASE("the check has another index") {
    REQUIRE(RoleCheck(after).modify_index > RoleCheck(before).modify_index);
    TxnCheckSet stale_check = check_set;
    stale_check.check.output = "never seen";
    stale_check.index = RoleCheck(before).modify_index;
    const auto lost = Txn(loop, *client, {TxnKvCheckIndex{.key = "t/claim", .index = *index}, stale, stale_check});
    REQUIRE_FALSE(lost);
    CHECK(lost.error().kind == ErrorKind::kConflict);
    // A change of the service, in the same transaction, leaves the check's index as it is.
    TxnServiceSet tagged = set;
    tagged.tags = {"master", "more"};
    TxnCheckSet same = check_set;
    same.index = RoleCheck(after).modify_index;
    CHECK(Txn(loop, *client, {TxnKvCheckIndex{.key = "t/claim", .index = *index}, tagged, same, set}));
  }
  CHECK(AwaitEntry(loop, *client, [&id](const auto& e) { return e.id == id; }).HasTag("master"));

  // The local registration of the same content keeps what the transaction published.
  REQUIRE(UpdateTtl(loop, *client, id + ":role", CheckStatus::kPassing, "confirmed"));
  REQUIRE(Register(loop, *client, Registration(id, "master")));
  const ServiceEntry settled = AwaitEntry(loop, *client, [&id](const auto& e) { return e.id == id; });
  CHECK(settled.HasTag("master"));
  CHECK(RoleCheck(settled).output == "confirmed");
  REQUIRE(Deregister(loop, *client, id));
  const auto claim = KvGet(loop, *client, "t/claim");
  REQUIRE(claim);
  CHECK(claim->value == value);
}

TEST_CASE("Client: without the rule for it, each call is kDenied") {
  Loop loop;
  const std::string management = "11111111-1111-1111-1111-111111111111";
  const std::string secret = "22222222-2222-2222-2222-222222222222";
  ConsulServer server(R"(,"acl":{"enabled":true,"default_policy":"deny","tokens":{"master":")" + management + R"("}})",
                      management);
  server.WaitUntilReady(loop);
  const auto admin = Connect(loop, {.url = server.url(), .token = management});
  REQUIRE(Register(loop, *admin, Registration("a1", "master")));
  ServiceEntry entry = AwaitEntry(loop, *admin, [](const auto& e) { return e.id == "a1"; });

  std::string token;
  SUBCASE("an unknown token") { token = secret; }
  SUBCASE("no token") {}
  const auto client = Connect(loop, {.url = server.url(), .token = token});
  std::vector<Error> errors;
  const auto note = [&errors](const auto& result) {
    REQUIRE_FALSE(result);
    errors.push_back(result.error());
  };
  note(Register(loop, *client, Registration("r1", "master")));
  note(KvCas(loop, *client, "service/redis/master", "v", 0));
  note(KvGet(loop, *client, "service/redis/master"));
  note(Txn(loop, *client,
           {TxnKvCas{.key = "k", .value = "v", .index = 0},
            TxnServiceSet{.entry = entry, .tags = {"replica"}, .meta = {}}}));
  note(UpdateTtl(loop, *client, "a1:role", CheckStatus::kPassing, ""));
  note(loop.Await<AgentSelf>([&](auto handler) { client->Self(std::move(handler)); }));
  for (const Error& error : errors) {
    CHECK_MESSAGE(error.kind == ErrorKind::kDenied, error.message);
    CHECK(error.message.find(secret) == std::string::npos);
  }
  // A heartbeat of a check that is not there stays kNotFound with ACLs, in other words than without.
  const auto unknown = UpdateTtl(loop, *admin, "never", CheckStatus::kPassing, "");
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().kind == ErrorKind::kNotFound);
}

TEST_CASE("Client: one that shares connections ends alone") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  auto shared = client->Share();
  bool was_called = false;
  shared->KvGet("k", [&](const Result<KvPair>&) { was_called = true; });
  const auto watch = shared->WatchKv("k", 1s, [&](const Result<KvPair>&) { was_called = true; });
  shared.reset();
  CHECK(KvGet(loop, *client, "k"));
  CHECK_FALSE(loop.RunUntil([&] { return was_called; }, 100ms));
}

TEST_CASE("Client: what the calls of a takeover cost on loopback") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  REQUIRE(Register(loop, *client, Registration("p1", "replica")));
  const ServiceEntry entry = AwaitEntry(loop, *client, [](const auto& e) { return e.id == "p1"; });
  std::vector<double> registrations;
  std::vector<double> updates;
  std::vector<double> transactions;
  std::uint64_t index = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string tag = i % 2 == 0 ? "master" : "replica";
    auto start = Clock::now();
    REQUIRE(Register(loop, *client, Registration("p1", tag)));
    registrations.push_back(MillisecondsSince(start));
    start = Clock::now();
    REQUIRE(UpdateTtl(loop, *client, "p1:role", i % 2 == 0 ? CheckStatus::kWarning : CheckStatus::kPassing, tag));
    updates.push_back(MillisecondsSince(start));
    start = Clock::now();
    const auto written = Txn(loop, *client,
                             {TxnKvCas{.key = "p/claim", .value = tag, .index = index},
                              TxnServiceSet{.entry = entry, .tags = {tag}, .meta = {}},
                              TxnCheckSet{.node = entry.node, .service_name = entry.name, .check = RoleCheck(entry)}});
    transactions.push_back(MillisecondsSince(start));
    REQUIRE(written);
    index = *written;
  }
  REQUIRE(Deregister(loop, *client, "p1"));
  MESSAGE("median of 200: register " << Median(registrations) << " ms, TTL update with a status change "
                                     << Median(updates) << " ms, transaction of 3 operations " << Median(transactions)
                                     << " ms");
}

}  // namespace
}  // namespace rcb::consul
