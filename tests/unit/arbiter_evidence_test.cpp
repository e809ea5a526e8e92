// What the Arbiter makes of the server's own state.
#include <doctest/doctest.h>

#include <iterator>
#include <string>

#include "arbiter_bench.h"
#include "readme_table.h"

using namespace rcb;
using namespace rcb::agent;
using namespace std::chrono_literals;
using consul::CheckStatus;
using redis::Health;
using redis::Role;

namespace {

/// A row of README's table "local evidence": the evidence, made on a bench that was a published replica before.
struct TableRow {
  const char* evidence;
  void (*make)(Bench&);
};

const TableRow kTableRows[] = {
    {"master, claim held by this instance",
     [](Bench& bench) {
       bench.Says(Role::kMaster);
       bench.SentinelNames(kPort, 5);
       bench.Claimed(Bench::ClaimOf(kPort, 5));
     }},
    {"master, not confirmed by any authority",
     [](Bench& bench) {
       bench.Says(Role::kMaster);
       bench.NoClaim();
     }},
    {"master, claim held elsewhere at a higher epoch",
     [](Bench& bench) {
       bench.Says(Role::kMaster);
       bench.SentinelNames(kPort, 4);
     }},
    {"replica, link up, in sync", [](Bench&) {}},
    {"replica, link down",
     [](Bench& bench) {
       bench.state.info->master_link_up = false;
       bench.state.info->master_link_down_since = 29s;
     }},
    {"replica, link down for 30 s",
     [](Bench& bench) {
       bench.state.info->master_link_up = false;
       bench.state.info->master_link_down_since = 30s;
     }},
    {"replica of one that has lost its own link",
     [](Bench& bench) {
       bench.arbiter.OnUpstream(0, {At(kOtherPort), bench.now - 29s, {}}, false);
     }},
    {"replica of one that has lost its own link for 30 s",
     [](Bench& bench) {
       bench.arbiter.OnUpstream(0, {At(kOtherPort), bench.now - 30s, {}}, false);
     }},
    {"replica behind by more than `replica_max_lag`", [](Bench& bench) { bench.arbiter.OnUpstream(0, {}, true); }},
    {"replica that takes writes of its own", [](Bench& bench) { bench.state.info->read_only = false; }},
    {"replica, full synchronisation or loading", [](Bench& bench) { bench.state.loading = true; }},
    {"replica hidden by `replica-announced no`", [](Bench& bench) { bench.state.info->announced = false; }},
    {"connection refused", [](Bench& bench) { bench.state.health = Health::kRefused; }},
    {"no reply for `hang_after`", [](Bench& bench) { bench.state.health = Health::kSilent; }},
    {"-BUSY",
     [](Bench& bench) {
       bench.state.health = Health::kBusy;
       bench.state.health_since = bench.now;
     }},
    {"-BUSY for 10 s",
     [](Bench& bench) {
       bench.state.health = Health::kBusy;
       bench.state.health_since = bench.now - 10s;
     }},
    {"-NOAUTH, -WRONGPASS, -NOPERM", [](Bench& bench) { bench.state.health = Health::kDenied; }},
};

std::string TagCell(Tag tag, Tag before) {
  if (tag == Tag::kNone) return "none";
  if (tag == before) return "last";
  return tag == Tag::kMaster ? "`master`" : "`replica`";
}

}  // namespace

TEST_CASE("Arbiter: the README's table and the code say the same") {
  const auto table = ReadmeTable("local evidence");
  CHECK(table.size() == std::size(kTableRows));
  for (const TableRow& row : kTableRows) {
    CAPTURE(std::string(row.evidence));
    REQUIRE(table.contains(row.evidence));
    const auto& [tag, check] = table.at(row.evidence);
    Bench bench = WithSentinels();
    bench.Says(Role::kReplica);
    bench.Claimed(Bench::ClaimOf(kOtherPort, 5));
    const Publication before = bench.Decide().publication.value();
    row.make(bench);
    const Verdict verdict = bench.Decide();
    REQUIRE(verdict.publication);
    const Publication& publication = *verdict.publication;
    CHECK((tag == TagCell(publication.tag, Tag::kNone) || tag == TagCell(publication.tag, before.tag)));
    CHECK((check == ToString(publication.status) || (check == "unchanged" && publication == before)));
  }
}

