#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

struct uv_loop_s;

namespace rcb::agent {

/// The one event loop of the process: repeating timers and signals, and the handle that the connections are driven
/// from. Callbacks may do anything but destroy the loop.
class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  uv_loop_s* handle();

  /// Calls `callback` every `interval` (first after one interval) until the loop is destroyed.
  void Every(std::chrono::milliseconds interval, std::function<void()> callback);
  void OnSignal(int signal, std::function<void()> callback);

  void Run();   ///< Until Stop().
  void Stop();  ///< Run() returns after the current callback.

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// The addresses of this host's interfaces, in text.
std::vector<std::string> HostAddresses();

}  // namespace rcb::agent
