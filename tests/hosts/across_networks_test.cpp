// across-networks: where no virtual IP can follow the master. Its host is lost whole, Consul server and Sentinel with
// it.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "tests/hosts/host_group.h"
#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/wait_until.h"

using namespace rcb::hosts;
using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// A Consul server that is back goes through the part of Consul's log that it missed, and answers meanwhile, for some
/// milliseconds, as everybody did then; a max_stale does not forbid that, for it is in touch with its leader.
constexpr const char* kNeverStale = R"({"dns_config": {"allow_stale": false}})";

/// What redis-resolve printed on the client's host, question after question.
class Client {
 public:
  explicit Client(HostGroup& group) : group_(group) {}

  const std::string& Ask() { return answers_.emplace_back(group_.ResolveAtClient()); }
  std::size_t asked() const { return answers_.size(); }
  std::size_t found_none() const {
    return static_cast<std::size_t>(
        std::count_if(answers_.begin(), answers_.end(), [](const auto& answer) { return answer.starts_with("exit"); }));
  }
  /// True when it was told another than `master` at last, and `master` never again.
  bool LeftForGood(const std::string& master) const {
    const auto is_another = [&](const std::string& answer) { return answer != master && !answer.starts_with("exit"); };
    const auto moved = std::find_if(answers_.begin(), answers_.end(), is_another);
    return moved != answers_.end() && std::find(moved, answers_.end(), master) == answers_.end();
  }

 private:
  HostGroup& group_;
  std::vector<std::string> answers_;
};

/// The master's host dies; returns its successor's, once DNS names that everywhere else and the client reaches it.
std::size_t LoseHost(HostGroup& group, Client& client, Figures& figures) {
  const std::size_t lost = group.master();
  const std::string master = group.redis(lost).address();
  REQUIRE(client.Ask() == master);
  const Micros start = MonotonicMicros();
  group.KillHost(lost);
  const auto moved = [&] {
    const std::string& answer = client.Ask();
    return answer != master && !answer.starts_with("exit");
  };
  REQUIRE(WaitUntil(moved, kDeadline, 50ms));
  std::vector<std::size_t> servers = group.others();
  servers.push_back(HostGroup::kClient);
  const std::size_t successor = group.WaitForSuccessor(lost, start, servers);

  const std::string address = group.redis(successor).address();
  const History& history = group.observer().Look();
  const Micros promotion = history.FirstPromotion(address, start).value();
  figures.Add("host lost to promotion (down-after 1.5 s)", promotion - start);
  for (const std::size_t server : servers) {
    figures.Add(server == HostGroup::kClient ? "promotion to DNS at the client" : "promotion to DNS on the other hosts",
                history.FirstAlone(group.dns(server), address, start).value() - promotion);
  }
  Process write({.command = {"redis-cli", "-h", Network::redis(successor), "SET", "key", "value"},
                 .output = group.folder().path() / "client.log",
                 .network_namespace = group.network().namespace_of(HostGroup::kClient)});
  CHECK(write.WaitForExit(10s) == 0);
  return successor;
}

void FinishAndPrint(HostGroup& group, const Client& client, Figures& figures,
                    std::chrono::microseconds tolerated = 0us) {
  CHECK(client.LeftForGood(group.redis(group.master()).address()));
  figures.Note("redis-resolve at the client: " + std::to_string(client.asked()) + " times, " +
               std::to_string(client.found_none()) + " without an answer, none wrong");
  const History& history = group.FinishAndCheck(tolerated);
  if (tolerated.count() > 0)
    figures.Add("the old master named beside it", history.TimeWrong(group.dns(HostGroup::kClient)));
  figures.Print();
}

}  // namespace

TEST_CASE("across-networks: the master's host lost whole, a follower of Consul's on it") {
  HostGroup group({});
  Client client(group);
  Figures figures("The master's host lost whole, and a Consul follower with it");
  LoseHost(group, client, figures);
  FinishAndPrint(group, client, figures);
}

TEST_CASE("across-networks: the master's host lost whole, Consul's leader on it, and back after the TTL") {
  HostGroup group({.master_beside_consul_leader = true, .consul_settings = kNeverStale});
  Client client(group);
  Figures figures("The master's host lost whole, and Consul's leader with it");
  const Micros lost = MonotonicMicros();
  LoseHost(group, client, figures);
  // Sooner, its Consul agent remembers a check that passes: that is another test's.
  const auto ttl_over = [&] {
    client.Ask();
    return MonotonicMicros() - lost > 11'000'000;
  };
  REQUIRE(WaitUntil(ttl_over, kDeadline, 100ms));
  const Micros returned = MonotonicMicros();
  group.StartHost(group.master());
  const auto demoted = [&] {
    client.Ask();
    const std::string address = group.redis(group.master()).address();
    return group.observer().Look().FirstRole(address, "slave", returned).has_value();
  };
  REQUIRE(WaitUntil(demoted, kDeadline, 100ms));
  group.WaitForRest();
  figures.Add("host back to group at rest", MonotonicMicros() - returned);
  FinishAndPrint(group, client, figures);
}

TEST_CASE("the master's host, Consul's leader on it, lost and back within the TTL without its bridge agent") {
  HostGroup group(
      {.master_beside_consul_leader = true, .consul_settings = kNeverStale, .agent_settings = R"({"ttl": "120s"})"});
  Client client(group);
  Figures figures("The master's host back within the TTL without its bridge agent");
  const std::size_t lost = group.master();
  LoseHost(group, client, figures);
  const std::size_t spoken_before = group.consul(lost).Log().size();
  group.StartHost(lost);
  group.agent(lost).Kill();
  // Its Consul agent remembers a check that passes and the master's tag. It asks Consul before it says so, but asks the
  // server that it is itself (anti-entropy reads with AllowStale, agent/local/state.go), which goes through its log.
  const Micros returned = MonotonicMicros();
  REQUIRE(WaitUntil([&] { return group.consul(lost).Log().rfind("agent: Synced ") > spoken_before; }, kDeadline));
  figures.Add("back to the word of its Consul agent", MonotonicMicros() - returned);
  CHECK(HoldsFor([&] { return group.Named(HostGroup::kClient) != group.redis(lost).address(); }, 2s));
  group.agent(lost).Start();
  group.WaitForRest();
  FinishAndPrint(group, client, figures, 1s);
}

// What a Consul agent pushes to a leader that died a moment ago hangs, and so does whoever asks it of its own services,
// for 10 to 40 s (seen: 33 s without a master, when a push of the successor's happened to).
TEST_CASE("across-networks: Consul's leader lost with the master, and the agents of the others stuck on it") {
  HostGroup group({.master_beside_consul_leader = true});
  Figures figures("The master's host and Consul's leader lost, the other Consul agents stuck");
  const std::size_t lost = group.master();
  const Micros start = MonotonicMicros();
  group.KillHost(lost);
  for (const std::size_t other : group.others()) {
    // A warning: their checks change, which their Consul agents push.
    REQUIRE(group.redis(other).Command({"CONFIG", "SET", "replica-read-only", "no"}) == "OK");
  }
  const std::size_t successor = group.WaitForSuccessor(lost, start, group.others());
  const std::string address = group.redis(successor).address();
  const History& history = group.FinishAndCheck();
  const Micros promotion = history.FirstPromotion(address, start).value();
  for (const std::size_t other : group.others()) {
    const Micros named = history.FirstAlone(group.dns(other), address, start).value() - promotion;
    CHECK(named < 9'000'000);
    figures.Add("promotion to DNS on the other hosts", named);
  }
  figures.Print();
}
