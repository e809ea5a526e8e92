#include "agent/status_text.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/terminal.h"

namespace rcb::agent {
namespace {

Mark MarkOf(const std::string& check) {
  if (check == "passing") return Mark::kGood;
  return check == "warning" ? Mark::kWarning : Mark::kBad;
}

/// Characters, not bytes, as far as UTF-8 tells them apart.
std::size_t Width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string Join(const std::vector<std::string>& parts, const std::string& separator) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : separator) + part;
  return text;
}

std::string Age(UtcTime at, const std::optional<UtcTime>& since) { return since ? FormatAge(at - *since) : "-"; }

std::string Published(const InstanceStatus& instance) {
  if (instance.tag.empty()) return "nothing yet";
  return (instance.tag == "none" ? "untagged" : instance.tag) + ", " + instance.check;
}

std::string Lag(const InstanceStatus& instance) {
  if (!instance.lag_bytes) return "-";
  const std::int64_t bytes = *instance.lag_bytes;
  if (bytes < 10240) return std::to_string(bytes) + " B";
  return bytes < 10485760 ? std::to_string(bytes / 1024) + " KiB" : std::to_string(bytes / 1048576) + " MiB";
}

std::string Role(const InstanceStatus& instance) {
  if (instance.health != "answering") return instance.health;
  return instance.role.empty() ? "unknown" : instance.role;
}

std::vector<std::string> Served(const GroupStatus& group, const std::string& tag) {
  std::vector<std::string> addresses;
  for (const CatalogStatus& entry : group.catalog) {
    if (entry.served && std::find(entry.tags.begin(), entry.tags.end(), tag) != entry.tags.end()) {
      addresses.push_back(entry.address);
    }
  }
  return addresses;
}

bool IsNamed(const SentinelStatus& sentinel, const InstanceStatus& instance) {
  return (!instance.run_id.empty() && sentinel.master_run_id == instance.run_id) ||
         sentinel.master == instance.endpoint || sentinel.master == instance.address;
}

std::string ServerSays(UtcTime at, const InstanceStatus& instance) {
  if (instance.health == "unknown") return "was not heard yet";
  if (instance.health != "answering") {
    return instance.health_detail + " (for " + Age(at, instance.health_since) + ")";
  }
  std::string said = "says " + (instance.role.empty() ? "nothing of a role" : instance.role);
  if (!instance.upstream.empty()) said += " of " + instance.upstream + ", link " + instance.link;
  if (instance.role_since) said += ", for " + Age(at, instance.role_since);
  if (instance.loading) said += ", and is loading its data set";
  if (instance.lag_bytes) said += ", " + Lag(instance) + " behind";
  return said;
}

std::string ClaimSays(const GroupStatus& group, const InstanceStatus& instance) {
  if (!group.claim_read) return "could not be read from Consul yet";
  if (!group.claim_trouble.empty()) return "cannot be understood: " + group.claim_trouble;
  if (!group.claim) return "is held by nobody";
  const Claim& claim = *group.claim;
  return std::string(claim.state == Claim::State::kHeld ? "is held by " : "was given up by ") +
         (instance.holds_claim ? "this server" : HolderName(claim)) + ", epoch " + std::to_string(claim.epoch) +
         ", by authority of " + std::string(ToString(claim.authority)) +
         (claim.since.empty() ? "" : ", since " + claim.since);
}

bool IsCluster(const GroupStatus& group) { return group.authority == ToString(Authority::kCluster); }

std::string ClusterSays(const InstanceStatus& instance) {
  if (instance.cluster_state.empty()) return "has told nothing yet";
  std::string said = "as this node sees it is " + instance.cluster_state;
  if (instance.shard.empty()) return said + ", and gives it no slots";
  said += ": " + instance.shard + " with slots " + instance.slots;
  return instance.cluster_epoch ? said + " at epoch " + std::to_string(*instance.cluster_epoch) : said;
}

