// The outside witness of the integration tests: about every millisecond (or as told) it asks Consul DNS who is master
// and every Redis its ROLE, and writes each change to a history. It links nothing of the code that it judges.

#include <poll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/integration/dns_probe.h"
#include "tests/integration/history_writer.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/role_probe.h"
#include "tests/integration/socket_address.h"

namespace {

using namespace rcb::integration;

constexpr std::int64_t kReportMicros = 1'000'000;
constexpr const char* kUsage =
    "observer --out FILE --service NAME [--tag TAG] [--domain DOMAIN] [--every MICROSECONDS]\n"
    "  --dns [LABEL=]ADDRESS:PORT... "
    "[--redis ADDRESS:PORT...]\n"
    "Writes MICROSECONDS dns LABEL ANSWER, MICROSECONDS redis ADDRESS:PORT ROLE at each change, and once a second\n"
    "MICROSECONDS samples KIND:SUBJECT COUNT LARGEST_GAP_MICROSECONDS. REDISCLI_AUTH in the environment is the "
    "password\n"
    "of Redis. Ends with SIGTERM.\n";

struct Arguments {
  std::string out;
  std::string service;
  std::string tag = "master";
  std::string domain = "consul";
  std::int64_t every = 1000;  ///< Microseconds.
  std::vector<std::string> dns;
  std::vector<std::string> redis;
};

Arguments ParseArguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(flag + " needs a value");
    const std::string value = argv[i + 1];
    if (flag == "--out") {
      arguments.out = value;
    } else if (flag == "--service") {
      arguments.service = value;
    } else if (flag == "--tag") {
      arguments.tag = value;
    } else if (flag == "--domain") {
      arguments.domain = value;
    } else if (flag == "--every") {
      arguments.every = std::stoll(value);
    } else if (flag == "--dns") {
      arguments.dns.push_back(value);
    } else if (flag == "--redis") {
      arguments.redis.push_back(value);
    } else {
      throw std::invalid_argument("unknown flag " + flag);
    }
  }
  if (arguments.out.empty() || arguments.service.empty() || arguments.dns.empty()) {
    throw std::invalid_argument("--out, --service and --dns are needed");
  }
  return arguments;
}

/// "label=address" as both; an address alone is its own label.
std::pair<std::string, std::string> SplitLabel(const std::string& text) {
  const std::size_t equals = text.find('=');
  return equals == std::string::npos ? std::pair(text, text)
                                     : std::pair(text.substr(0, equals), text.substr(equals + 1));
}

std::vector<std::unique_ptr<Probe>> MakeProbes(const Arguments& arguments, HistoryWriter& history) {
  std::vector<std::unique_ptr<Probe>> probes;
  const std::string name = arguments.tag + "." + arguments.service + ".service." + arguments.domain;
  for (const std::string& dns : arguments.dns) {
    const auto [label, address] = SplitLabel(dns);
    probes.push_back(std::make_unique<DnsProbe>(ParseProbeTarget(address), label, name, history));
  }
  const char* password = std::getenv("REDISCLI_AUTH");
  for (const std::string& redis : arguments.redis) {
    const auto [label, address] = SplitLabel(redis);
    probes.push_back(
        std::make_unique<RoleProbe>(ParseProbeTarget(address), label, password == nullptr ? "" : password, history));
  }
  return probes;
}

volatile std::sig_atomic_t stop_requested = 0;

void Report(std::int64_t now, const std::vector<std::unique_ptr<Probe>>& probes, HistoryWriter& history) {
  for (const auto& probe : probes) {
    const SampleCount count = probe->TakeSampleCount(now);
    history.Write(now, "samples", probe->kind() + ":" + probe->subject(),
                  std::to_string(count.samples) + " " + std::to_string(count.largest_gap_micros));
  }
}

void Observe(const std::vector<std::unique_ptr<Probe>>& probes, std::int64_t every, HistoryWriter& history) {
  std::vector<pollfd> entries(probes.size());
  std::int64_t next_tick = MonotonicMicros();
  std::int64_t next_report = next_tick + kReportMicros;
  while (stop_requested == 0) {
    std::int64_t now = MonotonicMicros();
    if (now >= next_tick) {
      for (const auto& probe : probes) probe->OnTick(now);
      // Ticks that were missed are gone: asking twice at once would tell nothing more.
      next_tick = std::max(next_tick + every, now);
    }
    if (now >= next_report) {
      Report(now, probes, history);
      next_report = now + kReportMicros;
    }
    for (std::size_t i = 0; i < probes.size(); ++i) entries[i] = probes[i]->poll_entry();
    const std::int64_t wait = std::max<std::int64_t>(0, next_tick - MonotonicMicros());
    const timespec timeout{0, static_cast<long>(wait) * 1000};
    if (ppoll(entries.data(), entries.size(), &timeout, nullptr) <= 0) continue;
    now = MonotonicMicros();
    for (std::size_t i = 0; i < probes.size(); ++i) {
      if (entries[i].revents != 0) probes[i]->OnReady(now, entries[i].revents);
    }
  }
  Report(MonotonicMicros(), probes, history);
}

}  // namespace

int main(int argc, char** argv) {
  // The kernel's default may stretch a wait by 50 us; a wait here is a millisecond.
  prctl(PR_SET_TIMERSLACK, 1000);
  std::signal(SIGTERM, [](int) { stop_requested = 1; });
  std::signal(SIGINT, [](int) { stop_requested = 1; });
  try {
    const Arguments arguments = ParseArguments(argc, argv);
    HistoryWriter history(arguments.out);
    Observe(MakeProbes(arguments, history), arguments.every, history);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "observer: %s\n%s", error.what(), kUsage);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "observer: %s\n", error.what());
    return 1;
  }
  return 0;
}
