#include "redis/instance_client.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "redis/loop_timer.h"
#include "redis/retry_pause.h"

namespace rcb::redis {
namespace {

using std::chrono::milliseconds;

/// A hung server accepts connections all the same: no longer than this for its greeting.
constexpr milliseconds kMaxConnectTimeout{3000};
/// A process that is being killed may reset a connection before it refuses the next: look again soon, then less often.
constexpr milliseconds kFirstReopenPause{2};
/// Nobody tells of a promotion in Redis Cluster, so while one is to be expected it is looked for at this pace. Between
/// a master's failure and its election a replica waits for half a second at least (src/cluster.c
/// clusterHandleSlaveFailover).
constexpr milliseconds kPromotionPoll{20};
/// A failover that has not come so long after the failure needs an operator.
constexpr milliseconds kExpectPromotion{60000};
constexpr int kMaxPollsInFlight = 2;  ///< One for the interval, one for a reason that arose meanwhile.
constexpr milliseconds kFirstHelloPause{100};
constexpr milliseconds kMaxHelloPause{2000};  ///< As often as a Sentinel says hello.
/// An ACL that hides the channel changes by an operator's hand only.
constexpr milliseconds kHelloDeniedPause{30000};

TimePoint Now() { return std::chrono::steady_clock::now(); }

std::string_view Body(const Reply& reply) { return reply.text; }

}  // namespace

class InstanceClient::Impl {
 public:
  Impl(uv_loop_s* loop, Options options, Handlers handlers)
      : loop_(loop),
        options_(std::move(options)),
        handlers_(std::move(handlers)),
        monitor_({.hang_after = options_.hang_after, .name = options_.endpoint.ToString()}, Now()),
        reopen_pause_(kFirstReopenPause, options_.poll_interval),
        hello_pause_(kFirstHelloPause, kMaxHelloPause),
        poll_timer_(loop, [this] { OnPollTimer(); }),
        judge_timer_(loop, [this] { OnJudgeTimer(); }),
        reopen_timer_(loop, [this] { Connect(); }),
        hello_timer_(loop, [this] { OpenHello(); }) {}

  void Start() {
    Connect();
    poll_timer_.Start(options_.poll_interval);
    ArmJudge();
  }

  void PollNow() {
    if (!connection_) {
      Connect();
    } else if (polls_in_flight_ < kMaxPollsInFlight) {
      Poll();
    } else {
      poll_again_ = true;
    }
  }

  void SetHangAfter(milliseconds hang_after) {
    options_.hang_after = hang_after;
    monitor_.set_hang_after(hang_after);
    ArmJudge();
  }

  /// REPLICAOF first: from then on no write is taken. CLIENT KILL spares this connection (SKIPME is yes by default).
  void Demote(const Endpoint& master, const std::function<void(const Result<void>&)>& handler) {
    if (!connection_) {
      handler(Fail(ErrorKind::kClosed, options_.endpoint.ToString() + " is not connected"));
      return;
    }
    connection_->Command(
        {"REPLICAOF", master.host, std::to_string(master.port)}, options_.hang_after,
        [handler](const Result<Reply>& reply) { handler(reply ? Result<void>() : tl::unexpected(reply.error())); });
    Tell({"CLIENT", "KILL", "TYPE", "normal"});
    ReleaseWrites();
    PollNow();
  }

  void HoldWrites(milliseconds duration) { Tell({"CLIENT", "PAUSE", std::to_string(duration.count()), "WRITE"}); }
  void ReleaseWrites() { Tell({"CLIENT", "UNPAUSE"}); }

  const InstanceState& state() const { return monitor_.state(); }
  const Endpoint& endpoint() const { return options_.endpoint; }

 private:
  /// A command whose refusal changes nothing.
  void Tell(const std::vector<std::string>& command) {
    if (connection_) connection_->Command(command, options_.hang_after, [](const Result<Reply>&) {});
  }

