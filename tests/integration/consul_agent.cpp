#include "tests/integration/consul_agent.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "tests/integration/http_call.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/wait_until.h"

namespace rcb::integration {
namespace {

using Json = nlohmann::json;

int Badness(const std::string& status) { return status == "passing" ? 0 : status == "warning" ? 1 : 2; }

std::uint16_t PortFor(const ConsulAgent::Options& options, std::uint16_t usual) {
  return options.network_namespace.empty() ? FreePort() : usual;
}

/// A UUID that is the same each time.
std::string NodeId(const std::string& name) {
  std::array<char, 37> id{};
  std::snprintf(id.data(), id.size(), "00000000-0000-4000-8000-%012zx", std::hash<std::string>{}(name)&0xffffffffffffU);
  return id.data();
}

std::string ServiceId(const std::string& service, std::uint16_t port) {
  return "by-hand-" + service + "-" + std::to_string(port);
}

}  // namespace

bool HealthEntry::HasTag(const std::string& tag) const {
  return std::find(tags.begin(), tags.end(), tag) != tags.end();
}

std::string HealthEntry::Meta(const std::string& key) const {
  const auto found = meta.find(key);
  return found == meta.end() ? "" : found->second;
}

ConsulAgent::ConsulAgent(const TestFolder& folder, const Options& options)
    : host_(options.host),
      network_namespace_(options.network_namespace),
      http_port_(PortFor(options, 8500)),
      https_port_(options.https_port),
      dns_port_(PortFor(options, 8600)),
      serf_port_(PortFor(options, 8301)),
      folder_(folder.path() / ("consul-" + host_ + "-" + std::to_string(http_port_))),
      token_(options.acl ? management_token() : "") {
  std::filesystem::create_directory(folder_);
  Json config = {{"server", options.join.empty()},
                 {"node_name", options.node},
                 {"data_dir", (folder_ / "data").string()},
                 {"bind_addr", host_},
                 {"client_addr", host_},
                 {"ports",
                  {{"http", http_port_},
                   {"dns", dns_port_},
                   {"server", PortFor(options, 8300)},
                   {"serf_lan", serf_port_},
                   {"serf_wan", -1}}},
                 {"enable_script_checks", options.script_checks},
                 {"performance", {{"raft_multiplier", 1}}},
                 {"disable_coordinates",
                  true},  // They are written to the Raft log all the time; a bridge's writes must stand out.
                 {"disable_update_check", true},
                 {"disable_host_node_id", true},
                 {"skip_leave_on_interrupt", true}};
  if (options.join.empty()) config["bootstrap_expect"] = std::max<std::size_t>(1, options.servers.size());
  if (!options.join.empty() || !options.servers.empty()) {
    config["retry_join"] = options.join.empty() ? options.servers : std::vector<std::string>{options.join};
    config["retry_interval"] = "1s";
    // As of a machine that is known: a node that returned with another id would be refused its name for a while.
    config["node_id"] = NodeId(folder_.filename().string());
  }
  if (!options.dns_max_stale.empty()) config["dns_config"] = {{"max_stale", options.dns_max_stale}};
  if (options.acl) {
    config["acl"] = {{"enabled", true},
                     {"default_policy", "deny"},
                     {"tokens", {{"master", token_}, {"agent", token_}, {"default", token_}}}};
  }
  if (!options.settings.empty()) config.merge_patch(Json::parse(options.settings));
  WriteFile(folder_ / "consul.json", config.dump(2));
}

void ConsulAgent::Start() {
  process_ = std::make_unique<Process>(
      Process::Options{.command = {"consul", "agent", "-config-file", (folder_ / "consul.json").string()},
                       .output = folder_ / "log",
                       .network_namespace = network_namespace_});
}

void ConsulAgent::Wipe() const { std::filesystem::remove_all(folder_ / "data"); }

std::string ConsulAgent::RememberedServices() const {
  std::string text;
  std::error_code none_yet;
  for (const auto& file : std::filesystem::directory_iterator(folder_ / "data" / "services", none_yet)) {
    text += ReadFile(file.path());
  }
  return text;
}

std::string ConsulAgent::Leader() const {
  const HttpReply reply = HttpCall("GET", url() + "/v1/status/leader", "", token_);
  const Json leader = reply.status == 200 ? Json::parse(reply.body, nullptr, false) : Json();
  return leader.is_string() ? leader.get<std::string>() : "";
}

std::int64_t ConsulAgent::WaitForLeader() const {
  std::int64_t when = 0;
  const auto has_leader = [&] {
    const bool is_known = !Leader().empty();
    when = MonotonicMicros();
    return is_known;
  };
  if (!WaitUntil(has_leader, std::chrono::seconds(20))) {
    throw std::runtime_error("Consul at " + url() + " has no leader; see " + (folder_ / "log").string());
  }
  return when;
}

std::string ConsulAgent::CreateToken(const std::string& rules) const {
  static int policies = 0;
  const std::string name = "policy-" + std::to_string(++policies);
  HttpReply policy;
  // Just elected, a leader is "in legacy mode" until it has seen that all servers know the ACLs of 1.4.
  const auto created = [&] {
    policy = HttpCall("PUT", url() + "/v1/acl/policy", Json{{"Name", name}, {"Rules", rules}}.dump(), token_);
    return policy.status == 200 || policy.body.find("legacy mode") == std::string::npos;
  };
  WaitUntil(created, std::chrono::seconds(20), std::chrono::milliseconds(50));
  const HttpReply token =
      HttpCall("PUT", url() + "/v1/acl/token", Json{{"Policies", Json::array({Json{{"Name", name}}})}}.dump(), token_);
  const Json body = Json::parse(token.body, nullptr, false);
  if (policy.status != 200 || token.status != 200 || !body.is_object()) {
    throw std::runtime_error("Consul created no token: " + policy.body + " " + token.body);
  }
  return body.at("SecretID").get<std::string>();
}

bool ConsulAgent::RevokeToken(const std::string& token) const {
  const Json self = Json::parse(HttpCall("GET", url() + "/v1/acl/token/self", "", token).body, nullptr, false);
  return self.is_object() &&
         HttpCall("DELETE", url() + "/v1/acl/token/" + self.value("AccessorID", ""), "", token_).status == 200;
}

std::vector<HealthEntry> ConsulAgent::Health(const std::string& service) const {
  const Json body = Json::parse(HttpCall("GET", url() + "/v1/health/service/" + service, "", token_).body, nullptr,
                                /*allow_exceptions=*/false);
  std::vector<HealthEntry> entries;
  if (!body.is_array()) return entries;
  for (const Json& item : body) {
    HealthEntry entry;
    std::string host = item.at("Service").at("Address").get<std::string>();
    if (host.empty()) host = item.at("Node").at("Address").get<std::string>();
    entry.address = host + ":" + std::to_string(item.at("Service").at("Port").get<int>());
    const Json& tags = item.at("Service").at("Tags");
    if (tags.is_array()) entry.tags = tags.get<std::vector<std::string>>();
    const Json& meta = item.at("Service").at("Meta");
    if (meta.is_object()) entry.meta = meta.get<std::map<std::string, std::string>>();
    entry.status = "passing";
    for (const Json& check : item.at("Checks")) {
      const std::string status = check.at("Status").get<std::string>();
      if (Badness(status) > Badness(entry.status)) entry.status = status;
      if (!check.at("ServiceID").get<std::string>().empty()) {
        entry.output += check.at("Output").get<std::string>() + "\n";
      }
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

bool ConsulAgent::HoldsLocally(const std::string& service, std::uint16_t port, const std::string& tag) const {
  const Json body = Json::parse(HttpCall("GET", url() + "/v1/agent/health/service/name/" + service, "", token_).body,
                                nullptr, /*allow_exceptions=*/false);
  return body.is_array() && std::any_of(body.begin(), body.end(), [&](const Json& item) {
           const Json& instance = item.at("Service");
           const Json& tags = instance.at("Tags");
           return item.at("AggregatedStatus") == "passing" && instance.at("Port") == port &&
                  std::find(tags.begin(), tags.end(), tag) != tags.end();
         });
}

std::uint64_t ConsulAgent::RaftIndex() const {
  const Json body = Json::parse(HttpCall("GET", url() + "/v1/agent/self", "", token_).body, nullptr, false);
  if (!body.is_object()) return 0;
  // Stats are strings, all of them.
  return std::stoull(body.value("/Stats/raft/last_log_index"_json_pointer, std::string("0")));
}

std::optional<std::uint64_t> ConsulAgent::RecentWrites() const {
  const Json body = Json::parse(HttpCall("GET", url() + "/v1/agent/metrics", "", token_).body, nullptr, false);
  if (!body.is_object() || !body.contains("Samples")) return std::nullopt;
  for (const Json& sample : body["Samples"]) {
    if (sample.value("Name", "") == "consul.raft.fsm.apply") return sample.value("Count", std::uint64_t{0});
  }
  return 0;
}

bool ConsulAgent::Register(const std::string& service, std::uint16_t port, const std::string& tag) const {
  const Json registration = {
      {"ID", ServiceId(service, port)}, {"Name", service}, {"Tags", {tag}},
      {"Address", "127.0.0.1"},         {"Port", port},    {"Check", {{"TTL", "600s"}, {"Status", "passing"}}}};
  return HttpCall("PUT", url() + "/v1/agent/service/register", registration.dump(), token_).status == 200;
}

bool ConsulAgent::RegisterScript(const std::string& service, std::uint16_t port, const std::string& tag,
                                 const std::vector<std::string>& command) const {
  const Json registration = {
      {"ID", ServiceId(service, port)}, {"Name", service}, {"Tags", {tag}},
      {"Address", "127.0.0.1"},         {"Port", port},    {"Check", {{"Args", command}, {"Interval", "5s"}}}};
  return HttpCall("PUT", url() + "/v1/agent/service/register", registration.dump(), token_).status == 200;
}

bool ConsulAgent::Deregister(const std::string& service, std::uint16_t port) const {
  return HttpCall("PUT", url() + "/v1/agent/service/deregister/" + ServiceId(service, port), "", token_).status == 200;
}

}  // namespace rcb::integration
