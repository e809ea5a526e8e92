#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace rcb::agent {

/// Counts durations by size, in the buckets of a Prometheus histogram.
class Histogram {
 public:
  /// `bounds`: the upper ends of the buckets in seconds, rising; what is longer than all of them has one more.
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

  void Observe(std::chrono::duration<double> value) {
    const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value.count()) - bounds_.begin();
    ++counts_[static_cast<std::size_t>(bucket)];
    sum_ += value.count();
  }
  const std::vector<double>& bounds() const { return bounds_; }
  const std::vector<std::uint64_t>& counts() const { return counts_; }  ///< Of each bucket, the last without a bound.
  double sum() const { return sum_; }

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;
  double sum_ = 0;
};

/// Questions asked of one kind of server.
struct Requests {
  /// From a loopback (0.1 ms) to a timeout (5 s).
  Histogram durations{{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}};
  std::uint64_t errors = 0;

  void Add(std::chrono::nanoseconds duration, bool answered) {
    durations.Observe(duration);
    if (!answered) ++errors;
  }
};

/// What is counted from the start of the process on, a reload notwithstanding. A plain value.
struct Tally {
  Requests redis;
  Requests sentinel;
  Requests consul;                                    ///< Blocking queries are counted by their errors alone.
  std::map<std::string, std::uint64_t> role_changes;  ///< By instance, as configured.
  std::uint64_t takeovers = 0;
  std::uint64_t withdrawals = 0;
  std::uint64_t drift_corrections = 0;
  /// From the server saying master to the catalog serving it as one. A takeover takes 5 ms; minutes when it was
  /// withheld.
  Histogram failovers{{0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}};
  /// How late the loop's timer ran.
  Histogram loop_lag{{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}};
};

}  // namespace rcb::agent
