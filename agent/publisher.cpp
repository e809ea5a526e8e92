#include "agent/publisher.h"

#include <algorithm>
#include <map>
#include <utility>

namespace rcb::agent {
namespace {

using consul::CheckStatus;
using consul::ErrorKind;
using consul::ServiceEntry;
using std::chrono::milliseconds;

constexpr char kMasterTag[] = "master";
constexpr char kReplicaTag[] = "replica";
constexpr char kNoFailoverTag[] = "no-failover";

/// A catalog reading under way when a call was answered shows itself within this time; on a loopback it takes 1 to 5
/// ms.
constexpr milliseconds kSettle{500};
/// A transaction that lost is tried again after the watches had time to bring what it lost to.
constexpr milliseconds kConflictPause{20};
/// One that Consul refuses for good reasons (ACL) is tried again at this pace, should an operator mend it.
constexpr milliseconds kDeniedPause{5000};
/// A claim and the catalog that was written with it come by two queries. A takeover that rests on the new claim and the
/// old catalog would leave the new holder beside itself; where the catalog did not change none comes.
/// Longer than a message that is sent twice or three times takes.
constexpr milliseconds kCatalogLag{1000};
/// A registration shows in the catalog within milliseconds; a server of Consul that is busy may take seconds.
constexpr milliseconds kHiddenAfter{5000};
/// The watch brings a claim that was written within milliseconds.
constexpr milliseconds kRewritePause{1000};

/// How long everybody leaves a surplus master to the holder of the claim. Longer than a claim is under way: a catalog
/// that was read before its claim shows a surplus master that is none.
constexpr milliseconds kLeftToHolder{1000};
/// A master tag that stands where nobody is led to it, a lost host's say, comes back with its host (found by
/// tests/simulation). Its own agent, if there is one, corrects itself sooner.
constexpr milliseconds kHiddenSurplus{5000};

/// The local agent answers within milliseconds, unless it is stuck: while it pushes to a leader of Consul that died a
/// moment ago it answers nobody who asks of its own services, for half a minute (agent/local/state.go holds its lock
/// over the call; seen on 1.8.7). The servers, and with them transactions, are well again after an election.
constexpr milliseconds kLocalPatience{500};

std::string CheckId(const std::string& service_id) { return service_id + ":role"; }

bool IsServedMaster(const Publication& publication) {
  return publication.tag == Tag::kMaster && publication.status != CheckStatus::kCritical;
}

bool HasTag(const consul::ServiceRegistration& registration, const char* tag) {
  return std::find(registration.tags.begin(), registration.tags.end(), tag) != registration.tags.end();
}

const consul::CatalogCheck* FindCheck(const ServiceEntry& entry) {
  const auto found =
      std::find_if(entry.checks.begin(), entry.checks.end(),
                   [&entry](const consul::CatalogCheck& check) { return check.id == CheckId(entry.id); });
  return found == entry.checks.end() ? nullptr : &*found;
}

}  // namespace

Publisher::Lane::Lane(std::uint64_t seed)
    : backoff(milliseconds(50), milliseconds(500), seed), corrections(milliseconds(1000), milliseconds(60000), seed) {}

Publisher::Publisher(const Options& options, std::size_t instances) : options_(options), group_(options.seed) {
  for (std::size_t i = 0; i < instances; ++i) lanes_.emplace_back(options.seed + i + 1);
}

void Publisher::OnVerdict(std::size_t instance, const Verdict& verdict, const Facts& facts) {
  Lane& lane = lanes_[instance];
  lane.wanted = verdict.publication;
  lane.take = verdict.take;
  lane.facts = facts;
  if (!verdict.publication || verdict.publication->tag != Tag::kMaster) lane.denied.clear();
  if (verdict.rewrite) {
    rewrite_ = verdict.rewrite;
    rewrite_instance_ = instance;
  } else if (rewrite_instance_ == instance) {
    rewrite_.reset();
  }
}

void Publisher::OnClaim(const ClaimRecord& record, TimePoint now) {
  const bool changed = claim_ && record.index != 0 && claim_->index != record.index;
  if (changed) {
    catalog_due_ = now + kCatalogLag;
    surplus_since_.reset();
  }
  claim_ = record;
}

void Publisher::OnCatalog(std::vector<ServiceEntry> entries, bool masters_read) {
  catalog_ = std::move(entries);
  if (masters_read) ++catalogs_read_;
}

void Publisher::OnCatalogLost() {
  catalog_.reset();
  for (Lane& lane : lanes_) lane.shown_as_master = false;
}

void Publisher::OnCatalogBack(TimePoint now) {
  for (Lane& lane : lanes_) {
    lane.heartbeat_at = lane.retry_at = lane.settle_until = now;
    lane.backoff.Reset();
  }
  group_.retry_at = now;
}

void Publisher::OnTokenRenewed() {
  for (Lane& lane : lanes_) lane.token_renewed = true;
}

std::vector<Publisher::Call> Publisher::Next(TimePoint now) {
  std::vector<Call> calls;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    if (auto heartbeat = Heartbeat(i, now)) calls.push_back(std::move(*heartbeat));
    if (lane.committing || now < lane.retry_at) continue;
    auto call = lane.in_flight || lane.beating ? PassBy(i, now) : NextFor(i, now);
    if (!call) continue;
    if (std::holds_alternative<Transaction>(call->what)) {
      lane.committing = true;
    } else {
      lane.in_flight = true;
      lane.updating = std::holds_alternative<UpdateTtl>(call->what);
      if (!lane.asked_since) lane.asked_since = now;
    }
    if (std::holds_alternative<Register>(call->what)) lane.token_renewed = false;
    calls.push_back(std::move(*call));
  }
  if (!group_.committing && now >= group_.retry_at) {
    if (auto call = NextForGroup(now)) {
      group_.committing = true;
      calls.push_back(std::move(*call));
    }
  }
  return calls;
}

