// Who is master where there is no Sentinel.
#include <doctest/doctest.h>

#include "arbiter_bench.h"

using namespace rcb;
using namespace rcb::agent;
using consul::CheckStatus;
using redis::Role;

TEST_CASE("Arbiter: authority replication") {
  Bench bench = WithReplication();
  bench.Says(Role::kMaster);
  Claim other = Bench::ClaimOf(kOtherPort, 3);
  other.authority = Authority::kReplication;
  SUBCASE("without a claim the first wins") {
    bench.NoClaim();
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.take);
    CHECK(verdict.take->epoch == 1);
  }
  SUBCASE("the others are in conflict") {
    bench.Claimed(other);
    CheckWithheld(bench.Decide(), "held by 10.0.0.1:7002 at epoch 3");
  }
  SUBCASE("held by this instance") {
    Claim own = Bench::ClaimOf(kPort, 3);
    own.authority = Authority::kReplication;
    bench.Claimed(own);
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 3");
    SUBCASE("the same process with a new replication id is the same data set") {
      bench.state.info->replid = "replid-new";
      const Verdict verdict = bench.Decide();
      CheckPublished(verdict, Tag::kMaster, CheckStatus::kPassing, "epoch 3");
      REQUIRE(verdict.rewrite);
      CHECK(verdict.rewrite->replid == "replid-new");
    }
    SUBCASE("an unrelated data set is a warning and not written into the claim") {
      bench.state.server.run_id = "run-9";
      bench.state.info->replid = "replid-new";
      const Verdict verdict = bench.Decide();
      CheckPublished(verdict, Tag::kMaster, CheckStatus::kWarning, "unrelated data set");
      CHECK_FALSE(verdict.rewrite);
    }
    SUBCASE("after a yield an unrelated data set is withheld: the successor has the real one") {
      own.state = Claim::State::kYielded;
      bench.Claimed(own);
      bench.state.server.run_id = "run-9";
      bench.state.info->replid = "replid-new";
      CheckWithheld(bench.Decide(), "gave the role up");
    }
    SUBCASE("a data set that continues is written into the claim") {
      bench.state.info->replid = "replid-new";
      bench.state.info->replid2 = "replid-1";
      const Verdict verdict = bench.Decide();
      CheckPublished(verdict, Tag::kMaster, CheckStatus::kPassing, "epoch 3");
      REQUIRE(verdict.rewrite);
      CHECK(verdict.rewrite->replid == "replid-new");
    }
  }
  SUBCASE("a descendant takes over from a holder that is gone") {
    bench.Claimed(other);
    bench.state.info->replid2 = "replid-2";
    CheckWithheld(bench.Decide(), "held by");  // The catalog was not read.
    bench.arbiter.OnCatalog({{.node = "n1", .service_id = "redis-h-7002", .served_as_master = true}});
    CheckWithheld(bench.Decide(), "held by");  // A healthy holder is never displaced.
    bench.arbiter.OnCatalog({{.node = "n1", .service_id = "redis-h-7002", .served_as_master = false}});
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.take);
    CHECK(verdict.take->epoch == 4);
  }
  SUBCASE("a stranger does not, even then") {
    bench.Claimed(other);
    bench.state.info->replid2 = "0000000000000000000000000000000000000000";
    bench.arbiter.OnCatalog({});
    CheckWithheld(bench.Decide(), "held by");
  }
  SUBCASE("a descendant takes over from a holder that yielded") {
    other.state = Claim::State::kYielded;
    bench.Claimed(other);
    bench.state.info->replid2 = "replid-2";
    bench.arbiter.OnCatalog({{.node = "n1", .service_id = "redis-h-7002", .served_as_master = true}});
    CHECK(bench.Decide().take);
  }
  SUBCASE("Sentinel's claim is not touched") {
    bench.Claimed(Bench::ClaimOf(kOtherPort, 5));
    CheckWithheld(bench.Decide(), "Sentinel's");
  }
}

TEST_CASE("Arbiter: without Sentinel an unrelated data set of the holder is withheld when told so") {
  Arbiter::Options options;
  options.authority = Authority::kReplication;
  options.withhold_on_dataset_loss = true;
  Bench bench(options);
  bench.Says(Role::kMaster);
  Claim own = Bench::ClaimOf(kPort, 3);
  own.authority = Authority::kReplication;
  bench.Claimed(own);
  bench.state.server.run_id = "run-9";
  bench.state.info->replid = "replid-new";
  CheckWithheld(bench.Decide(), "unrelated data set");
}

TEST_CASE("Arbiter: before Redis 4.0 a yielding holder names its successor") {
  Bench bench = WithReplication();
  bench.Says(Role::kMaster);
  bench.state.info->replid.clear();
  Claim other = Bench::ClaimOf(kOtherPort, 3);
  other.authority = Authority::kReplication;
  other.state = Claim::State::kYielded;
  other.replid.clear();
  other.follows = At(kPort).ToString();
  bench.Claimed(other);
  CHECK(bench.Decide().take);
  other.follows = At(7009).ToString();
  bench.Claimed(other);
  CheckWithheld(bench.Decide(), "held by");
}
