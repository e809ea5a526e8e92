#pragma once

#include <chrono>
#include <string>
#include <tl/expected.hpp>

namespace rcb::consul {

/// Monotonic time.
using TimePoint = std::chrono::steady_clock::time_point;

/// What went wrong while talking to Consul, as far as a decision depends on it.
enum class ErrorKind {
  kUnreachable,     ///< The local Consul agent refuses connections, cannot be found or ended the connection.
  kTimeout,         ///< No answer in time: for a write, the outcome is unknown.
  kTls,             ///< The certificate of either side was not accepted.
  kDenied,          ///< HTTP 403: the token lacks a rule, or is unknown.
  kNotFound,        ///< HTTP 404 where something was expected (an unknown check: the agent restarted empty).
  kConflict,        ///< A compare-and-set lost: HTTP 409 of a transaction, `false` of a KV write.
  kNoLeader,        ///< HTTP 500 "No cluster leader" and its kin: the servers cannot answer now.
  kServer,          ///< Any other HTTP error.
  kMalformedReply,  ///< HTTP was fine, the body was not what the endpoint promises, or was too large.
  kConfiguration,   ///< The settings cannot work: a bad URL, a CA file that is not there.
};

/// An error of the Consul side: a kind to act on and a sentence to show. Never carries a token.
struct Error {
  ErrorKind kind;
  std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;

/// Shorthand for returning an error from a Result-returning function.
inline tl::unexpected<Error> Fail(ErrorKind kind, std::string message) {
  return tl::unexpected<Error>(Error{kind, std::move(message)});
}

}  // namespace rcb::consul
