// The witness itself: it must be able to fail a test. Masters are registered by hand here, no agent is involved.

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>

#include "tests/integration/consul_agent.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/observer.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/test_folder.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

History ReadHistory(const TestFolder& folder, const std::string& text) {
  WriteFile(folder.path() / "history", text);
  History history(folder.path() / "history");
  history.Refresh();
  return history;
}

}  // namespace

TEST_CASE("the observer sees masters that were registered by hand, one and two") {
  TestFolder folder;
  ConsulAgent consul(folder);
  consul.Start();
  consul.WaitForLeader();
  Observer observer(folder, {"one=" + consul.dns(), "two=" + consul.dns()}, {});
  REQUIRE(WaitUntil([&] { return observer.Look().LastAnswer("one") == "-"; }, 20s));

  REQUIRE(consul.Register("redis", 7001, "master"));
  REQUIRE(WaitUntil([&] { return observer.Look().LastAnswer("one") == "127.0.0.1:7001"; }, 20s));
  REQUIRE(consul.Register("redis", 7002, "replica"));
  REQUIRE(consul.Register("redis", 7003, "master"));
  REQUIRE(WaitUntil([&] { return observer.Look().LastAnswer("one") == "127.0.0.1:7001,127.0.0.1:7003"; }, 20s));
  REQUIRE(consul.Deregister("redis", 7001));
  REQUIRE(WaitUntil([&] { return observer.Look().LastAnswer("one") == "127.0.0.1:7003"; }, 20s));
  REQUIRE(consul.Register("redis", 7001, "master"));
  REQUIRE(WaitUntil([&] { return observer.Look().LastAnswer("two") == "127.0.0.1:7001,127.0.0.1:7003"; }, 20s));
  consul.Kill();
  REQUIRE(WaitUntil([&] { return observer.Look().LastAnswer("two") == "!refused"; }, 20s));
  consul.Start();
  consul.WaitForLeader();
  // What Consul loads from its disk is critical, and stays so when it is registered over it.
  for (const std::uint16_t port : {std::uint16_t{7001}, std::uint16_t{7003}}) {
    REQUIRE(consul.Deregister("redis", port));
    REQUIRE(consul.Register("redis", port, "master"));
  }
  REQUIRE(WaitUntil([&] { return observer.Look().LastAnswer("two") == "127.0.0.1:7001,127.0.0.1:7003"; }, 20s));

  const History& history = observer.Finish();
  for (const char* label : {"one", "two"}) {
    CHECK(history.MostMasters(label) == 2);
    CHECK(history.SupersededAnswers(label).size() >= 1);
    CHECK(history.ListedIntervals(label, "127.0.0.1:7002").empty());
    CHECK(history.ListedIntervals(label, "127.0.0.1:7001").size() >= 2);
  }
}

