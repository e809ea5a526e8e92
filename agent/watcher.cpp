#include "agent/watcher.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "agent/event_loop.h"
#include "agent/log.h"

namespace rcb::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// The claim is read again at this pace when nothing changes: each answer proves that Consul's servers can be read,
/// which keeps the lease (3 s at least).
constexpr milliseconds kClaimWait{1000};
constexpr milliseconds kCatalogWait{60000};
/// Whoever loses comparison after comparison reads the claim and the catalog anew at this pace.
constexpr milliseconds kReadAgain{500};
/// A Consul agent may be restarted under another node name.
constexpr milliseconds kAskWhoWeAre{10000};
/// Two takeovers that meet are over in milliseconds; so long means that something is wrong.
constexpr milliseconds kLostForLong{5000};
/// A Sentinel that was only heard of and is gone for so long is not tried any more; a hello brings it back.
constexpr seconds kForgetSentinelAfter{60};
/// More Sentinels than anybody runs for one group: forged hellos must not make us open connections without end.
constexpr std::size_t kMaxSentinels = 32;
/// From Sentinel's choice to the promotion it takes 0.1 s, to the takeover some milliseconds more; should neither come,
/// writes go on by themselves.
constexpr milliseconds kHoldWrites{2000};
/// A server that still says master is told again.
constexpr milliseconds kDemoteAgain{1000};
/// Longer names are nobody's, and would not fit into a Consul Meta value (512 bytes) with any margin.
constexpr std::size_t kMaxMasterName = 128;
/// Until Sentinel tells its own down-after.
constexpr milliseconds kDefaultHangAfter{5000};

TimePoint Now() { return std::chrono::steady_clock::now(); }

std::string UtcNow() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  std::array<char, 32> text{};
  gmtime_r(&now, &parts);
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

std::uint64_t JitterSeed() { return static_cast<std::uint64_t>(Now().time_since_epoch().count()); }

std::uint16_t PublishedPort(const Config& config, const redis::Endpoint& endpoint) {
  return config.advertise && config.advertise->port != 0 ? config.advertise->port : endpoint.port;
}

std::string ServiceIdFor(const Config& config, const std::string& host, const redis::Endpoint& endpoint) {
  return config.service + "-" + host + "-" + std::to_string(PublishedPort(config, endpoint));
}

std::string_view TagWord(Tag tag) {
  switch (tag) {
    case Tag::kMaster: return "master";
    case Tag::kReplica: return "replica";
    case Tag::kNone: break;
  }
  return "untagged";
}

}  // namespace

Watcher::Watcher(uv_loop_s* loop, const Config& config, std::unique_ptr<consul::Client> client,
                 redis::SentinelLinks& links, Telemetry& telemetry)
    : loop_(loop),
      links_(links),
      config_(config),
      host_(HostName()),
      claim_key_(ClaimKey(config.service)),
      master_name_(config.master_name),
      token_(config_.consul_token.Current()),
      telemetry_(telemetry),
      said_(config.redis.size()),
      roles_(config.redis.size()),
      fenced_(config.redis.size()),
      ask_backoff_(milliseconds(100), milliseconds(500), JitterSeed()),
      client_(std::move(client)) {}

Watcher::~Watcher() = default;

std::string Watcher::HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

