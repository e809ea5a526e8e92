#include "tests/simulation/redis_model.h"

#include <array>
#include <cstdio>
#include <utility>

namespace rcb::simulation {
namespace {

using namespace std::chrono_literals;
using redis::Role;

constexpr Duration kReplTimeout = 20s;  ///< repl-timeout, 60 s by default: shorter, so that schedules see it.
constexpr char kNoId[] = "0000000000000000000000000000000000000000";

std::string NameOf(std::size_t server) { return "redis" + std::to_string(server); }

}  // namespace

RedisModel::RedisModel(Environment& environment) : environment_(environment), servers_(environment.network.hosts()) {
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    Server& server = servers_[i];
    server.run_id = NewId();
    server.replid = i == 0 ? NewId() : servers_[0].replid;
    server.replid2 = kNoId;
    server.offset_at = server.link_since = environment_.now();
    if (i == 0) continue;
    server.role = Role::kReplica;
    server.configured_upstream = server.upstream = 0;
    server.link = Link::kUp;
  }
}

/// 40 hexadecimal digits, as run ids and replication ids are.
std::string RedisModel::NewId() {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%08llx%032llx", 0xabcd0000ULL + ++ids_,
                static_cast<unsigned long long>(environment_.random.Next()));
  return text.data();
}

redis::Endpoint RedisModel::Address(std::size_t server) {
  return {.host = "10.0.0." + std::to_string(server + 1), .port = 6379, .unix_path = {}};
}

std::int64_t RedisModel::Offset(std::size_t index) const {
  // A chain has at most as many links as there are servers.
  for (std::size_t hop = 0; hop < servers_.size(); ++hop) {
    const Server& server = servers_[index];
    if (server.role == Role::kMaster) {
      if (!server.running || server.paused) return server.offset;
      return server.offset +
             std::chrono::duration_cast<std::chrono::milliseconds>(environment_.now() - server.offset_at).count();
    }
    if (server.link != Link::kUp || server.stalled) return server.offset;
    index = server.upstream;
  }
  return servers_[index].offset;
}

void RedisModel::FreezeOffset(std::size_t index) {
  servers_[index].offset = Offset(index);
  servers_[index].offset_at = environment_.now();
}

void RedisModel::Change(std::size_t server) {
  if (on_change) on_change(server);
}

void RedisModel::SetLink(std::size_t index, Link link) {
  Server& server = servers_[index];
  if (server.link == Link::kUp) FreezeOffset(index);
  server.link = link;
  server.link_since = environment_.now();
  server.stalled = false;
  ++server.life;
  environment_.history.Note([&] {
    return NameOf(index) + " link to " + NameOf(server.upstream) +
           (link == Link::kUp        ? " up"
            : link == Link::kSyncing ? " syncing"
                                     : " down");
  });
  Change(index);
}

/// A change of role or of replication id disconnects the replicas (disconnectSlaves()).
void RedisModel::DropReplicasOf(std::size_t upstream) {
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    const Server& server = servers_[i];
    if (!server.running || server.role != Role::kReplica || server.upstream != upstream || server.link == Link::kDown) {
      continue;
    }
    SetLink(i, Link::kDown);
    ScheduleLink(i, environment_.Between(1ms, 1s));
  }
}

void RedisModel::ScheduleLink(std::size_t server, Duration delay) {
  environment_.queue.After(delay, [this, server, life = servers_[server].life] {
    if (servers_[server].life == life) TryLink(server);
  });
}

bool RedisModel::CanFeed(std::size_t upstream, std::size_t server) const {
  const Server& source = servers_[upstream];
  return upstream != server && Answers(upstream) && source.loading_until <= environment_.now() &&
         (source.role == Role::kMaster || source.link == Link::kUp) && environment_.network.Connects(upstream, server);
}

