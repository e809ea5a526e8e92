#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/history.h"
#include "tests/integration/process.h"
#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// The observer program at work, and its history.
class Observer {
 public:
  struct Options {
    std::string redis_password{};
    std::chrono::microseconds every{1000};
    std::string service = "redis";    ///< Whose master DNS is asked for.
    std::string history = "history";  ///< Its file. Of a folder's observers each has another.
  };

  /// `dns` and `redis` are "address:port" or "label=address:port" each.
  Observer(const TestFolder& folder, const std::vector<std::string>& dns, const std::vector<std::string>& redis,
           const Options& options);
  Observer(const TestFolder& folder, const std::vector<std::string>& dns, const std::vector<std::string>& redis)
      : Observer(folder, dns, redis, Options()) {}

  /// The history up to now.
  const History& Look() {
    history_.Refresh();
    return history_;
  }

  /// Ends the observer and returns everything that it saw.
  const History& Finish();

  Process& process() { return process_; }

 private:
  Process process_;
  History history_;
};

}  // namespace rcb::integration
