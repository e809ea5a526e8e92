#include "agent/status.h"

#include <doctest/doctest.h>

#include <string>

#include "agent/config.h"
#include "agent/findings.h"
#include "agent/status_text.h"
#include "agent/timeline.h"

using namespace rcb::agent;
using namespace std::chrono_literals;

namespace {

const UtcTime kNoon = std::chrono::sys_days(std::chrono::year(2026) / 11 / 22) + 12h;

Status Example() {
  Status status;
  status.at = kNoon;
  status.version = "0.1.0";
  status.started = kNoon - 3h;
  status.consul = "http://127.0.0.1:8500";
  status.consul_version = "1.8.7";
  status.node = "host-b";
  status.datacenter = "dc1";
  status.service = status.master_service = status.replica_service = "redis";
  status.master_name = "mymaster";
  status.authority = "sentinel";
  status.claim_read = true;
  status.claim = Claim{.authority = Authority::kSentinel,
                       .epoch = 7,
                       .state = Claim::State::kHeld,
                       .node = "host-a",
                       .service_id = "redis-a-6379",
                       .address = "10.0.0.1",
                       .port = 6379,
                       .run_id = "aa",
                       .replid = "bb",
                       .follows = {},
                       .revision = 3,
                       .since = "2026-11-22T11:00:00Z"};
  InstanceStatus instance;
  instance.endpoint = "127.0.0.1:6379";
  instance.address = "10.0.0.2:6379";
  instance.service_id = "redis-b-6379";
  instance.health = "answering";
  instance.health_since = kNoon - 1h;
  instance.role = "master";
  instance.role_since = kNoon - 10s;
  instance.run_id = "cc";
  instance.version = "7.0.15";
  instance.replicas = {{.address = "10.0.0.3:6379", .state = "online", .lag_bytes = 12, .lag_seconds = 1}};
  instance.tag = "none";
  instance.check = "critical";
  instance.reason = "says master, superseded by 10.0.0.1:6379 at epoch 7";
  instance.published_since = kNoon - 9s;
  status.instances = {instance};
  SentinelStatus sentinel;
  sentinel.endpoint = "10.0.0.9:26379";
  sentinel.connected = true;
  sentinel.master = "10.0.0.1:6379";
  sentinel.config_epoch = 7;
  sentinel.quorum = 2;
  sentinel.heard = kNoon - 500ms;
  status.sentinels = {sentinel};
  sentinel.endpoint = "10.0.0.8:26379";
  sentinel.connected = false;
  sentinel.trouble = "refuses connections";
  sentinel.master = "10.0.0.2:6379";
  sentinel.config_epoch = 6;
  sentinel.heard = kNoon - 300s;
  status.sentinels.push_back(sentinel);
  status.catalog_read = true;
  status.catalog = {{.service_id = "redis-a-6379",
                     .service = "redis",
                     .node = "host-a",
                     .address = "10.0.0.1:6379",
                     .upstream = {},
                     .tags = {"master"},
                     .check = "passing",
                     .output = "master at epoch 7, confirmed by sentinel",
                     .served = true}};
  status.troubles = {{"sentinel 10.0.0.8:26379", "refuses connections"}};
  status.changes = {{kNoon - 10s, "127.0.0.1:6379", "published untagged, critical"}};
  return status;
}

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("Status: what is encoded is decoded") {
  const auto decoded = DecodeStatus(EncodeStatus(Example()));
  REQUIRE(decoded);
  CHECK(*decoded == Example());
  const auto empty = DecodeStatus(EncodeStatus(Status{}));
  REQUIRE(empty);
  CHECK(*empty == Status{});
}

TEST_CASE("Status: several groups, of which a reader that knows of one finds the first") {
  Status status = Example();
  status.groups = {Example(), Example()};
  status.groups[1].service = "queue";
  status.groups[1].instances[0].endpoint = "127.0.0.1:6380";
  const auto decoded = DecodeStatus(EncodeStatus(status));
  REQUIRE(decoded);
  CHECK(*decoded == status);
  CHECK(GroupsOf(*decoded).size() == 2);
  CHECK(GroupsOf(Example()).size() == 1);
  const std::string table = StatusTable(status, false);
  CHECK(Contains(table, "service: redis on node host-b"));
  CHECK(Contains(table, "service: queue on node host-b"));
  CHECK(table.find("agent: ") == table.rfind("agent: "));
  CHECK(Contains(Explain(status, false), "127.0.0.1:6380 is published as untagged, critical of queue: "));
}

TEST_CASE("Status: of another version what is known is taken, and what is wrong is named") {
  const auto newer = DecodeStatus(R"({"instances": [{"endpoint": "x", "mood": "good"}], "colour": 3})");
  REQUIRE(newer);
  CHECK(newer->instances.front().endpoint == "x");
  for (const std::string text : {"", "[]", "null", "{}", "<html>", R"({"instances")"}) {
    CAPTURE(text);
    CHECK_FALSE(DecodeStatus(text));
  }
  const auto wrong = DecodeStatus(R"({"instances": [{"endpoint": 7}]})");
  REQUIRE_FALSE(wrong);
  CHECK(Contains(wrong.error(), "\"instances\""));
  CHECK_FALSE(DecodeStatus(R"({"instances": [], "claim": {"authority": "oracle"}})"));
  CHECK_FALSE(DecodeStatus(R"({"instances": [], "at": "yesterday"})"));
}

TEST_CASE("Status: bytes that are not UTF-8 do not break the JSON") {
  Status status = Example();
  status.instances[0].health_detail = "\xff\x01\n";
  const auto decoded = DecodeStatus(EncodeStatus(status));
  REQUIRE(decoded);
  CHECK(decoded->instances[0].health_detail == "\xef\xbf\xbd\x01\n");
}

TEST_CASE("UTC times are told to the millisecond and read back") {
  CHECK(FormatUtc(kNoon + 7ms) == "2026-11-22T12:00:00.007Z");
  CHECK(ParseUtc("2026-11-22T12:00:00.007Z") == kNoon + 7ms);
  for (const char* text : {"", "2026-11-22T12:00:00Z", "2026-02-30T12:00:00.000Z", "2026-11-22T24:00:00.000Z",
                           "2026-11-22T12:60:00.000Z", "+026-11-22T12:00:00.000Z", "2026-11-22 12:00:00.000Z"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseUtc(text));
  }
}

TEST_CASE("Timeline: only the last changes are kept") {
  Timeline timeline;
  for (std::size_t i = 0; i < Timeline::kMost + 3; ++i) timeline.Add({kNoon + i * 1s, "x", std::to_string(i)});
  REQUIRE(timeline.Changes().size() == Timeline::kMost);
  CHECK(timeline.Changes().front().text == "3");
  CHECK(timeline.Changes().back().text == std::to_string(Timeline::kMost + 2));
}

TEST_CASE("status: a table that aligns") {
  Status status = Example();
  InstanceStatus replica = status.instances[0];
  replica.endpoint = "[2001:db8::1]:6380";
  replica.role = "replica";
  replica.tag = "replica";
  replica.check = "passing";
  replica.reason = "replica of 10.0.0.1:6379, in sync";
  replica.lag_bytes = 2048000;
  replica.published_since = kNoon - 50h;
  status.instances.push_back(replica);
  const std::string table = StatusTable(status, false);
  CHECK(Contains(
      table,
      "INSTANCE            ROLE     PUBLISHED           SINCE  LAG       WHY\n"
      "127.0.0.1:6379      master   untagged, critical  9s     -         says master, superseded by "
      "10.0.0.1:6379 at epoch 7\n"
      "[2001:db8::1]:6380  replica  replica, passing    2d     2000 KiB  replica of 10.0.0.1:6379, in sync\n"));
  CHECK(Contains(table, "claim: is held by 10.0.0.1:6379, epoch 7, by authority of sentinel"));
  CHECK(Contains(table, "catalog: serves 10.0.0.1:6379 as master\n"));
  CHECK(Contains(table, "sentinels: 1 of 2 answer\n"));
  CHECK(Contains(table, "trouble: sentinel 10.0.0.8:26379: refuses connections"));
  CHECK_FALSE(Contains(table, "\x1b"));
  CHECK(Contains(StatusTable(status, true), "\x1b[31muntagged, critical\x1b[0m"));
}

TEST_CASE("status: foreign text cannot move the terminal's cursor") {
  Status status = Example();
  status.instances[0].reason = "x\x1b[2J\r\ny";
  status.troubles[0].text = "\x1b]0;title\x07";
  CHECK_FALSE(Contains(StatusTable(status, false), "\x1b"));
  CHECK_FALSE(Contains(Explain(status, false), "\x1b"));
}

TEST_CASE("explain: each witness and what it said") {
  const std::string text = Explain(Example(), false);
  CHECK(text ==
        "127.0.0.1:6379 is published as untagged, critical: says master, superseded by 10.0.0.1:6379 at epoch 7.\n"
        "  The server itself says master, for 10s.\n"
        "  The claim is held by 10.0.0.1:6379, epoch 7, by authority of sentinel, since 2026-11-22T11:00:00Z.\n"
        "  Sentinel 10.0.0.9:26379 names 10.0.0.1:6379, epoch 7.\n"
        "  Sentinel 10.0.0.8:26379 named 10.0.0.2:6379 (this server), epoch 6, 5m ago; not connected: refuses "
        "connections.\n"
        "  The catalog serves 10.0.0.1:6379 as master.");
  CHECK(Contains(ExplainJson(Example()), "\"who\": \"Sentinel 10.0.0.9:26379\""));
}

TEST_CASE("explain: what is not known is said") {
  Status status;
  status.unready = "the claim was not read";
  status.instances.emplace_back().endpoint = "127.0.0.1:6379";
  status.instances[0].health = "unknown";
  CHECK(Explain(status, false) ==
        "127.0.0.1:6379 is published as nothing yet: too little is known yet.\n"
        "  The server itself was not heard yet.\n"
        "  The claim could not be read from Consul yet.\n"
        "  Sentinel none is known.\n"
        "  The catalog could not be read.\n"
        "The agent is not ready: the claim was not read.");
}

TEST_CASE("FormatAge: two digits, never negative") {
  CHECK(FormatAge(-5s) == "0s");
  CHECK(FormatAge(119s) == "119s");
  CHECK(FormatAge(2min) == "2m");
  CHECK(FormatAge(119min) == "119m");
  CHECK(FormatAge(47h) == "47h");
  CHECK(FormatAge(48h) == "2d");
}

TEST_CASE("listen: an address and a port, or off") {
  const auto load = [](const std::string& value) {
    return LoadConfig({.file = {}, .environment = {}, .flags = {{"listen", {value}}}});
  };
  REQUIRE(load("[::1]:9000"));
  CHECK(load("[::1]:9000")->listen->ToString() == "[::1]:9000");
  REQUIRE(load("off"));
  CHECK_FALSE(load("off")->listen);
  for (const std::string value : {"", "127.0.0.1", "127.0.0.1:0", "unix:/run/x", "127.0.0.1:x"}) {
    CAPTURE(value);
    const auto config = load(value);
    REQUIRE_FALSE(config);
    CHECK(Contains(config.error(), "--listen"));
    CHECK(Contains(config.error(), "expected ADDRESS:PORT or off"));
  }
}

TEST_CASE("doctor: what to do comes in order, faults first, each once") {
  const std::vector<Finding> findings = {{Finding::Grade::kWarning, "DNS", "may be old", "Mend DNS"},
                                         {Finding::Grade::kGood, "Redis", "answers\n"},
                                         {Finding::Grade::kFault, "Consul", "is away", "Start Consul"},
                                         {Finding::Grade::kFault, "Token", "is away", "Start Consul"}};
  CHECK(HasFault(findings));
  CHECK(FindingsText(findings, false) ==
        "warning  DNS: may be old\n"
        "good     Redis: answers?\n"
        "fault    Consul: is away\n"
        "fault    Token: is away\n"
        "\n"
        "What to do, in this order:\n"
        "1. Start Consul\n"
        "2. Mend DNS");
  CHECK(Contains(FindingsJson(findings), "\"healthy\": false"));
  CHECK(FindingsText({}, false) == "\nNothing is to be done.");
  CHECK(Contains(FindingsText(findings, true), "\x1b[31mfault\x1b[0m    Consul"));
  CHECK(Contains(FindingsText(findings, true), "\x1b[1mWhat to do, in this order:\x1b[0m\n"));
}
