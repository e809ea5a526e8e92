#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "agent/arbiter.h"
#include "readme_table.h"

using namespace rcb;
using namespace rcb::agent;
using namespace std::chrono_literals;
using consul::CheckStatus;
using redis::Health;
using redis::Role;
using redis::SlotSet;

namespace {

constexpr char kOwnId[] = "redis-h-7001";

/// One local node of Redis Cluster, master of 0-5460 at epoch 5 and in touch for long, and an empty catalog.
struct Bench {
  explicit Bench(std::optional<Authority> authority = {}) : arbiter(OptionsWith(authority), {Local()}) {
    state.health = Health::kAnswering;
    state.health_since = state.role_since = now - 1h;
    state.server.mode = "cluster";
    state.info.emplace();
    state.info->master_link_up = true;
    state.info->master = {.host = "10.0.0.2", .port = 7002, .unix_path = {}};
    state.cluster.emplace();
    state.cluster->info = {.state_ok = true, .all_slots_assigned = true};
    state.cluster->nodes.epoch = 5;
    state.cluster->nodes.slots = SlotSet::FromString("0-5460");
    Says(Role::kMaster);
    arbiter.OnCatalog({});
  }

  static Identity Local() {
    return {.service_id = kOwnId, .node = "n1", .address = "10.0.0.1", .port = 7001, .addresses = {}};
  }

  static Arbiter::Options OptionsWith(std::optional<Authority> authority) {
    Arbiter::Options options;
    options.authority = authority;
    options.sentinels_configured = true;  // Whoever is a node of a cluster has no use for them.
    return options;
  }

  void Says(Role role) { state.info->role = state.cluster->nodes.role = role; }

  void CatalogHas(std::uint64_t epoch, const char* slots, bool served = true, const char* service_id = "redis-h-7002") {
    arbiter.OnCatalog({{.node = "n1",
                        .service_id = service_id,
                        .served_as_master = served,
                        .slots = SlotClaim{epoch, SlotSet::FromString(slots)},
                        .address = "10.0.0.2:7002"}});
  }

  Verdict Decide() {
    arbiter.OnInstance(0, state);
    return arbiter.Decide(now).at(0);
  }

  void CheckSays(Tag tag, CheckStatus status, const std::string& part) {
    const Verdict verdict = Decide();
    REQUIRE(verdict.publication);
    CHECK(verdict.publication->tag == tag);
    CHECK(verdict.publication->status == status);
    CHECK_MESSAGE(verdict.publication->reason.find(part) != std::string::npos, verdict.publication->reason);
    CHECK_FALSE(verdict.take);
    CHECK_FALSE(verdict.rewrite);
  }
  void CheckMaster() { CheckSays(Tag::kMaster, CheckStatus::kPassing, "master of shard-0 at epoch 5"); }
  void CheckWithheld(const std::string& part) { CheckSays(Tag::kNone, CheckStatus::kCritical, part); }

  TimePoint now{2h};
  redis::InstanceState state;
  Arbiter arbiter;
};

/// A row of README's table "node of Redis Cluster": the evidence, made on a bench that was a published master before.
struct TableRow {
  const char* evidence;
  void (*make)(Bench&);
};

const TableRow kTableRows[] = {
    {"master with slots, cluster_state ok", [](Bench&) {}},
    {"master without slots", [](Bench& bench) { bench.state.cluster->nodes.slots = {}; }},
    {"master whose slots another one owns in the catalog, at a higher epoch",
     [](Bench& bench) { bench.CatalogHas(6, "0-5460"); }},
    {"master, cluster_state fail", [](Bench& bench) { bench.state.cluster->info.state_ok = false; }},
    {"replica, cluster_state fail",
     [](Bench& bench) {
       bench.Says(Role::kReplica);
       bench.state.cluster->info.state_ok = false;
     }},
    {"master that came back less than a second ago",
     [](Bench& bench) {
       bench.state.health = Health::kSilent;
       bench.Decide();
       bench.state.health = Health::kAnswering;
       bench.state.health_since = bench.now;
     }},
    {"connection refused, until another one owns its slots",
     [](Bench& bench) { bench.state.health = Health::kRefused; }},
    {"CLUSTER INFO or NODES refused",
     [](Bench& bench) {
       bench.state.cluster.reset();
       bench.state.cluster_trouble = "NOPERM";
     }},
};

}  // namespace