/// Goes beside whatever else is under way: a transaction may hang for longer than a TTL while Consul has no leader.
std::optional<Publisher::Call> Publisher::Heartbeat(std::size_t instance, TimePoint now) {
  Lane& lane = lanes_[instance];
  if (!lane.told || now < lane.heartbeat_at || lane.beating || (lane.in_flight && lane.updating)) return std::nullopt;
  if (now - lane.beaten_at >= options_.ttl) {
    // The check expired: this agent was asleep, and the world went on. Saying the old thing again would publish it
    // anew.
    lane.told.reset();
    NotShownAsMaster(lane);
    return std::nullopt;
  }
  const bool gets_worse =
      lane.wanted && lane.wanted->status == CheckStatus::kCritical && lane.told->status != CheckStatus::kCritical;
  if (gets_worse) return std::nullopt;  // That is said instead.
  lane.beating = true;
  if (!lane.asked_since) lane.asked_since = now;
  return Call{instance, *lane.told, {}, true};
}

std::optional<Publisher::Call> Publisher::NextFor(std::size_t instance, TimePoint now) {
  Lane& lane = lanes_[instance];
  if (!lane.wanted) return std::nullopt;
  // Under which name it stands must be known before it is given one.
  if (options_.master_service != options_.replica_service && !catalog_ && !lane.registered) return std::nullopt;
  ReadCatalog(lane, now);
  if (IsServedMaster(*lane.wanted)) return NextForMaster(instance, now);
  if (lane.wanted->status == CheckStatus::kCritical || lane.tagged == false) return Tell(instance, *lane.wanted);
  if (!lane.tagged) return std::nullopt;
  // Anti-entropy may give our registration the tag back, from a reading that is older.
  Publication withheld = *lane.wanted;
  withheld.status = CheckStatus::kCritical;
  withheld.reason += "; not published before the catalog has given up its master tag";
  return Tell(instance, withheld);
}

