#include "consul/json_codec.h"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace rcb::consul {
namespace {

/// A reply of Consul 1.8.7, as it came.
std::string Transcript(const std::string& name) {
  std::ifstream file(std::string(RCB_TEST_DATA) + "/consul/" + name, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), name);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool Contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_CASE("DecodeServiceEntries: a reply of Consul 1.8.7") {
  const auto entries = DecodeServiceEntries(Transcript("health_service.json"));
  REQUIRE(entries);
  REQUIRE(entries->size() == 2);

  const ServiceEntry& master = entries->at(0);
  CHECK(master.node == "n1");
  CHECK(master.node_address == "127.0.0.1");
  CHECK(master.id == "redis-n1-7001");
  CHECK(master.name == "redis");
  CHECK(master.tags == std::vector<std::string>{"master"});
  CHECK(master.address == "192.0.2.1");
  CHECK(master.port == 7001);
  CHECK(master.meta.at("run_id") == "aa");
  CHECK(master.modify_index > 0);
  CHECK(master.IsServed());
  CHECK(master.HasTag("master"));
  CHECK_FALSE(master.HasTag("mast"));
  CHECK(Contains(master.raw_service, "TaggedAddresses"));

  const ServiceEntry& replica = entries->at(1);
  CHECK(replica.address.empty());
  CHECK_FALSE(replica.IsServed());
  REQUIRE(replica.checks.size() == 2);
  CHECK(replica.checks[0].id == "serfHealth");
  CHECK(replica.checks[0].service_id.empty());
  CHECK(replica.checks[1] == CatalogCheck{.id = "redis-n1-7002:role",
                                          .name = "Redis role",
                                          .status = "critical",
                                          .notes = "fed by redis-consul-agent",
                                          .output = replica.checks[1].output,
                                          .service_id = "redis-n1-7002",
                                          .modify_index = replica.checks[1].modify_index});
  CHECK(replica.checks[1].modify_index == 14);
}

TEST_CASE("DecodeServiceEntries: fields that a Consul may leave out are empty") {
  const auto entries = DecodeServiceEntries(
      R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s","Tags":null,"Meta":null}, "Checks":null}])");
  REQUIRE(entries);
  CHECK(entries->at(0).tags.empty());
  CHECK(entries->at(0).port == 0);
  CHECK(entries->at(0).IsServed());
}

TEST_CASE("DecodeServiceEntries: a port that no socket can have does not hide the others") {
  for (const char* port : {"-1", "65536", "18446744073709551615"}) {
    const auto entries = DecodeServiceEntries(R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s","Port":)" +
                                              std::string(port) + "}}]");
    REQUIRE_MESSAGE(entries, port);
    CHECK(entries->at(0).port == 0);
  }
}

TEST_CASE("DecodeServiceEntries: hostile bodies are malformed and the message names the place") {
  struct Row {
    std::string body;
    std::string_view named;
  };
  const Row rows[] = {
      {"", "not JSON"},
      {"<html>", "not JSON"},
      {R"([{"Node":)", "not JSON"},
      {"[\"\xff\xfe\"]", "not JSON"},
      {R"([1e999])", "not JSON"},
      {std::string(1000, '['), "nested too deep"},
      {std::string(1000000, '[') + std::string(1000000, ']'), "nested too deep"},
      {"{}", "body"},
      {"null", "body"},
      {"[1]", "entry 0 is not an object"},
      {R"([{}])", "entry 0.Node"},
      {R"([{"Node":{"Node":"n"}}])", "entry 0.Service"},
      {R"([{"Node":[],"Service":{}}])", "entry 0.Node"},
      {R"([{"Node":{"Node":7},"Service":{"ID":"i","Service":"s"}}])", "entry 0.Node.Node is not a string"},
      {R"([{"Node":{"Node":"n"},"Service":{"ID":"","Service":"s"}}])", "entry 0.Service has no ID"},
      {R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s","Tags":"t"}}])", "entry 0.Service.Tags"},
      {R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s","Tags":[{}]}}])", "entry 0.Service.Tags"},
      {R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s","Meta":{"a":1}}}])", "entry 0.Service.Meta"},
      {R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s","Port":"1"}}])", "entry 0.Service.Port"},
      {R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s","ModifyIndex":-1}}])", "ModifyIndex"},
      {R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s","ModifyIndex":99999999999999999999}}])",
       "ModifyIndex"},
      {R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s"},"Checks":{}}])", "entry 0.Checks"},
      {R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s"},"Checks":[7]}])", "entry 0.Checks[0]"},
      {R"([{"Node":{"Node":"n"},"Service":{"ID":"i","Service":"s"},"Checks":[{"CheckID":"c"}]}])", "has no Status"},
  };
  for (const Row& row : rows) {
    const auto entries = DecodeServiceEntries(row.body);
    CAPTURE(row.body.substr(0, 100));
    REQUIRE_FALSE(entries);
    CHECK(entries.error().kind == ErrorKind::kMalformedReply);
    CHECK_MESSAGE(Contains(entries.error().message, row.named), entries.error().message);
  }
}

TEST_CASE("DecodeServiceEntries: no cut of a real reply is taken for a whole one") {
  const std::string whole = Transcript("health_service.json");
  const std::size_t end = whole.rfind(']');
  for (std::size_t length = 0; length <= end; ++length) CHECK_FALSE(DecodeServiceEntries(whole.substr(0, length)));
}

TEST_CASE("DecodeServiceEntries: more entries than a service can have are refused") {
  std::string body = "[0";
  for (int i = 0; i < 10000; ++i) body += ",0";
  CHECK_FALSE(DecodeServiceEntries(body + "]"));
}

TEST_CASE("DecodeAgentSelf") {
  const auto self = DecodeAgentSelf(Transcript("agent_self.json"));
  REQUIRE(self);
  CHECK(self->node == "n1");
  CHECK(self->datacenter == "dc1");
  CHECK(self->version == "1.8.7");
  for (const char* body : {"", "[]", "{}", R"({"Config":[]})", R"({"Config":{"NodeName":"n"}})"}) {
    CHECK_FALSE_MESSAGE(DecodeAgentSelf(body), body);
  }
}

TEST_CASE("DecodeKvPair") {
  const std::string key = "service/redis/master";
  const auto pair = DecodeKvPair(key, Transcript("kv_get.json"));
  REQUIRE(pair);
  CHECK(pair->value == R"({"epoch":3,"state":"held"})");
  CHECK(pair->modify_index == 15);

  const auto empty = DecodeKvPair("k", R"([{"Key":"k","Value":null,"ModifyIndex":3}])");
  REQUIRE(empty);
  CHECK(empty->value.empty());

  for (const char* body : {"", "[]", "{}", "[{},{}]", R"([{"Key":"other","Value":"","ModifyIndex":3}])",
                           R"([{"Key":"k","Value":"","ModifyIndex":0}])", R"([{"Key":"k","Value":7,"ModifyIndex":3}])",
                           R"([{"Key":"k","Value":"!!!!","ModifyIndex":3}])"}) {
    CHECK_FALSE_MESSAGE(DecodeKvPair("k", body), body);
  }
}

TEST_CASE("DecodeTxn") {
  const auto committed = DecodeTxn(Transcript("txn_committed.json"));
  REQUIRE(committed);
  CHECK(committed->kv_modify_index == 17);
  CHECK(committed->errors.empty());

  const auto conflict = DecodeTxn(Transcript("txn_conflict.json"));
  REQUIRE(conflict);
  REQUIRE(conflict->errors.size() == 1);
  CHECK(conflict->errors[0] == R"(failed to set key "service/redis/master", index is stale)");

  for (const char* body : {"", "[]", R"({"Results":{}})", R"({"Errors":"x"})", R"({"Errors":[7]})",
                           R"({"Results":[7]})", R"({"Results":[{"KV":{"ModifyIndex":"x"}}]})"}) {
    CHECK_FALSE_MESSAGE(DecodeTxn(body), body);
  }
}

TEST_CASE("Base64: every length and every byte comes back") {
  std::string bytes;
  for (int i = 0; i < 520; ++i) {
    const auto decoded = DecodeBase64(EncodeBase64(bytes));
    REQUIRE(decoded);
    CHECK(*decoded == bytes);
    bytes += static_cast<char>(i);
  }
  // RFC 4648 section 10.
  CHECK(EncodeBase64("f") == "Zg==");
  CHECK(EncodeBase64("fo") == "Zm8=");
  CHECK(EncodeBase64("foobar") == "Zm9vYmFy");
  for (const char* text : {"Z", "Zg=", "Zg", "Z===", "====", "Zg==Zg==", "Zm8=Zm8=", "Zm9\n", "Zm-_"}) {
    CHECK_FALSE_MESSAGE(DecodeBase64(text), text);
  }
}

TEST_CASE("EncodeServiceRegistration") {
  ServiceRegistration registration{
      .id = "redis-n1-6379",
      .name = "redis",
      .tags = {"master"},
      .address = "192.0.2.1",
      .port = 6379,
      .meta = {{"role", "master"}},
      .enable_tag_override = true,
      .check = {
          .id = "c", .name = "n", .notes = "o", .ttl = std::chrono::seconds{10}, .status = CheckStatus::kPassing}};
  CHECK(
      EncodeServiceRegistration(registration) ==
      R"({"Address":"192.0.2.1","Check":{"CheckID":"c","Name":"n","Notes":"o","Status":"passing","TTL":"10000ms"},)"
      R"("EnableTagOverride":true,"ID":"redis-n1-6379","Meta":{"role":"master"},"Name":"redis","Port":6379,"Tags":["master"]})");
  registration.check.deregister_critical_after = std::chrono::hours{24};
  CHECK(Contains(EncodeServiceRegistration(registration), R"("DeregisterCriticalServiceAfter":"86400000ms")"));
  registration.meta["role"] = "not \xff UTF-8";
  CHECK(Contains(EncodeServiceRegistration(registration), "not \xef\xbf\xbd UTF-8"));
}

TEST_CASE("EncodeTxn: a service keeps the fields that this bridge does not know") {
  const auto entries = DecodeServiceEntries(Transcript("health_service.json"));
  REQUIRE(entries);
  const TxnServiceSet set{.entry = entries->at(0), .tags = {"replica"}, .meta = {{"role", "replica"}}};
  const std::string body = EncodeTxn({set});
  for (const char* part : {R"("Verb":"set")", R"("Node":"n1")", R"("Tags":["replica"])", R"("Meta":{"role":"replica"})",
                           R"("Weights":{"Passing":1,"Warning":1})", "TaggedAddresses", R"("ModifyIndex":0)"}) {
    CHECK_MESSAGE(Contains(body, part), body);
  }
  const TxnServiceSet cas{.entry = entries->at(0), .tags = {}, .meta = {}, .index = 7};
  const std::string cas_body = EncodeTxn({cas});
  CHECK(Contains(cas_body, R"("Verb":"cas")"));
  CHECK(Contains(cas_body, R"("ModifyIndex":7)"));
}

TEST_CASE("EncodeTxn: raw_service that is no object is left out, not sent on") {
  for (const char* raw : {"", "[]", "7", "{\"a\":", "\xff"}) {
    ServiceEntry entry{.node = "n", .id = "i", .name = "s", .port = 7};
    entry.raw_service = raw;
    CHECK(EncodeTxn({TxnServiceSet{.entry = entry, .tags = {"t"}, .meta = {}}}) ==
          R"([{"Service":{"Node":"n","Service":{"Address":"","ID":"i","Meta":{},"ModifyIndex":0,"Port":7,)"
          R"("Service":"s","Tags":["t"]},"Verb":"set"}}])");
  }
}

TEST_CASE("EncodeTxn: key and check operations") {
  CHECK(EncodeTxn({TxnKvCas{.key = "k", .value = "x", .index = 0}, TxnKvCheckIndex{.key = "l", .index = 9}}) ==
        R"([{"KV":{"Index":0,"Key":"k","Value":"eA==","Verb":"cas"}},)"
        R"({"KV":{"Index":9,"Key":"l","Verb":"check-index"}}])");
  CHECK(EncodeTxn({TxnServiceDelete{.node = "n", .service_id = "i", .service_name = "s"}}) ==
        R"([{"Service":{"Node":"n","Service":{"ID":"i","Service":"s"},"Verb":"delete"}}])");
  TxnCheckSet check{.node = "n",
                    .service_name = "redis",
                    .check = {.id = "c", .name = "m", .status = "critical", .output = "o", .service_id = "i"}};
  CHECK(EncodeTxn({check}) ==
        R"([{"Check":{"Check":{"CheckID":"c","Name":"m","Node":"n","Notes":"","Output":"o","ServiceID":"i",)"
        R"("ServiceName":"redis","Status":"critical","Type":"ttl"},"Verb":"set"}}])");
  check.index = 7;
  CHECK(EncodeTxn({check}) ==
        R"([{"Check":{"Check":{"CheckID":"c","ModifyIndex":7,"Name":"m","Node":"n","Notes":"","Output":"o",)"
        R"("ServiceID":"i","ServiceName":"redis","Status":"critical","Type":"ttl"},"Verb":"cas"}}])");
  CHECK(EncodeTxn({}) == "[]");
}

}  // namespace
}  // namespace rcb::consul