std::string SentinelSays(UtcTime at, const SentinelStatus& sentinel, const InstanceStatus& instance) {
  std::string said;
  if (sentinel.master.empty()) {
    said = "has said nothing yet";
  } else {
    said = "names " + sentinel.master + (IsNamed(sentinel, instance) ? " (this server)" : "") + ", epoch " +
           std::to_string(sentinel.config_epoch);
    if (!sentinel.connected) said = "named " + said.substr(6) + ", " + Age(at, sentinel.heard) + " ago";
  }
  if (sentinel.master_down) said += "; holds it for down";
  if (sentinel.failing_over) said += "; is failing over";
  if (!sentinel.chosen.empty()) said += "; has chosen " + sentinel.chosen;
  if (!sentinel.connected) said += "; not connected" + (sentinel.trouble.empty() ? "" : ": " + sentinel.trouble);
  return said;
}

std::string CatalogSays(const GroupStatus& group) {
  if (!group.catalog_read) return "could not be read";
  const std::vector<std::string> masters = Served(group, "master");
  return masters.empty() ? "serves nobody as master" : "serves " + Join(masters, " and ") + " as master";
}

}  // namespace

std::string FormatAge(std::chrono::milliseconds age) {
  const std::int64_t seconds = std::max<std::int64_t>(0, age.count() / 1000);
  if (seconds < 120) return std::to_string(seconds) + "s";
  if (seconds < 7200) return std::to_string(seconds / 60) + "m";
  return seconds < 172800 ? std::to_string(seconds / 3600) + "h" : std::to_string(seconds / 86400) + "d";
}

std::vector<Witness> WitnessesOf(const GroupStatus& group, const InstanceStatus& instance, UtcTime at) {
  if (IsCluster(group)) {
    return {{"The server itself", ServerSays(at, instance)},
            {"The cluster", ClusterSays(instance)},
            {"The catalog", CatalogSays(group)}};
  }
  std::vector<Witness> witnesses = {{"The server itself", ServerSays(at, instance)},
                                    {"The claim", ClaimSays(group, instance)}};
  for (const SentinelStatus& sentinel : group.sentinels) {
    witnesses.push_back({"Sentinel " + sentinel.endpoint, SentinelSays(at, sentinel, instance)});
  }
  if (group.sentinels.empty()) witnesses.push_back({"Sentinel", "none is known"});
  witnesses.push_back({"The catalog", CatalogSays(group)});
  return witnesses;
}

namespace {

using Facts = std::vector<std::pair<std::string, std::string>>;

std::string FactLines(const Facts& facts, bool colours) {
  std::string text;
  for (const auto& [what, fact] : facts) text += Marked(what, Mark::kHeading, colours) + ": " + Printable(fact) + "\n";
  return text;
}

/// The instances, a line each.
std::string InstanceTable(const GroupStatus& group, UtcTime at, bool colours) {
  constexpr std::size_t kColumns = 6;
  using Row = std::array<std::string, kColumns>;
  std::vector<Row> rows = {{"INSTANCE", "ROLE", "PUBLISHED", "SINCE", "LAG", "WHY"}};
  for (const InstanceStatus& instance : group.instances) {
    rows.push_back({instance.endpoint, Role(instance), Published(instance), Age(at, instance.published_since),
                    Lag(instance), instance.reason});
  }
  std::array<std::size_t, kColumns> widths{};
  for (Row& row : rows) {
    for (std::size_t i = 0; i < kColumns; ++i) {
      row[i] = Printable(std::move(row[i]));
      widths[i] = std::max(widths[i], Width(row[i]));
    }
  }
  std::string text;
  for (std::size_t line = 0; line < rows.size(); ++line) {
    for (std::size_t i = 0; i < kColumns; ++i) {
      const std::string& cell = rows[line][i];
      const std::string padding(i + 1 < kColumns ? widths[i] - Width(cell) + 2 : 0, ' ');
      const bool is_check = i == 2 && line > 0;
      text += (line == 0  ? Marked(cell, Mark::kHeading, colours)
               : is_check ? Marked(cell, MarkOf(group.instances[line - 1].check), colours)
                          : cell) +
              padding;
    }
    text += "\n";
  }
  return text;
}

Facts FactsOf(const GroupStatus& group, const std::string& node) {
  Facts facts;
  facts.emplace_back("service", group.service + (node.empty() ? "" : " on node " + node) +
                                    (group.master_name.empty() ? "" : ", group " + group.master_name) +
                                    (group.authority.empty() ? "" : ", authority " + group.authority));
  const std::size_t connected = static_cast<std::size_t>(std::count_if(
      group.sentinels.begin(), group.sentinels.end(), [](const SentinelStatus& one) { return one.connected; }));
  if (!group.sentinels.empty()) {
    facts.emplace_back("sentinels",
                       std::to_string(connected) + " of " + std::to_string(group.sentinels.size()) + " answer");
  }
  const InstanceStatus nobody;
  facts.emplace_back("claim", IsCluster(group) ? "none is needed, the cluster decides" : ClaimSays(group, nobody));
  const std::vector<std::string> replicas = Served(group, "replica");
  facts.emplace_back("catalog",
                     CatalogSays(group) + (replicas.empty() ? "" : ", " + Join(replicas, ", ") + " as replica"));
  return facts;
}

}  // namespace

