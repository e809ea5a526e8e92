#include "redis/slot_set.h"

#include <doctest/doctest.h>

namespace rcb::redis {
namespace {

TEST_CASE("SlotSet: ranges in, ranges out") {
  SlotSet slots;
  CHECK(slots.empty());
  CHECK_FALSE(slots.lowest());
  CHECK(slots.ToString(512).empty());
  CHECK(slots.AddRange("16383"));
  CHECK(slots.AddRange("5-9"));
  CHECK(slots.AddRange("10"));
  CHECK(slots.lowest() == 5);
  CHECK(slots.size() == 7);
  CHECK(slots.ToString(512) == "5-10,16383");
  CHECK(SlotSet::FromString("5-10,16383") == slots);
  for (const char* text : {"", "-", "16384", "9-5", "1-", "-1", "1-x", "0x5", "1,2", "0-5"})
    CHECK_FALSE(slots.AddRange(text));
  CHECK(slots.size() == 7);
}

TEST_CASE("SlotSet: a text is cut at a range, and says so") {
  SlotSet slots;
  for (int slot = 0; slot < 16384; slot += 2) slots.AddRange(std::to_string(slot));
  const std::string text = slots.ToString(20);
  CHECK(text == "0,2,4,6,8,10,12,...");
  const SlotSet some = SlotSet::FromString(text);
  CHECK(some.size() == 7);
  CHECK(slots.Covers(some));
  CHECK_FALSE(some.Covers(slots));
}

TEST_CASE("SlotSet: covering") {
  SlotSet all;
  all.AddRange("0-99");
  SlotSet some = SlotSet::FromString("0-49");
  CHECK(all.Covers(some));
  CHECK(all.Covers(all));
  CHECK(some.Covers({}));
  CHECK_FALSE(some.Covers(all));
  some.Add(SlotSet::FromString("50-99"));
  CHECK(some == all);
}

}  // namespace
}  // namespace rcb::redis
