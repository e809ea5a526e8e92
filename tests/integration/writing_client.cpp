#include "tests/integration/writing_client.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>

#include "tests/integration/redis_command.h"

namespace rcb::integration {

WritingClient::WritingClient(std::function<std::vector<std::string>()> masters, std::string password)
    : masters_(std::move(masters)), password_(std::move(password)), thread_([this] { Run(); }) {}

void WritingClient::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void WritingClient::Run() {
  constexpr std::chrono::milliseconds kPace{1};  // Between two writes: it waits for nothing.
  std::unique_ptr<RedisConnection> connection;
  std::mt19937 choice(1);
  std::int64_t last = 0;
  for (std::int64_t number = 0; !stop_; std::this_thread::sleep_for(kPace)) {
    if (connection == nullptr) {
      const std::vector<std::string> masters = masters_();
      if (masters.empty()) continue;
      connection = std::make_unique<RedisConnection>(masters[choice() % masters.size()], password_);
    }
    ++number;
    if (connection->Command({"SET", KeyOf(number), "x"}) != "OK") {
      connection.reset();
      continue;
    }
    acknowledged_.push_back(number);
    const std::int64_t now = MonotonicMicros();
    if (last != 0) longest_pause_ = std::max(longest_pause_, now - last);
    last = now;
  }
}

std::size_t WritingClient::CountMissing(const std::string& address) const {
  constexpr std::size_t kBatch = 1000;
  RedisConnection connection(address, password_);
  std::size_t missing = 0;
  for (std::size_t begin = 0; begin < acknowledged_.size(); begin += kBatch) {
    const std::size_t end = std::min(begin + kBatch, acknowledged_.size());
    std::vector<std::string> command{"EXISTS"};
    for (std::size_t i = begin; i < end; ++i) command.push_back(KeyOf(acknowledged_[i]));
    const std::string found = connection.Command(command);
    missing += end - begin - (found.empty() ? 0 : std::stoul(found));
  }
  return missing;
}

}  // namespace rcb::integration
