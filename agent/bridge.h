#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "agent/config.h"
#include "agent/discovery.h"
#include "agent/event_loop.h"
#include "agent/status_server.h"
#include "agent/telemetry.h"
#include "agent/watcher.h"
#include "consul/client.h"
#include "redis/sentinel_directory.h"

namespace rcb::agent {

/// The running agent: a watcher for each group, what they share, and those that are to follow them after a reload.
class Bridge {
 public:
  /// Starts to watch. The error is a sentence: the settings make no client of Consul.
  static tl::expected<std::unique_ptr<Bridge>, std::string> Start(EventLoop& loop, const Config& config);
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;

  /// Takes other settings. Groups whose own did not change are left alone; a changed one is followed by its successor
  /// when that has heard of everything; one that is gone is deregistered. An error changes nothing.
  tl::expected<void, std::string> Reload(const Config& config);

  /// To be called every Watcher::kTick. True when a reload is through by this tick.
  bool OnTick();

  /// One line for the service manager.
  std::string Summary() const;

 private:
  struct WatchedGroup {
    Config config;
    std::unique_ptr<Watcher> watcher;
    // After a reload:
    std::optional<Config> next_config;
    std::unique_ptr<Watcher> next;
    std::chrono::steady_clock::time_point until{};  ///< When `next` takes over at the latest.
  };

  Bridge(EventLoop& loop, const Config& config, std::unique_ptr<consul::Client> client);
  std::unique_ptr<Watcher> MakeWatcher(const Config& config);
  void Discover();
  void Follow(const std::vector<Config>& wanted);
  void FollowDiscovered();
  void Listen(const std::optional<redis::Endpoint>& listen);
  void CountLag();
  void Remove(WatchedGroup group);
  void Succeed(WatchedGroup& group);
  void Forget(const std::vector<std::string>& service_ids);
  Status Describe() const;

  EventLoop& loop_;
  Telemetry telemetry_;
  Config config_;  ///< What is shared of it.
  std::unique_ptr<consul::Client> client_;
  redis::SentinelLinks links_;
  std::vector<WatchedGroup> groups_;
  std::optional<Discovery> discovery_;           ///< Absent where nothing is to be discovered.
  Discovery::Groups discovered_;                 ///< As it was last followed.
  std::map<redis::Endpoint, std::string> lost_;  ///< Sentinels that do not tell their groups, and why.
  std::vector<std::string> left_out_;            ///< Groups that cannot be watched, a sentence each.
  std::vector<std::unique_ptr<redis::SentinelDirectory>> directories_;
  bool reloading_ = false;
  std::optional<redis::Endpoint> listen_;
  std::unique_ptr<StatusServer> server_;  ///< Absent where nothing listens.
  std::optional<std::chrono::steady_clock::time_point> ticked_at_;
};

}  // namespace rcb::agent
