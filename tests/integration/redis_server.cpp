#include "tests/integration/redis_server.h"

#include <chrono>
#include <stdexcept>
#include <utility>

#include "tests/integration/wait_until.h"

namespace rcb::integration {

RedisServer::RedisServer(const TestFolder& folder, const std::string& settings, std::string password)
    : port_(FreePort()), password_(std::move(password)), folder_(folder.path() / ("redis-" + std::to_string(port_))) {
  std::filesystem::create_directory(folder_);
  std::string text = "port " + std::to_string(port_) + "\nbind 127.0.0.1\ndir " + folder_.string() + "\nsave \"\"\n" +
                     "repl-diskless-sync-delay 0\n" + settings;
  if (!password_.empty()) text += "\nrequirepass " + password_ + "\nmasterauth " + password_ + "\n";
  WriteFile(folder_ / "redis.conf", text);
}

void RedisServer::Start() {
  process_ = std::make_unique<Process>(
      Process::Options{.command = {"redis-server", (folder_ / "redis.conf").string()}, .output = folder_ / "log"});
  if (!WaitUntil([this] { return Command({"PING"}) == "PONG"; }, std::chrono::seconds(10))) {
    throw std::runtime_error("redis-server at " + address() + " does not answer; see " + (folder_ / "log").string());
  }
}

}  // namespace rcb::integration
