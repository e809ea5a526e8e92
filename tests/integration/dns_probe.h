#pragma once

#include "tests/integration/history_writer.h"
#include "tests/integration/probe.h"

namespace rcb::integration {

/// Asks one DNS server for the SRV records of a name, over UDP, and writes each change of the answer.
/// Besides ReadSrvAnswer()'s words the history gets "!refused" (nobody listens) and "!timeout".
class DnsProbe : public Probe {
 public:
  DnsProbe(const ProbeTarget& target, std::string label, std::string name, HistoryWriter& history);
  ~DnsProbe() override;
  DnsProbe(const DnsProbe&) = delete;
  DnsProbe& operator=(const DnsProbe&) = delete;

  void OnTick(std::int64_t now) override;
  void OnReady(std::int64_t now, short events) override;
  pollfd poll_entry() const override { return {socket_, POLLIN, 0}; }
  const std::string& kind() const override { return kind_; }
  const std::string& subject() const override { return label_; }
  SampleCount TakeSampleCount(std::int64_t now) override { return meter_.Take(now); }

 private:
  void Note(std::int64_t now, const std::string& answer);

  const std::string kind_ = "dns";
  const std::string label_;
  const std::string name_;
  HistoryWriter& history_;
  int socket_;
  std::uint16_t id_ = 0;
  std::int64_t asked_at_ = 0;  ///< 0: no answer is awaited.
  std::string last_;
  SampleMeter meter_;
};

}  // namespace rcb::integration
