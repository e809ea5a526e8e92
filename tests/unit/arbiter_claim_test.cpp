// What the claim in Consul allows and forbids.
#include <doctest/doctest.h>

#include "arbiter_bench.h"

using namespace rcb;
using namespace rcb::agent;
using namespace std::chrono_literals;
using consul::CheckStatus;
using redis::Health;
using redis::Role;

TEST_CASE("Arbiter: the claim's epoch fences an old master") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  SUBCASE("that returns while Sentinel names the new one") {
    bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
    bench.SentinelNames(kOtherPort, 6);
    CheckWithheld(bench.Decide(), "superseded by 10.0.0.1:7002 at epoch 6");
  }
  SUBCASE("that a Sentinel left behind still names") {
    bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
    bench.SentinelNames(kPort, 5);
    CheckWithheld(bench.Decide(), "superseded by 10.0.0.1:7002 at epoch 6");
  }
  SUBCASE("that holds the claim because nobody took it, while Sentinel names another") {
    bench.Claimed(Bench::ClaimOf(kPort, 5));
    bench.IsServed();
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
    bench.SentinelNames(kOtherPort, 6);
    CheckWithheld(bench.Decide(), "Sentinel names 10.0.0.1:7002 at epoch 6");
  }
}

TEST_CASE("Arbiter: a held claim") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.Claimed(Bench::ClaimOf(kPort, 5));
  SUBCASE("stays when all Sentinels are lost") {
    bench.IsServed();
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "master at epoch 5");
    CHECK_FALSE(bench.Decide().take);
  }
  SUBCASE("stays while Sentinel elects a successor of the master that is published") {
    bench.SentinelNames(kPort, 5);
    bench.Decide();
    bench.SentinelChooses(kOtherPort, 6);
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "master at epoch 5");
  }
  SUBCASE("does not come back while Sentinel elects a successor") {
    bench.state.health = Health::kRefused;
    bench.Decide();
    bench.SentinelChooses(kOtherPort, 6);
    bench.state.health = Health::kAnswering;
    CheckWithheld(bench.Decide(), "choosing its successor");
  }
  SUBCASE("of a restarted process waits for a Sentinel to confirm it") {
    bench.state.server.run_id = "run-9";
    CheckWithheld(bench.Decide(), "was restarted");
    bench.SentinelNames(kPort, 5);
    const Verdict verdict = bench.Decide();
    CheckPublished(verdict, Tag::kMaster, CheckStatus::kPassing, "master at epoch 5");
    REQUIRE(verdict.rewrite);
    CHECK(verdict.rewrite->run_id == "run-9");
  }
  SUBCASE("is taken anew at a higher epoch") {
    bench.SentinelNames(kPort, 8);
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.take);
    CHECK(verdict.take->epoch == 8);
  }
  SUBCASE("is yielded by a holder that is a replica now") {
    bench.Says(Role::kReplica);
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.rewrite);
    CHECK(verdict.rewrite->state == Claim::State::kYielded);
    CHECK(verdict.rewrite->epoch == 5);
  }
  SUBCASE("that is not shown waits for a word of Sentinel, or until there will be none") {
    CHECK(bench.Decide() == Verdict{});
    bench.arbiter.OnCatalog({});
    CHECK(bench.Decide() == Verdict{});
    bench.now += 5s;
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "master at epoch 5");
  }
  SUBCASE("is lost when most Sentinels name another for long, though at a lower epoch: they were reset") {
    bench.IsServed();
    bench.Decide();
    for (int second = 0; second < 10; ++second) {
      bench.SentinelNames(kOtherPort, 1, "s1");
      bench.SentinelNames(kOtherPort, 1, "s2");
      bench.Claimed(Bench::ClaimOf(kPort, 5));
      CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "master at epoch 5");
      bench.now += 1s;
    }
    CheckWithheld(bench.Decide(), "most Sentinels name 10.0.0.1:7002");
  }
  SUBCASE("is stable: a second look says the same") { CHECK(bench.Decide() == bench.Decide()); }
}