void Watcher::Start() {
  AskWhoWeAre();
  for (std::size_t i = 0; i < config_.redis.size(); ++i) {
    redis::InstanceClient::Options options{.endpoint = config_.redis[i],
                                           .access = config_.RedisAccess(),
                                           .poll_interval = config_.poll_interval,
                                           .hang_after = config_.hang_after.value_or(kDefaultHangAfter)};
    instances_.push_back(std::make_unique<redis::InstanceClient>(
        loop_, std::move(options),
        redis::InstanceClient::Handlers{
            .on_change = [this, i] { OnInstanceChange(i); },
            .on_hello = [this](const redis::SentinelHello& hello) { OnHello(hello); },
            .on_answer = [this](std::chrono::nanoseconds duration,
                                bool answered) { telemetry_.tally.redis.Add(duration, answered); }}));
  }
  for (std::size_t i = 0; i < config_.redis.size(); ++i) {
    redis::UpstreamClient::Options options{.access = config_.RedisAccess()};
    auto upstream = std::make_unique<redis::UpstreamClient>(loop_, std::move(options), [this, i] { OnUpstream(i); });
    replicas_.push_back({std::move(upstream), redis::ReplicaLag(config_.replica_lag)});
  }
  for (const auto& instance : instances_) instance->Start();
  for (const redis::Endpoint& endpoint : config_.sentinels) AddSentinel(endpoint, config_.master_name, true);
}

void Watcher::StartSilently(const Watcher& predecessor) {
  silent_ = true;
  Start();
  if (predecessor.config_.master_name != config_.master_name) return;
  for (const auto& [endpoint, sentinel] : predecessor.sentinels_) {
    if (!sentinel.lost_since) AddSentinel(endpoint, sentinel.asked, false);
  }
}

bool Watcher::IsFed() const {
  return group_ && group_->HasRead() &&
         std::all_of(instances_.begin(), instances_.end(),
                     [](const auto& instance) { return instance->state().health != redis::Health::kUnknown; }) &&
         std::all_of(sentinels_.begin(), sentinels_.end(),
                     [](const auto& item) { return item.second.client->is_connected() || item.second.lost_since; });
}

void Watcher::OnTick() {
  const TimePoint now = Now();
  RenewToken();
  if (ask_again_at_ != TimePoint{} && now >= ask_again_at_) AskWhoWeAre();
  ForgetLostSentinels(now);
  Reconsider();
}

void Watcher::RenewToken() {
  const std::string& token = config_.consul_token.Current();
  if (token == token_) return;
  token_ = token;
  if (const auto set = client_->SetToken(token); !set) {
    Log(LogLevel::kWarn, "consul", "the changed token file is left alone: " + set.error().message);
    return;
  }
  Log(LogLevel::kInfo, "consul", "the token has changed, what is registered is registered again with the new one");
  if (group_) group_->OnTokenRenewed();
}

/// The catalog knows an instance by node and service ID: without the node's name there is nothing to publish.
void Watcher::AskWhoWeAre() {
  ask_again_at_ = TimePoint{};
  client_->Self([this](const consul::Result<consul::AgentSelf>& self) {
    ReportConsul("agent", self ? std::nullopt : std::optional(self.error()));
    if (self) {
      ask_backoff_.Reset();
      ask_again_at_ = Now() + kAskWhoWeAre;
      if (self->node != node_) OnNode(*self);
    } else {
      ask_again_at_ = Now() + ask_backoff_.Next();
    }
  });
}

void Watcher::OnNode(const consul::AgentSelf& self) {
  node_ = self.node;
  self_ = self;
  ++nodes_met_;
  drift_said_ = 0;
  Note(LogLevel::kInfo, "consul",
       "version " + self.version + ", node " + self.node + ", datacenter " + self.datacenter);
  std::vector<Identity> identities;
  for (const redis::Endpoint& endpoint : config_.redis) identities.push_back(IdentityOf(endpoint));
  Arbiter::Options options;
  options.authority = config_.authority;
  options.sentinels_configured = !config_.sentinels.empty();
  options.lease = config_.lease;
  options.demote_superseded = config_.demote_superseded;
  options.withhold_on_dataset_loss = config_.withhold_on_dataset_loss;
  Publisher::Options publisher_options;
  publisher_options.master_service = config_.master_service;
  publisher_options.replica_service = config_.replica_service;
  publisher_options.claim_key = claim_key_;
  publisher_options.extra_tags = config_.tags;
  publisher_options.ttl = config_.ttl;
  publisher_options.deregister_critical_after = config_.deregister_critical_service_after;
  publisher_options.seed = JitterSeed();
  group_ = std::make_unique<Group>(options, publisher_options, std::move(identities));
  for (std::size_t i = 0; i < instances_.size(); ++i) group_->OnInstance(i, instances_[i]->state());
  WatchClaim();
  WatchCatalogs();
}