void RedisModel::TryLink(std::size_t index) {
  Server& server = servers_[index];
  if (!Answers(index) || server.role != Role::kReplica || server.link != Link::kDown) return;
  if (!CanFeed(server.upstream, index) || server.loading_until > environment_.now()) {
    ScheduleLink(index, environment_.Between(500ms, 1500ms));
    return;
  }
  const Server& source = servers_[server.upstream];
  const bool partial = (source.replid == server.replid && server.offset <= Offset(server.upstream)) ||
                       (source.replid2 == server.replid && server.offset <= source.second_offset);
  if (partial) {
    server.replid = source.replid;
    server.replid2 = source.replid2;
    server.second_offset = source.second_offset;
    SetLink(index, Link::kUp);
    return;
  }
  SetLink(index, Link::kSyncing);
  environment_.queue.After(environment_.Between(100ms, 3s), [this, index, life = server.life] {
    Server& synced = servers_[index];
    if (synced.life != life) return;
    if (!Answers(index) || !CanFeed(synced.upstream, index)) {
      SetLink(index, Link::kDown);
      ScheduleLink(index, 1s);
      return;
    }
    synced.replid = servers_[synced.upstream].replid;
    synced.replid2 = kNoId;
    synced.second_offset = -1;
    SetLink(index, Link::kUp);
    DropReplicasOf(index);
  });
}

void RedisModel::Kill(std::size_t index) {
  Server& server = servers_[index];
  FreezeOffset(index);
  server.was_master_at = LastMaster(index);
  server.running = false;
  server.promoted_at.reset();
  server.paused = false;
  server.on_resume.clear();
  server.link = Link::kDown;
  ++server.life;
  environment_.history.Note([&] { return NameOf(index) + " killed"; });
  DropReplicasOf(index);
  if (on_closed) on_closed(index);
  Change(index);
}

void RedisModel::Restart(std::size_t index, bool empty) {
  Server& server = servers_[index];
  server.running = true;
  server.run_id = NewId();
  ++server.life;
  server.link_since = server.offset_at = environment_.now();
  server.link = Link::kDown;
  server.stalled = false;
  const std::string former = server.replid;
  if (empty) {
    server.loading_until = environment_.now();  // The process before may have been killed while it loaded.
    server.offset = 0;
    server.replid = NewId();
    server.replid2 = kNoId;
    server.second_offset = -1;
  } else {
    server.loading_until = environment_.now() + environment_.Between(20ms, 1500ms);
  }
  if (server.configured_upstream) {
    server.role = Role::kReplica;
    server.upstream = *server.configured_upstream;
  } else {
    server.role = Role::kMaster;
    if (!empty) {
      // Redis 7.0 keeps the id of its RDB file as the second one, so that replicas need no full synchronisation; older
      // ones, and those with an append-only file, begin a new history.
      const bool keeps = environment_.random.Chance(0.5);
      server.replid = NewId();
      server.replid2 = keeps ? former : kNoId;
      server.second_offset = keeps ? server.offset + 1 : -1;
    }
  }
  environment_.history.Note([&] {
    return NameOf(index) + " restarted " + (empty ? "empty" : "with its data") + " as " +
           (server.role == Role::kMaster ? "master" : "replica of " + NameOf(server.upstream));
  });
  if (!empty) {
    environment_.queue.At(server.loading_until, [this, index, run_id = server.run_id] {
      if (servers_[index].run_id == run_id) Change(index);
    });
  }
  if (server.role == Role::kReplica) ScheduleLink(index, environment_.Between(10ms, 2s));
  Change(index);
}

void RedisModel::Pause(std::size_t index) {
  FreezeOffset(index);
  servers_[index].paused = true;
  environment_.history.Note([&] { return NameOf(index) + " paused"; });
  OnNetworkChange();
  if (on_pause) on_pause(index);
}

void RedisModel::Resume(std::size_t index) {
  Server& server = servers_[index];
  if (!server.paused) return;
  server.paused = false;
  server.offset_at = environment_.now();
  environment_.history.Note([&] { return NameOf(index) + " resumed"; });
  if (on_pause) on_pause(index);
  for (const EventQueue::Action& action : std::exchange(server.on_resume, {})) action();
  if (server.role == Role::kReplica && server.link == Link::kDown) ScheduleLink(index, 10ms);
  OnNetworkChange();
}

