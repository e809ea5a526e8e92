#include "agent/config.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <sstream>
#include <utility>

namespace rcb::agent {
namespace {

using Json = nlohmann::ordered_json;
using Status = tl::expected<void, std::string>;
using std::chrono::milliseconds;

constexpr std::uint64_t kMaxLagBytes = std::uint64_t{1} << 50;  // Beyond any backlog.
constexpr std::size_t kMaxFileBytes = std::size_t{1024} * 1024;

tl::unexpected<std::string> Error(std::string text) { return tl::unexpected<std::string>(std::move(text)); }

tl::expected<std::string, std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) {
    std::array<char, 4096> block{};
    while (file.read(block.data(), block.size()) || file.gcount() > 0) {
      text.append(block.data(), static_cast<std::size_t>(file.gcount()));
      if (text.size() > kMaxFileBytes) return Error(path + " is larger than 1 MiB");
    }
  }
  if (!file.is_open() || file.bad() || (text.empty() && !file.eof())) {
    return Error("cannot read " + path + ": " + std::strerror(errno == 0 ? EIO : errno));
  }
  return text;
}

Status SetText(std::string& target, const Json& value) {
  if (!value.is_string()) return Error("expected a string");
  target = value.get<std::string>();
  return {};
}

/// A file. One without a slash is a credential of the systemd unit, where there are any.
Status SetFile(const Config& config, std::string& target, const Json& value) {
  if (auto status = SetText(target, value); !status) return status;
  const bool is_name = !target.empty() && target.find('/') == std::string::npos;
  if (is_name && !config.credentials_directory.empty()) target = config.credentials_directory + "/" + target;
  return {};
}

Status SetSecret(const Config& config, Secret& target, const Json& value) {
  std::string path;
  if (auto status = SetFile(config, path, value); !status) return status;
  auto secret = Secret::FromFile(path);
  if (!secret) return Error(secret.error());
  target = *std::move(secret);
  return {};
}

Status SetTexts(std::vector<std::string>& target, const Json& value) {
  if (value.is_string()) {
    target = {value.get<std::string>()};
    return {};
  }
  std::vector<std::string> texts;
  if (!value.is_array()) return Error("expected a list of strings");
  for (const Json& element : value) {
    if (!element.is_string()) return Error("expected a list of strings");
    texts.push_back(element.get<std::string>());
  }
  target = std::move(texts);
  return {};
}

Status SetEndpoints(std::vector<redis::Endpoint>& target, const Json& value, std::uint16_t default_port) {
  std::vector<std::string> texts;
  if (auto status = SetTexts(texts, value); !status) return status;
  std::vector<redis::Endpoint> endpoints;
  for (const std::string& text : texts) {
    auto endpoint = redis::ParseEndpoint(text, default_port);
    if (!endpoint) return Error(endpoint.error().message);
    if (std::find(endpoints.begin(), endpoints.end(), *endpoint) != endpoints.end()) {
      return Error(text + " is listed twice");
    }
    endpoints.push_back(*endpoint);
  }
  target = std::move(endpoints);
  return {};
}

Status SetListen(std::optional<redis::Endpoint>& target, const Json& value) {
  std::string text;
  if (auto status = SetText(text, value); !status) return status;
  if (text == "off") {
    target.reset();
    return {};
  }
  const auto endpoint = redis::ParseEndpoint(text, 0);
  if (!endpoint || endpoint->is_unix() || endpoint->port == 0) {
    return Error("\"" + text.substr(0, 80) + "\" is no place to listen at: expected ADDRESS:PORT or off");
  }
  target = *endpoint;
  return {};
}

/// A duration between two bounds, whose reason the caller knows.
template <typename Duration>
Status SetDuration(Duration& target, const Json& value, milliseconds least, milliseconds most) {
  std::string text;
  if (auto status = SetText(text, value); !status) return Error("expected a duration like \"200ms\" or \"10s\"");
  const auto duration = ParseDuration(text);
  if (!duration) return Error(duration.error());
  if (*duration < least || *duration > most) {
    return Error("\"" + text + "\" is out of range: " + std::to_string(least.count()) + "ms to " +
                 std::to_string(most.count()) + "ms");
  }
  target = std::chrono::duration_cast<Duration>(*duration);
  return {};
}

