// The watches of Client against real Consul agents, and against servers that are none.
#include "consul/client.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/consul_calls.h"
#include "tests/unit/consul_fake_server.h"
#include "tests/unit/consul_loop.h"
#include "tests/unit/consul_server.h"

namespace rcb::consul {
namespace {

using namespace std::chrono_literals;

TEST_CASE("Client: watches see a change within milliseconds, a burst without pause, and hold up nothing") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  std::vector<std::unique_ptr<Watch>> others(8);
  int others_seen = 0;
  for (auto& other : others) {
    other = client->WatchKv("watch/none", 60s, [&](const Result<KvPair>&) { ++others_seen; });
  }
  std::string value;
  std::uint64_t index = 0;
  int calls = 0;
  const auto watch = client->WatchKv("watch/key", 60s, [&](const Result<KvPair>& pair) {
    REQUIRE(pair);
    ++calls;
    value = pair->value;
    index = pair->modify_index;
  });
  REQUIRE(loop.RunUntil([&] { return calls > 0 && others_seen == 8; }));
  CHECK(value.empty());

  std::vector<double> latencies;
  for (int i = 0; i < 15; ++i) {
    const std::string next = std::to_string(i);
    const auto start = Clock::now();
    client->KvCas("watch/key", next, index, [](const Result<void>& result) { CHECK(result); });
    REQUIRE(loop.RunUntil([&] { return value == next; }));
    latencies.push_back(MillisecondsSince(start));
  }
  MESSAGE("write of a key to its watch: median " << Median(latencies) << " ms, longest "
                                                 << *std::max_element(latencies.begin(), latencies.end()) << " ms");
  CHECK(Median(latencies) < 20);
}

TEST_CASE("Client: a service's watch sees registration, status and removal") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url()});
  std::optional<std::vector<ServiceEntry>> seen;
  const auto watch = client->WatchService("redis", 60s, [&](Result<std::vector<ServiceEntry>> entries) {
    REQUIRE(entries);
    seen = std::move(*entries);
  });
  REQUIRE(loop.RunUntil([&] { return seen.has_value(); }));
  client->RegisterService(Registration("w1", "master"), [](const Result<void>& result) { CHECK(result); });
  REQUIRE(loop.RunUntil([&] { return seen->size() == 1 && seen->at(0).IsServed(); }));
  client->UpdateTtl("w1:role", CheckStatus::kCritical, "gone", [](const Result<void>& result) { CHECK(result); });
  REQUIRE(loop.RunUntil([&] { return seen->size() == 1 && !seen->at(0).IsServed(); }));
  client->DeregisterService("w1", [](const Result<void>& result) { CHECK(result); });
  REQUIRE(loop.RunUntil([&] { return seen->empty(); }));
}

TEST_CASE("Client: a handler may destroy its watch, or the client") {
  Loop loop;
  auto client = Connect(loop, {.url = SharedServer(loop).url()});
  int calls = 0;
  std::unique_ptr<Watch> watch;
  SUBCASE("its watch") {
    watch = client->WatchKv("destroy", 100ms, [&](const Result<KvPair>&) {
      ++calls;
      watch.reset();
    });
  }
  SUBCASE("the client, and the watch after it") {
    watch = client->WatchKv("destroy", 100ms, [&](const Result<KvPair>&) {
      ++calls;
      client.reset();
      watch.reset();
    });
  }
  SUBCASE("the client, in the handler of a call, with others in flight") {
    watch = client->WatchKv("destroy", 100ms, [](const Result<KvPair>&) {});
    for (int i = 0; i < 5; ++i) {
      client->KvGet("destroy", [&](const Result<KvPair>&) {
        ++calls;
        client.reset();
      });
    }
  }
  REQUIRE(loop.RunUntil([&] { return calls == 1; }));
  loop.RunUntil([] { return false; }, 300ms);  // Three waits of a watch that were to go on.
  CHECK(calls == 1);
}

TEST_CASE("Watch: a server that answers at once without a change is not asked in a spin") {
  Loop loop;
  FakeServer server(loop, HttpOk("X-Consul-Index: 5\r\n", "[]"), /*closes=*/false);
  {
    const auto client = Connect(loop, {.url = server.url()});
    int calls = 0;
    const auto start = Clock::now();
    const auto watch = client->WatchService("redis", 60s, [&](const Result<std::vector<ServiceEntry>>&) { ++calls; });
    REQUIRE(loop.RunUntil([&] { return calls >= 15; }));
    CHECK(MillisecondsSince(start) < 500);  // The burst passes at once.
    REQUIRE(loop.RunUntil([&] { return calls >= 40; }));
    CHECK(MillisecondsSince(start) > 850);  // 20 at once, then one each 50 ms.
  }
  server.Stop(loop);
}

TEST_CASE("Watch: a server killed during a blocking query is an error; its return is noticed") {
  Loop loop;
  ConsulServer server;
  server.WaitUntilReady(loop);
  const auto client = Connect(loop, {.url = server.url()});
  REQUIRE(KvCas(loop, *client, "k", "before", 0));
  std::optional<Result<KvPair>> last;
  const auto watch = client->WatchKv("k", 60s, [&](Result<KvPair> pair) { last = std::move(pair); });
  REQUIRE(loop.RunUntil([&] { return last && *last && (*last)->value == "before"; }));

  auto start = Clock::now();
  server.Kill();
  REQUIRE(loop.RunUntil([&] { return last && !*last; }));
  MESSAGE("killed server seen by a watch after " << MillisecondsSince(start) << " ms: " << last->error().message);
  CHECK(last->error().kind == ErrorKind::kUnreachable);

  server.Start();  // Empty, with indexes that begin anew.
  server.WaitUntilReady(loop);
  start = Clock::now();
  REQUIRE(loop.RunUntil([&] { return last && *last; }));
  MESSAGE("restarted server seen by a watch " << MillisecondsSince(start) << " ms after it leads");
  CHECK(MillisecondsSince(start) < 1000);
  CHECK((*last)->modify_index == 0);
  REQUIRE(KvCas(loop, *client, "k", "after", 0));
  REQUIRE(loop.RunUntil([&] { return last && *last && (*last)->value == "after"; }));
}

}  // namespace
}  // namespace rcb::consul
