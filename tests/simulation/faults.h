#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/simulation/invariants.h"
#include "tests/simulation/world.h"

namespace rcb::simulation {

/// Draws what goes wrong and what operators do, and lets it happen. Everything is undone at the end.
class Faults {
 public:
  Faults(World& world, Invariants& invariants);

  /// Plans `count` of them from now on for `period`.
  void Plan(std::size_t count, Duration period);
  /// Ends what still lasts.
  void End();

  /// Without Sentinel: makes everybody a replica of the right master, and releases the claim where nobody can inherit
  /// it. Returns the master.
  std::size_t Tidy();
  /// Makes those that follow somebody else replicas of `master`.
  void Adopt(std::size_t master);

  /// Names of all kinds, for the coverage guard.
  static std::vector<std::string> Kinds(bool with_sentinels);

 private:
  struct Kind {
    const char* name;
    bool (Faults::*happen)();  ///< False when it cannot happen now.
    int weight;
    bool needs_sentinels;
    bool needs_none;
  };
  static const std::vector<Kind>& AllKinds();

  void Happen();
  Duration Length();
  void Undo(Duration after, std::function<void()> undo);
  std::size_t AnyHost() { return world_.environment.random.Below(world_.hosts()); }
  /// Rather the master than another.
  std::size_t LikelyMaster();

  bool KillRedis();
  bool PauseRedis();
  bool KillHost();
  bool SuspendHost();
  bool CrashBridge();
  bool UpgradeBridge();
  bool PauseBridge();
  bool RestartConsulAgent();
  bool LoseConsulLeader();
  bool KillHostAndLeader();
  bool CutFromConsul();
  bool CutFromHosts();
  bool CutFromAll();
  bool CutRandomly();
  bool CutOneWay();
  bool CutSentinels();
  bool CrashSentinel();
  bool CrashAllSentinels();
  bool PauseSentinel();
  bool TiltSentinel();
  bool SentinelFailover();
  bool ResetSentinel();
  bool MonitorAnew();
  bool PromoteByHand();
  bool DemoteByHand();
  bool HandOver();
  bool FailOverByHand();
  bool ReleaseClaim();
  bool SpoilClaim();
  bool WriteNewerClaim();
  bool DenyClaim();
  bool RemoveEntry();
  bool ForgeEntry();
  void Deny(std::size_t host, ConsulServers::Denial denial);
  bool ForgeHello();
  bool CutFor(std::vector<World::Direction> directions);

  World& world_;
  Invariants& invariants_;
  TimePoint until_{};
  std::vector<World::Direction> cut_;
};

}  // namespace rcb::simulation
