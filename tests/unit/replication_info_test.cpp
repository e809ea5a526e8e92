#include "redis/replication_info.h"

#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>

namespace rcb::redis {
namespace {

using std::chrono::seconds;

std::string ReadData(const std::string& name) {
  std::ifstream file(std::string(RCB_TEST_DATA "/info/") + name, std::ios::binary);
  REQUIRE_MESSAGE(file, name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string WithoutCarriageReturns(std::string text) {
  std::erase(text, '\r');
  return text;
}

TEST_CASE("INFO replication of every supported version is understood, CRLF or LF") {
  struct Row {
    const char* file;
    Role role;
    std::size_t replicas;
    std::optional<std::int64_t> offset;  ///< master_repl_offset
    bool has_replid;
    const char* failover_state;
  };
  const Row rows[] = {
      {"redis-2.8-master.txt", Role::kMaster, 2, 1443, false, ""},
      {"redis-2.8-replica.txt", Role::kReplica, 0, 0, false, ""},
      {"redis-3.2-master.txt", Role::kMaster, 2, 98301, false, ""},
      {"redis-3.2-replica.txt", Role::kReplica, 0, 0, false, ""},
      {"redis-4.0-master.txt", Role::kMaster, 1, 5600, true, ""},
      {"redis-4.0-replica.txt", Role::kReplica, 0, 5600, true, ""},
      {"redis-6.0-master.txt", Role::kMaster, 1, 291, true, ""},
      {"redis-6.0-replica.txt", Role::kReplica, 0, 291, true, ""},
      {"redis-6.2-master.txt", Role::kMaster, 2, 777216, true, "no-failover"},
      {"redis-6.2-replica.txt", Role::kReplica, 0, 777216, true, "no-failover"},
      {"redis-7.0-master.txt", Role::kMaster, 1, 50, true, "no-failover"},
      {"redis-7.0-replica.txt", Role::kReplica, 0, 50, true, "no-failover"},
      {"redis-8.0-master.txt", Role::kMaster, 1, 291, true, "no-failover"},
      {"redis-8.0-replica.txt", Role::kReplica, 0, 291, true, "no-failover"},
      {"valkey-8-master.txt", Role::kMaster, 1, 291, true, "no-failover"},
      {"valkey-8-replica.txt", Role::kReplica, 0, 291, true, "no-failover"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.file);
    const std::string body = ReadData(row.file);
    for (const std::string& text : {body, WithoutCarriageReturns(body)}) {
      const auto info = ParseReplicationInfo(text);
      REQUIRE(info);
      CHECK(info->role == row.role);
      CHECK(info->replicas.size() == row.replicas);
      CHECK(info->master_repl_offset == row.offset);
      CHECK(info->replid.size() == (row.has_replid ? 40 : 0));
      CHECK_FALSE(info->second_repl_offset);
      CHECK(info->failover_state == row.failover_state);
      CHECK(info->replica_repl_offset.has_value() == (row.role == Role::kReplica));
    }
  }
}

TEST_CASE("A replica tells its upstream and the state of the link") {
  const auto up = ParseReplicationInfo(ReadData("redis-7.0-replica.txt"));
  REQUIRE(up);
  CHECK(up->master == Endpoint{"127.0.0.1", 21901, ""});
  CHECK(up->master_link_up);
  CHECK_FALSE(up->master_sync_in_progress);
  CHECK_FALSE(up->master_link_down_since);
  CHECK(up->priority == 100);
  CHECK(up->announced);
  CHECK(up->read_only);

  const auto syncing = ParseReplicationInfo(ReadData("redis-3.2-replica.txt"));
  REQUIRE(syncing);
  CHECK_FALSE(syncing->master_link_up);
  CHECK(syncing->master_sync_in_progress);
  CHECK(syncing->master_link_down_since == seconds(37));
  CHECK(syncing->priority == 0);

  const auto never_up = ParseReplicationInfo(ReadData("redis-7.0-replica-link-down.txt"));
  REQUIRE(never_up);
  CHECK_FALSE(never_up->master_link_up);
  CHECK_FALSE(never_up->master_link_down_since);  // The server says -1.

  const auto hidden = ParseReplicationInfo(ReadData("redis-6.2-replica.txt"));
  REQUIRE(hidden);
  CHECK(hidden->master == Endpoint{"fd00::1", 6379, ""});
  CHECK_FALSE(hidden->announced);

  const auto writable = ParseReplicationInfo(ReadData("redis-4.0-replica.txt"));
  REQUIRE(writable);
  CHECK_FALSE(writable->read_only);
}

TEST_CASE("A promoted replica tells whose data set it continues") {
  for (const std::string version : {"redis-6.0", "redis-7.0", "redis-8.0", "valkey-8"}) {
    CAPTURE(version);
    const auto info = ParseReplicationInfo(ReadData(version + "-promoted.txt"));
    REQUIRE(info);
    CHECK(info->role == Role::kMaster);
    CHECK(info->replid2.size() == 40);
    CHECK(info->replid2 != std::string(40, '0'));
    CHECK(info->second_repl_offset.value_or(0) > 0);
  }
}

TEST_CASE("A master tells its replicas, by address or name") {
  const auto info = ParseReplicationInfo(ReadData("redis-6.2-master.txt"));
  REQUIRE(info);
  REQUIRE(info->replicas.size() == 2);
  CHECK(info->replicas[0].address == Endpoint{"fd00::2", 6379, ""});
  CHECK(info->replicas[0].state == "online");
  CHECK(info->replicas[0].offset == 777216);
  CHECK(info->replicas[0].lag == 0);
  CHECK(info->replicas[1].address == Endpoint{"replica-b.example.net", 6380, ""});
  CHECK(info->replicas[1].state == "send_bulk");
}

TEST_CASE("A promoted master tells its lineage") {
  const auto info = ParseReplicationInfo(ReadData("redis-7.0-promoted.txt"));
  REQUIRE(info);
  CHECK(info->role == Role::kMaster);
  CHECK(info->replid2 == "891fc5a0ce583873db50fe6a5d0478323b285e2f");
  CHECK(info->second_repl_offset == 51);
}

TEST_CASE("Odd optional fields are as if they were absent") {
  const auto info = ParseReplicationInfo(
      "# Replication\nrole:master\n"
      "master_repl_offset:99999999999999999999999999\nsecond_repl_offset:many\nmaster_link_down_since_seconds:1e9\n"
      "slave_priority:\nunknown_field:1:2:3\na line without colon\n:\n"
      "slave0:ip=10.0.0.1,port=0,state=online\nslave1:10.0.0.2,6380,online\nslave2:ip=,port=1\nslave3:ip=a b,port=1\n"
      "slave4:ip=10.0.0.5,port=70000\nslave5:ip=10.0.0.6,port=6379,offset=x,lag=y\nslaveX:ip=10.0.0.7,port=1\n"
      "slave99999999999:ip=10.0.0.8,port=1\nslave_x:1");
  REQUIRE(info);
  CHECK_FALSE(info->master_repl_offset);
  CHECK_FALSE(info->second_repl_offset);
  CHECK_FALSE(info->master_link_down_since);
  CHECK_FALSE(info->priority);
  REQUIRE(info->replicas.size() == 1);
  CHECK(info->replicas[0].address == Endpoint{"10.0.0.6", 6379, ""});
  CHECK(info->replicas[0].offset == 0);
  CHECK(info->replicas[0].lag == -1);
}

TEST_CASE("Without a role that is one there is no reply to act on") {
  for (const std::string body :
       {"", "garbage", "role", "role:", "role:sentinel\r\n", "ROLE:master", "# role:master", "xrole:master\r\n"}) {
    CAPTURE(body);
    const auto info = ParseReplicationInfo(body);
    REQUIRE_FALSE(info);
    CHECK(info.error().kind == ErrorKind::kMalformedReply);
  }
  CHECK_FALSE(ParseReplicationInfo(std::string("\0\xff\r\n\0role:master", 16)));
}

TEST_CASE("INFO server tells run id, version and mode") {
  const auto redis = ParseServerInfo(ReadData("redis-7.0-server.txt"));
  REQUIRE(redis);
  CHECK(redis->run_id == "84b7d57ecb333bf9512e3a44f28e53b18a031869");
  CHECK(redis->redis_version == "7.0.15");
  CHECK(redis->mode == "standalone");
  CHECK(redis->tcp_port == 21902);

  const std::map<std::string, std::string> recorded = {
      {"redis-6.0-server.txt", "6.0.16"}, {"redis-8.0-server.txt", "8.0.2"}, {"valkey-8-server.txt", "8.1.1"}};
  for (const auto& row : recorded) {
    CAPTURE(row.first);
    const auto told = ParseServerInfo(ReadData(row.first));
    REQUIRE(told);
    CHECK(told->run_id.size() == 40);
    CHECK(told->redis_version == row.second);
    CHECK(told->mode == "standalone");
    CHECK(told->tcp_port == 22901);
  }

  CHECK_FALSE(ParseServerInfo("redis_version:7.0.15\r\n"));
}

TEST_CASE("INFO persistence tells whether the data set is being read") {
  for (const char* version : {"redis-6.0", "redis-7.0", "redis-8.0", "valkey-8"}) {
    CHECK_FALSE(ParseLoading(ReadData(std::string(version) + "-persistence.txt")));
  }
  CHECK(ParseLoading("# Persistence\r\nloading:1\r\nasync_loading:0\r\n"));
  CHECK_FALSE(ParseLoading("# Persistence\r\nasync_loading:1\r\n"));
  CHECK_FALSE(ParseLoading(""));
}

}  // namespace
}  // namespace rcb::redis
