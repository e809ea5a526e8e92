#include "redis/sentinel_event.h"

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "redis/wire_text.h"

namespace rcb::redis {
namespace {

using Kind = SentinelEvent::Kind;

/// The longest form, `%@` of a replica with a few words behind it, has fewer fields and is shorter.
constexpr std::size_t kMaxFields = 24;
constexpr std::size_t kMaxPayload = 4096;
constexpr std::size_t kMaxName = 64;

Kind KindOf(std::string_view channel) {
  if (channel == "+new-epoch") return Kind::kNewEpoch;
  if (channel == "+vote-for-leader") return Kind::kVoteForLeader;
  if (channel == "+try-failover") return Kind::kTryFailover;
  if (channel == "+selected-slave") return Kind::kSelectedReplica;
  if (channel == "+failover-state-send-slaveof-noone") return Kind::kSendReplicaofNoOne;
  if (channel == "+promoted-slave") return Kind::kPromotedReplica;
  if (channel == "+switch-master") return Kind::kSwitchMaster;
  if (channel == "+failover-end" || channel == "+failover-end-for-timeout") return Kind::kFailoverEnd;
  if (channel.starts_with("-failover-abort-")) return Kind::kFailoverAborted;
  if (channel == "+tilt") return Kind::kTilt;
  if (channel == "-tilt") return Kind::kNotTilt;
  return Kind::kOther;
}

/// `%@` at the start of `fields`; what may stand behind it is ignored.
bool ParseInstance(std::span<const std::string_view> fields, SentinelEvent& event) {
  if (fields.size() < 4) return false;
  const auto instance = EndpointFromFields(fields[2], fields[3]);
  if (!instance) return false;
  if (fields[0] == "master") {
    event.master_name = fields[1];
    event.master = *instance;
  } else if (fields[0] == "slave" || fields[0] == "sentinel") {
    if (fields.size() < 8 || fields[4] != "@") return false;
    const auto master = EndpointFromFields(fields[6], fields[7]);
    if (!master) return false;
    event.master_name = fields[5];
    event.master = *master;
  } else {
    return false;
  }
  event.instance = *instance;
  return true;
}

bool ParseSwitch(std::span<const std::string_view> fields, SentinelEvent& event) {
  if (fields.size() != 5 || fields[0].empty()) return false;
  const auto old_master = EndpointFromFields(fields[1], fields[2]);
  const auto new_master = EndpointFromFields(fields[3], fields[4]);
  if (!old_master || !new_master) return false;
  event.master_name = fields[0];
  event.master = *old_master;
  event.instance = *new_master;
  return true;
}

bool ParseEpoch(std::string_view text, SentinelEvent& event) {
  const auto epoch = ParseNumber<std::uint64_t>(text);
  event.epoch = epoch.value_or(0);
  return epoch.has_value();
}

bool ParsePayload(std::string_view payload, SentinelEvent& event) {
  const std::vector<std::string_view> fields = SplitFields(payload, ' ', kMaxFields);
  switch (event.kind) {
    case Kind::kNewEpoch: return fields.size() == 1 && ParseEpoch(fields[0], event);
    case Kind::kVoteForLeader: return fields.size() == 2 && ParseEpoch(fields[1], event);
    case Kind::kSwitchMaster: return ParseSwitch(fields, event);
    case Kind::kTilt:
    case Kind::kNotTilt: return true;  // Prose ("#tilt mode entered") or nothing.
    case Kind::kOther:
      ParseInstance(fields, event);  // Not all of them hold an instance.
      return true;
    case Kind::kTryFailover:
    case Kind::kSelectedReplica:
    case Kind::kSendReplicaofNoOne:
    case Kind::kPromotedReplica:
    case Kind::kFailoverAborted:
    case Kind::kFailoverEnd: return ParseInstance(fields, event);
  }
  return false;
}

}  // namespace

Result<SentinelEvent> ParseSentinelEvent(std::string_view channel, std::string_view payload) {
  SentinelEvent event;
  event.kind = KindOf(channel);
  event.name = channel.substr(0, kMaxName);
  if (payload.size() > kMaxPayload || !ParsePayload(payload, event)) {
    return Fail(ErrorKind::kMalformedReply, "the payload of the Sentinel event " + event.name + " has another form");
  }
  return event;
}

}  // namespace rcb::redis
