#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rcb::integration {

/// A DNS question for the SRV records of `name`, with an EDNS0 size of 4096 bytes.
/// Built by hand on purpose: the observer is a witness and shares no code with what it judges.
std::string BuildSrvQuestion(std::string_view name, std::uint16_t id);

/// The answer as the history writes it: "127.0.0.1:7001" (several sorted, with commas between), "-" for no record,
/// "!truncated", "!rcodeN" or "!malformed". A target is told as its address when it is Consul's `7f000001.addr.` form
/// or has an A record in the packet, else as its name. None: the packet does not answer the question with this id.
std::optional<std::string> ReadSrvAnswer(std::string_view packet, std::uint16_t id);

}  // namespace rcb::integration