std::optional<Publisher::Call> Publisher::NextForMaster(std::size_t instance, TimePoint now) {
  Lane& lane = lanes_[instance];
  if (lane.shown_as_master && !lane.take) return Tell(instance, *lane.wanted);
  if (now < lane.transaction_at) {
    if (lane.denied.empty()) return std::nullopt;
    return Tell(instance,
                {Tag::kNone, CheckStatus::kCritical, "confirmed as master, but not published: " + lane.denied});
  }
  if (!MayPublish(lane, now)) return std::nullopt;
  const ServiceEntry* own = Find(lane.facts);
  const bool untold = !lane.registered || own == nullptr;
  if (untold && now < lane.settle_until) return std::nullopt;  // Registered a moment ago: its entry is about to show.
  if (untold) {
    // The transaction changes an entry that exists. A new one starts where nobody is led to it.
    Register registration{RegistrationFor(lane, {Tag::kNone, CheckStatus::kCritical, {}})};
    if (auto call = LeaveName(instance, registration.registration.name)) return call;
    return Call{instance, std::move(registration), "registered before it is published as master"};
  }
  const bool tagged = HasTag(*lane.registered, kMasterTag);
  const bool critical = !lane.told || lane.told->status == CheckStatus::kCritical;
  if (critical && !tagged && lane.denied.empty()) {
    return Call{instance, UpdateTtl{CheckId(lane.facts.service_id), lane.wanted->status, lane.wanted->reason},
                "its check is readied before it is published as master"};
  }
  // What the check was told is pushed together with the registration: after the transaction, that would undo the tag.
  const consul::CatalogCheck* check = FindCheck(*own);
  const bool pushed = check != nullptr && lane.told && check->status == ToString(lane.told->status);
  if (!tagged && !pushed && now < lane.settle_until) return std::nullopt;
  return Publish(instance, *own);
}

/// The transaction alone, where the local agent answers nobody. What that pushes when it comes to itself undoes it, and
/// is corrected then.
std::optional<Publisher::Call> Publisher::PassBy(std::size_t instance, TimePoint now) {
  Lane& lane = lanes_[instance];
  if (!lane.asked_since || now - *lane.asked_since < kLocalPatience) return std::nullopt;
  if (!lane.wanted || !IsServedMaster(*lane.wanted)) return std::nullopt;
  if (!lane.denied.empty() || now < lane.transaction_at) return std::nullopt;
  ReadCatalog(lane, now);
  if ((lane.shown_as_master && !lane.take) || !MayPublish(lane, now)) return std::nullopt;
  const ServiceEntry* own = Find(lane.facts);
  return own == nullptr ? std::nullopt : Publish(instance, *own);
}

/// Enough is known of the claim and the catalog for a transaction.
bool Publisher::MayPublish(const Lane& lane, TimePoint now) const {
  if (!catalog_ || (!claim_ && !lane.facts.shard)) return false;
  if (!lane.take || lane.facts.shard) return true;
  // Who yielded does not come back by itself.
  const bool yielded = claim_->claim && claim_->claim->state == Claim::State::kYielded;
  return yielded || !CatalogIsBehind(now);
}

/// Brings the local Consul agent to say `wanted`, one call at a time.
std::optional<Publisher::Call> Publisher::Tell(std::size_t instance, const Publication& wanted) {
  Lane& lane = lanes_[instance];
  UpdateTtl update{CheckId(lane.facts.service_id), wanted.status, wanted.reason};
  const bool same_status = lane.told && lane.told->status == update.status;
  const bool same_output = same_status && lane.told->output == update.output;
  Register registration{RegistrationFor(lane, wanted)};
  const bool registered = lane.registered && *lane.registered == registration.registration;
  if (!IsServedMaster(wanted)) {
    if (auto call = LeaveName(instance, registration.registration.name)) return call;
  }
  if (registered && same_output && !lane.output_unpushed && !lane.token_renewed) return std::nullopt;
  const bool gets_worse = wanted.status == CheckStatus::kCritical && !same_status && !lane.check_missing;
  // A transaction has published it over a check that is critical locally: a registration would push that once more.
  const bool tagged = IsServedMaster(wanted) && lane.registered && HasTag(*lane.registered, kMasterTag);
  // Were it stuck, a registration as master could take effect when that is over and somebody else the master.
  const bool check_first = (lane.stuck && IsServedMaster(wanted)) || gets_worse || (same_status && !same_output) ||
                           ((registered || tagged) && !same_status);
  if (check_first) return Call{instance, std::move(update), wanted.reason};
  return Call{instance, std::move(registration), wanted.reason};
}

