#include "consul/http_transport.h"

#include <curl/curl.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <deque>
#include <new>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace rcb::consul {
namespace {

/// Consul's own limit for a KV value is 512 KiB; a thousand instances in /v1/health/service are about 1 MiB.
constexpr std::size_t kMaxBodyBytes = std::size_t{16} << 20U;
/// The agent is local. A SYN that is lost is sent again after 1 s, so two are seen to fail before this.
constexpr std::chrono::milliseconds kConnectTimeout{3000};
/// Idle connections kept, for the calls that come in bursts.
constexpr std::size_t kMaxIdleConnections = 16;
/// At the start every server is registered at once. More at a time than this are no faster, and there may be many.
constexpr std::size_t kMaxCalls = 32;
/// Of those that are urgent, beside them.
constexpr std::size_t kMaxUrgent = 16;
/// Of those that yield. A Consul agent holds a lock while it writes a registration to its disk (agent/agent.go, 1.8.7):
/// 20 at once have been seen to hold up a heartbeat, and with it a takeover, for a second.
constexpr std::size_t kMaxYielding = 4;
/// Consul closes what one client opens beyond limits.http_max_conns_per_client: 200 by default (hashicorp/consul#7289,
/// since 1.7.1 and 1.6.4). With so many requests under way that is the likely reason of a closed connection.
constexpr std::size_t kManyRequests = 150;

struct CurlUrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
struct CurlEasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct CurlSlistDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlUrl = std::unique_ptr<CURLU, CurlUrlDeleter>;
using CurlEasy = std::unique_ptr<CURL, CurlEasyDeleter>;
using CurlSlist = std::unique_ptr<curl_slist, CurlSlistDeleter>;

/// Empty when the URL has no such part.
std::string UrlPart(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return {};
  std::string value = text;
  curl_free(text);
  return value;
}

/// Where requests go, derived from Options::url.
struct Target {
  std::string base_url;    ///< Without a slash at the end; the request's path follows.
  std::string shown;       ///< For messages: what the operator wrote, with its scheme.
  std::string unix_path;   ///< Empty: TCP.
  std::string connect_to;  ///< curl's CONNECT_TO entry when another name than the URL's is to be verified.
};

tl::unexpected<Error> BadUrl(const std::string& reason) {
  // The URL itself is left out: with a mistaken "user:password@" it holds a secret.
  return Fail(ErrorKind::kConfiguration, "the Consul URL (setting consul, CONSUL_HTTP_ADDR) " + reason +
                                             "; write http://host:port, https://host:port or unix:///path");
}

Result<Target> ParseTarget(const HttpTransport::Options& options) {
  static constexpr std::string_view kUnix = "unix://";
  if (options.url.starts_with(kUnix)) {
    const std::string path = options.url.substr(kUnix.size());
    if (!path.starts_with('/')) return BadUrl("is no absolute socket path");
    if (path.size() >= sizeof(sockaddr_un::sun_path)) return BadUrl("is a socket path longer than the system takes");
    return Target{.base_url = "http://localhost", .shown = options.url, .unix_path = path, .connect_to = {}};
  }

  const bool has_scheme = options.url.find("://") != std::string::npos;
  const std::string text = has_scheme ? options.url : "http://" + options.url;
  if (!text.starts_with("http://") && !text.starts_with("https://")) return BadUrl("has a scheme that is not known");
  const CurlUrl url(curl_url());
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return BadUrl("cannot be read");
  if (!UrlPart(url.get(), CURLUPART_USER).empty() || !UrlPart(url.get(), CURLUPART_PASSWORD).empty()) {
    return BadUrl("holds credentials, which Consul takes as a token instead");
  }
  if (!UrlPart(url.get(), CURLUPART_QUERY).empty() || !UrlPart(url.get(), CURLUPART_FRAGMENT).empty()) {
    return BadUrl("holds a query or fragment");
  }

  Target target{.base_url = text, .shown = text, .unix_path = {}, .connect_to = {}};
  if (!options.tls_server_name.empty() && text.starts_with("https://")) {
    const std::string host = UrlPart(url.get(), CURLUPART_HOST);
    const std::string explicit_port = UrlPart(url.get(), CURLUPART_PORT);
    const std::string port = explicit_port.empty() ? "443" : explicit_port;
    if (curl_url_set(url.get(), CURLUPART_HOST, options.tls_server_name.c_str(), 0) != CURLUE_OK) {
      return Fail(
          ErrorKind::kConfiguration,
          "the setting consul_tls_server_name (CONSUL_TLS_SERVER_NAME) is no host name: " + options.tls_server_name);
    }
    target.base_url = UrlPart(url.get(), CURLUPART_URL);
    target.connect_to = options.tls_server_name + ":" + port + ":" + host + ":" + port;
  }
  while (target.base_url.ends_with('/')) target.base_url.pop_back();
  return target;
}

Result<void> CheckFile(const std::string& path, const std::string& setting) {
  if (path.empty() || ::access(path.c_str(), R_OK) == 0) return {};
  return Fail(ErrorKind::kConfiguration, "cannot read " + path + " (setting " + setting + "): " + std::strerror(errno));
}

/// It becomes a header line.
Result<void> CheckToken(const std::string& token) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::none_of(token.begin(), token.end(), is_control)) return {};
  return Fail(ErrorKind::kConfiguration, "the Consul token holds a line end or another control character");
}

