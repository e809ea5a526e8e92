// The real redis-resolve against real Consul servers.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
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

/// True when this machine has an IPv6 loopback address.
bool HasIpv6() {
  const int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const bool bound = fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  if (fd >= 0) close(fd);
  return bound;
}

/// One Consul server in a datacenter of its own.
class Consul {
 public:
  Consul(const TestFolder& folder, const std::string& datacenter, std::uint16_t wan_port, std::uint16_t join_wan_port)
      : http_port_(FreePort()), dns_port_(FreePort()) {
    Json config = {{"datacenter", datacenter},
                   {"node_name", "node-" + datacenter},
                   {"bind_addr", "127.0.0.1"},
                   {"client_addr", "127.0.0.1"},
                   {"addresses", {{"dns", HasIpv6() ? "127.0.0.1 ::1" : "127.0.0.1"}}},
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

  /// Registers an instance and returns its ID. `more` overrides the fields of the registration.
  std::string Register(const std::string& service, const std::string& tag, const std::string& address,
                       std::uint16_t port, const Json& more = Json::object()) const {
    const std::string id = service + "-" + std::to_string(++registered_);
    Json registration = {{"ID", id}, {"Name", service}, {"Tags", {tag}}, {"Address", address}, {"Port", port}};
    registration.update(more);
    REQUIRE(HttpCall("PUT", Url("/v1/agent/service/register"), registration.dump()).status == 200);
    return registration["ID"];
  }
  void Deregister(const std::string& id) const {
    REQUIRE(HttpCall("PUT", Url("/v1/agent/service/deregister/" + id)).status == 200);
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

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

struct Answer {
  int exit_code = -1;
  std::string out;
  std::string err;

  std::vector<std::string> Lines() const { return LinesOf(out); }
};

/// Sets a variable of the environment for as long as it lives.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)) {
    setenv(name_.c_str(), value.c_str(), 1);
  }
  ~Variable() { unsetenv(name_.c_str()); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const std::string name_;
};

/// Runs redis-resolve to its end, with REDIS_RESOLVE_DNS unset.
Answer Run(std::vector<std::string> arguments, const char* out_path = nullptr) {
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
  pid_t pid = -1;
  REQUIRE(posix_spawn(&pid, RCB_RESOLVE_BINARY, &actions, nullptr, argv.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = out_path == nullptr ? ReadFile(out) : "",
          .err = ReadFile(err)};
}

/// The same for what shall find an address or fail by itself, with REDIS_RESOLVE_DNS set to `dns` (unset when empty).
Answer Resolve(const std::string& dns, const std::vector<std::string>& arguments, const char* out_path = nullptr) {
  std::optional<Variable> variable;
  if (!dns.empty()) variable.emplace("REDIS_RESOLVE_DNS", dns);
  Answer answer = Run(arguments, out_path);
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

Answer Resolve(const std::vector<std::string>& arguments) { return Resolve(TheServers().here.dns(), arguments); }

/// redis-resolve --watch, and what it has said so far.
class Watch {
 public:
  explicit Watch(std::vector<std::string> arguments)
      : output_(TheServers().folder.path() / ("watch-" + std::to_string(++watches))) {
    arguments.insert(arguments.begin(), {RCB_RESOLVE_BINARY, "--watch", "--dns", TheServers().here.dns()});
    process_.emplace(Process::Options{.command = std::move(arguments), .output = output_});
  }

  std::vector<std::string> Lines() const { return LinesOf(ReadFile(output_)); }
  /// True once it has said so many lines.
  bool Says(std::size_t lines) const {
    return WaitUntil([&] { return Lines().size() >= lines; }, 20s, 1ms);
  }
  /// True when it says nothing more for a while.
  bool IsSilent() const {
    return rcb::integration::HoldsFor([&, said = Lines().size()] { return Lines().size() == said; }, 300ms);
  }
  Process& process() { return *process_; }

 private:
  static inline int watches = 0;
  const std::filesystem::path output_;
  std::optional<Process> process_;
};

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
  CHECK(Resolve({"--format", "env"}).out == "REDIS_HOST=10.1.2.3\nREDIS_PORT=6379\nREDIS_URL=redis://10.1.2.3:6379\n");
  CHECK(Resolve({"--format", "args"}).out == "-h 10.1.2.3 -p 6379\n");
  CHECK(Resolve({"--format", "host"}).out == "10.1.2.3\n");
  CHECK(Resolve({"--format", "port"}).out == "6379\n");
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
  if (HasIpv6()) {
    CHECK(Resolve("[::1]" + port, {"chosen"}).out == "10.0.0.1:6379\n");
  } else {
    MESSAGE("this machine has no IPv6: a DNS server at [::1] is not tried");
  }
  CHECK(Resolve("[::1]:1", {"chosen"}).exit_code == 3);
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
                                                    {"--dns", "127.0.0.1:8600,,127.0.0.1:53"},
                                                    {"--wait", "25h"},
                                                    {"--watch", "--wait", "1s"},
                                                    {"--all", "--", "true"},
                                                    {"--all", "--format", "env"},
                                                    {"--user", "me"},
                                                    {"--password-file", "/dev/null"},
                                                    {"--verify", "--password-file", "/no/such/file"},
                                                    {"--tls", "--cacert", "/dev/null"},
                                                    {"--verify", "--insecure"},
                                                    {"--verify", "--tls", "--cert", "/dev/null"},
                                                    {"--verify", "--tls", "--cacert", "/no/such/file"},
                                                    {"--"},
                                                    {"--dns", "[::1]53"},
                                                    {"--dns", ":8600"}};
  for (const auto& arguments : wrong) {
    CAPTURE(arguments.front());
    CAPTURE(arguments.back());
    const Answer answer = Resolve(arguments);
    CHECK(answer.exit_code == 2);
  }
  CHECK(Resolve({"--role", "slave"}).err.find("any, master, replica") != std::string::npos);
  CHECK(Resolve("nonsense:port", {}).err.find("REDIS_RESOLVE_DNS") != std::string::npos);
}

TEST_CASE("redis-resolve: variables are the defaults of options, and only of what is not given") {
  TheServers().here.Register("varied", "replica", "10.0.0.2", 6379);
  TheServers().here.Register("varied", "master", "10.0.0.1", 6379);
  const Variable role("REDIS_RESOLVE_ROLE", "replica");
  const Variable format("REDIS_RESOLVE_FORMAT", "url");
  const Variable timeout("REDIS_RESOLVE_TIMEOUT", "3s");
  CHECK(Resolve({"varied"}).out == "redis://10.0.0.2:6379\n");
  CHECK(Resolve({"varied", "--role", "master", "--format", "port"}).out == "6379\n");
  {
    const Variable dc("REDIS_RESOLVE_DC", "nowhere");
    CHECK(Resolve({"varied"}).exit_code == 1);
    CHECK(Resolve({"replica.varied.service.consul"}).out == "redis://10.0.0.2:6379\n");  // Says where itself.
  }
  const Variable domain("REDIS_RESOLVE_DOMAIN", "");  // As good as unset.
  const Variable wrong("REDIS_RESOLVE_WAIT", "soon");
  const Answer answer = Resolve({"varied"});
  CHECK(answer.exit_code == 2);
  CHECK(answer.err.find("REDIS_RESOLVE_WAIT: 'soon'") != std::string::npos);
  CHECK(Resolve({"varied", "--wait", "1s"}).exit_code == 0);
}

TEST_CASE("redis-resolve: several DNS servers are tried in order") {
  TheServers().here.Register("second", "master", "10.0.0.1", 6379);
  const std::string closed = Loopback(FreePort());
  const std::string dns = TheServers().here.dns();
  CHECK(Resolve("", {"second", "--dns", closed + "," + dns}).exit_code == 0);
  CHECK(Resolve("", {"second", "--dns", closed, "--dns", dns}).exit_code == 0);
  CHECK(Resolve(closed + "," + dns, {"second"}).exit_code == 0);
  CHECK(Resolve("", {"second", "--dns", closed, "--dns", Loopback(FreePort())}).exit_code == 3);
  CHECK(Resolve("", {"second", "--dns", TheServers().there.dns() + "," + dns}).exit_code == 1);  // It has answered.
}

TEST_CASE("redis-resolve: a command gets the address in its arguments and its environment, and its status is ours") {
  TheServers().here.Register("run", "master", "10.0.0.1", 6379);
  CHECK(Resolve({"run", "--", "echo"}).out == "-h 10.0.0.1 -p 6379\n");
  CHECK(Resolve({"run", "--", "echo", "a", "{}", "b"}).out == "a -h 10.0.0.1 -p 6379 b\n");
  CHECK(Resolve({"run", "--format", "hostport", "--", "echo", "tcp:{}"}).out == "tcp:10.0.0.1:6379\n");
  CHECK(Resolve({"run", "--", "sh", "-c", "echo $REDIS_HOST $REDIS_PORT $REDIS_URL {host} {port}"}).out ==
        "10.0.0.1 6379 redis://10.0.0.1:6379 10.0.0.1 6379\n");
  CHECK(Resolve({"run", "--", "echo", "--", "--help"}).out == "-- --help -h 10.0.0.1 -p 6379\n");
  CHECK(Resolve({"--", "no-such-program-anywhere"}).exit_code == 127);
  CHECK(Resolve({"run", "--", "/"}).exit_code == 126);
  CHECK(Resolve({"nowhere", "--", "echo"}).exit_code == 1);
  const Variable dns("REDIS_RESOLVE_DNS", TheServers().here.dns());
  CHECK(Run({"run", "--", "sh", "-c", "exit 7"}).exit_code == 7);
}

TEST_CASE("redis-resolve: --wait ends when there is one, or when the time is over") {
  const auto start = std::chrono::steady_clock::now();
  CHECK(Resolve({"awaited", "--wait", "300ms"}).exit_code == 1);
  CHECK(std::chrono::steady_clock::now() - start >= 300ms);
  CHECK(Resolve(Loopback(FreePort()), {"awaited", "--wait", "300ms"}).exit_code == 3);

  const auto output = TheServers().folder.path() / "awaited";
  Process waiting({.command = {RCB_RESOLVE_BINARY, "awaited", "--wait", "60s", "--dns", TheServers().here.dns()},
                   .output = output});
  CHECK(rcb::integration::HoldsFor([&] { return waiting.IsRunning(); }, 200ms));
  TheServers().here.Register("awaited", "master", "10.0.0.1", 6379);
  CHECK(waiting.WaitForExit(20s) == 0);
  CHECK(ReadFile(output) == "10.0.0.1:6379\n");
  CHECK(Resolve({"awaited", "--wait", "60s"}).out == "10.0.0.1:6379\n");  // At once.
}

TEST_CASE("redis-resolve: --watch says each change once") {
  const Consul& consul = TheServers().here;
  Watch watch({"watched"});
  REQUIRE(watch.Says(1));
  CHECK(watch.Lines()[0].starts_with("redis-resolve: no master of watched"));
  CHECK(watch.IsSilent());
  const std::string first = consul.Register("watched", "master", "10.0.0.1", 6379);
  REQUIRE(watch.Says(2));
  consul.Deregister(first);
  REQUIRE(watch.Says(3));
  consul.Register("watched", "master", "10.0.0.1", 6379);  // Back where it was: that is not news.
  CHECK(watch.IsSilent());
  const std::string other = consul.Register("watched", "master", "10.0.0.2", 6379);
  REQUIRE(watch.Says(4));  // Two masters: refused.
  CHECK(watch.IsSilent());
  consul.Deregister(other);
  CHECK(watch.IsSilent());
  const auto lines = watch.Lines();
  REQUIRE(lines.size() == 4);
  CHECK(lines[1] == "10.0.0.1:6379");
  CHECK(lines[2] == lines[0]);
  CHECK(lines[3].find("2 addresses") != std::string::npos);
  CHECK(watch.process().IsRunning());
}

TEST_CASE("redis-resolve: --watch keeps the replica that it chose for as long as it is there") {
  const Consul& consul = TheServers().here;
  std::map<std::string, std::string> ids;  // By address.
  for (std::uint16_t i = 0; i < 6; ++i) {  // More than one UDP answer shows.
    ids["10.0.0.1:" + std::to_string(7000 + i)] = consul.Register("kept", "replica", "10.0.0.1", 7000 + i);
  }
  Watch one({"kept", "--role", "replica"});
  Watch all({"kept", "--role", "replica", "--all"});
  REQUIRE(one.Says(1));
  REQUIRE(all.Says(1));
  CHECK(one.IsSilent());
  const std::string chosen = one.Lines()[0];
  REQUIRE(ids.contains(chosen));
  consul.Deregister(ids[chosen]);
  REQUIRE(one.Says(2));
  REQUIRE(all.Says(2));
  CHECK(one.IsSilent());
  CHECK(one.Lines()[1] != chosen);
  const auto count = [lines = all.Lines()](std::size_t line) {
    return std::count(lines[line].begin(), lines[line].end(), ' ');
  };
  CHECK(count(0) == 5);
  CHECK(count(1) == 4);
  CHECK(all.Lines().size() == 2);
}

TEST_CASE("redis-resolve: --watch runs its command to the end, then again only if there was a change") {
  const Consul& consul = TheServers().here;
  const auto gate = TheServers().folder.path() / "gate";
  std::string id = consul.Register("hooked", "master", "10.0.0.1", 1);
  // Each run says that it began, waits for the gate and fails.
  Watch watch(
      {"hooked", "--", "sh", "-c", "echo {port}; until [ -e " + gate.string() + " ]; do sleep 0.01; done; exit 3"});
  REQUIRE(watch.Says(1));
  for (std::uint16_t port = 2; port <= 4; ++port) {
    consul.Deregister(id);
    id = consul.Register("hooked", "master", "10.0.0.1", port);
  }
  CHECK(watch.IsSilent());  // The first one still runs.
  rcb::integration::WriteFile(gate, "");
  REQUIRE(watch.Says(4));
  CHECK(watch.IsSilent());
  const auto lines = watch.Lines();
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] == "1");
  CHECK(lines[1] == "redis-resolve: sh ended with exit status 3; it is run again at the next change");
  CHECK(lines[2] == "4");

  Watch impossible({"hooked", "--", "no-such-program-anywhere"});
  CHECK(impossible.process().WaitForExit(20s) == 127);
}

TEST_CASE("redis-resolve: help fits one screen, ends with three examples, and agrees with the man page") {
  const Answer help = Resolve({"--help"});
  CHECK(help.exit_code == 0);
  const auto lines = help.Lines();
  CHECK(lines.size() <= 40);
  for (const std::string& line : lines) CHECK_MESSAGE(line.size() <= 80, line);
  REQUIRE(lines.size() > 4);
  CHECK(lines[lines.size() - 4] == "Examples:");
  CHECK(Resolve({"--version"}).out == "redis-resolve " RCB_VERSION "\n");

  const std::string man = ReadFile(RCB_TEST_DATA "/../../packaging/man/redis-resolve.1");
  std::set<std::string> in_man;
  for (const std::string& line : LinesOf(man)) {
    const std::size_t flag = line.find("Fl -");
    if (!line.starts_with(".It Fl ") || flag == std::string::npos) continue;
    in_man.insert("-" + line.substr(flag + 3, line.find(' ', flag + 3) - flag - 3));
  }
  std::set<std::string> in_help;
  for (const std::string& line : lines) {
    const std::size_t flag = line.find("--");
    if (!line.starts_with("  -") || flag == std::string::npos) continue;
    const std::string option = line.substr(flag, line.find(' ', flag) - flag);
    in_help.insert(option);
    // What has a value has a variable.
    const bool has_value = line.at(line.find(' ', flag) + 1) != ' ';
    std::string variable = "REDIS_RESOLVE";
    for (const char c : option.substr(1)) variable += c == '-' ? '_' : static_cast<char>(std::toupper(c));
    CHECK_MESSAGE((man.find(variable + "\n") != std::string::npos) == has_value, option);
  }
  CHECK(in_man == in_help);
  const std::string plain_man = std::regex_replace(man, std::regex(R"(\\\(dq)"), "\"");
  for (std::size_t i = lines.size() - 3; i < lines.size(); ++i) {
    CHECK_MESSAGE(plain_man.find(lines[i].substr(2)) != std::string::npos, lines[i]);
  }
}

TEST_CASE("redis-resolve: an answer that cannot be written is a failure") {
  TheServers().here.Register("unwritten", "master", "10.0.0.1", 6379);
  CHECK(Resolve(TheServers().here.dns(), {"unwritten"}, "/dev/full").exit_code == 3);
}