TEST_CASE("the observer follows roles, samples at its rate and is not stalled by a hung server") {
  TestFolder folder;
  ConsulAgent consul(folder);
  consul.Start();
  RedisServer first(folder);
  RedisServer second(folder);
  first.Start();
  second.Start();
  consul.WaitForLeader();
  Observer observer(folder, {consul.dns()}, {first.address(), second.address()});
  REQUIRE(WaitUntil([&] { return observer.Look().LastRole(second.address()) == "master"; }, 20s));
  second.Command({"REPLICAOF", "127.0.0.1", std::to_string(first.port())});
  REQUIRE(WaitUntil([&] { return observer.Look().LastRole(second.address()) == "slave"; }, 20s));

  first.process().Signal(SIGSTOP);
  const Micros hung = MonotonicMicros();
  second.Command({"REPLICAOF", "NO", "ONE"});
  REQUIRE(WaitUntil([&] { return observer.Look().FirstPromotion(second.address(), hung).has_value(); }, 20s));
  const std::int64_t samples_then = observer.Look().SamplesOf("dns:" + consul.dns()).count;
  REQUIRE(WaitUntil([&] { return observer.Look().SamplesOf("dns:" + consul.dns()).count > samples_then + 1000; }, 20s));
  CHECK(observer.Look().LastRole(first.address()) == "master");

  first.Kill();
  const Micros killed = MonotonicMicros();
  REQUIRE(WaitUntil([&] { return observer.Look().LastRole(first.address()) == "down"; }, 20s));
  CHECK(*observer.Look().FirstRole(first.address(), "down", hung) - killed < 1'000'000);
  first.Start();
  REQUIRE(WaitUntil([&] { return observer.Look().LastRole(first.address()) == "master"; }, 20s));
  CHECK_FALSE(observer.Look().FirstPromotion(first.address(), 0));  // A return is no promotion.

  const auto cpu = observer.process().CpuTime();
  const History& history = observer.Finish();
  const History::Samples samples = history.SamplesOf("dns:" + consul.dns());
  Figures figures("Observer: one DNS server, two Redis servers");
  figures.Note(std::to_string(samples.count) + " DNS samples in " + std::to_string(samples.seconds) +
               " s, largest gap " + std::to_string(samples.largest_gap) + " us, CPU " + std::to_string(cpu.count()) +
               " ms");
  figures.Print();
  CHECK(samples.count > 150 * (samples.seconds - 1));
  CHECK(history.UnreadableAnswers(consul.dns()).empty());
}

TEST_CASE("the history knows a superseded master from a promoted one") {
  TestFolder folder;
  const std::string start =
      "100000 redis a:1 master\n"
      "100000 redis b:2 slave\n"
      "100000 dns d a:1\n"
      "200000 redis a:1 down\n"
      "200500 dns d -\n"
      "300000 redis b:2 master\n"
      "302000 dns d b:2\n"
      "400000 redis a:1 master\n";

  SUBCASE("a master that returned and is not named") {
    const History history = ReadHistory(folder, start + "500000 redis a:1 slave\n");
    CHECK(history.SupersededAnswers("d").empty());
    CHECK(history.MostMasters("d") == 1);
    CHECK(history.FirstPromotion("b:2", 200000) == 300000);
    CHECK(history.FirstListed("d", "b:2", 300000) == 302000);
    CHECK(history.FirstNotListed("d", "a:1", 200000) == 200500);
    CHECK(history.TimeWithoutMaster("d", {200000, 400000}) == 101500);
  }
  SUBCASE("one that returned and is named again, in place of the new one") {
    CHECK(ReadHistory(folder, start + "410000 dns d a:1\n").SupersededAnswers("d").size() == 1);
  }
  SUBCASE("one that returned and is named beside the new one") {
    const History history = ReadHistory(folder, start + "410000 dns d a:1,b:2\n420000 dns d b:2\n");
    CHECK(history.SupersededAnswers("d").size() == 1);
    CHECK(history.MostMasters("d") == 2);
    CHECK(history.TimeWrong("d") == 10'000);
  }
  SUBCASE("one that became a replica, was promoted, and is named again") {
    const History history = ReadHistory(folder, start +
                                                    "500000 redis a:1 slave\n600000 redis a:1 master\n"
                                                    "603000 dns d a:1\n");
    CHECK(history.SupersededAnswers("d").empty());
  }
  SUBCASE("after that, the one before it") {
    const History history = ReadHistory(folder, start +
                                                    "500000 redis a:1 slave\n600000 redis a:1 master\n"
                                                    "603000 dns d a:1\n610000 dns d b:2\n");
    CHECK(history.SupersededAnswers("d").size() == 1);
  }
  SUBCASE("the same master after Consul was away") {
    const History history = ReadHistory(folder, start + "410000 dns d !refused\n420000 dns d -\n430000 dns d b:2\n");
    CHECK(history.SupersededAnswers("d").empty());
    CHECK(history.UnreadableAnswers("d").empty());
    CHECK(history.ListedIntervals("d", "b:2").size() == 2);
  }
  SUBCASE("a line that is still being written is left for later") {
    CHECK(ReadHistory(folder, start + "410000 dns d a:1").LastAnswer("d") == "b:2");
  }
}