bool EqualsIgnoringCase(std::string_view left, std::string_view right) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [&lower](char a, char b) { return lower(a) == lower(b); });
}

/// One header line as curl hands it over, the line end included.
void ReadHeader(std::string_view line, HttpResponse& response) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  const std::string_view name = line.substr(0, colon);
  std::string_view value = line.substr(colon + 1);
  const std::size_t first = value.find_first_not_of(" \t");
  value.remove_prefix(std::min(first, value.size()));
  value = value.substr(0, value.find_last_not_of(" \t\r\n") + 1);
  if (EqualsIgnoringCase(name, "X-Consul-Index")) {
    std::uint64_t index = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), index);
    response.consul_index = error == std::errc{} && end == value.data() + value.size() ? index : 0;
  } else if (EqualsIgnoringCase(name, "X-Consul-KnownLeader")) {
    response.known_leader = !EqualsIgnoringCase(value, "false");
  }
}

}  // namespace

/// The curl and libuv sides of the transport. curl tells which sockets and which deadline to watch; libuv tells when
/// one is ready; curl then moves its transfers on. Handlers are called outside curl's callbacks only, since curl may
/// not be called from within them.
class HttpTransport::Impl {
 public:
  Impl(uv_loop_s* loop, Options options, Target target)
      : loop_(loop), options_(std::move(options)), target_(std::move(target)), multi_(curl_multi_init()) {
    timer_ = new uv_timer_t;
    uv_timer_init(loop_, timer_);
    timer_->data = this;
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Impl::OnSocketWanted);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Impl::OnDeadlineWanted);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  ~Impl() {
    *alive_ = false;
    for (auto& [id, transfer] : transfers_) {
      if (transfer->has_begun) curl_multi_remove_handle(multi_, transfer->easy.get());
    }
    transfers_.clear();
    curl_multi_cleanup(multi_);  // Closes idle connections; OnSocketWanted still hears of their sockets.
    while (!sockets_.empty()) ForgetSocket(sockets_.begin()->first);
    timer_->data = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(timer_),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_timer_t*>(handle); });
  }

  RequestId Send(const HttpRequest& request, Handler handler) {
    const RequestId id = ++last_id_;
    auto transfer = std::make_unique<Transfer>();
    transfer->id = id;
    transfer->timeout = std::max(request.timeout, std::chrono::milliseconds{1});
    transfer->handler = std::move(handler);
    transfer->url = target_.base_url + request.path;
    AddParameter(transfer->url, "ns", options_.name_space);
    AddParameter(transfer->url, "partition", options_.partition);
    transfer->request_body = request.body;
    Configure(*transfer, request.method);
    transfer->waits = request.waits;
    transfer->yields = request.yields;
    transfer->urgent = request.urgent;
    Transfer& sent = *transfers_.emplace(id, std::move(transfer)).first->second;
    if (sent.waits) {
      Begin(sent);
    } else {
      (sent.urgent ? urgent_queue_ : sent.yields ? patient_ : queue_).push_back(id);
      BeginNext();
    }
    return id;
  }

  void set_token(const std::string& token) { options_.token = token; }

  void Cancel(RequestId id) {
    const auto found = transfers_.find(id);
    if (found == transfers_.end()) return;
    const std::unique_ptr<Transfer> transfer = std::move(found->second);
    transfers_.erase(found);
    End(*transfer);
  }

 private:
  struct WatchedSocket {
    uv_poll_t* poll;
    int events;  ///< What curl wants to hear of.
  };
  /// One request in flight.
  struct Transfer {
    RequestId id = 0;
    std::chrono::milliseconds timeout{0};
    Handler handler;
    std::string url;
    std::string request_body;
    HttpResponse response;
    bool is_too_large = false;
    bool waits = false;      ///< HttpRequest::waits.
    bool yields = false;     ///< HttpRequest::yields.
    bool urgent = false;     ///< HttpRequest::urgent.
    bool has_begun = false;  ///< Else it is in the queue.
    std::array<char, CURL_ERROR_SIZE> error_text{};
    CurlSlist headers;
    CurlSlist connect_to;
    CurlEasy easy;  // Last: it points to the members above and goes first.
  };

  /// Starts nothing by itself: curl asks for a deadline of zero, which the loop serves in its next round.
  void Begin(Transfer& transfer) {
    transfer.has_begun = true;
    if (!transfer.waits) ++(transfer.urgent ? urgent_ : calls_);
    if (transfer.yields) ++yielding_;
    curl_multi_add_handle(multi_, transfer.easy.get());
    // curl counts those in use as well: with a fixed number, more blocking queries than that would each open a
    // connection of their own every time (lib/conncache.c, 7.88).
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(transfers_.size() + kMaxIdleConnections));
  }

  /// To be called when it is no longer among transfers_. Lets the next one begin.
  void End(Transfer& transfer) {
    if (!transfer.has_begun) return;
    curl_multi_remove_handle(multi_, transfer.easy.get());
    if (!transfer.waits) --(transfer.urgent ? urgent_ : calls_);
    if (transfer.yields) --yielding_;
    BeginNext();
  }

  void BeginNext() {
    while (urgent_ < kMaxUrgent && !urgent_queue_.empty()) BeginFirstOf(urgent_queue_);
    while (calls_ < kMaxCalls && !(queue_.empty() && (patient_.empty() || yielding_ >= kMaxYielding))) {
      BeginFirstOf(queue_.empty() ? patient_ : queue_);
    }
  }

  void BeginFirstOf(std::deque<RequestId>& queue) {
    const auto next = transfers_.find(queue.front());
    queue.pop_front();
    if (next != transfers_.end()) Begin(*next->second);  // Else it was cancelled.
  }

  void Configure(Transfer& transfer, const std::string& method) {
    transfer.easy.reset(curl_easy_init());
    CURL* easy = transfer.easy.get();
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
    curl_easy_setopt(easy, CURLOPT_URL, transfer.url.c_str());
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error_text.data());
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_PROXY, "");  // The agent is near: http_proxy of the environment is not for it.
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(transfer.timeout.count()));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(kConnectTimeout.count()));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Impl::OnBody);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Impl::OnHeader);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);

    if (method != "GET") {
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.request_body.size()));
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer.request_body.data());
      AddHeader(transfer, "Content-Type: application/json");
      AddHeader(transfer, "Expect:");  // Else a body above 1 MiB waits a second for "100 Continue".
    }
    if (!options_.token.empty()) AddHeader(transfer, "X-Consul-Token: " + options_.token);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.headers.get());

    if (!target_.unix_path.empty()) curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, target_.unix_path.c_str());
    if (!target_.connect_to.empty()) {
      transfer.connect_to.reset(curl_slist_append(nullptr, target_.connect_to.c_str()));
      curl_easy_setopt(easy, CURLOPT_CONNECT_TO, transfer.connect_to.get());
    }
    if (!options_.ca_file.empty()) {
      curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
      curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);  // Else a renewed file is seen after a day.
    }
    if (!options_.client_cert.empty()) curl_easy_setopt(easy, CURLOPT_SSLCERT, options_.client_cert.c_str());
    if (!options_.client_key.empty()) curl_easy_setopt(easy, CURLOPT_SSLKEY, options_.client_key.c_str());
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options_.verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options_.verify ? 2L : 0L);
  }

  /// Nothing for an empty value.
  static void AddParameter(std::string& url, const std::string& name, const std::string& value) {
    if (value.empty()) return;
    char* escaped = curl_easy_escape(nullptr, value.c_str(), 0);
    url += (url.find('?') == std::string::npos ? "?" : "&") + name + "=" + escaped;
    curl_free(escaped);
  }

  static void AddHeader(Transfer& transfer, const std::string& line) {
    curl_slist* list = curl_slist_append(transfer.headers.get(), line.c_str());
    static_cast<void>(transfer.headers.release());  // The list is appended in place.
    transfer.headers.reset(list);
  }

  // curl's callbacks. noexcept: an exception must not pass through C.

  static std::size_t OnBody(char* data, std::size_t size, std::size_t count, void* context) noexcept {
    auto* transfer = static_cast<Transfer*>(context);
    const std::size_t bytes = size * count;
    if (bytes > kMaxBodyBytes - transfer->response.body.size()) {
      transfer->is_too_large = true;
      return 0;  // Ends the transfer with CURLE_WRITE_ERROR.
    }
    transfer->response.body.append(data, bytes);
    return bytes;
  }

  static std::size_t OnHeader(char* data, std::size_t size, std::size_t count, void* context) noexcept {
    ReadHeader({data, size * count}, static_cast<Transfer*>(context)->response);
    return size * count;
  }

  static int OnSocketWanted(CURL*, curl_socket_t socket, int what, void* context, void*) noexcept {
    auto* impl = static_cast<Impl*>(context);
    if (what == CURL_POLL_REMOVE) {
      impl->ForgetSocket(socket);
      return 0;
    }
    auto found = impl->sockets_.find(socket);
    if (found == impl->sockets_.end()) {
      auto* poll = new (std::nothrow) uv_poll_t;
      if (poll == nullptr || uv_poll_init_socket(impl->loop_, poll, socket) != 0) {
        delete poll;
        return -1;
      }
      poll->data = impl;
      found = impl->sockets_.emplace(socket, WatchedSocket{.poll = poll, .events = 0}).first;
    }
    found->second.events =
        ((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) | ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0);
    uv_poll_start(found->second.poll, found->second.events, &Impl::OnSocketReady);
    return 0;
  }

  static int OnDeadlineWanted(CURLM*, long timeout_ms, void* context) noexcept {
    auto* impl = static_cast<Impl*>(context);
    if (timeout_ms < 0) {
      uv_timer_stop(impl->timer_);
    } else {
      uv_timer_start(impl->timer_, &Impl::OnDeadline, static_cast<std::uint64_t>(timeout_ms), 0);
    }
    return 0;
  }

  // libuv's callbacks. `this` may be gone when MoveOn returns.

  static void OnSocketReady(uv_poll_t* poll, int status, int events) {
    uv_os_fd_t socket = -1;
    uv_fileno(reinterpret_cast<uv_handle_t*>(poll), &socket);
    auto* impl = static_cast<Impl*>(poll->data);
    int ready = 0;
    if (status < 0) {
      // libuv has stopped watching. Told of an error alone, curl would give up without looking: let it read, so that it
      // finds what the peer still said (a TLS alert) and the error's cause.
      events = UV_READABLE | UV_WRITABLE;
      uv_poll_start(poll, impl->sockets_.at(socket).events, &Impl::OnSocketReady);
    }
    if ((events & UV_READABLE) != 0) ready |= CURL_CSELECT_IN;
    if ((events & UV_WRITABLE) != 0) ready |= CURL_CSELECT_OUT;
    impl->MoveOn(socket, ready);
  }

  static void OnDeadline(uv_timer_t* timer) { static_cast<Impl*>(timer->data)->MoveOn(CURL_SOCKET_TIMEOUT, 0); }

  void ForgetSocket(curl_socket_t socket) {
    const auto found = sockets_.find(socket);
    if (found == sockets_.end()) return;
    uv_poll_t* poll = found->second.poll;
    sockets_.erase(found);
    uv_close(reinterpret_cast<uv_handle_t*>(poll),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
  }

  void MoveOn(curl_socket_t socket, int ready) {
    int running = 0;
    curl_multi_socket_action(multi_, socket, ready, &running);
    const std::shared_ptr<bool> alive = alive_;
    while (*alive) {
      int left = 0;
      const CURLMsg* message = curl_multi_info_read(multi_, &left);
      if (message == nullptr) return;
      if (message->msg != CURLMSG_DONE) continue;
      Transfer* done = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &done);
      const CURLcode code = message->data.result;
      const auto found = transfers_.find(done->id);
      const std::unique_ptr<Transfer> transfer = std::move(found->second);
      transfers_.erase(found);
      auto result = Finish(*transfer, code);
      End(*transfer);
      const Handler handler = std::move(transfer->handler);
      handler(std::move(result));  // May send, cancel or destroy.
    }
  }

  Result<HttpResponse> Finish(Transfer& transfer, CURLcode code) const {
    if (code == CURLE_OK) {
      curl_easy_getinfo(transfer.easy.get(), CURLINFO_RESPONSE_CODE, &transfer.response.status);
      return std::move(transfer.response);
    }
    const std::string consul = "Consul at " + target_.shown;
    const std::string detail = transfer.error_text[0] != '\0' ? transfer.error_text.data() : curl_easy_strerror(code);
    switch (code) {
      case CURLE_COULDNT_CONNECT: {
        long system_error = 0;
        curl_easy_getinfo(transfer.easy.get(), CURLINFO_OS_ERRNO, &system_error);
        if (system_error == ECONNREFUSED) {
          return Fail(ErrorKind::kUnreachable, consul + " refuses connections: is the agent running?");
        }
        if (system_error == ENOENT && !target_.unix_path.empty()) {
          return Fail(ErrorKind::kUnreachable, consul + " has no such socket: is the agent running?");
        }
        return Fail(ErrorKind::kUnreachable, consul + " cannot be reached: " + detail);
      }
      case CURLE_COULDNT_RESOLVE_HOST:
        return Fail(ErrorKind::kUnreachable, consul + " cannot be reached: its host name has no address");
      case CURLE_OPERATION_TIMEDOUT:
        return Fail(ErrorKind::kTimeout,
                    consul + " did not answer within " + std::to_string(transfer.timeout.count()) + " ms: " + detail);
      case CURLE_GOT_NOTHING:
      case CURLE_PARTIAL_FILE:
      case CURLE_RECV_ERROR:
      case CURLE_SEND_ERROR:
        // With TLS 1.3 a server refuses our certificate, or its absence, after the handshake: curl then fails to read,
        // and only the TLS library's text tells of the alert ("... alert bad certificate", seen with OpenSSL 3.0).
        if (target_.base_url.starts_with("https://") && detail.find("alert") != std::string::npos) {
          return Fail(ErrorKind::kTls, "no TLS with " + consul + ": " + detail);
        }
        if (transfers_.size() >= kManyRequests) {
          return Fail(ErrorKind::kUnreachable, consul + " ended the connection, beside " +
                                                   std::to_string(transfers_.size()) +
                                                   " others of this process: raise limits.http_max_conns_per_client of "
                                                   "the Consul agent (200 by default), or watch fewer groups");
        }
        return Fail(ErrorKind::kUnreachable, consul + " ended the connection: " + detail);
      case CURLE_SSL_CONNECT_ERROR:
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CERTPROBLEM:
      case CURLE_SSL_CIPHER:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_ISSUER_ERROR:
      case CURLE_SSL_CRL_BADFILE:
      case CURLE_SSL_INVALIDCERTSTATUS: return Fail(ErrorKind::kTls, "no TLS with " + consul + ": " + detail);
      case CURLE_WRITE_ERROR:
        if (transfer.is_too_large) {
          return Fail(ErrorKind::kMalformedReply, consul + " sent more than 16 MiB in one reply");
        }
        break;
      case CURLE_UNSUPPORTED_PROTOCOL:  // How curl calls an answer without a status line.
      case CURLE_WEIRD_SERVER_REPLY:
      case CURLE_HTTP2:
      case CURLE_BAD_CONTENT_ENCODING:
        return Fail(ErrorKind::kMalformedReply,
                    target_.shown + " does not speak HTTP as Consul does (" + detail + "): is the port right?");
      default: break;
    }
    return Fail(ErrorKind::kUnreachable, consul + " cannot be asked: " + detail);
  }

  uv_loop_s* loop_;
  Options options_;
  Target target_;
  CURLM* multi_;
  uv_timer_t* timer_;  ///< Belongs to libuv once closed, as do the polls: freed in their close callbacks.
  std::unordered_map<curl_socket_t, WatchedSocket> sockets_;
  std::unordered_map<RequestId, std::unique_ptr<Transfer>> transfers_;
  std::deque<RequestId> queue_;    ///< Calls that wait for their turn.
  std::deque<RequestId> patient_;  ///< Those that let the others go first.
  std::deque<RequestId> urgent_queue_;
  std::size_t yielding_ = 0;  ///< Under way, of those that yield.
  std::size_t calls_ = 0;     ///< Under way, blocking queries not counted.
  std::size_t urgent_ = 0;    ///< Of the urgent ones, beside these.
  RequestId last_id_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< Tells MoveOn that a handler destroyed us.
};

