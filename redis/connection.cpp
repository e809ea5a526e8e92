#include "redis/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "redis/loop_timer.h"
#include "redis/resp.h"
#include "redis/tls.h"

namespace rcb::redis {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kClientName = "redis-consul-agent";  // In CLIENT LIST.
constexpr std::size_t kMaxAddresses = 16;                       // Of one name; further ones are not tried.
constexpr std::size_t kReadChunk = 16384;
constexpr int kMaxReadsPerEvent = 16;         // Then others on the loop have their turn.
constexpr int kKeepaliveIdleSeconds = 15;     // A subscription is silent: only the kernel can notice
constexpr int kKeepaliveIntervalSeconds = 5;  // that its peer's host is gone.
constexpr int kKeepaliveProbes = 3;

TimePoint Now() { return std::chrono::steady_clock::now(); }

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

Address MakeAddress(const void* address, std::size_t length) {
  Address result;
  std::memcpy(&result.storage, address, std::min(length, sizeof(result.storage)));
  result.length = static_cast<socklen_t>(length);
  return result;
}

/// The address that `endpoint` spells out, if it does not name a host.
std::optional<Address> LiteralAddress(const Endpoint& endpoint) {
  if (endpoint.is_unix()) {
    sockaddr_un unix_address{};
    unix_address.sun_family = AF_UNIX;
    endpoint.unix_path.copy(unix_address.sun_path, sizeof(unix_address.sun_path) - 1);
    return MakeAddress(&unix_address, sizeof(unix_address));
  }
  sockaddr_in v4{};
  if (uv_ip4_addr(endpoint.host.c_str(), endpoint.port, &v4) == 0) return MakeAddress(&v4, sizeof(v4));
  sockaddr_in6 v6{};
  if (uv_ip6_addr(endpoint.host.c_str(), endpoint.port, &v6) == 0) return MakeAddress(&v6, sizeof(v6));
  return std::nullopt;
}

void SetPort(Address& address, std::uint16_t port) {
  if (address.storage.ss_family == AF_INET) reinterpret_cast<sockaddr_in&>(address.storage).sin_port = htons(port);
  if (address.storage.ss_family == AF_INET6) reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port = htons(port);
}

std::string ErrnoText(int error) { return std::generic_category().message(error); }

Error ConnectError(const std::string& name, int error) {
  switch (error) {
    case ECONNREFUSED: return {ErrorKind::kRefused, name + " refuses connections: nothing listens there"};
    case ENOENT: return {ErrorKind::kRefused, name + " does not exist: no server has made that socket"};
    case EACCES: return {ErrorKind::kPermission, name + " may not be opened by this user: " + ErrnoText(error)};
    default: return {ErrorKind::kUnreachable, name + " cannot be reached: " + ErrnoText(error)};
  }
}

/// A connecting or connected socket and its place in the loop.
class PolledSocket {
 public:
  /// Takes `fd`, which is closed with this object.
  PolledSocket(uv_loop_t* loop, int fd, void* data) : fd_(fd), poll_(new uv_poll_t) {
    is_polled_ = uv_poll_init(loop, poll_, fd) == 0;
    poll_->data = data;
  }
  ~PolledSocket() {
    if (is_polled_) {
      uv_close(reinterpret_cast<uv_handle_t*>(poll_),
               [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
    } else {
      delete poll_;
    }
    close(fd_);
  }
  PolledSocket(const PolledSocket&) = delete;
  PolledSocket& operator=(const PolledSocket&) = delete;

  bool Watch(int events, uv_poll_cb callback) {
    if (events == events_ && callback == callback_) return true;
    events_ = events;
    callback_ = callback;
    return is_polled_ && uv_poll_start(poll_, events, callback) == 0;
  }
  int fd() const { return fd_; }

 private:
  int fd_;
  uv_poll_t* poll_;  ///< Deleted by the loop once it is closed.
  bool is_polled_;
  int events_ = 0;
  uv_poll_cb callback_ = nullptr;
};

}  // namespace

/// hiredis's part here is the protocol (resp.cpp); sockets are our own. hiredis's async layer asserts on what a peer
/// sends (1.2.0 async.c: a reply nobody asked for, a pub/sub message of another shape), which no peer may do to us, and
/// it writes without MSG_NOSIGNAL.
class Connection::Impl : public std::enable_shared_from_this<Connection::Impl> {
 public:
  Impl(uv_loop_s* loop, Options options, Handlers handlers)
      : loop_(loop),
        options_(std::move(options)),
        handlers_(std::move(handlers)),
        name_(options_.endpoint.ToString()),
        timer_(std::in_place, loop, [this] { OnTimer(); }) {}

