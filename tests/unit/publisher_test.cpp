#include "agent/publisher.h"

#include <doctest/doctest.h>

using namespace rcb;
using namespace rcb::agent;
using namespace std::chrono_literals;
using consul::CheckStatus;

namespace {

const Publication kMaster{Tag::kMaster, CheckStatus::kPassing, "master at epoch 5"};
const Publication kReplica{Tag::kReplica, CheckStatus::kPassing, "replica in sync"};
const Publication kWithheld{Tag::kNone, CheckStatus::kCritical, "superseded"};

consul::ServiceEntry Entry(const std::string& id, const std::string& tag, const std::string& status) {
  consul::ServiceEntry entry;
  entry.node = "n1";
  entry.node_address = "10.0.0.1";
  entry.id = id;
  entry.name = "redis";
  if (!tag.empty()) entry.tags = {tag};
  entry.port = 7001;
  entry.meta = {{"bridge_version", RCB_VERSION}, {"group", "g"}, {"role", tag.empty() ? "none" : tag}};
  if (tag == "master") entry.meta["epoch"] = "5";
  if (tag == "replica") entry.meta["upstream"] = "";
  entry.enable_tag_override = true;
  entry.modify_index = 77;
  entry.checks = {{id + ":role", "Redis role", status, {}, {}, id, 78}};
  entry.raw_service = "{}";
  return entry;
}

struct Bench {
  explicit Bench(const Publisher::Options& options = Options()) : publisher(options, 1) { publisher.OnCatalog({}); }
  /// Nothing of Consul was read yet.
  struct Unread {};
  Bench(const Publisher::Options& options, Unread) : publisher(options, 1) {}

  static Publisher::Options Options() {
    Publisher::Options options;
    options.master_service = options.replica_service = "redis";
    options.claim_key = "service/redis/master";
    return options;
  }

  void Wants(const Publication& publication, std::optional<Claim> take = {}) {
    Verdict verdict;
    verdict.publication = publication;
    verdict.take = std::move(take);
    Publisher::Facts facts;
    facts.service_id = "redis-h-7001";
    facts.node = "n1";
    facts.port = 7001;
    facts.group = "g";
    facts.run_id = run_id;
    publisher.OnVerdict(0, verdict, facts);
  }

  void Claimed(std::uint64_t index, const std::string& holder = "redis-h-7001") {
    Claim claim;
    claim.epoch = 5;
    claim.node = "n1";
    claim.service_id = holder;
    publisher.OnClaim({.claim = claim, .index = index, .unreadable = {}, .garbage = {}}, now);
  }

  /// The one call that is due; answers it with `result`.
  template <typename T>
  T Expect(const consul::Result<void>& result = {}) {
    const auto calls = publisher.Next(now);
    REQUIRE(calls.size() == 1);
    REQUIRE_MESSAGE(std::holds_alternative<T>(calls[0].what), "kind " << calls[0].what.index());
    CHECK(publisher.Next(now).empty());  // One at a time.
    publisher.OnDone(calls[0], result, now);
    return std::get<T>(calls[0].what);
  }

  void ExpectNothing() { CHECK(publisher.Next(now).empty()); }

  /// Brings it to rest as a published replica; another instance holds the claim at index 8.
  void BecomeReplica() {
    Wants(kReplica);
    Expect<Publisher::Register>();
    Expect<Publisher::UpdateTtl>();
    ExpectNothing();
    publisher.OnCatalog({Entry("redis-h-7001", "replica", "passing")});
    Claimed(8, "redis-h-7002");
  }

  /// Brings it to rest as a published master that holds the claim at index 9.
  void BecomeMaster() {
    BecomeReplica();
    Wants(kMaster, Claim{});
    Expect<Publisher::Transaction>();
    Wants(kMaster);
    Claimed(9);
    publisher.OnCatalog({Entry("redis-h-7001", "master", "passing")});
    // The status stays: the new output travels with the registration.
    Expect<Publisher::UpdateTtl>();
    Expect<Publisher::Register>();
    ExpectNothing();
  }

  TimePoint now{1h};
  std::string run_id;
  Publisher publisher;
};

}  // namespace

