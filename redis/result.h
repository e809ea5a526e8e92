#pragma once

#include <chrono>
#include <string>
#include <tl/expected.hpp>

namespace rcb::redis {

/// Monotonic time. Wall-clock jumps must never change a decision (DESIGN section 7, "clock jumps").
using TimePoint = std::chrono::steady_clock::time_point;

/// What went wrong while talking to a Redis or a Sentinel, as far as a decision depends on it.
enum class ErrorKind {
  kRefused,         ///< Nobody listens there: proof that the process is gone.
  kUnresolvable,    ///< The host name has no address.
  kUnreachable,     ///< No route, a reset, or any other socket error while connecting.
  kTimeout,         ///< Nothing was heard in time.
  kClosed,          ///< An open connection ended.
  kProtocol,        ///< The peer does not speak RESP.
  kAuthentication,  ///< -NOAUTH, -WRONGPASS, or "ERR invalid password" of servers before 6.0.
  kPermission,      ///< -NOPERM: the ACL user lacks a command or channel.
  kTls,             ///< A certificate is refused by either side, or only one side speaks TLS.
  kBusy,            ///< -BUSY: a script blocks the server.
  kLoading,         ///< -LOADING: the data set is being read.
  kReply,           ///< Any other error reply.
  kMalformedReply,  ///< RESP was fine, its content was not what the command promises.
};

/// An error of the Redis side: a kind to act on and a sentence to show. Never carries a secret.
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

}  // namespace rcb::redis