TEST_CASE("Arbiter: a claim that vanished is first for its former holder") {
  Bench bench = WithReplication();
  bench.Says(Role::kMaster);
  SUBCASE("who takes it again at its epoch") {
    Claim own = Bench::ClaimOf(kPort, 3);
    own.authority = Authority::kReplication;
    bench.Claimed(own);
    bench.NoClaim();
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.take);
    CHECK(verdict.take->epoch == 3);
  }
  SUBCASE("others wait, and take it at the next epoch") {
    Claim other = Bench::ClaimOf(kOtherPort, 3);
    other.authority = Authority::kReplication;
    bench.Claimed(other);
    bench.NoClaim();
    CheckWithheld(bench.Decide(), "vanished");
    bench.now += 9s;
    bench.NoClaim();
    CheckWithheld(bench.Decide(), "vanished");
    bench.now += 1s;
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.take);
    CHECK(verdict.take->epoch == 4);
  }
}

TEST_CASE("Arbiter: the same process on a renamed Consul node holds its claim, and writes the new name into it") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.SentinelNames(kPort, 5);
  Claim claim = Bench::ClaimOf(kPort, 5);
  claim.node = "old-name";
  SUBCASE("the same process") {
    bench.Claimed(claim);
    const Verdict verdict = bench.Decide();
    CheckPublished(verdict, Tag::kMaster, CheckStatus::kPassing, "epoch 5");
    REQUIRE(verdict.rewrite);
    CHECK(verdict.rewrite->node == "n1");
  }
  SUBCASE("another one of the same service ID is somebody else") {
    claim.run_id = "run-8";
    bench.Claimed(claim);
    CheckWithheld(bench.Decide(), "superseded");
  }
}

TEST_CASE("Arbiter: garbage in the key counts as no claim") {
  SUBCASE("Sentinel's master writes over it") {
    Bench bench = WithSentinels();
    bench.Says(Role::kMaster);
    bench.SentinelNames(kPort, 5);
    bench.arbiter.OnClaim({.claim = {}, .index = 4, .unreadable = {}, .garbage = "it is not JSON"}, bench.now);
    CHECK(bench.Decide().take);
  }
  SUBCASE("without Sentinel the former holder has the first word") {
    Bench bench = WithReplication();
    bench.Says(Role::kMaster);
    Claim claim = Bench::ClaimOf(kOtherPort, 5);
    claim.authority = Authority::kReplication;
    bench.Claimed(claim);
    bench.Decide();
    bench.arbiter.OnClaim({.claim = {}, .index = 40, .unreadable = {}, .garbage = "it is not JSON"}, bench.now);
    CheckWithheld(bench.Decide(), "may write it again");
    bench.now += 10s;
    CHECK(bench.Decide().take);
  }
}

TEST_CASE("Arbiter: a claim of a newer version is left alone") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.SentinelNames(kPort, 5);
  SUBCASE("nobody is published anew") {
    bench.arbiter.OnClaim({.claim = {}, .index = 4, .unreadable = "its state is unknown", .garbage = {}}, bench.now);
    CheckWithheld(bench.Decide(), "its state is unknown");
  }
  SUBCASE("who was down is published anew only when it can be read") {
    bench.Claimed(Bench::ClaimOf(kPort, 5));
    bench.Decide();
    bench.state.health = Health::kRefused;
    bench.Decide();
    bench.arbiter.OnClaim({.claim = {}, .index = 4, .unreadable = "its state is unknown", .garbage = {}}, bench.now);
    bench.state.health = Health::kAnswering;
    CheckWithheld(bench.Decide(), "its state is unknown");
  }
  SUBCASE("who is published stays") {
    bench.Claimed(Bench::ClaimOf(kPort, 5));
    bench.Decide();
    bench.arbiter.OnClaim({.claim = {}, .index = 4, .unreadable = "its state is unknown", .garbage = {}}, bench.now);
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
    // It fences itself all the same, and comes back from that (found by tests/simulation).
    bench.now += 11s;
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kCritical, "fenced");
    bench.SentinelNames(kPort, 5);
    bench.arbiter.OnClaim({.claim = {}, .index = 4, .unreadable = "its state is unknown", .garbage = {}}, bench.now);
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
    // But for one that Sentinel has replaced (found by tests/simulation).
    bench.SentinelNames(kOtherPort, 6, "s2");
    CheckWithheld(bench.Decide(), "its state is unknown");
  }
}
