#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/arbiter.h"
#include "agent/publisher.h"
#include "consul/result.h"
#include "consul/types.h"

namespace rcb::agent {

/// The brain for one group on one host: what was read goes in, calls to Consul come out. It joins arbiter and publisher
/// and judges the freshness of what Consul answers. Pure, so that the simulation runs the very code that the daemon
/// runs.
class Group {
 public:
  Group(const Arbiter::Options& arbiter_options, const Publisher::Options& publisher_options,
        std::vector<Identity> instances);

  void OnInstance(std::size_t instance, const redis::InstanceState& state);
  void OnSentinelView(const redis::SentinelView& view, TimePoint now) { arbiter_.OnSentinelView(view, now); }
  void OnUpstream(std::size_t instance, const redis::UpstreamState& upstream, bool behind) {
    arbiter_.OnUpstream(instance, upstream, behind);
  }
  void OnSentinelInstances(const std::vector<redis::SentinelInstance>& known) { arbiter_.OnSentinelInstances(known); }
  /// A Sentinel made itself heard, be it only by a hello.
  void OnHello() { arbiter_.OnHello(); }
  void OnElection(const std::string& sentinel_id, const std::optional<redis::Election>& election) {
    arbiter_.OnElection(sentinel_id, election);
  }
  /// An answer to a read of the claim's key, or its failure.
  void OnClaim(const consul::Result<consul::KvPair>& pair, TimePoint now);
  /// An answer to a read of the master's service in the catalog, or its failure.
  void OnCatalog(consul::Result<std::vector<consul::ServiceEntry>> entries, TimePoint now);
  /// The same of the replicas' service, where it has another name.
  void OnReplicaCatalog(consul::Result<std::vector<consul::ServiceEntry>> entries, TimePoint now);

  void OnTokenRenewed() { publisher_.OnTokenRenewed(); }

  /// Weighs everything anew and tells the calls to make now. `group_name` is the master name as far as it is known;
  /// `utc` stamps a claim that is taken. To be called several times a second: after a longer pause the process was
  /// asleep, and it listens for a moment before it says anything.
  std::vector<Publisher::Call> Decide(const std::string& group_name, const std::string& utc, TimePoint now);

  /// The result of a call: for a transaction the claim's new index.
  void OnDone(const Publisher::Call& call, const consul::Result<std::uint64_t>& result, TimePoint now);

  /// The claim and the catalog were read.
  bool HasRead() const { return claim() && publisher_.HasCatalog(); }
  bool SeesElection() const { return arbiter_.SeesElection(); }
  const std::vector<Verdict>& verdicts() const { return verdicts_; }
  bool IsHidden(std::size_t instance, TimePoint now) const { return publisher_.IsHidden(instance, now); }
  bool HoldsClaim(std::size_t instance) const { return arbiter_.HoldsClaim(instance); }
  const std::optional<ClaimRecord>& claim() const { return arbiter_.claim(); }
  std::optional<Authority> authority() const { return arbiter_.authority(); }
  /// What was last read of the catalog under the master's name; absent when that failed.
  const std::optional<std::vector<consul::ServiceEntry>>& master_entries() const { return master_entries_; }
  /// The same of the replicas' name; empty where that is the master's.
  const std::optional<std::vector<consul::ServiceEntry>>& replica_entries() const { return replica_entries_; }
  std::uint64_t drift_corrected() const { return publisher_.drift_corrected(); }

 private:
  using Entries = std::vector<consul::ServiceEntry>;
  void AcceptClaim(const ClaimRecord& record, TimePoint now);
  void AcceptCatalog(std::optional<Entries>& part, consul::Result<Entries> entries, TimePoint now);

  std::vector<Identity> instances_;
  std::vector<redis::InstanceState> states_;
  Arbiter arbiter_;
  Publisher publisher_;
  std::vector<Verdict> verdicts_;
  std::optional<TimePoint> decided_at_;
  TimePoint listen_until_{};
  std::optional<std::uint64_t> claim_index_;
  bool claim_suspect_ = false;  ///< A read failed since: a lower index may be the truth now (Consul restarted empty).
  std::optional<Entries> master_entries_;
  std::optional<Entries> replica_entries_;  ///< Empty for ever where the replicas have no service of their own.
  bool catalog_lost_ = false;
};

}  // namespace rcb::agent