TEST_CASE("Publisher: a new replica is registered with its check, then the check told why") {
  Bench bench;
  bench.Wants(kReplica);
  const auto registered = bench.Expect<Publisher::Register>();
  CHECK(registered.registration.tags == std::vector<std::string>{"replica"});
  CHECK(registered.registration.check.status == CheckStatus::kCritical);  // Else the output would not be pushed.
  const auto update = bench.Expect<Publisher::UpdateTtl>();
  CHECK(update.check_id == "redis-h-7001:role");
  CHECK(update.output == kReplica.reason);
  bench.ExpectNothing();
  SUBCASE("a heartbeat comes three times in a TTL") {
    bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", "passing")});
    bench.now += 3333ms;
    CHECK(bench.Expect<Publisher::UpdateTtl>().output == kReplica.reason);
    bench.ExpectNothing();
  }
}

TEST_CASE("Publisher: with a new token everything is registered once more, as it is") {
  Bench bench;
  bench.BecomeMaster();
  SUBCASE("at rest") { bench.publisher.OnTokenRenewed(); }
  SUBCASE("while a registration with the old one is under way") {
    bench.publisher.OnTokenRenewed();
    const auto under_way = bench.publisher.Next(bench.now);
    REQUIRE(under_way.size() == 1);
    bench.publisher.OnTokenRenewed();
    bench.publisher.OnDone(under_way[0], {}, bench.now);
  }
  CHECK(bench.Expect<Publisher::Register>().registration.tags == std::vector<std::string>{"master"});
  bench.ExpectNothing();
}

TEST_CASE("Publisher: a new instance becomes master by a transaction on its own critical entry") {
  Bench bench;
  bench.publisher.OnCatalog({});
  bench.publisher.OnClaim({}, bench.now);
  bench.Wants(kMaster, Claim{});
  const auto first = bench.Expect<Publisher::Register>();
  CHECK(first.registration.tags.empty());
  CHECK(first.registration.check.status == CheckStatus::kCritical);
  bench.ExpectNothing();  // The catalog does not show it yet.
  bench.publisher.OnCatalog({Entry("redis-h-7001", "", "critical")});
  // A check that stays critical locally would undo the transaction with the next push.
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kPassing);
  bench.ExpectNothing();  // That push carries the registration without the tag: it must not come after the transaction.
  SUBCASE("the push shows") { bench.publisher.OnCatalog({Entry("redis-h-7001", "", "passing")}); }
  SUBCASE("it does not show in time") { bench.now += 500ms; }
  const auto transaction = bench.Expect<Publisher::Transaction>();
  REQUIRE(transaction.operations.size() == 3);
  const auto& cas = std::get<consul::TxnKvCas>(transaction.operations[0]);
  CHECK(cas.key == "service/redis/master");
  CHECK(cas.index == 0);
  CHECK(std::get<consul::TxnServiceSet>(transaction.operations[1]).tags == std::vector<std::string>{"master"});
  CHECK(std::get<consul::TxnCheckSet>(transaction.operations[2]).check.status == "passing");
  bench.Wants(kMaster);
  CHECK(bench.Expect<Publisher::Register>().registration.tags == std::vector<std::string>{"master"});
  bench.ExpectNothing();
}

TEST_CASE("Publisher: a takeover strips every other master in the same transaction") {
  Bench bench;
  bench.BecomeReplica();
  bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", "passing"), Entry("redis-h-7002", "master", "critical"),
                             Entry("redis-h-7003", "replica", "passing")});
  bench.Wants(kMaster, Claim{});
  const auto transaction = bench.Expect<Publisher::Transaction>();
  REQUIRE(transaction.operations.size() == 5);
  CHECK(std::get<consul::TxnKvCas>(transaction.operations[0]).index == 8);
  const auto& strip = std::get<consul::TxnServiceSet>(transaction.operations[3]);
  CHECK(strip.entry.id == "redis-h-7002");
  CHECK(strip.tags.empty());
  CHECK(strip.index == 77);
  CHECK_FALSE(strip.meta.contains("epoch"));
  const auto& set = std::get<consul::TxnCheckSet>(transaction.operations[4]);
  CHECK(set.check.service_id == "redis-h-7002");
  CHECK(set.check.status == "critical");
  CHECK(set.index == 78);  // It counts as gone: that is compared, for it may be back.
}