/// The call that removes what stands under another name than `name`.
std::optional<Publisher::Call> Publisher::LeaveName(std::size_t instance, const std::string& name) const {
  const Lane& lane = lanes_[instance];
  if (lane.named.empty() || lane.named == name) return std::nullopt;
  return Call{instance, Deregister{lane.facts.service_id}, "moves from service " + lane.named + " to " + name};
}

/// Takes over what the catalog says of the instance, and notices where that is not what the local agent was told.
void Publisher::ReadCatalog(Lane& lane, TimePoint now) {
  if (!catalog_ || now < lane.settle_until) return;
  const ServiceEntry* own = Find(lane.facts);
  const consul::CatalogCheck* check = own == nullptr ? nullptr : FindCheck(*own);
  const bool newer = lane.shown_since != catalogs_read_;
  lane.named = own == nullptr ? std::string() : own->name;
  if (own != nullptr || !lane.registered) {
    lane.unseen_since.reset();
  } else if (!lane.unseen_since) {
    lane.unseen_since = now;
  }
  const bool tagged = own != nullptr && StandsAsMaster(*own);
  // Its Consul agent may have taken the tag over while it stood there, and would push it with the next change.
  const bool gave_up = lane.tagged == true && !tagged && !IsServedMaster(*lane.wanted);
  if (gave_up && lane.registered && !HasTag(*lane.registered, kMasterTag)) {
    lane.registered.reset();
  }
  lane.tagged = tagged;
  if (newer) {
    lane.shown_as_master = check != nullptr && check->status != "critical" && own->HasTag(kMasterTag);
  }
  if (!lane.registered || !lane.told) return;
  // A master that the catalog does not show may have been superseded: only a transaction can tell. One that a
  // transaction has just published is not judged by what was read before.
  if (IsServedMaster(*lane.wanted) && (!newer || (own != nullptr && !lane.shown_as_master))) return;
  if (own != nullptr && !Drifted(lane, *own)) {
    lane.corrections.Reset();
    return;
  }
  if (now < lane.correct_at) return;
  lane.correct_at = now + lane.corrections.Next();
  ++drift_corrected_;
  lane.registered.reset();
  lane.told.reset();
}

bool Publisher::Drifted(const Lane& lane, const ServiceEntry& entry) const {
  const consul::ServiceRegistration& meant = *lane.registered;
  const consul::CatalogCheck* check = FindCheck(entry);
  return check == nullptr || check->status != ToString(lane.told->status) || entry.name != meant.name ||
         entry.tags != meant.tags || entry.address != meant.address || entry.port != meant.port ||
         entry.meta != meant.meta || entry.enable_tag_override != meant.enable_tag_override;
}

std::optional<Publisher::Call> Publisher::Publish(std::size_t instance, const ServiceEntry& own) const {
  const Lane& lane = lanes_[instance];
  if (lane.facts.shard) return PublishShardMaster(instance, own);
  // Without a takeover only who holds the claim is published: a verdict may be older than the claim.
  const bool holds = claim_->claim && claim_->claim->state == Claim::State::kHeld &&
                     claim_->claim->service_id == lane.facts.service_id && claim_->claim->node == lane.facts.node;
  if (!lane.take && !holds) return std::nullopt;
  return PublishMaster(instance, own);
}

