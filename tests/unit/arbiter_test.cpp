// Whom the Arbiter takes for master by Sentinel's word. What else it decides is in arbiter_*_test.cpp.
#include <doctest/doctest.h>

#include "arbiter_bench.h"

using namespace rcb;
using namespace rcb::agent;
using namespace std::chrono_literals;
using consul::CheckStatus;
using redis::Health;
using redis::Role;

TEST_CASE("Arbiter: a master needs two witnesses") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.NoClaim();
  SUBCASE("its own word is not enough") { CheckWithheld(bench.Decide(), "no Sentinel confirms it"); }
  SUBCASE("a view that names it confirms it") {
    bench.SentinelNames(kPort, 5);
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.take);
    CHECK(verdict.take->epoch == 5);
    CHECK(verdict.take->service_id == "redis-h-7001");
    CheckPublished(verdict, Tag::kMaster, CheckStatus::kPassing, "epoch 5");
  }
  SUBCASE("a view that names another does not") {
    bench.SentinelNames(kOtherPort, 5);
    CheckWithheld(bench.Decide(), "Sentinel names 10.0.0.1:7002 at epoch 5");
  }
  SUBCASE("an old view is no witness") {
    bench.SentinelNames(kPort, 5);
    bench.now += 6s;
    CheckWithheld(bench.Decide(), "no Sentinel confirms it");
  }
  SUBCASE("the view of the highest epoch counts") {
    bench.SentinelNames(kPort, 5, "s1");
    bench.SentinelNames(kOtherPort, 6, "s2");
    CheckWithheld(bench.Decide(), "epoch 6");
  }
  SUBCASE("two views of one epoch that differ confirm nobody") {
    bench.SentinelNames(kPort, 5, "s1");
    bench.SentinelNames(kOtherPort, 5, "s2");
    CHECK_FALSE(bench.Decide().take);
  }
  SUBCASE("Sentinel's word alone is not enough") {
    bench.SentinelNames(kPort, 5);
    bench.Says(Role::kReplica);
    CheckPublished(bench.Decide(), Tag::kReplica, CheckStatus::kPassing, "replica of 10.0.0.1:7002");
  }
}

TEST_CASE("Arbiter: an election confirms its choice before the views follow") {
  Bench bench = WithSentinels();
  bench.Claimed(Bench::ClaimOf(kOtherPort, 5));
  bench.SentinelNames(kOtherPort, 5);
  bench.SentinelChooses(kPort, 6);
  SUBCASE("while it is still a replica nothing happens") {
    bench.Says(Role::kReplica);
    CHECK_FALSE(bench.Decide().take);
  }
  SUBCASE("once it says master it takes the claim at the election's epoch") {
    bench.Says(Role::kMaster);
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.take);
    CHECK(verdict.take->epoch == 6);
  }
  SUBCASE("an election that was aborted confirms nobody") {
    bench.arbiter.OnElection("s1", std::nullopt);
    bench.Says(Role::kMaster);
    CheckWithheld(bench.Decide(), "superseded by 10.0.0.1:7002 at epoch 5");
  }
  SUBCASE("an election below the views is history") {
    bench.SentinelNames(kOtherPort, 7, "s2");
    bench.Says(Role::kMaster);
    CheckWithheld(bench.Decide(), "epoch 7");
  }
}

TEST_CASE("Arbiter: three Sentinels that were all reset know no others: one of them is no majority") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.Claimed(Bench::ClaimOf(kOtherPort, 9));
  bench.arbiter.OnCatalog({});
  bench.now += 20s;
  for (const char* sentinel : {"s1", "s2", "s3"}) {
    redis::SentinelView reset;
    reset.sentinel_id = sentinel;
    reset.master_name = "mymaster";
    reset.master = At(reset.sentinel_id == "s1" ? kPort : kOtherPort);
    reset.config_epoch = reset.sentinel_id == "s1" ? 1 : 0;
    reset.direct = true;
    bench.arbiter.OnSentinelView(reset, bench.now);
  }
  CheckWithheld(bench.Decide(), "superseded");
}

