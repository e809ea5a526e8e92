#include "redis/sentinel_client.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "real_server.h"

namespace rcb::redis {
namespace {

using namespace std::chrono_literals;

std::string Monitor(const std::string& name, std::uint16_t port, int quorum) {
  return "sentinel monitor " + name + " 127.0.0.1 " + std::to_string(port) + " " + std::to_string(quorum) +
         "\nsentinel down-after-milliseconds " + name + " 1000\n";
}

struct Watcher {
  Watcher(TestLoop& loop, SentinelLinks& links, std::uint16_t port, const std::string& master_name)
      : client(
            loop.get(), links,
            {.endpoint = {"127.0.0.1", port, ""}, .access = {}, .master_name = master_name, .refresh_interval = 100ms},
            {.on_view =
                 [this](const SentinelView& view) {
                   elections_before_view.push_back(elections.size());
                   views.push_back(view);
                 },
             .on_replicas = [this](const std::vector<SentinelInstance>& told) { replicas = told; },
             .on_election = [this](const std::optional<Election>& election) { elections.push_back(election); },
             .on_event = [this](const SentinelEvent& event) { events.push_back(event); },
             .on_peers = [this](const std::vector<Endpoint>& endpoints) { peers = endpoints; },
             .on_lost = [this](const Error& error) { losses.push_back(error); }}) {
    client.Start();
  }

