#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "redis/connection.h"

namespace rcb::redis {

/// The connections to one Sentinel, for all who ask it about a group: one for commands, one for its events. Lost ones
/// are opened again for as long as anybody uses them.
class SentinelLink : public std::enable_shared_from_this<SentinelLink> {
 public:
  /// A handler may destroy the User that it belongs to.
  struct Handlers {
    /// The Sentinel has said who it is, and tells its events from now on: what is asked now misses nothing.
    std::function<void()> on_up;
    std::function<void(const Error&)> on_down;  ///< Lost or not to be had, at each attempt.
    std::function<void(const std::string& channel, const std::string& payload)> on_message;
  };
  /// Whoever keeps it uses the link.
  class User {
   public:
    explicit User(Handlers handlers) : handlers_(std::move(handlers)) {}

   private:
    friend class SentinelLink;
    Handlers handlers_;
  };

  SentinelLink(uv_loop_s* loop, Endpoint endpoint, Access access);
  ~SentinelLink();
  SentinelLink(const SentinelLink&) = delete;
  SentinelLink& operator=(const SentinelLink&) = delete;

  /// Connects for the first user. No handler is called before this returns; a link that is up does not say so again.
  std::shared_ptr<User> Join(Handlers handlers);
  /// For a link that is_up(). The handler hears nothing when the connection ends: on_down tells.
  void Ask(const std::vector<std::string>& arguments, Connection::ReplyHandler handler);

  bool is_up() const;
  /// See SentinelClient::sentinel_id().
  const std::string& sentinel_id() const;
  /// It leads there in the same way: the same secrets, by now, and the same TLS.
  bool LeadsTo(const Endpoint& endpoint, const Access& access) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// The links of a process: one for each Sentinel and way to be let in.
class SentinelLinks {
 public:
  explicit SentinelLinks(uv_loop_s* loop) : loop_(loop) {}

  /// The link that is there, else a new one.
  std::shared_ptr<SentinelLink> To(const Endpoint& endpoint, const Access& access);

 private:
  uv_loop_s* loop_;
  std::vector<std::weak_ptr<SentinelLink>> links_;
};

}  // namespace rcb::redis