/// DNS labels are what a service and a tag become.
bool IsLabel(const std::string& text) {
  return !text.empty() && text.size() <= 63 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
}

Status SetLabel(std::string& target, const Json& value) {
  if (auto status = SetText(target, value); !status) return status;
  if (!IsLabel(target)) return Error("expected a DNS label: letters, digits and '-', at most 63");
  return {};
}

Status SetBool(bool& target, const Json& value) {
  if (value.is_boolean()) {
    target = value.get<bool>();
    return {};
  }
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (text == "true" || text == "1") {
    target = true;
  } else if (text == "false" || text == "0") {
    target = false;
  } else {
    return Error("expected true or false");
  }
  return {};
}

Status SetAuthority(std::optional<Authority>& target, const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (text == "auto") {
    target.reset();
  } else if (text == ToString(Authority::kSentinel)) {
    target = Authority::kSentinel;
  } else if (text == ToString(Authority::kReplication)) {
    target = Authority::kReplication;
  } else if (text == ToString(Authority::kCluster)) {
    target = Authority::kCluster;
  } else {
    return Error("expected \"auto\", \"sentinel\", \"replication\" or \"cluster\"");
  }
  return {};
}

/// One of two words; `second` is true.
Status SetChoice(bool& target, const Json& value, const std::string& first, const std::string& second) {
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (text != first && text != second) return Error("expected \"" + first + "\" or \"" + second + "\"");
  target = text == second;
  return {};
}

Status SetLogLevel(std::string& target, const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (text != "debug" && text != "info" && text != "warn" && text != "error") {
    return Error("expected \"debug\", \"info\", \"warn\" or \"error\"");
  }
  target = text;
  return {};
}

struct Key {
  const char* name;
  const char* variable;  ///< Environment variable, or "".
  Status (*set)(Config&, const Json&);
};

