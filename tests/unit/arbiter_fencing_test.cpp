// When a master that is cut off fences itself, and when one that was superseded is fenced.
#include <doctest/doctest.h>

#include "arbiter_bench.h"

using namespace rcb;
using namespace rcb::agent;
using namespace std::chrono_literals;
using consul::CheckStatus;
using redis::Role;

TEST_CASE("Arbiter: a holder that is cut off fences itself within the lease") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.Claimed(Bench::ClaimOf(kPort, 5));
  bench.Decide();
  bench.now += 10s;
  CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
  bench.now += 1ms;
  CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kCritical, "fenced");
  SUBCASE("a read of the claim lifts it") {
    bench.Claimed(Bench::ClaimOf(kPort, 5));
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
  }
  SUBCASE("a majority of Sentinels lifts it: a Consul outage alone changes nothing") {
    bench.SentinelNames(kPort, 5, "s1");
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kCritical, "fenced");
    bench.SentinelNames(kPort, 5, "s2");
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
  }
}

TEST_CASE("Arbiter: Sentinels that fell silent keep the lease from their last word, not for as long as it is fresh") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.Claimed(Bench::ClaimOf(kPort, 5));
  bench.now += 5s;
  bench.SentinelNames(kPort, 5, "s1");
  bench.now += 1s;
  bench.SentinelNames(kPort, 5, "s2");
  bench.SentinelNames(kPort, 5, "s3");
  bench.now += 4s;
  CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
  bench.now += 6s;
  CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
  bench.now += 1ms;
  CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kCritical, "fenced");
}

TEST_CASE("Arbiter: the lease follows Sentinel's down-after") {
  struct Case {
    std::chrono::milliseconds down_after, lease;
  };
  for (const Case& item : {Case{1s, 3s}, Case{5s, 4s}, Case{60s, 10s}}) {
    CAPTURE(item.down_after.count());
    Bench bench = WithSentinels();
    bench.Says(Role::kMaster);
    redis::SentinelView view;
    view.sentinel_id = "s1";
    view.master = At(kPort);
    view.config_epoch = 5;
    view.direct = true;
    view.other_sentinels = 2;
    view.down_after = item.down_after;
    bench.arbiter.OnSentinelView(view, bench.now);
    bench.Claimed(Bench::ClaimOf(kPort, 5));
    bench.now += item.lease;
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
    bench.now += 1ms;
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kCritical, "fenced");
  }
}

// Found by tests/simulation: its claim was written over, and then its host was cut off.
TEST_CASE("Arbiter: a master whose takeover does not come through fences itself as well") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  const auto reads = [&bench](bool own) { own ? bench.Claimed(Bench::ClaimOf(kPort, 4)) : bench.NoClaim(); };
  bool own = false;
  SUBCASE("its claim has vanished") { own = false; }
  SUBCASE("it holds the claim at a lower epoch") { own = true; }
  reads(own);
  bench.SentinelNames(kPort, 5);
  CHECK(bench.Decide().take);
  bench.now += 11s;
  bench.SentinelNames(kPort, 5);  // One of three: the one on its own host.
  CheckPublished(bench.Decide(), own ? Tag::kMaster : Tag::kNone, CheckStatus::kCritical, "fenced");
  CHECK_FALSE(bench.Decide().take);
  reads(own);
  CHECK(bench.Decide().take);
}

TEST_CASE("Arbiter: fencing Redis needs to be asked for, the claim, and Sentinel's word for its holder") {
  Arbiter::Options options;
  options.sentinels_configured = true;
  options.demote_superseded = true;
  Bench bench(options);
  bench.Says(Role::kMaster);
  bench.Claimed(Bench::ClaimOf(kPort, 5));
  bench.SentinelNames(kPort, 5);
  SUBCASE("writes are held back once Sentinel has chosen a successor") {
    CHECK_FALSE(bench.Decide().hold_writes);
    bench.SentinelChooses(kOtherPort, 6);
    const Verdict verdict = bench.Decide();
    CHECK(verdict.hold_writes);
    CHECK_FALSE(verdict.demote_to);
    bench.arbiter.OnElection("s1", std::nullopt);
    CHECK_FALSE(bench.Decide().hold_writes);
  }
  SUBCASE("it follows the successor that took the claim at the election's epoch") {
    bench.SentinelChooses(kOtherPort, 6);
    bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
    CHECK(bench.Decide().demote_to == At(kOtherPort));
  }
  SUBCASE("or whom Sentinel names at the claim's epoch") {
    bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
    CHECK_FALSE(bench.Decide().demote_to);
    bench.SentinelNames(kOtherPort, 6, "s2");
    // One of three: it may have missed a promotion that the others saw before they were lost (found by
    // tests/simulation).
    CHECK_FALSE(bench.Decide().demote_to);
    bench.SentinelNames(kOtherPort, 6, "s3");
    CHECK(bench.Decide().demote_to == At(kOtherPort));
  }
  SUBCASE("never when it might be the right one") {
    bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
    bench.SentinelNames(kPort, 7);
    CHECK_FALSE(bench.Decide().demote_to);
  }
  SUBCASE("never when it was: a Sentinel that was away names the claim's old holder (found by tests/simulation)") {
    bench.SentinelNames(kPort, 7);
    bench.Decide();
    bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
    bench.now += 6s;
    bench.SentinelNames(kOtherPort, 6, "s2");
    bench.SentinelNames(kOtherPort, 6, "s3");
    CHECK_FALSE(bench.Decide().demote_to);
  }
  SUBCASE("never a new one: claim and views may be of the time before its promotion (found by tests/simulation)") {
    bench.Claimed(Bench::ClaimOf(kOtherPort, 5));
    bench.SentinelNames(kOtherPort, 5, "s2");
    bench.SentinelNames(kOtherPort, 5, "s3");
    CHECK(bench.Decide().demote_to);
    bench.state.role_since = bench.now;
    CHECK_FALSE(bench.Decide().demote_to);
    bench.now += 5s;
    bench.SentinelNames(kOtherPort, 5, "s2");
    bench.SentinelNames(kOtherPort, 5, "s3");
    CHECK(bench.Decide().demote_to == At(kOtherPort));
  }
  SUBCASE("never for a claim that was yielded, or of replication") {
    Claim other = Bench::ClaimOf(kOtherPort, 6);
    bench.SentinelNames(kOtherPort, 6, "s2");
    bench.SentinelNames(kOtherPort, 6, "s3");
    other.state = Claim::State::kYielded;
    bench.Claimed(other);
    CHECK_FALSE(bench.Decide().demote_to);
    other.state = Claim::State::kHeld;
    other.authority = Authority::kReplication;
    bench.Claimed(other);
    CHECK_FALSE(bench.Decide().demote_to);
  }
  SUBCASE("a replica is left alone") {
    bench.SentinelNames(kOtherPort, 6, "s2");
    bench.SentinelNames(kOtherPort, 6, "s3");
    bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
    bench.Says(Role::kReplica);
    CHECK_FALSE(bench.Decide().demote_to);
  }
}

TEST_CASE("Arbiter: without demote_superseded Redis is never touched") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.SentinelNames(kOtherPort, 6, "s1");
  bench.SentinelNames(kOtherPort, 6, "s2");
  bench.SentinelChooses(kOtherPort, 6);
  bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
  CHECK_FALSE(bench.Decide().demote_to);
  bench.Claimed(Bench::ClaimOf(kPort, 5));
  CHECK_FALSE(bench.Decide().hold_writes);
}
