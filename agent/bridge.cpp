#include "agent/bridge.h"

#include <algorithm>
#include <utility>

#include "agent/log.h"

namespace rcb::agent {
namespace {

/// How long a reload waits until the new settings have heard of everything, and a failover under way is over.
constexpr std::chrono::milliseconds kReloadPatience{5000};
/// A service manager shows one line.
constexpr std::size_t kMaxSummary = 400;

bool SharesServer(const Config& a, const Config& b) {
  return std::any_of(a.redis.begin(), a.redis.end(), [&b](const redis::Endpoint& server) {
    return std::find(b.redis.begin(), b.redis.end(), server) != b.redis.end();
  });
}

}  // namespace

tl::expected<std::unique_ptr<Bridge>, std::string> Bridge::Start(EventLoop& loop, const Config& config) {
  auto client = consul::Client::Create(loop.handle(), config.consul);
  if (!client) return tl::unexpected(client.error().message);
  return std::unique_ptr<Bridge>(new Bridge(loop, config, *std::move(client)));
}

Bridge::Bridge(EventLoop& loop, const Config& config, std::unique_ptr<consul::Client> client)
    : loop_(loop), config_(config), client_(std::move(client)), links_(loop.handle()) {
  SetUpLog(config_.log_level, config_.log_json);
  telemetry_.started = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  Discover();
  FollowDiscovered();
  Listen(config.listen);
}

/// Asks the Sentinels of the settings. What is known of groups stays known.
void Bridge::Discover() {
  directories_.clear();
  lost_.clear();
  if (config_.discover.empty()) {
    discovery_.reset();
    discovered_.clear();
    return;
  }
  if (!discovery_) {
    std::vector<std::string> hosts = HostAddresses();
    hosts.push_back(Watcher::HostName());
    discovery_.emplace(std::move(hosts));
  }
  for (const redis::Endpoint& sentinel : config_.discover) {
    directories_.push_back(std::make_unique<redis::SentinelDirectory>(
        loop_.handle(), links_, sentinel, config_.SentinelAccess(),
        redis::SentinelDirectory::Handlers{.on_groups =
                                               [this, sentinel](const std::vector<redis::MonitoredGroup>& groups) {
                                                 lost_.erase(sentinel);
                                                 discovery_->OnGroups(groups, std::chrono::steady_clock::now());
                                               },
                                           .on_lost =
                                               [this, sentinel](const redis::Error& error) {
                                                 std::string& told = lost_[sentinel];
                                                 if (std::exchange(told, error.message) == error.message) return;
                                                 Log(LogLevel::kWarn, "discovery", error.message);
                                               }}));
  }
}

void Bridge::FollowDiscovered() {
  const std::vector<std::string> before = std::exchange(left_out_, {});
  const std::vector<Config> wanted = GroupsToWatch(config_, discovered_, left_out_);
  for (const std::string& sentence : left_out_) {
    if (std::find(before.begin(), before.end(), sentence) == before.end()) {
      Log(LogLevel::kWarn, "discovery", sentence);
    }
  }
  Follow(wanted);
}

std::unique_ptr<Watcher> Bridge::MakeWatcher(const Config& config) {
  return std::make_unique<Watcher>(loop_.handle(), config, client_->Share(), links_, telemetry_);
}

tl::expected<void, std::string> Bridge::Reload(const Config& config) {
  // Watchers that stay keep the connections that they have.
  if (config.consul != config_.consul) {
    auto client = consul::Client::Create(loop_.handle(), config.consul);
    if (!client) return tl::unexpected(client.error().message);
    client_ = *std::move(client);
  }
  config_ = config;
  SetUpLog(config_.log_level, config_.log_json);
  Discover();
  FollowDiscovered();
  reloading_ = true;
  return {};
}

/// From the groups that are watched to those that are wanted.
void Bridge::Follow(const std::vector<Config>& wanted) {
  std::vector<WatchedGroup> before = std::exchange(groups_, {});
  // The predecessor of a group is the one of its name, else one whose name was changed: it has its servers.
  std::vector<std::size_t> predecessors(wanted.size(), before.size());
  std::vector<bool> is_followed(before.size());
  const auto follow = [&](const auto& fits) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      for (std::size_t j = 0; j < before.size() && predecessors[i] == before.size(); ++j) {
        if (is_followed[j] || !fits(wanted[i], before[j].config)) continue;
        predecessors[i] = j;
        is_followed[j] = true;
      }
    }
  };
  follow([](const Config& a, const Config& b) { return a.service == b.service; });
  follow(SharesServer);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (predecessors[i] == before.size()) {
      WatchedGroup& added = groups_.emplace_back();
      added.config = wanted[i];
      added.watcher = MakeWatcher(wanted[i]);
      added.watcher->Start();
      continue;
    }
    WatchedGroup group = std::move(before[predecessors[i]]);
    if (group.next && IsSameGroup(wanted[i], *group.next_config)) {  // It is on its way.
      groups_.push_back(std::move(group));
      continue;
    }
    group.next.reset();  // A second change outdates the first.
    group.next_config.reset();
    if (!IsSameGroup(wanted[i], group.config)) {
      group.next_config = wanted[i];
      group.next = MakeWatcher(wanted[i]);
      group.next->StartSilently(*group.watcher);
      group.until = std::chrono::steady_clock::now() + kReloadPatience;
    }
    groups_.push_back(std::move(group));
  }
  for (std::size_t j = 0; j < before.size(); ++j) {
    if (!is_followed[j]) Remove(std::move(before[j]));
  }
}

