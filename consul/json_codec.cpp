#include "consul/json_codec.h"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>

namespace rcb::consul {
namespace {

using Json = nlohmann::json;

/// Consul's own replies need six levels (health: array, entry, service, proxy, upstreams, their config).
constexpr int kMaxDepth = 32;
/// No Redis service has as many instances; with it a hostile body costs a bounded number of allocations.
constexpr std::size_t kMaxEntries = 10000;
/// Reasons kept of a rolled back transaction: one per operation at most.
constexpr std::size_t kMaxTxnErrors = 128;

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Result<Json> Parse(std::string_view text) {
  bool too_deep = false;
  const auto bound_depth = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  Json json = Json::parse(text, bound_depth, /*allow_exceptions=*/false);
  if (too_deep) return Fail(ErrorKind::kMalformedReply, "the reply is JSON nested too deep");
  if (json.is_discarded()) return Fail(ErrorKind::kMalformedReply, "the reply is not JSON, or was cut short");
  return json;
}

tl::unexpected<Error> WrongType(const std::string& path, const char* expected) {
  return Fail(ErrorKind::kMalformedReply, "the reply's " + path + " is not " + expected);
}

/// Reads the fields of one object. The first field of a wrong type is kept as the error and the others read on, so that
/// a caller checks once.
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object_.is_object()) Note(WrongType(path_, "an object"));
  }

  /// Absent and null are nullptr.
  const Json* Find(const char* field) {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(field);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  std::string String(const char* field) {
    const Json* value = Find(field);
    if (value == nullptr) return {};
    if (!value->is_string()) {
      Note(WrongType(path_ + "." + field, "a string"));
      return {};
    }
    return value->get_ref<const std::string&>();
  }
  std::string RequiredString(const char* field) {
    std::string value = String(field);
    if (value.empty() && !error_) Note(Fail(ErrorKind::kMalformedReply, "the reply's " + path_ + " has no " + field));
    return value;
  }
  bool Bool(const char* field) {
    const Json* value = Find(field);
    if (value == nullptr) return false;
    if (!value->is_boolean()) {
      Note(WrongType(path_ + "." + field, "true or false"));
      return false;
    }
    return value->get<bool>();
  }
  /// An index, which has 64 bits in Consul.
  std::uint64_t Unsigned(const char* field) {
    const Json* value = Find(field);
    if (value == nullptr) return 0;
    if (!value->is_number_unsigned()) {
      Note(WrongType(path_ + "." + field, "an unsigned number of 64 bits"));
      return 0;
    }
    return value->get<std::uint64_t>();
  }
  std::uint16_t Port(const char* field) {
    const Json* value = Find(field);
    if (value == nullptr) return 0;
    if (!value->is_number_integer()) {
      Note(WrongType(path_ + "." + field, "a whole number"));
      return 0;
    }
    const bool fits =
        value->is_number_unsigned() && value->get<std::uint64_t>() <= std::numeric_limits<std::uint16_t>::max();
    return fits ? value->get<std::uint16_t>() : std::uint16_t{0};
  }
  std::vector<std::string> Strings(const char* field) {
    std::vector<std::string> values;
    const Json* array = Find(field);
    if (array == nullptr) return values;
    if (!array->is_array()) {
      Note(WrongType(path_ + "." + field, "an array"));
      return values;
    }
    for (const Json& value : *array) {
      if (!value.is_string()) {
        Note(WrongType(path_ + "." + field, "an array of strings"));
        break;
      }
      values.push_back(value.get_ref<const std::string&>());
    }
    return values;
  }
  std::map<std::string, std::string> StringMap(const char* field) {
    std::map<std::string, std::string> values;
    const Json* object = Find(field);
    if (object == nullptr) return values;
    if (!object->is_object()) {
      Note(WrongType(path_ + "." + field, "an object"));
      return values;
    }
    for (const auto& [key, value] : object->get_ref<const Json::object_t&>()) {
      if (!value.is_string()) {
        Note(WrongType(path_ + "." + field, "an object of strings"));
        break;
      }
      values.emplace(key, value.get_ref<const std::string&>());
    }
    return values;
  }

  void Note(tl::unexpected<Error> error) {
    if (!error_) error_ = std::move(error);
  }
  const std::optional<tl::unexpected<Error>>& error() const { return error_; }

 private:
  const Json& object_;
  std::string path_;
  std::optional<tl::unexpected<Error>> error_;
};

Result<CatalogCheck> DecodeCheck(const Json& json, const std::string& path) {
  ObjectReader reader(json, path);
  CatalogCheck check{.id = reader.RequiredString("CheckID"),
                     .name = reader.String("Name"),
                     .status = reader.RequiredString("Status"),
                     .notes = reader.String("Notes"),
                     .output = reader.String("Output"),
                     .service_id = reader.String("ServiceID"),
                     .modify_index = reader.Unsigned("ModifyIndex")};
  if (reader.error()) return *reader.error();
  return check;
}

