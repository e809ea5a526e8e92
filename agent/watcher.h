#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/backoff.h"
#include "agent/config.h"
#include "agent/group.h"
#include "agent/log.h"
#include "agent/telemetry.h"
#include "consul/client.h"
#include "redis/instance_client.h"
#include "redis/replica_lag.h"
#include "redis/sentinel_client.h"
#include "redis/upstream_client.h"

struct uv_loop_s;

namespace rcb::agent {

/// Wires one group: local Redis servers and Sentinels in, arbiter and publisher in the middle, Consul out. All
/// decisions are theirs; here is only the carrying to and fro, and the log.
class Watcher {
 public:
  /// `client` talks to the local Consul agent. Nothing is deregistered by destruction: what stands in Consul outlives
  /// an upgrade of the agent by its TTL. `links` and `telemetry` must outlive the watcher.
  Watcher(uv_loop_s* loop, const Config& config, std::unique_ptr<consul::Client> client, redis::SentinelLinks& links,
          Telemetry& telemetry);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  void Start();
  /// Starts beside a predecessor that a reload is to replace: listens without a word to Consul, until TakeOver(). Of
  /// the predecessor it learns which Sentinels there are.
  void StartSilently(const Watcher& predecessor);
  /// It has heard of everything that it is going to ask, so that its first word will be no worse than its predecessor's
  /// last one.
  bool IsFed() const;
  /// A failover is under way or near: Sentinel does not tell its steps twice.
  bool SeesElection() const { return group_ && group_->SeesElection(); }
  /// From now on this one speaks; the predecessor is gone.
  void TakeOver() { silent_ = false; }
  void OnTick();  ///< To be called every kTick.
  static constexpr std::chrono::milliseconds kTick{100};

  /// This host's name, as it stands in service IDs.
  static std::string HostName();
  /// What this agent registers in Consul.
  std::vector<std::string> ServiceIds() const { return ServiceIds(config_); }
  /// What an agent of this host would register with these settings.
  static std::vector<std::string> ServiceIds(const Config& config);
  /// One line for the service manager.
  std::string Summary() const;
  /// All that is known now.
  Status Describe() const;

 private:
  struct Sentinel {
    std::unique_ptr<redis::SentinelClient> client;
    bool configured = false;
    std::string asked;  ///< The group's name that it is asked about; empty: its only one.
    std::optional<TimePoint> lost_since;
    std::optional<redis::SentinelView> view;  ///< The last one.
    TimePoint viewed_at{};
    std::optional<redis::Election> election;
  };

  /// How a replica stands to its master.
  struct Replica {
    std::unique_ptr<redis::UpstreamClient> upstream;
    redis::ReplicaLag lag;
  };

  /// What was last said of an instance.
  struct Said {
    std::string line;
    TimePoint since{};
  };

  /// The role of an instance, as far as it is counted.
  struct RoleSeen {
    std::optional<redis::Role> role;
    std::optional<TimePoint> promoted_at;  ///< Until the catalog serves it as master.
  };

  /// What was done to a Redis server itself.
  struct Fenced {
    bool holding = false;
    TimePoint demote_again_at{};
  };

  void AskWhoWeAre();
  void RenewToken();
  void ReportConflict(const consul::Error& error);
  void OnNode(const consul::AgentSelf& self);
  Identity IdentityOf(const redis::Endpoint& endpoint) const;
  std::string ServiceIdOf(const redis::Endpoint& endpoint) const;
  std::uint16_t PortOf(const redis::Endpoint& endpoint) const;
  void OnInstanceChange(std::size_t instance);
  void CountRole(std::size_t instance);
  void CountFailover(TimePoint now);
  void FollowUpstream(std::size_t instance);
  void OnUpstream(std::size_t instance);
  void OnHello(const redis::SentinelHello& hello);
  void AddSentinel(const redis::Endpoint& endpoint, const std::string& name, bool configured);
  void OnSentinelView(const redis::Endpoint& endpoint, const redis::SentinelView& view);
  void ForgetLostSentinels(TimePoint now);
  void OnClaim(const consul::Result<consul::KvPair>& pair);
  using CatalogReader = void (Group::*)(consul::Result<std::vector<consul::ServiceEntry>>, TimePoint);
  void WatchClaim();
  void WatchCatalogs();
  void ReadAgain();
  std::unique_ptr<consul::Watch> WatchCatalog(const std::string& service, CatalogReader reader);
  void Reconsider();
  void FenceRedis(std::size_t instance, const Verdict& verdict, TimePoint now);
  void LogVerdict(std::size_t instance, const Verdict& verdict);
  void Execute(const Publisher::Call& call);
  void OnDone(const Publisher::Call& call, const consul::Result<std::uint64_t>& result);
  void LogClaim();

  /// Into the log and the timeline.
  void Note(LogLevel level, const std::string& subject, const std::string& text);
  void CountCall(TimePoint asked_at, bool answered);
  std::string Unready() const;
  InstanceStatus DescribeInstance(std::size_t instance) const;
  void DescribeCatalog(Status& status) const;

  /// Says something about a subject once, and again only when it changes. nullopt: it is well (said when it was not).
  void Report(const std::string& subject, const std::optional<std::string>& trouble, const std::string& well);
  void ReportConsul(const std::string& what, const std::optional<consul::Error>& error);

  uv_loop_s* loop_;
  redis::SentinelLinks& links_;
  Config config_;
  std::string host_;
  std::string claim_key_;
  std::string master_name_;
  bool silent_ = false;
  std::string token_;  ///< Of Consul.
  std::map<std::string, std::string> troubles_;
  Telemetry& telemetry_;
  std::vector<Said> said_;       ///< The last verdict, by instance.
  std::vector<RoleSeen> roles_;  ///< By instance.
  std::vector<Fenced> fenced_;   ///< By instance.
  std::uint64_t drift_said_ = 0;

  std::unique_ptr<Group> group_;  ///< Absent until the Consul node's name is known.
  std::string node_;
  consul::AgentSelf self_;
  std::uint64_t nodes_met_ = 0;  ///< How often the group was built: each time the Consul agent got another name.
  std::optional<ClaimRecord> claim_said_;
  TimePoint ask_again_at_{};                  ///< When to ask for the node's name again.
  TimePoint read_again_at_{};                 ///< When a lost comparison may have the watches begin anew.
  std::optional<TimePoint> conflicts_since_;  ///< Since when every takeover lost its comparison.
  Backoff ask_backoff_;

  // Destroyed first: their callbacks reach everything above.
  std::map<redis::Endpoint, Sentinel> sentinels_;
  std::vector<std::unique_ptr<redis::InstanceClient>> instances_;
  std::vector<Replica> replicas_;           ///< By instance.
  std::unique_ptr<consul::Client> client_;  ///< Outlives the watches, so that they can cancel their queries.
  std::unique_ptr<consul::Watch> claim_watch_;
  std::unique_ptr<consul::Watch> catalog_watch_;
  std::unique_ptr<consul::Watch> replica_watch_;  ///< Where the replicas have a service of their own.
};

}  // namespace rcb::agent
