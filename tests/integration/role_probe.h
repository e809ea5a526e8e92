#pragma once

#include "tests/integration/history_writer.h"
#include "tests/integration/probe.h"

namespace rcb::integration {

/// Asks one Redis server its ROLE and writes each change: the words of ReadRoleReply(), "down" (the port refuses) or
/// "malformed". A connection that ends is reopened at once and is no change by itself, as Sentinel closes connections
/// at every role change. A hung server stays what it was: nobody knows otherwise from outside.
class RoleProbe : public Probe {
 public:
  /// `label`: how the history is to call it. `password`: of Redis, for its default user; may be empty.
  RoleProbe(const ProbeTarget& target, std::string label, std::string password, HistoryWriter& history);
  ~RoleProbe() override;
  RoleProbe(const RoleProbe&) = delete;
  RoleProbe& operator=(const RoleProbe&) = delete;

  void OnTick(std::int64_t now) override;
  void OnReady(std::int64_t now, short events) override;
  pollfd poll_entry() const override;
  const std::string& kind() const override { return kind_; }
  const std::string& subject() const override { return subject_; }
  SampleCount TakeSampleCount(std::int64_t now) override { return meter_.Take(now); }

 private:
  void Connect(std::int64_t now);
  void Disconnect();
  void Ask();
  void Receive(std::int64_t now);
  void Note(std::int64_t now, const std::string& role);

  enum class State { kClosed, kConnecting, kIdle, kAsked };

  const std::string kind_ = "redis";
  const ProbeTarget target_;
  const std::string subject_;
  const std::string password_;
  HistoryWriter& history_;
  State state_ = State::kClosed;
  int socket_ = -1;
  bool authenticated_ = false;   ///< AUTH was sent on this connection.
  bool awaits_welcome_ = false;  ///< Its reply is still to come, in front of ROLE's.
  std::string received_;
  std::string last_;
  SampleMeter meter_;
};

}  // namespace rcb::integration
