// redis-resolve through failovers of a whole group: --wait ends and --watch speaks as soon as DNS has the new master.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/integration/figures.h"
#include "tests/integration/monotonic.h"
#include "tests/integration/replication_group.h"
#include "tests/integration/wait_until.h"

using namespace rcb::integration;
using namespace std::chrono_literals;

namespace {

/// redis-resolve at work; what it prints is stamped when it is seen, a millisecond later at most.
class Resolve {
 public:
  struct Line {
    Micros at = 0;
    std::string text;
  };

  Resolve(ReplicationGroup& group, const std::string& name, std::vector<std::string> arguments)
      : output_(group.folder().path() / ("resolve-" + name)) {
    arguments.insert(arguments.begin(), {RCB_RESOLVE_BINARY, "--dns", group.dns()});
    process_ = std::make_unique<Process>(Process::Options{.command = std::move(arguments), .output = output_});
  }

  /// Reads on. Complaints are left out.
  const std::vector<Line>& Lines() {
    const Micros now = MonotonicMicros();
    const std::string text = ReadFile(output_);
    while (true) {
      const std::size_t end = text.find('\n', read_);
      if (end == std::string::npos) return lines_;
      const std::string line = text.substr(read_, end - read_);
      read_ = end + 1;
      if (!line.starts_with("redis-resolve: ")) lines_.push_back({now, line});
    }
  }
  std::string Last() { return Lines().empty() ? "" : lines_.back().text; }
  Process& process() { return *process_; }

 private:
  const std::filesystem::path output_;
  std::unique_ptr<Process> process_;
  std::size_t read_ = 0;  ///< Bytes of the output.
  std::vector<Line> lines_;
};

bool WaitUntilSaid(const std::vector<std::pair<Resolve*, std::string>>& expected) {
  const auto is_said = [&] {
    bool all = true;
    for (const auto& [resolve, text] : expected) all &= resolve->Last() == text;
    return all;
  };
  return WaitUntil(is_said, 30s, 1ms);
}

std::vector<std::string> Sorted(const std::string& line) {
  std::vector<std::string> words;
  std::istringstream stream(line);
  for (std::string word; stream >> word;) words.push_back(word);
  std::sort(words.begin(), words.end());
  return words;
}

/// What is promised is 50 ms, and seen on an idle machine; one that is busy may take this long.
constexpr Micros kSanityLimit = 2'000'000;

}  // namespace

TEST_CASE("resolve: --wait and --watch through a failover say the new master, once") {
  ReplicationGroup group({});
  group.StartAgentsAndWait();
  const std::string old_master = group.PublishedMaster();
  Figures figures("redis-resolve through kill -9 of the master: DNS has the new one to line printed");

  Resolve watch(group, "watch", {"--watch"});
  Resolve verifying(group, "verifying", {"--watch", "--verify"});
  Resolve running(group, "running", {"--watch", "--", "sh", "-c", "echo {host}:{port}"});
  Resolve replicas(group, "replicas", {"--watch", "--role", "replica", "--all"});
  REQUIRE(WaitUntilSaid({{&watch, old_master}, {&verifying, old_master}, {&running, old_master}}));
  REQUIRE(WaitUntil([&] { return Sorted(replicas.Last()).size() == 2; }, 20s));

  const Micros killed = MonotonicMicros();
  group.at(old_master).Kill();
  REQUIRE(WaitUntil([&] { return group.observer().Look().LastAnswer(group.dns()) == "-"; }, 10s));
  Resolve waiting(group, "waiting", {"--wait", "60s"});

  // Whom Sentinel will choose shows in what is said. All are looked at each time, so that each line gets its own stamp.
  const auto is_said = [&] {
    for (Resolve* resolve : {&watch, &verifying, &running}) resolve->Lines();
    return !waiting.Last().empty();
  };
  REQUIRE(WaitUntil(is_said, kSentinelDeadline, 1ms));
  const std::string successor = waiting.Last();
  CHECK(WaitUntilSaid({{&watch, successor}, {&verifying, successor}, {&running, successor}}));
  CHECK(group.WaitForSuccessor(old_master, killed) == successor);
  CHECK(waiting.process().WaitForExit(5s) == 0);
  CHECK(WaitUntil([&] { return Sorted(replicas.Last()).size() == 1; }, 20s));

  const Micros listed = group.observer().Look().FirstListed(group.dns(), successor, killed).value();
  const auto record = [&](const std::string& name, Resolve& resolve, std::size_t lines) {
    CAPTURE(name);
    const Micros took = resolve.Lines().back().at - listed;
    figures.Add(name, took);
    CHECK(took < kSanityLimit);
    CHECK(resolve.Lines().size() == lines);
  };
  record("--wait", waiting, 1);
  record("--watch", watch, 2);
  record("--watch --verify", verifying, 2);
  record("--watch -- COMMAND", running, 2);
  const auto cpu = watch.process().CpuTime();
  const auto lived = std::chrono::microseconds(MonotonicMicros() - watch.Lines().front().at);
  figures.Note("--watch used " + std::to_string(cpu.count()) + " ms of CPU in " +
               std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(lived).count()) + " ms");

  // The old master comes back and says master for about ten seconds: none of that is heard.
  const Micros returned = MonotonicMicros();
  REQUIRE(WaitUntil([&] { return group.SentinelsNamePublished(); }, kSentinelDeadline, 50ms));
  group.at(old_master).Start();
  const std::string master = group.WaitForReplica(old_master, returned);
  if (master == successor) {
    CHECK(watch.Lines().size() == 2);
    CHECK(verifying.Lines().size() == 2);
    CHECK(running.Lines().size() == 2);
  }
  CHECK(WaitUntil([&] { return Sorted(replicas.Last()).size() == 2; }, 20s));
  for (Resolve* resolve : {&watch, &verifying, &running, &replicas}) {
    const auto& lines = resolve->Lines();
    const auto twice = std::adjacent_find(lines.begin(), lines.end(), [](const auto& one, const auto& next) {
      return Sorted(one.text) == Sorted(next.text);
    });
    CHECK(twice == lines.end());
    CHECK(resolve->process().IsRunning());
  }
  group.FinishAndCheck();
  figures.Print();
}