TEST_CASE("Publisher: a takeover at a higher epoch of Sentinel's does not rest on the old master being gone") {
  Bench bench;
  bench.BecomeReplica();
  bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", "passing"), Entry("redis-h-7002", "master", "critical")});
  Claim take;
  take.authority = Authority::kSentinel;
  take.epoch = 6;
  bench.Wants(kMaster, take);
  const auto transaction = bench.Expect<Publisher::Transaction>();
  REQUIRE(transaction.operations.size() == 5);
  CHECK(std::get<consul::TxnCheckSet>(transaction.operations[4]).index == 0);
}

// A reading of the catalog may hang while the claim's comes through (found by tests/simulation: a second master).
TEST_CASE("Publisher: a takeover by a catalog that may be older than the claim compares everybody") {
  Bench bench;
  bench.BecomeReplica();
  bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", "passing"), Entry("redis-h-7003", "replica", "passing")});
  bench.Claimed(100, "redis-h-7003");  // Of which the catalog does not know.
  bench.Wants(kMaster, Claim{});
  bench.ExpectNothing();
  bench.now += 1s;
  const auto transaction = bench.Expect<Publisher::Transaction>();
  REQUIRE(transaction.operations.size() == 4);
  const auto& compared = std::get<consul::TxnServiceSet>(transaction.operations[3]);
  CHECK(compared.entry.id == "redis-h-7003");
  CHECK(compared.tags == std::vector<std::string>{"replica"});
  CHECK(compared.index == 77);
}

TEST_CASE("Publisher: a takeover does not ask what the check of a master that is served says by now") {
  Bench bench;
  bench.BecomeReplica();
  bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", "passing"), Entry("redis-h-7002", "master", "passing")});
  bench.Wants(kMaster, Claim{});
  const auto transaction = bench.Expect<Publisher::Transaction>();
  REQUIRE(transaction.operations.size() == 5);
  CHECK(std::get<consul::TxnCheckSet>(transaction.operations[4]).index == 0);
}

TEST_CASE("Publisher: a transaction never exceeds what Consul takes") {
  Bench bench;
  bench.BecomeReplica();
  std::vector<consul::ServiceEntry> entries{Entry("redis-h-7001", "replica", "passing")};
  for (int i = 0; i < 100; ++i) entries.push_back(Entry("other-" + std::to_string(i), "master", "passing"));
  bench.publisher.OnCatalog(entries);
  bench.Wants(kMaster, Claim{});
  CHECK(bench.Expect<Publisher::Transaction>().operations.size() <= consul::kMaxTxnOperations);
}

TEST_CASE("Publisher: what gets worse is told to the check before the registration") {
  Bench bench;
  bench.BecomeMaster();
  bench.Wants(kWithheld);
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kCritical);
  CHECK(bench.Expect<Publisher::Register>().registration.tags.empty());
  bench.ExpectNothing();
}

TEST_CASE("Publisher: a new output alone is carried by a registration") {
  Bench bench;
  bench.BecomeReplica();
  Publication other = kReplica;
  other.reason = "replica of another master";
  bench.Wants(other);
  CHECK(bench.Expect<Publisher::UpdateTtl>().output == other.reason);
  bench.Expect<Publisher::Register>();
  bench.ExpectNothing();
}

TEST_CASE("Publisher: a master that comes back is shown by a transaction that the claim guards") {
  Bench bench;
  bench.BecomeMaster();
  Publication dead = kMaster;
  dead.status = CheckStatus::kCritical;
  bench.Wants(dead);
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kCritical);
  bench.ExpectNothing();
  bench.Wants(kMaster);
  const auto transaction = bench.Expect<Publisher::Transaction>();
  // The claim is written as it is: a takeover that was thought out before must fail (found by tests/simulation).
  CHECK(std::get<consul::TxnKvCas>(transaction.operations[0]).index == 9);
  REQUIRE(transaction.claim);
  CHECK(transaction.claim->epoch == 5);
  CHECK(transaction.claim->revision == 1);  // Else the key's index would stay.
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kPassing);
  bench.ExpectNothing();
}

