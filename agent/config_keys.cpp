#include "agent/config_keys.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <utility>

namespace rcb::agent {
namespace {

using Json = ConfigJson;
using std::chrono::milliseconds;

constexpr std::uint64_t kMaxLagBytes = std::uint64_t{1} << 50;  // Beyond any backlog.

constexpr ConfigKey kKeys[] = {
    {"redis", "",
     [](Config& c, const Json& v) -> ConfigStatus {
       if (auto status = SetEndpoints(c.redis, v, 6379); !status) return status;
       if (c.redis.empty()) return Refuse("at least one server is needed");
       return {};
     }},
    {"redis_user", "", [](Config& c, const Json& v) { return SetText(c.redis_user, v); }},
    {"redis_password_file", "", [](Config& c, const Json& v) { return SetSecret(c, c.redis_password, v); }},
    {"redis_tls", "", [](Config& c, const Json& v) { return SetBool(c.redis_tls.enabled, v); }},
    {"redis_ca_file", "", [](Config& c, const Json& v) { return SetFile(c, c.redis_tls.options.ca_file, v); }},
    {"redis_client_cert", "", [](Config& c, const Json& v) { return SetFile(c, c.redis_tls.options.client_cert, v); }},
    {"redis_client_key", "", [](Config& c, const Json& v) { return SetFile(c, c.redis_tls.options.client_key, v); }},
    {"redis_tls_server_name", "", [](Config& c, const Json& v) { return SetText(c.redis_tls.options.server_name, v); }},
    {"redis_tls_verify", "", [](Config& c, const Json& v) { return SetBool(c.redis_tls.options.verify, v); }},
    {"sentinels", "", [](Config& c, const Json& v) { return SetEndpoints(c.sentinels, v, 26379); }},
    {"discover", "", [](Config& c, const Json& v) { return SetEndpoints(c.discover, v, 26379); }},
    {"sentinel_user", "", [](Config& c, const Json& v) { return SetText(c.sentinel_user, v); }},
    {"sentinel_password_file", "", [](Config& c, const Json& v) { return SetSecret(c, c.sentinel_password, v); }},
    // What is not given of these is as for Redis.
    {"sentinel_tls", "", [](Config& c, const Json& v) { return SetBool(c.sentinel_tls.enabled, v); }},
    {"sentinel_ca_file", "", [](Config& c, const Json& v) { return SetFile(c, c.sentinel_tls.options.ca_file, v); }},
    {"sentinel_client_cert", "",
     [](Config& c, const Json& v) { return SetFile(c, c.sentinel_tls.options.client_cert, v); }},
    {"sentinel_client_key", "",
     [](Config& c, const Json& v) { return SetFile(c, c.sentinel_tls.options.client_key, v); }},
    {"sentinel_tls_server_name", "",
     [](Config& c, const Json& v) { return SetText(c.sentinel_tls.options.server_name, v); }},
    {"sentinel_tls_verify", "", [](Config& c, const Json& v) { return SetBool(c.sentinel_tls.options.verify, v); }},
    {"master_name", "", [](Config& c, const Json& v) { return SetText(c.master_name, v); }},
    {"authority", "", [](Config& c, const Json& v) { return SetAuthority(c.authority, v); }},
    {"service", "", [](Config& c, const Json& v) { return SetLabel(c.service, v); }},
    {"master_service", "", [](Config& c, const Json& v) { return SetLabel(c.master_service, v); }},
    {"replica_service", "", [](Config& c, const Json& v) { return SetLabel(c.replica_service, v); }},
    {"tags", "",
     [](Config& c, const Json& v) -> ConfigStatus {
       if (auto status = SetTexts(c.tags, v); !status) return status;
       for (const std::string& tag : c.tags) {
         if (!IsLabel(tag)) return Refuse("tag \"" + tag + "\" is no DNS label: letters, digits and '-', at most 63");
         if (tag == "master" || tag == "replica" || tag == "no-failover" || tag.starts_with("shard-"))
           return Refuse("tag \"" + tag + "\" is the agent's own");
       }
       return {};
     }},
    {"advertise", "",
     [](Config& c, const Json& v) -> ConfigStatus {
       std::string text;
       if (auto status = SetText(text, v); !status) return status;
       auto endpoint = redis::ParseEndpoint(text, 1);
       if (!endpoint) return Refuse(endpoint.error().message);
       if (endpoint->is_unix()) return Refuse("clients cannot dial a unix socket: expected HOST or HOST:PORT");
       // Without a port the one that Redis listens on is meant: only then does the default matter.
       if (redis::ParseEndpoint(text, 2).value_or(*endpoint) != *endpoint) endpoint->port = 0;
       c.advertise = *endpoint;
       return {};
     }},
    {"consul", "CONSUL_HTTP_ADDR",
     [](Config& c, const Json& v) -> ConfigStatus {
       if (auto status = SetText(c.consul.url, v); !status) return status;
       // The form that `redis` takes is understood here as well.
       if (c.consul.url.starts_with("unix:/") && !c.consul.url.starts_with("unix://")) c.consul.url.insert(5, "//");
       return {};
     }},
    {"consul_token_file", "CONSUL_HTTP_TOKEN_FILE",
     [](Config& c, const Json& v) { return SetSecret(c, c.consul_token, v); }},
    {"consul_ca_file", "CONSUL_CACERT", [](Config& c, const Json& v) { return SetFile(c, c.consul.ca_file, v); }},
    {"consul_client_cert", "CONSUL_CLIENT_CERT",
     [](Config& c, const Json& v) { return SetFile(c, c.consul.client_cert, v); }},
    {"consul_client_key", "CONSUL_CLIENT_KEY",
     [](Config& c, const Json& v) { return SetFile(c, c.consul.client_key, v); }},
    {"consul_tls_server_name", "CONSUL_TLS_SERVER_NAME",
     [](Config& c, const Json& v) { return SetText(c.consul.tls_server_name, v); }},
    {"consul_verify", "CONSUL_HTTP_SSL_VERIFY", [](Config& c, const Json& v) { return SetBool(c.consul.verify, v); }},
    {"consul_namespace", "CONSUL_NAMESPACE", [](Config& c, const Json& v) { return SetText(c.consul.name_space, v); }},
    {"consul_partition", "CONSUL_PARTITION", [](Config& c, const Json& v) { return SetText(c.consul.partition, v); }},
    // A poll below 10 ms is load, one above 5 s is no watch.
    {"poll_interval", "",
     [](Config& c, const Json& v) { return SetDuration(c.poll_interval, v, milliseconds(10), milliseconds(5000)); }},
    {"hang_after", "",
     [](Config& c, const Json& v) {
       return SetDuration(c.hang_after.emplace(), v, milliseconds(100), milliseconds(3600000));
     }},
    // The upstream is asked once a second.
    {"replica_max_lag", "",
     [](Config& c, const Json& v) -> ConfigStatus {
       return SetDuration(c.replica_lag.max_age, v, milliseconds(2000), std::chrono::hours(24));
     }},
    {"replica_max_lag_bytes", "",
     [](Config& c, const Json& v) -> ConfigStatus {
       if (!v.is_number_unsigned() || v.get<std::uint64_t>() == 0 || v.get<std::uint64_t>() > kMaxLagBytes) {
         return Refuse("expected a whole number of bytes, 1 or more");
       }
       c.replica_lag.max_bytes = v.get<std::int64_t>();
       return {};
     }},
    // The claim is read once a second: a shorter lease would expire between two reads.
    {"lease", "",
     [](Config& c, const Json& v) {
       return SetDuration(c.lease.emplace(), v, milliseconds(2000), milliseconds(3600000));
     }},
    {"on_dataset_loss", "",
     [](Config& c, const Json& v) { return SetChoice(c.withhold_on_dataset_loss, v, "warn", "withhold"); }},
    {"on_superseded", "",
     [](Config& c, const Json& v) { return SetChoice(c.demote_superseded, v, "withhold", "demote"); }},
    // Three heartbeats fit into a TTL; below 1 s a busy machine would miss them.
    {"ttl", "",
     [](Config& c, const Json& v) { return SetDuration(c.ttl, v, milliseconds(1000), milliseconds(600000)); }},
    // Consul's own minimum is one minute.
    {"deregister_critical_service_after", "",
     [](Config& c, const Json& v) {
       return SetDuration(c.deregister_critical_service_after, v, std::chrono::minutes(1),
                          std::chrono::hours(24 * 365));
     }},
    {"listen", "", [](Config& c, const Json& v) { return SetListen(c.listen, v); }},
    {"log_level", "", [](Config& c, const Json& v) { return SetLogLevel(c.log_level, v); }},
    {"log_format", "", [](Config& c, const Json& v) { return SetChoice(c.log_json, v, "text", "json"); }},
};

/// Levenshtein distance, for "did you mean".
std::size_t Distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, substituted}));
    }
  }
  return row.back();
}

