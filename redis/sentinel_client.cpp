#include "redis/sentinel_client.h"

#include <string_view>
#include <utility>

#include "redis/loop_timer.h"
#include "redis/retry_pause.h"
#include "redis/sentinel_event.h"

namespace rcb::redis {
namespace {

using std::chrono::milliseconds;

/// Between attempts with a Sentinel that answers, but not about the group.
constexpr milliseconds kFirstPause{100};
constexpr milliseconds kMaxPause{2000};
constexpr std::size_t kMaxNamesTold = 8;  ///< Of groups, in a sentence.

/// To time the commands, for the metrics: no conclusion from a reply depends on it.
TimePoint Now() { return std::chrono::steady_clock::now(); }

}  // namespace

class SentinelClient::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(uv_loop_s* loop, SentinelLinks& links, Options options, Handlers handlers)
      : links_(&links),
        options_(std::move(options)),
        handlers_(std::move(handlers)),
        name_(options_.endpoint.ToString()),
        pause_(kFirstPause, kMaxPause),
        retry_timer_(loop, [this] { Begin(); }),
        refresh_timer_(loop, [this] { Refresh(); }) {}

  void Start() {
    link_ = links_->To(options_.endpoint, options_.access);
    user_ = link_->Join({.on_up = [this] { Begin(); },
                         .on_down = [this](const Error& error) { Lose(error); },
                         .on_message = [this](const std::string& channel,
                                              const std::string& payload) { OnMessage(channel, payload); }});
    if (link_->is_up()) retry_timer_.Start(milliseconds(0));
  }
  const Endpoint& endpoint() const { return options_.endpoint; }
  const std::string& sentinel_id() const { return sentinel_id_; }
  bool is_connected() const { return connected_; }

 private:
  // The link tells its events already when it is up. So nothing can change unseen between them and the view.

  void Begin() {
    if (!link_->is_up()) return;
    retry_timer_.Stop();
    sentinel_id_ = link_->sentinel_id();
    if (options_.master_name.empty()) {
      FindGroup();
    } else {
      FollowGroup(options_.master_name);
    }
  }

  void FindGroup() {
    Ask({"SENTINEL", "MASTERS"}, [this](const Result<Reply>& reply) {
      if (!reply) {
        Lose(reply.error());
        return;
      }
      const std::vector<std::string> names = ParseSentinelMasterNames(*reply);
      if (names.size() == 1) {
        FollowGroup(names.front());
      } else if (names.empty()) {
        Lose({ErrorKind::kReply, name_ + " monitors no group yet"});
      } else {
        std::string list = names.front();
        for (std::size_t i = 1; i < names.size() && i < kMaxNamesTold; ++i) list += ", " + names[i];
        if (names.size() > kMaxNamesTold) list += ", …";
        Lose(
            {ErrorKind::kReply, name_ + " monitors several groups (" + list + "): set the master name to one of them"});
      }
    });
  }

  void FollowGroup(const std::string& master_name) {
    master_name_ = master_name;
    election_.emplace(sentinel_id_, master_name_);
    Refresh();
  }

  /// Asks for the view. While one is being asked, any number of further reasons make one further question.
  void Refresh() {
    if (refreshing_) {
      refresh_again_ = true;
      return;
    }
    refreshing_ = true;
    refresh_timer_.Stop();
    Ask({"SENTINEL", "MASTER", master_name_}, [this](Result<Reply> reply) {
      if (!reply) {
        Lose(reply.error());
      } else {
        master_reply_ = *std::move(reply);
      }
    });
    Ask({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", master_name_}, [this](const Result<Reply>& reply) {
      if (!reply) {
        Lose(reply.error());
        return;
      }
      const auto view = ParseSentinelMaster(sentinel_id_, master_reply_, *reply);
      if (!view) {
        Lose({view.error().kind, name_ + ": " + view.error().message});
        return;
      }
      connected_ = true;
      told_loss_.clear();
      pause_.Reset();
      if (handlers_.on_view) handlers_.on_view(*view);
    });
    // Before 5.0 it is not called REPLICAS. An ACL may hide it; then a replica is known by its own addresses alone.
    Ask({"SENTINEL", "SLAVES", master_name_}, [this](const Result<Reply>& reply) {
      if (reply && handlers_.on_replicas) handlers_.on_replicas(ParseSentinelReplicas(*reply));
    });
    Ask({"SENTINEL", "SENTINELS", master_name_}, [this](const Result<Reply>& reply) {
      if (!reply) {
        Lose(reply.error());
        return;
      }
      refreshing_ = false;
      refresh_timer_.Start(options_.refresh_interval);
      if (handlers_.on_peers) handlers_.on_peers(ParseSentinelPeers(*reply));
      if (std::exchange(refresh_again_, false)) Refresh();
    });
  }

