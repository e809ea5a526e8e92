#include "agent/discovery.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace rcb::agent;
using namespace std::chrono_literals;
using rcb::redis::Endpoint;

namespace {

Endpoint At(const std::string& host, std::uint16_t port) { return {.host = host, .port = port, .unix_path = {}}; }

const Discovery::TimePoint kStart{};

}  // namespace

TEST_CASE("Discovery: groups with servers on this host, those servers alone") {
  Discovery discovery({"10.0.0.1", "127.0.0.1", "host-a"});
  CHECK_FALSE(discovery.HasHeard());
  discovery.OnGroups({{"cache", {At("10.0.0.1", 6379), At("10.0.0.2", 6379), At("host-a", 6380)}},
                      {"elsewhere", {At("10.0.0.2", 6381)}}},
                     kStart);
  CHECK(discovery.HasHeard());
  CHECK(discovery.Local() == Discovery::Groups{{"cache", {At("10.0.0.1", 6379), At("host-a", 6380)}}});
}

TEST_CASE("Discovery: what is no longer told is forgotten after a while, and not by silence") {
  Discovery discovery({"10.0.0.1"});
  const Endpoint master = At("10.0.0.1", 6379);
  const Endpoint replica = At("10.0.0.1", 6380);
  discovery.OnGroups({{"cache", {master, replica}}, {"queue", {At("10.0.0.1", 6381)}}}, kStart);
  CHECK(discovery.Local().size() == 2);
  SUBCASE("all Sentinels are silent") {
    CHECK(discovery.Local().size() == 2);
    discovery.OnGroups({{"cache", {master, replica}}, {"queue", {At("10.0.0.1", 6381)}}}, kStart + 1h);
    CHECK(discovery.Local().size() == 2);
  }
  SUBCASE("a group was removed") {
    discovery.OnGroups({{"cache", {master, replica}}}, kStart + Discovery::kForgetGroupAfter);
    CHECK(discovery.Local().size() == 2);
    discovery.OnGroups({{"cache", {master, replica}}}, kStart + Discovery::kForgetGroupAfter + 1ms);
    CHECK(discovery.Local() == Discovery::Groups{{"cache", {master, replica}}});
  }
  SUBCASE("one Sentinel has not been told of the group") {
    for (auto at = 0s; at < 20s; at += 1s) {
      discovery.OnGroups({{"cache", {master, replica}}, {"queue", {At("10.0.0.1", 6381)}}}, kStart + at);
      discovery.OnGroups({{"cache", {master, replica}}}, kStart + at);
    }
    CHECK(discovery.Local().size() == 2);
  }
  SUBCASE("SENTINEL RESET forgets replicas until they are found again") {
    for (auto at = 0s; at <= Discovery::kForgetServerAfter; at += 1s) {
      discovery.OnGroups({{"cache", {master}}}, kStart + at);
      CHECK(discovery.Local().at("cache").size() == 2);
    }
    discovery.OnGroups({{"cache", {master}}}, kStart + Discovery::kForgetServerAfter + 1ms);
    CHECK(discovery.Local().at("cache") == std::vector{master});
  }
}

TEST_CASE("Discovery: a group is published under Sentinel's name for it, where that can be") {
  Config config;
  config.discover = {At("10.0.0.9", 26379)};
  config.tags = {"blue"};
  std::vector<std::string> left_out;
  SUBCASE("alone") {
    const auto groups = GroupsToWatch(config, {{"my_master.1", {At("10.0.0.1", 6379)}}}, left_out);
    REQUIRE(groups.size() == 1);
    CHECK(groups[0].service == "my-master-1");
    CHECK(groups[0].replica_service == "my-master-1");
    CHECK(groups[0].master_name == "my_master.1");
    CHECK(groups[0].redis == std::vector{At("10.0.0.1", 6379)});
    CHECK(groups[0].sentinels == config.discover);
    CHECK(groups[0].tags == config.tags);
    CHECK(left_out.empty());
  }
  SUBCASE("none yet") { CHECK(GroupsToWatch(config, {}, left_out).empty()); }
  SUBCASE("two of the same name in DNS, and one that is in the settings") {
    Config queue = config;
    queue.master_name = "queue";
    queue.service = queue.master_service = queue.replica_service = "jobs";
    queue.redis = {At("10.0.0.1", 7000)};
    config.groups = {queue};
    const auto groups = GroupsToWatch(config,
                                      {{"a_b", {At("10.0.0.1", 6379)}},
                                       {"a.b", {At("10.0.0.1", 6380)}},
                                       {"queue", {At("10.0.0.1", 7000)}},
                                       {"other", {At("10.0.0.1", 7000)}}},
                                      left_out);
    REQUIRE(groups.size() == 2);
    CHECK(groups[0].service == "jobs");
    CHECK(groups[1].master_name == "a.b");
    REQUIRE(left_out.size() == 3);
    CHECK(left_out[0] == "the group a_b is not watched by discovery: the service a-b is that of the group a.b");
    CHECK(left_out[1] == "the group other is not watched by discovery: 10.0.0.1:7000 is also in the group queue");
    CHECK(left_out[2] == "the group queue is not watched by discovery: it is in the settings as jobs");
  }
}
