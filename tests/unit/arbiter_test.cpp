#include "agent/arbiter.h"

#include <doctest/doctest.h>

#include <map>
#include <utility>
#include <vector>

#include "readme_table.h"

using namespace rcb;
using namespace rcb::agent;
using namespace std::chrono_literals;
using consul::CheckStatus;
using redis::Health;
using redis::Role;

namespace {

constexpr std::uint16_t kPort = 7001;
constexpr std::uint16_t kOtherPort = 7002;

redis::Endpoint At(std::uint16_t port) { return {.host = "10.0.0.1", .port = port, .unix_path = {}}; }

/// One local instance at 10.0.0.1:7001, and whatever the witnesses say.
struct Bench {
  explicit Bench(Arbiter::Options options = {}) : arbiter(options, {Local()}) {
    state.health = Health::kAnswering;
    state.health_since = now;
    state.server.run_id = "run-1";
    state.info.emplace();
    state.info->replid = "replid-1";
    state.info->master_link_up = true;
    state.info->master = At(kOtherPort);
  }

  static Identity Local() {
    return {.service_id = "redis-h-7001", .node = "n1", .address = "10.0.0.1", .port = kPort, .addresses = {At(kPort)}};
  }

  Verdict Decide() {
    arbiter.OnInstance(0, state);
    return arbiter.Decide(now).at(0);
  }

  void Says(Role role) { state.info->role = role; }

  void SentinelNames(std::uint16_t port, std::uint64_t epoch, const std::string& id = "s1") {
    redis::SentinelView view;
    view.sentinel_id = id;
    view.master_name = "mymaster";
    view.master = At(port);
    view.config_epoch = epoch;
    view.direct = true;
    view.other_sentinels = 2;
    arbiter.OnSentinelView(view, now);
  }

  void SentinelChooses(std::uint16_t port, std::uint64_t epoch) {
    arbiter.OnElection("s1", redis::Election{"s1", "mymaster", At(port), epoch});
  }

  static Claim ClaimOf(std::uint16_t port, std::uint64_t epoch) {
    Claim claim;
    claim.authority = Authority::kSentinel;
    claim.epoch = epoch;
    claim.node = "n1";
    claim.service_id = "redis-h-" + std::to_string(port);
    claim.address = "10.0.0.1";
    claim.port = port;
    claim.run_id = port == kPort ? "run-1" : "run-2";
    claim.replid = port == kPort ? "replid-1" : "replid-2";
    return claim;
  }

  void IsServed() { arbiter.OnCatalog({{.node = "n1", .service_id = "redis-h-7001", .served_as_master = true}}); }

  void Claimed(const Claim& claim) {
    arbiter.OnClaim({.claim = claim, .index = ++index, .unreadable = {}, .garbage = {}}, now);
  }
  void NoClaim() { arbiter.OnClaim({}, now); }

  TimePoint now{1h};
  std::uint64_t index = 10;
  redis::InstanceState state;
  Arbiter arbiter;
};

Bench WithSentinels() {
  Arbiter::Options options;
  options.sentinels_configured = true;
  return Bench(options);
}

Bench WithReplication() {
  Arbiter::Options options;
  options.authority = Authority::kReplication;
  return Bench(options);
}

void CheckPublished(const Verdict& verdict, Tag tag, CheckStatus status, const std::string& part) {
  REQUIRE(verdict.publication);
  CHECK(verdict.publication->tag == tag);
  CHECK(verdict.publication->status == status);
  CHECK_MESSAGE(verdict.publication->reason.find(part) != std::string::npos, verdict.publication->reason);
}

void CheckWithheld(const Verdict& verdict, const std::string& part) {
  CheckPublished(verdict, Tag::kNone, CheckStatus::kCritical, part);
  CHECK_FALSE(verdict.take);
}

/// One row of that table: the evidence that it names, made on a bench that was a published replica before.
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
    CHECK_FALSE(bench.Decide().demote_to);
  }
  SUBCASE("never a new one: claim and views may be of the time before its promotion (found by tests/simulation)") {
    bench.Claimed(Bench::ClaimOf(kOtherPort, 5));
    bench.SentinelNames(kOtherPort, 5);
    CHECK(bench.Decide().demote_to);
    bench.state.role_since = bench.now;
    CHECK_FALSE(bench.Decide().demote_to);
    bench.now += 5s;
    bench.SentinelNames(kOtherPort, 5);
    CHECK(bench.Decide().demote_to == At(kOtherPort));
  }
  SUBCASE("never for a claim that was yielded, or of replication") {
    Claim other = Bench::ClaimOf(kOtherPort, 6);
    bench.SentinelNames(kOtherPort, 6, "s2");
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
    bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
    bench.Says(Role::kReplica);
    CHECK_FALSE(bench.Decide().demote_to);
  }
}

TEST_CASE("Arbiter: without demote_superseded Redis is never touched") {
  Bench bench = WithSentinels();
  bench.Says(Role::kMaster);
  bench.SentinelNames(kOtherPort, 6);
  bench.SentinelChooses(kOtherPort, 6);
  bench.Claimed(Bench::ClaimOf(kOtherPort, 6));
  CHECK_FALSE(bench.Decide().demote_to);
  bench.Claimed(Bench::ClaimOf(kPort, 5));
  CHECK_FALSE(bench.Decide().hold_writes);
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