std::string Milliseconds(milliseconds duration) {
  return duration.count() % 1000 == 0 ? std::to_string(duration.count() / 1000) + "s"
                                      : std::to_string(duration.count()) + "ms";
}

Json Texts(const std::vector<redis::Endpoint>& endpoints) {
  Json list = Json::array();
  for (const redis::Endpoint& endpoint : endpoints) list.push_back(endpoint.ToString());
  return list;
}

}  // namespace

std::span<const ConfigKey> ConfigKeys() { return kKeys; }

const ConfigKey* FindKey(const std::string& name) {
  for (const ConfigKey& key : kKeys) {
    if (name == key.name) return &key;
  }
  return nullptr;
}

std::string NearestKey(const std::string& name) {
  if (Distance(name, kGroupsKey) <= 2) return kGroupsKey;
  const ConfigKey* nearest = std::min_element(
      std::begin(kKeys), std::end(kKeys),
      [&name](const ConfigKey& a, const ConfigKey& b) { return Distance(name, a.name) < Distance(name, b.name); });
  return nearest->name;
}

std::string FlagOf(const std::string& key) {
  std::string flag = key == "sentinels" ? "--sentinel" : "--" + key;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

bool IsShared(const std::string& key) {
  static const std::set<std::string> kShared = {
      "discover", "consul", "ttl", "deregister_critical_service_after", "listen", "log_level", "log_format"};
  return kShared.contains(key) || key.starts_with("consul_");
}

ConfigJson DescribeKeys(const Config& config) {
  const auto masked = [](const Secret& secret) { return secret.empty() ? Json(nullptr) : Json("(set)"); };
  return {
      {"redis", Texts(config.redis)},
      {"redis_user", config.redis_user},
      {"redis_password", masked(config.redis_password)},
      {"redis_tls", config.redis_tls.enabled},
      {"redis_ca_file", config.redis_tls.options.ca_file},
      {"redis_client_cert", config.redis_tls.options.client_cert},
      {"redis_client_key", config.redis_tls.options.client_key},
      {"redis_tls_server_name", config.redis_tls.options.server_name},
      {"redis_tls_verify", config.redis_tls.options.verify},
      {"sentinels", Texts(config.sentinels)},
      {"discover", Texts(config.discover)},
      {"sentinel_user", config.sentinel_user},
      {"sentinel_password", masked(config.sentinel_password)},
      {"sentinel_tls", config.sentinel_tls.enabled},
      {"sentinel_ca_file", config.sentinel_tls.options.ca_file},
      {"sentinel_client_cert", config.sentinel_tls.options.client_cert},
      {"sentinel_client_key", config.sentinel_tls.options.client_key},
      {"sentinel_tls_server_name", config.sentinel_tls.options.server_name},
      {"sentinel_tls_verify", config.sentinel_tls.options.verify},
      {"master_name", config.master_name},
      {"authority", config.authority ? std::string(ToString(*config.authority)) : "auto"},
      {"service", config.service},
      {"master_service", config.master_service},
      {"replica_service", config.replica_service},
      {"tags", config.tags},
      {"advertise", config.advertise ? Json(config.advertise->ToString()) : Json(nullptr)},
      {"consul", config.consul.url},
      {"consul_token", masked(config.consul_token)},
      {"consul_ca_file", config.consul.ca_file},
      {"consul_client_cert", config.consul.client_cert},
      {"consul_client_key", config.consul.client_key},
      {"consul_tls_server_name", config.consul.tls_server_name},
      {"consul_verify", config.consul.verify},
      {"consul_namespace", config.consul.name_space},
      {"consul_partition", config.consul.partition},
      {"poll_interval", Milliseconds(config.poll_interval)},
      {"hang_after", config.hang_after ? Json(Milliseconds(*config.hang_after)) : Json(nullptr)},
      {"replica_max_lag", Milliseconds(config.replica_lag.max_age)},
      {"replica_max_lag_bytes", config.replica_lag.max_bytes ? Json(*config.replica_lag.max_bytes) : Json(nullptr)},
      {"lease", config.lease ? Json(Milliseconds(*config.lease)) : Json(nullptr)},
      {"on_dataset_loss", config.withhold_on_dataset_loss ? "withhold" : "warn"},
      {"on_superseded", config.demote_superseded ? "demote" : "withhold"},
      {"ttl", Milliseconds(config.ttl)},
      {"deregister_critical_service_after", Milliseconds(config.deregister_critical_service_after)},
      {"listen", config.listen ? config.listen->ToString() : "off"},
      {"log_level", config.log_level},
      {"log_format", config.log_json ? "json" : "text"},
  };
}

}  // namespace rcb::agent
