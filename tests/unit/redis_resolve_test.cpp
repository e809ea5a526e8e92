// The real redis-resolve against real Consul servers.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "tests/integration/http_call.h"
#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/test_folder.h"
#include "tests/integration/wait_until.h"

namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;
using rcb::integration::FreePort;
using rcb::integration::HttpCall;
using rcb::integration::Loopback;
using rcb::integration::Process;
using rcb::integration::ReadFile;
using rcb::integration::TestFolder;
using rcb::integration::WaitUntil;

/// One Consul server in a datacenter of its own.
class Consul {
 public:
  Consul(const TestFolder& folder, const std::string& datacenter, std::uint16_t wan_port, std::uint16_t join_wan_port)
      : http_port_(FreePort()), dns_port_(FreePort()) {
    Json config = {{"datacenter", datacenter},
                   {"node_name", "node-" + datacenter},
                   {"bind_addr", "127.0.0.1"},
                   {"client_addr", "127.0.0.1"},
                   {"ports",
                    {{"http", http_port_},
                     {"dns", dns_port_},
                     {"server", FreePort()},
                     {"serf_lan", FreePort()},
                     {"serf_wan", wan_port},
                     {"grpc", -1}}},
                   // UDP answers that leave something out say so.
                   {"dns_config", {{"enable_truncate", true}, {"udp_answer_limit", 3}}},
                   {"disable_update_check", true}};
    if (join_wan_port != 0) {
      config["retry_join_wan"] = {Loopback(join_wan_port)};
      config["retry_interval_wan"] = "100ms";  // The other one may not listen yet; the default is 30 s.
    }
    const auto file = folder.path() / (datacenter + ".json");
    rcb::integration::WriteFile(file, config.dump());
    process_.emplace(Process::Options{.command = {"consul", "agent", "-dev", "-config-file", file.string()},
                                      .output = folder.path() / (datacenter + ".log")});
  }

  bool HasLeader() const { return HttpCall("GET", Url("/v1/status/leader")).body.size() > 2; }
  std::string dns() const { return Loopback(dns_port_); }

  /// Registers an instance. `more` overrides the fields of the registration.
  void Register(const std::string& service, const std::string& tag, const std::string& address, std::uint16_t port,
                const Json& more = Json::object()) const {
    const std::string id = service + "-" + std::to_string(++registered_);
    Json registration = {{"ID", id}, {"Name", service}, {"Tags", {tag}}, {"Address", address}, {"Port", port}};
    registration.update(more);
    REQUIRE(HttpCall("PUT", Url("/v1/agent/service/register"), registration.dump()).status == 200);
  }

 private:
  std::string Url(const std::string& path) const { return "http://" + Loopback(http_port_) + path; }

  const std::uint16_t http_port_;
  const std::uint16_t dns_port_;
  std::optional<Process> process_;
  mutable int registered_ = 0;
};

/// Two datacenters that know each other; every test uses services of its own.
struct Servers {
  Servers() {
    if (!WaitUntil([this] { return here.HasLeader() && there.HasLeader(); }, 20s)) {
      throw std::runtime_error("Consul has no leader; see the logs in " + folder.path().string());
    }
  }

  TestFolder folder;
  const std::uint16_t wan_port = FreePort();
  Consul here{folder, "dc1", wan_port, 0};
  Consul there{folder, "dc2", FreePort(), wan_port};
};

Servers& TheServers() {
  static Servers servers;
  return servers;
}

struct Answer {
  int exit_code = -1;
  std::string out;
  std::string err;

  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    std::istringstream stream(out);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }
};

