#include "tests/integration/role_reply.h"

#include <charconv>

namespace rcb::integration {
namespace {

constexpr int kMaxDepth = 8;
constexpr long kMaxElements = 4096;
constexpr long kMaxStringBytes = 65536;

/// Walks over one value; remembers the first string or error that it meets.
struct Walker {
  std::string_view bytes;
  std::size_t at = 0;
  RoleReply::State state = RoleReply::State::kComplete;
  std::string first;
  bool is_error = false;

  bool Fail(RoleReply::State why) {
    state = why;
    return false;
  }

  bool Walk(int depth) {
    if (depth > kMaxDepth) return Fail(RoleReply::State::kMalformed);
    const std::size_t end = bytes.find("\r\n", at);
    if (end == std::string_view::npos) {
      return Fail(bytes.size() - at > kMaxStringBytes ? RoleReply::State::kMalformed : RoleReply::State::kIncomplete);
    }
    const std::string_view line = bytes.substr(at, end - at);
    if (line.empty()) return Fail(RoleReply::State::kMalformed);
    at = end + 2;
    if (line[0] == '-' || line[0] == '+') {
      if (first.empty()) {
        first = line.substr(1, line.find(' ') - 1);
        is_error = line[0] == '-';
      }
      return true;
    }
    long number = 0;
    const auto [parsed, error] = std::from_chars(line.data() + 1, line.data() + line.size(), number);
    if (error != std::errc() || parsed != line.data() + line.size()) return Fail(RoleReply::State::kMalformed);
    switch (line[0]) {
      case ':': return true;
      case '$': return WalkString(number);
      case '*': break;
      default: return Fail(RoleReply::State::kMalformed);
    }
    if (number > kMaxElements) return Fail(RoleReply::State::kMalformed);
    for (long i = 0; i < number; ++i) {
      if (!Walk(depth + 1)) return false;
    }
    return true;
  }

  bool WalkString(long length) {
    if (length < 0) return true;
    if (length > kMaxStringBytes) return Fail(RoleReply::State::kMalformed);
    const auto size = static_cast<std::size_t>(length);
    if (bytes.size() - at < size + 2) return Fail(RoleReply::State::kIncomplete);
    if (first.empty()) first = bytes.substr(at, size);
    at += size + 2;
    return true;
  }
};

}  // namespace

RoleReply ReadRoleReply(std::string_view bytes) {
  if (bytes.empty()) return {};
  Walker walker;
  walker.bytes = bytes;
  if (!walker.Walk(0)) return {walker.state, 0, ""};
  if (walker.is_error) {
    return {RoleReply::State::kComplete, walker.at,
            walker.first == "LOADING" ? std::string("loading") : "error:" + walker.first};
  }
  if (walker.first != "master" && walker.first != "slave" && walker.first != "sentinel") {
    return {RoleReply::State::kMalformed, 0, ""};
  }
  return {RoleReply::State::kComplete, walker.at, walker.first};
}

}  // namespace rcb::integration
