#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace rcb::redis {

/// A whole decimal number in `text`; nothing when it is empty, has other characters, or does not fit.
template <std::integral T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// The fields of `text` between separators, empty ones included. At most `limit` of them: the last one keeps the rest.
inline std::vector<std::string_view> SplitFields(std::string_view text, char separator, std::size_t limit) {
  std::vector<std::string_view> fields;
  while (fields.size() + 1 < limit) {
    const std::size_t at = text.find(separator);
    if (at == std::string_view::npos) break;
    fields.push_back(text.substr(0, at));
    text.remove_prefix(at + 1);
  }
  fields.push_back(text);
  return fields;
}

/// Calls `take(line)` for each line, CRLF or LF, that is not empty. Stops at the first one that is refused;
/// false when there was one.
template <typename Take>
bool ForEachLine(std::string_view body, Take take) {
  while (!body.empty()) {
    const std::size_t end = body.find('\n');
    std::string_view line = body.substr(0, end);
    body.remove_prefix(end == std::string_view::npos ? body.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !take(line)) return false;
  }
  return true;
}

}  // namespace rcb::redis
