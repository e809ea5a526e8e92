#include "redis/sentinel_view.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>

namespace rcb::redis {
namespace {

Reply Text(std::string text) {
  return {.type = Reply::Type::kString, .integer = 0, .text = std::move(text), .elements = {}};
}

Reply Array(std::initializer_list<const char*> texts) {
  Reply reply;
  reply.type = Reply::Type::kArray;
  for (const char* text : texts) reply.elements.push_back(Text(text));
  return reply;
}

const Reply kMasterReply = Array({"name",
                                  "mymaster",
                                  "ip",
                                  "127.0.0.1",
                                  "port",
                                  "6379",
                                  "runid",
                                  "aaaa",
                                  "flags",
                                  "master",
                                  "config-epoch",
                                  "7",
                                  "num-slaves",
                                  "2",
                                  "num-other-sentinels",
                                  "2",
                                  "quorum",
                                  "2",
                                  "down-after-milliseconds",
                                  "1000"});

TEST_CASE("A hello is eight fields") {
  const auto hello = ParseSentinelHello("10.0.0.1,26379,3e1c0b44,9,mymaster,10.0.0.2,6379,7");
  REQUIRE(hello);
  CHECK(hello->sentinel == Endpoint{"10.0.0.1", 26379, ""});
  CHECK(hello->current_epoch == 9);
  CHECK(hello->view.sentinel_id == "3e1c0b44");
  CHECK(hello->view.master_name == "mymaster");
  CHECK(hello->view.master == Endpoint{"10.0.0.2", 6379, ""});
  CHECK(hello->view.config_epoch == 7);
  CHECK(hello->view.master_run_id.empty());
  CHECK_FALSE(hello->view.direct);

  for (const std::string payload :
       {"", ",,,,,,,", "10.0.0.1,26379,3e1c,9,mymaster,10.0.0.2,6379",
        "10.0.0.1,26379,3e1c,9,mymaster,10.0.0.2,6379,7,8", "10.0.0.1,0,3e1c,9,mymaster,10.0.0.2,6379,7",
        "10.0.0.1,26379,,9,mymaster,10.0.0.2,6379,7", "10.0.0.1,26379,3e1c,x,mymaster,10.0.0.2,6379,7",
        "10.0.0.1,26379,3e1c,9,,10.0.0.2,6379,7", "10.0.0.1,26379,3e1c,9,mymaster,,6379,7",
        "10.0.0.1,26379,3e1c,9,mymaster,10.0.0.2,6379,-7"}) {
    CAPTURE(payload);
    CHECK_FALSE(ParseSentinelHello(payload));
  }
  CHECK_FALSE(ParseSentinelHello(std::string(5000, 'x') + ",1,3e1c,9,mymaster,10.0.0.2,6379,7"));
}

TEST_CASE("A Sentinel's view is told by MASTER and the address") {
  const auto view = ParseSentinelMaster("5e17", kMasterReply, Array({"127.0.0.1", "6379"}));
  REQUIRE(view);
  CHECK(view->sentinel_id == "5e17");
  CHECK(view->master_name == "mymaster");
  CHECK(view->master == Endpoint{"127.0.0.1", 6379, ""});
  CHECK(view->master_run_id == "aaaa");
  CHECK(view->config_epoch == 7);
  CHECK(view->direct);
  CHECK_FALSE(view->master_down);
  CHECK_FALSE(view->failover_in_progress);
  CHECK(view->quorum == 2);
  CHECK(view->other_sentinels == 2);
  CHECK(view->down_after == std::chrono::milliseconds(1000));
}

TEST_CASE("During a failover the address counts, and flags and run id are the old master's") {
  Reply master = kMasterReply;
  master.elements[9] = Text("master,s_down,o_down,failover_in_progress");
  const auto before = ParseSentinelMaster("5e17", master, Array({"127.0.0.1", "6379"}));
  REQUIRE(before);
  CHECK(before->master_down);
  CHECK(before->failover_in_progress);
  const auto promoted = ParseSentinelMaster("5e17", master, Array({"127.0.0.1", "6380"}));
  REQUIRE(promoted);
  CHECK(promoted->master == Endpoint{"127.0.0.1", 6380, ""});
  CHECK(promoted->master_run_id.empty());
  CHECK_FALSE(promoted->master_down);
  CHECK_FALSE(promoted->failover_in_progress);
}

TEST_CASE("A view without name, address or epoch is malformed") {
  const Reply address = Array({"127.0.0.1", "6379"});
  for (const unsigned value : {1U, 3U, 5U, 11U}) {
    Reply master = kMasterReply;
    master.elements[value].text = "";
    CHECK_FALSE(ParseSentinelMaster("5e17", master, address));
  }
  CHECK_FALSE(ParseSentinelMaster("5e17", Reply{}, address));
  CHECK_FALSE(ParseSentinelMaster("5e17", Array({"name"}), address));
  CHECK_FALSE(ParseSentinelMaster("5e17", kMasterReply, Reply{}));
  CHECK_FALSE(ParseSentinelMaster("5e17", kMasterReply, Array({"127.0.0.1", "x"})));
}

TEST_CASE("Groups and peers are listed in order, those without name or address left out") {
  Reply list;
  list.type = Reply::Type::kArray;
  CHECK(ParseSentinelMasterNames(list).empty());
  CHECK(ParseSentinelPeers(list).empty());
  list.elements = {Array({"name", "b", "ip", "10.0.0.1", "port", "26379"}), Array({"ip", "10.0.0.2", "port", "26380"}),
                   Text("stray"), Array({"name", "a", "ip", "", "port", "1"})};
  CHECK(ParseSentinelMasterNames(list) == std::vector<std::string>{"b", "a"});
  CHECK(ParseSentinelPeers(list) == std::vector<Endpoint>{{"10.0.0.1", 26379, ""}, {"10.0.0.2", 26380, ""}});
}

TEST_CASE("Replicas are told with the run id by which a server knows itself") {
  Reply list;
  list.type = Reply::Type::kArray;
  list.elements = {Array({"ip", "redis-1.example", "port", "6379", "runid", "aaaa"}),
                   Array({"ip", "10.0.0.2", "port", "6379", "runid", ""}), Array({"ip", "10.0.0.3"}), Text("stray")};
  const auto replicas = ParseSentinelReplicas(list);
  REQUIRE(replicas.size() == 1);
  CHECK(replicas[0].address == Endpoint{"redis-1.example", 6379, ""});
  CHECK(replicas[0].run_id == "aaaa");
}

}  // namespace
}  // namespace rcb::redis
