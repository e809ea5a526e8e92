#include "redis/instance_monitor.h"

#include <utility>

namespace rcb::redis {

InstanceMonitor::InstanceMonitor(const Options& options, TimePoint now) : options_(options), last_heard_(now) {
  state_.health_since = now;
}

Result<void> InstanceMonitor::OnServerReply(std::string_view body, TimePoint now) {
  auto server = ParseServerInfo(body);
  if (!server) return tl::unexpected<Error>(std::move(server).error());
  state_.server = *std::move(server);
  if (state_.server.mode == "sentinel") {
    SetHealth(Health::kNotRedis, options_.name + " is a Sentinel, not a Redis server", now);
  }
  return {};
}

Result<void> InstanceMonitor::OnReplicationReply(std::string_view body, TimePoint now) {
  auto info = ParseReplicationInfo(body);
  if (!info) {
    soft_error_ = options_.name + ": " + info.error().message;
    // Before anything was heard there is no judgement to keep, and whoever has no role is no server to us.
    if (state_.health == Health::kUnknown) SetHealth(Health::kNotRedis, soft_error_, now);
    return tl::unexpected<Error>(std::move(info).error());
  }
  if (!state_.info || state_.info->role != info->role) state_.role_since = now;
  state_.info = *std::move(info);
  state_.info_at = now;
  last_heard_ = now;
  soft_error_.clear();
  SetHealth(Health::kAnswering, "", now);
  return {};
}

void InstanceMonitor::OnPersistenceReply(std::string_view body, TimePoint /*now*/) {
  state_.loading = ParseLoading(body);
}

Result<void> InstanceMonitor::OnClusterReplies(std::string_view info, std::string_view nodes) {
  auto parsed_info = ParseClusterInfo(info);
  auto parsed_nodes = ParseClusterNodes(nodes);
  if (!parsed_info || !parsed_nodes) {
    const Error error = parsed_info ? parsed_nodes.error() : parsed_info.error();
    OnClusterError({error.kind, options_.name + ": " + error.message});
    return tl::unexpected<Error>(error);
  }
  state_.cluster = ClusterView{*std::move(parsed_info), *std::move(parsed_nodes)};
  state_.cluster_trouble.clear();
  return {};
}

void InstanceMonitor::OnClusterError(const Error& error) {
  if (error.kind == ErrorKind::kClosed || error.kind == ErrorKind::kTimeout) return;  // Silence is counted elsewhere.
  state_.cluster.reset();
  state_.cluster_trouble = error.message;
}

void InstanceMonitor::OnError(const Error& error, TimePoint now) {
  switch (error.kind) {
    case ErrorKind::kRefused: SetHealth(Health::kRefused, error.message, now); return;
    case ErrorKind::kProtocol: SetHealth(Health::kNotRedis, error.message, now); return;
    case ErrorKind::kBusy:
      last_heard_ = now;
      SetHealth(Health::kBusy, error.message, now);
      return;
    case ErrorKind::kAuthentication:
    case ErrorKind::kPermission:
    case ErrorKind::kTls:
      last_heard_ = now;
      SetHealth(Health::kDenied, error.message, now);
      return;
    case ErrorKind::kLoading:
      // Alive, whatever it refuses; without an INFO there is still nothing to be said of its role.
      last_heard_ = now;
      state_.loading = true;
      if (state_.info) SetHealth(Health::kAnswering, "", now);
      return;
    case ErrorKind::kUnresolvable:
    case ErrorKind::kUnreachable:
    case ErrorKind::kTimeout:
    case ErrorKind::kClosed:
    case ErrorKind::kReply:
    case ErrorKind::kMalformedReply:
      soft_error_ = error.message;
      if (state_.health == Health::kUnknown) state_.detail = error.message;
      return;
  }
}

void InstanceMonitor::OnTimer(TimePoint now) {
  if (now < deadline()) return;
  std::string detail = options_.name + " has not answered for " + std::to_string(options_.hang_after.count()) + " ms";
  if (!soft_error_.empty()) detail += ": " + soft_error_;
  SetHealth(Health::kSilent, std::move(detail), now);
}

TimePoint InstanceMonitor::deadline() const {
  switch (state_.health) {
    case Health::kUnknown:
    case Health::kAnswering:
    case Health::kBusy:
    case Health::kDenied: return last_heard_ + options_.hang_after;
    case Health::kRefused:
    case Health::kSilent:
    case Health::kNotRedis: break;  // Down already: silence adds nothing.
  }
  return TimePoint::max();
}

void InstanceMonitor::SetHealth(Health health, std::string detail, TimePoint now) {
  if (state_.health != health) state_.health_since = now;
  state_.health = health;
  state_.detail = std::move(detail);
}

}  // namespace rcb::redis