  void Open() {
    if (state_ != State::kIdle) return;
    state_ = State::kConnecting;
    open_deadline_ = Now() + options_.connect_timeout;
    if (options_.tls && !options_.endpoint.is_unix()) tls_ = options_.tls->NewSession(options_.endpoint.host);
    SayHello();
    if (const auto literal = LiteralAddress(options_.endpoint)) {
      addresses_.push_back(*literal);
      ConnectToNext();
    } else {
      Resolve();
    }
    ArmTimer();
  }

  void Command(const std::vector<std::string>& arguments, milliseconds timeout, ReplyHandler handler) {
    if (state_ == State::kIdle || state_ == State::kClosed) return;
    Enqueue(arguments, Now() + timeout, Purpose::kOwner, std::move(handler));
    Flush();
    ArmTimer();
  }

  void Subscribe(const std::string& channel, bool pattern, ReplyHandler handler) {
    Command({pattern ? "PSUBSCRIBE" : "SUBSCRIBE", channel}, options_.connect_timeout,
            [this, handler = std::move(handler)](Result<Reply> reply) {
              if (reply) subscribed_ = true;
              handler(std::move(reply));
            });
  }

  void Close() {
    abandoned_ = true;
    Release();
    waiting_.clear();
  }

  bool is_open() const { return state_ == State::kOpen; }

 private:
  enum class State {
    kIdle,
    kConnecting,  ///< Resolving or connecting: what is sent waits in output_.
    kGreeting,    ///< Connected, the greeting (that of TLS too) is not answered yet; what was sent behind it may be
                  ///< under way.
    kOpen,
    kClosed,
  };

  enum class Purpose { kAuth, kName, kOwner };

  /// A command whose answer is due. Answers come in the order of the commands.
  struct Waiting {
    TimePoint deadline;
    Purpose purpose;
    ReplyHandler handler;  ///< The owner's; empty for the greeting.
  };

  // --- The greeting -------------------------------------------------------------------------------------------------

  /// AUTH and CLIENT SETNAME go out with whatever is sent behind them, without waiting for each other's replies: at a
  /// failover the owner's first question counts.
  void SayHello() {
    const Credentials& credentials = options_.credentials;
    if (!credentials.password.empty()) {
      std::vector<std::string> auth = {"AUTH"};
      if (!credentials.user.empty()) auth.push_back(credentials.user);
      auth.push_back(credentials.password);
      Enqueue(auth, open_deadline_, Purpose::kAuth, nullptr);
    }
    Enqueue({"CLIENT", "SETNAME", std::string(kClientName)}, open_deadline_, Purpose::kName, nullptr);
  }

  void OnAuthReply(const DecodedReply& answer) {
    if (!answer.is_error) return;
    const std::string_view text = answer.reply.text;
    if (IsTurnedAway(text)) return;
    // A server without a password (Sentinels often have none) is as good as one that accepts it.
    if (options_.credentials.user.empty() && (text.starts_with("ERR Client sent AUTH, but no password is set") ||
                                              text.starts_with("ERR AUTH <password> called without any password"))) {
      return;
    }
    if (const ErrorKind kind = KindOfErrorReply(text); kind == ErrorKind::kBusy || kind == ErrorKind::kLoading) {
      End({kind, name_ + ": " + Quote(text)});
      return;
    }
    // The text itself is not shown: some versions quote the arguments of a refused command.
    std::string message = name_ + " refuses the user or password";
    if (text.starts_with("ERR wrong number of arguments")) {
      message += ": it knows no ACL users (Redis before 6.0), so configure the password alone";
    } else {
      message += " (" + Quote(text.substr(0, text.find(' '))) + ")";
    }
    End({ErrorKind::kAuthentication, std::move(message)});
  }

  void OnNamed(const DecodedReply& answer) {
    if (answer.is_error && IsTurnedAway(answer.reply.text)) return;
    state_ = State::kOpen;
    if (handlers_.on_open) handlers_.on_open();
  }

  /// Errors that a server sends unasked before it closes the connection (src/networking.c acceptCommonHandler).
  bool IsTurnedAway(std::string_view text) {
    if (!text.starts_with("DENIED") && !text.starts_with("ERR max number of clients")) return false;
    End({KindOfErrorReply(text), name_ + " turns us away: " + Quote(text)});
    return true;
  }

