#include "tests/hosts/network.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "tests/integration/process.h"

namespace rcb::hosts {
namespace {

using integration::Process;
using integration::ReadFile;

/// A look-up in the router that ends here: the packet is gone (ip-rule(8), `blackhole`). Before the table `main`,
/// 32766.
constexpr const char* kDropPriority = "100";

std::vector<std::string> Words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::string Number(std::size_t host) { return std::to_string(host + 1); }

constexpr const char* kNamespaces = "/run/netns";

/// The namespaces of a test that was killed.
std::vector<std::string> Leftovers() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(kNamespaces, ignored)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    if (std::sscanf(name.c_str(), "rcb-%d-", &pid) == 1 && kill(pid, 0) != 0 && errno == ESRCH) names.push_back(name);
  }
  return names;
}

}  // namespace

Network::Network(const integration::TestFolder& folder, std::size_t hosts)
    : log_(folder.path() / "ip.log"),
      prefix_("rcb-" + std::to_string(getpid()) + "-"),
      router_(prefix_ + "router"),
      test_(prefix_ + "test") {
  if (geteuid() != 0)
    throw std::runtime_error("network namespaces need root: tests/hosts/as_root.sh runs a command as root");
  for (std::size_t i = 0; i < hosts; ++i) hosts_.push_back(prefix_ + "host" + Number(i));
  for (const std::string& name : Leftovers()) Ip("netns delete " + name);
  try {
    Ip("netns add " + router_);
    Ip("netns add " + test_);
    Ip("netns exec " + router_ + " sysctl -q -w net.ipv4.ip_forward=1");
    for (std::size_t i = 0; i < hosts; ++i) AddHost(i);
    EnterTestNamespace();
  } catch (...) {
    Remove();
    throw;
  }
}

Network::~Network() { Remove(); }

void Network::AddHost(std::size_t host) {
  const std::string& name = hosts_[host];
  const std::string number = Number(host);
  Ip("netns add " + name);
  Ip("-n " + name + " link set lo up");
  Ip("-n " + router_ + " link add host" + number + " type veth peer name data netns " + name);
  Ip("-n " + router_ + " addr add " + Address(host, 1) + "/24 dev host" + number);
  Ip("-n " + router_ + " link set host" + number + " up");
  const std::string add = "-n " + name + " addr add ";
  for (const std::string& address : {redis(host), consul(host), sentinel(host)}) Ip(add + address + "/24 dev data");
  Ip("-n " + name + " link set data up");
  Ip("-n " + name + " route add default via " + Address(host, 1));

  const std::string own_side = "10.78." + number + ".1";
  const std::string its_side = "10.78." + number + ".2";
  Ip("-n " + test_ + " link add host" + number + " type veth peer name test netns " + name);
  Ip("-n " + test_ + " addr add " + own_side + "/24 dev host" + number);
  Ip("-n " + test_ + " link set host" + number + " up");
  Ip("-n " + name + " addr add " + its_side + "/24 dev test");
  Ip("-n " + name + " link set test up");
  Ip("-n " + test_ + " route add " + all(host) + " via " + its_side);
}

void Network::EnterTestNamespace() {
  own_namespace_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  const int entered = open((std::string(kNamespaces) + "/" + test_).c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = own_namespace_ >= 0 && entered >= 0 && setns(entered, CLONE_NEWNET) == 0;
  const int error = errno;
  if (entered >= 0) close(entered);
  if (!done) throw std::runtime_error("cannot enter the network namespace " + test_ + ": " + std::strerror(error));
}

void Network::Remove() {
  if (own_namespace_ >= 0) {
    setns(own_namespace_, CLONE_NEWNET);
    close(own_namespace_);
  }
  std::vector<std::string> all = hosts_;
  all.insert(all.end(), {router_, test_});
  for (const std::string& name : all) {
    if (!std::filesystem::exists(std::filesystem::path(kNamespaces) / name)) continue;
    Process({.command = {"ip", "netns", "delete", name}, .output = log_}).WaitForExit(std::chrono::seconds(10));
  }
}

void Network::Drop(const std::string& from, const std::string& to) const {
  Ip("-n " + router_ + " rule add priority " + kDropPriority + (from.empty() ? "" : " from " + from) +
     (to.empty() ? "" : " to " + to) + " blackhole");
}

void Network::Heal() const {
  // One at a time, until none is left.
  Process::Options options{.command = Words("ip -n " + router_ + " rule delete priority " + kDropPriority),
                           .output = log_};
  while (Process(options).WaitForExit(std::chrono::seconds(10)) == 0) {
  }
}

std::string Network::Address(std::size_t host, int last) {
  return "10.77." + Number(host) + "." + std::to_string(last);
}

void Network::Ip(const std::string& words) const {
  std::vector<std::string> command = Words(words);
  command.insert(command.begin(), "ip");
  Process process({.command = command, .output = log_});
  if (process.WaitForExit(std::chrono::seconds(10)) == 0) return;
  throw std::runtime_error("`ip " + words + "` failed: " + ReadFile(log_) +
                           "This test makes network namespaces: it needs iproute2 (scripts/install-deps) and root with "
                           "CAP_SYS_ADMIN and CAP_NET_ADMIN (in a container: --privileged)");
}

}  // namespace rcb::hosts