std::string StatusTable(const Status& status, bool colours) {
  std::string text;
  for (const GroupStatus& group : GroupsOf(status)) {
    text += InstanceTable(group, status.at, colours) + FactLines(FactsOf(group, status.node), colours);
    if (!status.groups.empty()) text += "\n";
  }
  Facts facts = {{"agent", "version " + status.version + ", up " + FormatAge(status.at - status.started)}};
  if (!status.unready.empty()) facts.emplace_back("not ready", status.unready);
  text += FactLines(facts, colours);
  for (const TroubleStatus& trouble : status.troubles) {
    text += Marked("trouble", Mark::kBad, colours) + ": " + Printable(trouble.subject + ": " + trouble.text) + "\n";
  }
  text.pop_back();
  return text;
}

std::string Explain(const Status& status, bool colours) {
  std::string text;
  for (const GroupStatus& group : GroupsOf(status)) {
    for (const InstanceStatus& instance : group.instances) {
      if (!text.empty()) text += "\n";
      text += Marked(Printable(instance.endpoint), Mark::kHeading, colours) + " is published as " +
              Marked(Printable(Published(instance)), MarkOf(instance.check), colours);
      if (!status.groups.empty()) text += " of " + Printable(group.service);
      text += Printable(instance.reason.empty() ? ": too little is known yet" : ": " + instance.reason) + ".\n";
      if (instance.taking) text += "It is about to take the claim.\n";
      for (const Witness& witness : WitnessesOf(group, instance, status.at)) {
        text += "  " + Printable(witness.who + " " + witness.said) + ".\n";
      }
    }
  }
  if (!status.unready.empty()) text += Printable("The agent is not ready: " + status.unready) + ".\n";
  if (!text.empty()) text.pop_back();
  return text;
}

std::string ExplainJson(const Status& status) {
  using Json = nlohmann::ordered_json;
  Json instances = Json::array();
  for (const GroupStatus& group : GroupsOf(status)) {
    for (const InstanceStatus& instance : group.instances) {
      Json witnesses = Json::array();
      for (const Witness& witness : WitnessesOf(group, instance, status.at)) {
        witnesses.push_back({{"who", witness.who}, {"said", witness.said}});
      }
      instances.push_back({{"endpoint", instance.endpoint},
                           {"service", group.service},
                           {"tag", instance.tag},
                           {"check", instance.check},
                           {"reason", instance.reason},
                           {"witnesses", std::move(witnesses)}});
    }
  }
  return Json{{"unready", status.unready}, {"instances", std::move(instances)}}.dump(2, ' ', false,
                                                                                     Json::error_handler_t::replace);
}

}  // namespace rcb::agent