TEST_CASE("Publisher: a conflict is tried again soon, but not at once") {
  Bench bench;
  bench.BecomeReplica();
  bench.Wants(kMaster, Claim{});
  bench.Expect<Publisher::Transaction>(consul::Fail(consul::ErrorKind::kConflict, "index 9"));
  bench.ExpectNothing();
  bench.now += 20ms;
  bench.Claimed(100);
  // Whoever changed the claim changed the catalog with it: a takeover that rests on the old one would leave that one
  // beside the new master (found by tests/simulation).
  bench.ExpectNothing();
  const auto own = Entry("redis-h-7001", "replica", "passing");
  auto other = Entry("redis-h-7002", "master", "passing");
  bench.publisher.OnCatalog({own, other});
  bench.ExpectNothing();  // It was read before the claim as well.
  SUBCASE("the catalog follows") {
    other.modify_index = 100;
    bench.publisher.OnCatalog({own, other});
  }
  SUBCASE("the catalog did not change") { bench.now += 1s; }
  CHECK(std::get<consul::TxnKvCas>(bench.Expect<Publisher::Transaction>().operations[0]).index == 100);
}

TEST_CASE("Publisher: a takeover that Consul denies is not published, and says so") {
  Bench bench;
  bench.BecomeReplica();
  bench.Wants(kMaster, Claim{});
  bench.Expect<Publisher::Transaction>(consul::Fail(consul::ErrorKind::kDenied, "key write"));
  const auto update = bench.Expect<Publisher::UpdateTtl>();
  CHECK(update.status == CheckStatus::kCritical);
  CHECK(update.output.find("key write") != std::string::npos);
  CHECK(bench.Expect<Publisher::Register>().registration.tags.empty());
  bench.ExpectNothing();
  bench.publisher.OnCatalog({Entry("redis-h-7001", "", "critical")});
  bench.now += 5s;
  bench.Expect<Publisher::UpdateTtl>();    // A heartbeat was due as well.
  bench.Expect<Publisher::Transaction>();  // Perhaps it was mended.
}

TEST_CASE("Publisher: a Consul agent that restarted empty is told everything") {
  Bench bench;
  bench.Wants(kReplica);
  bench.Expect<Publisher::Register>();
  bench.Expect<Publisher::UpdateTtl>();
  bench.publisher.OnCatalogLost();
  bench.publisher.OnCatalog({});
  bench.publisher.OnCatalogBack(bench.now);
  bench.Expect<Publisher::UpdateTtl>(consul::Fail(consul::ErrorKind::kNotFound, "unknown check"));
  bench.Expect<Publisher::Register>();
  bench.Expect<Publisher::UpdateTtl>();
  bench.ExpectNothing();
}

TEST_CASE("Publisher: anti-entropy may give a returned master its tag back: it is no replica before the tag is gone") {
  Bench bench;
  bench.publisher.OnCatalog({Entry("redis-h-7001", "master", "critical")});
  bench.Wants(kReplica);
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kCritical);
  CHECK(bench.Expect<Publisher::Register>().registration.enable_tag_override);
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kCritical);
  bench.now += 400ms;
  bench.ExpectNothing();
  bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", "critical")});
  bench.now += 100ms;
  bench.Expect<Publisher::Register>();  // Its Consul agent may have taken the tag over.
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kPassing);
}

TEST_CASE("Publisher: an unknown check means that the service is to be registered first") {
  Bench bench;
  bench.Wants(kWithheld);
  bench.Expect<Publisher::UpdateTtl>(consul::Fail(consul::ErrorKind::kNotFound, "unknown check"));
  bench.Expect<Publisher::Register>();
  bench.Expect<Publisher::UpdateTtl>();
  bench.ExpectNothing();
}

