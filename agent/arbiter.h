#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/claim.h"
#include "agent/shard.h"
#include "consul/types.h"
#include "redis/instance_monitor.h"
#include "redis/sentinel_election.h"
#include "redis/sentinel_view.h"
#include "redis/upstream_client.h"

namespace rcb::agent {

using TimePoint = std::chrono::steady_clock::time_point;

/// Who one local instance is, in the words of Consul and of Sentinel.
struct Identity {
  std::string service_id;
  std::string node;     ///< Consul node of the local agent.
  std::string address;  ///< Advertised address; empty: the node's.
  std::uint16_t port = 0;
  /// Every host:port by which a Sentinel may call it: configured, advertised, the host's own addresses.
  std::vector<redis::Endpoint> addresses;
};

enum class Tag { kNone, kMaster, kReplica };

/// What should stand in Consul for one instance.
struct Publication {
  Tag tag = Tag::kNone;
  consul::CheckStatus status = consul::CheckStatus::kCritical;
  std::string reason;  ///< One sentence without a number that moves by itself: the check's output.

  bool operator==(const Publication&) const = default;
};

/// What follows from the evidence for one instance.
struct Verdict {
  /// Absent: too little is known to say anything; what stands in Consul stays.
  std::optional<Publication> publication;
  /// The claim to write by the takeover transaction; `publication` then holds what it will say.
  std::optional<Claim> take;
  /// The claim to write by plain compare-and-set, beside whatever is published: yielded by a holder that is a replica
  /// now, or with values that changed since it was taken (run id, replication id, address).
  std::optional<Claim> rewrite;

  /// Under `demote_superseded`: Sentinel has chosen a successor, so writes that this server would still take are lost.
  bool hold_writes = false;
  /// Under `demote_superseded`: it is superseded; Sentinel names this server at the claim's epoch. It is to follow it.
  std::optional<redis::Endpoint> demote_to;

  /// Under authority cluster: the shard that the instance belongs to, as far as it was ever told.
  std::optional<Shard> shard{};

  bool operator==(const Verdict&) const = default;
};

/// What an entry of the catalog means to a decision.
struct CatalogFact {
  std::string node;
  std::string service_id;
  bool served_as_master = false;     ///< DNS answers with it when asked for the master.
  std::optional<SlotClaim> slots{};  ///< Of a master of Redis Cluster.
  std::string address{};             ///< host:port, for sentences.
};

/// Weighs the witnesses of one group and says what should stand in Consul: the table of DESIGN section 5.
/// No I/O, reads no clock, draws no number. Feed it what was seen; ask Decide() after each and as time passes.
class Arbiter {
 public:
  struct Options {
    std::optional<Authority> authority;  ///< Absent: found out ("auto").
    bool sentinels_configured = false;
    /// How long "auto" waits for a hello before it settles for replication. Hellos come every 2 s.
    std::chrono::milliseconds hello_wait{3000};
    /// A view older than this is no witness. Direct views come every second, hellos every two.
    std::chrono::milliseconds view_freshness{5000};
    /// A replica whose link is down is a warning for so long (it may be failing over), then critical.
    std::chrono::milliseconds link_down_bound{30000};
    /// A script may block a server for so long before it counts as down.
    std::chrono::milliseconds busy_bound{10000};
    /// A holder that had neither a read of the claim nor a majority of Sentinels naming it for so long fences itself.
    /// Absent: 0.8 of Sentinel's down-after, between 3 s and 10 s.
    std::optional<std::chrono::milliseconds> lease;
    /// What becomes of a holder that returns with an unrelated data set, under authority replication: withheld, or
    /// published with a warning.
    bool withhold_on_dataset_loss = false;
    /// Fences Redis itself: a superseded local master is made a replica at once. Under authority sentinel alone: there
    /// Sentinel has decided that the old data may go, and does the same some ten seconds later.
    bool demote_superseded = false;
  };

  Arbiter(const Options& options, std::vector<Identity> instances);

  void OnInstance(std::size_t instance, const redis::InstanceState& state);
  /// What the upstreams of a replica tell, and whether it is `behind` the master by more than it may be.
  void OnUpstream(std::size_t instance, const redis::UpstreamState& upstream, bool behind);
  /// Somebody said hello. That is a reason not to settle for authority replication, and no more.
  void OnHello() { hello_heard_ = true; }
  void OnSentinelView(const redis::SentinelView& view, TimePoint now);
  /// Servers as a Sentinel knows them: under an address that comes with its run id an instance is named as well.
  void OnSentinelInstances(const std::vector<redis::SentinelInstance>& known);
  /// An election that Sentinel told of, or nullopt when it is over or that Sentinel was lost.
  void OnElection(const std::string& sentinel_id, const std::optional<redis::Election>& election);
  /// A successful read of the claim.
  void OnClaim(const ClaimRecord& record, TimePoint now);
  void OnCatalog(std::vector<CatalogFact> facts);

  /// One verdict for each instance, in the order given at construction.
  std::vector<Verdict> Decide(TimePoint now);

  /// Absent while "auto" still listens. As of the last Decide().
  std::optional<Authority> authority() const { return authority_; }
  const std::optional<ClaimRecord>& claim() const { return claim_; }
  bool HoldsClaim(std::size_t instance) const;
  /// A Sentinel fails over, or is about to.
  bool SeesElection() const;

