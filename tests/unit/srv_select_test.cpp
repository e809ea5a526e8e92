#include "consul/srv_select.h"

#include <doctest/doctest.h>

#include <random>

namespace rcb::consul {
namespace {

SrvRecord Server(std::uint16_t priority, std::uint16_t weight, std::string target) {
  return {priority, weight, 6379, std::move(target)};
}

std::string Targets(const std::vector<SrvRecord>& records) {
  std::string targets;
  for (const SrvRecord& record : records) targets += record.target;
  return targets;
}

std::uint32_t Lowest(std::uint32_t /*max*/) { return 0; }
std::uint32_t Highest(std::uint32_t max) { return max; }

}  // namespace

TEST_CASE("OrderForUse: lower priorities come first, whatever the lot") {
  const std::vector<SrvRecord> records{Server(20, 9, "c"), Server(1, 1, "a"), Server(300, 9, "d"), Server(10, 0, "b")};
  CHECK(Targets(OrderForUse(records, Lowest)) == "abcd");
  CHECK(Targets(OrderForUse(records, Highest)) == "abcd");
}

TEST_CASE("OrderForUse: nothing and one") {
  CHECK(OrderForUse({}, Highest).empty());
  CHECK(Targets(OrderForUse({Server(1, 0, "a")}, Highest)) == "a");
}

TEST_CASE("OrderForUse: the lot falls on the first whose running sum reaches it") {
  const std::vector<SrvRecord> records{Server(1, 10, "a"), Server(1, 0, "b"), Server(1, 20, "c")};
  struct Row {
    std::uint32_t first_lot;
    const char* order;
  };
  // Weight 0 leads the list: sums are b 0, a 10, c 30. The later lots are the lowest.
  for (const Row& row : {Row{0, "bac"}, Row{1, "abc"}, Row{10, "abc"}, Row{11, "cba"}, Row{30, "cba"}}) {
    CAPTURE(row.first_lot);
    bool is_first = true;
    const auto draw = [&](std::uint32_t max) -> std::uint32_t {
      if (!is_first) return 0;
      is_first = false;
      CHECK(max == 30);
      return row.first_lot;
    };
    CHECK(Targets(OrderForUse(records, draw)) == row.order);
  }
}

TEST_CASE("OrderForUse: weights share the load in their proportion") {
  std::mt19937 random(2782);  // NOLINT(cert-msc51-cpp): the same lots at every run.
  const auto draw = [&](std::uint32_t max) { return std::uniform_int_distribution<std::uint32_t>(0, max)(random); };
  const std::vector<SrvRecord> records{Server(1, 600, "a"), Server(1, 300, "b"), Server(1, 100, "c")};
  int a = 0;
  int b = 0;
  constexpr int kRounds = 10000;
  for (int round = 0; round < kRounds; ++round) {
    const std::string first = OrderForUse(records, draw).front().target;
    a += first == "a" ? 1 : 0;
    b += first == "b" ? 1 : 0;
  }
  CHECK(a == doctest::Approx(kRounds * 0.6).epsilon(0.05));
  CHECK(b == doctest::Approx(kRounds * 0.3).epsilon(0.05));
}

TEST_CASE("OrderForUse: the largest weights do not overflow") {
  std::vector<SrvRecord> records(1000, Server(1, 65535, "a"));
  CHECK(OrderForUse(records, Highest).size() == records.size());
}

}  // namespace rcb::consul
