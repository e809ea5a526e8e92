#include "redis/sentinel_event.h"

#include <doctest/doctest.h>

#include <string>

namespace rcb::redis {
namespace {

using Kind = SentinelEvent::Kind;

const Endpoint kMaster{"127.0.0.1", 6379, ""};
const Endpoint kReplica{"127.0.0.1", 6380, ""};

TEST_CASE("Sentinel events are told by their channel and payload") {
  struct Row {
    const char* channel;
    const char* payload;
    Kind kind;
    const char* master_name;
    Endpoint master;
    Endpoint instance;
    std::uint64_t epoch;
  };
  const std::string replica = "slave 127.0.0.1:6380 127.0.0.1 6380 @ mymaster 127.0.0.1 6379";
  const Row rows[] = {
      {"+new-epoch", "7", Kind::kNewEpoch, "", {}, {}, 7},
      {"+vote-for-leader", "3e1c0b44af0dc29b1b1bca2f40ffb0c41a3bd5f4 7", Kind::kVoteForLeader, "", {}, {}, 7},
      {"+try-failover", "master mymaster 127.0.0.1 6379", Kind::kTryFailover, "mymaster", kMaster, kMaster, 0},
      {"+selected-slave", replica.c_str(), Kind::kSelectedReplica, "mymaster", kMaster, kReplica, 0},
      {"+failover-state-send-slaveof-noone", replica.c_str(), Kind::kSendReplicaofNoOne, "mymaster", kMaster, kReplica,
       0},
      {"+promoted-slave", replica.c_str(), Kind::kPromotedReplica, "mymaster", kMaster, kReplica, 0},
      {"+switch-master", "mymaster 127.0.0.1 6379 127.0.0.1 6380", Kind::kSwitchMaster, "mymaster", kMaster, kReplica,
       0},
      {"-failover-abort-not-elected", "master mymaster 127.0.0.1 6379", Kind::kFailoverAborted, "mymaster", kMaster,
       kMaster, 0},
      {"-failover-abort-no-good-slave", "master mymaster 127.0.0.1 6379", Kind::kFailoverAborted, "mymaster", kMaster,
       kMaster, 0},
      {"+failover-end", "master mymaster 127.0.0.1 6379", Kind::kFailoverEnd, "mymaster", kMaster, kMaster, 0},
      {"+failover-end-for-timeout", "master mymaster 127.0.0.1 6379", Kind::kFailoverEnd, "mymaster", kMaster, kMaster,
       0},
      {"+tilt", "#tilt mode entered", Kind::kTilt, "", {}, {}, 0},
      {"-tilt", "#tilt mode exited", Kind::kNotTilt, "", {}, {}, 0},
      {"+odown", "master mymaster 127.0.0.1 6379 #quorum 2/2", Kind::kOther, "mymaster", kMaster, kMaster, 0},
      {"+role-change", "slave 127.0.0.1:6380 127.0.0.1 6380 @ mymaster 127.0.0.1 6379 new reported role is master",
       Kind::kOther, "mymaster", kMaster, kReplica, 0},
      {"+sentinel",
       "sentinel 3e1c 10.0.0.9 26379 @ mymaster 127.0.0.1 6379",
       Kind::kOther,
       "mymaster",
       kMaster,
       {"10.0.0.9", 26379, ""},
       0},
      {"+something-new", "free text", Kind::kOther, "", {}, {}, 0},
      {"+something-new", "", Kind::kOther, "", {}, {}, 0},
  };
  for (const Row& row : rows) {
    CAPTURE(row.channel);
    const auto event = ParseSentinelEvent(row.channel, row.payload);
    REQUIRE(event);
    CHECK(event->kind == row.kind);
    CHECK(event->name == row.channel);
    CHECK(event->master_name == row.master_name);
    CHECK(event->master == row.master);
    CHECK(event->instance == row.instance);
    CHECK(event->epoch == row.epoch);
  }
}

TEST_CASE("Addresses may be IPv6 or, with announce-hostnames, names") {
  const auto v6 = ParseSentinelEvent("+selected-slave", "slave [fd00::2]:6380 fd00::2 6380 @ mymaster fd00::1 6379");
  REQUIRE(v6);
  CHECK(v6->instance == Endpoint{"fd00::2", 6380, ""});
  CHECK(v6->master == Endpoint{"fd00::1", 6379, ""});
  const auto named = ParseSentinelEvent("+switch-master", "mymaster redis-1.lan 6379 redis-2.lan 6379");
  REQUIRE(named);
  CHECK(named->instance == Endpoint{"redis-2.lan", 6379, ""});
}

TEST_CASE("A known event of another form is malformed") {
  struct Row {
    const char* channel;
    const char* payload;
  };
  const Row rows[] = {
      {"+new-epoch", ""},
      {"+new-epoch", "-1"},
      {"+new-epoch", "18446744073709551616"},
      {"+new-epoch", "7 8"},
      {"+vote-for-leader", "7"},
      {"+switch-master", "mymaster 127.0.0.1 6379 127.0.0.1"},
      {"+switch-master", "mymaster 127.0.0.1 6379 127.0.0.1 0"},
      {"+switch-master", "mymaster 127.0.0.1 6379 127.0.0.1 6380 more"},
      {"+selected-slave", "slave 127.0.0.1:6380 127.0.0.1 6380"},
      {"+selected-slave", "slave 127.0.0.1:6380 127.0.0.1 6380 # mymaster 127.0.0.1 6379"},
      {"+try-failover", "stranger mymaster 127.0.0.1 6379"},
      {"+try-failover", "master mymaster 127.0.0.1 port"},
      {"+failover-end", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.channel);
    CAPTURE(row.payload);
    const auto event = ParseSentinelEvent(row.channel, row.payload);
    REQUIRE_FALSE(event);
    CHECK(event.error().kind == ErrorKind::kMalformedReply);
  }
  CHECK_FALSE(ParseSentinelEvent("+odown", std::string(5000, ' ')));
}

}  // namespace
}  // namespace rcb::redis
