#include "redis/sentinel_link.h"

#include <algorithm>
#include <utility>

#include "redis/loop_timer.h"
#include "redis/retry_pause.h"

namespace rcb::redis {
namespace {

using std::chrono::milliseconds;

/// A Sentinel answers within its 100 ms cycle; one that takes this long is hung or far out of reach.
constexpr milliseconds kCommandTimeout{3000};
constexpr milliseconds kFirstPause{100};
constexpr milliseconds kMaxPause{2000};

}  // namespace

class SentinelLink::Impl {
 public:
  Impl(SentinelLink& link, uv_loop_s* loop, Endpoint endpoint, Access access)
      : link_(link),
        loop_(loop),
        endpoint_(std::move(endpoint)),
        access_(std::move(access)),
        pause_(kFirstPause, kMaxPause),
        retry_timer_(loop, [this] { Connect(); }) {}

  std::shared_ptr<User> Join(Handlers handlers) {
    auto user = std::make_shared<User>(std::move(handlers));
    std::erase_if(users_, [](const std::weak_ptr<User>& other) { return other.expired(); });
    users_.push_back(user);
    if (!commands_ && !retry_timer_.is_active()) Connect();
    return user;
  }

  void Ask(const std::vector<std::string>& arguments, Connection::ReplyHandler handler) {
    if (!commands_) return;
    commands_->Command(arguments, kCommandTimeout,
                       [guard = link_.weak_from_this(), handler = std::move(handler)](Result<Reply> reply) {
                         const auto keep = guard.lock();  // The handler may let go of the last user.
                         if (!reply && EndsConnection(reply.error().kind)) return;
                         handler(std::move(reply));
                       });
  }

  bool is_up() const { return is_up_; }
  const std::string& sentinel_id() const { return sentinel_id_; }

  bool LeadsTo(const Endpoint& endpoint, const Access& access) const {
    const auto options = [](const Access& way) { return way.tls ? std::optional(way.tls->options()) : std::nullopt; };
    const Credentials ours = access_.CurrentCredentials();
    const Credentials theirs = access.CurrentCredentials();
    return endpoint == endpoint_ && ours.user == theirs.user && ours.password == theirs.password &&
           options(access_) == options(access);
  }

 private:
  static bool EndsConnection(ErrorKind kind) {
    return kind == ErrorKind::kClosed || kind == ErrorKind::kTimeout || kind == ErrorKind::kProtocol;
  }

  // Each step asks for the next: who are you, and your events. Only then is the link up.

  void Connect() {
    commands_ = MakeConnection();
    events_ = MakeConnection();
    commands_->Open();
    events_->Open();
    Ask({"SENTINEL", "MYID"}, [this](const Result<Reply>& reply) {
      // Before 6.2 there is no MYID; an ACL may hide it.
      if (!reply && reply.error().kind != ErrorKind::kReply && reply.error().kind != ErrorKind::kPermission) {
        Lose(reply.error());
        return;
      }
      sentinel_id_ = reply && !reply->text.empty() ? reply->text : endpoint_.ToString();
      events_->Subscribe("*", true, [this](const Result<Reply>& subscribed) {
        const auto keep = link_.shared_from_this();
        if (subscribed) {
          is_up_ = true;
          pause_.Reset();
          ForEachUser([](const Handlers& handlers) { handlers.on_up(); });
        } else if (!EndsConnection(subscribed.error().kind)) {
          Lose(subscribed.error());
        }
      });
    });
  }

  std::unique_ptr<Connection> MakeConnection() {
    return std::make_unique<Connection>(
        loop_,
        Connection::Options{.endpoint = endpoint_, .credentials = access_.CurrentCredentials(), .tls = access_.tls},
        Connection::Handlers{.on_open = nullptr,
                             .on_close =
                                 [this](const Error& error) {
                                   const auto keep = link_.shared_from_this();
                                   Lose(error);
                                 },
                             .on_message =
                                 [this](const std::string& channel, const std::string& payload) {
                                   const auto keep = link_.shared_from_this();
                                   if (!is_up_) return;
                                   ForEachUser(
                                       [&](const Handlers& handlers) { handlers.on_message(channel, payload); });
                                 }});
  }

  /// Gives up both connections and tries again after a pause.
  void Lose(const Error& error) {
    commands_.reset();
    events_.reset();
    is_up_ = false;
    retry_timer_.Start(pause_.Next());
    const Error told = error;
    ForEachUser([&told](const Handlers& handlers) { handlers.on_down(told); });
  }

  /// Users may come and go meanwhile.
  void ForEachUser(const std::function<void(const Handlers&)>& tell) {
    const std::vector<std::weak_ptr<User>> users = users_;
    for (const std::weak_ptr<User>& user : users) {
      if (const auto alive = user.lock()) tell(alive->handlers_);
    }
  }

  SentinelLink& link_;
  uv_loop_s* loop_;
  Endpoint endpoint_;
  Access access_;
  std::vector<std::weak_ptr<User>> users_;
  std::string sentinel_id_;
  bool is_up_ = false;
  std::unique_ptr<Connection> commands_;
  std::unique_ptr<Connection> events_;
  RetryPause pause_;
  LoopTimer retry_timer_;
};

SentinelLink::SentinelLink(uv_loop_s* loop, Endpoint endpoint, Access access)
    : impl_(std::make_unique<Impl>(*this, loop, std::move(endpoint), std::move(access))) {}
SentinelLink::~SentinelLink() = default;
std::shared_ptr<SentinelLink::User> SentinelLink::Join(Handlers handlers) { return impl_->Join(std::move(handlers)); }
void SentinelLink::Ask(const std::vector<std::string>& arguments, Connection::ReplyHandler handler) {
  impl_->Ask(arguments, std::move(handler));
}
bool SentinelLink::is_up() const { return impl_->is_up(); }
const std::string& SentinelLink::sentinel_id() const { return impl_->sentinel_id(); }
bool SentinelLink::LeadsTo(const Endpoint& endpoint, const Access& access) const {
  return impl_->LeadsTo(endpoint, access);
}

std::shared_ptr<SentinelLink> SentinelLinks::To(const Endpoint& endpoint, const Access& access) {
  std::erase_if(links_, [](const std::weak_ptr<SentinelLink>& link) { return link.expired(); });
  for (const std::weak_ptr<SentinelLink>& link : links_) {
    if (auto found = link.lock(); found && found->LeadsTo(endpoint, access)) return found;
  }
  auto made = std::make_shared<SentinelLink>(loop_, endpoint, access);
  links_.push_back(made);
  return made;
}

}  // namespace rcb::redis