  std::vector<SentinelView> views;
  std::vector<std::size_t> elections_before_view;  ///< For each view: how many elections had been heard.
  std::vector<std::optional<Election>> elections;
  std::vector<SentinelEvent> events;
  std::vector<SentinelInstance> replicas;
  std::vector<Endpoint> peers;
  std::vector<Error> losses;
  SentinelClient client;
};

TEST_CASE("SentinelClient: finds the only group and tells the view, with what it needs to be weighed") {
  RealServer master;
  RealServer sentinel(Monitor("mymaster", master.port(), 1), true);
  TestLoop loop;
  SentinelLinks links(loop.get());
  std::string name;
  SUBCASE("named") { name = "mymaster"; }
  SUBCASE("found") {}
  Watcher watcher(loop, links, sentinel.port(), name);
  REQUIRE(loop.RunUntil([&] { return watcher.views.size() >= 3 && !watcher.views.back().master_run_id.empty(); }));
  const SentinelView& view = watcher.views.back();
  CHECK(watcher.client.is_connected());
  CHECK(watcher.client.sentinel_id().size() == 40);
  CHECK(view.sentinel_id == watcher.client.sentinel_id());
  CHECK(view.master_name == "mymaster");
  CHECK(view.master == Endpoint{"127.0.0.1", master.port(), ""});
  CHECK(view.master_run_id.size() == 40);
  CHECK(view.direct);
  CHECK(view.quorum == 1);
  CHECK(view.other_sentinels == 0);
  CHECK(view.down_after == 1000ms);
  CHECK(watcher.peers.empty());
  CHECK(watcher.losses.empty());

  sentinel.Kill();
  REQUIRE(loop.RunUntil([&] { return watcher.losses.size() >= 2; }));
  CHECK_FALSE(watcher.client.is_connected());
  CHECK(watcher.losses[0].kind == ErrorKind::kClosed);
  CHECK(watcher.losses[1].kind == ErrorKind::kRefused);
  CHECK_FALSE(loop.RunUntil([&] { return watcher.losses.size() > 2; }, 500ms));  // The same reason is told once.
}

TEST_CASE("SentinelClient: says what is wrong with whom it was given, and goes on trying") {
  RealServer master;
  TestLoop loop;
  SentinelLinks links(loop.get());
  SUBCASE("several groups") {
    RealServer sentinel(Monitor("one", master.port(), 1) + Monitor("two", master.port() == 21000 ? 21001 : 21000, 1),
                        true);
    Watcher watcher(loop, links, sentinel.port(), "");
    REQUIRE(loop.RunUntil([&] { return !watcher.losses.empty(); }));
    CHECK(watcher.losses[0].kind == ErrorKind::kReply);
    CHECK(watcher.losses[0].message.find("one") != std::string::npos);
    CHECK(watcher.losses[0].message.find("two") != std::string::npos);
    CHECK(watcher.losses[0].message.find("set the master name") != std::string::npos);
  }
  SUBCASE("an unknown group, which is then monitored") {
    RealServer sentinel("", true);
    Watcher watcher(loop, links, sentinel.port(), "mymaster");
    REQUIRE(loop.RunUntil([&] { return !watcher.losses.empty(); }));
    CHECK(watcher.losses[0].message.find("no group named \"mymaster\"") != std::string::npos);
    sentinel.Ask("SENTINEL MONITOR mymaster 127.0.0.1 " + std::to_string(master.port()) + " 1");
    REQUIRE(loop.RunUntil([&] { return !watcher.views.empty(); }));
    CHECK(watcher.losses.size() == 1);
  }
  SUBCASE("no Sentinel") {
    Watcher watcher(loop, links, master.port(), "mymaster");
    REQUIRE(loop.RunUntil([&] { return !watcher.losses.empty(); }));
    CHECK(watcher.losses[0].message.find("is a Redis server, not a Sentinel") != std::string::npos);
  }
}

TEST_CASE("SentinelClient: all groups of a Sentinel are asked about on the same connections") {
  RealServer master;
  RealServer other;
  RealServer sentinel(Monitor("one", master.port(), 1) + Monitor("two", other.port(), 1), true);
  TestLoop loop;
  SentinelLinks links(loop.get());
  auto one = std::make_unique<Watcher>(loop, links, sentinel.port(), "one");
  REQUIRE(loop.RunUntil([&] { return !one->views.empty(); }));
  Watcher two(loop, links, sentinel.port(), "two");
  Watcher three(loop, links, sentinel.port(), "three");
  REQUIRE(loop.RunUntil([&] { return !two.views.empty() && !three.losses.empty(); }));
  CHECK(one->views.back().master.port == master.port());
  CHECK(two.views.back().master.port == other.port());
  CHECK(three.losses[0].message.find("no group named \"three\"") != std::string::npos);
  const auto connections = [&] {
    const std::string clients = sentinel.Ask("CLIENT LIST");
    std::size_t count = 0;
    for (std::size_t at = 0; (at = clients.find("name=redis-consul-agent", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  CHECK(connections() == 2);

  // What one does not know is no fault of the others', and whoever leaves takes nothing along.
  one.reset();
  const std::size_t before = two.views.size();
  REQUIRE(loop.RunUntil([&] { return two.views.size() > before + 3; }));
  CHECK(two.losses.empty());
  CHECK(connections() == 2);
  sentinel.Ask("SENTINEL MONITOR three 127.0.0.1 " + std::to_string(master.port()) + " 1");
  REQUIRE(loop.RunUntil([&] { return !three.views.empty(); }));
  CHECK(two.losses.empty());

  sentinel.Kill();
  REQUIRE(loop.RunUntil([&] { return !two.losses.empty() && three.losses.size() > 1; }));
  CHECK_FALSE(two.client.is_connected());
}

/// One master, two replicas and three Sentinels that know each other.
struct Group {
  RealServer master;
  std::vector<std::unique_ptr<RealServer>> replicas;
  std::vector<std::unique_ptr<RealServer>> sentinels;

  Group() {
    for (int i = 0; i < 2; ++i) {
      replicas.push_back(std::make_unique<RealServer>("replicaof 127.0.0.1 " + std::to_string(master.port())));
    }
    for (int i = 0; i < 3; ++i) {
      sentinels.push_back(std::make_unique<RealServer>(Monitor("mymaster", master.port(), 2), true));
    }
    for (const auto& sentinel : sentinels) {
      RealServer::WaitFor([&] {
        const std::string reply = sentinel->Ask("SENTINEL MASTER mymaster");
        return reply.find("num-slaves\r\n$1\r\n2") != std::string::npos &&
               reply.find("num-other-sentinels\r\n$1\r\n2") != std::string::npos;
      });
    }
  }
};

TEST_CASE("SentinelClient: a failover is told as an election, then as the view") {
  Group group;
  TestLoop loop;
  SentinelLinks links(loop.get());
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (const auto& sentinel : group.sentinels) {
    watchers.push_back(std::make_unique<Watcher>(loop, links, sentinel->port(), "mymaster"));
  }
  const auto all = [&](const auto& condition) { return std::all_of(watchers.begin(), watchers.end(), condition); };
  REQUIRE(loop.RunUntil([&] { return all([](const auto& w) { return !w->views.empty() && w->peers.size() == 2; }); }));
  const Endpoint old_master{"127.0.0.1", group.master.port(), ""};

  SUBCASE("of a healthy master, forced") {
    RealServer::WaitFor([&] { return group.sentinels[0]->Ask("SENTINEL FAILOVER mymaster").starts_with("+OK"); });
  }
  SUBCASE("of a killed master") { group.master.Kill(); }

  REQUIRE(loop.RunUntil([&] { return all([&](const auto& w) { return w->views.back().master != old_master; }); }));
  const Endpoint new_master = watchers[0]->views.back().master;
  const std::uint64_t epoch = watchers[0]->views.back().config_epoch;
  REQUIRE(loop.RunUntil([&] {
    return all([&](const auto& w) {
      return w->views.back().master == new_master && !w->views.back().failover_in_progress &&
             (w->elections.empty() || !w->elections.back());
    });
  }));

  int leaders = 0;
  for (const auto& watcher : watchers) {
    // Never the old master at the new epoch: that would crown it.
    for (const SentinelView& view : watcher->views) {
      CHECK_FALSE((view.master == old_master && view.config_epoch >= epoch));
    }
    if (watcher->elections.empty()) continue;
    ++leaders;
    REQUIRE(watcher->elections.front());
    CHECK(watcher->elections.front()->chosen == new_master);
    CHECK(watcher->elections.front()->epoch == epoch);
    CHECK(watcher->elections.front()->sentinel_id == watcher->client.sentinel_id());
    CHECK_FALSE(watcher->elections.back());
    for (std::size_t i = 0; i < watcher->views.size(); ++i) {
      if (watcher->views[i].master == new_master) {
        CHECK(watcher->elections_before_view[i] > 0);
        break;
      }
    }
  }
  CHECK(leaders == 1);
}

}  // namespace
}  // namespace rcb::redis
