#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/arbiter.h"
#include "agent/backoff.h"
#include "agent/claim.h"
#include "agent/shard.h"
#include "consul/result.h"
#include "consul/types.h"

namespace rcb::agent {

/// Turns verdicts into calls to Consul, one at a time for each instance, and compares what the catalog holds with what
/// was meant. Pure: the watcher carries the calls out and brings the results back.
///
/// The rules it keeps, and the habits of Consul (agent/local, agent/agent.go; seen on 1.8.7) that make them:
/// - The catalog comes to show an instance as a served master only by a transaction that is conditional on the claim.
/// The
///   local Consul agent, whose word is unconditional, is told right afterwards. In Redis Cluster, which has a master
///   for each shard and no claim, the condition is that nobody else of the shard has changed.
/// - Registering a service again leaves the status and output of a check that is known as they are, and a changed
/// status
///   pushes the whole service as the local agent knows it. So what gets worse is told to the check first and to the
///   registration second; what gets better the other way round; and a check must not be critical locally when a
///   transaction makes it passing, or the next push would undo that for a moment.
/// - Tags may be overridden: anti-entropy takes the catalog's over, so that a Consul agent that was away cannot bring a
///   withdrawn master back. It would as well give the tag back to a replica whose own registration is not yet pushed: a
///   check passes for what is no master only once the catalog was seen without the tag.
/// - A new output alone is pushed after minutes. A registration behind it carries it at once.
/// - A service that gets another name under the same ID does not wake the blocking queries on the old one: it is
///   removed first.
class Publisher {
 public:
  struct Options {
    std::string master_service;   ///< Name under which who is published as the master stands, and nobody else.
    std::string replica_service;  ///< Name of everybody else; may be the same.
    std::string claim_key;
    std::vector<std::string> extra_tags;
    std::chrono::milliseconds ttl{10000};
    std::chrono::seconds deregister_critical_after{std::chrono::hours(24)};
    std::uint64_t seed = 0;  ///< Of the jitter.
  };

  /// What a registration says besides the verdict.
  struct Facts {
    std::string service_id;
    std::string node;
    std::string address;
    std::uint16_t port = 0;
    std::string group;
    std::string run_id;
    std::string redis_version;
    std::string upstream;          ///< Of a replica: the server that it follows.
    bool never_promoted = false;   ///< Of a replica: its priority is 0.
    std::optional<Shard> shard{};  ///< Of a node of Redis Cluster.

    bool operator==(const Facts&) const = default;
  };

  struct Register {
    consul::ServiceRegistration registration;
  };
  struct Deregister {
    std::string service_id;
  };
  struct UpdateTtl {
    std::string check_id;
    consul::CheckStatus status;
    std::string output;
  };
  /// Publishes a master (then `claim` is what the claim says afterwards), or withdraws foreign ones (`claim` is
  /// absent).
  struct Transaction {
    std::vector<consul::TxnOperation> operations;
    std::optional<Claim> claim;
  };
  struct WriteClaim {
    Claim claim;
    std::uint64_t index = 0;
  };
  /// Lane: the instance that the call is for, or kGroupLane.
  struct Call {
    std::size_t lane = 0;
    std::variant<Register, UpdateTtl, Transaction, WriteClaim, Deregister> what;
    std::string reason;      ///< For the log; empty for a heartbeat.
    bool heartbeat = false;  ///< Says again what was told; it has its own turn beside the lane's other calls.
  };
  static constexpr std::size_t kGroupLane = static_cast<std::size_t>(-1);

  Publisher(const Options& options, std::size_t instances);

  void OnVerdict(std::size_t instance, const Verdict& verdict, const Facts& facts);
  void OnClaim(const ClaimRecord& record, TimePoint now);
  /// What the catalog holds under both names. `masters_read`: the entries of the master's name are newly read, not only
  /// those of the replicas'.
  void OnCatalog(std::vector<consul::ServiceEntry> entries, bool masters_read = true);
  /// Consul cannot be read: what is known of the catalog may be old. Calls go on being tried.
  void OnCatalogLost();
  /// Consul can be read again after a loss: tell it everything anew at once, it may have restarted empty.
  void OnCatalogBack(TimePoint now);

  /// The token is another one from now on. Consul keeps the one that registered a service and its check, and uses it
  /// for anti-entropy: everything is registered once more (agent/local/state.go, 1.8.7).
  void OnTokenRenewed();

  /// The calls to make now. Each must be answered by OnDone() before its lane gets another.
  std::vector<Call> Next(TimePoint now);
  void OnDone(const Call& call, const consul::Result<void>& result, TimePoint now);

  bool HasCatalog() const { return catalog_.has_value(); }
  /// How many calls corrected what the catalog held against what was meant.
  std::uint64_t drift_corrected() const { return drift_corrected_; }
  /// Consul accepted the registration, but the catalog has not shown it for so long that it never will.
  bool IsHidden(std::size_t instance, TimePoint now) const;