Result<ServiceEntry> DecodeEntry(const Json& json, const std::string& path) {
  static const Json kAbsent;
  ObjectReader reader(json, path);
  const Json* node = reader.Find("Node");
  const Json* service = reader.Find("Service");
  const Json* checks = reader.Find("Checks");
  if (checks != nullptr && !checks->is_array()) reader.Note(WrongType(path + ".Checks", "an array"));
  if (reader.error()) return *reader.error();

  ObjectReader node_reader(node != nullptr ? *node : kAbsent, path + ".Node");
  ObjectReader service_reader(service != nullptr ? *service : kAbsent, path + ".Service");
  ServiceEntry entry{.node = node_reader.RequiredString("Node"),
                     .node_address = node_reader.String("Address"),
                     .id = service_reader.RequiredString("ID"),
                     .name = service_reader.RequiredString("Service"),
                     .tags = service_reader.Strings("Tags"),
                     .address = service_reader.String("Address"),
                     .port = service_reader.Port("Port"),
                     .meta = service_reader.StringMap("Meta"),
                     .enable_tag_override = service_reader.Bool("EnableTagOverride"),
                     .modify_index = service_reader.Unsigned("ModifyIndex"),
                     .checks = {},
                     .raw_service = {}};
  if (node_reader.error()) return *node_reader.error();
  if (service_reader.error()) return *service_reader.error();
  entry.raw_service = Dump(*service);

  if (checks != nullptr) {
    for (const Json& check_json : *checks) {
      auto check = DecodeCheck(check_json, path + ".Checks[" + std::to_string(entry.checks.size()) + "]");
      if (!check) return tl::unexpected(check.error());
      entry.checks.push_back(std::move(*check));
    }
  }
  return entry;
}

/// Go's duration syntax, which all of Consul's settings take (time.ParseDuration).
std::string GoDuration(std::chrono::milliseconds duration) { return std::to_string(duration.count()) + "ms"; }

Json EncodeOperation(const TxnKvCas& operation) {
  return {{"KV",
           {{"Verb", "cas"},
            {"Key", operation.key},
            {"Value", EncodeBase64(operation.value)},
            {"Index", operation.index}}}};
}

Json EncodeOperation(const TxnKvCheckIndex& operation) {
  return {{"KV", {{"Verb", "check-index"}, {"Key", operation.key}, {"Index", operation.index}}}};
}

Json EncodeOperation(const TxnServiceDelete& operation) {
  return {{"Service",
           {{"Verb", "delete"},
            {"Node", operation.node},
            {"Service", {{"ID", operation.service_id}, {"Service", operation.service_name}}}}}};
}

Json EncodeOperation(const TxnServiceSet& operation) {
  Json service = Json::parse(operation.entry.raw_service, nullptr, /*allow_exceptions=*/false);
  if (!service.is_object()) service = Json::object();  // An entry that was not read from Consul has only its fields.
  service["ID"] = operation.entry.id;
  service["Service"] = operation.entry.name;
  service["Address"] = operation.entry.address;
  service["Port"] = operation.entry.port;
  service["Tags"] = operation.tags;
  service["Meta"] = operation.meta;
  service["ModifyIndex"] = operation.index;
  return {{"Service",
           {{"Verb", operation.index == 0 ? "set" : "cas"},
            {"Node", operation.entry.node},
            {"Service", std::move(service)}}}};
}

Json EncodeOperation(const TxnCheckSet& operation) {
  const CatalogCheck& check = operation.check;
  // No ServiceTags: Consul fills them in from the service as this transaction leaves it (agent/consul/state/catalog.go
  // ensureCheckTxn), provided that the check comes after the service. Seen on 1.8.7.
  Json set{{"Node", operation.node},
           {"CheckID", check.id},
           {"Name", check.name},
           {"Status", check.status},
           {"Notes", check.notes},
           {"Output", check.output},
           {"ServiceID", check.service_id},
           {"ServiceName", operation.service_name},
           {"Type", "ttl"}};  // 1.8.7 drops the type from a transaction; newer ones keep it.
  if (operation.index != 0) set["ModifyIndex"] = operation.index;
  return {{"Check", {{"Verb", operation.index != 0 ? "cas" : "set"}, {"Check", std::move(set)}}}};
}

}  // namespace

std::string EncodeServiceRegistration(const ServiceRegistration& registration) {
  const TtlCheck& ttl = registration.check;
  Json check = {{"CheckID", ttl.id},
                {"Name", ttl.name},
                {"Notes", ttl.notes},
                {"TTL", GoDuration(ttl.ttl)},
                {"Status", ToString(ttl.status)}};
  if (ttl.deregister_critical_after.count() > 0) {
    check["DeregisterCriticalServiceAfter"] = GoDuration(ttl.deregister_critical_after);
  }
  return Dump({{"ID", registration.id},
               {"Name", registration.name},
               {"Tags", registration.tags},
               {"Address", registration.address},
               {"Port", registration.port},
               {"Meta", registration.meta},
               {"EnableTagOverride", registration.enable_tag_override},
               {"Check", std::move(check)}});
}

std::string EncodeCheckUpdate(CheckStatus status, std::string_view output) {
  return Dump({{"Status", ToString(status)}, {"Output", output}});
}

