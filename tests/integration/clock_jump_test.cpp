// The host's clock jumps, for the agents alone (libfaketime): their monotonic clock goes on as it is.

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/test_folder.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// Sets the agents' wall clock, as libfaketime takes it: "+10y", "-10y".
void Jump(const std::filesystem::path& file, const std::string& offset) {
  const std::filesystem::path next = file.string() + ".next";
  std::ofstream(next) << offset << "\n";
  std::filesystem::rename(next, file);
}

}  // namespace

TEST_CASE("the clock jumps by ten years, forward and back: nothing; the failover after it is as any other") {
  const TestFolder folder;
  const std::filesystem::path clock = folder.path() / "clock";
  Jump(clock, "+0");
  ReplicationGroup group({.agent_environment = {
                              {"LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1"},
                              {"FAKETIME_TIMESTAMP_FILE", clock.string()},
                              {"FAKETIME_NO_CACHE", "1"},
                              {"FAKETIME_DONT_FAKE_MONOTONIC", "1"},
                              {"ASAN_OPTIONS", "verify_asan_link_order=0"},
                          }});
  group.StartAgentsAndWait();
  const std::string master = group.redises()[0].address();
  const auto year_in_log = [&](const std::string& line_start) {
    return group.agents()[1].Log().find("\n" + line_start) != std::string::npos;
  };
  for (const char* offset : {"+10y", "-10y"}) {
    Jump(clock, offset);
    CHECK(HoldsFor([&] { return group.PublishedMaster() == master; }, 3s));
  }
  // The jump was seen: the log is written by the wall clock.
  const Micros lost = MonotonicMicros();
  group.redises()[0].Kill();
  const std::string successor = group.WaitForSuccessor(master, lost);
  const int year = 1970 + static_cast<int>(std::chrono::duration_cast<std::chrono::days>(
                                               std::chrono::system_clock::now().time_since_epoch()) /
                                           std::chrono::days(365));
  CHECK(year_in_log(std::to_string(year - 10)));
  Jump(clock, "+10y");
  group.redises()[0].Start();
  group.WaitForReplica(master, lost);
  CHECK(year_in_log(std::to_string(year + 10)));
  group.FinishAndCheck();
}
