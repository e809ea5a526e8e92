#include "agent/arbiter.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace rcb::agent {
namespace {

using consul::CheckStatus;
using redis::Health;
using redis::Role;
using std::chrono::milliseconds;

/// Bounds of the default lease: shorter, and a slow read would fence; longer, and Sentinel would be done before.
constexpr milliseconds kLeastLease{3000};
constexpr milliseconds kMostLease{10000};
/// How long the former holder of a claim that vanished has the first word. Its agent reads the key as often as we do,
/// so this covers a restart of that agent.
constexpr milliseconds kReclaimWait{10000};
/// Addresses learned for one instance: one for each network that Sentinels see it from.
constexpr std::size_t kMaxAliases = 16;
/// How long a server that became master is not demoted: news of a promotion travel with hellos, every 2 s.
constexpr milliseconds kNewMaster{5000};
/// How long a majority of Sentinels at a lower epoch than the claim's is taken for one that has not heard yet: hellos
/// bring the news every 2 s, and the catalog may have been read before the claim.
constexpr milliseconds kResetWait{10000};

constexpr char kFenced[] = "says master, but is cut off from Consul's servers and from most Sentinels: fenced";

std::string AtEpoch(std::uint64_t epoch) { return " at epoch " + std::to_string(epoch); }

/// True when the data set of `info` continues the one that `replid` stood for (Redis src/replication.c
/// shiftReplicationId: a promoted replica keeps its former master's id as master_replid2).
bool Descends(const redis::ReplicationInfo& info, const std::string& replid) {
  return !replid.empty() && (info.replid == replid || info.replid2 == replid);
}

}  // namespace

Arbiter::Arbiter(const Options& options, std::vector<Identity> instances)
    : options_(options),
      instances_(std::move(instances)),
      states_(instances_.size()),
      upstreams_(instances_.size()),
      aliases_(instances_.size()),
      published_(instances_.size()),
      sentinel_heard_(options.sentinels_configured),
      named_at_(instances_.size()),
      outvoted_since_(instances_.size()),
      confirmed_(instances_.size()),
      shards_(instances_.size()) {}

Verdict Arbiter::Say(Tag tag, CheckStatus status, std::string reason) {
  Verdict verdict;
  verdict.publication = Publication{tag, status, std::move(reason)};
  return verdict;
}

Verdict Arbiter::Withhold(std::string reason) { return Say(Tag::kNone, CheckStatus::kCritical, std::move(reason)); }

void Arbiter::OnInstance(std::size_t instance, const redis::InstanceState& state) { states_[instance] = state; }

void Arbiter::OnUpstream(std::size_t instance, const redis::UpstreamState& upstream, bool behind) {
  upstreams_[instance] = {upstream, behind};
}

void Arbiter::OnSentinelView(const redis::SentinelView& view, TimePoint now) {
  views_[view.sentinel_id] = {view, now};
  if (view.down_after.count() > 0) down_after_ = view.down_after;
  sentinel_heard_ = true;
  if (!view.master_run_id.empty()) OnSentinelInstances({{view.master, view.master_run_id}});
}

void Arbiter::OnSentinelInstances(const std::vector<redis::SentinelInstance>& known) {
  for (const redis::SentinelInstance& told : known) {
    for (std::size_t i = 0; i < instances_.size(); ++i) {
      const std::string& own_run_id = states_[i].server.run_id;
      const bool own = !own_run_id.empty() && told.run_id == own_run_id;
      const auto alias = std::find_if(aliases_[i].begin(), aliases_[i].end(),
                                      [&told](const Alias& item) { return item.address == told.address; });
      if (alias == aliases_[i].end()) {
        if (own && aliases_[i].size() < kMaxAliases) aliases_[i].push_back({told.address, told.run_id});
      } else if (own) {
        alias->run_id = told.run_id;  // Restarted since.
      } else if (told.run_id != alias->run_id) {
        aliases_[i].erase(alias);  // Another server has this address now.
      }
    }
  }
}

void Arbiter::OnElection(const std::string& sentinel_id, const std::optional<redis::Election>& election) {
  if (election) {
    elections_[sentinel_id] = *election;
  } else {
    elections_.erase(sentinel_id);
  }
}

