#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "agent/publisher.h"

using namespace rcb;
using namespace rcb::agent;
using namespace std::chrono_literals;
using consul::CheckStatus;

namespace {

const Publication kMaster{Tag::kMaster, CheckStatus::kPassing, "master of shard-0 at epoch 6"};
const Publication kReplica{Tag::kReplica, CheckStatus::kPassing, "replica in sync"};

consul::ServiceEntry Entry(const std::string& id, const std::string& tag, const std::string& epoch,
                           const std::string& slots = "0-5460", const std::string& status = "passing") {
  consul::ServiceEntry entry;
  entry.node = "n1";
  entry.node_address = "10.0.0.1";
  entry.id = id;
  entry.name = "redis";
  const std::string shard = "shard-" + slots.substr(0, slots.find('-'));
  entry.tags = {tag, shard};
  entry.port = 7001;
  entry.meta = {{"bridge_version", RCB_VERSION}, {"group", "g"}, {"role", tag}, {"shard", shard}, {"slots", slots}};
  if (tag == "master") entry.meta["epoch"] = epoch;
  if (tag == "replica") entry.meta["upstream"] = "";
  entry.enable_tag_override = true;
  entry.modify_index = 77;
  entry.checks = {{id + ":role", "Redis role", status, {}, {}, id}};
  entry.enable_tag_override = true;
  entry.raw_service = "{}";
  return entry;
}

struct Bench {
  Bench() : publisher(Options(), 1) {
    publisher.OnCatalog({});
    Wants(kReplica, 5);
    Next<Publisher::Register>();
    Next<Publisher::UpdateTtl>();
  }

  static Publisher::Options Options() {
    Publisher::Options options;
    options.master_service = options.replica_service = "redis";
    options.claim_key = "service/redis/master";
    return options;
  }

  void Wants(const Publication& publication, std::uint64_t epoch) {
    Verdict verdict;
    verdict.publication = publication;
    Publisher::Facts facts;
    facts.service_id = "redis-h-7001";
    facts.node = "n1";
    facts.port = 7001;
    facts.group = "g";
    facts.shard = Shard{"shard-0", "0-5460", epoch};
    publisher.OnVerdict(0, verdict, facts);
  }

  template <typename T>
  T Next(const consul::Result<void>& result = {}) {
    const auto calls = publisher.Next(now);
    REQUIRE(calls.size() == 1);
    REQUIRE_MESSAGE(std::holds_alternative<T>(calls[0].what), "kind " << calls[0].what.index());
    publisher.OnDone(calls[0], result, now);
    return std::get<T>(calls[0].what);
  }

  TimePoint now{1h};
  Publisher publisher;
};

template <typename T>
std::vector<T> Of(const Publisher::Transaction& transaction) {
  std::vector<T> found;
  for (const auto& operation : transaction.operations) {
    if (const T* one = std::get_if<T>(&operation)) found.push_back(*one);
  }
  return found;
}

}  // namespace

TEST_CASE("Publisher: a promoted master of Redis Cluster strips its predecessor in one transaction, without a claim") {
  Bench bench;
  bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", ""), Entry("redis-h-7002", "master", "5"),
                             Entry("redis-h-7003", "replica", ""), Entry("redis-h-7004", "master", "2", "5461-10922"),
                             Entry("redis-h-7005", "replica", "", "5461-10922")});
  bench.Wants(kMaster, 6);
  const auto transaction = bench.Next<Publisher::Transaction>();
  CHECK_FALSE(transaction.claim);
  CHECK(Of<consul::TxnKvCas>(transaction).empty());
  CHECK(Of<consul::TxnKvCheckIndex>(transaction).empty());
  const auto services = Of<consul::TxnServiceSet>(transaction);
  REQUIRE(services.size() == 3);
  CHECK(services[0].entry.id == "redis-h-7001");
  CHECK(services[0].tags == std::vector<std::string>{"master", "shard-0"});
  CHECK(services[0].meta.at("epoch") == "6");
  CHECK(services[0].meta.at("slots") == "0-5460");
  CHECK(services[1].entry.id == "redis-h-7002");
  CHECK(services[1].tags == std::vector<std::string>{"shard-0"});
  CHECK(services[1].index == 77);
  CHECK_FALSE(services[1].meta.contains("epoch"));
  // Its fellow of the shard is a condition: written as it was read. Other shards are left alone.
  CHECK(services[2].entry.id == "redis-h-7003");
  CHECK(services[2].tags == services[2].entry.tags);
  CHECK(services[2].meta == services[2].entry.meta);
  CHECK(services[2].index == 77);
  const auto checks = Of<consul::TxnCheckSet>(transaction);
  REQUIRE(checks.size() == 2);
  CHECK(checks[0].check.status == "passing");
  CHECK(checks[1].check.status == "critical");
  CHECK(checks[1].check.output == "superseded by 10.0.0.1:7001: master of shard-0 at epoch 6");
  // The local Consul agent is told right afterwards.
  CHECK(bench.Next<Publisher::UpdateTtl>().output == kMaster.reason);
  CHECK(bench.Next<Publisher::Register>().registration.meta.at("epoch") == "6");
  CHECK(bench.publisher.Next(bench.now).empty());
}

