#include <doctest/doctest.h>

#include "consul/resolve_command.h"
#include "consul/resolve_format.h"

namespace rcb::consul {
namespace {

using Arguments = std::vector<std::string>;

const ServiceAddress kFour{"10.0.0.1", 6379, {.priority = 1, .weight = 2, .port = 6379, .target = "a"}};
const ServiceAddress kSix{"2001:db8::1", 6380, {}};

}  // namespace

TEST_CASE("FormatAddresses: each format") {
  struct Row {
    Format format;
    const char* four;
    const char* six;
  };
  const Row rows[] = {
      {Format::kHostPort, "10.0.0.1:6379\n", "[2001:db8::1]:6380\n"},
      {Format::kUrl, "redis://10.0.0.1:6379\n", "redis://[2001:db8::1]:6380\n"},
      {Format::kEnv, "REDIS_HOST=10.0.0.1\nREDIS_PORT=6379\nREDIS_URL=redis://10.0.0.1:6379\n",
       "REDIS_HOST=2001:db8::1\nREDIS_PORT=6380\nREDIS_URL=redis://[2001:db8::1]:6380\n"},
      {Format::kArgs, "-h 10.0.0.1 -p 6379\n", "-h 2001:db8::1 -p 6380\n"},
      {Format::kHost, "10.0.0.1\n", "2001:db8::1\n"},
      {Format::kPort, "6379\n", "6380\n"},
  };
  for (const Row& row : rows) {
    CHECK(FormatAddresses({kFour}, row.format, {}) == row.four);
    CHECK(FormatAddresses({kSix}, row.format, {}) == row.six);
  }
  const std::string json = R"({"host":"10.0.0.1","port":6379,"priority":1,"weight":2,"target":"a"})";
  CHECK(FormatAddresses({kFour}, Format::kJson, {}) == json + "\n");
  CHECK(FormatAddresses({kFour}, Format::kJson, {.as_list = true}) == "[" + json + "]\n");
}

TEST_CASE("FormatAddresses: URLs tell of TLS") {
  CHECK(FormatAddresses({kSix}, Format::kUrl, {.tls = true}) == "rediss://[2001:db8::1]:6380\n");
  CHECK(FormatAddresses({kFour}, Format::kEnv, {.tls = true, .one_line = true}) ==
        "REDIS_HOST=10.0.0.1 REDIS_PORT=6379 REDIS_URL=rediss://10.0.0.1:6379\n");
  CHECK(FormatAddresses({kFour}, Format::kArgs, {.tls = true}) == "-h 10.0.0.1 -p 6379\n");
}

TEST_CASE("FormatAddresses: several have a line each, or one together") {
  CHECK(FormatAddresses({kFour, kSix}, Format::kHostPort, {.as_list = true}) == "10.0.0.1:6379\n[2001:db8::1]:6380\n");
  CHECK(FormatAddresses({kFour, kSix}, Format::kArgs, {.as_list = true}) ==
        "-h 10.0.0.1 -p 6379\n-h 2001:db8::1 -p 6380\n");
  CHECK(FormatAddresses({kFour, kSix}, Format::kHostPort, {.as_list = true, .one_line = true}) ==
        "10.0.0.1:6379 [2001:db8::1]:6380\n");
  CHECK(FormatAddresses({kFour}, Format::kEnv, {.one_line = true}) ==
        "REDIS_HOST=10.0.0.1 REDIS_PORT=6379 REDIS_URL=redis://10.0.0.1:6379\n");
}

TEST_CASE("FillIn: the address goes where it is asked for, else to the end, of Redis's tools right behind them") {
  const auto fill_in = [](const Arguments& command, Format format = Format::kArgs) {
    return FillIn(command, kFour, format, /*tls=*/false);
  };
  CHECK(fill_in({"redis-cli"}) == Arguments{"redis-cli", "-h", "10.0.0.1", "-p", "6379"});
  CHECK(fill_in({"redis-cli", "ping"}) == Arguments{"redis-cli", "-h", "10.0.0.1", "-p", "6379", "ping"});
  CHECK(fill_in({"redis-cli", "-n", "1", "{}", "ping"}) ==
        Arguments{"redis-cli", "-n", "1", "-h", "10.0.0.1", "-p", "6379", "ping"});
  CHECK(fill_in({"/usr/bin/valkey-cli", "get", "a"}) ==
        Arguments{"/usr/bin/valkey-cli", "-h", "10.0.0.1", "-p", "6379", "get", "a"});
  CHECK(fill_in({"sh", "-c", "app"}) == Arguments{"sh", "-c", "app", "-h", "10.0.0.1", "-p", "6379"});
  CHECK(fill_in({"nc", "{host}", "{port}"}) == Arguments{"nc", "10.0.0.1", "6379"});
  CHECK(fill_in({"sh", "-c", "echo {host}:{port}; echo {host}"}) ==
        Arguments{"sh", "-c", "echo 10.0.0.1:6379; echo 10.0.0.1"});
  CHECK(fill_in({"sh", "-c", "redis-cli {} ping"}) == Arguments{"sh", "-c", "redis-cli -h 10.0.0.1 -p 6379 ping"});
  CHECK(fill_in({"socat", "-", "TCP:{}"}, Format::kHostPort) == Arguments{"socat", "-", "TCP:10.0.0.1:6379"});
  CHECK(fill_in({"redis-cli", "-u", "{}"}, Format::kUrl) == Arguments{"redis-cli", "-u", "redis://10.0.0.1:6379"});
  CHECK(fill_in({"env", "{}", "app"}, Format::kEnv) ==
        Arguments{"env", "REDIS_HOST=10.0.0.1", "REDIS_PORT=6379", "REDIS_URL=redis://10.0.0.1:6379", "app"});
  CHECK(fill_in({"echo", "{}"}, Format::kJson).back().starts_with(R"({"host":"10.0.0.1")"));
}

TEST_CASE("RunToEnd: the exit status, a signal's, and shells' own for what cannot be started") {
  CHECK(RunToEnd({"sh", "-c", "exit 7"}).value() == 7);
  CHECK(RunToEnd({"sh", "-c", "kill -TERM $$"}).value() == 128 + 15);
  CHECK(RunToEnd({"no-such-program-anywhere"}).error().status == 127);
  const auto folder = RunToEnd({"/"});
  REQUIRE_FALSE(folder);
  CHECK(folder.error().status == 126);
  CHECK(folder.error().message.find("cannot run /") != std::string::npos);
}

}  // namespace rcb::consul
