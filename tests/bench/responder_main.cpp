// Stands in for many Redis servers, which no test machine has room for: answers what redis-consul-agent asks of them.
//   bench_responder GROUP_SIZE ADDRESS:PORT...
// Each GROUP_SIZE of the places are one replication group, whose first server is the master. "PROMOTE", sent to a
// server, makes it its group's master and closes the connections of both, as Sentinel does; alone in its group it turns
// from master to replica of nobody's and back. The answer is the time of the change (CLOCK_MONOTONIC, microseconds).

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

/// No request is longer.
constexpr std::size_t kMaxRequest = 4096;

std::string Hex(std::size_t number) {
  std::array<char, 41> text{};
  std::snprintf(text.data(), text.size(), "%040zx", number);
  return text.data();
}

std::string Bulk(const std::string& text) { return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n"; }

struct Server {
  std::string host;
  std::string port;
  std::size_t group = 0;
};

struct Group {
  std::vector<std::size_t> servers;
  std::optional<std::size_t> master;  ///< None: the only server is a replica.
  std::size_t promotions = 0;         ///< Counts up the replication id.
};

struct Peer {
  std::size_t server = 0;
  std::string request;
};

class Responder {
 public:
  Responder(std::size_t group_size, const std::vector<std::string>& places) : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      const std::size_t colon = places[i].find(':');
      if (colon == std::string::npos) throw std::invalid_argument(places[i] + " is no ADDRESS:PORT");
      servers_.push_back({places[i].substr(0, colon), places[i].substr(colon + 1), i / group_size});
      if (i % group_size == 0) groups_.push_back({.servers = {}, .master = i});
      groups_.back().servers.push_back(i);
      Listen(i);
    }
  }

  [[noreturn]] void Run() {
    std::array<epoll_event, 256> events{};
    while (true) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) OnReady(events[static_cast<std::size_t>(i)].data.fd);
    }
  }

 private:
  void Listen(std::size_t server) {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(servers_[server].port.c_str())));
    inet_pton(AF_INET, servers_[server].host.c_str(), &address.sin_addr);
    if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(listener, 64) != 0) {
      throw std::runtime_error("cannot listen at " + servers_[server].host + ":" + servers_[server].port);
    }
    listeners_[listener] = server;
    Watch(listener);
  }

  void Watch(int descriptor) const {
    epoll_event event{.events = EPOLLIN, .data = {.fd = descriptor}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event);
  }

  void OnReady(int descriptor) {
    if (const auto listener = listeners_.find(descriptor); listener != listeners_.end()) {
      const int peer = accept4(descriptor, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (peer < 0) return;
      peers_[peer] = {.server = listener->second, .request = {}};
      Watch(peer);
      return;
    }
    const auto found = peers_.find(descriptor);
    if (found == peers_.end()) return;  // Closed while its event was waiting.
    std::array<char, kMaxRequest> block{};
    const ssize_t count = read(descriptor, block.data(), block.size());
    if (count <= 0) {
      Close(descriptor);
      return;
    }
    found->second.request.append(block.data(), static_cast<std::size_t>(count));
    std::string replies;
    while (const auto command = TakeCommand(found->second.request)) {
      replies += Answer(descriptor, found->second.server, *command);
    }
    if (found->second.request.size() > kMaxRequest ||
        send(descriptor, replies.data(), replies.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(replies.size())) {
      Close(descriptor);
    }
  }

  void Close(int descriptor) {
    peers_.erase(descriptor);
    close(descriptor);
  }

  /// A whole "*2\r\n$4\r\nINFO\r\n..." at the start of `text`, which loses it.
  static std::optional<std::vector<std::string>> TakeCommand(std::string& text) {
    std::size_t at = 0;
    const auto number = [&](char mark) -> std::optional<std::size_t> {
      const std::size_t end = text.find("\r\n", at);
      std::size_t value = 0;
      if (end == std::string::npos || text[at] != mark) return std::nullopt;
      std::from_chars(text.data() + at + 1, text.data() + end, value);
      at = end + 2;
      return value <= kMaxRequest ? std::optional(value) : std::nullopt;
    };
    const auto words = number('*');
    if (!words) return std::nullopt;
    std::vector<std::string> command;
    for (std::size_t i = 0; i < *words; ++i) {
      const auto size = number('$');
      if (!size || text.size() < at + *size + 2) return std::nullopt;
      command.push_back(text.substr(at, *size));
      at += *size + 2;
    }
    text.erase(0, at);
    return command;
  }

  std::string Answer(int peer, std::size_t server, const std::vector<std::string>& command) {
    const std::string name = command.empty() ? "" : command[0];
    if (name == "INFO") return Bulk(Info(server, command.size() > 1 ? command[1] : ""));
    if (name == "PING") return "+PONG\r\n";
    if (name == "CLIENT") return "+OK\r\n";
    if (name == "SUBSCRIBE" && command.size() == 2) return "*3\r\n" + Bulk("subscribe") + Bulk(command[1]) + ":1\r\n";
    if (name == "PROMOTE") return Bulk(std::to_string(Promote(peer, server)));
    return "-ERR unknown command\r\n";
  }

  std::string Info(std::size_t server, const std::string& section) const {
    if (section == "persistence") return "# Persistence\r\nloading:0\r\n";
    if (section == "server") {
      return "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:" + Hex(server + 1) +
             "\r\ntcp_port:" + servers_[server].port + "\r\n";
    }
    const Group& group = groups_[servers_[server].group];
    const std::size_t id = (servers_[server].group + 1) << 20U;
    std::string text = "# Replication\r\n";
    if (group.master == server) {
      text += "role:master\r\nconnected_slaves:" + std::to_string(group.servers.size() - 1) + "\r\n";
      std::size_t number = 0;
      for (const std::size_t other : group.servers) {
        if (other == server) continue;
        text += "slave" + std::to_string(number++) + ":ip=" + servers_[other].host + ",port=" + servers_[other].port +
                ",state=online,offset=1000,lag=0\r\n";
      }
    } else {
      const Server nobody{.host = "127.0.0.1", .port = "1"};
      const Server& master = group.master ? servers_[*group.master] : nobody;
      text += "role:slave\r\nmaster_host:" + master.host + "\r\nmaster_port:" + master.port +
              "\r\nmaster_link_status:up\r\nmaster_last_io_seconds_ago:0\r\nmaster_sync_in_progress:0\r\n"
              "slave_read_repl_offset:1000\r\nslave_repl_offset:1000\r\nslave_priority:100\r\nslave_read_only:1\r\n"
              "replica_announced:1\r\nconnected_slaves:0\r\n";
    }
    return text + "master_failover_state:no-failover\r\nmaster_replid:" + Hex(id + group.promotions) +
           "\r\nmaster_replid2:" + (group.promotions == 0 ? Hex(0) : Hex(id + group.promotions - 1)) +
           "\r\nmaster_repl_offset:1000\r\nsecond_repl_offset:" + (group.promotions == 0 ? "-1" : "900") + "\r\n";
  }

  std::int64_t Promote(int by, std::size_t server) {
    Group& group = groups_[servers_[server].group];
    const std::optional<std::size_t> before = group.master;
    group.master = before == server ? std::nullopt : std::optional(server);
    ++group.promotions;
    std::vector<int> closed;
    for (const auto& [descriptor, peer] : peers_) {
      if (descriptor != by && (peer.server == server || peer.server == before)) closed.push_back(descriptor);
    }
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    for (const int descriptor : closed) Close(descriptor);
    return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  }

  int epoll_;
  std::vector<Server> servers_;
  std::vector<Group> groups_;
  std::map<int, std::size_t> listeners_;  ///< Server by descriptor.
  std::map<int, Peer> peers_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const std::size_t group_size = arguments.empty() ? 0 : static_cast<std::size_t>(std::atoi(arguments[0].c_str()));
  if (group_size == 0 || arguments.size() < 2) {
    std::fputs("usage: bench_responder GROUP_SIZE ADDRESS:PORT...\n", stderr);
    return 2;
  }
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  try {
    Responder(group_size, {arguments.begin() + 1, arguments.end()}).Run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_responder: %s\n", error.what());
    return 1;
  }
}