void Arbiter::OnClaim(const ClaimRecord& record, TimePoint now) {
  const auto is_absent = [](const ClaimRecord& read) { return !read.claim && read.unreadable.empty(); };
  if (!claim_) first_claim_at_ = now;
  if (is_absent(record) && (!claim_ || !is_absent(*claim_))) claim_lost_at_ = now;
  if (record.claim) last_claim_ = record.claim;
  if (!claim_ || claim_->index != record.index) claim_since_ = now;
  claim_ = record;
  claim_read_at_ = now;
}

void Arbiter::OnCatalog(std::vector<CatalogFact> facts) { catalog_ = std::move(facts); }

bool Arbiter::IsHolder(const Claim& claim, std::size_t instance) const {
  if (claim.service_id != instances_[instance].service_id) return false;
  // The same process on a node of another name: the Consul agent was renamed.
  return claim.node == instances_[instance].node ||
         (!claim.run_id.empty() && claim.run_id == states_[instance].server.run_id);
}

bool Arbiter::HoldsClaim(std::size_t instance) const {
  return authority_ != Authority::kCluster && claim_ && claim_->claim && IsHolder(*claim_->claim, instance);
}

bool Arbiter::SeesElection() const {
  return !elections_.empty() || std::any_of(views_.begin(), views_.end(), [](const auto& item) {
    return item.second.view.failover_in_progress || item.second.view.master_down;
  });
}

bool Arbiter::IsServedAsMaster(std::size_t instance) const {
  return catalog_ && std::any_of(catalog_->begin(), catalog_->end(), [&](const CatalogFact& fact) {
           return fact.served_as_master && fact.service_id == instances_[instance].service_id &&
                  fact.node == instances_[instance].node;
         });
}

/// All Sentinels are lost: the held claim stands. They would have been heard by now.
bool Arbiter::ListenedInVain(std::size_t instance, TimePoint now) const {
  return now - std::max(states_[instance].health_since, first_claim_at_) >= options_.view_freshness;
}

bool Arbiter::HolderIsServedAsMaster() const {
  if (!catalog_) return true;  // Unknown is not gone.
  return std::any_of(catalog_->begin(), catalog_->end(), [this](const CatalogFact& fact) {
    return fact.served_as_master && fact.service_id == claim_->claim->service_id && fact.node == claim_->claim->node;
  });
}

std::vector<Verdict> Arbiter::Decide(TimePoint now) {
  FindAuthority(now);
  // A Sentinel that is no longer heard is forgotten in the end, so that what is kept stays bounded.
  std::erase_if(views_, [&](const auto& item) { return now - item.second.at > 10 * options_.view_freshness; });
  std::vector<Verdict> verdicts;
  verdicts.reserve(instances_.size());
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    const SentinelWord word = AskSentinels(i, now);
    confirmed_[i] = std::max(confirmed_[i], word.confirmed);
    if (word.majority_names_it) named_at_[i] = std::max(named_at_[i], word.named_at);
    if (!word.majority_names || !HoldsClaim(i)) {
      outvoted_since_[i].reset();
    } else if (!outvoted_since_[i]) {
      outvoted_since_[i] = now;
    }
    FollowShard(i, now);
    verdicts.push_back(Judge(i, now));
    if (authority_ == Authority::kCluster && shards_[i]) verdicts[i].shard = shards_[i]->shard;
    if (options_.demote_superseded) FenceRedis(i, now, verdicts[i]);
    // A takeover is published only once its transaction is through, which shows as a claim that is held.
    if (verdicts[i].publication && (!verdicts[i].take || HoldsClaim(i))) published_[i] = verdicts[i].publication;
  }
  return verdicts;
}

