#include "agent/status.h"

#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

namespace rcb::agent {
namespace {

using Json = nlohmann::ordered_json;

/// More than any host has; what a foreign process sends is bounded as well.
constexpr std::size_t kMaxElements = 4096;

// The fields of each part, named once for both directions. `io` is a Writer or a Reader.

template <typename Io, typename Part>
void Fields(Io& io, Part& part) requires std::is_same_v<std::remove_const_t<Part>, ReplicaStatus> {
  io("address", part.address);
  io("state", part.state);
  io("lag_bytes", part.lag_bytes);
  io("lag_seconds", part.lag_seconds);
}

template <typename Io, typename Part>
void Fields(Io& io, Part& part) requires std::is_same_v<std::remove_const_t<Part>, InstanceStatus> {
  io("endpoint", part.endpoint);
  io("address", part.address);
  io("service_id", part.service_id);
  io("health", part.health);
  io("health_detail", part.health_detail);
  io("health_since", part.health_since);
  io("role", part.role);
  io("role_since", part.role_since);
  io("loading", part.loading);
  io("run_id", part.run_id);
  io("version", part.version);
  io("upstream", part.upstream);
  io("link", part.link);
  io("lag_bytes", part.lag_bytes);
  io("lag_milliseconds", part.lag_milliseconds);
  io("replicas", part.replicas);
  io("cluster_state", part.cluster_state);
  io("shard", part.shard);
  io("slots", part.slots);
  io("cluster_epoch", part.cluster_epoch);
  io("tag", part.tag);
  io("check", part.check);
  io("reason", part.reason);
  io("published_since", part.published_since);
  io("taking", part.taking);
  io("holds_claim", part.holds_claim);
}

template <typename Io, typename Part>
void Fields(Io& io, Part& part) requires std::is_same_v<std::remove_const_t<Part>, SentinelStatus> {
  io("endpoint", part.endpoint);
  io("configured", part.configured);
  io("connected", part.connected);
  io("trouble", part.trouble);
  io("master", part.master);
  io("master_run_id", part.master_run_id);
  io("config_epoch", part.config_epoch);
  io("quorum", part.quorum);
  io("other_sentinels", part.other_sentinels);
  io("master_down", part.master_down);
  io("failing_over", part.failing_over);
  io("chosen", part.chosen);
  io("heard", part.heard);
}

template <typename Io, typename Part>
void Fields(Io& io, Part& part) requires std::is_same_v<std::remove_const_t<Part>, CatalogStatus> {
  io("service_id", part.service_id);
  io("service", part.service);
  io("node", part.node);
  io("address", part.address);
  io("upstream", part.upstream);
  io("shard", part.shard);
  io("tags", part.tags);
  io("check", part.check);
  io("output", part.output);
  io("served", part.served);
}

template <typename Io, typename Part>
void Fields(Io& io, Part& part) requires std::is_same_v<std::remove_const_t<Part>, TroubleStatus> {
  io("subject", part.subject);
  io("text", part.text);
}

template <typename Io, typename Part>
void Fields(Io& io, Part& part) requires std::is_same_v<std::remove_const_t<Part>, Change> {
  io("at", part.at);
  io("subject", part.subject);
  io("text", part.text);
}

template <typename Io, typename Part>
void GroupFields(Io& io, Part& part) {
  io("service", part.service);
  io("master_service", part.master_service);
  io("replica_service", part.replica_service);
  io("master_name", part.master_name);
  io("authority", part.authority);
  io("unready", part.unready);
  io("claim_read", part.claim_read);
  io("claim", part.claim);
  io("claim_trouble", part.claim_trouble);
  io("instances", part.instances);
  io("sentinels", part.sentinels);
  io("catalog_read", part.catalog_read);
  io("catalog", part.catalog);
}

template <typename Io, typename Part>
void Fields(Io& io, Part& part) requires std::is_same_v<std::remove_const_t<Part>, GroupStatus> {
  GroupFields(io, part);
}

template <typename Io, typename Part>
void Fields(Io& io, Part& part) requires std::is_same_v<std::remove_const_t<Part>, Status> {
  io("at", part.at);
  io("version", part.version);
  io("started", part.started);
  io("consul", part.consul);
  io("consul_version", part.consul_version);
  io("node", part.node);
  io("datacenter", part.datacenter);
  GroupFields(io, part);
  io("groups", part.groups);
  io("troubles", part.troubles);
  io("changes", part.changes);
}

class Writer {
 public:
  template <typename Value>
  void operator()(const char* key, const Value& value) {
    object_[key] = Encode(value);
  }
  Json Take() { return std::move(object_); }

 private:
  static Json Encode(const std::string& text) { return text; }
  static Json Encode(bool flag) { return flag; }
  static Json Encode(std::uint64_t number) { return number; }
  static Json Encode(std::int64_t number) { return number; }
  static Json Encode(UtcTime time) { return FormatUtc(time); }
  static Json Encode(const Claim& claim) { return Json::parse(EncodeClaim(claim)); }
  template <typename Value>
  static Json Encode(const std::optional<Value>& value) {
    return value ? Encode(*value) : Json(nullptr);
  }
  template <typename Value>
  static Json Encode(const std::vector<Value>& values) {
    Json list = Json::array();
    for (const Value& value : values) list.push_back(Encode(value));
    return list;
  }
  template <typename Part>
  static Json Encode(const Part& part) requires std::is_class_v<Part> {
    Writer writer;
    Fields(writer, part);
    return writer.Take();
  }

