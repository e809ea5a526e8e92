#include "consul/requests.h"

#include <array>
#include <string_view>

#include "consul/json_codec.h"

namespace rcb::consul {
namespace {

/// Characters of Consul's own words that go into a message.
constexpr std::size_t kMaxQuotedBytes = 200;
/// Above the longest time that Consul's servers hold a call while they elect a leader (rpc_hold_timeout, 7 s), so that
/// the answer is Consul's "No cluster leader" and not silence, which leaves the outcome of a write open.
constexpr std::chrono::milliseconds kTimeout{10000};
/// One that was passed on to a leader that died a moment ago is never answered. What became of it the next one finds
/// out: it compares what it rests on.
constexpr std::chrono::milliseconds kTransactionTimeout{1500};
/// Given on top of a blocking query's wait and its jitter for the way there and back.
constexpr std::chrono::milliseconds kBlockingGrace{5000};

/// RFC 3986: everything but unreserved characters is encoded. `keep_slash` for KV keys, whose slashes are path
/// separators in Consul's API.
std::string PercentEncode(std::string_view text, bool keep_slash = false) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  static constexpr std::string_view kUnreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (kUnreserved.find(c) != std::string_view::npos || (keep_slash && c == '/')) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += '%';
      encoded += kDigits[byte >> 4U];
      encoded += kDigits[byte & 15U];
    }
  }
  return encoded;
}

HttpRequest Get(std::string path) {
  return {.method = "GET", .path = std::move(path), .body = {}, .timeout = kTimeout};
}

HttpRequest Put(std::string path, std::string body) {
  return {.method = "PUT", .path = std::move(path), .body = std::move(body), .timeout = kTimeout};
}

/// `?leader` asks for Consul's default consistency by name: without it an agent configured with discovery_max_stale
/// answers reads of health from any server, however old (agent/http.go parseConsistency).
HttpRequest Read(std::string path, std::uint64_t index, std::chrono::milliseconds wait) {
  HttpRequest request = Get(std::move(path) + "?leader");
  if (index != 0) {
    request.path += "&index=" + std::to_string(index) + "&wait=" + std::to_string(wait.count()) + "ms";
    request.timeout = wait + wait / 16 + kBlockingGrace;
    request.waits = true;
  }
  request.urgent = index == 0;
  return request;
}

/// Foreign text as a bounded part of one line.
std::string Quote(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  text.remove_prefix(first);
  text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  std::string quoted;
  for (const char c : text.substr(0, kMaxQuotedBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    quoted += byte < 0x20 ? ' ' : byte < 0x7f ? c : '?';
  }
  if (text.size() > kMaxQuotedBytes) quoted += "...";
  return quoted;
}

template <std::size_t N>
bool ContainsAny(std::string_view text, const std::array<std::string_view, N>& parts) {
  for (const std::string_view part : parts) {
    if (text.find(part) != std::string_view::npos) return true;
  }
  return false;
}

/// What Consul says in a 500 while its servers cannot answer (agent/structs/errors.go, agent/consul/rpc.go, raft's own
/// "leadership lost while committing log").
constexpr std::array<std::string_view, 8> kNoLeaderWords = {
    "No cluster leader", "No path to datacenter",          "rpc error",
    "leadership lost",   "No known Consul servers",        "Not ready to serve consistent reads",
    "is not the leader", "leadership transfer in progress"};

/// What an agent says of a check or service that it does not know: 500 on 1.8.7 (the first without ACLs, the others
/// with), 404 on newer ones.
constexpr std::array<std::string_view, 3> kUnknownWords = {"does not have associated TTL", "Unknown check",
                                                           "Unknown service"};

tl::unexpected<Error> HttpError(const HttpResponse& response) {
  const std::string_view body = response.body;
  const std::string words = Quote(body);
  const std::string said = "HTTP " + std::to_string(response.status) + (words.empty() ? "" : ": " + words);
  switch (response.status) {
    case 403:
      return Fail(ErrorKind::kDenied, words.find("ACL not found") != std::string::npos
                                          ? "Consul does not know this token (" + said + ")"
                                          : "the token lacks a rule for this (" + said + ")");
    case 404: return Fail(ErrorKind::kNotFound, "Consul does not have it (" + said + ")");
    case 429:  // So do newer ones; 1.8.7 just closes the connection.
      return Fail(ErrorKind::kServer,
                  "Consul takes no more connections of this host: raise limits.http_max_conns_per_client of its agent, "
                  "or watch fewer groups (" +
                      said + ")");
    case 500:
      if (ContainsAny(body, kUnknownWords)) {
        return Fail(ErrorKind::kNotFound, "the Consul agent does not know it (" + said + ")");
      }
      if (ContainsAny(body, kNoLeaderWords)) {
        return Fail(ErrorKind::kNoLeader, "Consul's servers cannot answer now (" + said + ")");
      }
      break;
    default: break;
  }
  if (response.status >= 300 && response.status < 400) {
    return Fail(ErrorKind::kServer,
                "a redirect came, which Consul's API does not send here: is the URL right? (" + said + ")");
  }
  return Fail(ErrorKind::kServer, "Consul answered " + said);
}

/// For the reads whose emptiness must not be believed without a leader.
Result<void> RequireLeader(const HttpResponse& response) {
  if (response.known_leader) return {};
  return Fail(ErrorKind::kNoLeader, "Consul's servers have no leader: the answer may be stale");
}

}  // namespace