  std::unique_ptr<Connection> MakeConnection(Connection::Handlers handlers) const {
    return std::make_unique<Connection>(
        loop_,
        Connection::Options{.endpoint = options_.endpoint,
                            .credentials = options_.access.CurrentCredentials(),
                            .tls = options_.access.tls,
                            .connect_timeout = std::min(options_.hang_after, kMaxConnectTimeout)},
        std::move(handlers));
  }

  // --- INFO ---------------------------------------------------------------------------------------------------------

  void Connect() {
    reopen_timer_.Stop();
    polls_in_flight_ = 0;
    poll_again_ = false;
    answered_ = false;
    connection_ = MakeConnection({.on_open = [this] { OpenHello(); },
                                  .on_close = [this](const Error& error) { OnClosed(error); },
                                  .on_message = nullptr});
    connection_->Open();
    // A server that was restarted has another run id.
    connection_->Command({"INFO", "server"}, options_.hang_after, [this](const Result<Reply>& reply) {
      const bool asked = IsClusterNode();
      if (reply) static_cast<void>(monitor_.OnServerReply(Body(*reply), Now()));  // Refused or odd: the role decides.
      if (IsClusterNode() && !asked) PollNow();
    });
    Poll();
  }

  /// Sentinel closes our connection in the transaction that changes the role: what is on the other side of the next one
  /// is wanted at once. One that never answered a poll is no such case, and a pause keeps us from spinning.
  void OnClosed(const Error& error) {
    connection_.reset();
    if (answered_) {
      Connect();
    } else {
      reopen_timer_.Start(reopen_pause_.Next());
    }
    monitor_.OnError(error, Now());
    Changed();
  }

  bool IsClusterNode() const { return state().server.mode == "cluster"; }

  /// The role last, so that the reply that tells it finds everything else up to date.
  void Poll() {
    ++polls_in_flight_;
    connection_->Command({"INFO", "persistence"}, options_.hang_after, [this](const Result<Reply>& reply) {
      if (reply) monitor_.OnPersistenceReply(Body(*reply), Now());
    });
    if (IsClusterNode()) AskCluster();
    connection_->Command({"INFO", "replication"}, options_.hang_after,
                         [this, asked_at = Now()](const Result<Reply>& reply) {
                           if (handlers_.on_answer) handlers_.on_answer(Now() - asked_at, reply.has_value());
                           OnReplication(reply);
                         });
  }

  void AskCluster() {
    const auto info = std::make_shared<std::string>();
    connection_->Command({"CLUSTER", "INFO"}, options_.hang_after, [this, info](const Result<Reply>& reply) {
      if (reply) {
        *info = reply->text;
      } else {
        monitor_.OnClusterError(reply.error());
      }
    });
    connection_->Command({"CLUSTER", "NODES"}, options_.hang_after, [this, info](const Result<Reply>& reply) {
      if (!reply) {
        monitor_.OnClusterError(reply.error());
      } else if (!info->empty()) {
        static_cast<void>(monitor_.OnClusterReplies(*info, Body(*reply)));  // The trouble is in its state.
      }
    });
  }

  void OnReplication(const Result<Reply>& reply) {
    if (!reply && reply.error().kind == ErrorKind::kClosed) return;  // OnClosed() follows.
    --polls_in_flight_;
    if (reply) {
      answered_ = monitor_.OnReplicationReply(Body(*reply), Now()).has_value();
      if (answered_) reopen_pause_.Reset();
    } else {
      monitor_.OnError(reply.error(), Now());
    }
    if (std::exchange(poll_again_, false)) Poll();
    Changed();
  }

  void OnPollTimer() {
    poll_timer_.Start(ExpectsPromotion() ? std::min(kPromotionPoll, options_.poll_interval) : options_.poll_interval);
    if (connection_ && polls_in_flight_ == 0) Poll();
  }

  /// A replica whose master is failing may be promoted.
  bool ExpectsPromotion() {
    const auto& cluster = state().cluster;
    if (!cluster || !cluster->nodes.master_failing) {
      master_failing_since_.reset();
      return false;
    }
    if (!master_failing_since_) master_failing_since_ = Now();
    return Now() - *master_failing_since_ < kExpectPromotion;
  }

