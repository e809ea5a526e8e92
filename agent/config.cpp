#include "agent/config.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "agent/config_keys.h"
#include "agent/config_values.h"

namespace rcb::agent {
namespace {

using Json = ConfigJson;

constexpr std::size_t kMaxFileBytes = std::size_t{1024} * 1024;
/// More groups has no host; each costs Consul two or three connections.
constexpr std::size_t kMaxGroups = 1000;

tl::expected<std::string, std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) {
    std::array<char, 4096> block{};
    while (file.read(block.data(), block.size()) || file.gcount() > 0) {
      text.append(block.data(), static_cast<std::size_t>(file.gcount()));
      if (text.size() > kMaxFileBytes) return Refuse(path + " is larger than 1 MiB");
    }
  }
  if (!file.is_open() || file.bad() || (text.empty() && !file.eof())) {
    return Refuse("cannot read " + path + ": " + std::strerror(errno == 0 ? EIO : errno));
  }
  return text;
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

ConfigStatus ApplyObject(Config& config, const std::string& place, const Json& object, GivenKeys& given) {
  for (const auto& [name, value] : object.items()) {
    const ConfigKey* key = FindKey(name);
    if (key == nullptr) {
      return Refuse(place + ": unknown key \"" + name.substr(0, 64) + "\"; did you mean \"" + NearestKey(name) + "\"?");
    }
    if (auto status = key->set(config, value); !status)
      return Refuse(std::string(place).append(": ").append(name).append(": ").append(status.error()));
    given.insert(name);
  }
  return {};
}

/// `groups`: what the file says of each of several groups, which is read when all that is shared is known.
ConfigStatus ApplyFile(Config& config, const std::string& path, GivenKeys& given, Json& groups) {
  const auto text = ReadFile(path);
  if (!text) return Refuse(text.error());
  Json document = Json::parse(*text, nullptr, false, true);
  if (document.is_discarded()) {
    ErrorPosition position;
    Json::sax_parse(*text, &position, Json::input_format_t::json, true, true);
    return Refuse(path + ": not valid JSON at " + LineOf(*text, position.at));
  }
  if (!document.is_object()) return Refuse(path + ": expected a JSON object");
  if (const auto found = document.find(kGroupsKey); found != document.end()) {
    groups = std::move(*found);
    document.erase(kGroupsKey);
    if (!groups.is_array() || groups.empty()) return Refuse(path + ": groups: expected a list of at least one group");
    if (groups.size() > kMaxGroups) {
      return Refuse(path + ": groups: at most " + std::to_string(kMaxGroups) + " groups are possible");
    }
  }
  return ApplyObject(config, path, document, given);
}

ConfigStatus ApplyEnvironment(Config& config, const std::map<std::string, std::string>& environment) {
  const auto get = [&environment](const char* name) -> const std::string* {
    const auto found = environment.find(name);
    return found == environment.end() || found->second.empty() ? nullptr : &found->second;
  };
  for (const ConfigKey& key : ConfigKeys()) {
    const std::string* value = *key.variable == '\0' ? nullptr : get(key.variable);
    if (value == nullptr) continue;
    if (auto status = key.set(config, *value); !status)
      return Refuse(std::string(key.variable) + ": " + status.error());
  }
  // Secrets by value are taken from the environment alone, as Consul's and Redis's own tools do.
  if (const auto* token = get("CONSUL_HTTP_TOKEN"); token != nullptr && get("CONSUL_HTTP_TOKEN_FILE") == nullptr) {
    config.consul_token = Secret(*token);  // The file wins, as with Consul's tools.
  }
  if (const auto* password = get("REDISCLI_AUTH")) config.redis_password = Secret(*password);
  // Consul's tools take a bare host:port, which CONSUL_HTTP_SSL turns into https; so it does their default.
  if (const auto* ssl = get("CONSUL_HTTP_SSL")) {
    bool secure = false;
    if (auto status = SetBool(secure, *ssl); !status) return Refuse("CONSUL_HTTP_SSL: " + status.error());
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
ConfigStatus OpenTls(TlsSettings& tls, const std::string& kind, const GivenKeys& given,
                     std::vector<std::shared_ptr<redis::TlsClient>>& clients) {
  if (!tls.enabled) {
    for (const char* rest : {"_ca_file", "_client_cert", "_client_key", "_tls_server_name", "_tls_verify"}) {
      if (!given.contains(kind + rest)) continue;
      return Refuse(
          std::string(kind).append(rest).append(": is of no use without \"").append(kind).append("_tls\": true"));
    }
    return {};
  }
  for (const auto& made : clients) {
    if (made->options() == tls.options) tls.client = made;
  }
  if (tls.client) return {};
  auto client = redis::TlsClient::Create(tls.options);
  if (!client) return Refuse(kind + "_tls: " + client.error().message);
  tls.client = *std::move(client);
  clients.push_back(tls.client);
  return {};
}

/// Derives what was not given, and checks that what was given fits together.
ConfigStatus Complete(Config& config, const GivenKeys& given, std::vector<std::shared_ptr<redis::TlsClient>>& clients) {
  InheritTls(config.sentinel_tls, config.redis_tls, given);
  if (auto status = OpenTls(config.redis_tls, "redis", given, clients); !status) return status;
  if (auto status = OpenTls(config.sentinel_tls, "sentinel", given, clients); !status) return status;
  if (config.master_service.empty()) config.master_service = config.service;
  if (config.replica_service.empty()) config.replica_service = config.service;
  if (config.advertise && config.advertise->port != 0 && config.redis.size() > 1) {
    return Refuse("advertise: one port cannot stand for several servers: give the host alone");
  }
  for (const redis::Endpoint& endpoint : config.redis) {
    if (endpoint.is_unix() && (!config.advertise || config.advertise->port == 0)) {
      return Refuse("advertise: a HOST:PORT for clients is needed, since " + endpoint.ToString() + " has none");
    }
  }
  return {};
}

/// With discovery Sentinel tells what these would.
ConfigStatus CheckDiscovery(const Config& config, const GivenKeys& given) {
  for (const char* name : {"redis", "master_name", "service", "master_service", "replica_service"}) {
    if (!given.contains(name)) continue;
    return Refuse(std::string(name) + ": is told by Sentinel with discover: leave it out, or set it in groups");
  }
  if (config.advertise && config.advertise->port != 0) {
    return Refuse("advertise: one port cannot stand for several servers: give the host alone");
  }
  return {};
}

std::string NameOfGroup(std::size_t index) { return "groups[" + std::to_string(index) + "]"; }

/// Two groups under one name would fight about it, and so would two that publish one server.
ConfigStatus CheckApart(const std::vector<Config>& groups) {
  std::map<std::string, std::size_t> services;
  std::map<redis::Endpoint, std::size_t> servers;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    for (const std::string& name :
         std::set<std::string>{groups[i].service, groups[i].master_service, groups[i].replica_service}) {
      const auto [other, is_new] = services.emplace(name, i);
      if (is_new) continue;
      return Refuse(NameOfGroup(i) + ": the service \"" + name + "\" is also that of " + NameOfGroup(other->second) +
                    ": give each group a service of its own");
    }
    for (const redis::Endpoint& server : groups[i].redis) {
      const auto [other, is_new] = servers.emplace(server, i);
      if (is_new) continue;
      return Refuse(NameOfGroup(i) + ": redis: " + server.ToString() + " is also in " + NameOfGroup(other->second) +
                    ": a server belongs to one group");
    }
  }
  return {};
}

/// Each element over what is set outside of the groups.
ConfigStatus ApplyGroups(Config& config, const std::string& path, const Json& groups, const GivenKeys& given) {
  std::vector<std::shared_ptr<redis::TlsClient>> clients;
  std::vector<Config> all;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const std::string place = path + ": " + NameOfGroup(i);
    if (!groups[i].is_object()) return Refuse(place + ": expected an object with a group's settings");
    for (const auto& [name, value] : groups[i].items()) {
      if (IsShared(name)) {
        return Refuse(std::string(place).append(": ").append(name) + ": is one for all groups: set it outside of them");
      }
      if (name == kGroupsKey) return Refuse(place + ": a group has no groups");
    }
    Config& group = all.emplace_back(config);
    GivenKeys given_here = given;
    if (auto status = ApplyObject(group, place, groups[i], given_here); !status) return status;
    if (auto status = Complete(group, given_here, clients); !status) return Refuse(place + ": " + status.error());
  }
  if (auto status = CheckApart(all); !status) return Refuse(path + ": " + status.error());
  config.groups = std::move(all);
  return {};
}

/// Of several groups the flag `service` chooses one.
ConfigStatus ChooseGroup(Config& config, const std::string& service) {
  std::erase_if(config.groups, [&service](const Config& group) { return group.service != service; });
  if (config.groups.empty()) return Refuse("--service: no group of the file has the service \"" + service + "\"");
  return {};
}

/// As DescribeKeys(), with the keys that are shared, or those that are not.
Json DescribePart(const Config& config, bool shared) {
  Json part = Json::object();
  const Json whole = DescribeKeys(config);
  for (const auto& [name, value] : whole.items()) {
    if (IsShared(name) == shared) part[name] = value;
  }
  return part;
}

}  // namespace