  // --- Connecting ---------------------------------------------------------------------------------------------------

  struct Resolution {
    uv_getaddrinfo_t request{};
    std::weak_ptr<Impl> owner;
  };

  void Resolve() {
    auto resolution = std::make_unique<Resolution>();
    resolution->owner = weak_from_this();
    resolution->request.data = resolution.get();
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    const int status =
        uv_getaddrinfo(loop_, &resolution->request, &Impl::OnResolved, options_.endpoint.host.c_str(), nullptr, &hints);
    if (status != 0) {
      EndLater({ErrorKind::kUnresolvable, name_ + " cannot be resolved: " + uv_strerror(status)});
    } else {
      static_cast<void>(resolution.release());  // OnResolved() owns it now.
    }
  }

  static void OnResolved(uv_getaddrinfo_t* request, int status, addrinfo* results) noexcept {
    const std::unique_ptr<Resolution> resolution(static_cast<Resolution*>(request->data));
    const std::unique_ptr<addrinfo, decltype(&uv_freeaddrinfo)> list(results, &uv_freeaddrinfo);
    const auto self = resolution->owner.lock();
    if (self == nullptr || self->state_ != State::kConnecting) return;
    for (const addrinfo* entry = results; entry != nullptr && status == 0; entry = entry->ai_next) {
      if (self->addresses_.size() == kMaxAddresses) break;
      Address address = MakeAddress(entry->ai_addr, entry->ai_addrlen);
      SetPort(address, self->options_.endpoint.port);
      self->addresses_.push_back(address);
    }
    if (self->addresses_.empty()) {
      const std::string reason = status == 0 ? "the name has no address" : uv_strerror(status);
      self->End({ErrorKind::kUnresolvable, self->name_ + " cannot be resolved: " + reason});
      return;
    }
    self->ConnectToNext();
    self->ArmTimer();
  }

  void ConnectToNext() {
    socket_.reset();
    while (!addresses_.empty()) {
      const Address address = addresses_.front();
      addresses_.pop_front();
      // Each address gets its share, so that one that swallows packets leaves time for the next.
      const auto left = std::chrono::duration_cast<milliseconds>(open_deadline_ - Now());
      attempt_deadline_ = Now() + left / static_cast<milliseconds::rep>(addresses_.size() + 1);
      const int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd < 0) {
        NoteConnectError(ConnectError(name_, errno));
        continue;
      }
      auto socket = std::make_unique<PolledSocket>(loop_, fd, this);
      const int status = connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.length);
      if (status != 0 && errno != EINPROGRESS) {
        NoteConnectError(ConnectError(name_, errno));
        continue;
      }
      if (!socket->Watch(UV_WRITABLE, &Impl::OnConnectResult)) {
        NoteConnectError({ErrorKind::kUnreachable, name_ + " cannot be watched by the event loop"});
        continue;
      }
      socket_ = std::move(socket);
      return;
    }
    EndLater(*connect_error_);
  }

  /// Of several addresses' errors: refused is proof of death only when no other address may hide a living server.
  void NoteConnectError(Error error) {
    const bool keep =
        connect_error_ && (connect_error_->kind == ErrorKind::kTimeout ||
                           (connect_error_->kind == ErrorKind::kRefused && error.kind != ErrorKind::kTimeout));
    if (!keep) connect_error_ = std::move(error);
  }

  static void OnConnectResult(uv_poll_t* poll, int status, int /*events*/) noexcept {
    const auto self = static_cast<Impl*>(poll->data)->shared_from_this();
    // libuv tells any failed socket as EBADF (1.44 src/unix/poll.c); the socket itself knows better.
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(self->socket_->fd(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error == 0 && status < 0) error = -status;
    if (error != 0) {
      self->NoteConnectError(ConnectError(self->name_, error));
      self->ConnectToNext();
      self->ArmTimer();
      return;
    }
    self->OnConnected();
  }

  void OnConnected() {
    if (!options_.endpoint.is_unix()) {
      const auto set = [fd = socket_->fd()](int level, int option, int value) {
        setsockopt(fd, level, option, &value, sizeof(value));  // Refused or not, the connection works.
      };
      set(IPPROTO_TCP, TCP_NODELAY, 1);
      set(SOL_SOCKET, SO_KEEPALIVE, 1);
      set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleSeconds);
      set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveIntervalSeconds);
      set(IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
    }
    state_ = State::kGreeting;
    if (tls_) tls_->Start();
    socket_->Watch(UV_READABLE, &Impl::OnReady);
    Flush();
    ArmTimer();
  }

