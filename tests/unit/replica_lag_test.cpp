#include "redis/replica_lag.h"

#include <doctest/doctest.h>

using namespace rcb::redis;
using namespace std::chrono_literals;

TEST_CASE("ReplicaLag: what is missing has an age and a size") {
  ReplicaLag lag({.max_age = 10s, .max_bytes = {}});
  TimePoint now{1h};
  CHECK(lag.age(now) == 0s);
  lag.OnReplica(100, now);
  lag.OnMaster(100, now);
  CHECK(lag.age(now) == 0s);
  CHECK(lag.bytes() == 0);
  lag.OnMaster(150, now);
  lag.OnMaster(180, now + 1s);
  CHECK(lag.age(now + 1s) == 1s);
  lag.OnReplica(150, now + 2s);
  CHECK(lag.age(now + 2s) == 1s);  // It has what the master had at first.
  CHECK(lag.bytes() == 30);
  lag.OnReplica(181, now + 2s);  // Asked later than the master.
  CHECK(lag.age(now + 9s) == 0s);
  CHECK(lag.bytes() == 0);
  SUBCASE("another stream starts anew") {
    lag.OnMaster(7, now + 3s);
    lag.OnReplica(7, now + 3s);
    CHECK(lag.bytes() == 0);
  }
}

TEST_CASE("ReplicaLag: behind by age, and well again only after a while within half of the bound") {
  ReplicaLag lag({.max_age = 10s, .max_bytes = {}});
  const TimePoint start{1h};
  lag.OnReplica(100, start);
  lag.OnMaster(200, start);
  lag.OnReplica(100, start + 10s);
  CHECK_FALSE(lag.behind());
  lag.OnReplica(100, start + 10s + 1ms);
  CHECK(lag.behind());
  lag.OnReplica(200, start + 11s);
  CHECK(lag.behind());
  SUBCASE("it stays well") {
    lag.OnReplica(200, start + 21s - 1ms);
    CHECK(lag.behind());
    lag.OnReplica(200, start + 21s);
    CHECK_FALSE(lag.behind());
  }
  SUBCASE("it falls behind once more meanwhile") {
    lag.OnMaster(300, start + 12s);
    lag.OnReplica(200, start + 18s);  // 6 s are more than half.
    lag.OnReplica(300, start + 20s);
    lag.OnReplica(300, start + 30s - 1ms);
    CHECK(lag.behind());
    lag.OnReplica(300, start + 30s);
    CHECK_FALSE(lag.behind());
  }
}

TEST_CASE("ReplicaLag: an oscillating lag changes the judgement once") {
  ReplicaLag lag({.max_age = 1h, .max_bytes = 1000});
  TimePoint now{1h};
  int changes = 0;
  std::int64_t offset = 0;
  for (int second = 0; second < 600; ++second) {
    now += 1s;
    offset += 5000;
    lag.OnMaster(offset, now);
    const bool before = lag.behind();
    lag.OnReplica(second % 4 < 2 ? offset - 1500 : offset, now);  // Over and under, every two seconds.
    changes += lag.behind() != before ? 1 : 0;
  }
  CHECK(changes == 1);
}

TEST_CASE("ReplicaLag: what is remembered of a replica that stands still is bounded, and its age right") {
  ReplicaLag lag({.max_age = 10s, .max_bytes = {}});
  const TimePoint start{1h};
  lag.OnReplica(0, start);
  for (int second = 0; second < 100000; ++second) lag.OnMaster(second + 1, start + std::chrono::seconds(second));
  CHECK(lag.age(start + 100000s) == 100000s);
  lag.OnReplica(90000, start + 100000s);
  CHECK(lag.age(start + 100000s) < 15000s);
  CHECK(lag.age(start + 100000s) > 5000s);
}
