#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "consul/result.h"
#include "consul/types.h"
#include "tests/simulation/event_queue.h"
#include "tests/simulation/random.h"

namespace rcb::simulation {

/// What Consul's servers hold: the catalog of one service, one key, and the transactions on them. Every change is one
/// step (a Raft entry).
class ConsulServers {
 public:
  /// Who wrote an entry last: an agent's unconditional push, sent off at a moment, or a transaction.
  struct Origin {
    bool pushed = false;
    TimePoint sent_at{};
    /// The agent had taken the master's tag over from a reading that was out of date when it arrived, or did late what
    /// nobody waited for any more.
    bool out_of_date = false;
  };

  std::function<void()> on_key;      ///< The key has changed, and the catalog with it where it was one transaction.
  std::function<void()> on_catalog;  ///< The catalog has changed.

  void AddNode(const std::string& node, const std::string& address);

  void LoseLeader(TimePoint now) {
    has_leader_ = false;
    leader_lost_at_ = now;
  }
  void ElectLeader() { has_leader_ = true; }
  bool has_leader() const { return has_leader_; }
  /// It died a moment ago, and calls are still passed on to it, which it never answers.
  bool has_dead_leader(TimePoint now) const;

  /// PUT /v1/txn, all or nothing. The result is the key's ModifyIndex.
  consul::Result<std::uint64_t> Commit(const std::vector<consul::TxnOperation>& operations);
  /// PUT /v1/kv/KEY?cas=
  consul::Result<std::uint64_t> WriteKey(const std::string& value, std::uint64_t index);
  /// By somebody who is no bridge.
  void DeleteKey();
  void OverwriteKey(const std::string& value);

  /// Whether the key is denied to the bridge on this host.
  enum class Denial { kNone, kWrite, kAll };
  void Deny(std::size_t host, Denial denial) { denials_[host] = denial; }
  Denial DenialOf(std::size_t host) const {
    const auto found = denials_.find(host);
    return found == denials_.end() ? Denial::kNone : found->second;
  }
  bool DeniesKey(std::size_t host) const { return DenialOf(host) != Denial::kNone; }

  /// An agent's word about its own node.
  void Push(const std::string& node, const consul::ServiceRegistration& registration, consul::CheckStatus status,
            const std::string& output, const Origin& origin);
  void Remove(const std::string& node, const std::string& id);
  void SetNodeHealth(const std::string& node, bool passing);

  const consul::KvPair& key() const { return key_; }
  /// As /v1/health/service/NAME tells them.
  std::vector<consul::ServiceEntry> Entries() const;
  const consul::ServiceEntry* Find(const std::string& node, const std::string& id) const;
  const Origin& OriginOf(const std::string& node, const std::string& id) const {
    return entries_.at({node, id}).origin;
  }
  std::vector<std::string> IdsOf(const std::string& node) const;
  std::uint64_t key_index() const { return key_index_; }
  std::uint64_t catalog_index() const { return catalog_index_; }

 private:
  struct Stored {
    consul::ServiceEntry entry;  ///< Its own check first, then the node's.
    Origin origin;
  };
  using Key = std::pair<std::string, std::string>;

  bool Holds(const consul::TxnOperation& operation) const;
  bool SetKey(const std::string& value);
  bool SetService(const std::string& node, const consul::ServiceEntry& service, const Origin& origin);
  bool SetCheck(const std::string& node, consul::CatalogCheck check, const Origin& origin);

  bool has_leader_ = true;
  TimePoint leader_lost_at_{};
  std::uint64_t index_ = 10;
  std::uint64_t key_index_ = 1;
  std::uint64_t catalog_index_ = 1;
  consul::KvPair key_{.key = "service/redis/master", .value = {}, .modify_index = 0};
  std::map<Key, Stored> entries_;
  std::map<std::size_t, Denial> denials_;
  std::map<std::string, std::pair<std::string, bool>> nodes_;  ///< Address, and whether serfHealth passes.
};

}  // namespace rcb::simulation
