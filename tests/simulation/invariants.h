#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/claim.h"
#include "tests/simulation/world.h"

namespace rcb::simulation {

/// The promises of DESIGN section 1, checked at every change of Consul and, where they are about time, four times a
/// second. The first one broken ends the schedule.
class Invariants {
 public:
  explicit Invariants(World& world);

  void Start();
  /// An operator re-monitored the group at config-epoch 0: the claim may follow Sentinel to a lower epoch.
  void OnSentinelReset() { sentinel_reset_ = true; }
  /// Somebody who is no bridge writes this into the key.
  void OnForeignValue(const std::string& value) { foreign_value_ = value; }
  /// Or this host into the catalog, as a master.
  void OnForeignEntry(std::size_t host) { foreign_entries_.insert(host); }

  const std::optional<std::string>& broken() const { return broken_; }
  void Break(const std::string& sentence);

  std::set<std::size_t> ServedMasters() const;
  bool IsServedReplica(std::size_t host) const;
  const std::optional<agent::Claim>& claim() const { return claim_; }
  std::optional<std::size_t> Holder() const;

  // What was measured.
  const std::vector<Duration>& without_master() const { return without_master_; }
  const std::vector<Duration>& promotion_to_published() const { return promotion_to_published_; }
  /// Two masters, one of them pushed back by a Consul agent, while the holder's bridge could withdraw it at once.
  const std::vector<Duration>& repushed() const { return repushed_; }
  /// The same while it could not all the time.
  const std::vector<Duration>& repushed_unwatched() const { return repushed_unwatched_; }
  /// Two masters, one of them written into the catalog by somebody who is no bridge.
  const std::vector<Duration>& foreign() const { return foreign_; }
  std::size_t takeovers() const { return takeovers_; }

 private:
  void OnKey();
  void OnCatalog();
  void Audit();
  void CheckClaimOrder(const agent::Claim& before, const agent::Claim& after);
  void CheckClaimIsTrue(const std::optional<agent::Claim>& before, const agent::Claim& after);
  void CheckServed(std::size_t host);
  void CheckDemotion(std::size_t host, std::size_t upstream);
  void NoteCatalog();
  bool MayBeRepushed(std::size_t host);
  bool IsInUse(std::size_t host) const;
  bool CouldWithdraw(std::size_t host);
  bool IsToBeWithheldForItsData(std::size_t host) const;
  bool HolderCouldWithdraw();
  Duration LongestRepushed();
  bool BridgeIsAble(std::size_t host);
  bool ReadsClaim(std::size_t host);
  TimePoint LastNamed(std::size_t host) const;
  /// At this config-epoch or a higher one.
  bool MostSentinelsName(std::size_t host, std::uint64_t epoch = 0) const;
  bool WasMasterWhenSent(std::size_t host) const;
  std::optional<std::size_t> HostOf(const std::string& service_id) const;
  const consul::ServiceEntry* EntryOf(std::size_t host) const;

  World& world_;
  std::optional<std::string> broken_;
  std::optional<agent::Claim> claim_;
  bool newer_version_ = false;  ///< What is in the key now was written by a newer bridge: `claim_` is before.
  std::optional<std::size_t> last_holder_;  ///< Outlives a claim that was deleted.
  std::uint64_t holder_since_index_ = 0;    ///< Of the claim that made the present holder.
  TimePoint holder_since_{};
  TimePoint holder_before_{};  ///< Since when the one before held it.
  bool sentinel_reset_ = false;
  std::string foreign_value_;
  std::set<std::size_t> foreign_entries_;  ///< Until they are withdrawn.
  std::set<std::size_t> served_;
  std::optional<TimePoint> none_since_;
  std::optional<TimePoint> double_since_;

  // By host, as of the last audit.
  std::vector<TimePoint> able_since_;   ///< Bridge, local Consul agent and Consul's servers all within reach.
  std::vector<TimePoint> wrong_since_;  ///< Served though its own host can tell that it is no master.
  std::vector<TimePoint> last_named_;   ///< When a running Sentinel last named it.
  std::vector<std::optional<TimePoint>> promoted_;  ///< The promotion whose publication was measured.
  std::vector<TimePoint> served_since_;             ///< As master.
  std::vector<TimePoint> connected_at_;             ///< When it last had either, or says no master.
  std::vector<TimePoint> unnamed_at_;               ///< When its bridge last heard no majority naming it.
  std::vector<std::set<std::string>> replids_;      ///< That stand for its data set.

  std::vector<std::string> noted_;  ///< Entries as the history last told them.
  std::vector<Duration> without_master_;
  std::vector<Duration> promotion_to_published_;
  std::vector<Duration> repushed_;
  std::vector<Duration> repushed_unwatched_;
  std::vector<Duration> foreign_;
  bool double_is_foreign_ = false;  ///< Of the two masters that are served now, one was written by hand.
  std::size_t takeovers_ = 0;
};

}  // namespace rcb::simulation
