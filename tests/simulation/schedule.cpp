#include "tests/simulation/schedule.h"

#include <set>

#include "tests/simulation/faults.h"
#include "tests/simulation/invariants.h"
#include "tests/simulation/world.h"

namespace rcb::simulation {
namespace {

using namespace std::chrono_literals;
using agent::Authority;

/// The right master is published this long after everything is healed and Sentinel, or the operator, has decided:
/// watches and anti-entropy may both have been pausing.
constexpr Duration kMasterBound = 45s;
/// Everything else stands as it should: two corrections of drift may have doubled their pause.
constexpr Duration kAllBound = 150s;
/// Sentinels that have not agreed by then never will (two failovers forced by hand share an epoch).
constexpr Duration kUndecided = 240s;
/// As it should be for so long: every watch that was pausing is back, every call that hung has timed out.
constexpr Duration kQuiet = 25s;
/// An operator looks after servers that Sentinel left behind.
constexpr Duration kOperator = 60s;
/// He looks sooner after a holder of whom no Sentinel knows.
constexpr Duration kOperatorLooks = 30s;
constexpr Duration kStep = 1s;

World::Options Draw(std::uint64_t seed) {
  Random random(seed ^ 0x5eedULL);
  World::Options options;
  options.hosts = 3 + random.Below(3);
  const bool with_sentinels = random.Chance(0.65);
  options.sentinels.count = with_sentinels ? 3 : 0;
  options.sentinels.quorum = random.Chance(0.85) ? 2 : 1;
  options.sentinels.down_after = random.Chance(0.5) ? Duration(1s) : Duration(5s);
  options.sentinels.failover_timeout = random.Between(4s, 15s);
  options.sentinels.parallel_syncs = 1 + random.Below(2);
  options.shared_consul = random.Chance(0.25);
  if (random.Chance(0.5))
    options.bridge.arbiter.authority = with_sentinels ? Authority::kSentinel : Authority::kReplication;
  options.bridge.knows_sentinels = with_sentinels && random.Chance(0.6);
  options.bridge.arbiter.sentinels_configured = options.bridge.knows_sentinels;
  options.bridge.arbiter.demote_superseded = with_sentinels && random.Chance(0.3);
  options.bridge.arbiter.withhold_on_dataset_loss = !with_sentinels && random.Chance(0.3);
  return options;
}

class Schedule {
 public:
  Schedule(std::uint64_t seed, bool recording)
      : world_(seed, Draw(seed), recording), invariants_(world_), faults_(world_, invariants_), long_(seed % 8 == 0) {}

  Outcome Run() {
    History& history = world_.environment.history;
    history.Note([this] { return Describe(); });
    invariants_.Start();
    world_.Start();
    RunFor(12s);
    Random& random = world_.environment.random;
    const Duration period = random.Between(15s, 60s);
    faults_.Plan(1 + random.Below(5), period);
    RunFor(period);
    if (!invariants_.broken()) faults_.End();
    history.Note([] { return std::string("FAULTS END"); });
    if (!invariants_.broken()) Settle();
    Outcome outcome;
    outcome.broken = invariants_.broken();
    outcome.history = history.lines();
    outcome.counts = history.counts();
    outcome.events = world_.environment.queue.executed();
    outcome.without_master = invariants_.without_master();
    outcome.promotion_to_published = invariants_.promotion_to_published();
    outcome.repushed = invariants_.repushed();
    outcome.repushed_unwatched = invariants_.repushed_unwatched();
    outcome.foreign = invariants_.foreign();
    outcome.converged = converged_;
    return outcome;
  }

 private:
  std::string Describe() const {
    const World::Options& options = world_.options;
    return std::to_string(options.hosts) + " hosts, " + std::to_string(options.sentinels.count) +
           " Sentinels (quorum " + std::to_string(options.sentinels.quorum) + ", down-after " +
           std::to_string(options.sentinels.down_after.count() / 1000) + " ms, " +
           (options.bridge.knows_sentinels ? "configured" : "not configured") + "), " +
           (options.shared_consul ? "one Consul agent" : "a Consul agent on each host") + ", authority " +
           (options.bridge.arbiter.authority ? std::string(ToString(*options.bridge.arbiter.authority)) : "auto") +
           (options.bridge.arbiter.demote_superseded ? ", demotes" : "") +
           (options.bridge.arbiter.withhold_on_dataset_loss ? ", withholds a lost data set" : "");
  }

  void RunFor(Duration duration) {
    if (!invariants_.broken()) world_.environment.queue.RunUntil(world_.environment.now() + duration);
  }

