#include "agent/event_loop.h"

#include <uv.h>

#include <array>
#include <stdexcept>
#include <utility>
#include <vector>

namespace rcb::agent {

class EventLoop::Impl {
 public:
  /// A libuv handle with its callback. libuv frees nothing: Close() hands the memory to the close callback.
  template <typename Handle>
  struct Watcher {
    Handle handle{};
    std::function<void()> callback;
  };

  Impl() {
    if (uv_loop_init(&loop) != 0) throw std::runtime_error("cannot create an event loop: too many open files?");
  }

  ~Impl() {
    for (auto& timer : timers) Close(timer.release());
    for (auto& signal : signals) Close(signal.release());
    // Connections that were destroyed before close their handles in the same turns.
    while (uv_run(&loop, UV_RUN_NOWAIT) != 0) {
    }
    uv_loop_close(&loop);
  }

  template <typename Handle>
  static void Close(Watcher<Handle>* watcher) {
    uv_close(reinterpret_cast<uv_handle_t*>(&watcher->handle),
             [](uv_handle_t* handle) { delete static_cast<Watcher<Handle>*>(handle->data); });
  }

  uv_loop_t loop{};
  std::vector<std::unique_ptr<Watcher<uv_timer_t>>> timers;
  std::vector<std::unique_ptr<Watcher<uv_signal_t>>> signals;
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

uv_loop_s* EventLoop::handle() { return &impl_->loop; }

void EventLoop::Every(std::chrono::milliseconds interval, std::function<void()> callback) {
  auto watcher = std::make_unique<Impl::Watcher<uv_timer_t>>();
  watcher->callback = std::move(callback);
  watcher->handle.data = watcher.get();
  uv_timer_init(&impl_->loop, &watcher->handle);
  const auto period = static_cast<std::uint64_t>(interval.count());
  uv_timer_start(
      &watcher->handle, [](uv_timer_t* handle) { static_cast<Impl::Watcher<uv_timer_t>*>(handle->data)->callback(); },
      period, period);
  impl_->timers.push_back(std::move(watcher));
}

void EventLoop::OnSignal(int signal, std::function<void()> callback) {
  auto watcher = std::make_unique<Impl::Watcher<uv_signal_t>>();
  watcher->callback = std::move(callback);
  watcher->handle.data = watcher.get();
  uv_signal_init(&impl_->loop, &watcher->handle);
  uv_signal_start(
      &watcher->handle,
      [](uv_signal_t* handle, int) { static_cast<Impl::Watcher<uv_signal_t>*>(handle->data)->callback(); }, signal);
  impl_->signals.push_back(std::move(watcher));
}

void EventLoop::Run() { uv_run(&impl_->loop, UV_RUN_DEFAULT); }

void EventLoop::Stop() { uv_stop(&impl_->loop); }

std::vector<std::string> HostAddresses() {
  std::vector<std::string> addresses;
  uv_interface_address_t* interfaces = nullptr;
  int count = 0;
  if (uv_interface_addresses(&interfaces, &count) != 0) return addresses;
  for (int i = 0; i < count; ++i) {
    std::array<char, 64> text{};
    const auto& address = interfaces[i].address;
    const int failed = address.address4.sin_family == AF_INET
                           ? uv_ip4_name(&address.address4, text.data(), text.size())
                           : uv_ip6_name(&address.address6, text.data(), text.size());
    if (failed == 0) addresses.emplace_back(text.data());
  }
  uv_free_interface_addresses(interfaces, count);
  return addresses;
}

}  // namespace rcb::agent