/// Runs redis-resolve; REDIS_RESOLVE_DNS is `dns` (unset when empty).
Answer Resolve(const std::string& dns, std::vector<std::string> arguments, const char* out_path = nullptr) {
  const auto& folder = TheServers().folder.path();
  const std::string out = out_path == nullptr ? (folder / "out").string() : out_path;
  const std::string err = (folder / "err").string();
  posix_spawn_file_actions_t actions{};
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  arguments.insert(arguments.begin(), "redis-resolve");
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (dns.empty()) {
    unsetenv("REDIS_RESOLVE_DNS");
  } else {
    setenv("REDIS_RESOLVE_DNS", dns.c_str(), 1);
  }
  pid_t pid = -1;
  REQUIRE(posix_spawn(&pid, RCB_RESOLVE_BINARY, &actions, nullptr, argv.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  Answer answer{.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                .out = out_path == nullptr ? ReadFile(out) : "",
                .err = ReadFile(err)};
  // Whatever went wrong: one line that begins with the tool's name.
  if (answer.exit_code == 0) {
    CHECK(answer.err.empty());
  } else {
    CHECK(answer.out.empty());
    CHECK(answer.err.starts_with("redis-resolve: "));
    CHECK(std::count(answer.err.begin(), answer.err.end(), '\n') == 1);
  }
  return answer;
}

Answer Resolve(std::vector<std::string> arguments) { return Resolve(TheServers().here.dns(), std::move(arguments)); }

}  // namespace

TEST_CASE("redis-resolve: the one master, in each format") {
  TheServers().here.Register("redis", "master", "10.1.2.3", 6379);
  TheServers().here.Register("redis", "replica", "10.1.2.4", 6380);
  CHECK(Resolve({}).out == "10.1.2.3:6379\n");
  CHECK(Resolve({"redis", "--format", "url"}).out == "redis://10.1.2.3:6379\n");
  CHECK(Json::parse(Resolve({"--format", "json"}).out) == Json{{"host", "10.1.2.3"},
                                                               {"port", 6379},
                                                               {"priority", 1},
                                                               {"weight", 1},
                                                               {"target", "0a010203.addr.dc1.consul"}});
  CHECK(Resolve({"--role", "replica"}).out == "10.1.2.4:6380\n");
  CHECK(Resolve({"--role", "any", "--all"}).Lines().size() == 2);
  CHECK(Resolve({"--all", "--format", "json"}).out.starts_with("[{"));
  CHECK(Resolve({"master.redis.service.consul"}).out == "10.1.2.3:6379\n");
  CHECK(Resolve({"Master.Redis.Service.Consul."}).out == "10.1.2.3:6379\n");
  CHECK(Resolve({"_redis._master.service.consul"}).out == "10.1.2.3:6379\n");
}

TEST_CASE("redis-resolve: none") {
  TheServers().here.Register("followers", "replica", "10.1.2.4", 6380);
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"followers"}, {"nowhere"}, {"nowhere", "--role", "any", "--all"}}) {
    const Answer answer = Resolve(arguments);
    CHECK(answer.exit_code == 1);
    CHECK(answer.err.find("of " + arguments[0] + " is published") != std::string::npos);
  }
}

TEST_CASE("redis-resolve: a critical master is none") {
  TheServers().here.Register("sick", "master", "10.1.2.3", 6379,
                             {{"Check", {{"TTL", "600s"}, {"Status", "critical"}}}});
  CHECK(Resolve({"sick"}).exit_code == 1);
}

TEST_CASE("redis-resolve: two masters are refused, and both named") {
  TheServers().here.Register("split", "master", "10.0.0.1", 6379);
  TheServers().here.Register("split", "master", "10.0.0.2", 6379);
  const Answer answer = Resolve({"split"});
  CHECK(answer.exit_code == 4);
  CHECK(answer.err.find("10.0.0.1:6379") != std::string::npos);
  CHECK(answer.err.find("10.0.0.2:6379") != std::string::npos);
  CHECK(Resolve({"split", "--all"}).Lines().size() == 2);
  CHECK(Resolve({"split", "--role", "any"}).exit_code == 0);
}

TEST_CASE("redis-resolve: the same master registered twice is one") {
  TheServers().here.Register("twice", "master", "10.0.0.1", 6379);
  TheServers().here.Register("twice", "master", "10.0.0.1", 6379);
  CHECK(Resolve({"twice"}).out == "10.0.0.1:6379\n");
}

TEST_CASE("redis-resolve: --all prints every one, beyond what UDP would hold") {
  for (std::uint16_t i = 0; i < 6; ++i) TheServers().here.Register("six", "replica", "10.0.0.1", 7000 + i);
  // About 100 bytes each with the additional records: more than 4096.
  for (std::uint16_t i = 0; i < 90; ++i) TheServers().here.Register("many", "replica", "10.0.0.1", 7000 + i);
  std::vector<std::string> lines = Resolve({"six", "--role", "replica", "--all"}).Lines();
  std::sort(lines.begin(), lines.end());
  REQUIRE(lines.size() == 6);
  CHECK(lines.front() == "10.0.0.1:7000");
  CHECK(lines.back() == "10.0.0.1:7005");
  CHECK(Resolve({"many", "--role", "replica", "--all"}).Lines().size() == 90);
  CHECK(Resolve({"many", "--role", "replica"}).Lines().size() == 1);  // UDP, truncated, TCP.
}

TEST_CASE("redis-resolve: IPv6") {
  TheServers().here.Register("six-net", "master", "2001:db8::1", 6379);
  CHECK(Resolve({"six-net"}).out == "[2001:db8::1]:6379\n");
  CHECK(Resolve({"six-net", "--format", "url"}).out == "redis://[2001:db8::1]:6379\n");
  CHECK(Json::parse(Resolve({"six-net", "--format", "json"}).out)["host"] == "2001:db8::1");
}

TEST_CASE("redis-resolve: without an address of its own a service is at its node's") {
  TheServers().here.Register("plain", "master", "", 6379);
  CHECK(Resolve({"plain"}).out == "127.0.0.1:6379\n");
}

TEST_CASE("redis-resolve: a host name that Consul cannot resolve is handed out as it is") {
  TheServers().here.Register("named", "master", "redis-1.internal", 6379);
  CHECK(Resolve({"named"}).out == "redis-1.internal:6379\n");
}

TEST_CASE("redis-resolve: a service without a port has no address") {
  TheServers().here.Register("portless", "master", "10.0.0.1", 0);
  const Answer answer = Resolve({"portless"});
  CHECK(answer.exit_code == 3);
  CHECK(answer.err.find("without a port") != std::string::npos);
  TheServers().here.Register("portless", "master", "10.0.0.2", 6379);
  CHECK(Resolve({"portless", "--role", "any"}).out == "10.0.0.2:6379\n");
}