Publisher::Call Publisher::PublishMaster(std::size_t instance, const ServiceEntry& own) const {
  const Lane& lane = lanes_[instance];
  Transaction transaction;
  // The claim is written even where it stays as it is: of two transactions that rest on the same one, say a holder that
  // comes back and its successor, the second then fails and is thought over with what the first one did.
  transaction.claim = lane.take ? lane.take : claim_->claim;
  if (transaction.claim) transaction.claim->revision = (claim_->claim ? claim_->claim->revision : 0) + 1;
  auto& operations = transaction.operations;
  if (transaction.claim) {
    operations.emplace_back(consul::TxnKvCas{options_.claim_key, EncodeClaim(*transaction.claim), claim_->index});
  } else {
    operations.emplace_back(consul::TxnKvCheckIndex{options_.claim_key, claim_->index});
  }
  AppendPublication(lane, own, operations);
  const std::string superseded = SupersededBy(lane.facts, own, lane.wanted->reason);
  // By a higher epoch of Sentinel's it is right whoever is served. Otherwise it may rest on the old master being gone,
  // and the catalog that shows that may have hung meanwhile (found by tests/simulation). That it is gone because its
  // node or a check of somebody else's is critical cannot be compared: writing those needs other permissions.
  const bool by_rank = lane.take && lane.take->authority == Authority::kSentinel && claim_->claim &&
                       Outranks(lane.take->authority, lane.take->epoch, *claim_->claim);
  const bool may_be_old = !CatalogIsAsNewAsClaim();
  for (const ServiceEntry& other : *catalog_) {
    if (operations.size() + 2 > consul::kMaxTxnOperations) break;  // The rest is withdrawn by NextForGroup().
    if (other.id == own.id && other.node == own.node) continue;
    if (StandsAsMaster(other)) {
      AppendStrip(other, superseded, operations, !by_rank);
    } else if (may_be_old && claim_->claim && claim_->claim->service_id == other.id &&
               claim_->claim->node == other.node) {
      // The holder must still be what was read (found by tests/simulation: it had become master meanwhile).
      operations.emplace_back(consul::TxnServiceSet{other, other.tags, other.meta, other.modify_index});
    }
  }
  return Call{instance, std::move(transaction), lane.wanted->reason};
}

/// What is said of those whom the instance of `own` strips.
std::string Publisher::SupersededBy(const Facts& facts, const ServiceEntry& own, const std::string& reason) {
  return "superseded by " + (facts.address.empty() ? own.node_address : facts.address) + ":" +
         std::to_string(facts.port) + ": " + reason;
}

/// The instance as the master that is wanted, under its name.
void Publisher::AppendPublication(const Lane& lane, const ServiceEntry& own,
                                  std::vector<consul::TxnOperation>& operations) const {
  const consul::ServiceRegistration meant = RegistrationFor(lane, *lane.wanted);
  ServiceEntry entry = own;
  if (own.name != meant.name) {
    operations.emplace_back(consul::TxnServiceDelete{own.node, own.id, own.name});
    entry.name = meant.name;
  }
  operations.emplace_back(consul::TxnServiceSet{std::move(entry), meant.tags, meant.meta, 0});
  operations.emplace_back(consul::TxnCheckSet{
      own.node, meant.name,
      consul::CatalogCheck{meant.check.id, meant.check.name, std::string(ToString(lane.wanted->status)),
                           meant.check.notes, lane.wanted->reason, meant.id}});
}

/// Two operations: the registration without the tag, its check critical. The entry is compared, so that a newer
/// registration is never overwritten by an older reading of it.
void Publisher::AppendStrip(const ServiceEntry& entry, const std::string& reason,
                            std::vector<consul::TxnOperation>& operations, bool rests_on_it) const {
  consul::TxnServiceSet strip{entry, entry.tags, entry.meta, entry.modify_index};
  std::erase(strip.tags, kMasterTag);
  strip.meta.erase("epoch");
  strip.meta["role"] = "none";
  operations.emplace_back(std::move(strip));
  const consul::CatalogCheck* check = FindCheck(entry);
  consul::CatalogCheck critical =
      check != nullptr ? *check : consul::CatalogCheck{CheckId(entry.id), "Redis role", {}, {}, {}, entry.id};
  critical.status = ToString(CheckStatus::kCritical);
  critical.output = reason;
  const std::uint64_t compared = rests_on_it && !entry.IsServed() ? critical.modify_index : 0;
  operations.emplace_back(consul::TxnCheckSet{entry.node, entry.name, std::move(critical), compared});
}

