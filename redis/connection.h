#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "redis/endpoint.h"
#include "redis/reply.h"
#include "redis/result.h"
#include "redis/tls.h"

struct uv_loop_s;

namespace rcb::redis {

/// User and password of a server. Never printed.
struct Credentials {
  std::string user;      ///< ACL user (6.0+); empty: the default user.
  std::string password;  ///< Empty: no AUTH is sent.
};

/// How whoever opens connections again and again is let in, each time anew: passwords and certificates get renewed.
struct Access {
  std::function<Credentials()> credentials{};  ///< Asked whenever a connection opens. Absent: none.
  std::shared_ptr<TlsClient> tls{};            ///< Absent: plain.

  Credentials CurrentCredentials() const { return credentials ? credentials() : Credentials{}; }
};

/// One connection to a Redis or a Sentinel on the event loop: at most one life. It is opened once and, when closed, is
/// thrown away; whoever owns it decides when to build the next.
///
/// Host names are resolved on libuv's thread pool, never on the loop (redisAsyncConnect itself would block).
class Connection {
 public:
  struct Options {
    Endpoint endpoint;
    Credentials credentials;
    std::shared_ptr<TlsClient> tls{};  ///< Absent: plain. A unix socket, which Redis never encrypts, is always plain.
    /// From Open() to the AUTH reply. Longer than a SYN retransmission (1 s), shorter than an operator's patience.
    std::chrono::milliseconds connect_timeout{3000};
  };

  /// A handler may destroy the Connection or issue commands. After Close() or destruction nothing is called any more.
  struct Handlers {
    std::function<void()> on_open;               ///< Connected, authenticated and named.
    std::function<void(const Error&)> on_close;  ///< Once at most; also when opening failed.
    /// A pub/sub message. `pattern` channels arrive with the channel that was published to.
    std::function<void(const std::string& channel, const std::string& payload)> on_message;
  };

  using ReplyHandler = std::function<void(Result<Reply>)>;

  Connection(uv_loop_s* loop, Options options, Handlers handlers);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Starts to resolve, connect, shake hands (TLS), AUTH and CLIENT SETNAME (whose refusal is ignored). Never calls a
  /// handler before it returns.
  void Open();

  /// Sends a command, from Open() on: what is sent before on_open goes out right behind the greeting. The handler gets
  /// the reply, an error reply as Error, or kClosed when the connection ends first; it is not called after Close() or
  /// destruction. Without an answer within `timeout` the connection closes with kTimeout. Replies over 1 MiB or nested
  /// deeper than 7 close the connection with kProtocol.
  void Command(const std::vector<std::string>& arguments, std::chrono::milliseconds timeout, ReplyHandler handler);

  /// SUBSCRIBE or, with `pattern`, PSUBSCRIBE. `handler` hears whether it was accepted (kPermission without the
  /// channel's ACL); messages go to on_message.
  void Subscribe(const std::string& channel, bool pattern, ReplyHandler handler);

  /// Ends the connection without calling on_close. Idempotent.
  void Close();

  bool is_open() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  ///< Shared with callbacks in flight only (hiredis and libuv free late).
};

}  // namespace rcb::redis
