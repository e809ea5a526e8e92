#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/process.h"
#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// A redis-consul-agent beside one Redis.
class BridgeAgent {
 public:
  struct Options {
    std::string redis;                                 ///< "127.0.0.1:port", as --redis takes it.
    std::string consul;                                ///< URL.
    std::vector<std::string> sentinels{};              ///< "127.0.0.1:port" each; may be empty.
    std::vector<std::string> arguments{};              ///< Further ones.
    std::string settings{};                            ///< A JSON object for --config; empty: no file.
    std::string access{};                              ///< Another one, which stands in every settings as well.
    std::map<std::string, std::string> environment{};  ///< Tokens and passwords, which never go into argv.
    std::string network_namespace{};                   ///< Of its host; empty: this process's.
  };

  BridgeAgent(const TestFolder& folder, Options options);

  void Start();
  /// Writes another configuration file and has it reloaded (SIGHUP).
  void Reload(const std::string& settings);
  void Kill() { process_.reset(); }  ///< SIGKILL.
  Process& process() { return *process_; }

  std::string Log() const { return ReadFile(log_); }
  /// The log's lines of level warning or worse.
  std::vector<std::string> Complaints() const;

 private:
  /// Empty when neither these settings nor `access` say anything.
  std::string WithAccess(const std::string& settings) const;
  /// The path of one of its files, named for the Redis.
  std::filesystem::path FileOf(const TestFolder& folder, const std::string& suffix) const;

  const Options options_;
  const std::filesystem::path config_;
  const std::filesystem::path log_;
  std::unique_ptr<Process> process_;
};

}  // namespace rcb::integration
