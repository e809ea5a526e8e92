#include "agent/status_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <httplib.h>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>
#include <optional>
#include <semaphore>
#include <thread>
#include <utility>

#include "agent/metrics.h"
#include "agent/status_page.h"

namespace rcb::agent {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// From the connection to the last byte of the request, and as long again for the answer.
constexpr milliseconds kRequestTime{2000};
/// How soon an idle connection notices that the server is to stop.
constexpr milliseconds kLookAgain{100};
/// A browser sends about 1 KiB.
constexpr std::size_t kMaxRequestBytes = 8192;
constexpr std::size_t kThreads = 4;
constexpr std::ptrdiff_t kMaxConnections = 16;
constexpr char kText[] = "text/plain; charset=utf-8";

/// Whatever the browser at the other end is made to load, it comes from here.
constexpr char kPolicy[] =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:";

/// Known in length beforehand: else httplib compresses it, which costs more than everything else that the agent does.
void Send(httplib::Response& response, std::string body, const char* type) {
  auto shared = std::make_shared<const std::string>(std::move(body));
  const std::size_t size = shared->size();
  response.set_content_provider(
      size, type, [shared = std::move(shared)](std::size_t offset, std::size_t length, httplib::DataSink& sink) {
        return sink.write(shared->data() + offset, length);
      });
}

/// What httplib reads and writes, bounded in bytes and time: by itself it (0.11.4, 0.18) keeps a request line or header
/// of any length.
class BoundedStream final : public httplib::Stream {
 public:
  BoundedStream(socket_t socket, const std::atomic<bool>& stopping)
      : socket_(socket), stopping_(stopping), until_(Clock::now() + kRequestTime) {}

  bool is_readable() const override { return left_ > 0 && Await(POLLIN, until_); }
  bool is_writable() const override { return Await(POLLOUT, Clock::now() + kRequestTime); }

  ssize_t read(char* target, std::size_t size) override {
    if (!is_readable()) return -1;
    const ssize_t count = recv(socket_, target, std::min(size, left_), 0);
    if (count > 0) left_ -= static_cast<std::size_t>(count);
    return count;
  }
  ssize_t write(const char* bytes, std::size_t size) override {
    return is_writable() ? send(socket_, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
  }

  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return socket_; }

 private:
  bool Await(short events, Clock::time_point until) const {
    while (!stopping_) {
      const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
      if (left.count() <= 0) return false;
      pollfd polled{socket_, events, 0};
      const int ready = poll(&polled, 1, static_cast<int>(std::min(left, kLookAgain).count()));
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
    return false;
  }

  socket_t socket_;
  const std::atomic<bool>& stopping_;
  Clock::time_point until_;
  std::size_t left_ = kMaxRequestBytes;
};

/// Accepts no more connections than can be kept: the next ones wait in the kernel.
class BoundedQueue final : public httplib::TaskQueue {
 public:
  void enqueue(std::function<void()> serve) override {
    free_.acquire();
    pool_.enqueue([this, serve = std::move(serve)] {
      serve();
      free_.release();
    });
  }
  void shutdown() override { pool_.shutdown(); }

 private:
  httplib::ThreadPool pool_{kThreads};
  std::counting_semaphore<kMaxConnections> free_{kMaxConnections};
};

/// One request a connection, through a BoundedStream.
class BoundedServer final : public httplib::Server {
 public:
  void StopServing() {
    stopping_ = true;
    stop();
  }

 private:
  bool process_and_close_socket(socket_t socket) override {
    BoundedStream stream(socket, stopping_);
    bool closed = false;
    const bool served = process_request(stream, /*close_connection=*/true, closed, nullptr);
    ::shutdown(socket, SHUT_RDWR);
    close(socket);
    return served;
  }

