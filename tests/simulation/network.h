#pragma once

#include <cstddef>
#include <vector>

#include "tests/simulation/random.h"

namespace rcb::simulation {

/// Who can send to whom. Places are the hosts, 0 and up, and behind them the Consul servers.
class Network {
 public:
  explicit Network(std::size_t hosts) : places_(hosts + 1), blocked_(places_ * places_) {}

  std::size_t hosts() const { return places_ - 1; }
  std::size_t consul() const { return places_ - 1; }  ///< The place of the Consul servers.

  /// Messages in this direction arrive.
  bool Delivers(std::size_t from, std::size_t to) const { return from == to || blocked_[from * places_ + to] == 0; }
  /// Both directions work: a question is answered.
  bool Connects(std::size_t a, std::size_t b) const { return Delivers(a, b) && Delivers(b, a); }

  /// Cuts one direction. Cuts add up: each must be taken back by itself.
  void Block(std::size_t from, std::size_t to) { ++blocked_[from * places_ + to]; }
  void Unblock(std::size_t from, std::size_t to) { --blocked_[from * places_ + to]; }

  /// How long one message takes. Some take a retransmission or two.
  Duration Latency(std::size_t from, std::size_t to, Random& random) const {
    if (from == to) return random.Between(Duration(50), Duration(300));
    if (random.Chance(0.02)) return random.Between(Duration(20'000), Duration(450'000));
    return random.Between(Duration(200), Duration(2'000));
  }

 private:
  std::size_t places_;
  std::vector<int> blocked_;
};

}  // namespace rcb::simulation
