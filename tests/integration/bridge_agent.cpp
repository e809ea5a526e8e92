#include "tests/integration/bridge_agent.h"

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

namespace rcb::integration {

BridgeAgent::BridgeAgent(const TestFolder& folder, Options options)
    : options_(std::move(options)), config_(FileOf(folder, ".json")), log_(FileOf(folder, ".log")) {
  const std::string settings = WithAccess(options_.settings);
  if (!settings.empty()) WriteFile(config_, settings);
}

std::string BridgeAgent::WithAccess(const std::string& settings) const {
  if (options_.access.empty()) return settings;
  auto merged = nlohmann::json::parse(options_.access);
  if (!settings.empty()) merged.update(nlohmann::json::parse(settings));
  return merged.dump();
}

std::filesystem::path BridgeAgent::FileOf(const TestFolder& folder, const std::string& suffix) const {
  std::string redis = options_.redis;
  for (const char separator : {':', '/'}) std::replace(redis.begin(), redis.end(), separator, '-');
  return folder.path() / ("agent-" + redis + suffix);
}

void BridgeAgent::Start() {
  std::vector<std::string> command = {RCB_AGENT_BINARY, "run",           "--redis",     options_.redis,
                                      "--consul",       options_.consul, "--service",   "redis",
                                      "--log-format",   "text",          "--log-level", "debug"};
  for (const std::string& sentinel : options_.sentinels) {
    command.insert(command.end(), {"--sentinel", sentinel});
  }
  if (!options_.sentinels.empty()) command.insert(command.end(), {"--master-name", "mymaster"});
  if (!WithAccess(options_.settings).empty()) command.insert(command.end(), {"--config", config_.string()});
  command.insert(command.end(), options_.arguments.begin(), options_.arguments.end());
  process_ = std::make_unique<Process>(Process::Options{.command = command,
                                                        .output = log_,
                                                        .environment = options_.environment,
                                                        .network_namespace = options_.network_namespace});
}

void BridgeAgent::Reload(const std::string& settings) {
  WriteFile(config_, WithAccess(settings));
  process_->Signal(SIGHUP);
}

std::vector<std::string> BridgeAgent::Complaints() const {
  std::vector<std::string> complaints;
  std::istringstream lines(Log());
  for (std::string line; std::getline(lines, line);) {
    // "TIME LEVEL TEXT" (agent/log.cpp).
    std::istringstream words(line);
    std::string time;
    std::string level;
    words >> time >> level;
    if (level == "warning" || level == "error" || level == "critical") complaints.push_back(line);
  }
  return complaints;
}

}  // namespace rcb::integration
