// What an operator sees of a running agent: the status server and the commands that ask it.

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/integration/bridge_agent.h"
#include "tests/integration/consul_agent.h"
#include "tests/integration/http_call.h"
#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;
using Json = nlohmann::json;

namespace {

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Outcome {
  int status = -1;
  std::string output;
};

Outcome RunToEnd(const TestFolder& folder, const std::vector<std::string>& command,
                 const std::map<std::string, std::string>& environment = {}) {
  const auto output = folder.path() / "command.log";
  WriteFile(output, "");
  Process process({.command = command, .output = output, .environment = environment});
  const auto status = process.WaitForExit(20s);
  return {status.value_or(-1), ReadFile(output)};
}

/// A connection to the status server that says what it is told and no more.
class RawConnection {
 public:
  explicit RawConnection(std::uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in target{};
    target.sin_family = AF_INET;
    target.sin_port = htons(port);
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(socket_, reinterpret_cast<const sockaddr*>(&target), sizeof target) == 0);
    const timeval patience{.tv_sec = 5, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~RawConnection() { close(socket_); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  /// False once the server has closed it.
  bool Send(const std::string& text) const {
    return send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  /// True when the server closes it within 5 s.
  bool IsClosed() const {
    std::string ignored;
    return Read(ignored);
  }
  std::string ReadToEnd() const {
    std::string answer;
    CHECK(Read(answer));
    return answer;
  }

 private:
  bool Read(std::string& answer) const {
    std::array<char, 4096> block{};
    while (true) {
      const ssize_t count = recv(socket_, block.data(), block.size(), 0);
      if (count == 0 || (count < 0 && errno == ECONNRESET)) return true;
      if (count < 0) return false;
      answer.append(block.data(), static_cast<std::size_t>(count));
    }
  }

  int socket_;
};

/// One Redis, one Consul, one agent that listens.
struct Fixture {
  TestFolder folder;
  ConsulAgent consul{folder};
  RedisServer redis{folder};
  std::uint16_t port = FreePort();
  std::string listen = Loopback(port);
  BridgeAgent agent{folder, {.redis = redis.address(), .consul = consul.url(), .arguments = {"--listen", listen}}};

  Fixture() {
    consul.Start();
    redis.Start();
    consul.WaitForLeader();
    agent.Start();
    REQUIRE(WaitUntil([this] { return Contains(Get("/status").body, "\"tag\": \"master\""); }, 20s));
    const auto is_published = [this] {
      const std::vector<HealthEntry> entries = consul.Health("redis");
      return entries.size() == 1 && entries[0].status == "passing";
    };
    REQUIRE(WaitUntil(is_published, 20s));
  }
  HttpReply Get(const std::string& path) const { return HttpCall("GET", "http://" + listen + path); }
  std::vector<std::string> Line(const std::string& command, const std::vector<std::string>& arguments = {}) const {
    std::vector<std::string> line = {RCB_AGENT_BINARY, command,      "--redis",  redis.address(),
                                     "--consul",       consul.url(), "--listen", listen};
    line.insert(line.end(), arguments.begin(), arguments.end());
    return line;
  }
  Outcome Ask(const std::string& command, const std::vector<std::string>& arguments = {}) const {
    return RunToEnd(folder, Line(command, arguments));
  }
  /// On a terminal, which script(1) makes. `no_colour`: what NO_COLOR says.
  std::string ShowOnTerminal(const std::string& command, const std::string& no_colour) const {
    std::string line;
    for (const std::string& word : Line(command)) line += word + " ";
    return RunToEnd(folder, {"script", "-qec", line, "/dev/null"}, {{"NO_COLOR", no_colour}}).output;
  }
};

}  // namespace

TEST_CASE("the status server shows what the agent knows, and the commands print it") {
  Fixture fixture;
  REQUIRE(WaitUntil([&] { return fixture.Get("/readyz").status == 200; }, 20s));
  CHECK(fixture.Get("/healthz").status == 200);
  CHECK(fixture.Get("/nothing").status == 404);
  const RawConnection raw(fixture.port);
  CHECK(raw.Send("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br, gzip\r\nRange: bytes=0-,0-,0-\r\n\r\n"));
  CHECK(Contains(raw.ReadToEnd(), "HTTP/1.1 400 "));
  const RawConnection page(fixture.port);
  CHECK(page.Send("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br, gzip\r\n\r\n"));
  const std::string answer = page.ReadToEnd();
  CHECK(Contains(answer, "Content-Security-Policy: default-src 'none'"));
  CHECK_FALSE(Contains(answer, "Content-Encoding"));
  CHECK(Contains(answer, "<html"));
  CHECK(HttpCall("PUT", "http://" + fixture.listen + "/status", "x").status == 405);
  CHECK(Contains(fixture.Get("/").body, "<!doctype html>"));

  const Outcome table = fixture.Ask("status");
  CHECK(table.status == 0);
  CHECK(Contains(table.output, fixture.redis.address() + "  master  master, passing"));
  CHECK_FALSE(Contains(table.output, "\x1b"));  // Not a terminal.
  CHECK(Contains(fixture.Ask("status", {"--json"}).output, "\"holds_claim\": true"));
  const Outcome reasons = fixture.Ask("explain");
  CHECK(reasons.status == 0);
  CHECK(Contains(reasons.output, "is published as master, passing: master at epoch 1, confirmed by replication."));
  CHECK(Contains(reasons.output, "The claim is held by this server, epoch 1, by authority of replication"));
  CHECK(Contains(fixture.Ask("explain", {"--json"}).output, "\"who\": \"The claim\""));

  fixture.redis.Kill();
  CHECK(WaitUntil([&] { return Contains(fixture.Ask("status").output, "refused  master, critical"); }, 20s));
  CHECK(Contains(fixture.Get("/metrics").body,
                 "redis_consul_agent_redis_up{service=\"redis\",redis=\"" + fixture.redis.address() + "\"} 0"));
  CHECK(Contains(fixture.Get("/status").body, "refuses connections"));
}

TEST_CASE("colours: on a terminal, and there not under NO_COLOR") {
  const Fixture fixture;
  const std::string escape = "\x1b[";
  const auto green = [](const std::string& text) { return "\x1b[32m" + text + "\x1b[0m"; };
  const auto bold = [](const std::string& text) { return "\x1b[1m" + text + "\x1b[0m"; };
  const auto check = [&](const std::string& command, const std::string& heading, const std::string& word) {
    CAPTURE(command);
    // It is off when it is there and empty (no-color.org).
    const std::string coloured = fixture.ShowOnTerminal(command, "");
    CHECK(Contains(coloured, bold(heading)));
    CHECK(Contains(coloured, green(word)));
    const std::string plain = fixture.ShowOnTerminal(command, "1");
    CHECK(Contains(plain, heading));
    CHECK(Contains(plain, word));
    CHECK_FALSE(Contains(plain, escape));
    const Outcome file = RunToEnd(fixture.folder, fixture.Line(command), {{"NO_COLOR", ""}});
    CHECK(Contains(file.output, heading));
    CHECK_FALSE(Contains(file.output, escape));
  };
  check("status", "INSTANCE", "master, passing");
  check("explain", fixture.redis.address(), "master, passing");
  check("doctor", "What to do, in this order:", "good");
}

TEST_CASE("a promotion is counted, and how long it took to be published") {
  Fixture fixture;
  RedisServer other(fixture.folder);
  other.Start();
  fixture.redis.Follow(other);
  REQUIRE(WaitUntil([&] { return Contains(fixture.Get("/status").body, "\"tag\": \"replica\""); }, 20s));
  fixture.redis.Promote();
  CHECK(WaitUntil(
      [&] {
        const std::string metrics = fixture.Get("/metrics").body;
        return Contains(metrics, "redis_consul_agent_failover_publish_seconds_count 1\n") &&
               Contains(metrics, "redis_consul_agent_role_changes_total{service=\"redis\",redis=\"" +
                                     fixture.redis.address() + "\"} 2\n");
      },
      20s));
}

TEST_CASE("metrics: promtool finds nothing to mend") {
  const Fixture fixture;
  const auto file = fixture.folder.path() / "metrics.txt";
  WriteFile(file, fixture.Get("/metrics").body);
  const Outcome checked = RunToEnd(fixture.folder, {"sh", "-c", "promtool check metrics <\"$1\"", "sh", file.string()});
  CHECK(checked.status == 0);
  CHECK(checked.output.empty());
}

TEST_CASE("a port that is taken is no fault: the second agent works without a status server") {
  Fixture fixture;
  RedisServer redis(fixture.folder);
  redis.Start();
  BridgeAgent second(
      fixture.folder,
      {.redis = redis.address(), .consul = fixture.consul.url(), .arguments = {"--listen", fixture.listen}});
  second.Start();
  CHECK(WaitUntil([&] { return fixture.consul.Health("redis").size() == 2; }, 20s));
  CHECK(Contains(second.Log(), "cannot listen at " + fixture.listen + ": the port is taken"));
  CHECK(second.Complaints().empty());
  CHECK(Contains(fixture.Ask("status").output, fixture.redis.address()));
}

TEST_CASE("an agent that listens elsewhere after a reload, or nowhere") {
  TestFolder folder;
  ConsulAgent consul(folder);
  RedisServer redis(folder);
  consul.Start();
  redis.Start();
  consul.WaitForLeader();
  const std::string first = Loopback(FreePort());
  const std::string second = Loopback(FreePort());
  BridgeAgent agent(
      folder, {.redis = redis.address(), .consul = consul.url(), .settings = R"({"listen": ")" + first + R"("})"});
  const auto answers = [](const std::string& address) {
    return HttpCall("GET", "http://" + address + "/healthz").status == 200;
  };
  agent.Start();
  CHECK(WaitUntil([&] { return answers(first); }, 20s));
  agent.Reload(R"({"listen": ")" + second + R"("})");
  CHECK(WaitUntil([&] { return answers(second); }, 20s));
  CHECK_FALSE(answers(first));
  agent.Reload(R"({"listen": "off"})");
  CHECK(WaitUntil([&] { return !answers(second); }, 20s));
}

TEST_CASE("slow, endless and many clients cost the status server neither memory nor its life") {
  Fixture fixture;
  const long before = fixture.agent.process().ResidentKib();
  const std::string block(65536, 'a');
  for (const std::string start : {"GET /", "GET / HTTP/1.1\r\nX: ", "\x16\x03\x01"}) {
    const RawConnection endless(fixture.port);
    static_cast<void>(endless.Send(start));
    int sent = 0;
    while (sent < 1000 && endless.Send(block)) ++sent;
    CHECK(sent < 100);  // What fits into the sockets' buffers.
    CHECK(endless.IsClosed());
  }
  CHECK(fixture.agent.process().ResidentKib() - before < 8192);
  {
    std::vector<std::unique_ptr<RawConnection>> idle;
    idle.reserve(24);
    for (int i = 0; i < 24; ++i) idle.push_back(std::make_unique<RawConnection>(fixture.port));
    // They are closed after 2 s, and whoever waited is served.
    CHECK(WaitUntil([&] { return fixture.Get("/healthz").status == 200; }, 20s));
    CHECK(idle.front()->IsClosed());
  }
  RawConnection unfinished(fixture.port);
  CHECK(unfinished.Send("GET / HT"));
  fixture.agent.process().Signal(SIGTERM);
  CHECK(fixture.agent.process().WaitForExit(5s) == 0);
}

TEST_CASE("deregister: refused while the agent runs, then nothing is left") {
  Fixture fixture;
  const Outcome refused = fixture.Ask("deregister");
  CHECK(refused.status == 1);
  CHECK(Contains(refused.output, "still runs"));
  CHECK(fixture.consul.Health("redis").size() == 1);
  const std::string id = Json::parse(fixture.Get("/status").body).at("instances").at(0).at("service_id");

  fixture.agent.process().Signal(SIGTERM);
  REQUIRE(fixture.agent.process().WaitForExit(5s) == 0);
  const Outcome none = fixture.Ask("status");
  CHECK(none.status == 1);
  CHECK(Contains(none.output, "no agent answers at " + fixture.listen));
  const auto removal = [&] {
    const Outcome outcome = fixture.Ask("deregister", {"--json"});
    CHECK(outcome.status == 0);
    return Json::parse(outcome.output);
  };
  const Json gone = {{"gone", {id}}, {"refused", Json::array()}};
  CHECK(removal() == gone);
  CHECK(WaitUntil([&] { return fixture.consul.Health("redis").empty(); }, 20s));
  CHECK(removal() == gone);  // Again: nothing to do is no fault.
  CHECK(Contains(fixture.Ask("deregister").output, id));

  fixture.consul.process().Kill();
  const Outcome unreachable = fixture.Ask("deregister", {"--json"});
  CHECK(unreachable.status == 1);
  CHECK(Contains(unreachable.output, R"("id": ")" + id + '"'));
}
