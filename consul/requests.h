#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "consul/result.h"
#include "consul/types.h"

namespace rcb::consul {

/// An HTTP request to Consul, without address and token: those are the transport's.
struct HttpRequest {
  std::string method{};  ///< GET, PUT or DELETE.
  std::string path{};    ///< With the query, percent-encoded: "/v1/kv/service/redis/master?index=7&wait=60s".
  std::string body{};    ///< JSON or a raw KV value; empty for none.
  std::chrono::milliseconds timeout{5000};
  bool waits = false;   ///< A blocking query: Consul answers when something changes.
  bool yields = false;  ///< Others go first where there is a queue.
  bool urgent = false;  ///< Not behind other calls, which may all hang. The servers answer it, not the local agent.
};

/// What came back. `consul_index` is X-Consul-Index, 0 when absent; `known_leader` is X-Consul-KnownLeader (true when
/// absent).
struct HttpResponse {
  long status = 0;
  std::string body{};
  std::uint64_t consul_index = 0;
  bool known_leader = true;
};

// Typed calls as requests. Pure: the same input gives the same request.
HttpRequest RegisterServiceRequest(const ServiceRegistration& registration);
HttpRequest DeregisterServiceRequest(const std::string& service_id);
HttpRequest UpdateTtlRequest(const std::string& check_id, CheckStatus status, const std::string& output);
HttpRequest AgentSelfRequest();
/// `index` 0 answers at once; else waits up to `wait` for a change. Its timeout allows for Consul's jitter of wait/16.
HttpRequest KvGetRequest(const std::string& key, std::uint64_t index, std::chrono::milliseconds wait);
HttpRequest KvCasRequest(const std::string& key, const std::string& value, std::uint64_t index);
HttpRequest KvDeleteRequest(const std::string& key, std::uint64_t index);
HttpRequest HealthServiceRequest(const std::string& service, std::uint64_t index, std::chrono::milliseconds wait);
HttpRequest TxnRequest(const std::vector<TxnOperation>& operations);

// Responses as values. Every HTTP error becomes an Error whose kind follows status and body, with Consul's own words,
// bounded.
Result<void> ParseEmptyResponse(const HttpResponse& response);
Result<AgentSelf> ParseAgentSelf(const HttpResponse& response);
/// A 404 is a KvPair with modify_index 0, no error.
Result<KvPair> ParseKvGet(const std::string& key, const HttpResponse& response);
/// Of a compared write or delete. Error kConflict: the body is `false`.
Result<void> ParseKvCas(const HttpResponse& response);
Result<std::vector<ServiceEntry>> ParseHealthService(const HttpResponse& response);
/// The new ModifyIndex of the first KV operation's key, 0 when there is none. Error kConflict: rolled back (HTTP 409),
/// with the reasons that Consul gave; kDenied when those are of ACLs.
Result<std::uint64_t> ParseTxn(const HttpResponse& response);

}  // namespace rcb::consul
