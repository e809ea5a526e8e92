#include "tests/simulation/event_queue.h"

#include <algorithm>
#include <utility>

namespace rcb::simulation {

void EventQueue::At(TimePoint at, Action action) {
  events_.push_back({std::max(at, now_), ++order_, std::move(action)});
  std::push_heap(events_.begin(), events_.end(), Later);
}

void EventQueue::RunUntil(TimePoint end) {
  while (!stopped_ && !events_.empty() && events_.front().at <= end) {
    std::pop_heap(events_.begin(), events_.end(), Later);
    const Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.at;
    ++executed_;
    event.action();
  }
  if (!stopped_) now_ = end;
}

}  // namespace rcb::simulation