  /// Whom everybody who decides has decided for.
  std::optional<std::size_t> Truth() {
    if (world_.sentinels.size() == 0) return tidied_;
    const std::size_t master = world_.sentinels.MasterOf(0);
    for (std::size_t s = 0; s < world_.sentinels.size(); ++s) {
      if (world_.sentinels.MasterOf(s) != master || world_.sentinels.EpochOf(s) != world_.sentinels.EpochOf(0) ||
          world_.sentinels.FailingOver(s)) {
        return std::nullopt;
      }
    }
    return world_.redis.IsMaster(master) ? std::optional(master) : std::nullopt;
  }

  bool ReplicasAreServed(std::size_t master) const {
    for (std::size_t host = 0; host < world_.hosts(); ++host) {
      const RedisModel::Server& server = world_.redis.at(host);
      if (host == master) continue;
      if (server.role != redis::Role::kReplica || server.upstream != master || server.link != RedisModel::Link::kUp) {
        return false;
      }
      if (!invariants_.IsServedReplica(host)) return false;
    }
    return true;
  }

  bool AgentsAreInSync() {
    for (std::size_t host = 0; host < world_.hosts(); ++host) {
      if (!world_.agent_of(host).IsInSync()) return false;
    }
    return true;
  }

  /// Invariants 4 and 5.
  void Settle() {
    const TimePoint healed = world_.environment.now();
    TimePoint decided = healed;
    std::optional<std::size_t> truth;
    bool published = false;
    TimePoint quiet_since = healed;
    if (world_.sentinels.size() == 0) RunFor(12s);
    while (!invariants_.broken()) {
      if (world_.sentinels.size() == 0) Tidy();
      RunFor(kStep);
      const TimePoint now = world_.environment.now();
      const auto current = Truth();
      if (current != truth) {
        truth = current;
        decided = quiet_since = now;
        published = false;
      }
      if (!truth) {
        if (now - healed < kUndecided) continue;
        world_.environment.history.Count("sentinels never agree");
        return;
      }
      if (world_.sentinels.size() > 0 && now - decided > kOperatorLooks) AdoptUnknownHolder(*truth);
      if (invariants_.ServedMasters() == std::set{*truth}) {
        if (!published) converged_ = std::chrono::duration_cast<Duration>(now - decided);
        published = true;
      } else if (now - decided > kMasterBound) {
        Fail("4: host" + std::to_string(*truth) + " is master and is not published alone");
      } else {
        published = false;
      }
      if (!published || !ReplicasAreServed(*truth) || !AgentsAreInSync()) quiet_since = now;
      if (now - quiet_since >= kQuiet) break;
      // Sentinels that were reset do not know a server that followed nobody they know: an operator's business.
      if (world_.sentinels.size() > 0 && now - decided > kOperator) faults_.Adopt(*truth);
      if (now - decided > kAllBound)
        Fail("4: not every replica of host" + std::to_string(*truth) +
             " is served, or its Consul agent is not in sync");
    }
    const std::uint64_t catalog = world_.servers.catalog_index();
    const std::uint64_t key = world_.servers.key_index();
    RunFor(long_ ? Duration(140s) : Duration(10s));
    if (invariants_.broken() || Truth() != truth) return;
    if (world_.servers.catalog_index() != catalog) Fail("5: the catalog was written in a steady group");
    if (world_.servers.key_index() != key) Fail("5: the claim was written in a steady group");
  }

  /// A holder that no Sentinel watches hears no hello after a restart of its bridge, and then cannot be told from one
  /// whose Sentinels are all lost.
  void AdoptUnknownHolder(std::size_t master) {
    const auto holder = invariants_.Holder();
    if (!holder || holder == master || !world_.redis.IsMaster(*holder)) return;
    for (std::size_t s = 0; s < world_.sentinels.size(); ++s) {
      if (world_.sentinels.Knows(s, *holder)) return;
    }
    world_.environment.history.Count("operator adopts a holder that no Sentinel knows");
    faults_.Adopt(master);
  }

  void Tidy() {
    const auto& claim = invariants_.claim();
    const auto holder = invariants_.Holder();
    const TimePoint now = world_.environment.now();
    if (tidied_ && now < tidy_again_) return;
    const bool inherits = tidied_ && claim && holder != tidied_;
    if (!tidied_ || inherits) tidied_ = faults_.Tidy();
    tidy_again_ = now + 15s;
  }

  void Fail(const std::string& sentence) {
    for (std::size_t host = 0; host < world_.hosts(); ++host) {
      world_.environment.history.Note([&] { return world_.bridge(host).Describe(); });
    }
    invariants_.Break(sentence);
  }

  World world_;
  Invariants invariants_;
  Faults faults_;
  bool long_;  ///< Watch the steady state long enough for anti-entropy to come round twice.
  std::optional<std::size_t> tidied_;
  TimePoint tidy_again_{};
  Duration converged_{};
};

}  // namespace

Outcome RunSchedule(std::uint64_t seed, bool recording) { return Schedule(seed, recording).Run(); }

}  // namespace rcb::simulation
