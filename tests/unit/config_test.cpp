#include "agent/config.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "agent/config_values.h"

using namespace rcb::agent;
using namespace std::chrono_literals;

namespace {

/// A file that lasts as long as the test.
class File {
 public:
  explicit File(const std::string& text) {
    const int descriptor = mkstemp(path_.data());
    REQUIRE(descriptor >= 0);
    close(descriptor);
    std::ofstream(path_) << text;
  }
  ~File() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/rcb-config-test-XXXXXX";
};

std::string ErrorOf(const ConfigSources& sources) {
  const auto config = LoadConfig(sources);
  REQUIRE_FALSE(config);
  return config.error();
}

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("Config: with nothing set it watches the default Redis") {
  const auto config = LoadConfig({});
  REQUIRE(config);
  REQUIRE(config->redis.size() == 1);
  CHECK(config->redis[0].ToString() == "127.0.0.1:6379");
  CHECK(config->consul.url == "http://127.0.0.1:8500");
  CHECK(config->service == "redis");
  CHECK_FALSE(config->authority);
}

TEST_CASE("Config: flags over environment over file over defaults") {
  const File file(R"({
    // A comment.
    "redis": ["10.0.0.1:1", "10.0.0.1:2"], "consul": "http://file:8500", "service": "file", "ttl": "20s"
  })");
  ConfigSources sources;
  sources.file = file.path();
  sources.environment = {{"CONSUL_HTTP_ADDR", "http://environment:8500"}};
  sources.flags = {{"service", {"flag"}}};
  const auto config = LoadConfig(sources);
  REQUIRE(config);
  CHECK(config->redis.size() == 2);
  CHECK(config->consul.url == "http://environment:8500");
  CHECK(config->service == "flag");
  CHECK(config->ttl == 20s);
}

TEST_CASE("Config: errors name the thing and the remedy") {
  struct Case {
    const char* text;
    const char* part;
  };
  const Case kCases[] = {
      {R"({"redsi": ["a:1"]})", "unknown key \"redsi\"; did you mean \"redis\"?"},
      {R"({"log-format": "json"})", "did you mean \"log_format\"?"},
      {R"({"redis": 7})", "redis: expected a list of strings"},
      {R"({"redis": []})", "at least one server"},
      {R"({"redis": ["a:1", "a:1"]})", "listed twice"},
      {R"({"redis": ["a:99999"]})", "port"},
      {R"({"ttl": "10"})", "no duration"},
      {R"({"ttl": 10})", "expected a duration"},
      {R"({"ttl": "1ms"})", "out of range"},
      {R"({"ttl": "99999999999999999999s"})", "no duration"},
      {R"({"service": "my.redis"})", "DNS label"},
      {R"({"tags": ["master"]})", "agent's own"},
      {R"({"authority": "me"})", "\"auto\", \"sentinel\", \"replication\" or \"cluster\""},
      {R"({"redis_password_file": "/nonexistent/password"})", "/nonexistent/password"},
      {"{\n\"redis\": [\n}", "line 3"},
      {"[]", "JSON object"},
  };
  for (const Case& item : kCases) {
    CAPTURE(item.text);
    const File file(item.text);
    ConfigSources sources;
    sources.file = file.path();
    const std::string error = ErrorOf(sources);
    CHECK_MESSAGE(Contains(error, item.part), error);
    CHECK(Contains(error, file.path()));
  }
  ConfigSources missing;
  missing.file = "/nonexistent/config.json";
  CHECK(Contains(ErrorOf(missing), "cannot read /nonexistent/config.json: No such file"));
  ConfigSources folder;
  folder.file = "/tmp";
  CHECK(Contains(ErrorOf(folder), "cannot read /tmp"));
}

TEST_CASE("Config: secrets come from files and the environment and are never shown") {
  const File token("token-secret\n");
  const File password("password-secret\nsecond line");
  const File file("{\"consul_token_file\": \"" + token.path() + "\", \"redis_password_file\": \"" + password.path() +
                  "\"}");
  ConfigSources sources;
  sources.file = file.path();
  auto config = LoadConfig(sources);
  REQUIRE(config);
  CHECK(config->consul.token == "token-secret");
  CHECK(config->redis_password.Current() == "password-secret");
  CHECK_FALSE(Contains(DescribeConfig(*config), "secret"));
  CHECK(Contains(DescribeConfig(*config), "(set)"));
  sources.environment = {{"CONSUL_HTTP_TOKEN", "environment-token"}, {"REDISCLI_AUTH", "environment-password"}};
  config = LoadConfig(sources);
  REQUIRE(config);
  CHECK(config->consul.token == "environment-token");
  CHECK(config->redis_password.Current() == "environment-password");
  const File empty("\n");
  sources.environment = {{"CONSUL_HTTP_TOKEN_FILE", empty.path()}};
  CHECK(Contains(ErrorOf(sources), "holds no secret"));
}

