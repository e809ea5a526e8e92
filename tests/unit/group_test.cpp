#include "agent/group.h"

#include <doctest/doctest.h>

using namespace rcb;
using namespace rcb::agent;
using namespace std::chrono_literals;

namespace {

/// A group of one local master at 10.0.0.1:7001 whose Sentinel names it at epoch 5.
struct Bench {
  explicit Bench(const Arbiter::Options& options = ArbiterOptions()) : group(options, PublisherOptions(), {Local()}) {
    redis::InstanceState state;
    state.health = redis::Health::kAnswering;
    state.health_since = now;
    state.server.run_id = "run-1";
    state.info.emplace();
    state.info->role = redis::Role::kMaster;
    state.info->replid = "replid-1";
    group.OnInstance(0, state);
    redis::SentinelView view;
    view.sentinel_id = "s1";
    view.master_name = "mymaster";
    view.master = Local().addresses.front();
    view.config_epoch = 5;
    view.direct = true;
    group.OnSentinelView(view, now);
  }

  static Arbiter::Options ArbiterOptions() {
    Arbiter::Options options;
    options.authority = Authority::kSentinel;
    return options;
  }
  static Publisher::Options PublisherOptions() {
    Publisher::Options options;
    options.master_service = options.replica_service = "redis";
    options.claim_key = "service/redis/master";
    return options;
  }
  static Identity Local() {
    return {.service_id = "redis-h-7001",
            .node = "n1",
            .address = "10.0.0.1",
            .port = 7001,
            .addresses = {{.host = "10.0.0.1", .port = 7001, .unix_path = {}}}};
  }

  std::vector<Publisher::Call> Decide() { return group.Decide("mymaster", {}, now); }

  /// Answers calls with success until the transaction comes, which is left open.
  Publisher::Call NextTransaction() {
    for (int i = 0; i < 5; ++i) {
      for (const Publisher::Call& call : Decide()) {
        if (std::holds_alternative<Publisher::Transaction>(call.what)) return call;
        group.OnDone(call, 0, now);
        if (const auto* update = std::get_if<Publisher::UpdateTtl>(&call.what)) status = ToString(update->status);
        Catalog();
      }
    }
    FAIL("no transaction");
    return {};
  }

  void Catalog() {
    consul::ServiceEntry entry;
    entry.node = "n1";
    entry.id = "redis-h-7001";
    entry.name = "redis";
    entry.checks = {{.id = "redis-h-7001:role", .status = status, .service_id = "redis-h-7001"}};
    group.OnCatalog(std::vector{entry}, now);
  }

  /// Sentinel names the holder of ReadsClaimOfAnother() at its epoch.
  void SentinelNamesAnother() {
    redis::SentinelView view;
    view.sentinel_id = "s1";
    view.master_name = "mymaster";
    view.master = {.host = "10.0.0.2", .port = 7002, .unix_path = {}};
    view.config_epoch = 6;
    view.direct = true;
    group.OnSentinelView(view, now);
  }

  void ReadsClaimOfAnother(std::uint64_t index) {
    Claim claim;
    claim.authority = Authority::kSentinel;
    claim.epoch = 6;
    claim.node = "n2";
    claim.service_id = "redis-h-7002";
    group.OnClaim(consul::KvPair{.key = "service/redis/master", .value = EncodeClaim(claim), .modify_index = index},
                  now);
  }

  std::string status = "critical";  ///< Of its check, in the catalog.
  TimePoint now{1h};
  Group group;
};

}  // namespace

// Found by tests/simulation: a stopped agent published a server that had died meanwhile.
TEST_CASE("Group: who was asleep listens before it speaks") {
  Bench bench;
  bench.group.OnClaim(consul::KvPair{.key = "service/redis/master"}, bench.now);
  bench.Catalog();
  CHECK_FALSE(bench.Decide().empty());
  bench.now += 400ms;
  CHECK(bench.Decide().empty());  // The first call is still under way.
  Bench sleeper;
  sleeper.group.OnClaim(consul::KvPair{.key = "service/redis/master"}, sleeper.now);
  CHECK(sleeper.Decide().empty());  // The catalog was not read.
  sleeper.now += 2s;
  sleeper.Catalog();
  CHECK(sleeper.Decide().empty());
  sleeper.now += 300ms;
  CHECK_FALSE(sleeper.Decide().empty());
}