TEST_CASE("Arbiter: Sentinels that were reset may replace a claim whose holder is not served") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.Claimed(Bench::ClaimOf(kOtherPort, 9));
  bench.SentinelNames(kPort, 0, "s1");
  SUBCASE("one of three is no majority") {
    bench.arbiter.OnCatalog({});
    CheckWithheld(bench.Decide(), "superseded");
  }
  SUBCASE("nor is one that was reset and knows no other, while those are silent") {
    bench.SentinelNames(kPort, 0, "s2");
    bench.arbiter.OnCatalog({});
    bench.now += 15s;
    redis::SentinelView reset;
    reset.sentinel_id = "s1";
    reset.master = At(kPort);
    reset.direct = true;
    bench.arbiter.OnSentinelView(reset, bench.now);
    CheckWithheld(bench.Decide(), "superseded");
  }
  bench.SentinelNames(kPort, 0, "s2");
  SUBCASE("a holder that is served stays") {
    bench.arbiter.OnCatalog({{.node = "n1", .service_id = "redis-h-7002", .served_as_master = true}});
    CheckWithheld(bench.Decide(), "superseded");
  }
  SUBCASE("an unread catalog does not say that it is gone") { CheckWithheld(bench.Decide(), "superseded"); }
  SUBCASE("a claim that was yielded a moment ago is no exception: views from before a cut are still fresh") {
    Claim yielded = Bench::ClaimOf(kOtherPort, 9);
    yielded.state = Claim::State::kYielded;
    bench.Claimed(yielded);
    bench.arbiter.OnCatalog({});
    CheckWithheld(bench.Decide(), "superseded");
  }
  SUBCASE("two of three and nobody served") {
    bench.arbiter.OnCatalog({{.node = "n1", .service_id = "redis-h-7002", .served_as_master = false}});
    // Right after a failover most Sentinels have not heard of it, and the catalog may have been read before the claim
    // (found by tests/simulation).
    CheckWithheld(bench.Decide(), "superseded");
    bench.now += 10s;
    bench.SentinelNames(kPort, 0, "s1");
    bench.SentinelNames(kPort, 0, "s2");
    CHECK(bench.Decide().take);
  }
}

TEST_CASE("Arbiter: auto finds the authority out") {
  Bench bench;
  bench.Says(Role::kMaster);
  bench.NoClaim();
  SUBCASE("it waits for a hello and then settles for replication") {
    CHECK(bench.Decide() == Verdict{});
    bench.now += 3s - 1ms;
    CHECK(bench.Decide() == Verdict{});
    bench.now += 1ms;
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.take);
    CHECK(verdict.take->authority == Authority::kReplication);
    SUBCASE("Sentinel that comes later outranks it") {
      Claim own = *verdict.take;
      bench.Claimed(own);
      bench.SentinelNames(kPort, 0);
      const Verdict upgraded = bench.Decide();
      REQUIRE(upgraded.take);
      CHECK(upgraded.take->authority == Authority::kSentinel);
      CHECK(upgraded.take->epoch == 0);
    }
  }
  SUBCASE("a hello makes it Sentinel") {
    bench.SentinelNames(kOtherPort, 1);
    CheckWithheld(bench.Decide(), "Sentinel names");
  }
  SUBCASE("a claim of Sentinel makes it Sentinel at once") {
    bench.Claimed(Bench::ClaimOf(kOtherPort, 5));
    CheckWithheld(bench.Decide(), "superseded");
  }
  SUBCASE("the wait counts from the server's first answer, not from the agent's start") {
    bench.state.health = Health::kRefused;
    bench.now += 10s;
    bench.Decide();
    bench.state.health = Health::kAnswering;
    bench.state.health_since = bench.now;
    bench.now += 1s;
    CHECK(bench.Decide() == Verdict{});
  }
}

TEST_CASE("Arbiter: an instance is named by whatever address comes with its run id") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.NoClaim();
  bench.Decide();  // Its run id is known from here on.
  const redis::Endpoint announced{.host = "redis-1.example", .port = 16379, .unix_path = {}};
  const auto elects = [&] { bench.arbiter.OnElection("s1", redis::Election{"s1", "mymaster", announced, 5}); };
  elects();
  CheckWithheld(bench.Decide(), "no Sentinel confirms it");
  bench.arbiter.OnSentinelInstances({{announced, "run-1"}, {At(kOtherPort), "run-2"}});
  REQUIRE(bench.Decide().take);
  CHECK(bench.Decide().take->epoch == 5);
  SUBCASE("also after a restart, before Sentinel has heard of it") {
    bench.state.server.run_id = "run-9";
    bench.Decide();
    bench.arbiter.OnSentinelInstances({{announced, "run-1"}});
    CHECK(bench.Decide().take);
    bench.arbiter.OnSentinelInstances({{announced, "run-9"}});
    CHECK(bench.Decide().take);
  }
  SUBCASE("not when another server has the address") {
    bench.arbiter.OnSentinelInstances({{announced, "run-7"}});
    CheckWithheld(bench.Decide(), "no Sentinel confirms it");
  }
}

