// What the Sentinels of several versions said, recorded by tests/versions/record: one failover of a group of two.

#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "redis/resp.h"
#include "redis/sentinel_event.h"
#include "redis/sentinel_view.h"

namespace rcb::redis {
namespace {

const Endpoint kMaster{"127.0.0.1", 22900, ""};
const Endpoint kReplica{"127.0.0.1", 22901, ""};

/// The replies in tests/data/sentinel/VERSION-WHAT.resp.
std::vector<Reply> ReadReplies(const std::string& version, const std::string& what) {
  std::ifstream file(RCB_TEST_DATA "/sentinel/" + version + "-" + what + ".resp", std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  ReplyDecoder decoder;
  decoder.Feed(bytes.str());
  std::vector<Reply> replies;
  for (auto next = decoder.Next(); next && *next; next = decoder.Next()) replies.push_back((**next).reply);
  REQUIRE_FALSE(replies.empty());
  return replies;
}

TEST_CASE("The Sentinels of every version are understood") {
  for (const std::string version : {"redis-6.0", "redis-8.0", "valkey-8"}) {
    CAPTURE(version);
    const auto view =
        ParseSentinelMaster("5e17", ReadReplies(version, "master")[0], ReadReplies(version, "address")[0]);
    REQUIRE(view);
    CHECK(view->master_name == "mymaster");
    CHECK(view->master == kMaster);
    CHECK(view->master_run_id.size() == 40);
    CHECK(view->config_epoch == 0);
    CHECK(view->quorum == 2);
    CHECK(view->other_sentinels == 1);
    CHECK(view->down_after == std::chrono::milliseconds(1500));
    CHECK_FALSE(view->master_down);

    const auto replicas = ParseSentinelReplicas(ReadReplies(version, "replicas")[0]);
    REQUIRE(replicas.size() == 1);
    CHECK(replicas[0].address == kReplica);
    CHECK(replicas[0].run_id.size() == 40);
    CHECK(ParseSentinelPeers(ReadReplies(version, "sentinels")[0]) == std::vector<Endpoint>{{"127.0.0.1", 22906, ""}});

    const std::vector<Reply> hellos = ReadReplies(version, "hellos");
    REQUIRE(hellos.size() > 1);  // The first one is that of SUBSCRIBE.
    const auto hello = ParseSentinelHello(hellos[1].elements.at(2).text);
    REQUIRE(hello);
    CHECK(hello->view.master == kMaster);
    CHECK(hello->view.master_name == "mymaster");
  }
}

TEST_CASE("The events of a failover name the chosen one, at its epoch, in every version") {
  using Kind = SentinelEvent::Kind;
  for (const std::string version : {"redis-6.0", "redis-8.0", "valkey-8"}) {
    CAPTURE(version);
    std::vector<Kind> kinds;
    for (const Reply& message : ReadReplies(version, "events")) {
      if (message.elements.at(0).text != "pmessage") continue;
      const auto event = ParseSentinelEvent(message.elements.at(2).text, message.elements.at(3).text);
      REQUIRE(event);
      kinds.push_back(event->kind);
      if (event->kind == Kind::kNewEpoch) CHECK(event->epoch == 1);
      if (event->kind == Kind::kSelectedReplica || event->kind == Kind::kPromotedReplica ||
          event->kind == Kind::kSwitchMaster) {
        CHECK(event->instance == kReplica);
        CHECK(event->master_name == "mymaster");
      }
    }
    std::erase(kinds, Kind::kOther);
    CHECK(kinds == std::vector<Kind>{Kind::kNewEpoch, Kind::kTryFailover, Kind::kVoteForLeader, Kind::kSelectedReplica,
                                     Kind::kSendReplicaofNoOne, Kind::kPromotedReplica, Kind::kFailoverEnd,
                                     Kind::kSwitchMaster});
  }
}

}  // namespace
}  // namespace rcb::redis
