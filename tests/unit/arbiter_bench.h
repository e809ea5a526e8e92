#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "agent/arbiter.h"

namespace rcb::agent {

constexpr std::uint16_t kPort = 7001;
constexpr std::uint16_t kOtherPort = 7002;

inline redis::Endpoint At(std::uint16_t port) { return {.host = "10.0.0.1", .port = port, .unix_path = {}}; }

/// One local instance at 10.0.0.1:7001, and whatever the witnesses say.
struct Bench {
  explicit Bench(Arbiter::Options options = {}) : arbiter(options, {Local()}) {
    state.health = redis::Health::kAnswering;
    state.health_since = now;
    state.server.run_id = "run-1";
    state.info.emplace();
    state.info->replid = "replid-1";
    state.info->master_link_up = true;
    state.info->master = At(kOtherPort);
  }

  static Identity Local() {
    return {.service_id = "redis-h-7001", .node = "n1", .address = "10.0.0.1", .port = kPort, .addresses = {At(kPort)}};
  }

  Verdict Decide() {
    arbiter.OnInstance(0, state);
    return arbiter.Decide(now).at(0);
  }

  void Says(redis::Role role) { state.info->role = role; }

  void SentinelNames(std::uint16_t port, std::uint64_t epoch, const std::string& id = "s1") {
    redis::SentinelView view;
    view.sentinel_id = id;
    view.master_name = "mymaster";
    view.master = At(port);
    view.config_epoch = epoch;
    view.direct = true;
    view.other_sentinels = 2;
    arbiter.OnSentinelView(view, now);
  }

  void SentinelChooses(std::uint16_t port, std::uint64_t epoch) {
    arbiter.OnElection("s1", redis::Election{"s1", "mymaster", At(port), epoch});
  }

  static Claim ClaimOf(std::uint16_t port, std::uint64_t epoch) {
    Claim claim;
    claim.authority = Authority::kSentinel;
    claim.epoch = epoch;
    claim.node = "n1";
    claim.service_id = "redis-h-" + std::to_string(port);
    claim.address = "10.0.0.1";
    claim.port = port;
    claim.run_id = port == kPort ? "run-1" : "run-2";
    claim.replid = port == kPort ? "replid-1" : "replid-2";
    return claim;
  }

  void IsServed() { arbiter.OnCatalog({{.node = "n1", .service_id = "redis-h-7001", .served_as_master = true}}); }

  void Claimed(const Claim& claim) {
    arbiter.OnClaim({.claim = claim, .index = ++index, .unreadable = {}, .garbage = {}}, now);
  }
  void NoClaim() { arbiter.OnClaim({}, now); }

  TimePoint now{std::chrono::hours(1)};
  std::uint64_t index = 10;
  redis::InstanceState state;
  Arbiter arbiter;
};

inline Bench WithSentinels() {
  Arbiter::Options options;
  options.sentinels_configured = true;
  return Bench(options);
}

inline Bench WithReplication() {
  Arbiter::Options options;
  options.authority = Authority::kReplication;
  return Bench(options);
}

inline void CheckPublished(const Verdict& verdict, Tag tag, consul::CheckStatus status, const std::string& part) {
  REQUIRE(verdict.publication);
  CHECK(verdict.publication->tag == tag);
  CHECK(verdict.publication->status == status);
  CHECK_MESSAGE(verdict.publication->reason.find(part) != std::string::npos, verdict.publication->reason);
}

inline void CheckWithheld(const Verdict& verdict, const std::string& part) {
  CheckPublished(verdict, Tag::kNone, consul::CheckStatus::kCritical, part);
  CHECK_FALSE(verdict.take);
}

}  // namespace rcb::agent
