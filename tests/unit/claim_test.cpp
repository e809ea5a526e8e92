#include "agent/claim.h"

#include <doctest/doctest.h>

using namespace rcb::agent;

TEST_CASE("Claim: what is written is read back") {
  Claim claim;
  claim.authority = Authority::kSentinel;
  claim.epoch = 18446744073709551615ULL;
  claim.state = Claim::State::kYielded;
  claim.node = "n1";
  claim.service_id = "redis-h-6379";
  claim.address = "10.0.0.1";
  claim.port = 65535;
  claim.run_id = "run";
  claim.replid = "replid";
  claim.since = "2026-01-01T00:00:00Z";
  const auto decoded = DecodeClaim(EncodeClaim(claim));
  REQUIRE(decoded);
  CHECK(*decoded == claim);
}

TEST_CASE("Claim: what is no claim is refused with a reason") {
  const char* const kBad[] = {
      "",
      "hello",
      "[]",
      "{}",
      R"({"epoch":1,"state":"held","node":"n","service_id":"s"})",
      R"({"authority":"sentinel","epoch":-1,"state":"held","node":"n","service_id":"s"})",
      R"({"authority":"sentinel","epoch":"1","state":"held","node":"n","service_id":"s"})",
      R"({"authority":"sentinel","epoch":1,"state":"held","node":"n"})",
      R"({"authority":"sentinel","epoch":1,"state":"held","service_id":"s","node":7})",
  };
  for (const char* text : kBad) {
    CAPTURE(text);
    const auto claim = DecodeClaim(text);
    REQUIRE_FALSE(claim);
    CHECK_FALSE(claim.error().message.empty());
    CHECK_FALSE(claim.error().newer_version);
  }
  for (const char* text : {R"({"authority":"cluster","epoch":1,"state":"held","node":"n","service_id":"s"})",
                           R"({"authority":"sentinel","epoch":1,"state":"lent","node":"n","service_id":"s"})"}) {
    CAPTURE(text);
    const auto claim = DecodeClaim(text);
    REQUIRE_FALSE(claim);
    CHECK(claim.error().newer_version);
  }
  CHECK_FALSE(DecodeClaim(std::string(100000, ' ')));
  CHECK_FALSE(DecodeClaim(std::string(10000, '[')));
}

TEST_CASE("Claim: unknown fields of a later version are no obstacle") {
  const auto claim =
      DecodeClaim(R"({"authority":"sentinel","epoch":3,"state":"held","node":"n","service_id":"s","mood":"fine"})");
  REQUIRE(claim);
  CHECK(claim->epoch == 3);
}

TEST_CASE("Claim: authority comes before epoch") {
  Claim claim;
  claim.authority = Authority::kReplication;
  claim.epoch = 7;
  CHECK(Outranks(Authority::kSentinel, 0, claim));
  CHECK(Outranks(Authority::kReplication, 8, claim));
  CHECK_FALSE(Outranks(Authority::kReplication, 7, claim));
  CHECK(Reaches(Authority::kReplication, 7, claim));
  claim.authority = Authority::kSentinel;
  CHECK_FALSE(Reaches(Authority::kReplication, 100, claim));
}