// Every setting, once. The README's table and `check-config` follow this order.
const Key kKeys[] = {
    {"redis", "",
     [](Config& c, const Json& v) -> Status {
       if (auto status = SetEndpoints(c.redis, v, 6379); !status) return status;
       if (c.redis.empty()) return Error("at least one server is needed");
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
     [](Config& c, const Json& v) -> Status {
       if (auto status = SetTexts(c.tags, v); !status) return status;
       for (const std::string& tag : c.tags) {
         if (!IsLabel(tag)) return Error("tag \"" + tag + "\" is no DNS label: letters, digits and '-', at most 63");
         if (tag == "master" || tag == "replica" || tag == "no-failover" || tag.starts_with("shard-"))
           return Error("tag \"" + tag + "\" is the agent's own");
       }
       return {};
     }},
    {"advertise", "",
     [](Config& c, const Json& v) -> Status {
       std::string text;
       if (auto status = SetText(text, v); !status) return status;
       auto endpoint = redis::ParseEndpoint(text, 1);
       if (!endpoint) return Error(endpoint.error().message);
       if (endpoint->is_unix()) return Error("clients cannot dial a unix socket: expected HOST or HOST:PORT");
       // Without a port the one that Redis listens on is meant: only then does the default matter.
       if (redis::ParseEndpoint(text, 2).value_or(*endpoint) != *endpoint) endpoint->port = 0;
       c.advertise = *endpoint;
       return {};
     }},
    {"consul", "CONSUL_HTTP_ADDR",
     [](Config& c, const Json& v) -> Status {
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
     [](Config& c, const Json& v) -> Status {
       milliseconds hang_after{};
       if (auto status = SetDuration(hang_after, v, milliseconds(100), milliseconds(3600000)); !status) return status;
       c.hang_after = hang_after;
       return {};
     }},
    // The upstream is asked once a second.
    {"replica_max_lag", "",
     [](Config& c, const Json& v) -> Status {
       return SetDuration(c.replica_lag.max_age, v, milliseconds(2000), std::chrono::hours(24));
     }},
    {"replica_max_lag_bytes", "",
     [](Config& c, const Json& v) -> Status {
       if (!v.is_number_unsigned() || v.get<std::uint64_t>() == 0 || v.get<std::uint64_t>() > kMaxLagBytes) {
         return Error("expected a whole number of bytes, 1 or more");
       }
       c.replica_lag.max_bytes = v.get<std::int64_t>();
       return {};
     }},
    // The claim is read once a second: a shorter lease would expire between two reads.
    {"lease", "",
     [](Config& c, const Json& v) -> Status {
       milliseconds lease{};
       if (auto status = SetDuration(lease, v, milliseconds(2000), milliseconds(3600000)); !status) return status;
       c.lease = lease;
       return {};
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

const Key* FindKey(const std::string& name) {
  for (const Key& key : kKeys) {
    if (name == key.name) return &key;
  }
  return nullptr;
}

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

/// The flag of a key: the list `sentinels` is given one by one.
std::string FlagOf(const std::string& key) {
  std::string flag = key == "sentinels" ? "--sentinel" : "--" + key;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

constexpr char kGroupsKey[] = "groups";
/// More groups has no host; each costs Consul two or three connections.
constexpr std::size_t kMaxGroups = 1000;

/// Those that are the agent's and not a group's.
bool IsShared(const std::string& key) {
  static const std::set<std::string> kShared = {
      "discover", "consul", "ttl", "deregister_critical_service_after", "listen", "log_level", "log_format"};
  return kShared.contains(key) || key.starts_with("consul_");
}

std::string NearestKey(const std::string& name) {
  if (Distance(name, kGroupsKey) <= 2) return kGroupsKey;
  const Key* nearest = std::min_element(std::begin(kKeys), std::end(kKeys), [&name](const Key& a, const Key& b) {
    return Distance(name, a.name) < Distance(name, b.name);
  });
  return nearest->name;
}

/// "line 3" of a byte offset that nlohmann's message carries; its own text is kept out, since it may quote a secret.
std::string LineOf(const std::string& text, std::size_t byte) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(byte, text.size()));
  return "line " + std::to_string(1 + std::count(text.begin(), end, '\n'));
}

/// Remembers where a document ends to be JSON. Used instead of exceptions.
struct ErrorPosition : nlohmann::json_sax<Json> {
  std::size_t at = 0;
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    at = position;
    return false;
  }
};

/// Names of the keys that were set somewhere.
using GivenKeys = std::set<std::string, std::less<>>;

Status ApplyObject(Config& config, const std::string& place, const Json& object, GivenKeys& given) {
  for (const auto& [name, value] : object.items()) {
    const Key* key = FindKey(name);
    if (key == nullptr) {
      return Error(place + ": unknown key \"" + name.substr(0, 64) + "\"; did you mean \"" + NearestKey(name) + "\"?");
    }
    if (auto status = key->set(config, value); !status)
      return Error(std::string(place).append(": ").append(name).append(": ").append(status.error()));
    given.insert(name);
  }
  return {};
}

/// `groups`: what the file says of each of several groups, which is read when all that is shared is known.
Status ApplyFile(Config& config, const std::string& path, GivenKeys& given, Json& groups) {
  const auto text = ReadFile(path);
  if (!text) return Error(text.error());
  Json document = Json::parse(*text, nullptr, false, true);
  if (document.is_discarded()) {
    ErrorPosition position;
    Json::sax_parse(*text, &position, Json::input_format_t::json, true, true);
    return Error(path + ": not valid JSON at " + LineOf(*text, position.at));
  }
  if (!document.is_object()) return Error(path + ": expected a JSON object");
  if (const auto found = document.find(kGroupsKey); found != document.end()) {
    groups = std::move(*found);
    document.erase(kGroupsKey);
    if (!groups.is_array() || groups.empty()) return Error(path + ": groups: expected a list of at least one group");
    if (groups.size() > kMaxGroups) {
      return Error(path + ": groups: at most " + std::to_string(kMaxGroups) + " groups are possible");
    }
  }
  return ApplyObject(config, path, document, given);
}

Status ApplyEnvironment(Config& config, const std::map<std::string, std::string>& environment) {
  const auto get = [&environment](const char* name) -> const std::string* {
    const auto found = environment.find(name);
    return found == environment.end() || found->second.empty() ? nullptr : &found->second;
  };
  for (const Key& key : kKeys) {
    const std::string* value = *key.variable == '\0' ? nullptr : get(key.variable);
    if (value == nullptr) continue;
    if (auto status = key.set(config, *value); !status) return Error(std::string(key.variable) + ": " + status.error());
  }
  // Secrets by value are taken from the environment alone, as Consul's and Redis's own tools do.
  if (const auto* token = get("CONSUL_HTTP_TOKEN"); token != nullptr && get("CONSUL_HTTP_TOKEN_FILE") == nullptr) {
    config.consul_token = Secret(*token);  // The file wins, as with Consul's tools.
  }
  if (const auto* password = get("REDISCLI_AUTH")) config.redis_password = Secret(*password);
  // Consul's tools take a bare host:port, which CONSUL_HTTP_SSL turns into https; so it does their default.
  if (const auto* ssl = get("CONSUL_HTTP_SSL")) {
    bool secure = false;
    if (auto status = SetBool(secure, *ssl); !status) return Error("CONSUL_HTTP_SSL: " + status.error());
    if (secure && config.consul.url == Config().consul.url) config.consul.url = "https://127.0.0.1:8500";
    if (secure && config.consul.url.find("://") == std::string::npos)
      config.consul.url = "https://" + config.consul.url;
  }
  return {};
}

/// What is not given for Sentinel is as for Redis: as a rule one CA signs for both. Certificate and key go together.
void InheritTls(TlsSettings& sentinel, const TlsSettings& redis, const GivenKeys& given) {
  if (!given.contains("sentinel_tls")) sentinel.enabled = redis.enabled;
  if (!sentinel.enabled) return;
  if (!given.contains("sentinel_ca_file")) sentinel.options.ca_file = redis.options.ca_file;
  if (!given.contains("sentinel_client_cert") && !given.contains("sentinel_client_key")) {
    sentinel.options.client_cert = redis.options.client_cert;
    sentinel.options.client_key = redis.options.client_key;
  }
  if (!given.contains("sentinel_tls_server_name")) sentinel.options.server_name = redis.options.server_name;
  if (!given.contains("sentinel_tls_verify")) sentinel.options.verify = redis.options.verify;
}

/// Reads certificates and keys. `kind` is redis or sentinel, the start of the keys' names.
/// `clients`: those that were made already.
Status OpenTls(TlsSettings& tls, const std::string& kind, const GivenKeys& given,
               std::vector<std::shared_ptr<redis::TlsClient>>& clients) {
  if (!tls.enabled) {
    for (const char* rest : {"_ca_file", "_client_cert", "_client_key", "_tls_server_name", "_tls_verify"}) {
      if (!given.contains(kind + rest)) continue;
      return Error(
          std::string(kind).append(rest).append(": is of no use without \"").append(kind).append("_tls\": true"));
    }
    return {};
  }
  for (const auto& made : clients) {
    if (made->options() == tls.options) tls.client = made;
  }
  if (tls.client) return {};
  auto client = redis::TlsClient::Create(tls.options);
  if (!client) return Error(kind + "_tls: " + client.error().message);
  tls.client = *std::move(client);
  clients.push_back(tls.client);
  return {};
}

/// Derives what was not given, and checks that what was given fits together.
Status Complete(Config& config, const GivenKeys& given, std::vector<std::shared_ptr<redis::TlsClient>>& clients) {
  InheritTls(config.sentinel_tls, config.redis_tls, given);
  if (auto status = OpenTls(config.redis_tls, "redis", given, clients); !status) return status;
  if (auto status = OpenTls(config.sentinel_tls, "sentinel", given, clients); !status) return status;
  if (config.master_service.empty()) config.master_service = config.service;
  if (config.replica_service.empty()) config.replica_service = config.service;
  if (config.advertise && config.advertise->port != 0 && config.redis.size() > 1) {
    return Error("advertise: one port cannot stand for several servers: give the host alone");
  }
  for (const redis::Endpoint& endpoint : config.redis) {
    if (endpoint.is_unix() && (!config.advertise || config.advertise->port == 0)) {
      return Error("advertise: a HOST:PORT for clients is needed, since " + endpoint.ToString() + " has none");
    }
  }
  return {};
}

/// With discovery Sentinel tells what these would.
Status CheckDiscovery(const Config& config, const GivenKeys& given) {
  for (const char* name : {"redis", "master_name", "service", "master_service", "replica_service"}) {
    if (!given.contains(name)) continue;
    return Error(std::string(name) + ": is told by Sentinel with discover: leave it out, or set it in groups");
  }
  if (config.advertise && config.advertise->port != 0) {
    return Error("advertise: one port cannot stand for several servers: give the host alone");
  }
  return {};
}

std::string NameOfGroup(std::size_t index) { return "groups[" + std::to_string(index) + "]"; }

/// Two groups under one name would fight about it, and so would two that publish one server.
Status CheckApart(const std::vector<Config>& groups) {
  std::map<std::string, std::size_t> services;
  std::map<redis::Endpoint, std::size_t> servers;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    for (const std::string& name :
         std::set<std::string>{groups[i].service, groups[i].master_service, groups[i].replica_service}) {
      const auto [other, is_new] = services.emplace(name, i);
      if (is_new) continue;
      return Error(NameOfGroup(i) + ": the service \"" + name + "\" is also that of " + NameOfGroup(other->second) +
                   ": give each group a service of its own");
    }
    for (const redis::Endpoint& server : groups[i].redis) {
      const auto [other, is_new] = servers.emplace(server, i);
      if (is_new) continue;
      return Error(NameOfGroup(i) + ": redis: " + server.ToString() + " is also in " + NameOfGroup(other->second) +
                   ": a server belongs to one group");
    }
  }
  return {};
}

/// Each element over what is set outside of the groups.
Status ApplyGroups(Config& config, const std::string& path, const Json& groups, const GivenKeys& given) {
  std::vector<std::shared_ptr<redis::TlsClient>> clients;
  std::vector<Config> all;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const std::string place = path + ": " + NameOfGroup(i);
    if (!groups[i].is_object()) return Error(place + ": expected an object with a group's settings");
    for (const auto& [name, value] : groups[i].items()) {
      if (IsShared(name)) {
        return Error(std::string(place).append(": ").append(name) + ": is one for all groups: set it outside of them");
      }
      if (name == kGroupsKey) return Error(place + ": a group has no groups");
    }
    Config& group = all.emplace_back(config);
    GivenKeys given_here = given;
    if (auto status = ApplyObject(group, place, groups[i], given_here); !status) return status;
    if (auto status = Complete(group, given_here, clients); !status) return Error(place + ": " + status.error());
  }
  if (auto status = CheckApart(all); !status) return Error(path + ": " + status.error());
  config.groups = std::move(all);
  return {};
}

/// Of several groups the flag `service` chooses one.
Status ChooseGroup(Config& config, const std::string& service) {
  std::erase_if(config.groups, [&service](const Config& group) { return group.service != service; });
  if (config.groups.empty()) return Error("--service: no group of the file has the service \"" + service + "\"");
  return {};
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

tl::expected<milliseconds, std::string> ParseDuration(std::string_view text) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, number);
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  const std::int64_t scale = unit == "ms" ? 1 : unit == "s" ? 1000 : unit == "m" ? 60000 : unit == "h" ? 3600000 : 0;
  constexpr std::int64_t kMost = 1000000000;  // Far above every bound, far below an overflow.
  if (code != std::errc{} || number < 0 || number > kMost || scale == 0) {
    return Error("\"" + std::string(text.substr(0, 40)) +
                 "\" is no duration: expected a whole number and ms, s, m or h");
  }
  return milliseconds(number * scale);
}