std::uint16_t Watcher::PortOf(const redis::Endpoint& endpoint) const { return PublishedPort(config_, endpoint); }

std::string Watcher::ServiceIdOf(const redis::Endpoint& endpoint) const {
  return ServiceIdFor(config_, host_, endpoint);
}

std::vector<std::string> Watcher::ServiceIds(const Config& config) {
  std::vector<std::string> ids;
  for (const redis::Endpoint& endpoint : config.redis) ids.push_back(ServiceIdFor(config, HostName(), endpoint));
  return ids;
}

Identity Watcher::IdentityOf(const redis::Endpoint& endpoint) const {
  Identity identity;
  identity.service_id = ServiceIdOf(endpoint);
  identity.node = node_;
  identity.port = PortOf(endpoint);
  if (config_.advertise) identity.address = config_.advertise->host;
  identity.addresses.push_back(endpoint);
  std::vector<std::string> hosts = HostAddresses();
  hosts.push_back(host_);
  if (config_.advertise) hosts.push_back(config_.advertise->host);
  for (const std::string& host : hosts) {
    identity.addresses.push_back({.host = host, .port = endpoint.port, .unix_path = {}});
    if (identity.port != endpoint.port) {
      identity.addresses.push_back({.host = host, .port = identity.port, .unix_path = {}});
    }
  }
  return identity;
}

void Watcher::OnInstanceChange(std::size_t instance) {
  const redis::InstanceState& state = instances_[instance]->state();
  const bool in_trouble = state.health != redis::Health::kAnswering && state.health != redis::Health::kUnknown;
  if (state.health != redis::Health::kUnknown) {
    Report("redis " + instances_[instance]->endpoint().ToString(),
           in_trouble ? std::optional(state.detail) : std::nullopt, "answers");
  }
  CountRole(instance);
  FollowUpstream(instance);
  if (group_) group_->OnInstance(instance, state);
  Reconsider();
}

void Watcher::FollowUpstream(std::size_t instance) {
  const redis::InstanceState& state = instances_[instance]->state();
  Replica& replica = replicas_[instance];
  const bool follows = state.health == redis::Health::kAnswering && state.info &&
                       state.info->role == redis::Role::kReplica && state.info->master_link_up;
  replica.upstream->Follow(follows ? std::optional(state.info->master) : std::nullopt);
  if (!follows) {
    replica.lag.Forget();
  } else if (state.info->replica_repl_offset) {
    replica.lag.OnReplica(*state.info->replica_repl_offset, Now());
  }
  if (group_) group_->OnUpstream(instance, replica.upstream->state(), replica.lag.behind());
}

void Watcher::OnUpstream(std::size_t instance) {
  Replica& replica = replicas_[instance];
  const redis::UpstreamState& upstream = replica.upstream->state();
  if (upstream.master_offset) replica.lag.OnMaster(*upstream.master_offset, Now());
  if (group_) group_->OnUpstream(instance, upstream, replica.lag.behind());
  Reconsider();
}

void Watcher::CountRole(std::size_t instance) {
  const redis::InstanceState& state = instances_[instance]->state();
  RoleSeen& seen = roles_[instance];
  if (!state.info || seen.role == state.info->role) return;
  const bool changed = seen.role.has_value();
  seen.role = state.info->role;
  seen.promoted_at.reset();
  if (!changed) return;
  ++telemetry_.tally.role_changes[config_.redis[instance].ToString()];
  if (seen.role == redis::Role::kMaster) seen.promoted_at = state.role_since;
}

