// Runs schedules of the simulation, each from its seed, and says what they showed.
//   simulation [--schedules N] [--first-seed S] [--jobs J]   many; exit 1 when an invariant was broken
//   simulation --seed S [--verbose]                          one; its history with --verbose or when it fails
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/simulation/faults.h"
#include "tests/simulation/schedule.h"

namespace {

using rcb::simulation::Duration;
using rcb::simulation::Faults;
using rcb::simulation::Outcome;
using rcb::simulation::RunSchedule;

/// Failing seeds whose history is printed; the others are only named.
constexpr std::size_t kHistories = 2;
constexpr std::size_t kNamedSeeds = 20;
/// Schedules from which the coverage guard fails a run: what is rarest has happened a dozen times by then.
constexpr std::uint64_t kCoverageFrom = 20000;

/// How long something took, and where to look at it.
struct Sample {
  Duration time;
  std::uint64_t seed;
};

struct Settings {
  std::uint64_t schedules = 2000;
  std::uint64_t first_seed = 1;
  std::uint64_t seed = 0;
  bool one = false;
  bool verbose = false;
  bool stop_at_first = false;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
};

struct Totals {
  std::mutex mutex;
  std::uint64_t passed = 0;
  std::uint64_t events = 0;
  std::map<std::uint64_t, std::string> failed;
  std::map<std::string, std::uint64_t> counts;
  std::vector<Sample> without_master;
  std::vector<Sample> promotion_to_published;
  std::vector<Sample> repushed;
  std::vector<Sample> repushed_unwatched;
  std::vector<Sample> foreign;
  std::vector<Sample> converged;