  // --- Commands and replies -----------------------------------------------------------------------------------------

  void Enqueue(const std::vector<std::string>& arguments, TimePoint deadline, Purpose purpose, ReplyHandler handler) {
    const std::string command = EncodeCommand(arguments);
    if (tls_) {
      tls_->Write(command);
    } else {
      output_ += command;
    }
    waiting_.push_back({deadline, purpose, std::move(handler)});
  }

  /// Sends what it can. A failure is left to the reading side, which first takes what the peer had still to say.
  void Flush() {
    if (state_ != State::kGreeting && state_ != State::kOpen) return;
    if (tls_) output_ += tls_->TakeOutput();
    while (!output_.empty()) {
      const ssize_t sent = send(socket_->fd(), output_.data(), output_.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) output_.clear();
      if (sent < 0) break;
      output_.erase(0, static_cast<std::size_t>(sent));
    }
    socket_->Watch(output_.empty() ? UV_READABLE : UV_READABLE | UV_WRITABLE, &Impl::OnReady);
  }

  static void OnReady(uv_poll_t* poll, int status, int events) noexcept {
    const auto self = static_cast<Impl*>(poll->data)->shared_from_this();
    if ((events & UV_WRITABLE) != 0) self->Flush();
    if ((events & UV_READABLE) != 0 || status < 0) self->Read();
    // libuv has stopped to watch it.
    if (status < 0) self->End({ErrorKind::kClosed, self->name_ + " closed the connection"});
  }

  void Read() {
    std::array<char, kReadChunk> chunk{};
    for (int i = 0; i < kMaxReadsPerEvent && state_ != State::kClosed; ++i) {
      const ssize_t received = recv(socket_->fd(), chunk.data(), chunk.size(), 0);
      if (received < 0 && errno == EINTR) continue;
      if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (received <= 0) {
        const std::string reason = received < 0 ? ": " + ErrnoText(errno) : "";
        End({ErrorKind::kClosed, name_ + " closed the connection" + (heard_ ? "" : " without a word") + reason +
                                     (heard_ || tls_ ? "" : "; is it a port for TLS?")});
        return;
      }
      Take({chunk.data(), static_cast<std::size_t>(received)});
    }
  }

  void Take(std::string_view bytes) {
    if (!tls_) {
      if (!heard_ && LooksLikeTls(bytes)) {
        End({ErrorKind::kTls, name_ + " speaks TLS, which is not configured for it: is the port right?"});
        return;
      }
      decoder_.Feed(bytes);
      HandleReplies();
      return;
    }
    std::string text;
    const auto read = tls_->Read(bytes, text);
    Flush();  // An answer to the handshake, or an alert that tells the peer what we dislike.
    decoder_.Feed(text);
    HandleReplies();
    if (!read) End({read.error().kind, name_ + " " + read.error().message});
  }

  void HandleReplies() {
    while (state_ != State::kClosed) {
      auto next = decoder_.Next();
      if (!next) {
        End({next.error().kind, name_ + " " + next.error().message});
        return;
      }
      if (!next->has_value()) return;
      heard_ = true;
      Handle(**std::move(next));
    }
  }

  void Handle(DecodedReply&& answer) {
    const auto& elements = answer.reply.elements;
    // In RESP2 only its shape tells a message from a reply, and only a subscribed connection gets any.
    if (subscribed_ && elements.size() == 3 && elements[0].text == "message") {
      if (handlers_.on_message) handlers_.on_message(elements[1].text, elements[2].text);
    } else if (subscribed_ && elements.size() == 4 && elements[0].text == "pmessage") {
      if (handlers_.on_message) handlers_.on_message(elements[2].text, elements[3].text);
    } else if (waiting_.empty()) {
      const std::string what = answer.is_error ? ": " + Quote(answer.reply.text) : "";
      End({ErrorKind::kProtocol, name_ + " sent a reply that nobody asked for" + what});
    } else {
      const Waiting waiting = std::move(waiting_.front());
      waiting_.pop_front();
      switch (waiting.purpose) {
        case Purpose::kAuth: OnAuthReply(answer); break;
        case Purpose::kName: OnNamed(answer); break;
        case Purpose::kOwner: Tell(waiting.handler, std::move(answer)); break;
      }
    }
  }