void Watcher::CountFailover(TimePoint now) {
  if (!group_->master_entries()) return;
  for (const consul::ServiceEntry& entry : *group_->master_entries()) {
    if (!entry.IsServed() || !entry.HasTag("master") || entry.node != node_) continue;
    for (std::size_t i = 0; i < roles_.size(); ++i) {
      if (!roles_[i].promoted_at || entry.id != ServiceIdOf(config_.redis[i])) continue;
      telemetry_.tally.failovers.Observe(now - *roles_[i].promoted_at);
      roles_[i].promoted_at.reset();
    }
  }
}

/// A hello says where a Sentinel is, no more: anybody who may PUBLISH can forge one. The Sentinel itself is asked.
void Watcher::OnHello(const redis::SentinelHello& hello) {
  const std::string& name = hello.view.master_name;
  if (name.size() > kMaxMasterName || (!master_name_.empty() && name != master_name_)) return;
  if (group_) group_->OnHello();
  const auto known = sentinels_.find(hello.sentinel);
  // One that was asked about a group it does not know: the name may have been forged, or this one may be.
  if (known != sentinels_.end() && !known->second.configured && known->second.lost_since &&
      known->second.asked != name) {
    sentinels_.erase(known);
  }
  AddSentinel(hello.sentinel, name, false);
}

void Watcher::AddSentinel(const redis::Endpoint& endpoint, const std::string& name, bool configured) {
  if (sentinels_.contains(endpoint) || sentinels_.size() >= kMaxSentinels) return;
  const std::string subject = "sentinel " + endpoint.ToString();
  redis::SentinelClient::Options options;
  options.endpoint = endpoint;
  options.access = config_.SentinelAccess();
  options.master_name = name;
  redis::SentinelClient::Handlers handlers;
  handlers.on_view = [this, endpoint](const redis::SentinelView& view) { OnSentinelView(endpoint, view); };
  handlers.on_replicas = [this](const std::vector<redis::SentinelInstance>& replicas) {
    if (group_) group_->OnSentinelInstances(replicas);
  };
  handlers.on_election = [this, endpoint](const std::optional<redis::Election>& election) {
    const auto found = sentinels_.find(endpoint);
    if (found != sentinels_.end()) found->second.election = election;
    if (!group_) return;
    group_->OnElection(endpoint.ToString(), election);
    Reconsider();
  };
  handlers.on_event = [this, subject](const redis::SentinelEvent& event) {
    Log(LogLevel::kDebug, subject, event.name + " " + event.instance.ToString());
    for (const auto& instance : instances_) instance->PollNow();
  };
  handlers.on_peers = [this](const std::vector<redis::Endpoint>& peers) {
    for (const redis::Endpoint& peer : peers) AddSentinel(peer, master_name_, false);
  };
  handlers.on_answer = [this](std::chrono::nanoseconds duration, bool answered) {
    telemetry_.tally.sentinel.Add(duration, answered);
  };
  handlers.on_lost = [this, endpoint, subject](const redis::Error& error) {
    Report(subject, error.message, {});
    const auto found = sentinels_.find(endpoint);
    if (found != sentinels_.end() && !found->second.lost_since) found->second.lost_since = Now();
  };
  Sentinel sentinel;
  sentinel.client = std::make_unique<redis::SentinelClient>(loop_, links_, std::move(options), std::move(handlers));
  sentinel.configured = configured;
  sentinel.asked = name;
  sentinel.client->Start();
  sentinels_.emplace(endpoint, std::move(sentinel));
}

void Watcher::OnSentinelView(const redis::Endpoint& endpoint, const redis::SentinelView& view) {
  Report("sentinel " + endpoint.ToString(), std::nullopt, "answers");
  if (const auto found = sentinels_.find(endpoint); found != sentinels_.end()) {
    found->second.lost_since.reset();
    found->second.view = view;
    found->second.viewed_at = Now();
  }
  if (master_name_.empty() && view.master_name.size() <= kMaxMasterName) master_name_ = view.master_name;
  if (!config_.hang_after && view.down_after.count() > 0) {
    for (const auto& instance : instances_) instance->SetHangAfter(view.down_after);
  }
  if (!group_) return;
  group_->OnSentinelView(view, Now());
  Reconsider();
}