  void OnMessage(const std::string& channel, const std::string& payload) {
    if (!election_) return;
    const auto event = ParseSentinelEvent(channel, payload);
    if (!event) {  // Something happened; the view tells what.
      Refresh();
      return;
    }
    // Those that name no group (epochs, tilt, forms we do not know) may concern it.
    if (!event->master_name.empty() && event->master_name != master_name_) return;
    const std::optional<Election> before = election_->current();
    election_->OnEvent(*event);
    const bool step = event->kind == SentinelEvent::Kind::kSelectedReplica ||
                      event->kind == SentinelEvent::Kind::kSendReplicaofNoOne ||
                      event->kind == SentinelEvent::Kind::kPromotedReplica;
    if (handlers_.on_election && (election_->current() != before || (step && before))) {
      handlers_.on_election(election_->current());
    }
    if (handlers_.on_event) handlers_.on_event(*event);
    Refresh();
  }

  /// `handler` does not hear that the connection ended, nor anything of an attempt that was given up: Lose() does.
  void Ask(const std::vector<std::string>& arguments, Connection::ReplyHandler handler) {
    const TimePoint asked_at = Now();
    link_->Ask(arguments, [guard = weak_from_this(), attempt = attempt_, asked_at,
                           handler = std::move(handler)](Result<Reply> reply) {
      const auto self = guard.lock();
      if (!self || attempt != self->attempt_) return;
      if (self->handlers_.on_answer) self->handlers_.on_answer(Now() - asked_at, reply.has_value());
      handler(std::move(reply));
    });
  }

  /// Gives up. With a link that is up it is tried again after a pause, else when the link is. The owner is told a loss
  /// once, and again when its reason changes.
  void Lose(Error error) {
    Explain(error);
    ++attempt_;
    refresh_timer_.Stop();
    refreshing_ = false;
    refresh_again_ = false;
    connected_ = false;
    const bool was_electing = election_ && election_->current();
    election_.reset();
    if (link_->is_up()) retry_timer_.Start(pause_.Next());
    if (was_electing && handlers_.on_election) handlers_.on_election(std::nullopt);
    if (error.message == told_loss_) return;
    told_loss_ = error.message;
    if (handlers_.on_lost) handlers_.on_lost(error);
  }

  /// Puts the remedy into errors that an operator can mend.
  void Explain(Error& error) const {
    if (error.kind != ErrorKind::kReply) return;
    if (error.message.find("No such master") != std::string::npos ||
        error.message.find("IDONTKNOW") != std::string::npos) {
      error.message =
          name_ + " monitors no group named \"" + master_name_ + "\": set the master name to one it monitors";
    } else if (error.message.find("ERR unknown command") != std::string::npos) {
      error.message = name_ + " is a Redis server, not a Sentinel: its port is 26379 by default";
    }
  }

  SentinelLinks* links_;
  Options options_;
  Handlers handlers_;
  std::string name_;
  std::string sentinel_id_;
  std::string master_name_;
  std::shared_ptr<SentinelLink> link_;
  std::shared_ptr<SentinelLink::User> user_;
  std::uint64_t attempt_ = 0;  ///< How often it was given up: answers to earlier questions come too late.
  std::optional<SentinelElection> election_;
  Reply master_reply_;  ///< Of SENTINEL MASTER, until the address that belongs to it is there.
  bool connected_ = false;
  bool refreshing_ = false;
  bool refresh_again_ = false;
  std::string told_loss_;
  RetryPause pause_;
  LoopTimer retry_timer_;
  LoopTimer refresh_timer_;
};

SentinelClient::SentinelClient(uv_loop_s* loop, SentinelLinks& links, Options options, Handlers handlers)
    : impl_(std::make_shared<Impl>(loop, links, std::move(options), std::move(handlers))) {}
SentinelClient::~SentinelClient() = default;
void SentinelClient::Start() { impl_->Start(); }
const Endpoint& SentinelClient::endpoint() const { return impl_->endpoint(); }
const std::string& SentinelClient::sentinel_id() const { return impl_->sentinel_id(); }
bool SentinelClient::is_connected() const { return impl_->is_connected(); }

}  // namespace rcb::redis