/// A withdrawal compares what it changes, so a catalog read since the last transaction is new enough for it; where none
/// came, nothing changed.
bool Publisher::IsSettled(const Lane& lane, TimePoint now) const {
  return lane.shown_since != catalogs_read_ || now >= lane.settle_until;
}

/// The claim has changed and the catalog that was written with it may still come: another one, read before, may have
/// come in between (found by tests/simulation: a second master).
bool Publisher::CatalogIsBehind(TimePoint now) const { return !CatalogIsAsNewAsClaim() && now < catalog_due_; }

bool Publisher::CatalogIsAsNewAsClaim() const {
  return std::any_of(catalog_->begin(), catalog_->end(),
                     [this](const ServiceEntry& entry) { return entry.modify_index >= claim_->index; });
}

std::optional<Publisher::Call> Publisher::NextForGroup(TimePoint now) {
  if (IsCluster()) return WithdrawFromShards(now);
  if (!claim_) return std::nullopt;
  if (auto withdrawal = Withdraw(now)) return withdrawal;
  if (!rewrite_ || now < rewrite_at_) return std::nullopt;
  return Call{kGroupLane, WriteClaim{*rewrite_, claim_->index},
              rewrite_->state == Claim::State::kYielded ? "yielded: it is a replica now" : "claim brought up to date"};
}

/// What anti-entropy of a lost host, or somebody else, brings back. The holder withdraws it at once, and everybody else
/// where the holder's agent is lost as well: claim and entry are compared, so only the first one changes anything.
std::optional<Publisher::Call> Publisher::Withdraw(TimePoint now) {
  if (!catalog_ || !claim_->claim) return std::nullopt;
  if (now < group_.transaction_at || !IsSettled(group_, now) || CatalogIsBehind(now)) return std::nullopt;
  const Claim& claim = *claim_->claim;
  Transaction transaction;
  transaction.operations.emplace_back(consul::TxnKvCheckIndex{options_.claim_key, claim_->index});
  std::string names;
  const bool held = claim.state == Claim::State::kHeld;
  bool served = false;
  for (const ServiceEntry& entry : *catalog_) {
    const bool holds = entry.id == claim.service_id && entry.node == claim.node;
    if (!StandsAsMaster(entry) || holds || IsOwn(entry)) continue;
    served |= entry.IsServed();
    if (transaction.operations.size() + 2 > consul::kMaxTxnOperations) break;
    AppendStrip(entry, "withdrawn: " + claim.service_id + (held ? " holds the claim" : " was master last"),
                transaction.operations);
    names += (names.empty() ? "" : ", ") + entry.id;
  }
  if (names.empty()) {
    surplus_since_.reset();
    return std::nullopt;
  }
  if (!surplus_since_) surplus_since_ = now;
  const auto own = std::find_if(lanes_.begin(), lanes_.end(), [&claim](const Lane& lane) {
    return claim.service_id == lane.facts.service_id && claim.node == lane.facts.node;
  });
  // A holder that is not shown itself may have been superseded: its own transaction will tell.
  const bool mine = own != lanes_.end() && own->wanted && IsServedMaster(*own->wanted) && own->shown_as_master &&
                    !own->take && IsSettled(*own, now);
  const auto left = !served ? kHiddenSurplus : mine ? milliseconds(0) : kLeftToHolder;
  if ((!mine && held && own != lanes_.end()) || now - *surplus_since_ < left) return std::nullopt;
  return Call{kGroupLane, std::move(transaction), "withdrawing the master tag of " + names};
}

void Publisher::OnDone(const Call& call, const consul::Result<void>& result, TimePoint now) {
  Lane& lane = call.lane == kGroupLane ? group_ : lanes_[call.lane];
  if (call.heartbeat) {
    OnHeartbeatDone(lane, result, now);
    return;
  }
  if (call.lane == kGroupLane || std::holds_alternative<Transaction>(call.what)) {
    lane.committing = false;
  } else {
    lane.in_flight = false;
    lane.updating = false;
    OnLocalAnswer(lane, result, now);
  }
  if (result) {
    OnSuccess(lane, call, now);
  } else {
    OnFailure(lane, call, result.error(), now);
  }
}