TEST_CASE("Arbiter: what Sentinels at a low epoch are worth") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  SUBCASE("most of them confirm a holder that was restarted") {
    Claim before = Bench::ClaimOf(kPort, 5);
    before.run_id = "run-0";
    bench.Claimed(before);
    bench.SentinelNames(kPort, 1, "s1");
    CheckWithheld(bench.Decide(), "restarted");
    bench.SentinelNames(kPort, 1, "s2");
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
  }
  SUBCASE("one that was reset knows no others and is no majority of itself") {
    bench.SentinelNames(kOtherPort, 5, "s2");
    bench.SentinelNames(kOtherPort, 5, "s3");
    bench.Claimed(Bench::ClaimOf(kOtherPort, 5));
    bench.arbiter.OnCatalog({});
    bench.now += 20s;
    redis::SentinelView reset;
    reset.sentinel_id = "s1";
    reset.master_name = "mymaster";
    reset.master = At(kPort);
    reset.direct = true;
    bench.arbiter.OnSentinelView(reset, bench.now);
    CheckWithheld(bench.Decide(), "superseded");
  }
  SUBCASE("an election is nothing against a view of the same epoch") {
    bench.NoClaim();
    bench.SentinelChooses(kPort, 6);
    bench.SentinelNames(kOtherPort, 6, "s2");
    CheckWithheld(bench.Decide(), "Sentinel names");
  }
}

// A Sentinel that was told SENTINEL FAILOVER takes the next epoch without a vote, and so may another one that it
// cannot reach. Whoever has an epoch leaves it for a higher one alone, so that its majority is final (found by
// tests/simulation, seed 1014194).
TEST_CASE("Arbiter: of two failovers at one epoch that one counts which most Sentinels follow") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  SUBCASE("the other: what was claimed by the event is withdrawn at once") {
    bench.Claimed(Bench::ClaimOf(kPort, 1));
    bench.SentinelChooses(kPort, 1);
    bench.SentinelNames(kOtherPort, 1, "s1");
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "master at epoch 1");
    bench.SentinelNames(kOtherPort, 1, "s2");
    CheckWithheld(bench.Decide(), "most Sentinels name 10.0.0.1:7002 at epoch 1");
  }
  SUBCASE("this one: it takes the claim from the other") {
    bench.Claimed(Bench::ClaimOf(kOtherPort, 1));
    bench.SentinelNames(kPort, 1, "s1");
    CheckWithheld(bench.Decide(), "superseded");
    bench.SentinelNames(kPort, 1, "s2");
    REQUIRE(bench.Decide().take);
    CHECK(bench.Decide().take->epoch == 1);
    bench.SentinelNames(kOtherPort, 1, "s3");
    CHECK(bench.Decide().take);
  }
  SUBCASE("not by votes from before the other one's claim, which may be of before an operator's re-monitoring") {
    bench.SentinelNames(kPort, 1, "s1");
    bench.SentinelNames(kPort, 1, "s2");
    bench.now += 1s;
    bench.Claimed(Bench::ClaimOf(kOtherPort, 1));
    CheckWithheld(bench.Decide(), "superseded");
    bench.SentinelNames(kPort, 1, "s1");
    bench.SentinelNames(kPort, 1, "s2");
    CHECK(bench.Decide().take);
  }
  SUBCASE("most of them at a lower epoch have not heard yet") {
    bench.Claimed(Bench::ClaimOf(kPort, 1));
    bench.SentinelNames(kOtherPort, 1, "s1");
    bench.SentinelNames(kOtherPort, 0, "s2");
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "master at epoch 1");
  }
  SUBCASE("a later failover to this one outranks them") {
    bench.Claimed(Bench::ClaimOf(kPort, 1));
    bench.SentinelNames(kOtherPort, 1, "s1");
    bench.SentinelNames(kOtherPort, 1, "s2");
    bench.SentinelChooses(kPort, 2);
    REQUIRE(bench.Decide().take);
    CHECK(bench.Decide().take->epoch == 2);
  }
}
