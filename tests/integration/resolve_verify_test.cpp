// redis-resolve --verify: what DNS says is believed only if the server says so as well.

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/integration/consul_agent.h"
#include "tests/integration/redis_sentinel.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

constexpr int kVerified = 0;
constexpr int kUsage = 2;
constexpr int kUnverified = 5;

/// A Consul server, and what redis-resolve makes of what is registered there by hand.
class Bench {
 public:
  Bench() {
    consul_.Start();
    consul_.WaitForLeader();
  }

  /// One instance under a service name of its own, which is returned.
  std::string Publish(std::uint16_t port, const std::string& tag) {
    std::string service = "bench-" + std::to_string(++services_);
    Add(service, port, tag);
    return service;
  }
  void Add(const std::string& service, std::uint16_t port, const std::string& tag) const {
    REQUIRE(consul_.Register(service, port, tag));
  }

  /// Runs it; what it says, standard error included, is in said().
  int Resolve(std::vector<std::string> arguments, const std::map<std::string, std::string>& environment = {}) {
    const auto output = folder_.path() / ("output-" + std::to_string(++runs_));
    arguments.insert(arguments.begin(), {RCB_RESOLVE_BINARY, "--verify", "--dns", consul_.dns()});
    Process process({.command = arguments, .output = output, .environment = environment});
    const auto status = process.WaitForExit(20s);
    said_ = ReadFile(output);
    return status.value_or(-1);
  }
  bool Said(const std::string& text) const { return said_.find(text) != std::string::npos; }
  const std::string& said() const { return said_; }
  const TestFolder& folder() const { return folder_; }

 private:
  TestFolder folder_;
  ConsulAgent consul_{folder_};
  int services_ = 0;
  int runs_ = 0;
  std::string said_;
};

}  // namespace

TEST_CASE("verify: a server is what DNS says, or is refused by name") {
  Bench bench;
  RedisServer master(bench.folder());
  RedisServer replica(bench.folder());
  master.Start();
  replica.Start();
  replica.Follow(master);

  CHECK(bench.Resolve({bench.Publish(master.port(), "master")}) == kVerified);
  CHECK(bench.said() == master.address() + "\n");
  const std::string followers = bench.Publish(replica.port(), "replica");
  CHECK(bench.Resolve({followers, "--role", "replica"}) == kVerified);
  CHECK(bench.Resolve({followers, "--role", "any"}) == kVerified);

  const std::string lie = bench.Publish(replica.port(), "master");
  CHECK(bench.Resolve({lie}) == kUnverified);
  CHECK(bench.Said("redis-resolve: not verified: DNS has " + replica.address() + " as a master"));
  CHECK(bench.Said("it says itself that it is a replica"));
  CHECK(bench.Resolve({lie, "--", "touch", (bench.folder().path() / "ran").string()}) == kUnverified);
  CHECK_FALSE(std::filesystem::exists(bench.folder().path() / "ran"));

  // It becomes one while somebody waits for it.
  CHECK(bench.Resolve({lie, "--wait", "200ms"}) == kUnverified);
  replica.Promote();
  CHECK(bench.Resolve({lie, "--wait", "20s"}) == kVerified);
}

TEST_CASE("verify: among replicas the liars are passed over") {
  Bench bench;
  RedisServer master(bench.folder());
  RedisServer replica(bench.folder());
  master.Start();
  replica.Start();
  replica.Follow(master);
  const std::string service = bench.Publish(replica.port(), "replica");
  bench.Add(service, master.port(), "replica");
  bench.Add(service, FreePort(), "replica");
  for (int i = 0; i < 5; ++i) {
    CHECK(bench.Resolve({service, "--role", "replica"}) == kVerified);
    CHECK(bench.said() == replica.address() + "\n");
  }
  CHECK(bench.Resolve({service, "--role", "replica", "--all"}) == kVerified);
  CHECK(bench.said() == replica.address() + "\n");
  replica.Promote();
  CHECK(bench.Resolve({service, "--role", "replica", "--all"}) == kUnverified);
}

TEST_CASE("verify: nobody there, nobody who answers, nobody who is Redis") {
  Bench bench;
  CHECK(bench.Resolve({bench.Publish(FreePort(), "master")}) == kUnverified);
  CHECK(bench.Said("refuses connections"));

  RedisServer hung(bench.folder());
  hung.Start();
  hung.process().Signal(SIGSTOP);
  const auto start = std::chrono::steady_clock::now();
  CHECK(bench.Resolve({bench.Publish(hung.port(), "master"), "--timeout", "300ms"}) == kUnverified);
  CHECK(bench.Said("does not answer in time"));
  CHECK(std::chrono::steady_clock::now() - start < 10s);

  RedisServer master(bench.folder());
  master.Start();
  RedisSentinel sentinel(bench.folder(), {.master = master.address()});
  sentinel.Start();
  CHECK(bench.Resolve({bench.Publish(sentinel.port(), "master"), "--role", "any"}) == kUnverified);
  CHECK(bench.Said("it says itself that it is a sentinel"));

  const std::uint16_t port = FreePort();
  Process garbage({.command = {RCB_GARBAGE_SERVER_BINARY, std::to_string(port), "SSH-2.0-OpenSSH\r\n"},
                   .output = bench.folder().path() / "garbage"});
  const std::string service = bench.Publish(port, "master");
  CHECK(WaitUntil([&] { return bench.Resolve({service}) == kUnverified && !bench.Said("refuses"); }, 10s, 100ms));
  CHECK(bench.Said("does not speak the Redis protocol"));
}

