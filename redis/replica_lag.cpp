#include "redis/replica_lag.h"

#include <algorithm>

namespace rcb::redis {
namespace {

/// With one sample a second this is minutes; beyond, every second one is dropped and the next are taken half as often.
constexpr std::size_t kMaxSamples = 256;

}  // namespace

void ReplicaLag::OnMaster(std::int64_t offset, TimePoint now) {
  if (offset < master_offset_) Forget();  // Another stream.
  master_offset_ = offset;
  const bool reached = replica_offset_ && offset <= *replica_offset_;
  if (missing_.empty()) apart_ = std::chrono::milliseconds(0);
  const bool taken = !missing_.empty() && (missing_.back().offset == offset || now - missing_.back().at < apart_);
  if (!reached && !taken) missing_.push_back({offset, now});
  if (missing_.size() > kMaxSamples) {
    std::deque<Sample> thinned;
    for (std::size_t i = 0; i < missing_.size(); i += 2) thinned.push_back(missing_[i]);
    missing_ = std::move(thinned);
    apart_ = (missing_.back().at - missing_.front().at) / missing_.size();
  }
}

void ReplicaLag::OnReplica(std::int64_t offset, TimePoint now) {
  if (replica_offset_ && offset < *replica_offset_) Forget();
  replica_offset_ = offset;
  while (!missing_.empty() && missing_.front().offset <= offset) missing_.pop_front();
  Judge(now);
}

void ReplicaLag::Forget() {
  master_offset_ = 0;
  replica_offset_.reset();
  missing_.clear();
  behind_ = false;
  well_since_.reset();
}

std::chrono::milliseconds ReplicaLag::age(TimePoint now) const {
  if (!replica_offset_ || missing_.empty()) return std::chrono::milliseconds(0);
  return std::chrono::duration_cast<std::chrono::milliseconds>(now - missing_.front().at);
}

std::int64_t ReplicaLag::bytes() const {
  return replica_offset_ ? std::max<std::int64_t>(0, master_offset_ - *replica_offset_) : 0;
}

bool ReplicaLag::Within(TimePoint now, int share) const {
  return age(now) <= options_.max_age / share && (!options_.max_bytes || bytes() <= *options_.max_bytes / share);
}

void ReplicaLag::Judge(TimePoint now) {
  if (!Within(now, 1)) behind_ = true;
  if (!behind_) return;
  if (!Within(now, 2)) {
    well_since_.reset();
    return;
  }
  if (!well_since_) well_since_ = now;
  if (now - *well_since_ >= kSettled) {
    behind_ = false;
    well_since_.reset();
  }
}

}  // namespace rcb::redis
