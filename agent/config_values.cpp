#include "agent/config_values.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace rcb::agent {

using Json = ConfigJson;
using std::chrono::milliseconds;

ConfigStatus SetText(std::string& target, const Json& value) {
  if (!value.is_string()) return Refuse("expected a string");
  target = value.get<std::string>();
  return {};
}

ConfigStatus SetFile(const Config& config, std::string& target, const Json& value) {
  if (auto status = SetText(target, value); !status) return status;
  const bool is_name = !target.empty() && target.find('/') == std::string::npos;
  if (is_name && !config.credentials_directory.empty()) target = config.credentials_directory + "/" + target;
  return {};
}

ConfigStatus SetSecret(const Config& config, Secret& target, const Json& value) {
  std::string path;
  if (auto status = SetFile(config, path, value); !status) return status;
  auto secret = Secret::FromFile(path);
  if (!secret) return Refuse(secret.error());
  target = *std::move(secret);
  return {};
}

ConfigStatus SetTexts(std::vector<std::string>& target, const Json& value) {
  if (value.is_string()) {
    target = {value.get<std::string>()};
    return {};
  }
  std::vector<std::string> texts;
  if (!value.is_array()) return Refuse("expected a list of strings");
  for (const Json& element : value) {
    if (!element.is_string()) return Refuse("expected a list of strings");
    texts.push_back(element.get<std::string>());
  }
  target = std::move(texts);
  return {};
}

ConfigStatus SetEndpoints(std::vector<redis::Endpoint>& target, const Json& value, std::uint16_t default_port) {
  std::vector<std::string> texts;
  if (auto status = SetTexts(texts, value); !status) return status;
  std::vector<redis::Endpoint> endpoints;
  for (const std::string& text : texts) {
    auto endpoint = redis::ParseEndpoint(text, default_port);
    if (!endpoint) return Refuse(endpoint.error().message);
    if (std::find(endpoints.begin(), endpoints.end(), *endpoint) != endpoints.end()) {
      return Refuse(text + " is listed twice");
    }
    endpoints.push_back(*endpoint);
  }
  target = std::move(endpoints);
  return {};
}

ConfigStatus SetListen(std::optional<redis::Endpoint>& target, const Json& value) {
  std::string text;
  if (auto status = SetText(text, value); !status) return status;
  if (text == "off") {
    target.reset();
    return {};
  }
  const auto endpoint = redis::ParseEndpoint(text, 0);
  if (!endpoint || endpoint->is_unix() || endpoint->port == 0) {
    return Refuse("\"" + text.substr(0, 80) + "\" is no place to listen at: expected ADDRESS:PORT or off");
  }
  target = *endpoint;
  return {};
}

tl::expected<milliseconds, std::string> ParseDuration(std::string_view text) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, number);
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  const std::int64_t scale = unit == "ms" ? 1 : unit == "s" ? 1000 : unit == "m" ? 60000 : unit == "h" ? 3600000 : 0;
  constexpr std::int64_t kMost = 1000000000;  // Far above every bound, far below an overflow.
  if (code != std::errc{} || number < 0 || number > kMost || scale == 0) {
    return Refuse("\"" + std::string(text.substr(0, 40)) +
                  "\" is no duration: expected a whole number and ms, s, m or h");
  }
  return milliseconds(number * scale);
}

tl::expected<milliseconds, std::string> ReadDuration(const Json& value, milliseconds least, milliseconds most) {
  std::string text;
  if (auto status = SetText(text, value); !status) return Refuse("expected a duration like \"200ms\" or \"10s\"");
  const auto duration = ParseDuration(text);
  if (!duration) return Refuse(duration.error());
  if (*duration < least || *duration > most) {
    return Refuse("\"" + text + "\" is out of range: " + std::to_string(least.count()) + "ms to " +
                  std::to_string(most.count()) + "ms");
  }
  return *duration;
}

bool IsLabel(const std::string& text) {
  return !text.empty() && text.size() <= 63 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
}

ConfigStatus SetLabel(std::string& target, const Json& value) {
  if (auto status = SetText(target, value); !status) return status;
  if (!IsLabel(target)) return Refuse("expected a DNS label: letters, digits and '-', at most 63");
  return {};
}

ConfigStatus SetBool(bool& target, const Json& value) {
  if (value.is_boolean()) {
    target = value.get<bool>();
    return {};
  }
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (text == "true" || text == "1") {
    target = true;
  } else if (text == "false" || text == "0") {
    target = false;
  } else {
    return Refuse("expected true or false");
  }
  return {};
}

ConfigStatus SetAuthority(std::optional<Authority>& target, const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (text == "auto") {
    target.reset();
  } else if (text == ToString(Authority::kSentinel)) {
    target = Authority::kSentinel;
  } else if (text == ToString(Authority::kReplication)) {
    target = Authority::kReplication;
  } else if (text == ToString(Authority::kCluster)) {
    target = Authority::kCluster;
  } else {
    return Refuse("expected \"auto\", \"sentinel\", \"replication\" or \"cluster\"");
  }
  return {};
}

ConfigStatus SetChoice(bool& target, const Json& value, const std::string& first, const std::string& second) {
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (text != first && text != second) return Refuse("expected \"" + first + "\" or \"" + second + "\"");
  target = text == second;
  return {};
}

ConfigStatus SetLogLevel(std::string& target, const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (text != "debug" && text != "info" && text != "warn" && text != "error") {
    return Refuse("expected \"debug\", \"info\", \"warn\" or \"error\"");
  }
  target = text;
  return {};
}

}  // namespace rcb::agent
