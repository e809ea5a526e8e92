// What a watcher knows, put into words: the other half of agent/watcher.cpp.

#include <algorithm>
#include <string_view>
#include <utility>

#include "agent/watcher.h"

namespace rcb::agent {
namespace {

/// Both clocks at one moment, to tell people when something on the monotonic one was.
struct Clocks {
  UtcTime utc = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  TimePoint monotonic = std::chrono::steady_clock::now();

  std::optional<UtcTime> ToUtc(TimePoint time) const {
    if (time == TimePoint{}) return std::nullopt;
    return utc - std::chrono::duration_cast<std::chrono::milliseconds>(monotonic - time);
  }
};

std::string_view HealthWord(redis::Health health) {
  switch (health) {
    case redis::Health::kAnswering: return "answering";
    case redis::Health::kRefused: return "refused";
    case redis::Health::kSilent: return "silent";
    case redis::Health::kBusy: return "busy";
    case redis::Health::kDenied: return "denied";
    case redis::Health::kNotRedis: return "not redis";
    case redis::Health::kUnknown: break;
  }
  return "unknown";
}

std::string_view TagWord(Tag tag) {
  switch (tag) {
    case Tag::kMaster: return "master";
    case Tag::kReplica: return "replica";
    case Tag::kNone: break;
  }
  return "none";
}

std::string HostPort(const std::string& host, std::uint16_t port) {
  return redis::Endpoint{.host = host, .port = port, .unix_path = {}}.ToString();
}

CatalogStatus DescribeEntry(const consul::ServiceEntry& entry) {
  CatalogStatus status;
  status.service_id = entry.id;
  status.service = entry.name;
  status.node = entry.node;
  status.address = HostPort(entry.address.empty() ? entry.node_address : entry.address, entry.port);
  status.tags = entry.tags;
  if (const auto upstream = entry.meta.find("upstream"); upstream != entry.meta.end())
    status.upstream = upstream->second;
  if (const auto shard = entry.meta.find("shard"); shard != entry.meta.end()) status.shard = shard->second;
  status.check = "passing";
  for (const consul::CatalogCheck& check : entry.checks) {
    if (check.id == entry.id + ":role") status.output = check.output;
    const bool worse = check.status == "warning" ? status.check == "passing" : check.status != "passing";
    if (worse) status.check = check.status;
  }
  status.served = entry.IsServed();
  return status;
}

void DescribeReplication(const redis::ReplicationInfo& info, InstanceStatus& status) {
  if (info.role == redis::Role::kReplica) {
    status.role = "replica";
    status.upstream = info.master.ToString();
    status.link = info.master_sync_in_progress ? "syncing" : info.master_link_up ? "up" : "down";
  } else {
    status.role = "master";
  }
  for (const redis::ConnectedReplica& replica : info.replicas) {
    ReplicaStatus told{
        .address = replica.address.ToString(), .state = replica.state, .lag_bytes = {}, .lag_seconds = {}};
    if (info.master_repl_offset) told.lag_bytes = std::max<std::int64_t>(0, *info.master_repl_offset - replica.offset);
    if (replica.lag >= 0) told.lag_seconds = replica.lag;
    status.replicas.push_back(std::move(told));
  }
}

}  // namespace

Status Watcher::Describe() const {
  const Clocks clocks;
  Status status;
  status.at = clocks.utc;
  status.version = RCB_VERSION;
  status.started = telemetry_.started;
  status.consul = config_.consul.url;
  status.consul_version = self_.version;
  status.node = node_;
  status.datacenter = self_.datacenter;
  status.service = config_.service;
  status.master_service = config_.master_service;
  status.replica_service = config_.replica_service;
  status.master_name = master_name_;
  status.unready = Unready();
  if (group_) {
    if (group_->authority()) status.authority = ToString(*group_->authority());
    if (const auto& record = group_->claim()) {
      status.claim_read = true;
      status.claim = record->claim;
      status.claim_trouble = record->unreadable.empty() ? record->garbage : record->unreadable;
    }
    DescribeCatalog(status);
  }
  for (std::size_t i = 0; i < instances_.size(); ++i) status.instances.push_back(DescribeInstance(i));
  for (const auto& [endpoint, sentinel] : sentinels_) {
    SentinelStatus told;
    told.endpoint = endpoint.ToString();
    told.configured = sentinel.configured;
    told.connected = sentinel.client->is_connected();
    if (const auto trouble = troubles_.find("sentinel " + told.endpoint); trouble != troubles_.end()) {
      told.trouble = trouble->second;
    }
    if (sentinel.election) told.chosen = sentinel.election->chosen.ToString();
    if (sentinel.view) {
      const redis::SentinelView& view = *sentinel.view;
      told.master = view.master.ToString();
      told.master_run_id = view.master_run_id;
      told.config_epoch = view.config_epoch;
      told.quorum = view.quorum;
      told.other_sentinels = view.other_sentinels;
      told.master_down = view.master_down;
      told.failing_over = view.failover_in_progress;
      told.heard = clocks.ToUtc(sentinel.viewed_at);
    }
    status.sentinels.push_back(std::move(told));
  }
  for (const auto& [subject, text] : troubles_) status.troubles.push_back({subject, text});
  return status;
}

std::string Watcher::Unready() const {
  if (!group_) return "the Consul agent has not told its node's name";
  if (!group_->claim()) return "the claim was not read";
  if (!group_->HasRead()) return "the catalog was not read";
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    if (instances_[i]->state().health == redis::Health::kUnknown) {
      return "nothing was heard of " + config_.redis[i].ToString();
    }
  }
  return {};
}

