#include "agent/group.h"

#include <algorithm>
#include <utility>

namespace rcb::agent {
namespace {

/// No tick for so long: the process was stopped, or its host suspended, and what it knows is as old.
constexpr std::chrono::milliseconds kAsleep{2000};
/// What arrived meanwhile is read within this time, a poll of Redis included.
constexpr std::chrono::milliseconds kListen{300};

ClaimRecord RecordOf(const consul::KvPair& pair) {
  ClaimRecord record{.claim = {}, .index = pair.modify_index, .unreadable = {}, .garbage = {}};
  if (pair.modify_index == 0) return record;
  if (auto claim = DecodeClaim(pair.value)) {
    record.claim = *std::move(claim);
  } else {
    (claim.error().newer_version ? record.unreadable : record.garbage) = claim.error().message;
  }
  return record;
}

}  // namespace

Group::Group(const Arbiter::Options& arbiter_options, const Publisher::Options& publisher_options,
             std::vector<Identity> instances)
    : instances_(instances),
      states_(instances.size()),
      arbiter_(arbiter_options, std::move(instances)),
      publisher_(publisher_options, instances_.size()) {
  if (publisher_options.master_service == publisher_options.replica_service) replica_entries_.emplace();
}

void Group::OnInstance(std::size_t instance, const redis::InstanceState& state) {
  states_[instance] = state;
  arbiter_.OnInstance(instance, state);
}

void Group::OnClaim(const consul::Result<consul::KvPair>& pair, TimePoint now) {
  if (!pair) {
    claim_suspect_ = true;
    return;
  }
  // An answer that was on its way while our own transaction went through is older than what we know.
  const bool older = claim_index_ && pair->modify_index != 0 && pair->modify_index < *claim_index_;
  if (older && !claim_suspect_) return;
  AcceptClaim(RecordOf(*pair), now);
}

void Group::AcceptClaim(const ClaimRecord& record, TimePoint now) {
  claim_index_ = record.index;
  claim_suspect_ = false;  // A transaction of our own proves the index as well as a reading.
  arbiter_.OnClaim(record, now);
  publisher_.OnClaim(record, now);
}

void Group::OnCatalog(consul::Result<Entries> entries, TimePoint now) {
  AcceptCatalog(master_entries_, std::move(entries), now);
}

void Group::OnReplicaCatalog(consul::Result<Entries> entries, TimePoint now) {
  AcceptCatalog(replica_entries_, std::move(entries), now);
}

void Group::AcceptCatalog(std::optional<Entries>& part, consul::Result<Entries> entries, TimePoint now) {
  if (!entries) {
    catalog_lost_ = true;
    part.reset();
    publisher_.OnCatalogLost();
    return;
  }
  part = *std::move(entries);
  if (!master_entries_ || !replica_entries_) return;
  // An instance that changes its name is under both for a moment: the younger entry is the truth.
  Entries all = *master_entries_;
  for (const consul::ServiceEntry& entry : *replica_entries_) {
    const auto twin = std::find_if(all.begin(), all.end(), [&entry](const consul::ServiceEntry& other) {
      return other.id == entry.id && other.node == entry.node;
    });
    if (twin == all.end()) {
      all.push_back(entry);
    } else if (twin->modify_index < entry.modify_index) {
      *twin = entry;
    }
  }
  std::vector<CatalogFact> facts;
  facts.reserve(all.size());
  for (const consul::ServiceEntry& entry : all) {
    const redis::Endpoint address{
        .host = entry.address.empty() ? entry.node_address : entry.address, .port = entry.port, .unix_path = {}};
    facts.push_back({.node = entry.node,
                     .service_id = entry.id,
                     .served_as_master = entry.IsServed() && entry.HasTag("master"),
                     .slots = entry.HasTag("master") ? SlotClaimOf(entry) : std::nullopt,
                     .address = address.ToString()});
  }
  arbiter_.OnCatalog(std::move(facts));
  publisher_.OnCatalog(std::move(all), &part == &master_entries_);
  if (std::exchange(catalog_lost_, false)) publisher_.OnCatalogBack(now);
}

std::vector<Publisher::Call> Group::Decide(const std::string& group_name, const std::string& utc, TimePoint now) {
  if (decided_at_ && now - *decided_at_ >= kAsleep) listen_until_ = now + kListen;
  decided_at_ = now;
  verdicts_ = arbiter_.Decide(now);
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    if (verdicts_[i].take) verdicts_[i].take->since = utc;
    Publisher::Facts facts;
    facts.service_id = instances_[i].service_id;
    facts.node = instances_[i].node;
    facts.address = instances_[i].address;
    facts.port = instances_[i].port;
    facts.group = group_name;
    facts.run_id = states_[i].server.run_id;
    facts.redis_version = states_[i].server.redis_version;
    facts.shard = verdicts_[i].shard;
    if (const auto& info = states_[i].info; info && info->role == redis::Role::kReplica) {
      facts.upstream = info->master.ToString();
      facts.never_promoted = info->priority == 0;
    }
    publisher_.OnVerdict(i, verdicts_[i], facts);
  }
  if (now < listen_until_) {
    // Nor is Redis touched: who was asleep may be the right master by now (found by tests/simulation).
    for (Verdict& verdict : verdicts_) {
      verdict.hold_writes = false;
      verdict.demote_to.reset();
    }
    return {};
  }
  return publisher_.Next(now);
}

void Group::OnDone(const Publisher::Call& call, const consul::Result<std::uint64_t>& result, TimePoint now) {
  if (result) {
    const auto* transaction = std::get_if<Publisher::Transaction>(&call.what);
    // The answer may come after a reading of what somebody wrote since.
    const bool older = claim_index_ && *result < *claim_index_ && !claim_suspect_;
    if (transaction != nullptr && transaction->claim && !older) {
      AcceptClaim({.claim = transaction->claim, .index = *result, .unreadable = {}, .garbage = {}}, now);
    }
    publisher_.OnDone(call, {}, now);
  } else {
    publisher_.OnDone(call, tl::unexpected(result.error()), now);
  }
}

}  // namespace rcb::agent
