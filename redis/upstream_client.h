#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "redis/connection.h"
#include "redis/endpoint.h"
#include "redis/result.h"

namespace rcb::redis {

/// What stands between a replica and the master, as its upstreams tell it.
struct UpstreamState {
  /// An upstream that is a replica itself and has lost its link: what it passes on is old.
  std::optional<Endpoint> cut_at;
  TimePoint cut_since{};                      ///< Since when, as that server counts.
  std::optional<std::int64_t> master_offset;  ///< master_repl_offset of the master at the top; absent: not reached.

  bool operator==(const UpstreamState&) const = default;
};

/// Asks a replica's upstream, that one's upstream and so on up to the master, once a second each. Whoever cannot be
/// asked (another network, an ACL) is no evidence of anything.
class UpstreamClient {
 public:
  struct Options {
    Access access;
    std::chrono::milliseconds poll_interval{1000};
  };
  /// `on_change` is called after every answer. It may not destroy the client.
  UpstreamClient(uv_loop_s* loop, Options options, std::function<void()> on_change);
  ~UpstreamClient();
  UpstreamClient(const UpstreamClient&) = delete;
  UpstreamClient& operator=(const UpstreamClient&) = delete;

  /// Follows from this upstream on; nullopt: there is none now. To be called as often as wanted.
  void Follow(const std::optional<Endpoint>& upstream);
  const UpstreamState& state() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rcb::redis
