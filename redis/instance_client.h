#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "redis/connection.h"
#include "redis/instance_monitor.h"
#include "redis/sentinel_view.h"

namespace rcb::redis {

/// Keeps in touch with one Redis server: polls INFO (and CLUSTER INFO and NODES where it runs in cluster mode), reopens
/// a closed connection at once (Sentinel closes it at the very moment of a role change), and listens to
/// `__sentinel__:hello` on a second connection.
class InstanceClient {
 public:
  struct Options {
    Endpoint endpoint;
    Access access;
    std::chrono::milliseconds poll_interval{200};
    std::chrono::milliseconds hang_after{5000};
  };
  /// Handlers may not destroy the client.
  struct Handlers {
    std::function<void()> on_change;  ///< state() may differ from before. Also called after every answered poll.
    std::function<void(const SentinelHello&)> on_hello;  ///< Absent: the channel is not listened to.
    /// How long an INFO took, and whether it was answered by what was asked for.
    std::function<void(std::chrono::nanoseconds, bool)> on_answer{};
  };

  InstanceClient(uv_loop_s* loop, Options options, Handlers handlers);
  ~InstanceClient();
  InstanceClient(const InstanceClient&) = delete;
  InstanceClient& operator=(const InstanceClient&) = delete;

  void Start();
  /// Asks INFO at once, whatever is under way: only a question asked after the reason arose counts.
  void PollNow();
  void SetHangAfter(std::chrono::milliseconds hang_after);
  /// Makes the server a replica of `master` and disconnects its clients, so that they look for the new master.
  /// `handler` hears whether REPLICAOF was accepted; without a connection kClosed.
  void Demote(const Endpoint& master, const std::function<void(const Result<void>&)>& handler);
  /// Holds writes back for at most `duration` (CLIENT PAUSE … WRITE, since 6.2; older servers refuse, which changes
  /// nothing).
  void HoldWrites(std::chrono::milliseconds duration);
  void ReleaseWrites();  ///< Ends HoldWrites() early.
  const InstanceState& state() const;
  const Endpoint& endpoint() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace rcb::redis