tl::expected<Config, std::string> LoadConfig(const ConfigSources& sources) {
  Config config;
  GivenKeys given;
  if (const auto found = sources.environment.find("CREDENTIALS_DIRECTORY"); found != sources.environment.end()) {
    config.credentials_directory = found->second;
  }
  Json groups;
  if (sources.file) {
    if (auto status = ApplyFile(config, *sources.file, given, groups); !status) return Error(status.error());
  }
  if (auto status = ApplyEnvironment(config, sources.environment); !status) return Error(status.error());
  std::optional<std::string> chosen;
  for (const auto& [name, values] : sources.flags) {
    if (!groups.is_null() && name == "service") {
      chosen = values.front();
      continue;
    }
    if (!groups.is_null() && (name == "redis" || name == "master_name" || name == "advertise")) {
      return Error(FlagOf(name) + ": the settings file has several groups: set it there for the one that is meant");
    }
    const Json value = values.size() == 1 ? Json(values.front()) : Json(values);
    if (auto status = FindKey(name)->set(config, value); !status) return Error(FlagOf(name) + ": " + status.error());
    given.insert(name);
  }
  config.consul.token = config.consul_token.Current();
  Status status;
  std::vector<std::shared_ptr<redis::TlsClient>> clients;
  if (!config.discover.empty()) {
    // These are what discovered groups start from.
    status = CheckDiscovery(config, given);
    if (status) status = Complete(config, given, clients);
    if (!status) return Error(status.error());
  }
  if (groups.is_null()) {
    if (config.discover.empty()) status = Complete(config, given, clients);
  } else {
    status = ApplyGroups(config, *sources.file, groups, given);
    if (status && chosen) status = ChooseGroup(config, *chosen);
  }
  if (!status) return Error(status.error());
  return config;
}

