#include "tests/integration/role_probe.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "tests/integration/role_reply.h"
#include "tests/integration/socket_address.h"

namespace rcb::integration {

RoleProbe::RoleProbe(const ProbeTarget& target, HistoryWriter& history)
    : target_(target), subject_(target.address + ":" + std::to_string(target.port)), history_(history) {}

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
}

void RoleProbe::Ask() {
  constexpr std::string_view kRole = "*1\r\n$4\r\nROLE\r\n";
  if (send(socket_, kRole.data(), kRole.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(kRole.size())) {
    state_ = State::kAsked;
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