/// DESIGN section 5, `auto`. Once Sentinel is heard of, it stays the authority: it outranks replication. Whether a
/// server runs in cluster mode does not change while it runs.
void Arbiter::FindAuthority(TimePoint now) {
  if (options_.authority) {
    authority_ = options_.authority;
    return;
  }
  const bool in_cluster = std::any_of(states_.begin(), states_.end(),
                                      [](const redis::InstanceState& state) { return state.server.mode == "cluster"; });
  if (in_cluster) {
    authority_ = Authority::kCluster;
    return;
  }
  const bool claimed_by_sentinel = claim_ && claim_->claim && claim_->claim->authority == Authority::kSentinel;
  if (sentinel_heard_ || claimed_by_sentinel) {
    authority_ = Authority::kSentinel;
    return;
  }
  if (authority_ || hello_heard_) return;
  const bool listened = std::any_of(states_.begin(), states_.end(), [&](const redis::InstanceState& state) {
    return state.health == Health::kAnswering && now - state.health_since >= options_.hello_wait;
  });
  if (listened) authority_ = Authority::kReplication;
}

/// By run id, or else by address: the run id that Sentinel tells may still be that of the process before.
bool Arbiter::IsNamed(std::size_t instance, const redis::Endpoint& address, const std::string& run_id) const {
  if (!run_id.empty() && run_id == states_[instance].server.run_id) return true;
  const auto& own = instances_[instance].addresses;
  return std::find(own.begin(), own.end(), address) != own.end() ||
         std::any_of(aliases_[instance].begin(), aliases_[instance].end(),
                     [&address](const Alias& alias) { return alias.address == address; });
}

Arbiter::SentinelWord Arbiter::AskSentinels(std::size_t instance, TimePoint now) const {
  SentinelWord word;
  const redis::Endpoint own;  // Whatever address a Sentinel has for it.
  std::vector<TimePoint> voted_at;
  std::map<redis::Endpoint, std::vector<std::uint64_t>> epochs;  // By whom a direct view names.
  std::size_t known = 0;
  for (const auto& [id, timed] : views_) {
    const redis::SentinelView& view = timed.view;
    // Those that fell silent count as well: a Sentinel that was reset knows no other one and is no majority of itself.
    known = std::max<std::size_t>({known, view.other_sentinels + std::size_t{1}, views_.size()});
    if (now - timed.at > options_.view_freshness) continue;
    const bool names_it = IsNamed(instance, view.master, view.master_run_id);
    if (view.direct && names_it) voted_at.push_back(timed.at);
    if (view.direct) epochs[names_it ? own : view.master].push_back(view.config_epoch);
    if (view.direct && names_it && view.failover_in_progress) word.electing = true;
    if (!word.best || view.config_epoch > word.best->config_epoch) {
      word.best = view;
      word.best_names_it = names_it;
      word.best_disputed = false;
    } else if (view.config_epoch == word.best->config_epoch && names_it != word.best_names_it) {
      word.best_disputed = true;
    }
  }
  word.majority_names_it = voted_at.size() * 2 > known;
  if (word.majority_names_it) {
    std::sort(voted_at.begin(), voted_at.end(), std::greater<>());
    word.named_at = voted_at[known / 2];
  }
  for (auto& [master, votes] : epochs) {
    if (votes.size() * 2 <= known) continue;
    std::sort(votes.begin(), votes.end(), std::greater<>());
    word.majority_at = votes[known / 2];
    if (master != own) word.majority_names = master;
  }
  const bool settled = word.majority_names_it && word.best && word.majority_at == word.best->config_epoch;
  if (settled || (word.best && word.best_names_it && !word.best_disputed)) word.confirmed = word.best->config_epoch;
  for (const auto& [id, election] : elections_) {
    if (IsNamed(instance, election.chosen, {}) && (!word.best || election.epoch > word.best->config_epoch)) {
      word.confirmed = std::max(word.confirmed.value_or(0), election.epoch);
    }
  }
  for (const auto& [id, election] : elections_) {
    const bool chooses_another = !IsNamed(instance, election.chosen, {});
    if (chooses_another && election.epoch > word.confirmed.value_or(0)) word.electing = true;
  }
  return word;
}

