#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace rcb::consul {

enum class CheckStatus { kPassing, kWarning, kCritical };

/// "passing", "warning", "critical".
std::string_view ToString(CheckStatus status);

/// A TTL check as it is registered together with its service. Consul takes no output at registration: the first TTL
/// update brings it.
struct TtlCheck {
  std::string id{};
  std::string name{};
  std::string notes{};
  std::chrono::milliseconds ttl{10000};
  CheckStatus status = CheckStatus::kCritical;
  std::chrono::seconds deregister_critical_after{0};  ///< Consul's minimum is 1 min; 0: never.

  bool operator==(const TtlCheck&) const = default;
};

/// What PUT /v1/agent/service/register takes.
struct ServiceRegistration {
  std::string id{};
  std::string name{};
  std::vector<std::string> tags{};
  std::string address{};  ///< Empty: clients use the node's address.
  std::uint16_t port = 0;
  std::map<std::string, std::string> meta{};
  /// The catalog may be given other tags, and anti-entropy then takes them over instead of undoing them: a Consul agent
  /// that comes back with an old registration does not push old tags (agent/local/state.go updateSyncState, 1.8.7).
  bool enable_tag_override = false;
  TtlCheck check{};

  bool operator==(const ServiceRegistration&) const = default;
};

/// A check as the catalog holds it.
struct CatalogCheck {
  std::string id{};
  std::string name{};
  std::string status{};  ///< passing, warning, critical; maintenance counts as critical.
  std::string notes{};
  std::string output{};
  std::string service_id{};  ///< Empty: a check of the node.
  std::uint64_t modify_index = 0;

  bool operator==(const CatalogCheck&) const = default;
};

/// One entry of /v1/health/service/NAME: an instance as every client sees it.
struct ServiceEntry {
  std::string node{};
  std::string node_address{};
  std::string id{};
  std::string name{};
  std::vector<std::string> tags{};
  std::string address{};  ///< Empty: clients use node_address.
  std::uint16_t port = 0;
  std::map<std::string, std::string> meta{};
  bool enable_tag_override = false;
  std::uint64_t modify_index = 0;
  std::vector<CatalogCheck> checks{};  ///< Of the node and of the service.
  /// The Service object as Consul sent it (JSON). A transaction that changes two fields of a registration must give
  /// the others back exactly, those this bridge does not know included (TaggedAddresses, Weights, Proxy), else
  /// anti-entropy sees a difference and undoes it.
  std::string raw_service{};

  /// True when DNS answers with it: no check is critical (warning counts as fine unless only_passing is set).
  bool IsServed() const;
  bool HasTag(std::string_view tag) const;
};

/// A KV pair. `modify_index` 0 means that the key does not exist.
struct KvPair {
  std::string key{};
  std::string value{};
  std::uint64_t modify_index = 0;
};

// The operations of PUT /v1/txn that the bridge uses.

/// Writes a key only at this ModifyIndex; 0: only when it does not exist.
struct TxnKvCas {
  std::string key{};
  std::string value{};
  std::uint64_t index = 0;
};

/// Fails the transaction unless the key still is at this ModifyIndex.
struct TxnKvCheckIndex {
  std::string key{};
  std::uint64_t index = 0;
};

/// Writes a service entry with other tags and meta, all its other fields as `entry.raw_service` has them.
/// With `index` only at this ModifyIndex of the service (right since Consul 1.5.2); 0: unconditionally.
struct TxnServiceSet {
  ServiceEntry entry{};
  std::vector<std::string> tags{};
  std::map<std::string, std::string> meta{};
  std::uint64_t index = 0;
};

/// Removes a service entry and its checks. Put before a TxnServiceSet of the same ID it renames the service: a plain
/// rename does not wake the blocking queries on the old name (seen on 1.8.7).
struct TxnServiceDelete {
  std::string node{};
  std::string service_id{};
  std::string service_name{};  ///< Needed as well as the ID (seen on 1.8.7).
};

/// Writes a check of a service. A check repeats the tags of its service; Consul takes them from the service as the
/// transaction has it at this point, so put the check after the TxnServiceSet.
/// With `index` only at this ModifyIndex of the check; 0: unconditionally.
struct TxnCheckSet {
  std::string node{};
  std::string service_name{};
  CatalogCheck check{};
  std::uint64_t index = 0;
};

using TxnOperation = std::variant<TxnKvCas, TxnKvCheckIndex, TxnServiceDelete, TxnServiceSet, TxnCheckSet>;

/// Operations that a transaction may hold (64 on Consul 1.8, 128 in newer ones; agent/txn_endpoint.go).
inline constexpr std::size_t kMaxTxnOperations = 64;

/// What the local agent says of itself.
struct AgentSelf {
  std::string node{};
  std::string datacenter{};
  std::string version{};
};

}  // namespace rcb::consul
