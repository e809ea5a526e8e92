#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace rcb::agent {

/// Who may say that a master is real. Ordered: Sentinel outranks replication, so that a group that gets Sentinels later
/// is taken over by them. Redis Cluster, where many masters are right, writes no claim.
enum class Authority { kReplication, kSentinel, kCluster };

std::string_view ToString(Authority authority);

/// The record in Consul KV of who is master, at which epoch (key service/<service>/master). Written only by
/// compare-and-set.
struct Claim {
  enum class State {
    kHeld,
    kYielded,  ///< The holder gave the role up (it is a replica now) and waits for its successor.
  };
  Authority authority = Authority::kReplication;
  std::uint64_t epoch = 0;  ///< Sentinel's config-epoch, or the count of takeovers under authority replication.
  State state = State::kHeld;
  std::string node;        ///< Consul node of the holder.
  std::string service_id;  ///< Service ID of the holder.
  std::string address;     ///< As the holder is published; empty: the node's address.
  std::uint16_t port = 0;
  std::string run_id;  ///< Of the holder's process: another one means that it was restarted since.
  std::string replid;  ///< Its replication id, for lineage; empty before Redis 4.0.
  /// For a yielded claim: the server that the former holder follows now, as host:port; its successor before Redis 4.0,
  /// which has no replication ids.
  std::string follows;
  /// Counts the transactions that published a holder. Consul leaves the index of a key alone when the same value is
  /// written again (seen on 1.8.7): this makes each of them move it.
  std::uint64_t revision = 0;
  std::string since;  ///< UTC time of the takeover, for people; never used in a decision.

  bool operator==(const Claim&) const = default;
};

/// What the key holds, with the index that a compare-and-set needs.
struct ClaimRecord {
  std::optional<Claim> claim;  ///< Absent: no such key, garbage in it, or `unreadable`.
  std::uint64_t index = 0;     ///< ModifyIndex; 0: no such key.
  /// Why a value that seems to be a newer version's claim cannot be understood: it is left alone. Else empty.
  std::string unreadable;
  /// What is wrong with a value that is nobody's claim: it counts as an absent one and is written over. Else empty.
  std::string garbage;
};

/// Why a value is no claim.
struct ClaimError {
  std::string message;         ///< A sentence.
  bool newer_version = false;  ///< It has the form of a claim and words that this version does not know.
};

/// The larger order wins the claim: authority first, then epoch.
bool Outranks(Authority authority, std::uint64_t epoch, const Claim& claim);
/// Outranks it, or has the same order.
bool Reaches(Authority authority, std::uint64_t epoch, const Claim& claim);

/// "host:port of service_id" for sentences.
std::string HolderName(const Claim& claim);

/// The key in Consul KV that holds the claim of `service`.
std::string ClaimKey(const std::string& service);

std::string EncodeClaim(const Claim& claim);

/// Takes the value of the key. A claim with unknown extra fields is accepted; an unknown
/// authority or state is not, since it may mean the opposite of what an older version would do.
tl::expected<Claim, ClaimError> DecodeClaim(std::string_view value);

}  // namespace rcb::agent