TEST_CASE("Config: a secret's file is read again when it changes") {
  const File password("one\n");
  auto secret = Secret::FromFile(password.path());
  REQUIRE(secret);
  CHECK(secret->Current() == "one");
  std::ofstream(password.path()) << "two, and longer\n";
  CHECK(secret->Current() == "two, and longer");
  SUBCASE("emptied") { std::ofstream(password.path()) << "\n"; }
  SUBCASE("removed") { unlink(password.path().c_str()); }
  SUBCASE("far too long") { std::ofstream(password.path()) << std::string(5000, 'x'); }
  SUBCASE("a pipe that nobody writes to") {
    unlink(password.path().c_str());
    REQUIRE(mkfifo(password.path().c_str(), 0600) == 0);
  }
  CHECK(secret->Current() == "two, and longer");
}

TEST_CASE("Config: a file without a slash is a credential of the systemd unit") {
  const File password("password-secret\n");
  const std::size_t slash = password.path().rfind('/');
  const File file("{\"redis_password_file\": \"" + password.path().substr(slash + 1) + "\"}");
  ConfigSources sources;
  sources.file = file.path();
  sources.environment = {{"CREDENTIALS_DIRECTORY", password.path().substr(0, slash)}};
  auto config = LoadConfig(sources);
  REQUIRE(config);
  CHECK(config->redis_password.Current() == "password-secret");
  sources.environment.clear();
  CHECK(Contains(ErrorOf(sources), "redis_password_file: cannot read rcb-config-test-"));
}

TEST_CASE("Config: TLS of Redis, and of Sentinel where it does not say otherwise") {
  const auto load = [](const std::string& text) {
    const File file(text);
    ConfigSources sources;
    sources.file = file.path();
    return LoadConfig(sources);
  };
  auto config = load(R"({"redis_tls": true, "redis_tls_server_name": "redis.example", "redis_tls_verify": false})");
  REQUIRE(config);
  CHECK(config->redis_tls.client);
  CHECK(config->sentinel_tls.enabled);
  CHECK(config->sentinel_tls.client);
  CHECK(config->sentinel_tls.options.server_name == "redis.example");
  CHECK_FALSE(config->sentinel_tls.options.verify);
  CHECK(config->RedisAccess().tls == config->redis_tls.client);
  CHECK(config->SentinelAccess().tls == config->sentinel_tls.client);

  config =
      load(R"({"redis_tls": true, "redis_tls_server_name": "redis.example", "sentinel_tls_server_name": "s.example"})");
  REQUIRE(config);
  CHECK(config->sentinel_tls.options.server_name == "s.example");
  CHECK(config->sentinel_tls.options.verify);

  config = load(R"({"redis_tls": true, "sentinel_tls": false})");
  REQUIRE(config);
  CHECK_FALSE(config->SentinelAccess().tls);

  config = load(R"({"sentinel_tls": true})");
  REQUIRE(config);
  CHECK_FALSE(config->RedisAccess().tls);
  CHECK(config->SentinelAccess().tls);

  CHECK(load(R"({"redis_ca_file": "/ca.pem"})").error() == R"(redis_ca_file: is of no use without "redis_tls": true)");
  CHECK(load(R"({"redis_tls": true, "sentinel_tls": false, "sentinel_client_key": "/key"})").error() ==
        R"(sentinel_client_key: is of no use without "sentinel_tls": true)");
  CHECK(Contains(load(R"({"redis_tls": true, "redis_ca_file": "/nonexistent/ca.pem"})").error(),
                 "redis_tls: cannot read /nonexistent/ca.pem: No such file"));
  CHECK(Contains(load(R"({"redis_tls": true, "sentinel_ca_file": "/nonexistent/ca.pem"})").error(),
                 "sentinel_tls: cannot read /nonexistent/ca.pem"));
  CHECK(Contains(load(R"({"redis_tls": true, "redis_client_cert": "/etc/hostname"})").error(), "belong together"));
}

