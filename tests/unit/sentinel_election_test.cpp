#include "redis/sentinel_election.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace rcb::redis {
namespace {

constexpr std::string_view kReplica = "slave 127.0.0.1:6380 127.0.0.1 6380 @ mymaster 127.0.0.1 6379";
constexpr std::string_view kMaster = "master mymaster 127.0.0.1 6379";

struct Follower {
  SentinelElection election{"5e17", "mymaster"};
  void On(std::string_view channel, std::string_view payload) {
    const auto event = ParseSentinelEvent(channel, payload);
    REQUIRE(event);
    election.OnEvent(*event);
  }
};

TEST_CASE("SentinelElection: a failover from the leader's side") {
  Follower follower;
  const auto& current = follower.election.current();
  follower.On("+sdown", kMaster);
  follower.On("+odown", "master mymaster 127.0.0.1 6379 #quorum 2/2");
  follower.On("+new-epoch", "7");
  follower.On("+try-failover", kMaster);
  follower.On("+vote-for-leader", "5e17 7");
  follower.On("+elected-leader", kMaster);
  follower.On("+failover-state-select-slave", kMaster);
  CHECK_FALSE(current);
  follower.On("+selected-slave", kReplica);
  const Election expected{"5e17", "mymaster", {"127.0.0.1", 6380, ""}, 7};
  CHECK(current == expected);
  follower.On("+failover-state-send-slaveof-noone", kReplica);
  follower.On("+new-epoch", "8");  // A vote in another group's failover.
  follower.On("+promoted-slave", kReplica);
  CHECK(current == expected);

  SUBCASE("ends") { follower.On("+failover-end", kMaster); }
  SUBCASE("ends by timeout") { follower.On("+failover-end-for-timeout", kMaster); }
  SUBCASE("is aborted") { follower.On("-failover-abort-slave-timeout", kMaster); }
  SUBCASE("switches") { follower.On("+switch-master", "mymaster 127.0.0.1 6379 127.0.0.1 6380"); }
  SUBCASE("is followed by another") { follower.On("+try-failover", kMaster); }
  SUBCASE("is lost from sight") { follower.election.OnDisconnected(); }
  CHECK_FALSE(current);
}

TEST_CASE("SentinelElection: tells nothing whose epoch is not certain") {
  Follower follower;
  SUBCASE("no +try-failover was heard") { follower.On("+new-epoch", "7"); }
  SUBCASE("no +new-epoch was heard") { follower.On("+try-failover", kMaster); }
  SUBCASE("events were missed in between") {
    follower.On("+new-epoch", "7");
    follower.On("+try-failover", kMaster);
    follower.election.OnDisconnected();
  }
  SUBCASE("the epoch was told before a loss") {
    follower.On("+new-epoch", "7");
    follower.election.OnDisconnected();
    follower.On("+try-failover", kMaster);
  }
  SUBCASE("another group's failover") {
    follower.On("+new-epoch", "7");
    follower.On("+try-failover", "master other 127.0.0.1 7000");
  }
  SUBCASE("the failover ended already") {
    follower.On("+new-epoch", "7");
    follower.On("+try-failover", kMaster);
    follower.On("+failover-end", kMaster);
  }
  follower.On("+selected-slave", kReplica);
  CHECK_FALSE(follower.election.current());
}

TEST_CASE("SentinelElection: a group that is configured anew has no failover") {
  Follower follower;
  follower.On("+new-epoch", "7");
  follower.On("+try-failover", kMaster);
  follower.On("+selected-slave", kReplica);
  REQUIRE(follower.election.current());
  SUBCASE("reset") { follower.On("+reset-master", kMaster); }
  SUBCASE("removed") { follower.On("-monitor", kMaster); }
  SUBCASE("monitored again") { follower.On("+monitor", std::string(kMaster) + " quorum 2"); }
  CHECK_FALSE(follower.election.current());
}

TEST_CASE("SentinelElection: another group's end does not end this one") {
  Follower follower;
  follower.On("+new-epoch", "7");
  follower.On("+try-failover", kMaster);
  follower.On("+selected-slave", kReplica);
  follower.On("+failover-end", "master other 127.0.0.1 7000");
  follower.On("+switch-master", "other 127.0.0.1 7000 127.0.0.1 7001");
  CHECK(follower.election.current());
}

}  // namespace
}  // namespace rcb::redis
