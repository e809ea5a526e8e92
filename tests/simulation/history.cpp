#include "tests/simulation/history.h"

#include <array>
#include <cstdio>

namespace rcb::simulation {

void History::Add(const std::string& line) {
  std::array<char, 32> time{};
  const double seconds = std::chrono::duration<double>(queue_.now() - start_).count();
  std::snprintf(time.data(), time.size(), "%10.4f  ", seconds);
  lines_.push_back(time.data() + line);
}

}  // namespace rcb::simulation