  // --- Judgement ----------------------------------------------------------------------------------------------------

  void OnJudgeTimer() {
    judged_at_.reset();
    const Health before = state().health;
    monitor_.OnTimer(Now());
    if (state().health != before) {
      Changed();
    } else {
      ArmJudge();
    }
  }

  void Changed() {
    ArmJudge();
    if (handlers_.on_change) handlers_.on_change();
  }

  /// A timer that is due earlier than needed is left alone: it looks again then. So a poll costs no timer.
  void ArmJudge() {
    const TimePoint deadline = monitor_.deadline();
    if (deadline == TimePoint::max() || (judged_at_ && *judged_at_ <= deadline)) return;
    judged_at_ = deadline;
    judge_timer_.Start(std::chrono::ceil<milliseconds>(deadline - Now()));
  }

  // --- __sentinel__:hello -------------------------------------------------------------------------------------------

  /// A hint only: it never touches health, and there is none while the server itself does not answer.
  void OpenHello() {
    if (!handlers_.on_hello || hello_ || hello_timer_.is_active() || !connection_ || !connection_->is_open()) return;
    hello_subscribed_ = false;
    hello_ = MakeConnection({.on_open = nullptr,
                             .on_close = [this](const Error&) { OnHelloClosed(); },
                             .on_message =
                                 [this](const std::string&, const std::string& payload) {
                                   const auto hello = ParseSentinelHello(payload);
                                   if (hello) handlers_.on_hello(*hello);
                                 }});
    hello_->Open();
    hello_->Subscribe("__sentinel__:hello", false, [this](const Result<Reply>& reply) {
      if (reply) {
        hello_subscribed_ = true;
        hello_pause_.Reset();
      } else if (reply.error().kind != ErrorKind::kClosed) {
        hello_.reset();
        hello_timer_.Start(kHelloDeniedPause);
      }
    });
  }

  void OnHelloClosed() {
    hello_.reset();
    if (hello_subscribed_) {
      OpenHello();
    } else {
      hello_timer_.Start(hello_pause_.Next());
    }
  }

  uv_loop_s* loop_;
  Options options_;
  Handlers handlers_;
  InstanceMonitor monitor_;
  std::unique_ptr<Connection> connection_;  ///< Empty during the pause before the next attempt.
  std::unique_ptr<Connection> hello_;
  bool answered_ = false;  ///< connection_ has told a role.
  bool hello_subscribed_ = false;
  int polls_in_flight_ = 0;
  bool poll_again_ = false;
  std::optional<TimePoint> master_failing_since_;  ///< Of a replica in Redis Cluster.
  std::optional<TimePoint> judged_at_;             ///< When judge_timer_ is due.
  RetryPause reopen_pause_;
  RetryPause hello_pause_;
  LoopTimer poll_timer_;
  LoopTimer judge_timer_;
  LoopTimer reopen_timer_;
  LoopTimer hello_timer_;
};

InstanceClient::InstanceClient(uv_loop_s* loop, Options options, Handlers handlers)
    : impl_(std::make_shared<Impl>(loop, std::move(options), std::move(handlers))) {}
InstanceClient::~InstanceClient() = default;
void InstanceClient::Start() { impl_->Start(); }
void InstanceClient::PollNow() { impl_->PollNow(); }
void InstanceClient::SetHangAfter(milliseconds hang_after) { impl_->SetHangAfter(hang_after); }
void InstanceClient::Demote(const Endpoint& master, const std::function<void(const Result<void>&)>& handler) {
  impl_->Demote(master, handler);
}
void InstanceClient::HoldWrites(milliseconds duration) { impl_->HoldWrites(duration); }
void InstanceClient::ReleaseWrites() { impl_->ReleaseWrites(); }
const InstanceState& InstanceClient::state() const { return impl_->state(); }
const Endpoint& InstanceClient::endpoint() const { return impl_->endpoint(); }

}  // namespace rcb::redis