  Json object_ = Json::object();
};

class Reader {
 public:
  explicit Reader(const Json& object) : object_(object) {}

  template <typename Value>
  void operator()(const char* key, Value& value) {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null() || !fault_.empty()) return;
    if (!Decode(*found, value) && fault_.empty()) fault_ = key;
  }
  /// The first field that was not what it should be; empty: all were.
  const std::string& fault() const { return fault_; }

 private:
  static bool Decode(const Json& json, std::string& text) {
    if (json.is_string()) text = json.get<std::string>();
    return json.is_string();
  }
  static bool Decode(const Json& json, bool& flag) {
    if (json.is_boolean()) flag = json.get<bool>();
    return json.is_boolean();
  }
  static bool Decode(const Json& json, std::uint64_t& number) {
    if (json.is_number_unsigned()) number = json.get<std::uint64_t>();
    return json.is_number_unsigned();
  }
  static bool Decode(const Json& json, std::int64_t& number) {
    if (json.is_number_integer()) number = json.get<std::int64_t>();
    return json.is_number_integer();
  }
  static bool Decode(const Json& json, UtcTime& time) {
    const auto parsed = json.is_string() ? ParseUtc(json.get<std::string>()) : std::nullopt;
    if (parsed) time = *parsed;
    return parsed.has_value();
  }
  static bool Decode(const Json& json, Claim& claim) {
    auto decoded = DecodeClaim(json.dump(-1, ' ', false, Json::error_handler_t::replace));
    if (!decoded) return false;
    claim = *std::move(decoded);
    return true;
  }
  template <typename Value>
  static bool Decode(const Json& json, std::optional<Value>& value) {
    return Decode(json, value.emplace());
  }
  template <typename Value>
  static bool Decode(const Json& json, std::vector<Value>& values) {
    if (!json.is_array() || json.size() > kMaxElements) return false;
    for (const Json& element : json) {
      if (!Decode(element, values.emplace_back())) return false;
    }
    return true;
  }
  template <typename Part>
  static bool Decode(const Json& json, Part& part) requires std::is_class_v<Part> {
    if (!json.is_object()) return false;
    Reader reader(json);
    Fields(reader, part);
    return reader.fault().empty();
  }

  const Json& object_;
  std::string fault_;
};

std::string Padded(long long number, std::size_t width) {
  std::string text = std::to_string(number);
  return text.size() < width ? std::string(width - text.size(), '0') + text : text;
}

}  // namespace

std::string FormatUtc(UtcTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  return Padded(static_cast<int>(date.year()), 4) + "-" + Padded(static_cast<unsigned>(date.month()), 2) + "-" +
         Padded(static_cast<unsigned>(date.day()), 2) + "T" + Padded(clock.hours().count(), 2) + ":" +
         Padded(clock.minutes().count(), 2) + ":" + Padded(clock.seconds().count(), 2) + "." +
         Padded(clock.subseconds().count(), 3) + "Z";
}

std::optional<UtcTime> ParseUtc(std::string_view text) {
  constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:dd.dddZ";
  if (text.size() != kForm.size()) return std::nullopt;
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    const bool fits = kForm[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == kForm[i];
    if (!fits) return std::nullopt;
  }
  const auto at = [&text](std::size_t from, std::size_t count) {
    int number = 0;
    for (const char digit : text.substr(from, count)) number = number * 10 + (digit - '0');
    return number;
  };
  const std::chrono::year_month_day date(std::chrono::year(at(0, 4)),
                                         std::chrono::month(static_cast<unsigned>(at(5, 2))),
                                         std::chrono::day(static_cast<unsigned>(at(8, 2))));
  if (!date.ok() || at(11, 2) > 23 || at(14, 2) > 59 || at(17, 2) > 59) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(at(11, 2)) + std::chrono::minutes(at(14, 2)) +
         std::chrono::seconds(at(17, 2)) + std::chrono::milliseconds(at(20, 3));
}

std::span<const GroupStatus> GroupsOf(const Status& status) {
  if (status.groups.empty()) return {static_cast<const GroupStatus*>(&status), 1};
  return status.groups;
}

std::string EncodeStatus(const Status& status) {
  Writer writer;
  Fields(writer, status);
  return writer.Take().dump(2, ' ', false, Json::error_handler_t::replace);
}

tl::expected<Status, std::string> DecodeStatus(std::string_view text) {
  const Json object = Json::parse(text, nullptr, false);
  if (!object.is_object() || !object.contains("instances")) {
    return tl::unexpected<std::string>("what answers is no redis-consul-agent");
  }
  Status status;
  Reader reader(object);
  Fields(reader, status);
  if (!reader.fault().empty()) {
    return tl::unexpected("the field \"" + reader.fault() + "\" of the answer is not understood: another version?");
  }
  return status;
}

}  // namespace rcb::agent
