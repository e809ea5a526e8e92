#include "redis/cluster_info.h"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace rcb::redis {
namespace {

std::string ReadData(const std::string& name) {
  std::ifstream file(std::string(RCB_TEST_DATA "/cluster/") + name, std::ios::binary);
  REQUIRE_MESSAGE(file, name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

constexpr char kId[] = "401071aafceac07d58a74ac49d8f89f67d5a01ea";

TEST_CASE("CLUSTER NODES: what a node says of its own shard") {
  struct Row {
    const char* file;
    Role role;
    std::uint64_t epoch;
    const char* slots;
    bool master_failing;
    bool minority;
  };
  const Row rows[] = {
      {"redis-7.0-nodes-at-rest.txt", Role::kMaster, 1, "0-5460", false, false},
      {"redis-7.0-nodes-replica.txt", Role::kReplica, 1, "0-5460", false, false},
      {"redis-7.0-nodes-migrating.txt", Role::kMaster, 1, "0-5460", false, false},
      {"redis-7.0-nodes-importing.txt", Role::kMaster, 2, "5461-10922", false, false},
      {"redis-7.0-nodes-hostnames.txt", Role::kMaster, 8, "0-5460", false, false},
      {"redis-7.0-nodes-fresh.txt", Role::kMaster, 0, "", false, false},
      {"redis-7.0-nodes-handshake.txt", Role::kMaster, 0, "", false, false},
      {"redis-7.0-nodes-pfail.txt", Role::kMaster, 7, "5461-10922", false, false},
      {"redis-7.0-nodes-promoted.txt", Role::kMaster, 9, "0-5460", false, false},
      {"redis-7.0-nodes-minority.txt", Role::kMaster, 7, "5461-10922", false, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.file);
    const auto nodes = ParseClusterNodes(ReadData(row.file));
    REQUIRE(nodes);
    CHECK(nodes->node_id.size() == 40);
    CHECK(nodes->role == row.role);
    CHECK(nodes->epoch == row.epoch);
    CHECK(nodes->slots.ToString(512) == row.slots);
    CHECK(nodes->master_failing == row.master_failing);
    CHECK(nodes->minority == row.minority);
    CHECK(nodes->master_id.empty() == (row.role == Role::kMaster));
  }
}

TEST_CASE("CLUSTER NODES: a replica tells of its master, whatever that one's flags are") {
  const std::string self = std::string("aaaa 10.0.0.2:6379@16379 myself,slave ") + kId + " 0 0 5 connected\n";
  const std::string id = kId;
  SUBCASE("suspected") {
    const auto nodes = ParseClusterNodes(id + " 10.0.0.1:6379@16379 master,fail? - 1 1 5 disconnected 7 9-10\n" + self);
    REQUIRE(nodes);
    CHECK(nodes->master_failing);
    CHECK(nodes->slots.ToString(512) == "7,9-10");
    CHECK(nodes->master_id == id);
  }
  SUBCASE("failed, and without an address") {
    const auto nodes = ParseClusterNodes(id + " :0@0 master,fail,noaddr - 1 1 5 disconnected\r\n" + self);
    REQUIRE(nodes);
    CHECK(nodes->master_failing);
    CHECK(nodes->slots.empty());
  }
  SUBCASE("not known, before 4.0 without a bus port, with fields of a later version") {
    const auto nodes = ParseClusterNodes("aaaa 10.0.0.2:6379,,tls-port=0,shard-id=ab myself,slave - 0 0 5 connected");
    REQUIRE(nodes);
    CHECK(nodes->role == Role::kReplica);
    CHECK(nodes->master_id.empty());
    CHECK(nodes->slots.empty());
    CHECK_FALSE(nodes->minority);
  }
}

TEST_CASE("CLUSTER NODES: what is none is refused") {
  const std::string good = "a 10.0.0.1:1@2 myself,master - 0 0 1 connected";
  REQUIRE(ParseClusterNodes(good));
  for (const std::string& body :
       {std::string(), std::string("\n\n"), std::string("OK"), good.substr(0, good.rfind(' ')), good + " 16384",
        good + " 5-4", good + " x", good + " 1-", good + " -1", good + " 1-2-3", good + " 0-9 9",
        std::string("a 10.0.0.1:1@2 master - 0 0 1 connected"), std::string("a b myself,master - 0 0 -1 connected"),
        std::string("a b myself,master - 0 0 99999999999999999999 connected"), std::string(100, 'a') + good.substr(1),
        good + " 0-16383\nb 10.0.0.2:1@2 master - 0 0 1 connected 0"}) {
    CAPTURE(body);
    const auto nodes = ParseClusterNodes(body);
    REQUIRE_FALSE(nodes);
    CHECK(nodes.error().kind == ErrorKind::kMalformedReply);
  }
}

TEST_CASE("CLUSTER INFO: the state, and whether every slot has an owner") {
  CHECK(ParseClusterInfo(ReadData("redis-7.0-info-ok.txt")) == ClusterInfo{true, true});
  CHECK(ParseClusterInfo(ReadData("redis-7.0-info-minority.txt")) == ClusterInfo{false, true});
  CHECK(ParseClusterInfo(ReadData("redis-7.0-info-fresh.txt")) == ClusterInfo{false, false});
  CHECK(ParseClusterInfo("cluster_state:okay\r\ncluster_slots_assigned:x") == ClusterInfo{false, false});
  for (const char* body : {"", "cluster_slots_assigned:16384", "role:master\r\n"}) {
    const auto info = ParseClusterInfo(body);
    REQUIRE_FALSE(info);
    CHECK(info.error().kind == ErrorKind::kMalformedReply);
  }
}

}  // namespace
}  // namespace rcb::redis