// The table of DESIGN section 5, row for row.
Verdict Arbiter::Judge(std::size_t instance, TimePoint now) const {
  const redis::InstanceState& state = states_[instance];
  switch (state.health) {
    case Health::kUnknown: return {};
    case Health::kRefused:
    case Health::kSilent: return Down(instance, now, state.detail);
    case Health::kBusy:
      if (now - state.health_since < options_.busy_bound) {
        return Unchanged(instance, now);
      }
      return Down(instance, now, state.detail);
    case Health::kDenied:
    case Health::kNotRedis: return Withhold(state.detail);
    case Health::kAnswering: break;
  }
  if (!state.info) return {};
  if (const auto verdict = JudgeClusterNode(instance, now)) return *verdict;
  if (state.info->role == Role::kReplica) return JudgeReplica(instance, now);
  if (state.loading) return Down(instance, now, "loading its data set");
  return JudgeMaster(instance, now);
}

/// What was published stays, but for a master whose claim went elsewhere meanwhile.
Verdict Arbiter::Unchanged(std::size_t instance, TimePoint now) const {
  const auto& before = published_[instance];
  if (authority_ == Authority::kCluster && before && before->tag == Tag::kMaster && !KeepsMasterTag(instance, now)) {
    return Withhold("superseded: another node owns its slots");
  }
  if (authority_ != Authority::kCluster && before && before->tag == Tag::kMaster && claim_ && claim_->claim &&
      !HoldsClaim(instance)) {
    return Withhold("superseded by " + HolderName(*claim_->claim) + AtEpoch(claim_->claim->epoch));
  }
  Verdict unchanged;
  unchanged.publication = before;
  return unchanged;
}

Verdict Arbiter::JudgeReplica(std::size_t instance, TimePoint now) const {
  const redis::InstanceState& state = states_[instance];
  const redis::ReplicationInfo& info = *state.info;
  const Upstream& chain = upstreams_[instance];
  const std::string upstream = info.master.ToString();
  Verdict verdict;
  if (!info.announced) {
    verdict = Withhold("a replica hidden by replica-announced no");
  } else if (state.loading) {
    verdict = Say(Tag::kReplica, CheckStatus::kCritical, "replica, loading its data set");
  } else if (info.master_sync_in_progress) {
    verdict =
        Say(Tag::kReplica, CheckStatus::kCritical, "replica, full synchronisation from " + upstream + " is running");
  } else if (!info.master_link_up) {
    const auto down_for =
        info.master_link_down_since.value_or(std::chrono::duration_cast<std::chrono::seconds>(now - state.role_since));
    const bool for_long = down_for >= options_.link_down_bound;
    verdict = Say(Tag::kReplica, for_long ? CheckStatus::kCritical : CheckStatus::kWarning,
                  "replica, link to " + upstream + (for_long ? " is down for too long" : " is down"));
  } else if (chain.state.cut_at) {
    const bool for_long = now - chain.state.cut_since >= options_.link_down_bound;
    verdict = Say(Tag::kReplica, for_long ? CheckStatus::kCritical : CheckStatus::kWarning,
                  "replica of " + upstream + ", but " + chain.state.cut_at->ToString() + " above it has lost its link" +
                      (for_long ? " for too long" : ""));
  } else if (chain.behind) {
    verdict = Say(Tag::kReplica, CheckStatus::kWarning, "replica of " + upstream + ", too far behind the master");
  } else if (!info.read_only) {
    verdict = Say(Tag::kReplica, CheckStatus::kWarning,
                  "replica of " + upstream + ", in sync, but it takes writes of its own (replica-read-only no)");
  } else {
    verdict = Say(Tag::kReplica, CheckStatus::kPassing, "replica of " + upstream + ", in sync");
  }
  if (HoldsClaim(instance) && claim_->claim->state == Claim::State::kHeld) {
    verdict.rewrite = *claim_->claim;
    verdict.rewrite->state = Claim::State::kYielded;
    verdict.rewrite->follows = upstream;
  }
  return verdict;
}

