#include "redis/sentinel_directory.h"

#include <chrono>
#include <utility>

#include "redis/loop_timer.h"

namespace rcb::redis {
namespace {

constexpr std::chrono::milliseconds kInterval{1000};

}  // namespace

class SentinelDirectory::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(uv_loop_s* loop, std::shared_ptr<SentinelLink> link, Handlers handlers)
      : link_(std::move(link)), handlers_(std::move(handlers)), timer_(loop, [this] { Poll(); }) {}

  void Start() {
    user_ = link_->Join({.on_up = [this] { Poll(); },
                         .on_down =
                             [this](const Error& error) {
                               ++round_;
                               timer_.Stop();
                               handlers_.on_lost(error);
                             },
                         .on_message =
                             [this](const std::string& channel, const std::string&) {
                               if (channel == "+monitor" || channel == "-monitor" || channel == "+slave") Poll();
                             }});
    if (link_->is_up()) timer_.Start(std::chrono::milliseconds(0));
  }

 private:
  void Poll() {
    if (!link_->is_up()) return;
    ++round_;
    timer_.Start(kInterval);
    Ask({"SENTINEL", "MASTERS"}, [this](const Result<Reply>& reply) {
      if (!reply) {
        handlers_.on_lost(reply.error());
        return;
      }
      groups_ = ParseSentinelGroups(*reply);
      missing_ = groups_.size();
      if (missing_ == 0) handlers_.on_groups(groups_);
      for (std::size_t i = 0; i < groups_.size(); ++i) AskForReplicas(i);
    });
  }

  void AskForReplicas(std::size_t group) {
    // Before 5.0 it is not called REPLICAS. An error: the group was removed meanwhile, or an ACL hides them.
    Ask({"SENTINEL", "SLAVES", groups_[group].name}, [this, group](const Result<Reply>& reply) {
      if (reply) {
        for (SentinelInstance& replica : ParseSentinelReplicas(*reply)) {
          groups_[group].servers.push_back(std::move(replica.address));
        }
      }
      if (--missing_ == 0) handlers_.on_groups(groups_);
    });
  }

  /// `handler` hears nothing of a round that was begun anew.
  void Ask(const std::vector<std::string>& arguments, Connection::ReplyHandler handler) {
    link_->Ask(arguments,
               [guard = weak_from_this(), round = round_, handler = std::move(handler)](Result<Reply> reply) {
                 const auto self = guard.lock();
                 if (self && self->round_ == round) handler(std::move(reply));
               });
  }

  std::shared_ptr<SentinelLink> link_;
  std::shared_ptr<SentinelLink::User> user_;
  Handlers handlers_;
  std::uint64_t round_ = 0;
  std::vector<MonitoredGroup> groups_;  ///< Of this round.
  std::size_t missing_ = 0;             ///< Answers that the round still lacks.
  LoopTimer timer_;
};

SentinelDirectory::SentinelDirectory(uv_loop_s* loop, SentinelLinks& links, const Endpoint& endpoint,
                                     const Access& access, Handlers handlers)
    : impl_(std::make_shared<Impl>(loop, links.To(endpoint, access), std::move(handlers))) {
  impl_->Start();
}
SentinelDirectory::~SentinelDirectory() = default;

}  // namespace rcb::redis
