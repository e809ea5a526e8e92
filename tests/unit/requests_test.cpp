#include "consul/requests.h"

#include <doctest/doctest.h>

#include <string>

namespace rcb::consul {
namespace {

using namespace std::chrono_literals;

HttpResponse Reply(long status, std::string body, std::uint64_t index = 0, bool known_leader = true) {
  return {.status = status, .body = std::move(body), .consul_index = index, .known_leader = known_leader};
}

TEST_CASE("Requests: method and path, percent-encoded") {
  CHECK(RegisterServiceRequest({}).method == "PUT");
  CHECK(RegisterServiceRequest({}).path == "/v1/agent/service/register?replace-existing-checks=true");
  CHECK(DeregisterServiceRequest("a b/c?d#e%f").path == "/v1/agent/service/deregister/a%20b%2Fc%3Fd%23e%25f");
  CHECK(UpdateTtlRequest("redis-h-1:role", CheckStatus::kWarning, "o").path ==
        "/v1/agent/check/update/redis-h-1%3Arole");
  CHECK(UpdateTtlRequest("c", CheckStatus::kWarning, "o\n").body == R"({"Output":"o\n","Status":"warning"})");
  CHECK(AgentSelfRequest().path == "/v1/agent/self");
  CHECK(AgentSelfRequest().method == "GET");
  CHECK(KvCasRequest("service/r e/master", "v", 7).path == "/v1/kv/service/r%20e/master?cas=7");
  CHECK(KvCasRequest("k", "v", 7).body == "v");
  CHECK(TxnRequest({}).path == "/v1/txn");
}

TEST_CASE("Requests: a read asks the leader; with an index it waits, and its timeout allows for Consul's jitter") {
  CHECK(KvGetRequest("k", 0, 60s).path == "/v1/kv/k?leader");
  CHECK(KvGetRequest("k", 12, 60s).path == "/v1/kv/k?leader&index=12&wait=60000ms");
  CHECK(KvGetRequest("k", 12, 60s).timeout == 60s + 3750ms + 5s);
  CHECK(HealthServiceRequest("re/dis", 0, 60s).path == "/v1/health/service/re%2Fdis?leader");
  CHECK(HealthServiceRequest("redis", 18446744073709551615U, 1s).path ==
        "/v1/health/service/redis?leader&index=18446744073709551615&wait=1000ms");
}

TEST_CASE("Responses: the kind of an HTTP error follows status and body") {
  struct Row {
    long status;
    const char* body;
    ErrorKind kind;
  };
  const Row rows[] = {
      {403, "Permission denied", ErrorKind::kDenied},
      {403, "ACL not found", ErrorKind::kDenied},
      {404, "404 page not found", ErrorKind::kNotFound},
      {404, "Unknown check ID \"c\".", ErrorKind::kNotFound},
      {500, "CheckID \"c\" does not have associated TTL", ErrorKind::kNotFound},
      {500, "Unknown check \"c\"", ErrorKind::kNotFound},
      {500, "Unknown service \"s\"", ErrorKind::kNotFound},
      {500, "No cluster leader", ErrorKind::kNoLeader},
      {500, "No path to datacenter", ErrorKind::kNoLeader},
      {500, "rpc error making call: EOF", ErrorKind::kNoLeader},
      {500, "leadership lost while committing log", ErrorKind::kNoLeader},
      {500, "No known Consul servers", ErrorKind::kNoLeader},
      {500, "node is not the leader", ErrorKind::kNoLeader},
      {500, "oops", ErrorKind::kServer},
      {500, "", ErrorKind::kServer},
      {400, "Invalid index", ErrorKind::kServer},
      {301, "", ErrorKind::kServer},
      {429, "Your IP is issuing too many concurrent connections", ErrorKind::kServer},
      {204, "", ErrorKind::kServer},
      {0, "", ErrorKind::kServer},
  };
  for (const Row& row : rows) {
    CAPTURE(row.status);
    CAPTURE(row.body);
    const auto empty = ParseEmptyResponse(Reply(row.status, row.body));
    REQUIRE_FALSE(empty);
    CHECK(empty.error().kind == row.kind);
    const auto entries = ParseHealthService(Reply(row.status, row.body));
    REQUIRE_FALSE(entries);
    CHECK(entries.error().kind == row.kind);
    const auto pair = ParseKvGet("k", Reply(row.status, row.body));
    REQUIRE_FALSE(pair);
    CHECK(pair.error().kind == row.kind);
    const auto txn = ParseTxn(Reply(row.status, row.body));
    REQUIRE_FALSE(txn);
    CHECK(txn.error().kind == row.kind);
  }
  CHECK(ParseEmptyResponse(Reply(200, "")));
}

TEST_CASE("Responses: Consul's words in a message are one bounded line") {
  const auto result = ParseEmptyResponse(Reply(403, "Permission\r\ndenied\t" + std::string(100000, '\xff')));
  REQUIRE_FALSE(result);
  const std::string& message = result.error().message;
  CHECK(message.size() < 300);
  CHECK(message.find("Permission  denied") != std::string::npos);
  for (const char c : message) CHECK((c >= 0x20 && c < 0x7f));
}

TEST_CASE("ParseKvGet: absent is a 404 with an index; a 404 of anything else is an error") {
  const auto absent = ParseKvGet("k", Reply(404, "", 1));
  REQUIRE(absent);
  CHECK(absent->modify_index == 0);
  CHECK(absent->key == "k");
  CHECK_FALSE(ParseKvGet("k", Reply(404, "")));
}

TEST_CASE("Reads: an answer without a known leader is no truth") {
  for (const auto& kind : {ParseKvGet("k", Reply(404, "", 1, false)).error().kind,
                           ParseKvGet("k", Reply(200, "[]", 1, false)).error().kind,
                           ParseHealthService(Reply(200, "[]", 1, false)).error().kind}) {
    CHECK(kind == ErrorKind::kNoLeader);
  }
  CHECK(ParseHealthService(Reply(200, "[]", 1)));
}

TEST_CASE("ParseKvCas") {
  CHECK(ParseKvCas(Reply(200, "true")));
  CHECK(ParseKvCas(Reply(200, "true\n")));
  CHECK(ParseKvCas(Reply(200, "false\n")).error().kind == ErrorKind::kConflict);
  CHECK(ParseKvCas(Reply(200, "")).error().kind == ErrorKind::kMalformedReply);
  CHECK(ParseKvCas(Reply(200, "truely")).error().kind == ErrorKind::kMalformedReply);
}

TEST_CASE("ParseTxn") {
  const auto committed = ParseTxn(Reply(200, R"({"Results":[{"KV":{"ModifyIndex":7}},{"KV":{"ModifyIndex":8}}]})"));
  REQUIRE(committed);
  CHECK(*committed == 7);
  CHECK(ParseTxn(Reply(200, R"({"Results":[{"Check":{}}],"Errors":null})")).value() == 0);

  const auto conflict = ParseTxn(Reply(409, R"({"Errors":[{"OpIndex":0,"What":"index is stale"},{"What":"b"}]})"));
  REQUIRE_FALSE(conflict);
  CHECK(conflict.error().kind == ErrorKind::kConflict);
  CHECK(conflict.error().message.find("index is stale; b") != std::string::npos);
  CHECK(ParseTxn(Reply(409, R"({"Errors":[{"What":"Permission denied"}]})")).error().kind == ErrorKind::kDenied);
  CHECK(ParseTxn(Reply(409, R"({})")).error().kind == ErrorKind::kServer);
  CHECK(ParseTxn(Reply(409, "nonsense")).error().kind == ErrorKind::kMalformedReply);
  CHECK(ParseTxn(Reply(200, "")).error().kind == ErrorKind::kMalformedReply);
}

}  // namespace
}  // namespace rcb::consul