void Watcher::ForgetLostSentinels(TimePoint now) {
  for (auto item = sentinels_.begin(); item != sentinels_.end();) {
    const Sentinel& sentinel = item->second;
    if (!sentinel.configured && sentinel.lost_since && now - *sentinel.lost_since > kForgetSentinelAfter) {
      troubles_.erase("sentinel " + item->first.ToString());
      item = sentinels_.erase(item);
    } else {
      ++item;
    }
  }
}

void Watcher::OnClaim(const consul::Result<consul::KvPair>& pair) {
  if (!pair) ++telemetry_.tally.consul.errors;
  ReportConsul("key " + claim_key_, pair ? std::nullopt : std::optional(pair.error()));
  // A server that dies without a word keeps the queries that were passed on to it: those that wait longer hang as well.
  if (!pair && pair.error().kind == consul::ErrorKind::kTimeout) WatchCatalogs();
  group_->OnClaim(pair, Now());
  Reconsider();
}

void Watcher::WatchClaim() {
  claim_watch_ =
      client_->WatchKv(claim_key_, kClaimWait, [this](const consul::Result<consul::KvPair>& pair) { OnClaim(pair); });
}

void Watcher::WatchCatalogs() {
  catalog_watch_ = WatchCatalog(config_.master_service, &Group::OnCatalog);
  if (config_.replica_service != config_.master_service) {
    replica_watch_ = WatchCatalog(config_.replica_service, &Group::OnReplicaCatalog);
  }
}

/// A comparison was lost to something that the watches have not told yet, and may not tell for long.
void Watcher::ReadAgain() {
  const TimePoint now = Now();
  if (now < read_again_at_) return;
  read_again_at_ = now + kReadAgain;
  WatchClaim();
  WatchCatalogs();
}

std::unique_ptr<consul::Watch> Watcher::WatchCatalog(const std::string& service, CatalogReader reader) {
  return client_->WatchService(
      service, kCatalogWait, [this, service, reader](consul::Result<std::vector<consul::ServiceEntry>> entries) {
        if (!entries) ++telemetry_.tally.consul.errors;
        ReportConsul("service " + service, entries ? std::nullopt : std::optional(entries.error()));
        (*group_.*reader)(std::move(entries), Now());
        // What changed there may be the other half of a failover, which in Redis Cluster nobody tells of.
        if (group_->authority() == Authority::kCluster) {
          for (const auto& instance : instances_) instance->PollNow();
        }
        CountFailover(Now());
        Reconsider();
      });
}

void Watcher::Reconsider() {
  if (!group_ || silent_) return;
  const TimePoint now = Now();
  const auto calls = group_->Decide(master_name_.empty() ? config_.service : master_name_, UtcNow(), now);
  LogClaim();
  for (std::size_t i = 0; i < group_->verdicts().size(); ++i) {
    const std::string id = ServiceIdOf(config_.redis[i]);
    Report("consul service " + id,
           group_->IsHidden(i, now)
               ? std::optional<std::string>(
                     "registered, but the catalog does not show it: does the token have node_prefix "
                     "read and service read, and does the Consul agent reach its servers?")
               : std::nullopt,
           "shown by the catalog");
    LogVerdict(i, group_->verdicts()[i]);
    FenceRedis(i, group_->verdicts()[i], now);
  }
  for (const Publisher::Call& call : calls) Execute(call);
  if (group_->drift_corrected() != drift_said_) {
    telemetry_.tally.drift_corrections += group_->drift_corrected() - drift_said_;
    drift_said_ = group_->drift_corrected();
    Note(LogLevel::kWarn, "consul", "the catalog differed from what was meant, corrected");
  }
}