  void Add(std::uint64_t seed, const Outcome& outcome) {
    const std::lock_guard lock(mutex);
    events += outcome.events;
    if (outcome.broken) {
      failed[seed] = *outcome.broken;
    } else {
      ++passed;
      converged.push_back({outcome.converged, seed});
    }
    for (const auto& [what, count] : outcome.counts) counts[what] += count;
    const auto append = [seed](std::vector<Sample>& to, const std::vector<Duration>& from) {
      for (const Duration time : from) to.push_back({time, seed});
    };
    append(without_master, outcome.without_master);
    append(promotion_to_published, outcome.promotion_to_published);
    append(repushed, outcome.repushed);
    append(repushed_unwatched, outcome.repushed_unwatched);
    append(foreign, outcome.foreign);
  }
};

/// What a large run must have exercised, besides every kind of fault.
constexpr const char* kMustBeSeen[] = {
    "takeover",
    "withdrawal of a foreign master",
    "stale master pushed back by a Consul agent",
    "anti-entropy restores",
    "TTL expired",
    "redis silent",
    "hello came late",
    "sentinel lost by a bridge",
    "sentinel aborts a failover",
    "sentinel ends a failover",
    "sentinel converts a returned master",
    "superseded master demoted",
    "claim follows a reset Sentinel",
    "claim follows most Sentinels to a lower epoch",
    "row: master, claim held",
    "row: master, Sentinel names another",
    "row: master, not confirmed",
    "row: master, its successor is being chosen",
    "row: master, superseded",
    "row: master, restarted and not confirmed",
    "row: master, the claim is held elsewhere",
    "row: master, cut off",
    "row: master, the claim is not understood",
    "row: replica, in sync",
    "row: replica, link down",
    "row: replica, full synchronisation",
    "row: loading",
    "row: down",
};

void PrintHistory(std::uint64_t seed, const Outcome& outcome) {
  std::printf("--- seed %llu\n", static_cast<unsigned long long>(seed));
  for (const std::string& line : outcome.history) std::printf("%s\n", line.c_str());
}

void PrintTimes(const char* what, std::vector<Sample> times) {
  if (times.empty()) return;
  std::sort(times.begin(), times.end(), [](const Sample& a, const Sample& b) { return a.time < b.time; });
  const auto at = [&](double share) {
    const Sample& sample = times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
    return static_cast<double>(sample.time.count()) / 1000.0;
  };
  std::printf("%-52s %8zu times, median %.1f ms, 99 %% %.0f ms, worst %.0f ms (seed %llu)\n", what, times.size(),
              at(0.5), at(0.99), at(1.0), static_cast<unsigned long long>(times.back().seed));
}

/// What was not exercised.
std::vector<std::string> Missing(const Totals& totals) {
  std::vector<std::string> wanted(std::begin(kMustBeSeen), std::end(kMustBeSeen));
  for (const bool with_sentinels : {false, true}) {
    for (std::string& kind : Faults::Kinds(with_sentinels)) wanted.push_back(std::move(kind));
  }
  std::erase_if(wanted, [&](const std::string& what) { return totals.counts.contains(what); });
  return wanted;
}

int RunOne(const Settings& settings) {
  const Outcome outcome = RunSchedule(settings.seed, true);
  if (settings.verbose || outcome.broken) PrintHistory(settings.seed, outcome);
  std::printf("seed %llu %s%s\n", static_cast<unsigned long long>(settings.seed),
              outcome.broken ? "failed: " : "passed", outcome.broken.value_or("").c_str());
  return outcome.broken ? 1 : 0;
}

int RunMany(const Settings& settings) {
  Totals totals;
  const auto start = std::chrono::steady_clock::now();
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
  for (unsigned job = 0; job < settings.jobs; ++job) {
    workers.emplace_back([&] {
      for (std::uint64_t i = next++; i < settings.schedules && !stop; i = next++) {
        const Outcome outcome = RunSchedule(settings.first_seed + i, false);
        totals.Add(settings.first_seed + i, outcome);
        if (outcome.broken && settings.stop_at_first) stop = true;
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  std::size_t shown = 0;
  for (const auto& [seed, sentence] : totals.failed) {
    if (!settings.stop_at_first && shown < kHistories) PrintHistory(seed, RunSchedule(seed, true));
    if (shown++ < kNamedSeeds)
      std::printf("seed %llu failed: %s\n", static_cast<unsigned long long>(seed), sentence.c_str());
  }
  const std::uint64_t ran = totals.passed + totals.failed.size();
  if (!settings.stop_at_first) {
    for (const auto& [what, count] : totals.counts) {
      std::printf("%-52s %8llu\n", what.c_str(), static_cast<unsigned long long>(count));
    }
    PrintTimes("without a master", totals.without_master);
    PrintTimes("from a server's promotion to its publication", totals.promotion_to_published);
    PrintTimes("two masters, one pushed back by a Consul agent", totals.repushed);
    PrintTimes("the same, the holder's bridge gone or cut off", totals.repushed_unwatched);
    PrintTimes("two masters, one written into the catalog by hand", totals.foreign);
    PrintTimes("from the end of all faults to the right master", totals.converged);
    std::printf("%llu schedules, %llu events, %.1f s, %.0f schedules/s\n", static_cast<unsigned long long>(ran),
                static_cast<unsigned long long>(totals.events), seconds, static_cast<double>(ran) / seconds);
  }
  bool covered = true;
  if (ran >= kCoverageFrom && !settings.stop_at_first) {
    for (const std::string& what : Missing(totals)) {
      std::printf("never happened: %s\n", what.c_str());
      covered = false;
    }
  }
  std::printf("%llu passed, %zu failed\n", static_cast<unsigned long long>(totals.passed), totals.failed.size());
  return totals.failed.empty() && covered ? 0 : 1;
}

bool Parse(const std::vector<std::string_view>& arguments, Settings& settings) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--verbose") {
      settings.verbose = true;
      continue;
    }
    if (argument == "--stop-at-first") {
      settings.stop_at_first = true;
      continue;
    }
    if (++i == arguments.size()) return false;
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(arguments[i].data(), arguments[i].data() + arguments[i].size(), number);
    if (error != std::errc() || end != arguments[i].data() + arguments[i].size()) return false;
    if (argument == "--schedules") {
      settings.schedules = number;
    } else if (argument == "--first-seed") {
      settings.first_seed = number;
    } else if (argument == "--jobs" && number >= 1 && number <= 256) {
      settings.jobs = static_cast<unsigned>(number);
    } else if (argument == "--seed") {
      settings.seed = number;
      settings.one = true;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  if (!Parse({argv + 1, argv + argc}, settings)) {
    std::fprintf(stderr,
                 "usage: simulation [--schedules N] [--first-seed S] [--jobs J] [--stop-at-first]\n"
                 "       simulation --seed S [--verbose]\n");
    return 2;
  }
  return settings.one ? RunOne(settings) : RunMany(settings);
}