TEST_CASE("verify: passwords, of a file, of the environment and of an ACL user, never shown") {
  Bench bench;
  RedisServer master(bench.folder(), {.password = "of-the-server"});
  master.Start();
  REQUIRE(master.Command({"ACL", "SETUSER", "looker", "on", ">of-looker", "-@all", "+role"}) == "OK");
  REQUIRE(master.Command({"ACL", "SETUSER", "nobody", "on", ">of-nobody", "-@all"}) == "OK");
  const std::string service = bench.Publish(master.port(), "master");
  const auto file = bench.folder().path() / "password";
  const auto with_file = [&](const std::string& password, std::vector<std::string> arguments = {}) {
    WriteFile(file, password + "\n");
    arguments.insert(arguments.begin(), {service, "--password-file", file.string()});
    const int code = bench.Resolve(arguments, {{"REDISCLI_AUTH", "of-the-environment"}});
    CHECK_FALSE(bench.Said(password));
    CHECK_FALSE(bench.Said("of-the-environment"));
    return code;
  };
  CHECK(with_file("of-the-server") == kVerified);
  CHECK(with_file("of-looker", {"--user", "looker"}) == kVerified);
  CHECK(bench.Resolve({service}, {{"REDISCLI_AUTH", "of-the-server"}}) == kVerified);
  CHECK(bench.Resolve({service}, {{"REDISCLI_AUTH", "of-looker"}, {"REDIS_RESOLVE_USER", "looker"}}) == kVerified);

  CHECK(with_file("wrong-one") == kUnverified);
  CHECK(bench.Said("WRONGPASS"));
  CHECK(bench.Said("--password-file"));
  CHECK(bench.Resolve({service}) == kUnverified);
  CHECK(bench.Said("NOAUTH"));
  CHECK(with_file("of-nobody", {"--user", "nobody"}) == kUnverified);
  CHECK(bench.Said("+role"));
  CHECK(bench.Resolve({service, "--password-file", "/no/such/file"}) == kUsage);
  CHECK(bench.Said("/no/such/file"));
}

TEST_CASE("verify: over TLS, to whom the certificate says") {
  Bench bench;
  const std::string cert = (bench.folder().path() / "cert.pem").string();
  const std::string key = (bench.folder().path() / "key.pem").string();
  Process openssl({.command = {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                               "-nodes", "-days", "1", "-subj", "/CN=redis.example", "-addext",
                               "subjectAltName=DNS:redis.example", "-out", cert, "-keyout", key},
                   .output = bench.folder().path() / "openssl"});
  REQUIRE(openssl.WaitForExit(20s) == 0);
  const std::uint16_t port = FreePort();
  RedisServer master(bench.folder(),
                     {.settings = "tls-port " + std::to_string(port) + "\ntls-cert-file " + cert + "\ntls-key-file " +
                                  key + "\ntls-ca-cert-file " + cert + "\ntls-auth-clients optional\n"});
  master.Start();
  const std::string service = bench.Publish(port, "master");
  const std::vector<std::string> known{service, "--tls", "--cacert", cert, "--sni", "redis.example"};
  const auto with = [](std::vector<std::string> arguments, const std::vector<std::string>& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  CHECK(bench.Resolve(known) == kVerified);
  CHECK(bench.Resolve(with(known, {"--cert", cert, "--key", key, "--format", "url"})) == kVerified);
  CHECK(bench.said() == "rediss://" + Loopback(port) + "\n");
  CHECK(bench.Resolve({service, "--tls", "--insecure"}) == kVerified);
  CHECK(bench.Resolve({service, "--tls"}, {{"REDIS_RESOLVE_CACERT", cert}, {"REDIS_RESOLVE_SNI", "redis.example"}}) ==
        kVerified);

  CHECK(bench.Resolve({service, "--tls", "--cacert", cert}) == kUnverified);  // It is for no address.
  CHECK(bench.Said("--sni"));
  CHECK(bench.Resolve({service, "--tls"}) == kUnverified);  // The system does not trust it.
  CHECK(bench.Said("--cacert"));
  CHECK(bench.Resolve({service}) == kUnverified);  // TLS there, none here.
  const std::string plain = bench.Publish(master.port(), "master");
  CHECK(bench.Resolve({plain, "--tls", "--insecure"}) == kUnverified);
  CHECK(bench.Said("redis-resolve: not verified: " + master.address()));
  RedisServer hung(bench.folder());
  hung.Start();
  hung.process().Signal(SIGSTOP);
  CHECK(bench.Resolve({bench.Publish(hung.port(), "master"), "--tls", "--insecure", "--timeout", "300ms"}) ==
        kUnverified);
  CHECK(bench.Said("does not answer in time"));
}
