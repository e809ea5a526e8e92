#include "tests/integration/role_probe.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "tests/integration/role_reply.h"
#include "tests/integration/socket_address.h"

namespace rcb::integration {

RoleProbe::RoleProbe(const ProbeTarget& target, std::string label, std::string password, HistoryWriter& history)
    : target_(target), subject_(std::move(label)), password_(std::move(password)), history_(history) {}

RoleProbe::~RoleProbe() { Disconnect(); }

void RoleProbe::OnTick(std::int64_t now) {
  if (state_ == State::kClosed) Connect(now);
  if (state_ == State::kIdle) Ask();
}

void RoleProbe::OnReady(std::int64_t now, short) {
  if (state_ == State::kConnecting) {
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      Disconnect();
      if (error == ECONNREFUSED) Note(now, "down");
      return;
    }
    state_ = State::kIdle;
    Ask();
    return;
  }
  Receive(now);
}

pollfd RoleProbe::poll_entry() const {
  return {socket_, static_cast<short>(state_ == State::kConnecting ? POLLOUT : POLLIN), 0};
}

void RoleProbe::Connect(std::int64_t now) {
  socket_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket_ < 0) return;  // Out of descriptors for a moment: the next tick tries again.
  const int no_delay = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof(no_delay));
  const sockaddr_in address = ToSocketAddress(target_);
  if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    state_ = State::kIdle;
  } else if (errno == EINPROGRESS) {
    state_ = State::kConnecting;
  } else {
    const bool refused = errno == ECONNREFUSED;
    Disconnect();
    if (refused) Note(now, "down");
  }
}

void RoleProbe::Disconnect() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
  state_ = State::kClosed;
  received_.clear();
  authenticated_ = awaits_welcome_ = false;
}

void RoleProbe::Ask() {
  std::string question = "*1\r\n$4\r\nROLE\r\n";
  const bool authenticates = !password_.empty() && !authenticated_;
  if (authenticates) {
    question.insert(0, "*2\r\n$4\r\nAUTH\r\n$" + std::to_string(password_.size()) + "\r\n" + password_ + "\r\n");
  }
  if (send(socket_, question.data(), question.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(question.size())) {
    state_ = State::kAsked;
    authenticated_ = authenticated_ || authenticates;
    awaits_welcome_ = authenticates;
  } else {
    Disconnect();
  }
}

void RoleProbe::Receive(std::int64_t now) {
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t size = recv(socket_, buffer.data(), buffer.size(), 0);
    if (size > 0) {
      received_.append(buffer.data(), static_cast<std::size_t>(size));
      continue;
    }
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) break;
    Disconnect();
    Connect(now);  // At once: a dead server is told by its refusal.
    return;
  }
  constexpr std::string_view kWelcome = "+OK\r\n";
  if (awaits_welcome_) {
    if (received_.size() < kWelcome.size()) return;
    if (received_.starts_with(kWelcome)) received_.erase(0, kWelcome.size());
    awaits_welcome_ = false;  // Else a refusal: it is told as the reply.
  }
  const RoleReply reply = ReadRoleReply(received_);
  if (reply.state == RoleReply::State::kIncomplete) return;
  if (reply.state == RoleReply::State::kMalformed) {
    Disconnect();
    Note(now, "malformed");
    return;
  }
  received_.erase(0, reply.length);
  state_ = State::kIdle;
  meter_.OnSample(now);
  Note(now, reply.role);
}

void RoleProbe::Note(std::int64_t now, const std::string& role) {
  if (role == last_) return;
  last_ = role;
  history_.Write(now, kind_, subject_, role);
}

}  // namespace rcb::integration