// Found by tests/simulation: a stopped agent demoted the server that had become the right master meanwhile.
TEST_CASE("Group: who was asleep listens before it touches Redis") {
  Arbiter::Options options = Bench::ArbiterOptions();
  options.demote_superseded = true;
  Bench bench(options);
  bench.ReadsClaimOfAnother(20);
  bench.SentinelNamesAnother();
  bench.Decide();
  CHECK(bench.group.verdicts()[0].demote_to);
  bench.now += 2s;
  bench.Decide();
  CHECK_FALSE(bench.group.verdicts()[0].demote_to);
  bench.now += 300ms;
  bench.Decide();
  CHECK(bench.group.verdicts()[0].demote_to);
}

// Found by tests/simulation: the former holder published itself once more.
TEST_CASE("Group: the late answer to a transaction does not hide what somebody wrote since") {
  Bench bench;
  bench.group.OnClaim(consul::KvPair{.key = "service/redis/master"}, bench.now);
  bench.Catalog();
  bench.now += 1s;
  const Publisher::Call takeover = bench.NextTransaction();
  SUBCASE("it is the newest") {
    bench.group.OnDone(takeover, 20, bench.now);
    REQUIRE(bench.group.claim());
    CHECK(bench.group.claim()->index == 20);
    CHECK(bench.group.HoldsClaim(0));
  }
  SUBCASE("another took the claim in between") {
    bench.ReadsClaimOfAnother(21);
    bench.group.OnDone(takeover, 20, bench.now);
    CHECK(bench.group.claim()->index == 21);
    CHECK_FALSE(bench.group.HoldsClaim(0));
  }
  SUBCASE("a reading from before it comes late, after an error") {
    bench.group.OnClaim(consul::Fail(consul::ErrorKind::kTimeout, "late"), bench.now);
    bench.group.OnDone(takeover, 20, bench.now);
    bench.ReadsClaimOfAnother(17);
    CHECK(bench.group.claim()->index == 20);
  }
  SUBCASE("Consul was lost in between: a lower index may be the truth") {
    bench.ReadsClaimOfAnother(21);
    bench.group.OnClaim(consul::Fail(consul::ErrorKind::kUnreachable, "gone"), bench.now);
    bench.group.OnDone(takeover, 20, bench.now);
    CHECK(bench.group.HoldsClaim(0));
  }
}

TEST_CASE("Group: with two services the catalog is known once both were read, and the younger entry counts") {
  Publisher::Options options = Bench::PublisherOptions();
  options.replica_service = "redis-replica";
  Group group(Bench::ArbiterOptions(), options, {Bench::Local()});
  const TimePoint now{1h};
  redis::InstanceState state;
  state.health = redis::Health::kAnswering;
  state.info.emplace();
  state.info->role = redis::Role::kReplica;
  state.info->master_link_up = true;
  group.OnInstance(0, state);
  group.OnClaim(consul::KvPair{}, now);
  consul::ServiceEntry entry;
  entry.node = "n1";
  entry.id = "redis-h-7001";
  entry.name = "redis";
  entry.modify_index = 7;
  group.OnCatalog(std::vector{entry}, now);
  CHECK(group.Decide("g", {}, now).empty());
  SUBCASE("it stands under the master's name alone: that is left") {
    group.OnReplicaCatalog(std::vector<consul::ServiceEntry>{}, now);
    const auto calls = group.Decide("g", {}, now);
    REQUIRE(calls.size() == 1);
    CHECK(std::holds_alternative<Publisher::Deregister>(calls[0].what));
  }
  SUBCASE("the younger one is under the replicas' name") {
    entry.name = "redis-replica";
    entry.modify_index = 8;
    group.OnReplicaCatalog(std::vector{entry}, now);
    const auto calls = group.Decide("g", {}, now);
    REQUIRE(calls.size() == 1);
    CHECK(std::holds_alternative<Publisher::Register>(calls[0].what));
  }
  SUBCASE("one of them cannot be read") {
    group.OnReplicaCatalog(tl::unexpected(consul::Error{consul::ErrorKind::kNoLeader, "no leader"}), now);
    CHECK(group.Decide("g", {}, now).empty());
  }
}