void Publisher::OnLocalAnswer(Lane& lane, const consul::Result<void>& result, TimePoint now) {
  if (!lane.in_flight && !lane.beating) {
    lane.asked_since.reset();
  } else if (result) {
    lane.asked_since = now;
  }
  lane.stuck = !result && result.error().kind == ErrorKind::kTimeout;
}

void Publisher::OnHeartbeatDone(Lane& lane, const consul::Result<void>& result, TimePoint now) {
  lane.beating = false;
  OnLocalAnswer(lane, result, now);
  if (result) {
    lane.beaten_at = now;
    lane.heartbeat_at = now + options_.ttl / 3;
    return;
  }
  lane.heartbeat_at = now + options_.ttl / 10;
  if (result.error().kind == ErrorKind::kNotFound) ForgetCheck(lane);
}

/// By a call of our own, be it one that a transaction went past: only a catalog that is read from now on knows better.
void Publisher::NotShownAsMaster(Lane& lane) const {
  lane.shown_as_master = false;
  lane.shown_since = catalogs_read_;
}

/// The local Consul agent does not know it: it restarted empty.
void Publisher::ForgetCheck(Lane& lane) {
  lane.registered.reset();
  lane.told.reset();
  lane.check_missing = true;
}

void Publisher::OnSuccess(Lane& lane, const Call& call, TimePoint now) {
  lane.backoff.Reset();
  lane.retry_at = now;
  if (const auto* registration = std::get_if<Register>(&call.what)) {
    // A check that was new has the registration's status and no output; one that was known kept what it was told.
    if (!lane.registered) lane.told.reset();
    lane.registered = registration->registration;
    lane.named = registration->registration.name;
    lane.check_missing = false;
    lane.output_unpushed = false;
    lane.settle_until = now + kSettle;
    if (!HasTag(registration->registration, kMasterTag)) NotShownAsMaster(lane);
  } else if (const auto* update = std::get_if<UpdateTtl>(&call.what)) {
    const bool changed = !lane.told || lane.told->status != update->status;
    lane.output_unpushed |= !changed && lane.told->output != update->output;
    lane.told = *update;
    // Twice missed, the third still comes in time.
    lane.heartbeat_at = now + options_.ttl / 3;
    lane.beaten_at = now;
    if (changed) {
      lane.output_unpushed = false;
      lane.settle_until = now + kSettle;
    }
    if (update->status == CheckStatus::kCritical) NotShownAsMaster(lane);
  } else if (std::holds_alternative<Deregister>(call.what)) {
    ForgetCheck(lane);
    NotShownAsMaster(lane);
    lane.named.clear();
    lane.settle_until = now + kSettle;
  } else if (std::holds_alternative<WriteClaim>(call.what)) {
    rewrite_.reset();
    rewrite_at_ = now + kRewritePause;
  } else {
    lane.denied.clear();
    lane.take.reset();
    lane.settle_until = now + kSettle;
    lane.shown_since = catalogs_read_;
    if (call.lane == kGroupLane) {
      ++drift_corrected_;
    } else {
      lane.shown_as_master = true;
      lane.tagged = true;
      lane.named = options_.master_service;
    }
  }
}

void Publisher::OnFailure(Lane& lane, const Call& call, const consul::Error& error, TimePoint now) {
  if (std::holds_alternative<Transaction>(call.what)) {
    if (error.kind == ErrorKind::kConflict) {
      lane.transaction_at = now + kConflictPause;
      if (call.lane == kGroupLane) surplus_since_.reset();
      return;
    }
    if (error.kind == ErrorKind::kDenied) {
      lane.denied = error.message;
      lane.transaction_at = now + kDeniedPause;
      return;
    }
  } else if (error.kind == ErrorKind::kNotFound && std::holds_alternative<UpdateTtl>(call.what)) {
    ForgetCheck(lane);
    return;
  }
  // The outcome may be unknown: what the local agent holds is told again.
  if (std::holds_alternative<Register>(call.what)) lane.registered.reset();
  if (std::holds_alternative<UpdateTtl>(call.what)) lane.told.reset();
  lane.retry_at = now + (error.kind == ErrorKind::kDenied ? kDeniedPause : lane.backoff.Next());
}