Result<std::unique_ptr<HttpTransport>> HttpTransport::Create(uv_loop_s* loop, const Options& options) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialised != CURLE_OK) return Fail(ErrorKind::kConfiguration, "libcurl cannot be initialised");
  auto target = ParseTarget(options);
  if (!target) return tl::unexpected(target.error());
  for (const auto& [path, setting] : {std::pair{options.ca_file, "consul_ca_file, CONSUL_CACERT"},
                                      std::pair{options.client_cert, "consul_client_cert, CONSUL_CLIENT_CERT"},
                                      std::pair{options.client_key, "consul_client_key, CONSUL_CLIENT_KEY"}}) {
    if (const auto readable = CheckFile(path, setting); !readable) return tl::unexpected(readable.error());
  }
  if (const auto sound = CheckToken(options.token); !sound) return tl::unexpected(sound.error());
  return std::unique_ptr<HttpTransport>(new HttpTransport(std::make_unique<Impl>(loop, options, std::move(*target))));
}

HttpTransport::HttpTransport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpTransport::~HttpTransport() = default;

HttpTransport::RequestId HttpTransport::Send(const HttpRequest& request, Handler handler) {
  return impl_->Send(request, std::move(handler));
}

Result<void> HttpTransport::SetToken(const std::string& token) {
  if (auto sound = CheckToken(token); !sound) return sound;
  impl_->set_token(token);
  return {};
}

void HttpTransport::Cancel(RequestId id) { impl_->Cancel(id); }

}  // namespace rcb::consul