void RedisModel::ReplicaOf(std::size_t index, std::optional<std::size_t> upstream, Origin origin) {
  Server& server = servers_[index];
  if (!server.running) return;
  if (server.paused) {
    server.on_resume.emplace_back([this, index, upstream, origin] { ReplicaOf(index, upstream, origin); });
    return;
  }
  if (origin == Origin::kSentinel) server.configured_upstream = upstream;
  const bool was_master = server.role == Role::kMaster;
  const bool same = upstream ? !was_master && server.upstream == *upstream : was_master;
  environment_.history.Note([&] {
    return NameOf(index) + " REPLICAOF " + (upstream ? NameOf(*upstream) : "NO ONE") +
           (origin == Origin::kSentinel ? " (Sentinel)" : " (operator)") + (same ? ", as it was" : "");
  });
  if (!same) {
    FreezeOffset(index);
    ++server.life;
    server.link = Link::kDown;
    server.stalled = false;
    server.link_since = environment_.now();
    if (upstream) {
      server.was_master_at = LastMaster(index);
      server.role = Role::kReplica;
      server.upstream = *upstream;
      server.promoted_at.reset();
      ScheduleLink(index, environment_.Between(1ms, 1s));
    } else {
      server.role = Role::kMaster;
      if (origin == Origin::kSentinel) server.promoted_at = environment_.now();
      server.replid2 = std::exchange(server.replid, NewId());
      server.second_offset = server.offset + 1;
    }
    DropReplicasOf(index);
  }
  if (origin == Origin::kSentinel && on_closed) on_closed(index);
  if (!same) Change(index);
}

/// A link over which nothing comes ends after repl-timeout.
void RedisModel::OnNetworkChange() {
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    Server& server = servers_[i];
    if (!server.running || server.role != Role::kReplica || server.link != Link::kUp) continue;
    const bool feeds = Answers(server.upstream) && environment_.network.Connects(server.upstream, i) && !server.paused;
    if (feeds == !server.stalled) continue;
    if (feeds) {
      server.stalled = false;
      continue;
    }
    FreezeOffset(i);
    server.stalled = true;
    environment_.queue.After(kReplTimeout, [this, i, life = server.life] {
      const Server& stalled = servers_[i];
      if (stalled.life != life || !stalled.stalled || stalled.link != Link::kUp || !Answers(i)) return;
      SetLink(i, Link::kDown);
      ScheduleLink(i, 1s);
    });
  }
}

std::string RedisModel::InfoReplication(std::size_t index) const {
  const Server& server = servers_[index];
  std::string body = "# Replication\r\n";
  const std::string offset = std::to_string(Offset(index));
  if (server.role == Role::kMaster) {
    body += "role:master\r\n";
  } else {
    const redis::Endpoint upstream = Address(server.upstream);
    body +=
        "role:slave\r\nmaster_host:" + upstream.host + "\r\nmaster_port:" + std::to_string(upstream.port) +
        "\r\nmaster_link_status:" + (server.link == Link::kUp ? "up" : "down") +
        "\r\nmaster_last_io_seconds_ago:1\r\nmaster_sync_in_progress:" + (server.link == Link::kSyncing ? "1" : "0") +
        "\r\nslave_read_repl_offset:" + offset + "\r\nslave_repl_offset:" + offset + "\r\n";
    if (server.link != Link::kUp) {
      const auto down = std::chrono::duration_cast<std::chrono::seconds>(environment_.now() - server.link_since);
      body += "master_link_down_since_seconds:" + std::to_string(down.count()) + "\r\n";
    }
    body += "slave_priority:100\r\nslave_read_only:1\r\nreplica_announced:1\r\n";
  }
  body += "connected_slaves:0\r\nmaster_failover_state:no-failover\r\nmaster_replid:" + server.replid +
          "\r\nmaster_replid2:" + server.replid2 + "\r\nmaster_repl_offset:" + offset +
          "\r\nsecond_repl_offset:" + std::to_string(server.second_offset) + "\r\nrepl_backlog_active:1\r\n";
  return body;
}

std::string RedisModel::InfoServer(std::size_t index) const {
  return "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:" + servers_[index].run_id +
         "\r\ntcp_port:6379\r\n";
}

std::string RedisModel::InfoPersistence(std::size_t index) const {
  return std::string("# Persistence\r\nloading:") + (servers_[index].loading_until > environment_.now() ? "1" : "0") +
         "\r\n";
}

}  // namespace rcb::simulation