TEST_CASE("Publisher: drift") {
  Bench bench;
  SUBCASE("of a replica is corrected at the local agent, and not faster than once a second") {
    bench.Wants(kReplica);
    bench.Expect<Publisher::Register>();
    bench.Expect<Publisher::UpdateTtl>();
    bench.publisher.OnCatalog({Entry("redis-h-7001", "master", "passing")});
    bench.ExpectNothing();  // The reading may be older than the call.
    bench.now += 500ms;
    // It is no master: not served while it has the tag.
    CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kCritical);
    bench.Expect<Publisher::Register>();
    CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kCritical);
    CHECK(bench.publisher.drift_corrected() == 1);
    bench.now += 500ms;
    bench.ExpectNothing();  // Its registration settled and the catalog still differs: somebody else may be at it.
    bench.now += 1s;
    bench.Expect<Publisher::UpdateTtl>();
    bench.Expect<Publisher::Register>();
    bench.Expect<Publisher::UpdateTtl>();
    CHECK(bench.publisher.drift_corrected() == 2);
    bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", "critical")});
    bench.now += 500ms;
    bench.Expect<Publisher::Register>();
    CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kPassing);
  }
  SUBCASE("of a master that somebody superseded is no reason to register it again") {
    bench.BecomeMaster();
    bench.now += 1s;
    bench.publisher.OnCatalog({Entry("redis-h-7001", "", "critical"), Entry("redis-h-7002", "master", "passing")});
    const auto lost = consul::Fail(consul::ErrorKind::kConflict, "the claim moved");
    CHECK(std::get<consul::TxnKvCas>(bench.Expect<Publisher::Transaction>(lost).operations[0]).index == 9);
  }
}

TEST_CASE("Publisher: the holder withdraws a foreign master that is served") {
  Bench bench;
  bench.BecomeMaster();
  bench.now += 1s;
  const auto own = Entry("redis-h-7001", "master", "passing");
  SUBCASE("served") {
    bench.publisher.OnCatalog({own, Entry("redis-h-7002", "master", "passing")});
    const auto transaction = bench.Expect<Publisher::Transaction>();
    REQUIRE(transaction.operations.size() == 3);
    CHECK(std::get<consul::TxnKvCheckIndex>(transaction.operations[0]).index == 9);
    CHECK(std::get<consul::TxnServiceSet>(transaction.operations[1]).entry.id == "redis-h-7002");
    bench.ExpectNothing();
  }
  // Its agent may be about to correct itself; its Consul agent may bring it back as it stands.
  SUBCASE("one that is critical harms nobody now, and is not left to come back") {
    bench.publisher.OnCatalog({own, Entry("redis-h-7002", "master", "critical")});
    bench.ExpectNothing();
    bench.now += 3s;
    bench.Expect<Publisher::UpdateTtl>();  // A heartbeat.
    bench.ExpectNothing();
    bench.now += 2s;
    const auto transaction = bench.Expect<Publisher::Transaction>();
    REQUIRE(transaction.operations.size() == 3);
    CHECK(std::get<consul::TxnServiceSet>(transaction.operations[1]).entry.id == "redis-h-7002");
  }
}

TEST_CASE("Publisher: whoever is alive withdraws a stale master that the holder leaves in the catalog") {
  Bench bench;
  bench.BecomeReplica();
  bench.now += 1s;
  const auto own = Entry("redis-h-7001", "replica", "passing");
  bench.publisher.OnCatalog(
      {own, Entry("redis-h-7002", "master", "passing"), Entry("redis-h-7003", "master", "passing")});
  bench.ExpectNothing();
  bench.now += 999ms;
  bench.ExpectNothing();
  bench.now += 1ms;
  SUBCASE("after a while") {
    const auto transaction = bench.Expect<Publisher::Transaction>();
    REQUIRE(transaction.operations.size() == 3);
    CHECK(std::get<consul::TxnKvCheckIndex>(transaction.operations[0]).index == 8);
    CHECK(std::get<consul::TxnServiceSet>(transaction.operations[1]).entry.id == "redis-h-7003");
  }
  SUBCASE("one that was refused is not repeated at once") {
    bench.Expect<Publisher::Transaction>(consul::Fail(consul::ErrorKind::kConflict, "rolled back"));
    bench.now += 900ms;
    bench.ExpectNothing();
  }
  SUBCASE("where the claim was given up as well") {
    Claim yielded;
    yielded.state = Claim::State::kYielded;
    yielded.node = "n1";
    yielded.service_id = "redis-h-7002";
    bench.publisher.OnClaim({.claim = yielded, .index = 8, .unreadable = {}, .garbage = {}}, bench.now);
    const auto transaction = bench.Expect<Publisher::Transaction>();
    REQUIRE(transaction.operations.size() == 3);
    CHECK(std::get<consul::TxnServiceSet>(transaction.operations[1]).entry.id == "redis-h-7003");
  }
  SUBCASE("not when the claim has moved: the surplus one may be its holder") {
    bench.Claimed(9, "redis-h-7003");
    bench.ExpectNothing();
  }
  SUBCASE("not when the holder did it") {
    bench.publisher.OnCatalog({own, Entry("redis-h-7002", "master", "passing")});
    bench.ExpectNothing();
  }
}

