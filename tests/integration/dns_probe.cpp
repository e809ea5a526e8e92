#include "tests/integration/dns_probe.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include "tests/integration/dns_answer.h"
#include "tests/integration/socket_address.h"

namespace rcb::integration {
namespace {

/// Consul answers from memory in a fraction of a millisecond; a question unanswered for this long is asked anew.
constexpr std::int64_t kAnswerMicros = 250'000;

}  // namespace

DnsProbe::DnsProbe(const ProbeTarget& target, std::string label, std::string name, HistoryWriter& history)
    : label_(std::move(label)),
      name_(std::move(name)),
      history_(history),
      socket_(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
  // Connected, so that the kernel reports a port at which nobody listens.
  const sockaddr_in address = ToSocketAddress(target);
  if (socket_ < 0 || connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot open a socket towards the DNS server " + label_);
  }
}

DnsProbe::~DnsProbe() { close(socket_); }

void DnsProbe::OnTick(std::int64_t now) {
  if (asked_at_ != 0) {
    if (now - asked_at_ < kAnswerMicros) return;
    Note(now, "!timeout");
  }
  ++id_;
  const std::string question = BuildSrvQuestion(name_, id_);
  if (send(socket_, question.data(), question.size(), 0) < 0) {
    // An earlier datagram's rejection is told at the next call on the socket.
    meter_.OnSample(now);
    Note(now, errno == ECONNREFUSED ? "!refused" : "!unreachable");
    return;
  }
  asked_at_ = now;
}

void DnsProbe::OnReady(std::int64_t now, short) {
  std::array<char, 65536> packet;
  for (;;) {
    const ssize_t size = recv(socket_, packet.data(), packet.size(), 0);
    if (size < 0) {
      if (errno == ECONNREFUSED) {
        meter_.OnSample(now);
        Note(now, "!refused");
      }
      return;
    }
    const std::optional<std::string> answer = ReadSrvAnswer({packet.data(), static_cast<std::size_t>(size)}, id_);
    if (answer && asked_at_ != 0) {
      meter_.OnSample(now);
      Note(now, *answer);
    }
  }
}

void DnsProbe::Note(std::int64_t now, const std::string& answer) {
  asked_at_ = 0;
  if (answer == last_) return;
  last_ = answer;
  history_.Write(now, kind_, label_, answer);
}

}  // namespace rcb::integration