HttpRequest RegisterServiceRequest(const ServiceRegistration& registration) {
  HttpRequest request =
      Put("/v1/agent/service/register?replace-existing-checks=true", EncodeServiceRegistration(registration));
  request.yields = true;  // A heartbeat that waited for a thousand of these would come too late.
  return request;
}

HttpRequest DeregisterServiceRequest(const std::string& service_id) {
  return Put("/v1/agent/service/deregister/" + PercentEncode(service_id), {});
}

HttpRequest UpdateTtlRequest(const std::string& check_id, CheckStatus status, const std::string& output) {
  return Put("/v1/agent/check/update/" + PercentEncode(check_id), EncodeCheckUpdate(status, output));
}

HttpRequest AgentSelfRequest() { return Get("/v1/agent/self"); }

HttpRequest KvGetRequest(const std::string& key, std::uint64_t index, std::chrono::milliseconds wait) {
  return Read("/v1/kv/" + PercentEncode(key, true), index, wait);
}

HttpRequest KvCasRequest(const std::string& key, const std::string& value, std::uint64_t index) {
  return Put("/v1/kv/" + PercentEncode(key, true) + "?cas=" + std::to_string(index), value);
}

HttpRequest KvDeleteRequest(const std::string& key, std::uint64_t index) {
  return {.method = "DELETE",
          .path = "/v1/kv/" + PercentEncode(key, true) + "?cas=" + std::to_string(index),
          .body = {},
          .timeout = kTimeout};
}

HttpRequest HealthServiceRequest(const std::string& service, std::uint64_t index, std::chrono::milliseconds wait) {
  return Read("/v1/health/service/" + PercentEncode(service), index, wait);
}

HttpRequest TxnRequest(const std::vector<TxnOperation>& operations) {
  HttpRequest request = Put("/v1/txn", EncodeTxn(operations));
  request.timeout = kTransactionTimeout;
  request.urgent = true;
  return request;
}

Result<void> ParseEmptyResponse(const HttpResponse& response) {
  if (response.status != 200) return HttpError(response);
  return {};
}

Result<AgentSelf> ParseAgentSelf(const HttpResponse& response) {
  if (response.status != 200) return HttpError(response);
  return DecodeAgentSelf(response.body);
}

Result<KvPair> ParseKvGet(const std::string& key, const HttpResponse& response) {
  // A key that does not exist comes with an index; a 404 without one is no answer of Consul's KV store.
  const bool absent = response.status == 404 && response.consul_index != 0;
  if (response.status != 200 && !absent) return HttpError(response);
  if (const auto leader = RequireLeader(response); !leader) return tl::unexpected(leader.error());
  if (absent) return KvPair{.key = key, .value = {}, .modify_index = 0};
  return DecodeKvPair(key, response.body);
}

Result<void> ParseKvCas(const HttpResponse& response) {
  if (response.status != 200) return HttpError(response);
  // Consul ends it with a line feed on 1.8.7.
  const std::string word = Quote(response.body);
  if (word == "true") return {};
  if (word == "false") return Fail(ErrorKind::kConflict, "somebody else changed the key in between");
  return Fail(ErrorKind::kMalformedReply, "the reply is neither true nor false: " + word);
}

Result<std::vector<ServiceEntry>> ParseHealthService(const HttpResponse& response) {
  if (response.status != 200) return HttpError(response);
  if (const auto leader = RequireLeader(response); !leader) return tl::unexpected(leader.error());
  return DecodeServiceEntries(response.body);
}

Result<std::uint64_t> ParseTxn(const HttpResponse& response) {
  if (response.status != 200 && response.status != 409) return HttpError(response);
  const auto outcome = DecodeTxn(response.body);
  if (!outcome) return tl::unexpected(outcome.error());
  if (outcome->errors.empty() && response.status == 200) return outcome->kv_modify_index;

  std::string reasons;
  bool denied = false;
  bool stale = false;
  for (const std::string& error : outcome->errors) {
    // agent/consul/state/txn.go, seen on 1.8.7: a comparison that failed, or its key or service that is gone.
    stale = stale || error.find("index is stale") != std::string::npos ||
            error.find("current modify index") != std::string::npos || error.find("doesn't exist") != std::string::npos;
    denied = denied || error.find("Permission denied") != std::string::npos;
    if (!reasons.empty()) reasons += "; ";
    reasons += error;
  }
  reasons = Quote(reasons);
  if (denied) return Fail(ErrorKind::kDenied, "the token lacks a rule for the transaction: " + reasons);
  return Fail(stale ? ErrorKind::kConflict : ErrorKind::kServer, "the transaction was rolled back: " + reasons);
}

}  // namespace rcb::consul