TEST_CASE("Arbiter: the README's table of Redis Cluster and the code say the same") {
  const auto table = ReadmeTable("node of Redis Cluster");
  CHECK(table.size() == std::size(kTableRows));
  for (const TableRow& row : kTableRows) {
    CAPTURE(std::string(row.evidence));
    REQUIRE(table.contains(row.evidence));
    const auto& [tag, check] = table.at(row.evidence);
    Bench bench;
    bench.CheckMaster();
    row.make(bench);
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.publication);
    const Tag published = verdict.publication->tag;
    CHECK(check == ToString(verdict.publication->status));
    CHECK(((tag == "last" && published == Tag::kMaster) || (tag == "none" && published == Tag::kNone) ||
           (tag == "`master`" && published == Tag::kMaster) || (tag == "`replica`" && published == Tag::kReplica)));
  }
}

TEST_CASE("Arbiter: a master of Redis Cluster is its own cluster's word, without a claim") {
  Bench bench;
  bench.CheckMaster();
  CHECK(bench.arbiter.authority() == Authority::kCluster);
  CHECK(bench.Decide().shard == Shard{"shard-0", "0-5460", 5});
  SUBCASE("whatever other shards do") {
    bench.CatalogHas(9, "5461-10922");
    bench.CheckMaster();
  }
  SUBCASE("a claim of earlier days is no concern") {
    Claim claim;
    claim.node = "n1";
    claim.service_id = kOwnId;
    bench.arbiter.OnClaim({.claim = claim, .index = 3, .unreadable = {}, .garbage = {}}, bench.now);
    CHECK_FALSE(bench.arbiter.HoldsClaim(0));
    bench.CheckMaster();
    bench.Says(Role::kReplica);
    bench.CheckSays(Tag::kReplica, CheckStatus::kPassing, "in sync");
  }
}

TEST_CASE("Arbiter: authority and mode of the server have to go together") {
  SUBCASE("a node, but authority sentinel") {
    Bench bench(Authority::kSentinel);
    bench.CheckWithheld("authority is set to sentinel");
  }
  SUBCASE("authority cluster, but no node") {
    Bench bench(Authority::kCluster);
    bench.state.server.mode = "standalone";
    bench.CheckWithheld("no Redis Cluster node");
  }
}

TEST_CASE("Arbiter: what a node of Redis Cluster must say before it is published as master") {
  Bench bench;
  SUBCASE("nothing is said before it was asked") {
    bench.state.cluster.reset();
    CHECK(bench.Decide() == Verdict{});
  }
  SUBCASE("nor before the catalog was read") {
    Bench blind;
    blind.arbiter = Arbiter(Bench::OptionsWith({}), {Bench::Local()});
    CHECK_FALSE(blind.Decide().publication);
  }
  SUBCASE("its view is refused") {
    bench.state.cluster.reset();
    bench.state.cluster_trouble = "NOPERM cluster|nodes";
    bench.CheckWithheld("NOPERM cluster|nodes");
  }
  SUBCASE("no slots") {
    bench.state.cluster->nodes.slots = {};
    bench.CheckWithheld("without slots");
    CHECK_FALSE(bench.Decide().shard);
  }
  SUBCASE("cluster_state fail: a minority") {
    bench.state.cluster->info.state_ok = false;
    bench.state.cluster->nodes.minority = true;
    bench.CheckWithheld("most masters cannot be reached");
  }
  SUBCASE("cluster_state fail: slots without an owner") {
    bench.state.cluster->info = {};
    bench.CheckWithheld("not every slot has an owner");
  }
  SUBCASE("cluster_state fail: a replica is of no use either") {
    bench.Says(Role::kReplica);
    bench.state.cluster->info.state_ok = false;
    bench.CheckSays(Tag::kReplica, CheckStatus::kCritical, "cluster_state is fail");
  }
  SUBCASE("CLUSTER NODES and INFO differ") {
    bench.state.cluster->nodes.role = Role::kReplica;
    bench.CheckWithheld("a replica in CLUSTER NODES");
  }
}

