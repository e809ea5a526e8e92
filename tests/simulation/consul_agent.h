#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "consul/result.h"
#include "consul/types.h"
#include "tests/simulation/consul_servers.h"
#include "tests/simulation/environment.h"

namespace rcb::simulation {

/// One Consul client agent: the registrations of its node and their TTLs, its pushes and anti-entropy, and the calls it
/// forwards to the servers (Consul 1.8.7 agent/agent.go, agent/local/state.go, agent/ae/ae.go).
class ConsulAgent {
 public:
  using Done = std::function<void(const consul::Result<std::uint64_t>&)>;

  /// `place` is the host it runs on.
  ConsulAgent(Environment& environment, ConsulServers& servers, std::string node, std::size_t place);

  const std::string& node() const { return node_; }
  bool running() const { return running_; }
  std::size_t place() const { return place_; }
  /// It would push this service as a master that is served.
  bool HoldsServedMaster(const std::string& service_id) const;
  /// Calls that need the servers are answered.
  bool SeesServers() const { return running_ && environment_.network.Connects(place_, environment_.network.consul()); }

  void Stop();
  /// `empty`: without its data directory.
  void Start(bool empty);
  void OnNetworkChange();
  void OnKeyChange() { Wake(Kind::kKey); }  ///< Or of who may read it.
  void OnCatalogChange() { Wake(Kind::kCatalog); }
  void OnLeaderLost();
  /// It answers nobody who asks of its own services: a push of it hangs (agent/local/state.go holds its lock
  /// meanwhile).
  bool IsStuck() const { return environment_.now() < stuck_until_; }
  /// The servers know all that it knows.
  bool IsInSync() const;

  // What a bridge at `caller` asks. The answer comes later, or an error of the kind that consul::Client gives.
  void Register(std::size_t caller, const consul::ServiceRegistration& registration, Done done);
  void UpdateTtl(std::size_t caller, const std::string& check_id, consul::CheckStatus status, const std::string& output,
                 Done done);
  void Commit(std::size_t caller, const std::vector<consul::TxnOperation>& operations, Done done);
  void WriteKey(std::size_t caller, const std::string& value, std::uint64_t index, Done done);

  /// Blocking queries, repeated until the handle is gone, with the pauses of consul::Watch.
  class Watch;
  using KeyHandler = std::function<void(const consul::Result<consul::KvPair>&)>;
  using CatalogHandler = std::function<void(consul::Result<std::vector<consul::ServiceEntry>>)>;
  std::shared_ptr<Watch> WatchKey(std::size_t caller, Duration wait, KeyHandler handler);
  std::shared_ptr<Watch> WatchCatalog(std::size_t caller, Duration wait, CatalogHandler handler);
  /// Its query waits at the servers: were it renewed at every `wait`, each answer would be good and bring no news.
  bool IsQuiet(const Watch& watch) const;

 private:
  enum class Kind { kKey, kCatalog };
  struct Service {
    consul::ServiceRegistration registration;
    consul::CheckStatus status = consul::CheckStatus::kCritical;
    std::string output;
    TimePoint expires{};    ///< Of the last TTL update; what was persisted is good until then.
    bool ever_fed = false;  ///< There was a TTL update.
    bool in_sync = false;
    bool is_out_of_date = false;  ///< See ConsulServers::Origin.
    std::uint64_t version = 0;
  };

  void Local(std::size_t caller, Done done, std::function<consul::Result<std::uint64_t>()> act);
  void Forward(std::size_t caller, Done done, Duration timeout, std::function<consul::Result<std::uint64_t>()> act);
  struct Call;
  void Send(std::size_t from, std::size_t to, const std::shared_ptr<Call>& call, EventQueue::Action arrive);
  std::shared_ptr<Call> Open(Done done, Duration timeout);
  void Answer(std::size_t caller, const std::shared_ptr<Call>& call, const consul::Result<std::uint64_t>& result);
  void WhenFree(EventQueue::Action action);
  void Dirty(Service& service);
  void ArmTtl(const std::string& id);
  void Sync();
  void Push(const std::vector<Service>& dirty, TimePoint sent_at, std::uint64_t life, int tries);
  void ScheduleFullSync(Duration delay);
  void FullSync();
  void Compare(const std::map<std::string, consul::ServiceEntry>& remote);
  void CheckMembership();

  std::shared_ptr<Watch> StartWatch(Kind kind, std::size_t caller, Duration wait);
  void Wake(Kind kind);
  bool PathHolds(std::size_t caller) const;
  bool IsDenied(const Watch& watch) const;
  void Query(const std::shared_ptr<Watch>& watch);
  void AtServers(const std::shared_ptr<Watch>& watch, std::uint64_t query);
  void Respond(const std::shared_ptr<Watch>& watch);
  void Deliver(const std::shared_ptr<Watch>& watch, std::uint64_t query, const std::function<void()>& hand_over,
               int tries);
  void Fail(const std::shared_ptr<Watch>& watch, consul::ErrorKind kind, Duration after);

  Environment& environment_;
  ConsulServers& servers_;
  std::string node_;
  std::size_t place_;
  bool running_ = true;
  std::uint64_t life_ = 0;
  std::map<std::string, Service> services_;
  TimePoint stuck_until_{};
  bool is_late_ = false;  ///< What is being done had to wait for that.
  bool syncing_ = false;
  bool sync_again_ = false;
  bool compared_ = true;         ///< With the servers, since it started: nothing is pushed before (agent/ae/ae.go).
  std::uint64_t full_sync_ = 0;  ///< The scheduled one; others are obsolete.
  TimePoint full_sync_at_{};
  bool member_ = true;  ///< As the servers believe, by gossip.
  bool membership_pending_ = false;
  bool was_cut_ = false;
  TimePoint cut_since_{};
  std::vector<std::weak_ptr<Watch>> watches_;
};

}  // namespace rcb::simulation
