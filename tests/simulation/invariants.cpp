#include "tests/simulation/invariants.h"

#include <algorithm>
#include <utility>

namespace rcb::simulation {
namespace {

using namespace std::chrono_literals;
using agent::Authority;
using agent::Claim;

constexpr Duration kAudit = 250ms;
/// From local evidence to the catalog: a poll, two calls, a push, each with a retransmission, and an audit.
constexpr Duration kNotice = 2500ms;
/// A push that failed is made good by the agent's next anti-entropy (15 to 30 s); watches come back within 20 s.
constexpr Duration kRecovery = 40s;
/// How long a surplus master that an agent pushed may stand while the holder's bridge can withdraw it: one refused
/// transaction, its pause of 500 ms and a retransmission on each of the four ways.
constexpr Duration kWithdrawal = 2500ms;
/// The same while only another bridge can: it waits for a second, and looks once a second here.
constexpr Duration kWithdrawalByOthers = kWithdrawal + 2s;
/// The same while nobody can: the TTL, the lease, or the stale host's own return.
constexpr Duration kLongestRepushed = 30s;
/// Between the moment a bridge learns of a claim and the moment its local Consul agent has heard of it.
constexpr Duration kTelling = 1500ms;
/// A server says master and the claim is on its way: detection, the reads in front of it, a retransmission.
constexpr Duration kOnItsWay = 2s;
/// Views stay fresh for 5 s; a hello that is late adds to it.
constexpr Duration kFreshly = 10s;
/// A transaction takes effect within this time, or never (consul/requests.cpp).
constexpr Duration kLongestCall = 10s;
/// agent/arbiter.cpp
constexpr Duration kMostLease = 10s;
/// A poll, and a connection that was opened again.
constexpr Duration kPoll = 500ms;
/// Most Sentinels at a lower epoch are not believed before (agent/arbiter.cpp kResetWait).
constexpr Duration kLongEnough = 8s;

std::string HostName(std::size_t host) { return "host" + std::to_string(host); }

}  // namespace

Invariants::Invariants(World& world)
    : world_(world),
      able_since_(world.hosts(), world.environment.now() - 1h),
      wrong_since_(world.hosts(), TimePoint::max()),
      last_named_(world.hosts()),
      promoted_(world.hosts()),
      served_since_(world.hosts()),
      connected_at_(world.hosts(), world.environment.now()),
      unnamed_at_(world.hosts(), world.environment.now()),
      replids_(world.hosts()) {}

void Invariants::Start() {
  world_.servers.on_key = [this] {
    OnKey();
    for (std::size_t host = 0; host < world_.hosts(); ++host) {
      if (host == 0 || !world_.options.shared_consul) world_.agent_of(host).OnKeyChange();
    }
  };
  world_.servers.on_catalog = [this] {
    OnCatalog();
    for (std::size_t host = 0; host < world_.hosts(); ++host) {
      if (host == 0 || !world_.options.shared_consul) world_.agent_of(host).OnCatalogChange();
    }
  };
  for (std::size_t host = 0; host < world_.hosts(); ++host) {
    world_.bridge(host).on_demote = [this, host](std::size_t upstream) { CheckDemotion(host, upstream); };
  }
  Audit();
}

void Invariants::Break(const std::string& sentence) {
  if (broken_) return;
  broken_ = sentence;
  world_.environment.history.Note([&] { return "BROKEN: " + sentence; });
  world_.environment.queue.Stop();
}

std::optional<std::size_t> Invariants::HostOf(const std::string& service_id) const {
  for (std::size_t host = 0; host < world_.hosts(); ++host) {
    if (BridgeHost::ServiceId(host) == service_id) return host;
  }
  return std::nullopt;
}

std::optional<std::size_t> Invariants::Holder() const { return claim_ ? HostOf(claim_->service_id) : std::nullopt; }

const consul::ServiceEntry* Invariants::EntryOf(std::size_t host) const {
  return world_.servers.Find(world_.agent_of(host).node(), BridgeHost::ServiceId(host));
}

std::set<std::size_t> Invariants::ServedMasters() const {
  std::set<std::size_t> masters;
  for (std::size_t host = 0; host < world_.hosts(); ++host) {
    const consul::ServiceEntry* entry = EntryOf(host);
    if (entry != nullptr && entry->HasTag("master") && entry->IsServed()) masters.insert(host);
  }
  return masters;
}

bool Invariants::IsServedReplica(std::size_t host) const {
  const consul::ServiceEntry* entry = EntryOf(host);
  return entry != nullptr && entry->HasTag("replica") && entry->IsServed();
}

bool Invariants::BridgeIsAble(std::size_t host) {
  const ConsulAgent& agent = world_.agent_of(host);
  return world_.bridge(host).running() && world_.bridge(host).group() != nullptr && agent.SeesServers() &&
         !agent.IsStuck() && world_.environment.network.Connects(host, agent.place()) && world_.servers.has_leader() &&
         !world_.servers.DeniesKey(host);
}

bool Invariants::ReadsClaim(std::size_t host) {
  const ConsulAgent& agent = world_.agent_of(host);
  return agent.SeesServers() && world_.environment.network.Connects(host, agent.place()) &&
         world_.servers.has_leader() && world_.servers.DenialOf(host) != ConsulServers::Denial::kAll;
}

/// When a Sentinel last named it or chose it.
TimePoint Invariants::LastNamed(std::size_t host) const {
  TimePoint last = last_named_[host];
  for (std::size_t s = 0; s < world_.sentinels.size(); ++s) {
    if (world_.sentinels.Runs(s) && (world_.sentinels.MasterOf(s) == host || world_.sentinels.ChosenBy(s) == host)) {
      last = world_.environment.now();
    }
  }
  for (const auto& [epoch, hosts] : world_.sentinels.named()) {
    if (const auto found = hosts.find(host); found != hosts.end()) last = std::max(last, found->second);
  }
  return last;
}

bool Invariants::MostSentinelsName(std::size_t host, std::uint64_t epoch) const {
  std::size_t votes = 0;
  for (std::size_t s = 0; s < world_.sentinels.size(); ++s) {
    votes += world_.sentinels.MasterOf(s) == host && world_.sentinels.EpochOf(s) >= epoch;
  }
  return votes * 2 > world_.sentinels.size();
}

/// A transaction may be long under way through a broken network.
bool Invariants::WasMasterWhenSent(std::size_t host) const {
  return world_.bridge(host).last_transaction() - world_.redis.LastMaster(host) <= kOnItsWay;
}

// --- The claim
// --------------------------------------------------------------------------------------------------------

void Invariants::OnKey() {
  const auto& pair = world_.servers.key();
  const std::optional<Claim> before = std::exchange(claim_, std::nullopt);
  newer_version_ = false;
  if (pair.modify_index != 0) {
    auto decoded = agent::DecodeClaim(pair.value);
    if (!decoded && pair.value != foreign_value_) {
      Break("the claim cannot be read: " + decoded.error().message);
      return;
    }
    if (!decoded && decoded.error().newer_version) {
      newer_version_ = true;
      claim_ = before;  // Nobody may touch it, and what is published stays.
      world_.environment.history.Note([] { return std::string("claim: of a newer version"); });
      return;
    }
    if (decoded) claim_ = *std::move(decoded);
  }
  world_.environment.history.Note([&] {
    if (!claim_) return std::string("claim: none");
    return "claim: " + std::string(claim_->state == Claim::State::kHeld ? "held" : "yielded") + " by " +
           claim_->service_id + " at " + std::string(ToString(claim_->authority)) + " epoch " +
           std::to_string(claim_->epoch) + " [" + std::to_string(pair.modify_index) + "]";
  });
  if (!claim_) {
    holder_since_index_ = 0;
    return;
  }
  last_holder_ = Holder();
  const bool moved = !before || before->service_id != claim_->service_id;
  if (moved) {
    ++takeovers_;
    holder_since_index_ = pair.modify_index;
    holder_before_ = std::exchange(holder_since_, world_.environment.now());
    world_.environment.history.Count("takeover");
  }
  if (before) CheckClaimOrder(*before, *claim_);
  CheckClaimIsTrue(before, *claim_);
}

/// Served for longer than a takeover is on its way.
bool Invariants::IsInUse(std::size_t host) const {
  return served_.contains(host) && world_.environment.now() - served_since_[host] > kOnItsWay;
}

/// Invariant 3: never back to a lower order, but where most Sentinels stand at that lower epoch and the holder is not
/// served: they were reset, or the failover that the claim came from was given up or is cut off together with its
/// leader. Nor to another at the same epoch, but to whom most Sentinels follow there: of two failovers at one epoch.
void Invariants::CheckClaimOrder(const Claim& before, const Claim& after) {
  if (Outranks(after.authority, after.epoch, before)) return;
  const bool lower = !Reaches(after.authority, after.epoch, before);
  const bool moved = before.service_id != after.service_id;
  const auto host = HostOf(after.service_id);
  const auto former = HostOf(before.service_id);
  const bool unused =
      !moved || (former && !IsInUse(*former) && world_.environment.now() - holder_before_ >= kLongEnough);
  if (host && after.authority == Authority::kSentinel && unused && MostSentinelsName(*host)) {
    if (lower) {
      world_.environment.history.Count(sentinel_reset_ ? "claim follows a reset Sentinel"
                                                       : "claim follows most Sentinels to a lower epoch");
    }
    return;
  }
  if (host && !lower && after.authority == Authority::kSentinel && MostSentinelsName(*host, after.epoch)) {
    world_.environment.history.Count("claim follows most Sentinels at one epoch");
    return;
  }
  if (lower)
    Break("3: the claim went back from epoch " + std::to_string(before.epoch) + " to " + std::to_string(after.epoch));
  if (moved && before.state != Claim::State::kYielded) {
    Break("3: the claim moved to " + after.service_id + " at the same epoch " + std::to_string(after.epoch));
  }
}

/// Nothing is believed alone: an authority, and the server itself, spoke for the holder.
void Invariants::CheckClaimIsTrue(const std::optional<Claim>& before, const Claim& after) {
  const auto host = HostOf(after.service_id);
  if (!host) {
    Break("the claim names nobody");
    return;
  }
  const TimePoint now = world_.environment.now();
  const bool moved = !before || before->service_id != after.service_id;
  const bool higher = !before || Outranks(after.authority, after.epoch, *before);
  if (after.state == Claim::State::kHeld && (moved || higher) && !WasMasterWhenSent(*host)) {
    Break("6: " + after.service_id + " took the claim and is no master");
  }
  if (after.authority == Authority::kSentinel) {
    const auto& named = world_.sentinels.named();
    const auto at = named.find(after.epoch);
    if (at == named.end() || !at->second.contains(*host)) {
      Break("6: no Sentinel named " + after.service_id + " at epoch " + std::to_string(after.epoch));
    }
    const bool restarted = before && !moved && before->run_id != after.run_id;
    if (after.state == Claim::State::kHeld && (moved || restarted) && now - LastNamed(*host) > kFreshly) {
      Break("6: " + after.service_id + (moved ? " took" : " kept") + " the claim while no Sentinel named it");
    }
    return;
  }
  if (!before || !moved) return;
  if (before->authority == Authority::kSentinel) Break("3: replication took a claim of Sentinel");
  const auto former = HostOf(before->service_id);
  if (before->state == Claim::State::kHeld && former && IsInUse(*former)) {
    Break("2: " + after.service_id + " displaced " + before->service_id + ", which is served");
  }
  const bool followed =
      before->state == Claim::State::kYielded && before->follows == RedisModel::Address(*host).ToString();
  const RedisModel::Server& server = world_.redis.at(*host);
  const bool descends =
      server.replid == before->replid || server.replid2 == before->replid || replids_[*host].contains(before->replid);
  if (!followed && !descends) {
    Break("6: " + after.service_id + " took the claim with an unrelated data set");
  }
}

// --- The catalog
// ------------------------------------------------------------------------------------------------------

/// True when a surplus master stands only because its Consul agent sent its word before it could know better.
bool Invariants::MayBeRepushed(std::size_t host) {
  const ConsulServers::Origin& origin =
      world_.servers.OriginOf(world_.agent_of(host).node(), BridgeHost::ServiceId(host));
  if (!origin.pushed) return false;
  if (origin.out_of_date) return true;
  if (foreign_entries_.contains(host)) return true;
  const BridgeHost& bridge = world_.bridge(host);
  if (!bridge.running() || bridge.group() == nullptr || bridge.claim_index() < holder_since_index_) return true;
  return origin.sent_at <= std::max(bridge.claim_index_since(), bridge.running_since()) + kTelling;
}

/// All the time since there are two masters.
bool Invariants::CouldWithdraw(std::size_t host) {
  return BridgeIsAble(host) && able_since_[host] + kRecovery < *double_since_;
}

bool Invariants::HolderCouldWithdraw() {
  const auto holder = Holder();
  return holder && CouldWithdraw(*holder);
}

Duration Invariants::LongestRepushed() {
  if (HolderCouldWithdraw()) return kWithdrawal;
  for (std::size_t host = 0; host < world_.hosts(); ++host) {
    if (CouldWithdraw(host) && !served_.contains(host)) return kWithdrawalByOthers;
  }
  return kLongestRepushed;
}

void Invariants::NoteCatalog() {
  noted_.resize(world_.hosts());
  for (std::size_t host = 0; host < world_.hosts(); ++host) {
    const consul::ServiceEntry* entry = EntryOf(host);
    std::string text = "catalog: " + HostName(host);
    if (entry == nullptr) {
      text += " none";
    } else {
      for (const std::string& tag : entry->tags) text += " " + tag;
      for (const consul::CatalogCheck& check : entry->checks) text += " " + check.status + " \"" + check.output + "\"";
      text += world_.servers.OriginOf(entry->node, entry->id).pushed ? " (pushed)" : " (transaction)";
    }
    if (text == noted_[host]) continue;
    noted_[host] = text;
    world_.environment.history.Note([&] { return text; });
  }
}

void Invariants::OnCatalog() {
  if (world_.environment.history.recording()) NoteCatalog();
  const TimePoint now = world_.environment.now();
  std::erase_if(foreign_entries_, [this](std::size_t host) {
    const consul::ServiceEntry* entry = EntryOf(host);
    return entry == nullptr || !entry->HasTag("master");
  });
  const std::set<std::size_t> masters = ServedMasters();
  if (masters == served_) return;
  world_.environment.history.Note([&] {
    std::string text = "CATALOG: master";
    for (const std::size_t host : masters) text += " " + HostName(host);
    return masters.empty() ? text + " none" : text;
  });
  for (const std::size_t host : masters) {
    if (served_.contains(host)) continue;
    CheckServed(host);
    served_since_[host] = now;
  }
  const auto holder = Holder();
  if (holder && served_.contains(*holder) && !masters.contains(*holder) && EntryOf(*holder) != nullptr &&
      !EntryOf(*holder)->HasTag("master") &&
      !world_.servers.OriginOf(world_.agent_of(*holder).node(), BridgeHost::ServiceId(*holder)).pushed) {
    Break("7: a transaction withdrew " + HostName(*holder) + ", which holds the claim");
  }
  served_ = masters;
  if (masters.empty() && !none_since_) none_since_ = now;
  if (!masters.empty() && none_since_) {
    without_master_.push_back(std::chrono::duration_cast<Duration>(now - *std::exchange(none_since_, std::nullopt)));
  }
  // Invariant 1.
  if (masters.size() < 2) {
    if (double_since_) {
      const auto lasted = std::chrono::duration_cast<Duration>(now - *double_since_);
      const auto cause = double_is_foreign_ ? &foreign_ : HolderCouldWithdraw() ? &repushed_ : &repushed_unwatched_;
      cause->push_back(lasted);
      double_since_.reset();
      double_is_foreign_ = false;
    }
    return;
  }
  for (const std::size_t host : masters) {
    if (host != last_holder_ && !MayBeRepushed(host)) {
      Break("1: two masters are served, and " + HostName(host) + " is not the holder");
    }
  }
  for (const std::size_t host : masters) double_is_foreign_ |= foreign_entries_.contains(host);
  if (!double_since_) {
    double_since_ = now;
    if (!double_is_foreign_) world_.environment.history.Count("stale master pushed back by a Consul agent");
  }
}

bool Invariants::IsToBeWithheldForItsData(std::size_t host) const {
  const RedisModel::Server& server = world_.redis.at(host);
  return claim_ && Holder() == host && claim_->authority == Authority::kReplication &&
         world_.options.bridge.arbiter.withhold_on_dataset_loss && claim_->run_id != server.run_id &&
         server.replid != claim_->replid && server.replid2 != claim_->replid;
}

/// A server has become a served master at this moment.
void Invariants::CheckServed(std::size_t host) {
  const TimePoint now = world_.environment.now();
  const auto& origin = world_.servers.OriginOf(world_.agent_of(host).node(), BridgeHost::ServiceId(host));
  if (claim_ && Holder() != host && !MayBeRepushed(host))
    Break("6: " + HostName(host) + " is served and does not hold the claim");
  if (!origin.pushed && !WasMasterWhenSent(host)) {
    Break("6: " + HostName(host) + " is published and says no master");
  }
  // Not what gossip brings back with its node, until the Consul agent there has spoken.
  const bool published = !origin.pushed && now - world_.bridge(host).last_transaction() < kLongestCall;
  if (claim_ && Holder() == host && published && claim_->authority == Authority::kSentinel &&
      claim_->run_id != world_.redis.at(host).run_id && now - LastNamed(host) > kFreshly) {
    Break("6: " + HostName(host) + " was restarted and is published while no Sentinel names it");
  }
  const RedisModel::Server& server = world_.redis.at(host);
  // What was sent before the restart may come after it.
  const bool knew_process = world_.bridge(host).last_transaction() - server.link_since > kPoll;
  if (published && knew_process && IsToBeWithheldForItsData(host)) {
    Break("6: " + HostName(host) + " is published with an unrelated data set");
  }
  if (published && knew_process && server.loading_until > now) {
    Break("6: " + HostName(host) + " is published while it loads its data");
  }
  if (auto& promoted_at = promoted_[host]; promoted_at != world_.redis.at(host).promoted_at) {
    promoted_at = world_.redis.at(host).promoted_at;
    if (promoted_at) promotion_to_published_.push_back(std::chrono::duration_cast<Duration>(now - *promoted_at));
  }
}

/// A bridge makes its own server a replica.
void Invariants::CheckDemotion(std::size_t host, std::size_t upstream) {
  if (Holder() == host && claim_->state == Claim::State::kHeld)
    Break("8: " + HostName(host) + " is demoted and holds the claim");
  const auto& [epoch, promoted] = *world_.sentinels.promoted().rbegin();
  const bool right = promoted == host && epoch > world_.sentinels.disputed() && !sentinel_reset_ &&
                     (!claim_ || claim_->epoch <= epoch);
  if (right) Break("8: " + HostName(host) + " is demoted and is whom Sentinel promoted last");
  const auto& named = world_.sentinels.named();
  if (std::none_of(named.begin(), named.end(), [&](const auto& item) { return item.second.contains(upstream); })) {
    Break("8: " + HostName(host) + " is to follow a server that no Sentinel named");
  }
}

// --- What takes time
// --------------------------------------------------------------------------------------------------

void Invariants::Audit() {
  const TimePoint now = world_.environment.now();
  for (std::size_t s = 0; s < world_.sentinels.size(); ++s) {
    if (world_.sentinels.Runs(s)) last_named_[world_.sentinels.MasterOf(s)] = now;
  }
  for (std::size_t host = 0; host < world_.hosts(); ++host) {
    const RedisModel::Server& server = world_.redis.at(host);
    replids_[host].insert({server.replid, server.replid2});
    if (!BridgeIsAble(host)) able_since_[host] = now;
    if (!world_.bridge(host).HearsMostSentinelsNameIt()) unnamed_at_[host] = now;
    if (world_.bridge(host).IsFenced() && now - unnamed_at_[host] > kNotice) {
      Break("9: " + HostName(host) + " fences itself while most Sentinels name it");
    }
    const BridgeHost& self = world_.bridge(host);
    if (ReadsClaim(host) || unnamed_at_[host] != now || !self.SaysMasterBySentinel()) connected_at_[host] = now;
    if (now - std::max(connected_at_[host], self.running_since()) > kMostLease + kNotice) {
      Break("9: " + HostName(host) + " is cut off from Consul and from most Sentinels, and not fenced");
    }
    if (world_.bridge(host).claim_index_fell())
      Break("3: bridge" + std::to_string(host) + " went back to an older claim");

    // Invariant 2: its own host can tell, and can tell Consul.
    if (!served_.contains(host)) {
      wrong_since_[host] = TimePoint::max();
      continue;
    }
    const BridgeHost& bridge = world_.bridge(host);
    const bool silent = server.running && server.paused;
    const auto& promoted = *world_.sentinels.promoted().rbegin();
    const bool seen_superseded = world_.sentinels.size() > 0 && promoted.second != host && !sentinel_reset_ &&
                                 bridge.best_epoch().value_or(0) >= promoted.first &&
                                 promoted.first > world_.sentinels.disputed() &&
                                 !(Holder() == host && claim_->epoch > promoted.first);
    const bool wrong = !server.running || server.role != redis::Role::kMaster || silent || seen_superseded ||
                       IsToBeWithheldForItsData(host) ||
                       (Holder() != host && bridge.claim_index() >= holder_since_index_);
    if (!wrong) {
      wrong_since_[host] = TimePoint::max();
      continue;
    }
    wrong_since_[host] = std::min(wrong_since_[host], now);
    const Duration patience = silent ? std::max<Duration>(world_.options.sentinels.down_after, 5s) + kNotice : kNotice;
    const bool was_away = able_since_[host] > wrong_since_[host] - kRecovery;
    const TimePoint from = was_away ? std::max(able_since_[host] + kRecovery, wrong_since_[host]) : wrong_since_[host];
    if (now - from > patience) Break("2: " + HostName(host) + " is still served as master");
  }
  if (double_since_) {
    if (newer_version_) double_since_ = now;  // Who holds it nobody here can tell.
    if (now - *double_since_ > LongestRepushed()) {
      Break("1: a stale master that its Consul agent pushed back is not withdrawn");
    }
  }
  world_.environment.queue.After(kAudit, [this] { Audit(); });
}

}  // namespace rcb::simulation