TEST_CASE("Publisher: whoever loses the comparison within a shard reads again") {
  Bench bench;
  bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", ""), Entry("redis-h-7002", "replica", "")});
  bench.Wants(kMaster, 6);
  bench.Next<Publisher::Transaction>(tl::unexpected(consul::Error{consul::ErrorKind::kConflict, "lost"}));
  CHECK(bench.publisher.Next(bench.now).empty());
  bench.now += 20ms;
  bench.Next<Publisher::Transaction>();
}

TEST_CASE("Publisher: a master of another shard whose epoch is higher is not touched") {
  Bench bench;
  bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", ""), Entry("redis-h-7002", "master", "9")});
  bench.Wants(kMaster, 6);
  const auto services = Of<consul::TxnServiceSet>(bench.Next<Publisher::Transaction>());
  REQUIRE(services.size() == 2);
  CHECK(services[1].tags == services[1].entry.tags);
}

TEST_CASE("Publisher: a stale master that anti-entropy brings back to a shard is withdrawn") {
  Bench bench;
  const auto own = Entry("redis-h-7001", "master", "6");
  SUBCASE("by its successor at once") {
    bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", "")});
    bench.Wants(kMaster, 6);
    bench.Next<Publisher::Transaction>();
    bench.Next<Publisher::UpdateTtl>();
    bench.Next<Publisher::Register>();
    bench.now += 1s;
    bench.publisher.OnCatalog({own, Entry("redis-h-7002", "master", "5")});
  }
  SUBCASE("by anybody after a second") {
    bench.now += 1s;
    bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", ""), Entry("redis-h-7003", "master", "6"),
                               Entry("redis-h-7002", "master", "5")});
    CHECK(bench.publisher.Next(bench.now).empty());
    bench.now += 999ms;
    CHECK(bench.publisher.Next(bench.now).empty());
    bench.now += 1ms;
  }
  const auto transaction = bench.Next<Publisher::Transaction>();
  const auto services = Of<consul::TxnServiceSet>(transaction);
  REQUIRE(services.size() == 1);
  CHECK(services[0].entry.id == "redis-h-7002");
  CHECK(services[0].tags == std::vector<std::string>{"shard-0"});
  CHECK(bench.publisher.drift_corrected() == 1);
}

TEST_CASE("Publisher: slots that were moved are told by a registration, the tag stays") {
  Bench bench;
  bench.publisher.OnCatalog({Entry("redis-h-7001", "replica", "")});
  bench.Wants(kMaster, 6);
  bench.Next<Publisher::Transaction>();
  bench.Next<Publisher::UpdateTtl>();
  bench.Next<Publisher::Register>();
  bench.publisher.OnCatalog({Entry("redis-h-7001", "master", "6")});
  Verdict verdict;
  verdict.publication = kMaster;
  Publisher::Facts facts;
  facts.service_id = "redis-h-7001";
  facts.node = "n1";
  facts.port = 7001;
  facts.group = "g";
  facts.shard = Shard{"shard-1", "1-5460", 6};
  bench.publisher.OnVerdict(0, verdict, facts);
  const auto registered = bench.Next<Publisher::Register>();
  CHECK(registered.registration.tags == std::vector<std::string>{"master", "shard-1"});
  CHECK(registered.registration.meta.at("slots") == "1-5460");
  CHECK(bench.publisher.Next(bench.now).empty());
}
