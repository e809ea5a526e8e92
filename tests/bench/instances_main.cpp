// What an agent costs by the number of servers that it watches, and how long a change of role takes to Consul's
// catalog.
//   bench_instances [SECONDS [INSTANCES...]]    how long it is watched at rest (20), and how many servers (1 10 100
//   1000)
// A real Consul with its default limits; bench_responder stands in for the servers, in groups of up to 20. Prints a
// table. RCB_PORTS names the ports ("32000-32399"; 260 are needed for 1,000 servers).

// The harness reports to it when a test fails; here nothing is one.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/integration/consul_agent.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/ports.h"
#include "tests/integration/process.h"
#include "tests/integration/redis_command.h"
#include "tests/integration/test_folder.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kGroupSize = 20;
/// Servers beyond this share its ports on further addresses of the loopback.
constexpr std::size_t kPorts = 250;
constexpr int kChanges = 11;

void Require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

class Bench {
 public:
  explicit Bench(std::size_t count) {
    std::vector<std::string> ports;
    for (std::size_t i = 0; i < std::min(count, kPorts); ++i) ports.push_back(std::to_string(FreePort()));
    for (std::size_t i = 0; i < count; ++i) {
      places_.push_back("127.0.0." + std::to_string(1 + i / kPorts) + ":" + ports[i % kPorts]);
    }
    consul_.Start();
    std::vector<std::string> command = {RCB_RESPONDER_BINARY, std::to_string(kGroupSize)};
    command.insert(command.end(), places_.begin(), places_.end());
    responder_.emplace(Process::Options{.command = command, .output = folder_.path() / "responder.log"});
    WriteFile(folder_.path() / "config.json", Settings());
    consul_.WaitForLeader();
    started_ = std::chrono::steady_clock::now();
    agent_.emplace(Process::Options{.command = {RCB_AGENT_BINARY, "run", "--config", folder_.path() / "config.json"},
                                    .output = folder_.path() / "agent.log"});
    Require(WaitUntil([&] { return IsPublished(); }, 120s, 100ms), "not all of the servers are published");
    published_after_ = std::chrono::steady_clock::now() - started_;
  }

  /// A row of the table.
  void Run(std::chrono::seconds at_rest) {
    // What came with the start is over once nothing is written any more.
    Require(WaitUntil([&] { return consul_.RecentWrites() == 0U; }, 120s, 500ms), "Consul does not come to rest");
    const auto before = agent_->CpuTime();
    const auto consul_before = consul_.process().CpuTime();
    const auto from = std::chrono::steady_clock::now();
    Require(HoldsFor([&] { return agent_->IsRunning(); }, at_rest, 1s), "the agent has ended");
    const std::chrono::duration<double> watched = std::chrono::steady_clock::now() - from;
    const auto share = [&](std::chrono::milliseconds used) {
      return 100 * std::chrono::duration<double>(used).count() / watched.count();
    };
    const double cpu = share(agent_->CpuTime() - before);
    const double consul_cpu = share(consul_.process().CpuTime() - consul_before);
    const std::filesystem::directory_iterator files("/proc/" + std::to_string(agent_->pid()) + "/fd");
    const auto descriptors = std::distance(begin(files), end(files));
    const std::vector<double> changes = Changes();
    std::printf("| %zu | %zu | %.1f %% | %.1f %% | %.1f MiB | %td | %.1f s | %.1f ms | %.1f ms |\n", places_.size(),
                Groups(), cpu, consul_cpu, static_cast<double>(agent_->ResidentKib()) / 1024, descriptors,
                std::chrono::duration<double>(published_after_).count(), changes[changes.size() / 2], changes.back());
    std::fflush(stdout);
  }

 private:
  std::size_t Groups() const { return (places_.size() + kGroupSize - 1) / kGroupSize; }
  static std::string Service(std::size_t group) { return "bench-" + std::to_string(group); }

  std::string Settings() const {
    std::string groups;
    for (std::size_t group = 0; group < Groups(); ++group) {
      std::string servers;
      for (std::size_t i = group * kGroupSize; i < std::min(places_.size(), (group + 1) * kGroupSize); ++i) {
        servers += (servers.empty() ? "\"" : ", \"") + places_[i] + "\"";
      }
      groups +=
          (groups.empty() ? "" : ",\n") + (R"({"service": ")" + Service(group)) + R"(", "redis": [)" + servers + "]}";
    }
    // So many registrations take Consul longer than the default TTL, one fsync each.
    const std::string ttl = places_.size() > kPorts ? "60s" : "10s";
    return R"({"ttl": ")" + ttl + R"(", "consul": ")" + consul_.url() +
           R"(", "listen": "off", "authority": "replication", "groups": [)" + groups + "]}";
  }

  bool IsPublished() const {
    std::size_t found = 0;
    std::size_t masters = 0;
    for (std::size_t group = 0; group < Groups(); ++group) {
      for (const HealthEntry& entry : consul_.Health(Service(group))) {
        if (entry.status == "passing") ++found;
        if (entry.HasTag("master")) ++masters;
      }
    }
    return found == places_.size() && masters == Groups();
  }

  /// Milliseconds from changes of role to the catalog, rising.
  std::vector<double> Changes() {
    std::vector<double> changes;
    for (std::size_t i = 0; i < kChanges; ++i) {
      const std::size_t group = i % Groups();
      const std::size_t first = group * kGroupSize;
      const std::size_t size = std::min(kGroupSize, places_.size() - first);
      const std::string place = places_[first + (i / Groups() + 1) % size];
      const std::string port = place.substr(place.find(':'));
      // The only server of a group turns from master to replica and back.
      const bool wanted = size > 1 || i % 2 == 1;
      const std::int64_t changed = std::stoll(RedisCommand(place, {"PROMOTE"}));
      const auto is_shown = [&] {
        const std::vector<HealthEntry> entries = consul_.Health(Service(group));
        return std::any_of(entries.begin(), entries.end(), [&](const HealthEntry& entry) {
          return entry.address.ends_with(port) && entry.HasTag("master") == wanted && entry.HasTag("replica") != wanted;
        });
      };
      Require(WaitUntil(is_shown, 30s, 1ms), "a change of role is not published");
      changes.push_back(static_cast<double>(MonotonicMicros() - changed) / 1000);
    }
    std::sort(changes.begin(), changes.end());
    return changes;
  }

  TestFolder folder_;
  ConsulAgent consul_{folder_};
  std::vector<std::string> places_;
  std::optional<Process> responder_;
  std::optional<Process> agent_;
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::duration published_after_{};
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto number = [&](std::size_t index) { return static_cast<std::size_t>(std::atoi(arguments[index].c_str())); };
  const std::chrono::seconds at_rest(arguments.empty() ? 20 : number(0));
  std::vector<std::size_t> counts = {1, 10, 100, 1000};
  if (arguments.size() > 1) counts.clear();
  for (std::size_t i = 1; i < arguments.size(); ++i) counts.push_back(number(i));
  try {
    std::puts(
        "| instances | groups | CPU at rest | Consul's CPU | memory | descriptors | all published | role change to "
        "catalog | slowest |");
    std::puts("|---|---|---|---|---|---|---|---|---|");
    for (const std::size_t count : counts) Bench(count).Run(at_rest);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_instances: %s\n", error.what());
    return 1;
  }
  return 0;
}
