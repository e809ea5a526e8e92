#include "agent/discovery.h"

#include <algorithm>
#include <set>

namespace rcb::agent {
namespace {

constexpr std::size_t kMaxLabel = 63;

bool IsLabelCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

std::string LabelOf(std::string name) {
  name.resize(std::min(name.size(), kMaxLabel));
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !IsLabelCharacter(c); }, '-');
  return name;
}

/// What keeps the two from being watched side by side; empty: nothing.
std::string Conflict(const Config& group, const Config& other) {
  if (group.master_name == other.master_name) return "it is in the settings as " + other.service;
  for (const std::string& service : {other.service, other.master_service, other.replica_service}) {
    if (group.service == service) return "the service " + service + " is that of the group " + other.master_name;
  }
  for (const redis::Endpoint& server : group.redis) {
    if (std::find(other.redis.begin(), other.redis.end(), server) != other.redis.end()) {
      return server.ToString() + " is also in the group " + other.master_name;
    }
  }
  return {};
}

}  // namespace

void Discovery::OnGroups(const std::vector<redis::MonitoredGroup>& groups, TimePoint now) {
  heard_ = true;
  for (const redis::MonitoredGroup& group : groups) {
    Known* known = nullptr;
    for (const redis::Endpoint& server : group.servers) {
      if (std::find(hosts_.begin(), hosts_.end(), server.host) == hosts_.end()) continue;
      if (known == nullptr) known = &groups_[group.name];
      known->servers[server] = now;
    }
    if (const auto found = groups_.find(group.name); found != groups_.end()) found->second.told_at = now;
  }
  // Judged when a Sentinel speaks: while all are silent nothing is forgotten.
  std::erase_if(groups_, [now](const auto& item) { return now - item.second.told_at > kForgetGroupAfter; });
  for (auto& [name, known] : groups_) {
    std::erase_if(known.servers, [now](const auto& item) { return now - item.second > kForgetServerAfter; });
  }
  std::erase_if(groups_, [](const auto& item) { return item.second.servers.empty(); });
}

Discovery::Groups Discovery::Local() const {
  Groups local;
  for (const auto& [name, known] : groups_) {
    for (const auto& [server, told_at] : known.servers) local[name].push_back(server);
  }
  return local;
}

Config DiscoveredGroup(const Config& config, const std::string& name, const std::vector<redis::Endpoint>& servers) {
  Config group = config;
  group.groups.clear();
  group.redis = servers;
  group.master_name = name;
  group.service = group.master_service = group.replica_service = LabelOf(name);
  for (const redis::Endpoint& sentinel : config.discover) {
    const bool is_there = std::find(group.sentinels.begin(), group.sentinels.end(), sentinel) != group.sentinels.end();
    if (!is_there) group.sentinels.push_back(sentinel);
  }
  return group;
}

std::vector<Config> GroupsToWatch(const Config& config, const Discovery::Groups& discovered,
                                  std::vector<std::string>& left_out) {
  std::vector<Config> groups = GroupsOf(config);
  for (const auto& [name, servers] : discovered) {
    Config group = DiscoveredGroup(config, name, servers);
    std::string conflict;
    for (const Config& other : groups) {
      if (conflict.empty()) conflict = Conflict(group, other);
    }
    if (conflict.empty()) {
      groups.push_back(std::move(group));
    } else {
      left_out.push_back(std::string("the group ").append(name).append(" is not watched by discovery: ") + conflict);
    }
  }
  return groups;
}

}  // namespace rcb::agent
