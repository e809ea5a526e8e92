#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "agent/config.h"

namespace rcb::agent {

// What may stand behind a key of the settings: each Set function takes a JSON value and leaves what it means in its
// target. A flag or a variable comes as a string. The error is a sentence that tells what is accepted, without the
// key's name; then the target may hold anything.

using ConfigJson = nlohmann::ordered_json;
using ConfigStatus = tl::expected<void, std::string>;

inline tl::unexpected<std::string> Refuse(std::string sentence) {
  return tl::unexpected<std::string>(std::move(sentence));
}

ConfigStatus SetText(std::string& target, const ConfigJson& value);
/// One string stands for a list of it.
ConfigStatus SetTexts(std::vector<std::string>& target, const ConfigJson& value);
ConfigStatus SetBool(bool& target, const ConfigJson& value);
/// One of two words; `second` is true.
ConfigStatus SetChoice(bool& target, const ConfigJson& value, const std::string& first, const std::string& second);

/// A file. One without a slash is a credential of the systemd unit, where there are any.
ConfigStatus SetFile(const Config& config, std::string& target, const ConfigJson& value);
/// A file whose content is the secret.
ConfigStatus SetSecret(const Config& config, Secret& target, const ConfigJson& value);

/// DNS labels are what a service and a tag become.
bool IsLabel(const std::string& text);
ConfigStatus SetLabel(std::string& target, const ConfigJson& value);

/// Servers, none of them twice.
ConfigStatus SetEndpoints(std::vector<redis::Endpoint>& target, const ConfigJson& value, std::uint16_t default_port);
/// Where the status server listens: ADDRESS:PORT or off.
ConfigStatus SetListen(std::optional<redis::Endpoint>& target, const ConfigJson& value);

ConfigStatus SetAuthority(std::optional<Authority>& target, const ConfigJson& value);
ConfigStatus SetLogLevel(std::string& target, const ConfigJson& value);

/// Takes "200ms", "10s", "5m" or "24h". The error is a sentence.
tl::expected<std::chrono::milliseconds, std::string> ParseDuration(std::string_view text);
/// A duration between two bounds, whose reason the caller knows.
tl::expected<std::chrono::milliseconds, std::string> ReadDuration(const ConfigJson& value,
                                                                  std::chrono::milliseconds least,
                                                                  std::chrono::milliseconds most);
/// The same into a target of any unit.
template <typename Duration>
ConfigStatus SetDuration(Duration& target, const ConfigJson& value, std::chrono::milliseconds least,
                         std::chrono::milliseconds most) {
  const auto duration = ReadDuration(value, least, most);
  if (!duration) return Refuse(duration.error());
  target = std::chrono::duration_cast<Duration>(*duration);
  return {};
}

}  // namespace rcb::agent