Verdict Arbiter::JudgeMaster(std::size_t instance, TimePoint now) const {
  if (!authority_ || !claim_) return {};  // Nobody was asked yet: what stands in Consul stays.
  if (!claim_->unreadable.empty()) {
    const auto& before = published_[instance];
    const bool held = before && before->tag == Tag::kMaster && last_claim_ && IsHolder(*last_claim_, instance);
    const SentinelWord word = AskSentinels(instance, now);
    const bool superseded = *authority_ == Authority::kSentinel && word.best && !word.best_names_it && held &&
                            Outranks(Authority::kSentinel, word.best->config_epoch, *last_claim_);
    // It fences itself meanwhile, and comes back from that; from anything else it would be published anew.
    const bool stays = held && (before->status != CheckStatus::kCritical || before->reason == kFenced);
    if (stays && !superseded) {
      Verdict verdict = Held(instance, *last_claim_, now);
      verdict.rewrite.reset();
      return verdict;
    }
    return Withhold("says master, but the claim in Consul KV cannot be understood: " + claim_->unreadable);
  }
  return *authority_ == Authority::kSentinel ? JudgeMasterBySentinel(instance, now)
                                             : JudgeMasterByReplication(instance, now);
}

Verdict Arbiter::JudgeMasterBySentinel(std::size_t instance, TimePoint now) const {
  const SentinelWord word = AskSentinels(instance, now);
  const std::optional<Claim>& claim = claim_->claim;
  const bool mine = HoldsClaim(instance);
  const bool names_another = word.best && !word.best_names_it;
  const bool was_master = published_[instance] && published_[instance]->tag == Tag::kMaster &&
                          published_[instance]->status != CheckStatus::kCritical;

  // Superseded: somebody else was made master later than whatever speaks for this one.
  if (names_another && (!claim || claim->epoch < word.best->config_epoch || claim->authority < Authority::kSentinel) &&
      (!word.confirmed || *word.confirmed < word.best->config_epoch)) {
    return Withhold("says master, but Sentinel names " + word.best->master.ToString() +
                    AtEpoch(word.best->config_epoch));
  }
  const bool outvoted = word.majority_names && *word.majority_at >= word.confirmed.value_or(0) &&
                        (!claim || Reaches(Authority::kSentinel, *word.majority_at, *claim));
  if (outvoted && (mine || word.confirmed)) {
    return Withhold("says master, but most Sentinels name " + word.majority_names->ToString() +
                    AtEpoch(*word.majority_at));
  }
  if (mine) {
    const bool restarted = claim->run_id != states_[instance].server.run_id;
    // Most Sentinels may also confirm it at a lower epoch: they were reset.
    const bool reconfirmed =
        word.confirmed && (word.majority_names_it || Reaches(Authority::kSentinel, *word.confirmed, *claim));
    // From here on the claim speaks for it. One that is published stays; one that comes back is asked for more.
    if (outvoted_since_[instance] && now - *outvoted_since_[instance] >= kResetWait) {
      return Withhold("says master, but most Sentinels name " + word.majority_names->ToString());
    }
    if (!was_master && word.electing) return Withhold("says master, but Sentinel is choosing its successor");
    if (restarted && !reconfirmed) return Withhold("says master and was restarted, but no Sentinel confirms it yet");
    // Whoever comes back to a claim first listens: what stands in Consul, which does not show it, stays.
    if (!was_master && !word.best && !IsServedAsMaster(instance) && !ListenedInVain(instance, now)) return {};
    if (claim->state == Claim::State::kYielded && !reconfirmed) {
      return Withhold("says master, but gave the role up and no Sentinel confirms it anew");
    }
    const bool renews = word.confirmed && (Outranks(Authority::kSentinel, *word.confirmed, *claim) ||
                                           claim->state == Claim::State::kYielded);
    if (renews && !LeaseExpired(instance, now)) {
      return Take(instance, *word.confirmed, Authority::kSentinel);
    }
    return Held(instance, *claim, now);
  }
  if (!word.confirmed) {
    if (claim) return Withhold("says master, superseded by " + HolderName(*claim) + AtEpoch(claim->epoch));
    return Withhold(word.best_disputed ? "says master, but Sentinels disagree about it"
                                       : "says master, but no Sentinel confirms it");
  }
  // Of two failovers at one epoch that one counts which most Sentinels follow, as they say by now. One that was reset
  // starts again at a low epoch: most of them must agree, and nobody may be using the holder.
  const bool wins = !claim || Outranks(Authority::kSentinel, *word.confirmed, *claim) ||
                    (claim->state == Claim::State::kYielded && *word.confirmed == claim->epoch) ||
                    (word.majority_names_it && word.named_at >= claim_since_ &&
                     Reaches(Authority::kSentinel, *word.majority_at, *claim)) ||
                    (word.majority_names_it && now - claim_since_ >= kResetWait && !HolderIsServedAsMaster());
  if (!wins) return Withhold("says master, superseded by " + HolderName(*claim) + AtEpoch(claim->epoch));
  if (word.electing) return Withhold("says master, but Sentinel is choosing its successor");
  if (LeaseExpired(instance, now)) return Withhold(kFenced);  // It may be published, and its claim have vanished.
  return Take(instance, *word.confirmed, Authority::kSentinel);
}

