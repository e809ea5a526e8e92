#include "tests/integration/observer.h"

#include <chrono>
#include <csignal>

namespace rcb::integration {
namespace {

Process::Options CommandLine(const TestFolder& folder, const std::vector<std::string>& dns,
                             const std::vector<std::string>& redis, const Observer::Options& wanted) {
  Process::Options options;
  options.command = {RCB_OBSERVER_BINARY, "--out",   (folder.path() / wanted.history).string(), "--service",
                     wanted.service,      "--every", std::to_string(wanted.every.count())};
  for (const std::string& server : dns) options.command.insert(options.command.end(), {"--dns", server});
  for (const std::string& server : redis) options.command.insert(options.command.end(), {"--redis", server});
  if (!wanted.redis_password.empty()) options.environment["REDISCLI_AUTH"] = wanted.redis_password;
  options.output = folder.path() / ("observer-" + wanted.history + ".log");
  return options;
}

}  // namespace

Observer::Observer(const TestFolder& folder, const std::vector<std::string>& dns, const std::vector<std::string>& redis,
                   const Options& options)
    : process_(CommandLine(folder, dns, redis, options)), history_(folder.path() / options.history) {}

const History& Observer::Finish() {
  process_.Signal(SIGTERM);
  process_.WaitForExit(std::chrono::seconds(5));
  return Look();
}

}  // namespace rcb::integration
