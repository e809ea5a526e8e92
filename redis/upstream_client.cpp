#include "redis/upstream_client.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "redis/instance_client.h"

namespace rcb::redis {
namespace {

/// Nobody chains more; servers that name each other in a circle end here as well.
constexpr std::size_t kMaxHops = 8;

}  // namespace

class UpstreamClient::Impl {
 public:
  Impl(uv_loop_s* loop, Options options, std::function<void()> on_change)
      : loop_(loop), options_(std::move(options)), on_change_(std::move(on_change)) {}

  void Follow(const std::optional<Endpoint>& upstream) {
    Place(0, upstream);
    Weigh();
  }

  const UpstreamState& state() const { return state_; }

 private:
  /// Makes `endpoint` the hop at `index`, and that one the last one where it is new.
  void Place(std::size_t index, const std::optional<Endpoint>& endpoint) {
    const bool there = index < hops_.size() && endpoint && hops_[index]->endpoint() == *endpoint;
    if (there) return;
    hops_.resize(std::min(index, hops_.size()));
    if (!endpoint || endpoint->port == 0 || index >= kMaxHops) return;
    hops_.push_back(std::make_unique<InstanceClient>(
        loop_,
        InstanceClient::Options{
            .endpoint = *endpoint, .access = options_.access, .poll_interval = options_.poll_interval},
        InstanceClient::Handlers{.on_change = [this, index] { OnHop(index); }, .on_hello = nullptr}));
    hops_.back()->Start();
  }

  void OnHop(std::size_t index) {
    const InstanceState& hop = hops_[index]->state();
    const bool is_replica = hop.health == Health::kAnswering && hop.info && hop.info->role == Role::kReplica;
    Place(index + 1, is_replica ? std::optional(hop.info->master) : std::nullopt);
    Weigh();
    on_change_();
  }

  void Weigh() {
    state_ = {};
    for (const auto& hop : hops_) {
      const InstanceState& told = hop->state();
      if (told.health != Health::kAnswering || !told.info) return;
      if (told.info->role == Role::kMaster) {
        state_.master_offset = told.info->master_repl_offset;
      } else if (!told.info->master_link_up) {
        state_.cut_at = hop->endpoint();
        state_.cut_since = told.info_at - told.info->master_link_down_since.value_or(std::chrono::seconds(0));
        return;
      }
    }
  }

  uv_loop_s* loop_;
  Options options_;
  std::function<void()> on_change_;
  UpstreamState state_;
  std::vector<std::unique_ptr<InstanceClient>> hops_;  ///< The replica's upstream first.
};

UpstreamClient::UpstreamClient(uv_loop_s* loop, Options options, std::function<void()> on_change)
    : impl_(std::make_unique<Impl>(loop, std::move(options), std::move(on_change))) {}
UpstreamClient::~UpstreamClient() = default;
void UpstreamClient::Follow(const std::optional<Endpoint>& upstream) { impl_->Follow(upstream); }
const UpstreamState& UpstreamClient::state() const { return impl_->state(); }

}  // namespace rcb::redis
