#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "consul/result.h"
#include "consul/types.h"

namespace rcb::consul {

// Consul's JSON bodies as values and back. Pure. No input makes these throw or crash: text that is not JSON, is nested
// deeper than 32 levels, or has a field of the wrong type is kMalformedReply with a sentence that names the field.
// Fields that a Consul version may leave out, or send as null, are empty. Bytes in an encoded string that are not UTF-8
// become U+FFFD.

std::string EncodeServiceRegistration(const ServiceRegistration& registration);
std::string EncodeCheckUpdate(CheckStatus status, std::string_view output);
std::string EncodeTxn(const std::vector<TxnOperation>& operations);

/// Takes the body of /v1/agent/self. Needs Config.NodeName and Config.Datacenter.
Result<AgentSelf> DecodeAgentSelf(std::string_view body);
/// Takes the body of /v1/kv/KEY: an array of one pair, its value in base64. Another key than `key` is an error.
Result<KvPair> DecodeKvPair(std::string_view key, std::string_view body);
/// Takes the body of /v1/health/service/NAME. A port that no socket can have is 0: what another registered must not
/// hide the rest.
Result<std::vector<ServiceEntry>> DecodeServiceEntries(std::string_view body);

/// What a transaction answered: `errors` are Consul's reasons, empty when it was committed.
struct TxnOutcome {
  std::uint64_t kv_modify_index = 0;  ///< Of the first KV operation's key; 0 when there is none.
  std::vector<std::string> errors;
};
/// Takes the body of /v1/txn, of HTTP 200 and 409 alike.
Result<TxnOutcome> DecodeTxn(std::string_view body);

/// Standard alphabet with padding (RFC 4648 section 4), as Consul sends KV values.
std::string EncodeBase64(std::string_view bytes);
/// Error kMalformedReply: a foreign character, or a length or padding that no encoder makes.
Result<std::string> DecodeBase64(std::string_view text);

}  // namespace rcb::consul
