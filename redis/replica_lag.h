#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

#include "redis/result.h"

namespace rcb::redis {

/// How far a replica is behind its master, by the replication offsets of both, and whether that is too far.
/// No I/O, reads no clock: feed it never-decreasing times.
class ReplicaLag {
 public:
  struct Options {
    std::chrono::milliseconds max_age{10000};  ///< What the replica has not applied may be so old.
    /// And may be so many bytes of the replication stream. Absent: they do not matter.
    std::optional<std::int64_t> max_bytes;
  };
  explicit ReplicaLag(const Options& options) : options_(options) {}

  /// The master's master_repl_offset at this time. Sub-replicas count the same bytes.
  void OnMaster(std::int64_t offset, TimePoint now);
  /// The replica's slave_repl_offset at this time. Only now it is judged: what it has not applied of what the master
  /// had before, it is behind by.
  void OnReplica(std::int64_t offset, TimePoint now);
  /// It follows another master, or nobody: other offsets.
  void Forget();

  /// How long ago the master had the first byte that the replica has not applied, as far as was seen; 0: none is
  /// missing.
  std::chrono::milliseconds age(TimePoint now) const;
  std::int64_t bytes() const;
  /// Beyond one of the bounds. Ends only when it has been within half of both for kSettled, so that a replica at the
  /// edge does not come and go.
  bool behind() const { return behind_; }

  static constexpr std::chrono::seconds kSettled{10};

 private:
  struct Sample {
    std::int64_t offset;
    TimePoint at;
  };
  void Judge(TimePoint now);
  bool Within(TimePoint now, int share) const;

  Options options_;
  std::int64_t master_offset_ = 0;
  std::optional<std::int64_t> replica_offset_;
  std::deque<Sample> missing_;   ///< Offsets that the master had and the replica has not reached, oldest first.
  TimePoint::duration apart_{};  ///< Between two samples, at least.
  bool behind_ = false;
  std::optional<TimePoint> well_since_;
};

}  // namespace rcb::redis
