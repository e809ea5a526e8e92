#include "tests/integration/redis_server.h"

#include <chrono>
#include <stdexcept>
#include <utility>

#include "tests/integration/wait_until.h"

namespace rcb::integration {

RedisServer::RedisServer(const TestFolder& folder, const Options& options)
    : port_(options.network_namespace.empty() ? FreePort() : std::uint16_t{6379}),
      tls_port_(options.tls_port),
      host_(options.host),
      password_(options.password),
      network_namespace_(options.network_namespace),
      folder_(folder.path() / ("redis-" + host_ + "-" + std::to_string(port_))) {
  std::filesystem::create_directory(folder_);
  std::string text = "port " + std::to_string(port_) + "\nbind " + host_ + "\ndir " + folder_.string() +
                     "\nsave \"\"\nrepl-diskless-sync-delay 0\n" + options.settings;
  if (host_ != "127.0.0.1") text += "\nreplica-announce-ip " + host_ + "\n";
  // Else it answers nobody but loopback, as long as there is no password.
  if (!network_namespace_.empty()) text += "\nprotected-mode no\n";
  if (!password_.empty()) text += "\nrequirepass " + password_ + "\nmasterauth " + password_ + "\n";
  WriteFile(folder_ / "redis.conf", text);
}

void RedisServer::Launch() {
  process_ = std::make_unique<Process>(Process::Options{.command = {"redis-server", (folder_ / "redis.conf").string()},
                                                        .output = folder_ / "log",
                                                        .network_namespace = network_namespace_});
}

void RedisServer::Start() {
  Launch();
  if (!WaitUntil([this] { return Command({"PING"}) == "PONG"; }, std::chrono::seconds(10))) {
    throw std::runtime_error("redis-server at " + address() + " does not answer; see " + (folder_ / "log").string());
  }
}

std::string RedisServer::InfoField(const std::string& name) const {
  const std::string info = "\n" + Command({"INFO", "replication"});
  const std::size_t found = info.find("\n" + name + ":");
  if (found == std::string::npos) return "";
  const std::size_t start = found + name.size() + 2;
  return info.substr(start, info.find('\r', start) - start);
}

}  // namespace rcb::integration