Verdict Arbiter::JudgeMasterByReplication(std::size_t instance, TimePoint now) const {
  const redis::ReplicationInfo& info = *states_[instance].info;
  const std::optional<Claim>& claim = claim_->claim;
  if (!claim) return JudgeLostClaim(instance, now);
  if (claim->authority == Authority::kSentinel) {
    return Withhold("says master, but the claim is Sentinel's and authority is set to replication");
  }
  if (HoldsClaim(instance)) {
    // The same process is the same data set: Redis changes a master's id when its first replica attaches
    // (src/replication.c createReplicationBacklog; seen on 7.0).
    const bool restarted = claim->run_id != states_[instance].server.run_id;
    const bool unrelated = restarted && !claim->replid.empty() && !Descends(info, claim->replid);
    if (unrelated && claim->state == Claim::State::kYielded) {
      return Withhold("says master, but gave the role up and came back with an unrelated data set");
    }
    if (unrelated) return JudgeUnrelatedDataSet(*claim);
    if (claim->state == Claim::State::kYielded) return Take(instance, claim->epoch + 1, Authority::kReplication);
    return Held(instance, *claim, now);
  }
  const bool yielded = claim->state == Claim::State::kYielded;
  const auto successor = redis::ParseEndpoint(claim->follows, 0);
  const bool descends = Descends(info, claim->replid);
  if ((yielded && (descends || (successor && IsNamed(instance, *successor, {})))) ||
      (descends && !HolderIsServedAsMaster())) {
    return Take(instance, claim->epoch + 1, Authority::kReplication);
  }
  return Withhold("says master, but the claim is held by " + HolderName(*claim) + AtEpoch(claim->epoch));
}

/// The key is not there: it never was, an operator released it, or Consul restarted empty. In the last case the former
/// holder has the first word, or unrelated masters would race for the name.
Verdict Arbiter::JudgeLostClaim(std::size_t instance, TimePoint now) const {
  if (!last_claim_) return Take(instance, 1, Authority::kReplication);
  if (IsHolder(*last_claim_, instance)) return Take(instance, last_claim_->epoch, Authority::kReplication);
  if (now - claim_lost_at_ < kReclaimWait) {
    return Withhold("says master, but the claim vanished and " + HolderName(*last_claim_) + " may write it again");
  }
  return Take(instance, last_claim_->epoch + 1, Authority::kReplication);
}

/// Without Sentinel the replication id is the only witness of identity. An unrelated one is not written into the claim,
/// where it would pass for the truth.
Verdict Arbiter::JudgeUnrelatedDataSet(const Claim& claim) const {
  if (options_.withhold_on_dataset_loss) {
    return Withhold("says master, but with an unrelated data set: it was restarted empty or replaced");
  }
  return Say(Tag::kMaster, CheckStatus::kWarning,
             "master" + AtEpoch(claim.epoch) + ", but with an unrelated data set: it was restarted empty or replaced");
}