  void Tell(const ReplyHandler& handler, DecodedReply&& answer) const {
    if (!handler) return;
    const std::string& text = answer.reply.text;
    handler(answer.is_error ? Result<Reply>(Fail(KindOfErrorReply(text), name_ + ": " + Quote(text)))
                            : Result<Reply>(std::move(answer.reply)));
  }

  // --- Time and the end ---------------------------------------------------------------------------------------------

  TimePoint NextDeadline() const {
    TimePoint next = state_ == State::kConnecting && socket_ != nullptr ? attempt_deadline_ : TimePoint::max();
    if (state_ == State::kConnecting) next = std::min(next, open_deadline_);
    for (const Waiting& waiting : waiting_) next = std::min(next, waiting.deadline);
    return next;
  }

  void ArmTimer() {
    if (state_ == State::kClosed || state_ == State::kIdle || end_later_) return;
    const TimePoint next = NextDeadline();
    if (next == TimePoint::max()) {
      timer_->Stop();
      armed_for_.reset();
    } else if (!timer_->is_active() || !armed_for_ || next < *armed_for_) {
      armed_for_ = next;
      timer_->Start(std::chrono::ceil<milliseconds>(next - Now()));
    }
  }

  void OnTimer() {
    const auto self = shared_from_this();
    armed_for_.reset();
    if (end_later_) {
      End(*end_later_);
      return;
    }
    const TimePoint now = Now();
    if (now < NextDeadline()) {
      ArmTimer();
      return;
    }
    if (state_ == State::kConnecting) {
      NoteConnectError({ErrorKind::kTimeout, name_ + " does not let us connect in time"});
      if (now < open_deadline_ && !addresses_.empty()) {
        ConnectToNext();
        ArmTimer();
        return;
      }
      End(*connect_error_);
      return;
    }
    const bool shaking = tls_ && !tls_->is_established();
    End({ErrorKind::kTimeout, name_ + (heard_    ? " does not answer in time"
                                       : shaking ? " accepts connections and says nothing: does it speak TLS there?"
                                                 : " accepts connections and says nothing")});
  }

  /// Open() calls nobody: what fails at once is told by the loop.
  void EndLater(Error error) {
    end_later_ = std::move(error);
    timer_->Start(milliseconds(0));
  }

  void End(const Error& error) {
    if (state_ == State::kClosed) return;
    Release();
    const auto waiting = std::exchange(waiting_, {});
    for (const Waiting& command : waiting) {
      if (command.handler && !abandoned_) command.handler(Fail(ErrorKind::kClosed, error.message));
    }
    if (handlers_.on_close && !abandoned_) handlers_.on_close(error);
  }

  void Release() {
    state_ = State::kClosed;
    socket_.reset();
    timer_.reset();
    addresses_.clear();
  }

  uv_loop_t* loop_;
  Options options_;
  Handlers handlers_;
  std::string name_;
  State state_ = State::kIdle;
  bool abandoned_ = false;  ///< By its owner: no handler is called any more.
  bool heard_ = false;      ///< The peer has sent a reply.
  bool subscribed_ = false;
  TimePoint open_deadline_{};
  TimePoint attempt_deadline_{};
  std::optional<TimePoint> armed_for_;
  std::optional<LoopTimer> timer_;  ///< Empty once closed.
  std::deque<Address> addresses_;   ///< Not tried yet.
  std::optional<Error> connect_error_;
  std::optional<Error> end_later_;
  std::unique_ptr<PolledSocket> socket_;
  std::unique_ptr<TlsSession> tls_;  ///< Empty: plain.
  ReplyDecoder decoder_;
  std::string output_;  ///< For the socket.
  std::deque<Waiting> waiting_;
};

Connection::Connection(uv_loop_s* loop, Options options, Handlers handlers)
    : impl_(std::make_shared<Impl>(loop, std::move(options), std::move(handlers))) {}
Connection::~Connection() { impl_->Close(); }
void Connection::Open() { impl_->Open(); }
void Connection::Command(const std::vector<std::string>& arguments, milliseconds timeout, ReplyHandler handler) {
  impl_->Command(arguments, timeout, std::move(handler));
}
void Connection::Subscribe(const std::string& channel, bool pattern, ReplyHandler handler) {
  impl_->Subscribe(channel, pattern, std::move(handler));
}
void Connection::Close() { impl_->Close(); }
bool Connection::is_open() const { return impl_->is_open(); }

}  // namespace rcb::redis