TEST_CASE("Config: what clients dial must be known") {
  ConfigSources sources;
  sources.flags = {{"redis", {"unix:/run/redis.sock"}}};
  CHECK(Contains(ErrorOf(sources), "advertise: a HOST:PORT for clients is needed"));
  sources.flags = {{"redis", {"a:1", "a:2"}}, {"advertise", {"b:1"}}};
  CHECK(Contains(ErrorOf(sources), "advertise: one port cannot stand for several servers"));
}

TEST_CASE("Config: advertise with and without a port") {
  ConfigSources sources;
  sources.flags = {{"advertise", {"10.0.0.9"}}};
  auto config = LoadConfig(sources);
  REQUIRE(config);
  CHECK(config->advertise->port == 0);
  sources.flags = {{"advertise", {"10.0.0.9:6380"}}};
  config = LoadConfig(sources);
  REQUIRE(config);
  CHECK(config->advertise->port == 6380);
}

TEST_CASE("Config: CONSUL_HTTP_SSL makes a bare address https") {
  ConfigSources sources;
  sources.environment = {{"CONSUL_HTTP_ADDR", "consul.example:8501"}, {"CONSUL_HTTP_SSL", "true"}};
  auto config = LoadConfig(sources);
  REQUIRE(config);
  CHECK(config->consul.url == "https://consul.example:8501");
  sources.environment["CONSUL_HTTP_SSL"] = "maybe";
  CHECK(Contains(ErrorOf(sources), "CONSUL_HTTP_SSL"));
}

TEST_CASE("Config: durations") {
  CHECK(ParseDuration("200ms") == 200ms);
  CHECK(ParseDuration("10s") == 10s);
  CHECK(ParseDuration("5m") == 5min);
  CHECK(ParseDuration("24h") == 24h);
  for (const char* text : {"", "s", "-1s", "1.5s", "10", "10 s", "10d"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseDuration(text));
  }
}

TEST_CASE("Config: each group has its own settings over what stands outside") {
  const File file(R"({
    "consul": "http://10.0.0.9:8500", "sentinels": ["10.0.0.1", "10.0.0.2"], "tags": ["blue"], "hang_after": "7s",
    "groups": [
      {"service": "cache", "redis": ["127.0.0.1:6379", "127.0.0.1:6380"], "master_name": "cache"},
      {"service": "queue", "redis": "127.0.0.1:6381", "master_name": "queue", "tags": [], "replica_service": "queue-replica",
       "authority": "sentinel", "hang_after": "9s"}
    ]})");
  ConfigSources sources;
  sources.file = file.path();
  const auto config = LoadConfig(sources);
  REQUIRE(config);
  const std::vector<Config> groups = GroupsOf(*config);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].service == "cache");
  CHECK(groups[0].replica_service == "cache");
  CHECK(groups[0].redis.size() == 2);
  CHECK(groups[0].sentinels.size() == 2);
  CHECK(groups[0].tags == std::vector<std::string>{"blue"});
  CHECK(groups[0].hang_after == 7s);
  CHECK(groups[0].consul.url == "http://10.0.0.9:8500");
  CHECK(groups[1].service == "queue");
  CHECK(groups[1].replica_service == "queue-replica");
  CHECK(groups[1].tags.empty());
  CHECK(groups[1].hang_after == 9s);
  CHECK(groups[1].authority == Authority::kSentinel);
  const std::string shown = DescribeConfig(*config);
  CHECK(Contains(shown, "\"groups\": ["));
  CHECK(Contains(shown, "\"service\": \"queue\""));
  CHECK_FALSE(Contains(shown, "\"service\": \"redis\""));
  CHECK(shown.find("\"consul\"") == shown.rfind("\"consul\""));

  sources.flags = {{"service", {"queue"}}};
  const auto chosen = LoadConfig(sources);
  REQUIRE(chosen);
  REQUIRE(GroupsOf(*chosen).size() == 1);
  CHECK(GroupsOf(*chosen)[0].master_name == "queue");
  sources.flags = {{"service", {"else"}}};
  CHECK(Contains(ErrorOf(sources), "no group of the file has the service \"else\""));
  sources.flags = {{"redis", {"127.0.0.1:1"}}};
  CHECK(Contains(ErrorOf(sources), "--redis: the settings file has several groups"));
}

TEST_CASE("Config: one group is a group as well") {
  const auto config = LoadConfig({});
  REQUIRE(config);
  REQUIRE(GroupsOf(*config).size() == 1);
  CHECK(GroupsOf(*config)[0].service == "redis");
}