 private:
  struct Lane {
    explicit Lane(std::uint64_t seed);
    std::optional<Publication> wanted;
    std::optional<Claim> take;
    Facts facts;
    // What the local Consul agent is known to hold; absent: unknown.
    std::optional<consul::ServiceRegistration> registered;
    std::optional<UpdateTtl> told;
    std::optional<bool> tagged;     ///< The catalog holds it with the master's tag or name; absent: unread.
    bool shown_as_master = false;   ///< The catalog's word, or what our last call made of it.
    std::uint64_t shown_since = 0;  ///< How many catalogs had been read at that call: only a later one knows better.
    std::string named;           ///< The service's name in the catalog, or what our last call made of it; empty: none.
    std::string denied;          ///< Consul refused the takeover: why.
    bool check_missing = false;  ///< The local Consul agent does not know the check: register first.
    bool output_unpushed = false;           ///< The check's new output waits for a registration to carry it.
    bool token_renewed = false;             ///< Since the last registration: one with the new token is due.
    bool in_flight = false;                 ///< A call to the local agent.
    bool updating = false;                  ///< It is an UpdateTtl: a heartbeat beside it might overtake it.
    bool beating = false;                   ///< A heartbeat is in flight.
    bool committing = false;                ///< A transaction is, or a write of the claim.
    std::optional<TimePoint> asked_since;   ///< The local agent owes an answer.
    bool stuck = false;                     ///< It did not answer in time, and may do what it was told when it is late.
    TimePoint beaten_at{};                  ///< When the check last heard from us.
    std::optional<TimePoint> unseen_since;  ///< Registered, but missing in what was read of the catalog.
    TimePoint heartbeat_at{};
    TimePoint retry_at{};
    TimePoint transaction_at{};  ///< Not earlier than this: a refused one is tried again later.
    TimePoint correct_at{};      ///< Drift is not corrected before.
    TimePoint settle_until{};    ///< Until then a catalog reading may be older than our last call.
    Backoff backoff;             ///< Of calls that failed.
    Backoff corrections;         ///< Of corrections of drift, so that two owners of one entry do not fight fast.
  };

  std::optional<Call> Heartbeat(std::size_t instance, TimePoint now);
  static void OnLocalAnswer(Lane& lane, const consul::Result<void>& result, TimePoint now);
  void OnHeartbeatDone(Lane& lane, const consul::Result<void>& result, TimePoint now);
  std::optional<Call> NextFor(std::size_t instance, TimePoint now);
  std::optional<Call> NextForGroup(TimePoint now);
  std::optional<Call> Withdraw(TimePoint now);
  static void ForgetCheck(Lane& lane);
  void NotShownAsMaster(Lane& lane) const;
  std::optional<Call> NextForMaster(std::size_t instance, TimePoint now);
  std::optional<Call> PassBy(std::size_t instance, TimePoint now);
  bool MayPublish(const Lane& lane, TimePoint now) const;
  std::optional<Call> Tell(std::size_t instance, const Publication& wanted);
  std::optional<Call> LeaveName(std::size_t instance, const std::string& name) const;
  void ReadCatalog(Lane& lane, TimePoint now);
  std::optional<Call> Publish(std::size_t instance, const consul::ServiceEntry& own) const;
  Call PublishMaster(std::size_t instance, const consul::ServiceEntry& own) const;
  Call PublishShardMaster(std::size_t instance, const consul::ServiceEntry& own) const;
  void AppendPublication(const Lane& lane, const consul::ServiceEntry& own,
                         std::vector<consul::TxnOperation>& operations) const;
  static std::string SupersededBy(const Facts& facts, const consul::ServiceEntry& own, const std::string& reason);
  bool IsCluster() const;
  std::optional<SlotClaim> MasterOfShard(const consul::ServiceEntry& entry) const;
  std::optional<Call> WithdrawFromShards(TimePoint now);
  void AppendStrip(const consul::ServiceEntry& entry, const std::string& reason,
                   std::vector<consul::TxnOperation>& operations, bool rests_on_it = false) const;
  consul::ServiceRegistration RegistrationFor(const Lane& lane, const Publication& wanted) const;
  const consul::ServiceEntry* Find(const Facts& facts) const;
  bool Drifted(const Lane& lane, const consul::ServiceEntry& entry) const;
  bool StandsAsMaster(const consul::ServiceEntry& entry) const;
  bool IsOwn(const consul::ServiceEntry& entry) const;
  bool IsSettled(const Lane& lane, TimePoint now) const;
  bool CatalogIsBehind(TimePoint now) const;
  bool CatalogIsAsNewAsClaim() const;
  void OnSuccess(Lane& lane, const Call& call, TimePoint now);
  void OnFailure(Lane& lane, const Call& call, const consul::Error& error, TimePoint now);

  Options options_;
  std::vector<Lane> lanes_;
  Lane group_;
  std::optional<Claim> rewrite_;
  std::size_t rewrite_instance_ = 0;
  TimePoint rewrite_at_{};  ///< Not earlier: a claim just written is read again first.
  std::optional<ClaimRecord> claim_;
  std::optional<std::vector<consul::ServiceEntry>> catalog_;
  std::uint64_t catalogs_read_ = 0;
  TimePoint catalog_due_{};                 ///< Until then the catalog that belongs to the claim may still come.
  std::optional<TimePoint> surplus_since_;  ///< Since when the catalog serves a master beside the claim's holder.
  std::uint64_t drift_corrected_ = 0;
};

}  // namespace rcb::agent
