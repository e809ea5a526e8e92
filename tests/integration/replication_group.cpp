#include "tests/integration/replication_group.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "tests/integration/wait_until.h"

namespace rcb::integration {
namespace {

using namespace std::chrono_literals;

void WaitOrThrow(const std::function<bool()>& condition, std::chrono::milliseconds deadline, const std::string& what) {
  if (!WaitUntil(condition, deadline)) throw std::runtime_error("the test's set-up failed: " + what);
}

}  // namespace

ReplicationGroup::ReplicationGroup(const Options& options) : consul_(folder_) {
  consul_.Start();
  for (int i = 0; i < 3; ++i) redises_.emplace_back(folder_).Start();
  if (options.replicate) {
    for (std::size_t i = 1; i < 3; ++i)
      redises_[i].Command({"REPLICAOF", "127.0.0.1", std::to_string(redises_[0].port())});
    WaitForReplication();
  }
  for (int i = 0; options.sentinels && i < 3; ++i) {
    sentinels_.emplace_back(folder_, RedisSentinel::Options{.master_port = redises_[0].port()}).Start();
  }
  WaitOrThrow([&] { return SentinelsAgree(redises_[0].address()); }, 30s, "the Sentinels do not see the group");
  consul_.WaitForLeader();

  std::vector<std::string> addresses;
  for (const RedisServer& redis : redises_) addresses.push_back(redis.address());
  observer_.emplace(folder_, std::vector<std::string>{consul_.dns()}, addresses);
  WaitOrThrow([&] { return observer_->Look().LastAnswer(dns()) == "-"; }, 10s, "DNS does not answer");

  for (const RedisServer& redis : redises_) {
    BridgeAgent::Options agent{.redis = redis.address(), .consul = consul_.url()};
    if (options.agents_know_sentinels) {
      for (const RedisSentinel& sentinel : sentinels_) agent.sentinels.push_back(sentinel.address());
    }
    agents_.emplace_back(folder_, agent);
  }
}

void ReplicationGroup::StartAgents() {
  for (BridgeAgent& agent : agents_) agent.Start();
}

const History& ReplicationGroup::FinishAndCheck() {
  const History& history = observer_->Finish();
  CHECK(history.MostMasters(dns()) <= 1);
  for (const std::string& violation : history.SupersededAnswers(dns())) FAIL_CHECK(violation);
  CHECK(history.UnreadableAnswers(dns()).empty());
  const History::Samples samples = history.SamplesOf("dns:" + dns());
  constexpr int kLeastSamplesPerSecond = 300;  // It asks about 900 times; a busy machine may slow it down.
  const std::int64_t seconds = samples.seconds - 1 - history.TimeWithoutAnswer(dns()) / 1'000'000;
  CHECK(samples.count >= kLeastSamplesPerSecond * seconds);
  for (BridgeAgent& agent : agents_) CHECK(agent.process().IsRunning());
  return history;
}

RedisServer& ReplicationGroup::at(const std::string& address) {
  const auto found = std::find_if(redises_.begin(), redises_.end(),
                                  [&](const RedisServer& redis) { return redis.address() == address; });
  if (found == redises_.end()) throw std::runtime_error("\"" + address + "\" is no Redis of this group");
  return *found;
}

std::string ReplicationGroup::PublishedMaster() {
  const auto& answers = observer_->Look().Answers(dns());
  return answers.empty() || answers.back().masters.size() != 1 ? "" : answers.back().masters[0];
}

bool ReplicationGroup::IsPublished(const std::string& master) {
  const std::vector<HealthEntry> entries = consul_.Health("redis");
  return entries.size() == redises_.size() &&
         std::all_of(entries.begin(), entries.end(), [&](const HealthEntry& entry) {
           const bool is_master = Loopback(entry.port) == master;
           return entry.status == "passing" && entry.HasTag("master") == is_master &&
                  entry.HasTag("replica") == !is_master;
         });
}

bool ReplicationGroup::SentinelsName(const std::string& master) {
  return std::all_of(sentinels_.begin(), sentinels_.end(),
                     [&](const RedisSentinel& sentinel) { return sentinel.Names(at(master).port()); });
}

bool ReplicationGroup::SentinelsAgree(const std::string& master) {
  return std::all_of(sentinels_.begin(), sentinels_.end(),
                     [&](const RedisSentinel& sentinel) { return sentinel.SeesGroupAtRest(at(master).port()); });
}

void ReplicationGroup::WaitForReplication() {
  const auto in_sync = [&] {
    const std::string info = redises_[0].Command({"INFO", "replication"});
    return info.find("slave0:") != std::string::npos && info.find("slave1:") != std::string::npos &&
           info.find("state=wait") == std::string::npos && info.find("state=send") == std::string::npos;
  };
  WaitOrThrow(in_sync, 20s, "the replicas do not come into sync");
}

}  // namespace rcb::integration