TEST_CASE("Config: faults of groups are named with their place") {
  const std::pair<const char*, const char*> faults[] = {
      {R"({"groups": {}})", "groups: expected a list of at least one group"},
      {R"({"groups": []})", "groups: expected a list of at least one group"},
      {R"({"groups": ["cache"]})", "groups[0]: expected an object"},
      {R"({"groups": [{"consul": "http://x"}]})", "groups[0]: consul: is one for all groups"},
      {R"({"groups": [{"consul_token_file": "x"}]})", "groups[0]: consul_token_file: is one for all groups"},
      {R"({"groups": [{"listen": "off"}]})", "groups[0]: listen: is one for all groups"},
      {R"({"groups": [{"groups": []}]})", "groups[0]: a group has no groups"},
      {R"({"groups": [{"servce": "x"}]})", "groups[0]: unknown key \"servce\"; did you mean \"service\"?"},
      {R"({"group": [{}]})", "unknown key \"group\"; did you mean \"groups\"?"},
      {R"({"groups": [{"service": "a", "lease": "1s"}]})", "groups[0]: lease: "},
      {R"({"groups": [{"redis": "h:1"}, {"redis": "h:2"}]})",
       "groups[1]: the service \"redis\" is also that of groups[0]"},
      {R"({"groups": [{"service": "a"}, {"service": "b", "replica_service": "a", "redis": "h:2"}]})",
       "groups[1]: the service \"a\" is also that of groups[0]"},
      {R"({"groups": [{"service": "a", "redis": "h:1"}, {"service": "b", "redis": ["h:2", "h:1"]}]})",
       "groups[1]: redis: h:1 is also in groups[0]"},
      {R"({"groups": [{"service": "a", "redis": "unix:/x"}]})",
       "groups[0]: advertise: a HOST:PORT for clients is needed"},
      {R"({"groups": [{"redis_ca_file": "/x"}]})", "groups[0]: redis_ca_file: is of no use without"},
  };
  for (const auto& fault : faults) {
    const auto& text = fault.first;
    const auto& message = fault.second;
    CAPTURE(text);
    const File file(text);
    ConfigSources sources;
    sources.file = file.path();
    const std::string error = ErrorOf(sources);
    CAPTURE(error);
    CHECK(Contains(error, message));
    CHECK(Contains(error, file.path()));
  }
}

TEST_CASE("Config: a group is the same while its own settings are") {
  const auto load = [](const std::string& text) {
    const File file(text);
    ConfigSources sources;
    sources.file = file.path();
    const auto config = LoadConfig(sources);
    REQUIRE(config);
    return *config;
  };
  const Config one = load(R"({"service": "cache"})");
  CHECK(IsSameGroup(one, load(R"({"service": "cache", "log_level": "debug", "listen": "off"})")));
  CHECK(IsSameGroup(one, GroupsOf(load(R"({"groups": [{"service": "cache"}]})"))[0]));
  CHECK_FALSE(IsSameGroup(one, load(R"({"service": "queue"})")));
  CHECK_FALSE(IsSameGroup(one, load(R"({"service": "cache", "ttl": "11s"})")));
  const File password("secret\n");
  const File other("secret\n");
  const std::string with = R"({"service": "cache", "redis_password_file": ")";
  const Config secured = load(with + password.path() + "\"}");
  CHECK(IsSameGroup(secured, load(with + password.path() + "\"}")));
  CHECK_FALSE(IsSameGroup(secured, load(with + other.path() + "\"}")));
}

TEST_CASE("Config: with discover there is no group until one is found, but those of the file") {
  ConfigSources sources;
  sources.flags = {{"discover", {"10.0.0.1"}}};
  const auto config = LoadConfig(sources);
  REQUIRE(config);
  CHECK(config->discover.front().ToString() == "10.0.0.1:26379");
  CHECK(GroupsOf(*config).empty());
  sources.flags.emplace_back("redis", std::vector<std::string>{"127.0.0.1:6379"});
  CHECK(Contains(ErrorOf(sources), "redis: is told by Sentinel with discover"));
  const File file(R"({"discover": "10.0.0.1", "groups": [{"service": "cache"}]})");
  sources.flags.clear();
  sources.file = file.path();
  const auto both = LoadConfig(sources);
  REQUIRE(both);
  CHECK(GroupsOf(*both).size() == 1);
}
