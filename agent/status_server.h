#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "agent/telemetry.h"
#include "redis/endpoint.h"

namespace rcb::agent {

/// The read-only HTTP server: /status (JSON), /metrics, /healthz, /readyz and a page at /. It has a thread of its own,
/// which sees nothing but the immutable snapshots that the event loop hands over; so a loop that hangs is seen from
/// outside, and a slow client is none of the loop's business. A request has 8 KiB and 2 s, and there are 16 connections
/// at most.
class StatusServer {
 public:
  /// Binds and starts to serve. The error is a sentence: the port is taken, or the address is none of this host's.
  static tl::expected<std::unique_ptr<StatusServer>, std::string> Start(const redis::Endpoint& listen);
  ~StatusServer();  ///< At once: requests under way are dropped.
  StatusServer(const StatusServer&) = delete;
  StatusServer& operator=(const StatusServer&) = delete;

  /// Somebody waits for a snapshot. To be looked at several times a second, from the event loop: building one costs
  /// nothing while nobody asks.
  bool is_asked() const;
  void Answer(Snapshot snapshot);

  /// A snapshot is good for so long, however many ask.
  static constexpr std::chrono::milliseconds kFresh{250};
  /// A loop that has not answered for so long is not alive: it ticks every 100 ms.
  static constexpr std::chrono::milliseconds kPatience{1000};

 private:
  class Impl;
  explicit StatusServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rcb::agent