void Watcher::LogClaim() {
  const std::optional<ClaimRecord>& record = group_->claim();
  if (!record || (claim_said_ && claim_said_->index == record->index)) return;
  claim_said_ = record;
  Report("claim " + claim_key_,
         !record->unreadable.empty() ? std::optional("not understood, left alone: " + record->unreadable)
         : !record->garbage.empty()  ? std::optional("garbage, to be written over: " + record->garbage)
                                     : std::nullopt,
         "understood");
  if (!record->claim) return;
  Note(LogLevel::kInfo, "claim",
       std::string(record->claim->state == Claim::State::kHeld ? "held" : "yielded") + " by " +
           HolderName(*record->claim) + " at epoch " + std::to_string(record->claim->epoch) + " (" +
           std::string(ToString(record->claim->authority)) + ")");
}

void Watcher::FenceRedis(std::size_t instance, const Verdict& verdict, TimePoint now) {
  Fenced& fenced = fenced_[instance];
  redis::InstanceClient& client = *instances_[instance];
  const std::string subject = config_.redis[instance].ToString();
  if (verdict.demote_to && now >= fenced.demote_again_at) {
    fenced = {.holding = false, .demote_again_at = now + kDemoteAgain};
    Note(LogLevel::kWarn, subject, "superseded: made a replica of " + verdict.demote_to->ToString());
    client.Demote(*verdict.demote_to, [subject](const redis::Result<void>& result) {
      if (!result) Log(LogLevel::kWarn, subject, "could not be made a replica: " + result.error().message);
    });
  } else if (verdict.hold_writes && !fenced.holding) {
    fenced.holding = true;
    Note(LogLevel::kInfo, subject, "writes are held back: Sentinel has chosen its successor");
    client.HoldWrites(kHoldWrites);
  } else if (!verdict.hold_writes && fenced.holding && group_->HoldsClaim(instance)) {
    fenced.holding = false;
    Note(LogLevel::kInfo, subject, "writes go on: the failover was given up");
    client.ReleaseWrites();
  }
}

void Watcher::LogVerdict(std::size_t instance, const Verdict& verdict) {
  if (!verdict.publication) return;
  const Publication& publication = *verdict.publication;
  std::string line = verdict.take ? "takes the claim: " : "published " + std::string(TagWord(publication.tag)) + ", ";
  line += std::string(ToString(publication.status)) + ": " + publication.reason;
  if (line == said_[instance].line) return;
  said_[instance] = {line, Now()};
  Note(LogLevel::kInfo, config_.redis[instance].ToString(), line);
}

void Watcher::Execute(const Publisher::Call& call) {
  if (!call.reason.empty()) {
    Log(LogLevel::kDebug, call.lane == Publisher::kGroupLane ? "group" : config_.redis[call.lane].ToString(),
        "tells Consul: " + call.reason);
  }
  // A group that was built anew meanwhile never made this call.
  const auto done = [this, call, nodes = nodes_met_, asked_at = Now()](const consul::Result<std::uint64_t>& result) {
    CountCall(asked_at, result.has_value() || result.error().kind == consul::ErrorKind::kConflict);
    if (nodes == nodes_met_) OnDone(call, result);
  };
  const auto plain = [done](const consul::Result<void>& result) {
    done(result ? consul::Result<std::uint64_t>(0) : tl::unexpected(result.error()));
  };
  if (const auto* registration = std::get_if<Publisher::Register>(&call.what)) {
    client_->RegisterService(registration->registration, plain);
  } else if (const auto* update = std::get_if<Publisher::UpdateTtl>(&call.what)) {
    client_->UpdateTtl(update->check_id, update->status, update->output, plain);
  } else if (const auto* removal = std::get_if<Publisher::Deregister>(&call.what)) {
    client_->DeregisterService(removal->service_id, plain);
  } else if (const auto* write = std::get_if<Publisher::WriteClaim>(&call.what)) {
    client_->KvCas(claim_key_, EncodeClaim(write->claim), write->index, plain);
  } else {
    client_->Txn(std::get<Publisher::Transaction>(call.what).operations, done);
  }
}