  std::atomic<bool> stopping_ = false;
};

}  // namespace

class StatusServer::Impl {
 public:
  Impl() {
    server_.new_task_queue = [] { return new BoundedQueue; };  // httplib deletes it.
    // Not httplib's own choice, SO_REUSEPORT, with which a port that is taken would be shared.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    server_.set_payload_max_length(0);
    server_.set_default_headers(
        {{"Content-Security-Policy", kPolicy}, {"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}});
    server_.set_pre_routing_handler([](const httplib::Request& request, httplib::Response& response) {
      if (request.method != "GET" && request.method != "HEAD") {
        response.status = 405;
        Send(response, "this server only answers GET\n", kText);
      } else if (request.has_header("Range")) {  // Many small ones would make a page of megabytes.
        response.status = 400;
        Send(response, "this server answers whole pages only\n", kText);
      } else {
        return httplib::Server::HandlerResponse::Unhandled;
      }
      return httplib::Server::HandlerResponse::Handled;
    });
    server_.set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (response.status == 404) {
        Send(response, "there are /, /status, /metrics, /healthz and /readyz\n", kText);
      }
    });
    server_.Get("/", [](const httplib::Request&, httplib::Response& response) {
      Send(response, std::string(StatusPage()), "text/html; charset=utf-8");
    });
    Show("/status", [](const Snapshot& snapshot, httplib::Response& response) {
      Send(response, EncodeStatus(snapshot.status), "application/json");
    });
    Show("/metrics", [](const Snapshot& snapshot, httplib::Response& response) {
      Send(response, RenderMetrics(snapshot), "text/plain; version=0.0.4; charset=utf-8");
    });
    Show("/healthz", [](const Snapshot&, httplib::Response& response) { Send(response, "alive\n", kText); });
    Show("/readyz", [](const Snapshot& snapshot, httplib::Response& response) {
      const std::string& unready = snapshot.status.unready;
      response.status = unready.empty() ? 200 : 503;
      Send(response, unready.empty() ? "ready\n" : "not ready: " + unready + "\n", kText);
    });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    answered_.notify_all();
    server_.StopServing();
    if (thread_.joinable()) thread_.join();
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  tl::expected<void, std::string> Start(const redis::Endpoint& listen) {
    errno = 0;
    if (!server_.bind_to_port(listen.host, listen.port)) {
      return tl::unexpected("cannot listen at " + listen.ToString() + ": " +
                            (errno == EADDRINUSE ? "the port is taken"
                             : errno == 0        ? "\"" + listen.host + "\" is no IP address"
                                                 : std::string(std::strerror(errno))));
    }
    // Signals are the loop's: its threads inherit a mask that blocks them all.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    // stop() before the server runs would be lost.
    while (!server_.is_running()) std::this_thread::yield();
    return {};
  }

  bool is_asked() const { return asked_; }

  void Answer(Snapshot snapshot) {
    auto shared = std::make_shared<const Snapshot>(std::move(snapshot));
    {
      const std::lock_guard lock(mutex_);
      snapshot_ = std::move(shared);
      answered_at_ = Clock::now();
      asked_ = false;
    }
    answered_.notify_all();
  }

 private:
  template <typename Handler>
  void Show(const char* path, Handler handler) {
    server_.Get(path, [this, handler](const httplib::Request&, httplib::Response& response) {
      if (const auto snapshot = AwaitSnapshot()) {
        handler(*snapshot, response);
      } else {
        response.status = 503;
        Send(response, "the agent's event loop does not answer\n", kText);
      }
    });
  }

  /// A fresh one; absent when the loop does not hand one over in time.
  std::shared_ptr<const Snapshot> AwaitSnapshot() {
    std::unique_lock lock(mutex_);
    const auto is_fresh = [this] { return snapshot_ && Clock::now() - answered_at_ < kFresh; };
    if (!is_fresh()) {
      asked_ = true;
      answered_.wait_for(lock, kPatience, [&] { return stopping_ || is_fresh(); });
    }
    return is_fresh() ? snapshot_ : nullptr;
  }

  BoundedServer server_;
  std::atomic<bool> asked_ = false;

  std::mutex mutex_;  ///< Of what follows.
  std::condition_variable answered_;
  bool stopping_ = false;
  std::shared_ptr<const Snapshot> snapshot_;
  Clock::time_point answered_at_{};

  std::thread thread_;
};

tl::expected<std::unique_ptr<StatusServer>, std::string> StatusServer::Start(const redis::Endpoint& listen) {
  auto impl = std::make_unique<Impl>();
  if (const auto started = impl->Start(listen); !started) return tl::unexpected(started.error());
  return std::unique_ptr<StatusServer>(new StatusServer(std::move(impl)));
}

StatusServer::StatusServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StatusServer::~StatusServer() = default;
bool StatusServer::is_asked() const { return impl_->is_asked(); }
void StatusServer::Answer(Snapshot snapshot) { impl_->Answer(std::move(snapshot)); }

}  // namespace rcb::agent