TEST_CASE("Publisher: an old reading of the catalog does not undo what a transaction said") {
  Bench bench;
  bench.BecomeReplica();
  bench.Wants(kMaster, Claim{});
  bench.Expect<Publisher::Transaction>();
  bench.Wants(kMaster);
  bench.Claimed(9);
  bench.Expect<Publisher::UpdateTtl>();
  bench.Expect<Publisher::Register>();
  bench.now += 2s;  // Still the catalog from before (found by tests/simulation: it published again and again).
  bench.ExpectNothing();
  bench.publisher.OnCatalog({Entry("redis-h-7001", "", "critical")});
  bench.Expect<Publisher::Transaction>();
}

TEST_CASE("Publisher: a heartbeat does not wait for a transaction that hangs") {
  Bench bench;
  bench.BecomeReplica();
  bench.Wants(kMaster, Claim{});
  REQUIRE(bench.publisher.Next(bench.now).size() == 1);  // The transaction; Consul holds it for want of a leader.
  bench.now += 3334ms;
  const auto calls = bench.publisher.Next(bench.now);
  REQUIRE(calls.size() == 1);
  CHECK(calls[0].heartbeat);
  CHECK(std::get<Publisher::UpdateTtl>(calls[0].what).output == kReplica.reason);
}

TEST_CASE("Publisher: an agent that slept longer than the TTL does not say the old thing again") {
  Bench bench;
  bench.BecomeMaster();
  bench.now += 10s;
  // Its claim may have been taken meanwhile: only a transaction that compares it can tell.
  bench.Expect<Publisher::Transaction>(consul::Fail(consul::ErrorKind::kConflict, "the claim moved"));
}

TEST_CASE("Publisher: without a takeover only the claim's holder is published") {
  Bench bench;
  bench.BecomeReplica();
  Claim other;
  other.node = "n1";
  other.service_id = "redis-h-7002";
  bench.publisher.OnClaim({.claim = other, .index = 12, .unreadable = {}, .garbage = {}}, bench.now);
  bench.now += 1s;
  bench.Wants(kMaster);
  bench.ExpectNothing();
}

TEST_CASE("Publisher: a registration that the catalog never shows is noticed") {
  Bench bench;
  bench.Wants(kReplica);
  bench.publisher.OnCatalog({});
  bench.Expect<Publisher::Register>();
  bench.Expect<Publisher::UpdateTtl>();
  bench.now += 500ms;
  bench.publisher.Next(bench.now);
  CHECK_FALSE(bench.publisher.IsHidden(0, bench.now));
  CHECK(bench.publisher.IsHidden(0, bench.now + 5s));
}

TEST_CASE("Publisher: a rewritten claim goes by plain compare-and-set") {
  Bench bench;
  bench.Claimed(8);
  Verdict verdict;
  verdict.publication = kReplica;
  verdict.rewrite = Claim{};
  verdict.rewrite->state = Claim::State::kYielded;
  Publisher::Facts facts;
  facts.service_id = "redis-h-7001";
  bench.publisher.OnVerdict(0, verdict, facts);
  const auto calls = bench.publisher.Next(bench.now);
  REQUIRE(calls.size() == 2);
  CHECK(calls[1].lane == Publisher::kGroupLane);
  CHECK(std::get<Publisher::WriteClaim>(calls[1].what).index == 8);
}

TEST_CASE(
    "Publisher: a master that was restarted: its check is told before its new run id, which would push it critical") {
  Bench bench;
  bench.BecomeMaster();
  bench.now += 1s;
  bench.Wants({Tag::kMaster, CheckStatus::kCritical, "connection refused"});
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kCritical);
  bench.publisher.OnCatalog({Entry("redis-h-7001", "master", "critical")});
  bench.run_id = "another";
  bench.Wants(kMaster);
  bench.Expect<Publisher::Transaction>();
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kPassing);
  CHECK(bench.Expect<Publisher::Register>().registration.meta.at("run_id") == "another");
}