void Bridge::Remove(WatchedGroup group) {
  const std::vector<std::string> ids = group.watcher->ServiceIds();
  group.next.reset();
  group.watcher.reset();
  Forget(ids);
}

void Bridge::Succeed(WatchedGroup& group) {
  const std::vector<std::string> before = group.watcher->ServiceIds();
  group.watcher = std::move(group.next);
  group.config = *std::exchange(group.next_config, std::nullopt);
  group.watcher->TakeOver();
  Forget(before);
}

/// Removes the registrations of these that no group has any more.
void Bridge::Forget(const std::vector<std::string>& service_ids) {
  for (const std::string& id : service_ids) {
    const bool is_used = std::any_of(groups_.begin(), groups_.end(), [&id](const WatchedGroup& group) {
      const std::vector<std::string> used = group.watcher->ServiceIds();
      return std::find(used.begin(), used.end(), id) != used.end();
    });
    if (is_used) continue;
    client_->DeregisterService(id, [id](const consul::Result<void>& result) {
      if (result) {
        Log(LogLevel::kInfo, id, "deregistered: it is no longer configured");
      } else {
        Log(LogLevel::kWarn, id, "not deregistered: " + result.error().message);
      }
    });
  }
}

bool Bridge::OnTick() {
  CountLag();
  if (discovery_) {
    if (auto found = discovery_->Local(); found != discovered_) {
      discovered_ = std::move(found);
      FollowDiscovered();
    }
  }
  const auto now = std::chrono::steady_clock::now();
  bool pending = false;
  for (WatchedGroup& group : groups_) {
    group.watcher->OnTick();
    if (!group.next) continue;
    group.next->OnTick();
    const bool ready = group.next->IsFed() && !group.watcher->SeesElection();
    if (ready || now >= group.until) {
      Succeed(group);
    } else {
      pending = true;
    }
  }
  if (server_ && server_->is_asked()) server_->Answer({Describe(), telemetry_.tally});
  if (!reloading_ || pending) return false;
  reloading_ = false;
  if (config_.listen != listen_) Listen(config_.listen);
  return true;
}

std::string Bridge::Summary() const {
  if (groups_.empty()) return "no group that Sentinel tells of has a server on this host";
  std::string text;
  for (const WatchedGroup& group : groups_) {
    if (!text.empty()) text += "; ";
    if (groups_.size() > 1) text += group.config.service + ": ";
    text += group.watcher->Summary();
    if (text.size() > kMaxSummary) {
      text.resize(text.rfind(' ', kMaxSummary));
      return text + " …";
    }
  }
  return text;
}

Status Bridge::Describe() const {
  Status status;
  if (groups_.empty()) {
    status.at = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    status.version = RCB_VERSION;
    status.started = telemetry_.started;
    status.consul = config_.consul.url;
    if (!discovery_->HasHeard()) status.unready = "no Sentinel has told its groups";
  } else {
    status = groups_.front().watcher->Describe();
  }
  for (const auto& [sentinel, trouble] : lost_) status.troubles.push_back({"discovery", trouble});
  for (const std::string& trouble : left_out_) status.troubles.push_back({"discovery", trouble});
  status.changes = telemetry_.timeline.Changes();
  if (groups_.size() <= 1) return status;
  if (!status.unready.empty()) status.unready = status.service + ": " + status.unready;
  for (const WatchedGroup& group : groups_) {
    Status one = group.watcher->Describe();
    if (status.unready.empty() && !one.unready.empty()) status.unready = one.service + ": " + one.unready;
    for (TroubleStatus& trouble : one.troubles) {
      const bool is_known = std::find(status.troubles.begin(), status.troubles.end(), trouble) != status.troubles.end();
      if (!is_known) status.troubles.push_back(std::move(trouble));
    }
    status.groups.push_back(std::move(one));
  }
  return status;
}

/// Another agent of this host may have the port: that is no reason not to do the work.
void Bridge::Listen(const std::optional<redis::Endpoint>& listen) {
  listen_ = listen;
  server_.reset();
  if (!listen_) return;
  auto server = StatusServer::Start(*listen_);
  if (server) {
    server_ = *std::move(server);
  } else {
    Log(LogLevel::kInfo, "status", server.error() + "; no status and no metrics are served (set listen)");
  }
}

void Bridge::CountLag() {
  const auto now = std::chrono::steady_clock::now();
  if (ticked_at_) telemetry_.tally.loop_lag.Observe(std::max(now - *ticked_at_ - Watcher::kTick, {}));
  ticked_at_ = now;
}

}  // namespace rcb::agent