/// DESIGN section 5, "Fencing Redis". Two witnesses here as well: the claim, and Sentinel that names its holder at the
/// same epoch.
void Arbiter::FenceRedis(std::size_t instance, TimePoint now, Verdict& verdict) const {
  const redis::InstanceState& state = states_[instance];
  const bool says_master = state.health == Health::kAnswering && state.info && state.info->role == Role::kMaster;
  if (!says_master || authority_ != Authority::kSentinel || !claim_ || !claim_->claim) return;
  const Claim& claim = *claim_->claim;
  const SentinelWord word = AskSentinels(instance, now);
  const std::uint64_t confirmed = word.confirmed.value_or(0);
  if (HoldsClaim(instance)) {
    verdict.hold_writes = std::any_of(elections_.begin(), elections_.end(), [&](const auto& item) {
      return !IsNamed(instance, item.second.chosen, {}) && item.second.epoch > std::max(claim.epoch, confirmed);
    });
    return;
  }
  if (claim.authority != Authority::kSentinel || claim.state != Claim::State::kHeld || verdict.take) return;
  // It might be the right one, whoever says otherwise now: a Sentinel that was away, and a claim that could not be
  // taken.
  if (confirmed_[instance] && *confirmed_[instance] >= claim.epoch) return;
  // So it might while it is new: Sentinel's word, and the claim with it, may be of the time before its promotion.
  if (now - state.role_since < kNewMaster) return;
  // One Sentinel alone, the others lost, may have missed its promotion (found by tests/simulation).
  if (word.majority_names && word.majority_at == claim.epoch && word.best->config_epoch == claim.epoch) {
    verdict.demote_to = word.majority_names;
  }
  for (const auto& [id, election] : elections_) {
    if (election.epoch == claim.epoch && !IsNamed(instance, election.chosen, {})) verdict.demote_to = election.chosen;
  }
}

Verdict Arbiter::Down(std::size_t instance, TimePoint now, std::string reason) const {
  const auto& info = states_[instance].info;
  Tag tag = Tag::kNone;
  if (HoldsClaim(instance) || KeepsMasterTag(instance, now)) {
    tag = Tag::kMaster;
  } else if (info && info->role == Role::kReplica) {
    tag = Tag::kReplica;
  }
  return Say(tag, CheckStatus::kCritical, std::move(reason));
}

Verdict Arbiter::Held(std::size_t instance, const Claim& claim, TimePoint now) const {
  if (LeaseExpired(instance, now)) {
    return Say(Tag::kMaster, CheckStatus::kCritical, kFenced);
  }
  Verdict verdict = Say(Tag::kMaster, CheckStatus::kPassing,
                        "master" + AtEpoch(claim.epoch) + ", confirmed by " + std::string(ToString(claim.authority)));
  Claim current = ClaimFor(instance, claim.epoch, claim.authority);
  current.since = claim.since;
  current.revision = claim.revision;
  if (current != claim) verdict.rewrite = current;
  return verdict;
}

/// DESIGN section 5, "Fencing itself": what a partition hides from this host may have happened.
/// Without Sentinel there is nothing to tell a partition from an outage of Consul, which alone is to change nothing:
/// the check of Consul's own node and the guarded takeover of a descendant have to do.
bool Arbiter::LeaseExpired(std::size_t instance, TimePoint now) const {
  if (authority_ != Authority::kSentinel) return false;
  const auto by_sentinel = down_after_.count() > 0 ? down_after_ * 4 / 5 : kMostLease;
  const auto lease = options_.lease.value_or(std::clamp<milliseconds>(by_sentinel, kLeastLease, kMostLease));
  return now - std::max(claim_read_at_, named_at_[instance]) > lease;
}

Verdict Arbiter::Take(std::size_t instance, std::uint64_t epoch, Authority authority) const {
  Verdict verdict = Say(Tag::kMaster, CheckStatus::kPassing,
                        "master" + AtEpoch(epoch) + ", confirmed by " + std::string(ToString(authority)));
  verdict.take = ClaimFor(instance, epoch, authority);
  return verdict;
}

Claim Arbiter::ClaimFor(std::size_t instance, std::uint64_t epoch, Authority authority) const {
  const Identity& identity = instances_[instance];
  const redis::InstanceState& state = states_[instance];
  return Claim{.authority = authority,
               .epoch = epoch,
               .state = Claim::State::kHeld,
               .node = identity.node,
               .service_id = identity.service_id,
               .address = identity.address,
               .port = identity.port,
               .run_id = state.server.run_id,
               .replid = state.info->replid,
               .follows = {},
               .revision = 0,
               .since = {}};
}

}  // namespace rcb::agent
