#include "tests/simulation/consul_servers.h"

#include <algorithm>

namespace rcb::simulation {
namespace {

using consul::CatalogCheck;
using consul::ErrorKind;
using consul::ServiceEntry;

}  // namespace

void ConsulServers::AddNode(const std::string& node, const std::string& address) { nodes_[node] = {address, true}; }

bool ConsulServers::Holds(const consul::TxnOperation& operation) const {
  if (const auto* cas = std::get_if<consul::TxnKvCas>(&operation)) return cas->index == key_.modify_index;
  if (const auto* check = std::get_if<consul::TxnKvCheckIndex>(&operation)) {
    return key_.modify_index != 0 && check->index == key_.modify_index;
  }
  if (const auto* service = std::get_if<consul::TxnServiceSet>(&operation)) {
    if (service->index == 0) return nodes_.contains(service->entry.node);
    const ServiceEntry* entry = Find(service->entry.node, service->entry.id);
    return entry != nullptr && entry->modify_index == service->index;
  }
  if (const auto* set = std::get_if<consul::TxnCheckSet>(&operation); set != nullptr && set->index != 0) {
    const ServiceEntry* entry = Find(set->node, set->check.service_id);
    return entry != nullptr && std::any_of(entry->checks.begin(), entry->checks.end(), [set](const auto& check) {
             return check.id == set->check.id && check.modify_index == set->index;
           });
  }
  return true;
}

consul::Result<std::uint64_t> ConsulServers::Commit(const std::vector<consul::TxnOperation>& operations) {
  if (operations.size() > consul::kMaxTxnOperations) return consul::Fail(ErrorKind::kServer, "too many operations");
  for (const consul::TxnOperation& operation : operations) {
    if (!Holds(operation)) return consul::Fail(ErrorKind::kConflict, "the transaction was rolled back");
    if (const auto* set = std::get_if<consul::TxnCheckSet>(&operation)) {
      // The service must be there, by now or by an operation before this one.
      const bool brought = std::any_of(operations.begin(), operations.end(), [set](const auto& other) {
        const auto* service = std::get_if<consul::TxnServiceSet>(&other);
        return service != nullptr && service->entry.node == set->node && service->entry.id == set->check.service_id;
      });
      if (!brought && Find(set->node, set->check.service_id) == nullptr) {
        return consul::Fail(ErrorKind::kConflict, "the transaction was rolled back: no such service");
      }
    }
  }
  ++index_;
  bool key_changed = false;
  bool catalog_changed = false;
  for (const consul::TxnOperation& operation : operations) {
    if (const auto* cas = std::get_if<consul::TxnKvCas>(&operation)) {
      key_changed = SetKey(cas->value);
    } else if (const auto* service = std::get_if<consul::TxnServiceSet>(&operation)) {
      ServiceEntry entry = service->entry;
      entry.tags = service->tags;
      entry.meta = service->meta;
      catalog_changed |= SetService(entry.node, entry, {});
    } else if (const auto* check = std::get_if<consul::TxnCheckSet>(&operation)) {
      catalog_changed |= SetCheck(check->node, check->check, {});
    }
  }
  if (catalog_changed) catalog_index_ = index_;
  const std::uint64_t result = key_.modify_index;
  if (key_changed && on_key) on_key();
  if (catalog_changed && on_catalog) on_catalog();
  return result;
}

consul::Result<std::uint64_t> ConsulServers::WriteKey(const std::string& value, std::uint64_t index) {
  if (index != key_.modify_index) return consul::Fail(ErrorKind::kConflict, "somebody else changed the key");
  ++index_;
  if (SetKey(value) && on_key) on_key();
  return key_.modify_index;
}

/// True when it changed: the same value leaves the index as it is (agent/consul/state/kvs.go; seen on 1.8.7).
bool ConsulServers::SetKey(const std::string& value) {
  if (key_.modify_index != 0 && key_.value == value) return false;
  key_.value = value;
  key_.modify_index = key_index_ = index_;
  return true;
}

void ConsulServers::DeleteKey() {
  key_.value.clear();
  key_.modify_index = 0;
  key_index_ = ++index_;
  if (on_key) on_key();
}

void ConsulServers::OverwriteKey(const std::string& value) {
  ++index_;
  if (SetKey(value) && on_key) on_key();
}

/// True when something changed: Consul writes nothing, and raises no index, when all is as it was.
bool ConsulServers::SetService(const std::string& node, const ServiceEntry& service, const Origin& origin) {
  auto [at, created] = entries_.try_emplace({node, service.id});
  ServiceEntry& entry = at->second.entry;
  if (created) {
    entry.node = node;
    entry.node_address = nodes_.at(node).first;
    entry.id = service.id;
    entry.checks = {{.id = "serfHealth",
                     .name = {},
                     .status = nodes_.at(node).second ? "passing" : "critical",
                     .notes = {},
                     .output = {},
                     .service_id = {}}};
  } else if (entry.name == service.name && entry.tags == service.tags && entry.meta == service.meta &&
             entry.address == service.address && entry.port == service.port &&
             entry.enable_tag_override == service.enable_tag_override) {
    return false;
  }
  entry.name = service.name;
  entry.tags = service.tags;
  entry.meta = service.meta;
  entry.address = service.address;
  entry.port = service.port;
  entry.enable_tag_override = service.enable_tag_override;
  entry.modify_index = index_;
  at->second.origin = origin;
  return true;
}

bool ConsulServers::SetCheck(const std::string& node, CatalogCheck check, const Origin& origin) {
  Stored& stored = entries_.at({node, check.service_id});
  auto& checks = stored.entry.checks;
  const auto found =
      std::find_if(checks.begin(), checks.end(), [&](const auto& other) { return other.id == check.id; });
  if (found != checks.end()) {
    check.modify_index = found->modify_index;
    if (*found == check) return false;
    check.modify_index = index_;
    if (found->status != check.status) stored.origin = origin;
    *found = check;
    return true;
  }
  check.modify_index = index_;
  checks.insert(checks.begin(), check);
  stored.origin = origin;
  return true;
}

void ConsulServers::Push(const std::string& node, const consul::ServiceRegistration& registration,
                         consul::CheckStatus status, const std::string& output, TimePoint sent_at) {
  ServiceEntry entry;
  entry.id = registration.id;
  entry.name = registration.name;
  entry.tags = registration.tags;
  entry.meta = registration.meta;
  entry.address = registration.address;
  entry.port = registration.port;
  entry.enable_tag_override = registration.enable_tag_override;
  const Origin origin{true, sent_at};
  ++index_;
  bool changed = SetService(node, entry, origin);
  changed |= SetCheck(node,
                      {.id = registration.check.id,
                       .name = registration.check.name,
                       .status = std::string(ToString(status)),
                       .notes = registration.check.notes,
                       .output = output,
                       .service_id = registration.id},
                      origin);
  if (!changed) return;
  catalog_index_ = index_;
  if (on_catalog) on_catalog();
}

void ConsulServers::Remove(const std::string& node, const std::string& id) {
  if (entries_.erase({node, id}) == 0) return;
  catalog_index_ = ++index_;
  if (on_catalog) on_catalog();
}

void ConsulServers::SetNodeHealth(const std::string& node, bool passing) {
  if (nodes_.at(node).second == passing) return;
  nodes_.at(node).second = passing;
  bool changed = false;
  for (auto& [key, stored] : entries_) {
    if (key.first != node) continue;
    for (CatalogCheck& check : stored.entry.checks) {
      if (check.id == "serfHealth") check.status = passing ? "passing" : "critical";
    }
    changed = true;
  }
  if (!changed) return;
  catalog_index_ = ++index_;
  if (on_catalog) on_catalog();
}

std::vector<ServiceEntry> ConsulServers::Entries() const {
  std::vector<ServiceEntry> entries;
  entries.reserve(entries_.size());
  for (const auto& [key, stored] : entries_) entries.push_back(stored.entry);
  return entries;
}

const ServiceEntry* ConsulServers::Find(const std::string& node, const std::string& id) const {
  const auto found = entries_.find({node, id});
  return found == entries_.end() ? nullptr : &found->second.entry;
}

std::vector<std::string> ConsulServers::IdsOf(const std::string& node) const {
  std::vector<std::string> ids;
  for (const auto& [key, stored] : entries_) {
    if (key.first == node) ids.push_back(key.second);
  }
  return ids;
}

}  // namespace rcb::simulation
