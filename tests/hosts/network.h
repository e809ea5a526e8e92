#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/integration/test_folder.h"

namespace rcb::hosts {

/// Hosts in networks of their own with one router between them: a network namespace each. A further link of each host,
/// which no drop concerns, leads to the calling thread, so that a test can ask those that are cut off; as long as this
/// lives, the thread and the processes that it starts are in a namespace with no other way out.
///
///   host 0: 10.77.1.2, .3, .4/24 --\                  /-- host 2
///   host 1: 10.77.2.2, .3, .4/24 ---- router 10.77.N.1 ---- host 3 ...
class Network {
 public:
  /// Throws std::runtime_error that tells the remedy when it cannot be made.
  Network(const integration::TestFolder& folder, std::size_t hosts);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// As `ip netns` knows it.
  const std::string& namespace_of(std::size_t host) const { return hosts_[host]; }

  // Addresses by what listens there, so that one kind of server can be cut off alone. All else comes from redis().
  static std::string redis(std::size_t host) { return Address(host, 2); }
  static std::string consul(std::size_t host) { return Address(host, 3); }
  static std::string sentinel(std::size_t host) { return Address(host, 4); }
  static std::string all(std::size_t host) { return Address(host, 0) + "/24"; }

  /// From now on the router lets packets from one address or network to another vanish, without a word to the sender.
  /// An empty one is any.
  void Drop(const std::string& from, const std::string& to) const;
  void DropBothWays(const std::string& one, const std::string& other) const {
    Drop(one, other);
    Drop(other, one);
  }
  /// Undoes every Drop().
  void Heal() const;

 private:
  static std::string Address(std::size_t host, int last);
  /// Runs `ip` with these words; `what` is to be said when it fails.
  void Ip(const std::string& words) const;
  void AddHost(std::size_t host);
  void EnterTestNamespace();
  void Remove();

  const std::filesystem::path log_;
  const std::string prefix_;
  const std::string router_;
  const std::string test_;  ///< That of the calling thread.
  std::vector<std::string> hosts_;
  int own_namespace_ = -1;  ///< Where the thread came from.
};

}  // namespace rcb::hosts