 private:
  struct TimedView {
    redis::SentinelView view;
    TimePoint at;
  };
  struct Upstream {
    redis::UpstreamState state;
    bool behind = false;
  };
  /// An address that Sentinel has for an instance.
  struct Alias {
    redis::Endpoint address;
    std::string run_id;  ///< Of the process that it was learned from.
  };
  /// What Sentinel's witnesses say of one instance.
  struct SentinelWord {
    std::optional<std::uint64_t> confirmed;   ///< The epoch at which it is confirmed.
    std::optional<redis::SentinelView> best;  ///< The fresh view of the highest config-epoch; absent: none is fresh.
    bool best_names_it = false;
    bool best_disputed = false;  ///< Fresh views of the same highest epoch name different masters.
    bool electing = false;       ///< Sentinel is about to replace it, or has chosen another one at a higher epoch.
    std::optional<redis::Endpoint> majority_names;  ///< Another server that a majority names.
    bool majority_names_it = false;                 ///< More than half of the known Sentinels, by fresh direct views.
    /// The config-epoch that such a majority has reached. A Sentinel leaves its epoch for a higher one alone, so at the
    /// epoch of two failovers that did not know of each other the majority is final.
    std::optional<std::uint64_t> majority_at;
    TimePoint named_at{};  ///< When the last vote that this majority needs was heard.
  };

  /// What an instance of Redis Cluster was last said to belong to.
  struct ShardSeen {
    redis::Role role = redis::Role::kReplica;
    Shard shard;
    TimePoint at{};
  };

  static Verdict Say(Tag tag, consul::CheckStatus status, std::string reason);
  static Verdict Withhold(std::string reason);  ///< A master that nobody may take for one.
  void FindAuthority(TimePoint now);
  bool IsNamed(std::size_t instance, const redis::Endpoint& address, const std::string& run_id) const;
  SentinelWord AskSentinels(std::size_t instance, TimePoint now) const;
  Verdict Judge(std::size_t instance, TimePoint now) const;
  Verdict Unchanged(std::size_t instance, TimePoint now) const;
  Verdict JudgeReplica(std::size_t instance, TimePoint now) const;
  Verdict JudgeMaster(std::size_t instance, TimePoint now) const;
  Verdict JudgeMasterBySentinel(std::size_t instance, TimePoint now) const;
  Verdict JudgeMasterByReplication(std::size_t instance, TimePoint now) const;
  std::optional<Verdict> JudgeClusterNode(std::size_t instance, TimePoint now) const;
  Verdict JudgeClusterMaster(std::size_t instance, TimePoint now) const;
  const CatalogFact* Superseding(std::size_t instance, const SlotClaim& claim, TimePoint now) const;
  void FollowShard(std::size_t instance, TimePoint now);
  bool KeepsMasterTag(std::size_t instance, TimePoint now) const;
  Verdict JudgeLostClaim(std::size_t instance, TimePoint now) const;
  Verdict JudgeUnrelatedDataSet(const Claim& claim) const;
  void FenceRedis(std::size_t instance, TimePoint now, Verdict& verdict) const;
  Verdict Down(std::size_t instance, TimePoint now, std::string reason) const;
  Verdict Held(std::size_t instance, const Claim& claim, TimePoint now) const;
  bool LeaseExpired(std::size_t instance, TimePoint now) const;
  Verdict Take(std::size_t instance, std::uint64_t epoch, Authority authority) const;
  Claim ClaimFor(std::size_t instance, std::uint64_t epoch, Authority authority) const;
  bool HolderIsServedAsMaster() const;
  bool IsServedAsMaster(std::size_t instance) const;
  bool ListenedInVain(std::size_t instance, TimePoint now) const;
  bool IsHolder(const Claim& claim, std::size_t instance) const;

  Options options_;
  std::vector<Identity> instances_;
  std::vector<redis::InstanceState> states_;
  std::vector<Upstream> upstreams_;                    ///< By instance; of replicas.
  std::vector<std::vector<Alias>> aliases_;            ///< By instance.
  std::vector<std::optional<Publication>> published_;  ///< Last verdicts: for what "unchanged" means.
  std::map<std::string, TimedView> views_;             ///< By Sentinel.
  std::map<std::string, redis::Election> elections_;   ///< By Sentinel.
  bool sentinel_heard_ = false;
  bool hello_heard_ = false;
  std::chrono::milliseconds down_after_{0};  ///< Sentinel's, as last told; 0: not told.
  std::optional<ClaimRecord> claim_;
  TimePoint claim_read_at_{};
  TimePoint first_claim_at_{};
  TimePoint claim_since_{};          ///< When the claim was first read as it is.
  std::optional<Claim> last_claim_;  ///< The last one that was understood: it outlives a key that vanished.
  TimePoint claim_lost_at_{};        ///< When the claim was first read as absent.
  std::vector<TimePoint> named_at_;  ///< When a majority of Sentinels last named the instance.
  std::vector<std::optional<TimePoint>> outvoted_since_;  ///< Since when a majority names another than this holder.
  std::vector<std::optional<std::uint64_t>> confirmed_;   ///< The highest epoch at which an instance was confirmed.
  std::optional<std::vector<CatalogFact>> catalog_;
  std::vector<std::optional<ShardSeen>> shards_;  ///< By instance.
  std::optional<Authority> authority_;
};

}  // namespace rcb::agent
