#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "agent/event_loop.h"

namespace rcb::agent {

/// Runs one call to its end, for commands that have nothing else to do. `start` is given the handler to pass on, which
/// must be called once.
template <typename Answer>
Answer Await(EventLoop& loop, const std::function<void(std::function<void(Answer)>)>& start) {
  std::optional<Answer> answer;
  start([&](Answer given) {
    answer = std::move(given);
    loop.Stop();
  });
  loop.Run();
  return *std::move(answer);
}

}  // namespace rcb::agent