TEST_CASE("Arbiter: nothing is said before something is known") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  SUBCASE("the server was not heard yet") {
    bench.state.health = Health::kUnknown;
    bench.NoClaim();
    CHECK(bench.Decide() == Verdict{});
  }
  SUBCASE("the claim was not read yet") {
    bench.SentinelNames(kPort, 5);
    CHECK(bench.Decide() == Verdict{});
  }
}

TEST_CASE("Arbiter: local evidence, row by row") {
  Bench bench = WithSentinels();
  bench.Says(Role::kReplica);
  bench.Claimed(Bench::ClaimOf(kOtherPort, 5));
  redis::ReplicationInfo& info = *bench.state.info;
  SUBCASE("in sync") { CheckPublished(bench.Decide(), Tag::kReplica, CheckStatus::kPassing, "in sync"); }
  SUBCASE("link down for a moment") {
    info.master_link_up = false;
    info.master_link_down_since = 5s;
    CheckPublished(bench.Decide(), Tag::kReplica, CheckStatus::kWarning, "link to 10.0.0.1:7002 is down");
  }
  SUBCASE("link down for long") {
    info.master_link_up = false;
    info.master_link_down_since = 30s;
    CheckPublished(bench.Decide(), Tag::kReplica, CheckStatus::kCritical, "too long");
  }
  SUBCASE("a link that never was up counts from the role") {
    info.master_link_up = false;
    bench.state.role_since = bench.now - 31s;
    CheckPublished(bench.Decide(), Tag::kReplica, CheckStatus::kCritical, "too long");
  }
  SUBCASE("full synchronisation") {
    info.master_link_up = false;
    info.master_sync_in_progress = true;
    CheckPublished(bench.Decide(), Tag::kReplica, CheckStatus::kCritical, "full synchronisation");
  }
  SUBCASE("loading") {
    bench.state.loading = true;
    CheckPublished(bench.Decide(), Tag::kReplica, CheckStatus::kCritical, "loading");
  }
  SUBCASE("hidden") {
    info.announced = false;
    CheckPublished(bench.Decide(), Tag::kNone, CheckStatus::kCritical, "replica-announced no");
  }
  SUBCASE("refused") {
    bench.state.health = Health::kRefused;
    bench.state.detail = "10.0.0.1:7001 refuses connections";
    CheckPublished(bench.Decide(), Tag::kReplica, CheckStatus::kCritical, "refuses connections");
  }
  SUBCASE("a dead holder keeps its tag, critical, until it is superseded") {
    info.role = Role::kMaster;
    bench.state.health = Health::kRefused;
    bench.Claimed(Bench::ClaimOf(kPort, 5));
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kCritical, "");
    bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
    CheckPublished(bench.Decide(), Tag::kNone, CheckStatus::kCritical, "");
  }
  SUBCASE("busy is unchanged for a bound") {
    bench.Decide();
    bench.state.health = Health::kBusy;
    bench.state.health_since = bench.now;
    bench.state.detail = "a script blocks it";
    bench.now += 9s;
    CheckPublished(bench.Decide(), Tag::kReplica, CheckStatus::kPassing, "in sync");
    bench.now += 1s;
    CheckPublished(bench.Decide(), Tag::kReplica, CheckStatus::kCritical, "script");
  }
  SUBCASE("denied") {
    bench.state.health = Health::kDenied;
    bench.state.detail = "NOAUTH";
    CheckPublished(bench.Decide(), Tag::kNone, CheckStatus::kCritical, "NOAUTH");
  }
  SUBCASE("a master that loads its data serves nobody") {
    info.role = Role::kMaster;
    bench.state.loading = true;
    bench.Claimed(Bench::ClaimOf(kPort, 5));
    CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kCritical, "loading");
  }
}

TEST_CASE("Arbiter: a busy master whose claim went elsewhere is not left as it was") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.SentinelNames(kPort, 5);
  bench.Claimed(Bench::ClaimOf(kPort, 5));
  bench.Decide();
  bench.state.health = Health::kBusy;
  bench.state.health_since = bench.now;
  CheckPublished(bench.Decide(), Tag::kMaster, CheckStatus::kPassing, "epoch 5");
  bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
  CheckWithheld(bench.Decide(), "superseded by 10.0.0.1:7002 at epoch 6");
}
