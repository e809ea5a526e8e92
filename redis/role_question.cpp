#include "redis/role_question.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "redis/resp.h"

namespace rcb::redis {
namespace {

using std::chrono::milliseconds;

std::string ErrnoText(int error) { return std::generic_category().message(error); }

/// A connection, over TLS when it is given a session, with one deadline for all that is done with it.
class BlockingConnection {
 public:
  BlockingConnection(std::string name, TimePoint deadline, std::unique_ptr<TlsSession> tls)
      : name_(std::move(name)), deadline_(deadline), tls_(std::move(tls)) {}
  ~BlockingConnection() { Close(); }
  BlockingConnection(const BlockingConnection&) = delete;
  BlockingConnection& operator=(const BlockingConnection&) = delete;

  /// Tries the host's addresses one after the other; the first that connects has to do.
  Result<void> Connect(const Endpoint& endpoint) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* raw = nullptr;
    const int error = getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &raw);
    if (error != 0) return Fail(ErrorKind::kUnresolvable, name_ + " has no address: " + gai_strerror(error));
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(raw, freeaddrinfo);
    Result<void> connected;
    for (const addrinfo* address = raw; address != nullptr; address = address->ai_next) {
      connected = ConnectTo(*address);
      if (connected) break;
    }
    if (connected && tls_ != nullptr) return ShakeHands();
    return connected;
  }

  Result<void> Send(std::string_view text) {
    if (tls_ == nullptr) return SendBytes(text);
    tls_->Write(text);
    return SendBytes(tls_->TakeOutput());
  }

  /// What came next; never empty.
  Result<std::string> Receive() {
    std::string text;
    while (text.empty()) {
      const auto bytes = ReceiveBytes();
      if (!bytes) return tl::unexpected(bytes.error());
      if (tls_ == nullptr) return std::string(*bytes);
      if (auto read = tls_->Read(*bytes, text); !read) return TlsFailure(read.error());
    }
    return text;
  }

  const std::string& name() const { return name_; }

 private:
  Result<void> ShakeHands() {
    tls_->Start();
    std::string text;  // Nothing is said before the handshake is over.
    for (;;) {
      if (auto sent = SendBytes(tls_->TakeOutput()); !sent) return sent;
      if (tls_->is_established()) return {};
      const auto bytes = ReceiveBytes();
      if (!bytes) return tl::unexpected(bytes.error());
      if (auto read = tls_->Read(*bytes, text); !read) return TlsFailure(read.error());
    }
  }

  tl::unexpected<Error> TlsFailure(const Error& error) const { return Fail(error.kind, name_ + " " + error.message); }

  Result<void> SendBytes(std::string_view bytes) {
    while (!bytes.empty()) {
      if (auto ready = WaitFor(POLLOUT); !ready) return ready;
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return Fail(ErrorKind::kClosed, name_ + " closed the connection");
      if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return {};
  }

  Result<std::string_view> ReceiveBytes() {
    if (auto ready = WaitFor(POLLIN); !ready) return tl::unexpected(ready.error());
    const ssize_t size = recv(fd_, buffer_.data(), buffer_.size(), 0);
    if (size <= 0) return Fail(ErrorKind::kClosed, name_ + " closed the connection without an answer");
    return std::string_view(buffer_.data(), static_cast<std::size_t>(size));
  }

  Result<void> ConnectTo(const addrinfo& address) {
    Close();
    fd_ = socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol);
    int error = fd_ < 0 || connect(fd_, address.ai_addr, address.ai_addrlen) != 0 ? errno : 0;
    if (error == EINPROGRESS) {
      if (auto ready = WaitFor(POLLOUT); !ready) return ready;
      socklen_t size = sizeof error;
      getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == ECONNREFUSED) return Fail(ErrorKind::kRefused, name_ + " refuses connections: nothing listens there");
    if (error != 0) return Fail(ErrorKind::kUnreachable, name_ + " cannot be reached: " + ErrnoText(error));
    return {};
  }

  Result<void> WaitFor(short events) const {
    for (;;) {
      const auto remaining = std::chrono::ceil<milliseconds>(deadline_ - std::chrono::steady_clock::now());
      const milliseconds left = std::max(remaining, milliseconds(0));
      pollfd polled{.fd = fd_, .events = events, .revents = 0};
      if (poll(&polled, 1, static_cast<int>(left.count())) > 0) return {};
      if (left.count() == 0) return Fail(ErrorKind::kTimeout, name_ + " does not answer in time");
    }
  }

  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

  const std::string name_;
  const TimePoint deadline_;
  const std::unique_ptr<TlsSession> tls_;
  int fd_ = -1;
  std::array<char, 4096> buffer_{};
};

Result<DecodedReply> ReadReply(BlockingConnection& connection, ReplyDecoder& decoder) {
  for (;;) {
    auto reply = decoder.Next();
    if (!reply) return Fail(reply.error().kind, connection.name() + " " + reply.error().message);
    if (*reply) return **std::move(reply);
    const auto bytes = connection.Receive();
    if (!bytes) return tl::unexpected(bytes.error());
    decoder.Feed(*bytes);
  }
}

}  // namespace

Result<std::string> AskRole(const Endpoint& endpoint, const Credentials& credentials, TlsClient* tls,
                            milliseconds timeout) {
  BlockingConnection connection(endpoint.ToString(), std::chrono::steady_clock::now() + timeout,
                                tls == nullptr ? nullptr : tls->NewSession(endpoint.host));
  if (auto connected = connection.Connect(endpoint); !connected) return tl::unexpected(connected.error());

  std::string request;
  std::size_t replies = 1;
  if (!credentials.password.empty()) {
    std::vector<std::string> auth{"AUTH"};
    if (!credentials.user.empty()) auth.push_back(credentials.user);
    auth.push_back(credentials.password);
    request = EncodeCommand(auth);
    ++replies;
  }
  request += EncodeCommand({"ROLE"});
  if (auto sent = connection.Send(request); !sent) return tl::unexpected(sent.error());

  ReplyDecoder decoder;
  DecodedReply reply;
  while (replies-- > 0) {
    auto next = ReadReply(connection, decoder);
    if (!next) return tl::unexpected(next.error());
    reply = *std::move(next);
    if (reply.is_error) {
      return Fail(KindOfErrorReply(reply.reply.text), connection.name() + " answers: " + Quote(reply.reply.text));
    }
  }
  const auto& fields = reply.reply.elements;
  if (fields.empty() || fields[0].type != Reply::Type::kString) {
    return Fail(ErrorKind::kMalformedReply, connection.name() + " answers ROLE with something else than a role");
  }
  return Quote(fields[0].text);
}

}  // namespace rcb::redis
