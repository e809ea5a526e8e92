#include "agent/claim.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace rcb::agent {
namespace {

constexpr std::size_t kMaxClaimBytes = 16384;  // A claim is below 1 KiB; Consul would take 512 KiB.

std::string TextOr(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

tl::unexpected<ClaimError> Garbage(std::string message) { return tl::unexpected(ClaimError{std::move(message)}); }

tl::unexpected<ClaimError> NotKnown(const std::string& field, const std::string& word) {
  if (word.empty()) return Garbage("it has no " + field);
  return tl::unexpected(ClaimError{"its " + field + " \"" + word.substr(0, 40) +
                                       "\" is unknown to this version: upgrade this agent, or release the claim",
                                   true});
}

}  // namespace

std::string_view ToString(Authority authority) {
  switch (authority) {
    case Authority::kSentinel: return "sentinel";
    case Authority::kCluster: return "cluster";
    case Authority::kReplication: break;
  }
  return "replication";
}

bool Outranks(Authority authority, std::uint64_t epoch, const Claim& claim) {
  return std::pair(authority, epoch) > std::pair(claim.authority, claim.epoch);
}

bool Reaches(Authority authority, std::uint64_t epoch, const Claim& claim) {
  return std::pair(authority, epoch) >= std::pair(claim.authority, claim.epoch);
}

std::string HolderName(const Claim& claim) {
  return claim.address.empty() ? claim.service_id : claim.address + ":" + std::to_string(claim.port);
}

std::string ClaimKey(const std::string& service) { return "service/" + service + "/master"; }

std::string EncodeClaim(const Claim& claim) {
  const nlohmann::ordered_json object = {
      {"authority", ToString(claim.authority)},
      {"epoch", claim.epoch},
      {"state", claim.state == Claim::State::kHeld ? "held" : "yielded"},
      {"node", claim.node},
      {"service_id", claim.service_id},
      {"address", claim.address},
      {"port", claim.port},
      {"run_id", claim.run_id},
      {"replid", claim.replid},
      {"follows", claim.follows},
      {"revision", claim.revision},
      {"since", claim.since},
  };
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

tl::expected<Claim, ClaimError> DecodeClaim(std::string_view value) {
  if (value.size() > kMaxClaimBytes) return Garbage("it is far too long to be a claim");
  const auto object = nlohmann::json::parse(value, nullptr, false);
  if (!object.is_object()) return Garbage("it is not a JSON object");
  Claim claim;
  const std::string authority = TextOr(object, "authority");
  if (authority == "sentinel") {
    claim.authority = Authority::kSentinel;
  } else if (authority == "replication") {
    claim.authority = Authority::kReplication;
  } else {
    return NotKnown("authority", authority);
  }
  const std::string state = TextOr(object, "state");
  if (state == "held") {
    claim.state = Claim::State::kHeld;
  } else if (state == "yielded") {
    claim.state = Claim::State::kYielded;
  } else {
    return NotKnown("state", state);
  }
  const auto epoch = object.find("epoch");
  if (epoch == object.end() || !epoch->is_number_unsigned()) return Garbage("it has no epoch");
  claim.epoch = epoch->get<std::uint64_t>();
  claim.service_id = TextOr(object, "service_id");
  claim.node = TextOr(object, "node");
  if (claim.service_id.empty() || claim.node.empty()) return Garbage("it names no holder");
  claim.address = TextOr(object, "address");
  const auto port = object.find("port");
  if (port != object.end() && port->is_number_unsigned() && port->get<std::uint64_t>() <= 65535) {
    claim.port = static_cast<std::uint16_t>(port->get<std::uint64_t>());
  }
  claim.run_id = TextOr(object, "run_id");
  claim.replid = TextOr(object, "replid");
  const auto revision = object.find("revision");
  if (revision != object.end() && revision->is_number_unsigned()) claim.revision = revision->get<std::uint64_t>();
  claim.follows = TextOr(object, "follows");
  claim.since = TextOr(object, "since");
  return claim;
}

}  // namespace rcb::agent
