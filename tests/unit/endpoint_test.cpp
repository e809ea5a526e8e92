#include "redis/endpoint.h"

#include <doctest/doctest.h>

#include <string>

namespace rcb::redis {
namespace {

TEST_CASE("Endpoints are parsed and printed in one form") {
  struct Row {
    const char* text;
    Endpoint endpoint;
    const char* printed;
  };
  const Row rows[] = {
      {"127.0.0.1:6379", {"127.0.0.1", 6379, ""}, "127.0.0.1:6379"},
      {"redis-1.example.net:7000", {"redis-1.example.net", 7000, ""}, "redis-1.example.net:7000"},
      {"cache_1", {"cache_1", 6379, ""}, "cache_1:6379"},
      {"[::1]:6380", {"::1", 6380, ""}, "[::1]:6380"},
      {"[fe80::1%eth0]", {"fe80::1%eth0", 6379, ""}, "[fe80::1%eth0]:6379"},
      {"[::ffff:10.0.0.1]:1", {"::ffff:10.0.0.1", 1, ""}, "[::ffff:10.0.0.1]:1"},
      {"unix:/run/redis/redis.sock", {"", 0, "/run/redis/redis.sock"}, "unix:/run/redis/redis.sock"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto endpoint = ParseEndpoint(row.text, 6379);
    REQUIRE(endpoint);
    CHECK(*endpoint == row.endpoint);
    CHECK(endpoint->ToString() == row.printed);
    CHECK(ParseEndpoint(row.printed, 1) == *endpoint);
  }
}

TEST_CASE("What is no endpoint is refused with a sentence that names it and the forms") {
  const std::string too_long(300, 'a');
  for (const std::string text :
       {"",         ":6379",       "host:", "host:0",        "host:65536", "host:-1",     "host:6379x",    "host: 6379",
        "a b:1",    "-h:1",        "::1",   "::1:6379",      "[::1",       "[::1]x",      "[]:1",          "[host]:1",
        "[::1%]:1", "redis://h:1", "unix:", "unix:relative", "h\n:1",      "user@host:1", too_long.c_str()}) {
    CAPTURE(text);
    const auto endpoint = ParseEndpoint(text, 6379);
    REQUIRE_FALSE(endpoint);
    CHECK(endpoint.error().kind == ErrorKind::kUnresolvable);
    CHECK(endpoint.error().message.find("host:port, [ipv6]:port, host or unix:/path") != std::string::npos);
    CHECK(endpoint.error().message.find('\n') == std::string::npos);
  }
  CHECK_FALSE(ParseEndpoint("unix:/" + std::string(107, 'x'), 6379));
  CHECK_FALSE(ParseEndpoint("host", 0));
}

TEST_CASE("Host and port as Redis tells them") {
  CHECK(EndpointFromFields("10.0.0.1", "6379") == Endpoint{"10.0.0.1", 6379, ""});
  CHECK(EndpointFromFields("fd00::1", "6379") == Endpoint{"fd00::1", 6379, ""});
  CHECK(EndpointFromFields("redis-1", "1") == Endpoint{"redis-1", 1, ""});
  CHECK_FALSE(EndpointFromFields("", "6379"));
  CHECK_FALSE(EndpointFromFields("10.0.0.1", "0"));
  CHECK_FALSE(EndpointFromFields("10.0.0.1", "65536"));
  CHECK_FALSE(EndpointFromFields("a\r\nb", "6379"));
}

}  // namespace
}  // namespace rcb::redis