void Watcher::OnDone(const Publisher::Call& call, const consul::Result<std::uint64_t>& result) {
  // A lost comparison and a check that is not there are part of the game; the publisher knows what to do.
  const bool expected = !result && (result.error().kind == consul::ErrorKind::kConflict ||
                                    result.error().kind == consul::ErrorKind::kNotFound);
  if (expected) {
    Log(LogLevel::kDebug, "consul", result.error().message);
    if (result.error().kind == consul::ErrorKind::kConflict) {
      ReportConflict(result.error());
      ReadAgain();
    }
  } else {
    if (std::holds_alternative<Publisher::Transaction>(call.what)) conflicts_since_.reset();
    static constexpr std::array kWhat{"registration", "check", "takeover", "claim", "deregistration"};
    ReportConsul(kWhat[call.what.index()], result ? std::nullopt : std::optional(result.error()));
  }
  if (result && std::holds_alternative<Publisher::Transaction>(call.what)) {
    ++(call.lane == Publisher::kGroupLane ? telemetry_.tally.withdrawals : telemetry_.tally.takeovers);
  }
  group_->OnDone(call, result, Now());
  Reconsider();
}

void Watcher::CountCall(TimePoint asked_at, bool answered) { telemetry_.tally.consul.Add(Now() - asked_at, answered); }

void Watcher::ReportConflict(const consul::Error& error) {
  const TimePoint now = Now();
  if (!conflicts_since_) conflicts_since_ = now;
  if (now - *conflicts_since_ < kLostForLong) return;
  ReportConsul("takeover", consul::Error{error.kind, "it keeps being refused: " + error.message});
}

std::string Watcher::Summary() const {
  if (!group_) return "waiting for the Consul agent";
  std::string text;
  const std::vector<Verdict>& verdicts = group_->verdicts();
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    if (!text.empty()) text += "; ";
    text += config_.redis[i].ToString() + " " +
            (verdicts[i].publication ? verdicts[i].publication->reason : "not judged yet");
  }
  return text;
}

void Watcher::Report(const std::string& subject, const std::optional<std::string>& trouble, const std::string& well) {
  const auto before = troubles_.find(subject);
  if (!trouble) {
    if (before == troubles_.end()) return;
    troubles_.erase(before);
    Note(LogLevel::kInfo, subject, well);
    return;
  }
  if (before != troubles_.end() && before->second == *trouble) return;
  troubles_[subject] = *trouble;
  Note(LogLevel::kWarn, subject, *trouble);
}

void Watcher::Note(LogLevel level, const std::string& subject, const std::string& text) {
  Log(level, subject, text);
  telemetry_.timeline.Add({std::chrono::floor<milliseconds>(std::chrono::system_clock::now()), subject, text});
}

/// An agent that cannot be reached, or servers without a leader, fail every call, each in its own words: said once.
void Watcher::ReportConsul(const std::string& what, const std::optional<consul::Error>& error) {
  using Kind = consul::ErrorKind;
  const std::string agent = "consul " + config_.consul.url;
  const std::string servers = agent + " servers";
  const std::string call = agent + " " + what;
  if (!error) {
    Report(agent, std::nullopt, "answers");
    // The local agent alone answers checks and registrations: that proves nothing about the servers.
    if (what != "check" && what != "registration" && what != "deregistration" && what != "agent")
      Report(servers, std::nullopt, "answer");
    Report(call, std::nullopt, "accepted");
  } else if (error->kind == Kind::kUnreachable || error->kind == Kind::kTimeout) {
    if (!troubles_.contains(agent)) Report(agent, error->message, {});
  } else if (error->kind == Kind::kNoLeader) {
    if (!troubles_.contains(servers)) Report(servers, error->message, {});
  } else {
    Report(call, error->message, {});
  }
}

}  // namespace rcb::agent
