#pragma once

#include <chrono>
#include <string>

#include "redis/connection.h"
#include "redis/endpoint.h"
#include "redis/result.h"
#include "redis/tls.h"

namespace rcb::redis {

/// Connects to a server (over TLS with `tls`, null for none), authenticates and asks ROLE, all within `timeout`, and
/// waits for the answer: "master", "slave" or "sentinel". For short-lived tools: it blocks. AUTH and ROLE go out
/// together, so that, TLS aside, it costs one round trip.
///
/// ROLE is there since Redis 2.8.12 and is answered while the server is loading. Errors: those of a connection
/// (kRefused, kUnresolvable, kUnreachable, kTimeout, kClosed, kProtocol, kTls), kAuthentication, kPermission (`+role`
/// is missing), kMalformedReply, and kReply for any other error reply. No message carries a secret.
Result<std::string> AskRole(const Endpoint& endpoint, const Credentials& credentials, TlsClient* tls,
                            std::chrono::milliseconds timeout);

}  // namespace rcb::redis
