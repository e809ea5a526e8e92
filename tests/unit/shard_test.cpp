#include "agent/shard.h"

#include <doctest/doctest.h>

using namespace rcb;
using namespace rcb::agent;

namespace {

SlotClaim ClaimOf(std::uint64_t epoch, const char* slots) { return {epoch, redis::SlotSet::FromString(slots)}; }

}  // namespace

TEST_CASE("Shard: named by its lowest slot, none without slots") {
  redis::ClusterNodes nodes;
  nodes.epoch = 7;
  CHECK_FALSE(ShardOf(nodes));
  nodes.slots = redis::SlotSet::FromString("5461-10922,12");
  CHECK(ShardOf(nodes) == Shard{"shard-12", "12,5461-10922", 7});
}

TEST_CASE("Shard: slots that are too scattered for a Meta value are shortened, and compared as far as they go") {
  redis::ClusterNodes nodes;
  for (int slot = 0; slot < 16384; slot += 2) nodes.slots.AddRange(std::to_string(slot));
  const Shard shard = ShardOf(nodes).value();
  CHECK(shard.slots.size() <= 512);
  CHECK(shard.slots.ends_with(",..."));
  SlotClaim successor = SlotClaimOf(shard);
  ++successor.epoch;
  CHECK(IsSuperseded(SlotClaimOf(shard), {successor}));
}

TEST_CASE("Shard: an entry of the catalog claims slots as a master of a cluster only") {
  consul::ServiceEntry entry;
  entry.meta = {{"epoch", "7"}, {"slots", "0-5460"}};
  REQUIRE(SlotClaimOf(entry) == ClaimOf(7, "0-5460"));
  SUBCASE("no epoch") { entry.meta.erase("epoch"); }
  SUBCASE("an epoch that is none") { entry.meta["epoch"] = "7x"; }
  SUBCASE("no slots: no cluster") { entry.meta.erase("slots"); }
  CHECK_FALSE(SlotClaimOf(entry));
}

TEST_CASE("Shard: superseded is whose slots others own, every one, at higher epochs") {
  const SlotClaim claim = ClaimOf(5, "0-99");
  CHECK(IsSuperseded(claim, {ClaimOf(6, "0-99")}));
  CHECK(IsSuperseded(claim, {ClaimOf(6, "0-49"), ClaimOf(7, "40-200")}));
  CHECK_FALSE(IsSuperseded(claim, {}));
  CHECK_FALSE(IsSuperseded(claim, {ClaimOf(5, "0-99")}));
  CHECK_FALSE(IsSuperseded(claim, {ClaimOf(4, "0-99")}));
  CHECK_FALSE(IsSuperseded(claim, {ClaimOf(9, "0")}));  // A slot that was moved.
  CHECK_FALSE(IsSuperseded(claim, {ClaimOf(6, "0-49"), ClaimOf(4, "50-99")}));
  CHECK_FALSE(IsSuperseded(ClaimOf(5, ""), {ClaimOf(6, "0-99")}));
}