TEST_CASE("Publisher: master and replicas under names of their own") {
  Publisher::Options options = Bench::Options();
  options.replica_service = "redis-replica";
  Bench bench(options, Bench::Unread{});
  const auto entry = [](const std::string& name, const std::string& tag, const std::string& status) {
    consul::ServiceEntry named = Entry("redis-h-7001", tag, status);
    named.name = name;
    return named;
  };
  bench.Wants(kReplica);
  bench.ExpectNothing();  // It may stand under the other name: the catalog is read first.
  bench.publisher.OnCatalog({});
  CHECK(bench.Expect<Publisher::Register>().registration.name == "redis-replica");
  bench.Expect<Publisher::UpdateTtl>();
  bench.publisher.OnCatalog({entry("redis-replica", "replica", "passing")});
  bench.Claimed(8);
  bench.ExpectNothing();

  bench.Wants(kMaster, Claim{});
  const auto takeover = bench.Expect<Publisher::Transaction>();
  REQUIRE(takeover.operations.size() == 4);
  CHECK(std::get<consul::TxnServiceDelete>(takeover.operations[1]).service_name == "redis-replica");
  CHECK(std::get<consul::TxnServiceSet>(takeover.operations[2]).entry.name == "redis");
  CHECK(std::get<consul::TxnCheckSet>(takeover.operations[3]).service_name == "redis");
  bench.Wants(kMaster);
  bench.Claimed(9);
  // The old entry may still be read: the new one must not be removed for it.
  bench.Expect<Publisher::UpdateTtl>();
  CHECK(bench.Expect<Publisher::Register>().registration.name == "redis");
  bench.now += 1s;
  bench.publisher.OnCatalog({entry("redis", "master", "passing")});
  bench.ExpectNothing();

  SUBCASE("superseded: out of the master's service") {
    bench.Wants(kWithheld);
    CHECK(bench.Expect<Publisher::Deregister>().service_id == "redis-h-7001");
    const auto registered = bench.Expect<Publisher::Register>();
    CHECK(registered.registration.name == "redis-replica");
    CHECK(registered.registration.check.status == CheckStatus::kCritical);
    CHECK(bench.Expect<Publisher::UpdateTtl>().output == kWithheld.reason);
    bench.ExpectNothing();
  }
  SUBCASE("a stranger under the master's name is withdrawn though anti-entropy left it no tag") {
    consul::ServiceEntry stranger = Entry("redis-h-7002", "", "passing");
    bench.publisher.OnCatalog({entry("redis", "master", "passing"), stranger});
    const auto transaction = bench.Expect<Publisher::Transaction>();
    REQUIRE(transaction.operations.size() == 3);
    CHECK(std::get<consul::TxnServiceSet>(transaction.operations[1]).entry.id == "redis-h-7002");
  }
  SUBCASE("its server is down: it keeps its place") {
    bench.Wants({Tag::kMaster, CheckStatus::kCritical, "connection refused"});
    CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kCritical);
    bench.ExpectNothing();
  }
}

// Seen on real servers: the local agent was 33 s late because Consul's leader had died together with the master.
TEST_CASE("Publisher: a takeover goes past a local Consul agent that is stuck") {
  Bench bench;
  bench.BecomeReplica();
  bench.Wants({Tag::kNone, CheckStatus::kCritical, "says master, but no Sentinel confirms it"});
  const auto asked = bench.publisher.Next(bench.now);
  REQUIRE(asked.size() == 1);
  REQUIRE(std::holds_alternative<Publisher::UpdateTtl>(asked[0].what));
  bench.Wants(kMaster, Claim{});
  bench.now += 499ms;
  bench.ExpectNothing();
  bench.now += 1ms;
  SUBCASE("by a transaction alone") {
    const auto transaction = bench.Expect<Publisher::Transaction>();
    CHECK(std::get<consul::TxnCheckSet>(transaction.operations[2]).check.status == "passing");
    bench.Wants(kMaster);
    bench.Claimed(9);
    bench.ExpectNothing();
    bench.publisher.OnDone(asked[0], consul::Fail(consul::ErrorKind::kTimeout, "no answer"), bench.now);
    bench.now += 500ms;
    // What it does too late must not be a registration as master.
    const auto timeout = consul::Fail(consul::ErrorKind::kTimeout, "no answer");
    CHECK(bench.Expect<Publisher::UpdateTtl>(timeout).status == CheckStatus::kPassing);
    bench.now += 500ms;
    CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kPassing);
    CHECK(bench.Expect<Publisher::Register>().registration.tags == std::vector<std::string>{"master"});
    SUBCASE("and again, when that agent comes to itself and pushes what it held") {
      bench.publisher.OnCatalog({Entry("redis-h-7001", "", "critical")});
      bench.now += 1s;
      bench.Expect<Publisher::Transaction>();
    }
  }
  SUBCASE("not when the takeover is refused") {
    bench.Expect<Publisher::Transaction>(consul::Fail(consul::ErrorKind::kDenied, "no"));
    bench.now += 1s;
    bench.ExpectNothing();
  }
  SUBCASE("not when it answers at last") {
    bench.publisher.OnDone(asked[0], {}, bench.now);
    CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kPassing);
  }
  SUBCASE("one at a time") {
    REQUIRE(bench.publisher.Next(bench.now).size() == 1);
    bench.ExpectNothing();
  }
}

