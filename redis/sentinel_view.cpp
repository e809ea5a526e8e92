#include "redis/sentinel_view.h"

#include <optional>
#include <unordered_map>

#include "redis/wire_text.h"

namespace rcb::redis {
namespace {

using Fields = std::unordered_map<std::string_view, std::string_view>;

constexpr std::size_t kHelloFields = 8;
constexpr std::size_t kMaxHello = 1024;

/// Field names and values of a flat array; views into `reply`.
Fields FlatFields(const Reply& reply) {
  Fields fields;
  for (std::size_t i = 0; i + 1 < reply.elements.size(); i += 2) {
    fields.emplace(reply.elements[i].text, reply.elements[i + 1].text);
  }
  return fields;
}

std::string_view Get(const Fields& fields, std::string_view name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string_view() : found->second;
}

bool HasFlag(std::string_view flags, std::string_view wanted) {
  constexpr std::size_t kMaxFlags = 64;
  for (const std::string_view flag : SplitFields(flags, ',', kMaxFlags)) {
    if (flag == wanted) return true;
  }
  return false;
}

}  // namespace

Result<SentinelHello> ParseSentinelHello(std::string_view payload) {
  // One field more than there should be, so that too many are seen.
  const auto fields =
      payload.size() > kMaxHello ? std::vector<std::string_view>() : SplitFields(payload, ',', kHelloFields + 1);
  if (fields.size() != kHelloFields) {
    return Fail(ErrorKind::kMalformedReply, "a message on __sentinel__:hello does not have eight fields");
  }
  const auto sentinel = EndpointFromFields(fields[0], fields[1]);
  const auto current_epoch = ParseNumber<std::uint64_t>(fields[3]);
  const auto master = EndpointFromFields(fields[5], fields[6]);
  const auto config_epoch = ParseNumber<std::uint64_t>(fields[7]);
  if (!sentinel || fields[2].empty() || !current_epoch || fields[4].empty() || !master || !config_epoch) {
    return Fail(ErrorKind::kMalformedReply, "a message on __sentinel__:hello holds a field that is empty or no number");
  }
  SentinelHello hello;
  hello.sentinel = *sentinel;
  hello.current_epoch = *current_epoch;
  hello.view.sentinel_id = fields[2];
  hello.view.master_name = fields[4];
  hello.view.master = *master;
  hello.view.config_epoch = *config_epoch;
  return hello;
}

Result<SentinelView> ParseSentinelMaster(const std::string& sentinel_id, const Reply& master, const Reply& address) {
  const Fields fields = FlatFields(master);
  const auto known_as = EndpointFromFields(Get(fields, "ip"), Get(fields, "port"));
  const auto config_epoch = ParseNumber<std::uint64_t>(Get(fields, "config-epoch"));
  if (Get(fields, "name").empty() || !known_as || !config_epoch) {
    return Fail(ErrorKind::kMalformedReply, "SENTINEL MASTER lacks a name, an address or a config-epoch");
  }
  const auto current = address.elements.size() == 2
                           ? EndpointFromFields(address.elements[0].text, address.elements[1].text)
                           : std::optional<Endpoint>();
  if (!current) return Fail(ErrorKind::kMalformedReply, "SENTINEL GET-MASTER-ADDR-BY-NAME tells no address");

  SentinelView view;
  view.sentinel_id = sentinel_id;
  view.master_name = Get(fields, "name");
  view.master = *current;
  view.config_epoch = *config_epoch;
  view.direct = true;
  if (*known_as == *current) {  // Else all the rest is about the old master.
    const std::string_view flags = Get(fields, "flags");
    view.master_run_id = Get(fields, "runid");
    view.master_down = HasFlag(flags, "s_down") || HasFlag(flags, "o_down");
    view.failover_in_progress = HasFlag(flags, "failover_in_progress");
  }
  view.quorum = ParseNumber<std::uint32_t>(Get(fields, "quorum")).value_or(0);
  view.other_sentinels = ParseNumber<std::uint32_t>(Get(fields, "num-other-sentinels")).value_or(0);
  // 32 bits: a longer time than any operator means would overflow sums of time points.
  view.down_after =
      std::chrono::milliseconds(ParseNumber<std::uint32_t>(Get(fields, "down-after-milliseconds")).value_or(0));
  return view;
}

std::vector<std::string> ParseSentinelMasterNames(const Reply& masters) {
  std::vector<std::string> names;
  for (const Reply& master : masters.elements) {
    if (const auto name = Get(FlatFields(master), "name"); !name.empty()) names.emplace_back(name);
  }
  return names;
}

std::vector<MonitoredGroup> ParseSentinelGroups(const Reply& masters) {
  std::vector<MonitoredGroup> groups;
  for (const Reply& master : masters.elements) {
    const Fields fields = FlatFields(master);
    const std::string_view name = Get(fields, "name");
    auto address = EndpointFromFields(Get(fields, "ip"), Get(fields, "port"));
    if (!name.empty() && address) groups.push_back({std::string(name), {*std::move(address)}});
  }
  return groups;
}

std::vector<SentinelInstance> ParseSentinelReplicas(const Reply& replicas) {
  std::vector<SentinelInstance> instances;
  for (const Reply& replica : replicas.elements) {
    const Fields fields = FlatFields(replica);
    auto address = EndpointFromFields(Get(fields, "ip"), Get(fields, "port"));
    const std::string_view run_id = Get(fields, "runid");
    if (address && !run_id.empty()) instances.push_back({*std::move(address), std::string(run_id)});
  }
  return instances;
}

std::vector<Endpoint> ParseSentinelPeers(const Reply& sentinels) {
  std::vector<Endpoint> peers;
  for (const Reply& sentinel : sentinels.elements) {
    const Fields fields = FlatFields(sentinel);
    if (auto address = EndpointFromFields(Get(fields, "ip"), Get(fields, "port"))) peers.push_back(*std::move(address));
  }
  return peers;
}

}  // namespace rcb::redis