tl::expected<Config, std::string> LoadConfig(const ConfigSources& sources) {
  Config config;
  GivenKeys given;
  if (const auto found = sources.environment.find("CREDENTIALS_DIRECTORY"); found != sources.environment.end()) {
    config.credentials_directory = found->second;
  }
  Json groups;
  if (sources.file) {
    if (auto status = ApplyFile(config, *sources.file, given, groups); !status) return Refuse(status.error());
  }
  if (auto status = ApplyEnvironment(config, sources.environment); !status) return Refuse(status.error());
  std::optional<std::string> chosen;
  for (const auto& [name, values] : sources.flags) {
    if (!groups.is_null() && name == "service") {
      chosen = values.front();
      continue;
    }
    if (!groups.is_null() && (name == "redis" || name == "master_name" || name == "advertise")) {
      return Refuse(FlagOf(name) + ": the settings file has several groups: set it there for the one that is meant");
    }
    const Json value = values.size() == 1 ? Json(values.front()) : Json(values);
    if (auto status = FindKey(name)->set(config, value); !status) return Refuse(FlagOf(name) + ": " + status.error());
    given.insert(name);
  }
  config.consul.token = config.consul_token.Current();
  ConfigStatus status;
  std::vector<std::shared_ptr<redis::TlsClient>> clients;
  if (!config.discover.empty()) {
    // These are what discovered groups start from.
    status = CheckDiscovery(config, given);
    if (status) status = Complete(config, given, clients);
    if (!status) return Refuse(status.error());
  }
  if (groups.is_null()) {
    if (config.discover.empty()) status = Complete(config, given, clients);
  } else {
    status = ApplyGroups(config, *sources.file, groups, given);
    if (status && chosen) status = ChooseGroup(config, *chosen);
  }
  if (!status) return Refuse(status.error());
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

std::string DescribeConfig(const Config& config) {
  Json object;
  if (config.groups.empty()) {
    object = DescribeKeys(config);
    object[kGroupsKey] = Json::array();
  } else {
    object = DescribePart(config, true);
    for (const Config& group : config.groups) object[kGroupsKey].push_back(DescribePart(group, false));
  }
  return object.dump(2, ' ', false, Json::error_handler_t::replace);
}

bool IsSameGroup(const Config& a, const Config& b) {
  const auto settings = [](const Config& config) {
    Json object = DescribeKeys(config);
    for (const char* of_the_process : {"discover", "listen", "log_level", "log_format"}) object.erase(of_the_process);
    return object;
  };
  return a.redis_password.IsSameSource(b.redis_password) && a.sentinel_password.IsSameSource(b.sentinel_password) &&
         a.consul_token.IsSameSource(b.consul_token) && settings(a) == settings(b);
}

}  // namespace rcb::agent
