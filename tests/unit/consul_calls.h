#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "consul/client.h"
#include "tests/unit/consul_loop.h"

namespace rcb::consul {

/// An instance of "redis" on port 7001, with a TTL check that passes.
inline ServiceRegistration Registration(const std::string& id, const std::string& tag) {
  using namespace std::chrono_literals;
  return {.id = id,
          .name = "redis",
          .tags = {tag},
          .address = "127.0.0.1",
          .port = 7001,
          .meta = {{"role", tag}},
          .check = {.id = id + ":role",
                    .name = "Redis role",
                    .notes = "fed by a test",
                    .ttl = 10s,
                    .status = CheckStatus::kPassing,
                    .deregister_critical_after = 24h}};
}

// The calls of a client, each to its answer.

inline Result<void> Register(Loop& loop, Client& client, const ServiceRegistration& registration) {
  return loop.Await<void>([&](auto handler) { client.RegisterService(registration, std::move(handler)); });
}
inline Result<void> Deregister(Loop& loop, Client& client, const std::string& id) {
  return loop.Await<void>([&](auto handler) { client.DeregisterService(id, std::move(handler)); });
}
inline Result<void> UpdateTtl(Loop& loop, Client& client, const std::string& id, CheckStatus status,
                              const std::string& text) {
  return loop.Await<void>([&](auto handler) { client.UpdateTtl(id, status, text, std::move(handler)); });
}
inline Result<KvPair> KvGet(Loop& loop, Client& client, const std::string& key) {
  return loop.Await<KvPair>([&](auto handler) { client.KvGet(key, std::move(handler)); });
}
inline Result<void> KvCas(Loop& loop, Client& client, const std::string& key, const std::string& value,
                          std::uint64_t index) {
  return loop.Await<void>([&](auto handler) { client.KvCas(key, value, index, std::move(handler)); });
}
inline Result<std::uint64_t> Txn(Loop& loop, Client& client, const std::vector<TxnOperation>& operations) {
  return loop.Await<std::uint64_t>([&](auto handler) { client.Txn(operations, std::move(handler)); });
}

/// Reads until the catalog holds an instance of "redis" of which the condition is true.
template <typename Condition>
ServiceEntry AwaitEntry(Loop& loop, Client& client, Condition condition) {
  const auto end = Clock::now() + kDeadline;
  while (Clock::now() < end) {
    const auto entries =
        loop.Await<std::vector<ServiceEntry>>([&](auto handler) { client.HealthService("redis", std::move(handler)); });
    REQUIRE(entries);
    for (const ServiceEntry& entry : *entries) {
      if (condition(entry)) return entry;
    }
  }
  FAIL("the catalog never held what was waited for");
  return {};
}

inline const CatalogCheck& RoleCheck(const ServiceEntry& entry) {
  const auto found = std::find_if(entry.checks.begin(), entry.checks.end(),
                                  [](const CatalogCheck& check) { return !check.service_id.empty(); });
  REQUIRE(found != entry.checks.end());
  return *found;
}

}  // namespace rcb::consul
