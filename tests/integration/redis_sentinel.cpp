#include "tests/integration/redis_sentinel.h"

#include <sstream>
#include <stdexcept>

#include "tests/integration/wait_until.h"

namespace rcb::integration {

RedisSentinel::RedisSentinel(const TestFolder& folder, const Options& options)
    : port_(options.network_namespace.empty() ? FreePort() : std::uint16_t{26379}),
      tls_port_(options.tls_port),
      host_(options.host),
      own_password_(options.own_password),
      network_namespace_(options.network_namespace),
      folder_(folder.path() / ("sentinel-" + host_ + "-" + std::to_string(port_))) {
  std::filesystem::create_directory(folder_);
  const std::size_t colon = options.master.rfind(':');
  const std::string host = options.master.substr(0, colon);
  const std::string port = options.master.substr(colon + 1);
  const std::string password = options.password.empty() ? "" : "sentinel auth-pass mymaster " + options.password + "\n";
  const std::string own_password = own_password_.empty() ? "" : "requirepass " + own_password_ + "\n";
  // Else it speaks, and is known, by the first address of its host.
  const std::string source =
      network_namespace_.empty() ? "" : "bind-source-addr " + host_ + "\nsentinel announce-ip " + host_ + "\n";
  WriteFile(folder_ / "sentinel.conf",
            "port " + std::to_string(port_) + "\nbind " + host_ + "\ndir " + folder_.string() +
                "\nsentinel monitor mymaster " + host + " " + port + " " + std::to_string(options.quorum) +
                "\nsentinel down-after-milliseconds mymaster " + std::to_string(options.down_after.count()) +
                "\nsentinel failover-timeout mymaster " + std::to_string(options.failover_timeout.count()) +
                "\nsentinel parallel-syncs mymaster 2\n" + source + password + own_password + options.settings);
}

void RedisSentinel::Start() {
  process_ =
      std::make_unique<Process>(Process::Options{.command = {"redis-sentinel", (folder_ / "sentinel.conf").string()},
                                                 .output = folder_ / "log",
                                                 .network_namespace = network_namespace_});
  if (!WaitUntil([this] { return Command({"PING"}) == "PONG"; }, std::chrono::seconds(10))) {
    throw std::runtime_error("redis-sentinel at " + address() + " does not answer; see " + (folder_ / "log").string());
  }
}

bool RedisSentinel::SeesGroupAtRest(const std::string& master, std::size_t other_sentinels) const {
  if (!Names(master) || MasterField("flags") != "master" || MasterField("num-slaves") != "2" ||
      MasterField("num-other-sentinels") != std::to_string(other_sentinels)) {
    return false;
  }
  // A replica that last said master is converted within seconds, even when it has been promoted meanwhile.
  const std::string replicas = Command({"SENTINEL", "REPLICAS", "mymaster"});
  const auto count = [&](const std::string& text) {
    int found = 0;
    for (std::size_t at = replicas.find(text); at != std::string::npos; at = replicas.find(text, at + 1)) ++found;
    return found;
  };
  return count("\nflags\nslave\n") == 2 && count("\nrole-reported\nslave\n") == 2 &&
         count("\nmaster-link-status\nok\n") == 2;
}

std::string RedisSentinel::MasterField(const std::string& field) const {
  std::istringstream lines(Command({"SENTINEL", "MASTER", "mymaster"}));
  std::string name;
  std::string value;
  while (std::getline(lines, name) && std::getline(lines, value)) {
    if (name == field) return value;
  }
  return "";
}

}  // namespace rcb::integration