InstanceStatus Watcher::DescribeInstance(std::size_t instance) const {
  const Clocks clocks;
  const redis::Endpoint& endpoint = config_.redis[instance];
  const redis::InstanceState& state = instances_[instance]->state();
  InstanceStatus status;
  status.endpoint = endpoint.ToString();
  status.service_id = ServiceIdOf(endpoint);
  if (config_.advertise) status.address = HostPort(config_.advertise->host, PortOf(endpoint));
  status.health = HealthWord(state.health);
  status.health_detail = state.detail;
  status.health_since = clocks.ToUtc(state.health_since);
  status.role_since = clocks.ToUtc(state.role_since);
  status.loading = state.loading;
  status.run_id = state.server.run_id;
  status.version = state.server.redis_version;
  if (state.info) DescribeReplication(*state.info, status);
  if (state.cluster) {
    status.cluster_state = state.cluster->info.state_ok ? "ok" : "fail";
    status.cluster_epoch = state.cluster->nodes.epoch;
    if (const auto shard = ShardOf(state.cluster->nodes)) {
      status.shard = shard->name;
      status.slots = shard->slots;
    }
  }
  if (replicas_[instance].upstream->state().master_offset) {
    status.lag_bytes = replicas_[instance].lag.bytes();
    status.lag_milliseconds = replicas_[instance].lag.age(clocks.monotonic).count();
  }
  if (!group_) return status;
  if (status.address.empty()) {
    for (const auto* entries : {&group_->master_entries(), &group_->replica_entries()}) {
      if (!*entries) continue;
      for (const consul::ServiceEntry& entry : **entries) {
        if (entry.id == status.service_id && entry.node == node_) status.address = DescribeEntry(entry).address;
      }
    }
  }
  status.holds_claim = group_->HoldsClaim(instance);
  status.published_since = clocks.ToUtc(said_[instance].since);
  if (instance < group_->verdicts().size()) {
    const Verdict& verdict = group_->verdicts()[instance];
    status.taking = verdict.take.has_value();
    if (verdict.publication) {
      status.tag = TagWord(verdict.publication->tag);
      status.check = ToString(verdict.publication->status);
      status.reason = verdict.publication->reason;
    }
  }
  return status;
}

void Watcher::DescribeCatalog(Status& status) const {
  status.catalog_read = group_->master_entries() && group_->replica_entries();
  if (!status.catalog_read) return;
  for (const auto* entries : {&group_->master_entries(), &group_->replica_entries()}) {
    for (const consul::ServiceEntry& entry : **entries) status.catalog.push_back(DescribeEntry(entry));
  }
}

}  // namespace rcb::agent
