#include "agent/metrics.h"

#include <doctest/doctest.h>

#include <string>

using namespace rcb::agent;
using namespace std::chrono_literals;

namespace {

bool HasLine(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("Histogram: a value belongs to the first bucket that it does not exceed") {
  Histogram histogram({0.001, 0.01});
  histogram.Observe(1ms);
  histogram.Observe(2ms);
  histogram.Observe(3s);
  CHECK(histogram.counts() == std::vector<std::uint64_t>{1, 1, 1});
  CHECK(histogram.sum() == doctest::Approx(3.003));
}

TEST_CASE("Metrics: what is known stands there, what is not known does not") {
  Snapshot snapshot;
  snapshot.status.version = "0.1.0";
  snapshot.status.service = "redis";
  snapshot.status.unready = "the claim was not read";
  InstanceStatus& instance = snapshot.status.instances.emplace_back();
  instance.endpoint = "127.0.0.1:6379";
  instance.health = "refused";

  std::string text = RenderMetrics(snapshot);
  CHECK(HasLine(text, R"(redis_consul_agent_build_info{version="0.1.0",service="redis"} 1)"));
  CHECK(HasLine(text, "redis_consul_agent_ready{service=\"redis\"} 0"));
  CHECK(HasLine(text, R"(redis_consul_agent_redis_up{service="redis",redis="127.0.0.1:6379"} 0)"));
  CHECK(HasLine(text, R"(redis_consul_agent_role{service="redis",redis="127.0.0.1:6379",role="master"} 0)"));
  CHECK(text.find("claim_epoch") == std::string::npos);
  CHECK(text.find("catalog_masters") == std::string::npos);

  instance.health = "answering";
  instance.role = "master";
  instance.tag = "master";
  instance.check = "warning";
  snapshot.status.unready.clear();
  snapshot.status.claim.emplace().epoch = 9;
  snapshot.status.catalog_read = true;
  snapshot.status.catalog.push_back({.service_id = {},
                                     .service = {},
                                     .node = {},
                                     .address = {},
                                     .upstream = {},
                                     .tags = {"blue", "master"},
                                     .check = {},
                                     .output = {},
                                     .served = true});
  snapshot.tally.takeovers = 2;
  snapshot.tally.role_changes["127.0.0.1:6379"] = 3;
  snapshot.tally.failovers.Observe(7ms);
  snapshot.tally.redis.Add(1500us, true);
  snapshot.tally.consul.Add(6s, false);
  text = RenderMetrics(snapshot);
  CHECK(HasLine(text, "redis_consul_agent_ready{service=\"redis\"} 1"));
  CHECK(HasLine(text, R"(redis_consul_agent_published_tag{service="redis",redis="127.0.0.1:6379",tag="master"} 1)"));
  CHECK(HasLine(text,
                R"(redis_consul_agent_published_check{service="redis",redis="127.0.0.1:6379",status="warning"} 1)"));
  CHECK(HasLine(text,
                R"(redis_consul_agent_published_check{service="redis",redis="127.0.0.1:6379",status="passing"} 0)"));
  CHECK(HasLine(text, R"(redis_consul_agent_claim_epoch{service="redis",authority="replication"} 9)"));
  CHECK(HasLine(text, R"(redis_consul_agent_catalog_masters{service="redis"} 1)"));
  CHECK(text.find("catalog_shard_masters") == std::string::npos);
  CHECK(HasLine(text, "redis_consul_agent_takeovers_total 2"));
  CHECK(HasLine(text, R"(redis_consul_agent_role_changes_total{service="redis",redis="127.0.0.1:6379"} 3)"));
  CHECK(HasLine(text, R"(redis_consul_agent_failover_publish_seconds_bucket{le="0.005"} 0)"));
  CHECK(HasLine(text, R"(redis_consul_agent_failover_publish_seconds_bucket{le="0.01"} 1)"));
  CHECK(HasLine(text, R"(redis_consul_agent_failover_publish_seconds_bucket{le="+Inf"} 1)"));
  CHECK(HasLine(text, R"(redis_consul_agent_request_duration_seconds_count{target="redis"} 1)"));
  CHECK(HasLine(text, R"(redis_consul_agent_request_duration_seconds_bucket{target="consul",le="5"} 0)"));
  CHECK(HasLine(text, R"(redis_consul_agent_request_errors_total{target="consul"} 1)"));
}

TEST_CASE("Metrics: of several groups each has its own, by service") {
  Snapshot snapshot;
  for (const char* service : {"cache", "queue"}) {
    GroupStatus& group = snapshot.status.groups.emplace_back();
    group.service = service;
    group.sentinels.emplace_back().endpoint = "10.0.0.1:26379";
    group.instances.emplace_back().endpoint = std::string(service) + ":6379";
  }
  snapshot.status.groups[1].catalog_read = true;
  const std::string text = RenderMetrics(snapshot);
  CHECK(HasLine(text, R"(redis_consul_agent_sentinel_up{service="cache",sentinel="10.0.0.1:26379"} 0)"));
  CHECK(HasLine(text, R"(redis_consul_agent_sentinel_up{service="queue",sentinel="10.0.0.1:26379"} 0)"));
  CHECK(HasLine(text, R"(redis_consul_agent_redis_up{service="queue",redis="queue:6379"} 0)"));
  CHECK(HasLine(text, R"(redis_consul_agent_ready{service="cache"} 1)"));
  CHECK(HasLine(text, R"(redis_consul_agent_catalog_masters{service="queue"} 0)"));
  CHECK(text.find(R"(catalog_masters{service="cache"})") == std::string::npos);
}

TEST_CASE("Metrics: in Redis Cluster masters are counted by shard") {
  Snapshot snapshot;
  snapshot.status.service = "redis";
  snapshot.status.authority = "cluster";
  snapshot.status.catalog_read = true;
  const auto add = [&snapshot](const char* shard, const char* tag, bool served) {
    CatalogStatus entry;
    entry.shard = shard;
    entry.tags = {tag, shard};
    entry.served = served;
    snapshot.status.catalog.push_back(entry);
  };
  add("shard-0", "master", true);
  add("shard-0", "replica", true);
  add("shard-5461", "master", false);
  add("shard-5461", "replica", true);
  const std::string text = RenderMetrics(snapshot);
  CHECK(HasLine(text, R"(redis_consul_agent_catalog_shard_masters{service="redis",shard="shard-0"} 1)"));
  CHECK(HasLine(text, R"(redis_consul_agent_catalog_shard_masters{service="redis",shard="shard-5461"} 0)"));
  CHECK(text.find("agent_catalog_masters") == std::string::npos);
}