TEST_CASE("Arbiter: an old master of a shard is superseded by the catalog's epochs") {
  Bench bench;
  SUBCASE("its successor is served") {
    bench.CatalogHas(6, "0-5460");
    bench.CheckWithheld("10.0.0.2:7002 owns its slots at epoch 6");
  }
  SUBCASE("a lower epoch is the one that is superseded") {
    bench.CatalogHas(4, "0-5460");
    bench.CheckMaster();
  }
  SUBCASE("its own entry is no other") {
    bench.CatalogHas(6, "0-5460", true, kOwnId);
    bench.CheckMaster();
  }
  SUBCASE("a slot that was moved away is no succession") {
    bench.CatalogHas(6, "0,5461-10922");
    bench.CheckMaster();
  }
  SUBCASE("a dead successor has the last word while this one is news, and not for ever") {
    bench.CatalogHas(6, "0-5460", false);
    bench.state.health_since = bench.now;
    bench.now += 9999ms;
    bench.CheckWithheld("owns its slots");
    bench.now += 1ms;
    bench.CheckMaster();
  }
}

TEST_CASE("Arbiter: a master of Redis Cluster that comes back listens before it is published again") {
  Bench bench;
  bench.CheckMaster();
  bench.state.health = Health::kSilent;
  bench.state.detail = "no answer";
  bench.CheckSays(Tag::kMaster, CheckStatus::kCritical, "no answer");
  bench.now += 5s;
  bench.state.health = Health::kAnswering;
  bench.state.health_since = bench.now;
  bench.CheckSays(Tag::kMaster, CheckStatus::kCritical, "no answer");
  bench.now += 999ms;
  bench.CheckSays(Tag::kMaster, CheckStatus::kCritical, "no answer");
  SUBCASE("and then is") {
    bench.now += 1ms;
    bench.CheckMaster();
  }
  SUBCASE("a replica that came back and was promoted then is news of its own") {
    bench.state.role_since = bench.now;
    bench.CheckMaster();
  }
  SUBCASE("a restart of the agent alone changes nothing") {
    bench.CatalogHas(5, "0-5460", true, kOwnId);
    bench.CheckMaster();
  }
  SUBCASE("what it heard meanwhile") {
    bench.Says(Role::kReplica);
    bench.CheckSays(Tag::kReplica, CheckStatus::kPassing, "replica");
  }
}

TEST_CASE("Arbiter: a dead master of Redis Cluster stays tagged until another one owns its slots") {
  Bench bench;
  bench.CheckMaster();
  bench.state.health = Health::kRefused;
  bench.state.detail = "refuses connections";
  bench.CheckSays(Tag::kMaster, CheckStatus::kCritical, "refuses");
  CHECK(bench.Decide().shard);
  bench.CatalogHas(6, "0-5460");
  bench.CheckWithheld("refuses");
  SUBCASE("the same while it is busy") {
    Bench busy;
    busy.CheckMaster();
    busy.state.health = Health::kBusy;
    busy.state.health_since = busy.now;
    busy.CheckMaster();
    busy.CatalogHas(6, "0-5460");
    busy.CheckWithheld("superseded");
  }
}

TEST_CASE("Arbiter: the shard of a node follows its epoch at once, and single slots at a pace") {
  Bench bench;
  auto& nodes = bench.state.cluster->nodes;
  CHECK(bench.Decide().shard->slots == "0-5460");
  nodes.slots = SlotSet::FromString("1-5460");
  CHECK(bench.Decide().shard->slots == "0-5460");
  bench.now += 2s;
  CHECK(bench.Decide().shard == Shard{"shard-1", "1-5460", 5});
  nodes.slots = SlotSet::FromString("0-5460");
  nodes.epoch = 6;
  CHECK(bench.Decide().shard == Shard{"shard-0", "0-5460", 6});
  SUBCASE("a replica keeps its shard while its master has no slots") {
    bench.Says(Role::kReplica);
    nodes.slots = {};
    CHECK(bench.Decide().shard->name == "shard-0");
  }
}
