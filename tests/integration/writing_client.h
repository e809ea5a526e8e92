#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/monotonic.h"

namespace rcb::integration {

/// An application: it writes keys with increasing numbers, about a thousand a second, over one connection to a master
/// that DNS names, and looks again whom DNS names only when that connection fails or refuses a write.
class WritingClient {
 public:
  /// `masters` is where those that DNS names now take commands in the clear ("address:port"); called on a thread of its
  /// own. Of several the client takes any. `password`: of all of them.
  WritingClient(std::function<std::vector<std::string>()> masters, std::string password);
  ~WritingClient() { Stop(); }
  WritingClient(const WritingClient&) = delete;
  WritingClient& operator=(const WritingClient&) = delete;

  void Stop();

  // Once it is stopped:
  /// The numbers of the writes that were acknowledged. Their keys are KeyOf(number).
  const std::vector<std::int64_t>& acknowledged() const { return acknowledged_; }
  std::int64_t longest_pause() const { return longest_pause_; }  ///< Microseconds between two acknowledged writes.

  /// How many of them the Redis at "address:port" does not have.
  std::size_t CountMissing(const std::string& address) const;

 private:
  void Run();
  static std::string KeyOf(std::int64_t number) { return "key:" + std::to_string(number); }

  const std::function<std::vector<std::string>()> masters_;
  const std::string password_;
  std::vector<std::int64_t> acknowledged_;
  std::int64_t longest_pause_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace rcb::integration