// What its Consul agent does late undoes it: from there on only a transaction publishes, for the claim may have moved.
TEST_CASE("Publisher: who was published past a registration is published anew once that is answered") {
  Bench bench;
  bench.BecomeReplica();
  bench.Wants({Tag::kReplica, CheckStatus::kPassing, kReplica.reason});
  bench.publisher.OnTokenRenewed();
  const auto asked = bench.publisher.Next(bench.now);
  REQUIRE(asked.size() == 1);
  REQUIRE(std::holds_alternative<Publisher::Register>(asked[0].what));
  bench.Wants(kMaster, Claim{});
  bench.now += 500ms;
  bench.Expect<Publisher::Transaction>();
  bench.Wants(kMaster);
  bench.Claimed(9);
  bench.publisher.OnDone(asked[0], {}, bench.now);
  bench.now += 1s;
  CHECK(std::get<consul::TxnKvCas>(bench.Expect<Publisher::Transaction>().operations[0]).index == 9);
}

TEST_CASE("Publisher: a call that is given up does not hide another one that hangs") {
  Bench bench;
  bench.BecomeReplica();
  bench.now += 1s;
  bench.publisher.OnTokenRenewed();
  const auto asked = bench.publisher.Next(bench.now);
  REQUIRE(asked.size() == 1);
  bench.now += 3s;
  const auto beat = bench.publisher.Next(bench.now);
  REQUIRE(beat.size() == 1);
  REQUIRE(beat[0].heartbeat);
  bench.publisher.OnDone(asked[0], consul::Fail(consul::ErrorKind::kTimeout, "no answer"), bench.now);
  bench.Wants(kMaster, Claim{});
  bench.now += 500ms;
  bench.Expect<Publisher::Transaction>();
}

// Found by tests/simulation: the Consul agent had restarted empty, and took the tag over in its first synchronisation.
TEST_CASE("Publisher: who stood with the master's tag is registered anew when it is gone, before its check passes") {
  Bench bench;
  bench.BecomeReplica();
  bench.now += 1s;
  bench.publisher.OnCatalog({Entry("redis-h-7001", "master", "critical")});
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kCritical);
  CHECK(bench.Expect<Publisher::Register>().registration.tags == std::vector<std::string>{"replica"});
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kCritical);
  bench.now += 500ms;
  bench.ExpectNothing();  // The same drift is not corrected again at once.
  bench.publisher.OnCatalog({Entry("redis-h-7001", "", "critical")});
  CHECK(bench.Expect<Publisher::Register>().registration.tags == std::vector<std::string>{"replica"});
  CHECK(bench.Expect<Publisher::UpdateTtl>().status == CheckStatus::kPassing);
}

TEST_CASE("Publisher: a takeover goes past a heartbeat that is not answered") {
  Bench bench;
  bench.BecomeReplica();
  bench.now += 4s;
  const auto beat = bench.publisher.Next(bench.now);
  REQUIRE(beat.size() == 1);
  CHECK(beat[0].heartbeat);
  bench.Wants(kMaster, Claim{});
  bench.now += 500ms;
  bench.Expect<Publisher::Transaction>();
}
