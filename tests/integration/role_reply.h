#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rcb::integration {

/// What the bytes received so far say in answer to ROLE.
struct RoleReply {
  enum class State { kIncomplete, kComplete, kMalformed };
  State state = State::kIncomplete;
  std::size_t length = 0;  ///< Bytes that the reply took, when complete.
  /// As the history writes it: "master", "slave", "sentinel", "loading", or "error:NOAUTH" with the error's first word.
  std::string role;
};

/// Reads one RESP2 reply from the start of `bytes`, by hand: the observer shares no code with what it judges.
/// Malformed: not RESP, nested deeper than 8, or no role in it.
RoleReply ReadRoleReply(std::string_view bytes);

}  // namespace rcb::integration
