#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "redis/sentinel_link.h"
#include "redis/sentinel_view.h"

namespace rcb::redis {

/// Asks one Sentinel, once a second and when it says that it monitors another group, which groups it knows and where
/// their servers are.
class SentinelDirectory {
 public:
  /// Handlers may not destroy the directory.
  struct Handlers {
    std::function<void(const std::vector<MonitoredGroup>&)> on_groups;  ///< Each whole answer, changed or not.
    std::function<void(const Error&)> on_lost;                          ///< At each attempt; it is tried again.
  };

  SentinelDirectory(uv_loop_s* loop, SentinelLinks& links, const Endpoint& endpoint, const Access& access,
                    Handlers handlers);
  ~SentinelDirectory();
  SentinelDirectory(const SentinelDirectory&) = delete;
  SentinelDirectory& operator=(const SentinelDirectory&) = delete;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace rcb::redis