consul::ServiceRegistration Publisher::RegistrationFor(const Lane& lane, const Publication& wanted) const {
  consul::ServiceRegistration registration;
  registration.id = lane.facts.service_id;
  registration.name = wanted.tag == Tag::kMaster ? options_.master_service : options_.replica_service;
  if (wanted.tag == Tag::kMaster) registration.tags.emplace_back(kMasterTag);
  if (wanted.tag == Tag::kReplica) registration.tags.emplace_back(kReplicaTag);
  if (wanted.tag == Tag::kReplica && lane.facts.never_promoted) registration.tags.emplace_back(kNoFailoverTag);
  if (lane.facts.shard) registration.tags.push_back(lane.facts.shard->name);
  registration.tags.insert(registration.tags.end(), options_.extra_tags.begin(), options_.extra_tags.end());
  registration.address = lane.facts.address;
  registration.port = lane.facts.port;
  registration.meta = {{"bridge_version", RCB_VERSION}, {"group", lane.facts.group}};
  registration.meta["role"] = wanted.tag == Tag::kMaster    ? kMasterTag
                              : wanted.tag == Tag::kReplica ? kReplicaTag
                                                            : "none";
  if (!lane.facts.run_id.empty()) registration.meta["run_id"] = lane.facts.run_id;
  if (!lane.facts.redis_version.empty()) registration.meta["redis_version"] = lane.facts.redis_version;
  if (wanted.tag == Tag::kReplica) registration.meta["upstream"] = lane.facts.upstream;
  if (lane.facts.shard) {
    registration.meta["shard"] = lane.facts.shard->name;
    registration.meta["slots"] = lane.facts.shard->slots;
    if (wanted.tag == Tag::kMaster) registration.meta["epoch"] = std::to_string(lane.facts.shard->epoch);
  } else if (wanted.tag == Tag::kMaster) {
    const bool taking = lane.take.has_value();
    if (taking || (claim_ && claim_->claim)) {
      registration.meta["epoch"] = std::to_string(taking ? lane.take->epoch : claim_->claim->epoch);
    }
  }
  registration.enable_tag_override = true;
  registration.check.id = CheckId(registration.id);
  registration.check.name = "Redis role";
  registration.check.notes = "Fed by redis-consul-agent; its output says why the instance has its tag.";
  registration.check.ttl = options_.ttl;
  // Of a new check only: a known one keeps what it was told. The first TTL update then changes the status, and so is
  // pushed at once together with its output.
  registration.check.status = CheckStatus::kCritical;
  registration.check.deregister_critical_after = options_.deregister_critical_after;
  return registration;
}

const ServiceEntry* Publisher::Find(const Facts& facts) const {
  if (!catalog_) return nullptr;
  const auto found = std::find_if(catalog_->begin(), catalog_->end(), [&facts](const ServiceEntry& entry) {
    return entry.id == facts.service_id && entry.node == facts.node;
  });
  return found == catalog_->end() ? nullptr : &*found;
}

/// Where the master has a service of its own, whoever is served under its name: anti-entropy brings a name back, other
/// than a tag.
bool Publisher::StandsAsMaster(const ServiceEntry& entry) const {
  const bool under_its_name =
      options_.master_service != options_.replica_service && entry.name == options_.master_service;
  return entry.HasTag(kMasterTag) || (under_its_name && entry.IsServed());
}

bool Publisher::IsOwn(const ServiceEntry& entry) const {
  return std::any_of(lanes_.begin(), lanes_.end(), [&entry](const Lane& lane) {
    return entry.id == lane.facts.service_id && entry.node == lane.facts.node;
  });
}

bool Publisher::IsHidden(std::size_t instance, TimePoint now) const {
  const auto& since = lanes_[instance].unseen_since;
  return since && now - *since >= kHiddenAfter;
}

}  // namespace rcb::agent
