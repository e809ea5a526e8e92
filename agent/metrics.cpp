#include "agent/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace rcb::agent {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

/// Collects the families of one answer.
class Families {
 public:
  /// Starts a family; what is added next belongs to it. `name` goes without the prefix.
  void Begin(const char* name, MetricType type, const char* help) {
    families_.push_back({std::string("redis_consul_agent_") + name, help, type, {}});
  }
  void Add(double value, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (families_.back().type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    families_.back().metric.push_back(std::move(metric));
  }
  void Add(const Histogram& histogram, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.histogram.sample_sum = histogram.sum();
    // The serializer adds the bucket without a bound.
    for (std::size_t i = 0; i < histogram.counts().size(); ++i) {
      metric.histogram.sample_count += histogram.counts()[i];
      if (i < histogram.bounds().size()) {
        metric.histogram.bucket.push_back({metric.histogram.sample_count, histogram.bounds()[i]});
      }
    }
    families_.back().metric.push_back(std::move(metric));
  }
  /// One of several words: a sample for each, 1 for the one that holds.
  void AddState(const std::string& is, const char* label, std::initializer_list<const char*> words,
                const Labels& labels) {
    for (const char* word : words) {
      Labels all = labels;
      all.push_back({label, word});
      Add(is == word ? 1 : 0, std::move(all));
    }
  }

  std::string Text() {
    std::erase_if(families_, [](const MetricFamily& family) { return family.metric.empty(); });
    return prometheus::TextSerializer().Serialize(families_);
  }

 private:
  std::vector<MetricFamily> families_;
};

void AddInstances(const Status& status, Families& families) {
  const auto each = [&status](const auto& add) {
    for (const GroupStatus& group : GroupsOf(status)) {
      for (const InstanceStatus& instance : group.instances) {
        add(instance, Labels{{"service", group.service}, {"redis", instance.endpoint}});
      }
    }
  };
  families.Begin("redis_up", MetricType::Gauge, "Whether the Redis server answers.");
  each([&](const InstanceStatus& instance, const Labels& labels) {
    families.Add(instance.health == "answering" ? 1 : 0, labels);
  });
  families.Begin("role", MetricType::Gauge, "What the Redis server says that it is: 1 for the role that it has.");
  each([&](const InstanceStatus& instance, const Labels& labels) {
    families.AddState(instance.role, "role", {"master", "replica"}, labels);
  });
  families.Begin("published_tag", MetricType::Gauge,
                 "As what the agent wants the instance to stand in Consul: 1 for the tag that it has.");
  each([&](const InstanceStatus& instance, const Labels& labels) {
    families.AddState(instance.tag, "tag", {"master", "replica", "none"}, labels);
  });
  families.Begin("published_check", MetricType::Gauge,
                 "The status that the agent wants the instance's check to have: 1 for that one.");
  each([&](const InstanceStatus& instance, const Labels& labels) {
    families.AddState(instance.check, "status", {"passing", "warning", "critical"}, labels);
  });
  families.Begin("claim_held", MetricType::Gauge, "Whether the instance holds the claim.");
  each([&](const InstanceStatus& instance, const Labels& labels) {
    families.Add(instance.holds_claim ? 1 : 0, labels);
  });
  families.Begin("replica_lag_bytes", MetricType::Gauge,
                 "Bytes of the replication stream that a replica has not applied, where its master can be asked.");
  each([&](const InstanceStatus& instance, const Labels& labels) {
    if (instance.lag_bytes) families.Add(static_cast<double>(*instance.lag_bytes), labels);
  });
  families.Begin("connected_replicas", MetricType::Gauge, "Replicas that are connected to the Redis server.");
  each([&](const InstanceStatus& instance, const Labels& labels) {
    families.Add(static_cast<double>(instance.replicas.size()), labels);
  });
}

bool IsCluster(const GroupStatus& group) { return group.authority == ToString(Authority::kCluster); }

bool IsServedMaster(const CatalogStatus& entry) {
  return entry.served && std::find(entry.tags.begin(), entry.tags.end(), "master") != entry.tags.end();
}

/// A shard that lost its last master still has other entries.
void AddShards(const GroupStatus& group, Families& families) {
  std::map<std::string, int> masters;
  for (const CatalogStatus& entry : group.catalog) {
    if (!entry.shard.empty()) masters[entry.shard] += IsServedMaster(entry) ? 1 : 0;
  }
  for (const auto& [shard, count] : masters) families.Add(count, {{"service", group.service}, {"shard", shard}});
}

void AddGroups(const Status& status, Families& families) {
  const std::span<const GroupStatus> groups = GroupsOf(status);
  families.Begin("ready", MetricType::Gauge, "Whether the agent knows what it needs to judge.");
  for (const GroupStatus& group : groups) families.Add(group.unready.empty() ? 1 : 0, {{"service", group.service}});
  families.Begin("troubles", MetricType::Gauge, "Things that are wrong now; /status tells which.");
  families.Add(static_cast<double>(status.troubles.size()));
  families.Begin("claim_epoch", MetricType::Gauge, "Epoch of the claim; absent while nobody holds it.");
  for (const GroupStatus& group : groups) {
    if (!group.claim) continue;
    families.Add(static_cast<double>(group.claim->epoch),
                 {{"service", group.service}, {"authority", std::string(ToString(group.claim->authority))}});
  }
  families.Begin("catalog_masters", MetricType::Gauge,
                 "Instances that the catalog serves as master; absent while it cannot be read.");
  for (const GroupStatus& group : groups) {
    if (!group.catalog_read || IsCluster(group)) continue;
    const auto masters = std::count_if(group.catalog.begin(), group.catalog.end(), IsServedMaster);
    families.Add(static_cast<double>(masters), {{"service", group.service}});
  }
  families.Begin("catalog_shard_masters", MetricType::Gauge,
                 "Masters that the catalog serves of a shard of Redis Cluster; absent while it cannot be read.");
  for (const GroupStatus& group : groups) {
    if (group.catalog_read && IsCluster(group)) AddShards(group, families);
  }
  families.Begin("consul_readable", MetricType::Gauge, "Whether claim and catalog could be read from Consul.");
  for (const GroupStatus& group : groups) {
    families.Add(group.claim_read && group.catalog_read ? 1 : 0, {{"service", group.service}});
  }
  families.Begin("sentinel_up", MetricType::Gauge, "Whether the agent is connected to the Sentinel.");
  const auto each = [&groups](const auto& add) {
    for (const GroupStatus& group : groups) {
      for (const SentinelStatus& sentinel : group.sentinels) {
        add(sentinel, Labels{{"service", group.service}, {"sentinel", sentinel.endpoint}});
      }
    }
  };
  each([&](const SentinelStatus& sentinel, const Labels& labels) { families.Add(sentinel.connected ? 1 : 0, labels); });
  families.Begin("sentinel_config_epoch", MetricType::Gauge, "The config-epoch that the Sentinel last told.");
  each([&](const SentinelStatus& sentinel, const Labels& labels) {
    if (sentinel.heard) families.Add(static_cast<double>(sentinel.config_epoch), labels);
  });
}

void AddTally(const Tally& tally, const Status& status, Families& families) {
  families.Begin("role_changes_total", MetricType::Counter, "Changes of the Redis server's role that were seen.");
  for (const GroupStatus& group : GroupsOf(status)) {
    for (const InstanceStatus& instance : group.instances) {
      const auto count = tally.role_changes.find(instance.endpoint);
      families.Add(count == tally.role_changes.end() ? 0 : static_cast<double>(count->second),
                   {{"service", group.service}, {"redis", instance.endpoint}});
    }
  }
  families.Begin("takeovers_total", MetricType::Counter,
                 "Transactions that published an instance of this host as master.");
  families.Add(static_cast<double>(tally.takeovers));
  families.Begin("withdrawals_total", MetricType::Counter,
                 "Transactions that took the master's tag from instances that do not hold the claim.");
  families.Add(static_cast<double>(tally.withdrawals));
  families.Begin("drift_corrections_total", MetricType::Counter,
                 "Corrections of a catalog that differed from what was meant, withdrawals included.");
  families.Add(static_cast<double>(tally.drift_corrections));
  families.Begin("failover_publish_seconds", MetricType::Histogram,
                 "From a promotion, as the Redis server told it, to the catalog serving it as master.");
  families.Add(tally.failovers);
  const std::pair<const char*, const Requests&> targets[] = {
      {"redis", tally.redis}, {"sentinel", tally.sentinel}, {"consul", tally.consul}};
  families.Begin("request_duration_seconds", MetricType::Histogram,
                 "Time to an answer, by what was asked; Consul's blocking queries are not among them.");
  for (const auto& [target, requests] : targets) families.Add(requests.durations, {{"target", target}});
  families.Begin("request_errors_total", MetricType::Counter, "Requests without the answer that was asked for.");
  for (const auto& [target, requests] : targets) {
    families.Add(static_cast<double>(requests.errors), {{"target", target}});
  }
  families.Begin("loop_lag_seconds", MetricType::Histogram, "How late the event loop's timer ran.");
  families.Add(tally.loop_lag);
}

double Seconds(UtcTime time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

}  // namespace

std::string RenderMetrics(const Snapshot& snapshot) {
  Families families;
  const Status& status = snapshot.status;
  families.Begin("build_info", MetricType::Gauge, "Always 1: the version of the agent and what it publishes.");
  for (const GroupStatus& group : GroupsOf(status)) {
    families.Add(1, {{"version", status.version}, {"service", group.service}});
  }
  families.Begin("start_time_seconds", MetricType::Gauge, "When the agent was started, as Unix time.");
  families.Add(Seconds(status.started));
  AddInstances(status, families);
  AddGroups(status, families);
  AddTally(snapshot.tally, status, families);
  return families.Text();
}

}  // namespace rcb::agent