TEST_CASE("redis-resolve: weights are the chances") {
  TheServers().here.Register("loaded", "replica", "10.0.0.1", 6379, {{"Weights", {{"Passing", 1}, {"Warning", 1}}}});
  TheServers().here.Register("loaded", "replica", "10.0.0.2", 6379, {{"Weights", {{"Passing", 50}, {"Warning", 1}}}});
  int heavy = 0;
  for (int round = 0; round < 50; ++round) {
    heavy += Resolve({"loaded", "--role", "replica"}).out == "10.0.0.2:6379\n" ? 1 : 0;
  }
  CHECK(heavy > 25);  // 49 are expected; 25 or fewer in not one of 10^20 runs.
}

TEST_CASE("redis-resolve: --dc asks another datacenter") {
  TheServers().there.Register("remote", "master", "10.2.0.1", 6379);
  const auto is_found = [] { return Resolve({"remote", "--dc", "dc2"}).exit_code == 0; };
  REQUIRE(WaitUntil(is_found, 20s));  // The datacenters have to hear of each other.
  CHECK(Resolve({"remote", "--dc", "dc2"}).out == "10.2.0.1:6379\n");
  CHECK(Resolve({"remote"}).exit_code == 1);
  CHECK(Resolve({"remote", "--dc", "nowhere"}).exit_code == 1);
}

TEST_CASE("redis-resolve: --dns wins over REDIS_RESOLVE_DNS; a name and brackets are taken") {
  TheServers().here.Register("chosen", "master", "10.0.0.1", 6379);
  const std::string dns = TheServers().here.dns();
  const std::string port = dns.substr(dns.find(':'));
  CHECK(Resolve(Loopback(FreePort()), {"chosen", "--dns", dns}).exit_code == 0);
  CHECK(Resolve("", {"chosen", "--dns", dns}).exit_code == 0);
  CHECK(Resolve("localhost" + port, {"chosen"}).exit_code == 0);
  CHECK(Resolve("[::1]" + port, {"chosen"}).exit_code == 3);  // Consul listens on IPv4 alone.
}

TEST_CASE("redis-resolve: DNS that fails is named, with what to do") {
  const std::string closed = Loopback(FreePort());
  for (const bool all : {false, true}) {
    const Answer answer = Resolve(closed, all ? std::vector<std::string>{"--all"} : std::vector<std::string>{});
    CHECK(answer.exit_code == 3);
    CHECK(answer.err.find(closed) != std::string::npos);
    CHECK(answer.err.find("REDIS_RESOLVE_DNS") != std::string::npos);
  }
  const Answer refused = Resolve({"--domain", "example"});
  CHECK(refused.exit_code == 3);
  CHECK(refused.err.find("REFUSED") != std::string::npos);
  CHECK(refused.err.find("--domain") != std::string::npos);
}

TEST_CASE("redis-resolve: wrong usage names what is wrong") {
  const std::vector<std::vector<std::string>> wrong{{"--bogus"},
                                                    {"one", "two"},
                                                    {"--role", "slave"},
                                                    {"--format", "xml"},
                                                    {"--timeout", "x"},
                                                    {"--timeout", "0"},
                                                    {"--timeout", "2 weeks"},
                                                    {"--dns", "127.0.0.1:0"},
                                                    {"--dns", "a:1:2"},
                                                    {"--dns", "[::1"},
                                                    {"--dns", "127.0.0.1:x"},
                                                    {"--dns", ""},
                                                    {"a b"},
                                                    {"a.b", "--dc", "dc2"},
                                                    {"a.b", "--domain", "x"},
                                                    {"--dc", "a/b"},
                                                    {"--dns", "[::1]53"},
                                                    {"--dns", ":8600"}};
  for (const auto& arguments : wrong) {
    CAPTURE(arguments.front());
    CAPTURE(arguments.back());
    const Answer answer = Resolve(arguments);
    CHECK(answer.exit_code == 2);
  }
  CHECK(Resolve({"--role", "slave"}).err.find("master|replica|any") != std::string::npos);
  CHECK(Resolve("nonsense:port", {}).err.find("REDIS_RESOLVE_DNS") != std::string::npos);
}

TEST_CASE("redis-resolve: help fits one screen and ends with three examples") {
  const Answer help = Resolve({"--help"});
  CHECK(help.exit_code == 0);
  const auto lines = help.Lines();
  CHECK(lines.size() <= 24);
  for (const std::string& line : lines) CHECK(line.size() <= 80);
  REQUIRE(lines.size() > 4);
  CHECK(lines[lines.size() - 4] == "Examples:");
  CHECK(Resolve({"--version"}).out == "redis-resolve " RCB_VERSION "\n");
}

TEST_CASE("redis-resolve: an answer that cannot be written is a failure") {
  TheServers().here.Register("unwritten", "master", "10.0.0.1", 6379);
  CHECK(Resolve(TheServers().here.dns(), {"unwritten"}, "/dev/full").exit_code == 3);
}