std::vector<Config> GroupsOf(const Config& config) {
  if (config.groups.empty() && config.discover.empty()) return {config};
  return config.groups;
}

redis::Access Config::RedisAccess() const {
  return {.credentials =
              [user = redis_user, password = redis_password]() mutable {
                return redis::Credentials{.user = user, .password = password.Current()};
              },
          .tls = redis_tls.client};
}

redis::Access Config::SentinelAccess() const {
  return {.credentials =
              [user = sentinel_user, password = sentinel_password]() mutable {
                return redis::Credentials{.user = user, .password = password.Current()};
              },
          .tls = sentinel_tls.client};
}

namespace {

/// What one group runs with, the shared settings included.
Json Describe(const Config& config) {
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

/// As Describe(), with the keys that are shared, or those that are not.
Json DescribePart(const Config& config, bool shared) {
  Json part = Json::object();
  const Json whole = Describe(config);
  for (const auto& [name, value] : whole.items()) {
    if (IsShared(name) == shared) part[name] = value;
  }
  return part;
}

}  // namespace

std::string DescribeConfig(const Config& config) {
  Json object;
  if (config.groups.empty()) {
    object = Describe(config);
    object[kGroupsKey] = Json::array();
  } else {
    object = DescribePart(config, true);
    for (const Config& group : config.groups) object[kGroupsKey].push_back(DescribePart(group, false));
  }
  return object.dump(2, ' ', false, Json::error_handler_t::replace);
}

bool IsSameGroup(const Config& a, const Config& b) {
  const auto settings = [](const Config& config) {
    Json object = Describe(config);
    for (const char* of_the_process : {"discover", "listen", "log_level", "log_format"}) object.erase(of_the_process);
    return object;
  };
  return a.redis_password.IsSameSource(b.redis_password) && a.sentinel_password.IsSameSource(b.sentinel_password) &&
         a.consul_token.IsSameSource(b.consul_token) && settings(a) == settings(b);
}

}  // namespace rcb::agent