std::string EncodeTxn(const std::vector<TxnOperation>& operations) {
  Json body = Json::array();
  for (const TxnOperation& operation : operations) {
    body.push_back(std::visit([](const auto& value) { return EncodeOperation(value); }, operation));
  }
  return Dump(body);
}

Result<AgentSelf> DecodeAgentSelf(std::string_view body) {
  const auto json = Parse(body);
  if (!json) return tl::unexpected(json.error());
  static const Json kAbsent;
  ObjectReader reader(*json, "body");
  const Json* config = reader.Find("Config");
  ObjectReader config_reader(config != nullptr ? *config : kAbsent, "Config");
  AgentSelf self{.node = config_reader.RequiredString("NodeName"),
                 .datacenter = config_reader.RequiredString("Datacenter"),
                 .version = config_reader.String("Version")};
  if (reader.error()) return *reader.error();
  if (config_reader.error()) return *config_reader.error();
  return self;
}

Result<KvPair> DecodeKvPair(std::string_view key, std::string_view body) {
  const auto json = Parse(body);
  if (!json) return tl::unexpected(json.error());
  if (!json->is_array() || json->size() != 1) return WrongType("body", "an array of one pair");
  ObjectReader reader(json->front(), "pair");
  KvPair pair{.key = reader.RequiredString("Key"), .value = {}, .modify_index = reader.Unsigned("ModifyIndex")};
  const std::string encoded = reader.String("Value");
  if (reader.error()) return *reader.error();
  if (pair.key != key) return Fail(ErrorKind::kMalformedReply, "the reply is about another key");
  if (pair.modify_index == 0) return WrongType("pair.ModifyIndex", "above 0");
  auto value = DecodeBase64(encoded);
  if (!value) return tl::unexpected(value.error());
  pair.value = std::move(*value);
  return pair;
}

Result<std::vector<ServiceEntry>> DecodeServiceEntries(std::string_view body) {
  const auto json = Parse(body);
  if (!json) return tl::unexpected(json.error());
  if (!json->is_array()) return WrongType("body", "an array");
  if (json->size() > kMaxEntries) return WrongType("body", "of a size to be believed");
  std::vector<ServiceEntry> entries;
  entries.reserve(json->size());
  for (const Json& entry_json : *json) {
    auto entry = DecodeEntry(entry_json, "entry " + std::to_string(entries.size()));
    if (!entry) return tl::unexpected(entry.error());
    entries.push_back(std::move(*entry));
  }
  return entries;
}

Result<TxnOutcome> DecodeTxn(std::string_view body) {
  const auto json = Parse(body);
  if (!json) return tl::unexpected(json.error());
  ObjectReader reader(*json, "body");
  const Json* results = reader.Find("Results");
  const Json* errors = reader.Find("Errors");
  if (results != nullptr && !results->is_array()) reader.Note(WrongType("Results", "an array"));
  if (errors != nullptr && !errors->is_array()) reader.Note(WrongType("Errors", "an array"));
  if (reader.error()) return *reader.error();

  TxnOutcome outcome;
  if (errors != nullptr) {
    for (const Json& error : *errors) {
      ObjectReader error_reader(error, "Errors");
      outcome.errors.push_back(error_reader.RequiredString("What"));
      if (error_reader.error()) return *error_reader.error();
      if (outcome.errors.size() == kMaxTxnErrors) break;
    }
  }
  if (results != nullptr) {
    for (const Json& result : *results) {
      ObjectReader result_reader(result, "Results");
      const Json* pair = result_reader.Find("KV");
      if (result_reader.error()) return *result_reader.error();
      if (pair == nullptr) continue;
      ObjectReader pair_reader(*pair, "Results.KV");
      outcome.kv_modify_index = pair_reader.Unsigned("ModifyIndex");
      if (pair_reader.error()) return *pair_reader.error();
      break;
    }
  }
  return outcome;
}

namespace {
constexpr std::string_view kBase64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}  // namespace

std::string EncodeBase64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view group = bytes.substr(at, 3);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8U | (i < group.size() ? static_cast<unsigned char>(group[i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      text += i <= group.size() ? kBase64Alphabet[bits >> (18 - 6 * i) & 63U] : '=';
    }
  }
  return text;
}

Result<std::string> DecodeBase64(std::string_view text) {
  const auto malformed = Fail(ErrorKind::kMalformedReply, "the reply holds a value that is not base64");
  if (text.size() % 4 != 0) return malformed;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t at = 0; at < text.size(); at += 4) {
    std::string_view group = text.substr(at, 4);
    if (at + 4 == text.size()) {
      if (group.ends_with("==")) {
        group.remove_suffix(2);
      } else if (group.ends_with('=')) {
        group.remove_suffix(1);
      }
    }
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t digit = i < group.size() ? kBase64Alphabet.find(group[i]) : 0;
      if (digit == std::string_view::npos) return malformed;
      bits = bits << 6U | static_cast<std::uint32_t>(digit);
    }
    for (std::size_t i = 0; i + 1 < group.size(); ++i) bytes += static_cast<char>(bits >> (16 - 8 * i) & 255U);
  }
  return bytes;
}

}  // namespace rcb::consul
