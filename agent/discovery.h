#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "agent/config.h"
#include "redis/sentinel_view.h"

namespace rcb::agent {

/// Which groups have servers on this host, by what Sentinels tell of them. No I/O, reads no clock.
///
/// What is no longer told stays for a while: SENTINEL RESET forgets replicas until they are found again, and an
/// operator who changes a group removes it and monitors it anew. Silence of the Sentinels removes nothing.
class Discovery {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  /// A group's servers on this host, by Sentinel's name for the group.
  using Groups = std::map<std::string, std::vector<redis::Endpoint>>;

  static constexpr std::chrono::seconds kForgetGroupAfter{5};
  static constexpr std::chrono::seconds kForgetServerAfter{30};

  /// `hosts`: the addresses and names of this host.
  explicit Discovery(std::vector<std::string> hosts) : hosts_(std::move(hosts)) {}

  /// All that one Sentinel monitors.
  void OnGroups(const std::vector<redis::MonitoredGroup>& groups, TimePoint now);
  Groups Local() const;
  /// A Sentinel has told what it monitors.
  bool HasHeard() const { return heard_; }

 private:
  struct Known {
    TimePoint told_at{};
    std::map<redis::Endpoint, TimePoint> servers;  ///< Those of this host, and when each was last told.
  };

  std::vector<std::string> hosts_;
  std::map<std::string, Known> groups_;
  bool heard_ = false;
};

/// The settings of a discovered group: those outside of groups, and its name at Sentinel as the service, in which
/// whatever cannot stand in a DNS label becomes '-'.
Config DiscoveredGroup(const Config& config, const std::string& name, const std::vector<redis::Endpoint>& servers);

/// The groups to watch: those that the file names, and what was discovered besides. A discovered one gives way where it
/// would share its Sentinel's name, its service or a server with another; `left_out` tells of each such one, a
/// sentence.
std::vector<Config> GroupsToWatch(const Config& config, const Discovery::Groups& discovered,
                                  std::vector<std::string>& left_out);

}  // namespace rcb::agent
