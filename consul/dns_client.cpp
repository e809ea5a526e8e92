#include "consul/dns_client.h"

// c-ares 1.28 and newer mark what 1.18 (Debian 12) has as deprecated.
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace rcb::consul {
namespace {

using std::chrono::milliseconds;

constexpr int kClassIn = 1;
constexpr int kEdnsBytes = 4096;  // The most that c-ares takes from a UDP socket.
constexpr int kTries = 3;         // At 0, 1/4 and 3/4 of the timeout: c-ares doubles its patience at each.

constexpr int kNoError = 0;
constexpr int kNameError = 3;
constexpr int kRefused = 5;

/// Owns what c-ares sets up for the whole process.
struct AresLibrary {
  AresLibrary() : status(ares_library_init(ARES_LIB_INIT_ALL)) {}
  ~AresLibrary() {
    if (status == ARES_SUCCESS) ares_library_cleanup();
  }
  AresLibrary(const AresLibrary&) = delete;
  AresLibrary& operator=(const AresLibrary&) = delete;
  const int status;
};

struct ChannelDestroyer {
  void operator()(ares_channeldata* channel) const { ares_destroy(channel); }
};
using Channel = std::unique_ptr<ares_channeldata, ChannelDestroyer>;

/// What c-ares said to one question. The channel must not outlive it while it has none: see Impl::Ask().
struct Outcome {
  bool is_there = false;
  int status = ARES_SUCCESS;
  std::vector<std::uint8_t> message;  // Empty when c-ares has none to show.
};

void OnOutcome(void* argument, int status, int /*timeouts*/, unsigned char* bytes, int size) {
  auto& outcome = *static_cast<Outcome*>(argument);
  outcome.is_there = true;
  outcome.status = status;
  if (bytes != nullptr && size > 0) outcome.message.assign(bytes, bytes + size);
}

std::string TimeText(milliseconds time) {
  if (time.count() % 1000 == 0) return std::to_string(time.count() / 1000) + " s";
  return std::to_string(time.count()) + " ms";
}

std::string ResponseCodeText(int code) {
  switch (code) {
    case 1: return "FORMERR";
    case 2: return "SERVFAIL";
    case 4: return "NOTIMP";
    case kRefused: return "REFUSED";
    default: return "code " + std::to_string(code);
  }
}

}  // namespace

class DnsClient::Impl {
 public:
  explicit Impl(const Options& options) : options_(options) {
    if (options.host.empty()) {
      description_ = "the host's resolver (/etc/resolv.conf)";
    } else {
      const bool is_ipv6 = options.host.find(':') != std::string::npos;
      description_ = "DNS at " + (is_ipv6 ? "[" + options.host + "]" : options.host) + ":" +
                     std::to_string(options.port) + (options.tcp ? " (TCP)" : "");
    }
  }

  /// Finds the addresses of the server. It may be named (localhost, a container), and a name may have several.
  Result<void> FindServers() {
    if (library_.status != ARES_SUCCESS) {
      return Fail(ErrorKind::kServer, std::string("c-ares does not start: ") + ares_strerror(library_.status));
    }
    if (options_.host.empty()) return {};
    addrinfo hints{};
    hints.ai_socktype = SOCK_DGRAM;
    addrinfo* first = nullptr;
    const int error = getaddrinfo(options_.host.c_str(), nullptr, &hints, &first);
    if (error != 0) {
      return Fail(ErrorKind::kUnreachable, "the DNS server's name '" + options_.host + "' has no address (" +
                                               gai_strerror(error) +
                                               "): give its IP address (--dns, REDIS_RESOLVE_DNS)");
    }
    for (const addrinfo* info = first; info != nullptr; info = info->ai_next) {
      ares_addr_port_node server{};
      server.family = info->ai_family;
      server.udp_port = server.tcp_port = options_.port;
      if (info->ai_family == AF_INET) {
        std::memcpy(&server.addr.addr4, &reinterpret_cast<const sockaddr_in*>(info->ai_addr)->sin_addr,
                    sizeof server.addr.addr4);
      } else if (info->ai_family == AF_INET6) {
        std::memcpy(&server.addr.addr6, &reinterpret_cast<const sockaddr_in6*>(info->ai_addr)->sin6_addr,
                    sizeof server.addr.addr6);
      } else {
        continue;
      }
      servers_.push_back(server);
    }
    freeaddrinfo(first);
    for (std::size_t i = 1; i < servers_.size(); ++i) servers_[i - 1].next = &servers_[i];
    return {};
  }

  Result<DnsMessage> Ask(const std::string& name, RecordType type, milliseconds timeout) {
    if (auto open = OpenChannel(timeout); !open) return tl::unexpected(open.error());
    Outcome outcome;
    ares_query(channel_.get(), name.c_str(), kClassIn, static_cast<int>(type), OnOutcome, &outcome);
    const auto heard = Wait(channel_.get(), outcome, timeout);
    if (!outcome.is_there) channel_.reset();  // It shall not speak to OnOutcome() any more.
    if (outcome.message.empty()) {
      return tl::unexpected(heard ? Nonsense(*heard) : Silence(outcome.status, timeout));
    }

    auto message = ParseDnsMessage(outcome.message);
    if (!message) return Fail(ErrorKind::kMalformedReply, description_ + " sent a " + message.error().message);
    if (message->response_code == kNoError || message->response_code == kNameError) return message;
    const bool refused = message->response_code == kRefused;
    return Fail(refused ? ErrorKind::kDenied : ErrorKind::kServer,
                description_ + " answered " + ResponseCodeText(message->response_code) + " for " + name +
                    (refused ? ": is the domain right? (--domain)" : ": has Consul a leader? Its log says more"));
  }

  const std::string& description() const { return description_; }

 private:
  /// Has channel_ ready for a question. It serves as long as the timeout is the same, which it cannot change.
  Result<void> OpenChannel(milliseconds timeout) {
    if (channel_ != nullptr && channel_timeout_ == timeout) return {};
    ares_options settings{};
    // The search list is not used by ares_query() and the host's other files not at all.
    settings.flags = ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    if (options_.tcp) settings.flags |= ARES_FLAG_USEVC;
    // SERVFAIL and REFUSED of the one server are the answer; of resolv.conf's, the next one is tried.
    if (!servers_.empty()) settings.flags |= ARES_FLAG_NOCHECKRESP;
    settings.timeout = static_cast<int>(std::max<milliseconds::rep>(timeout.count() / 4, 1));
    settings.tries = kTries;
    settings.ednspsz = kEdnsBytes;
    ares_channel raw = nullptr;
    const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ;
    int status = ares_init_options(&raw, &settings, mask);
    channel_.reset(status == ARES_SUCCESS ? raw : nullptr);
    channel_timeout_ = timeout;
    if (status == ARES_SUCCESS && !servers_.empty()) status = ares_set_servers_ports(raw, servers_.data());
    if (status != ARES_SUCCESS) {
      channel_.reset();
      return Fail(ErrorKind::kServer, "c-ares cannot ask " + description_ + ": " + ares_strerror(status));
    }
    return {};
  }

  /// Drives the channel until the outcome is there or the time is over. The last that came from the server, if anything
  /// did: c-ares drops without a word what does not answer its question.
  static std::optional<std::vector<std::uint8_t>> Wait(ares_channel channel, const Outcome& outcome,
                                                       milliseconds timeout) {
    const TimePoint deadline = std::chrono::steady_clock::now() + timeout;
    std::optional<std::vector<std::uint8_t>> heard;
    while (!outcome.is_there) {
      std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets{};
      std::array<pollfd, ARES_GETSOCK_MAXNUM> polled{};
      const auto wanted = static_cast<unsigned>(ares_getsock(channel, sockets.data(), ARES_GETSOCK_MAXNUM));
      nfds_t count = 0;
      for (unsigned i = 0; i < sockets.size(); ++i) {
        short events = 0;
        if (ARES_GETSOCK_READABLE(wanted, i) != 0) events |= POLLIN;
        if (ARES_GETSOCK_WRITABLE(wanted, i) != 0) events |= POLLOUT;
        if (events != 0) polled[count++] = {.fd = sockets[i], .events = events, .revents = 0};
      }
      const auto remaining = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
      const milliseconds left = std::max(remaining, milliseconds(0));
      timeval longest{.tv_sec = left.count() / 1000, .tv_usec = left.count() % 1000 * 1000};
      timeval buffer{};
      const timeval* const next = ares_timeout(channel, &longest, &buffer);
      const auto pause = next->tv_sec * 1000 + (next->tv_usec + 999) / 1000;
      if (poll(polled.data(), count, static_cast<int>(pause)) <= 0) {
        if (left.count() == 0) break;                                // A process that was held up has now looked, too.
        ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // Time passed: c-ares may send again.
        continue;
      }
      for (nfds_t i = 0; i < count; ++i) {
        const bool failed = (polled[i].revents & (POLLERR | POLLHUP)) != 0;
        const bool readable = (polled[i].revents & POLLIN) != 0;
        const bool writable = (polled[i].revents & POLLOUT) != 0;
        if (readable && !failed) heard = Peek(polled[i].fd);
        ares_process_fd(channel, readable || failed ? polled[i].fd : ARES_SOCKET_BAD,
                        writable ? polled[i].fd : ARES_SOCKET_BAD);
      }
    }
    return heard;
  }

  /// What is about to be read from `fd`, left there.
  static std::vector<std::uint8_t> Peek(int fd) {
    std::vector<std::uint8_t> bytes(kEdnsBytes);
    const ssize_t size = recv(fd, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
    bytes.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return bytes;
  }

  std::string Remedy() const {
    return options_.host.empty() ? ": does it forward Consul's domain? (--dns HOST:PORT asks Consul itself)"
                                 : ": is the Consul agent running there? (--dns, REDIS_RESOLVE_DNS)";
  }

  /// Why `heard` was not taken for the answer.
  Error Nonsense(std::span<const std::uint8_t> heard) const {
    if (options_.tcp) {
      return {ErrorKind::kMalformedReply,
              description_ + " closed the connection or sent no usable answer over it" + Remedy()};
    }
    const auto message = ParseDnsMessage(heard);
    return {ErrorKind::kMalformedReply,
            description_ +
                (message ? " sent an answer to another question (its id or its name is not ours)"
                         : " sent a " + message.error().message) +
                Remedy()};
  }

  /// Why nothing was heard. The kernel keeps from us what comes from another address or port than we asked.
  Error Silence(int status, milliseconds timeout) const {
    switch (status) {
      case ARES_ECONNREFUSED: return {ErrorKind::kUnreachable, description_ + " cannot be reached" + Remedy()};
      case ARES_EBADNAME:
        return {ErrorKind::kConfiguration, "c-ares takes the name for none: check the service and the domain"};
      case ARES_ENOMEM: return {ErrorKind::kServer, "out of memory while asking " + description_};
      default:
        return {ErrorKind::kTimeout,
                "no answer from " + description_ + " itself within " + TimeText(timeout) + Remedy()};
    }
  }

  Options options_;
  std::string description_;
  AresLibrary library_;
  std::vector<ares_addr_port_node> servers_;  // Linked in their order; empty: resolv.conf's.
  Channel channel_;
  milliseconds channel_timeout_{0};
};

DnsClient::DnsClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DnsClient::~DnsClient() = default;

Result<std::unique_ptr<DnsClient>> DnsClient::Create(const Options& options) {
  auto impl = std::make_unique<Impl>(options);
  if (auto found = impl->FindServers(); !found) return tl::unexpected(found.error());
  return std::unique_ptr<DnsClient>(new DnsClient(std::move(impl)));
}

Result<DnsMessage> DnsClient::Ask(const std::string& name, RecordType type, milliseconds timeout) {
  return impl_->Ask(name, type, timeout);
}

const std::string& DnsClient::description() const { return impl_->description(); }

}  // namespace rcb::consul
