#include "consul/client.h"

#include <uv.h>

#include <algorithm>
#include <random>
#include <utility>

namespace rcb::consul {
namespace {

/// First pause after an error; doubles with each further one.
constexpr std::chrono::milliseconds kFirstRetry{100};
constexpr std::chrono::milliseconds kMaxRetry{10000};
/// Cap while the local agent is away or its servers have no leader: both end without notice, a refused connection on
/// the same host costs nothing, and the first answer is what everything waits for.
constexpr std::chrono::milliseconds kMaxRetryWhileAway{200};
/// A server that answers at once with an unchanged index is asked this often; as many changes as kBurst are passed on
/// without any pause.
constexpr std::chrono::milliseconds kSustainedInterval{50};
constexpr int kBurst = 20;

std::chrono::nanoseconds MonotonicNow() { return std::chrono::nanoseconds(uv_hrtime()); }

/// Lets kBurst queries pass at once and one per kSustainedInterval in the long run.
class QueryPacer {
 public:
  /// Books the next query; returns how long to wait before it is sent.
  std::chrono::nanoseconds Book(std::chrono::nanoseconds now) {
    free_from_ = std::max(free_from_, now - kSustainedInterval * kBurst) + kSustainedInterval;
    return std::max(free_from_ - now, std::chrono::nanoseconds{0});
  }

 private:
  std::chrono::nanoseconds free_from_{0};
};

/// Puts what was tried in front of an error.
template <typename T>
Result<T> Explain(Result<T> result, const std::string& intent) {
  if (!result) result.error().message = intent + ": " + result.error().message;
  return result;
}

/// Repeats one blocking query. Lives in a shared_ptr, so that its Watch may be destroyed by the handler it is calling.
template <typename T>
class Poller : public std::enable_shared_from_this<Poller<T>> {
 public:
  struct Query {
    std::function<HttpRequest(std::uint64_t index)> request;
    std::function<Result<T>(const HttpResponse&)> parse;
    std::string intent;
    Client::Handler<T> handler;
  };

  Poller(std::weak_ptr<HttpTransport> transport, uv_loop_s* loop, Query query)
      : transport_(std::move(transport)),
        query_(std::move(query)),
        jitter_(std::random_device{}()),
        timer_(new uv_timer_t) {
    uv_timer_init(loop, timer_);
    timer_->data = this;
  }
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
  ~Poller() { Stop(); }

  void Send() {
    const auto transport = transport_.lock();
    if (!transport) return;
    in_flight_ =
        transport->Send(query_.request(index_), [weak = this->weak_from_this()](Result<HttpResponse> response) {
          if (const auto self = weak.lock()) self->OnResponse(std::move(response));
        });
  }

  void Stop() {
    if (timer_ == nullptr) return;
    uv_close(reinterpret_cast<uv_handle_t*>(timer_),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_timer_t*>(handle); });
    timer_ = nullptr;
    if (const auto transport = transport_.lock()) transport->Cancel(in_flight_);
  }

 private:
  void OnResponse(Result<HttpResponse> response) {
    if (transport_.expired()) return;
    Result<T> answer = Explain<T>(response.and_then(query_.parse), query_.intent);
    if (answer) {
      // https://developer.hashicorp.com/consul/api-docs/features/blocking
      const std::uint64_t told = response->consul_index;
      index_ = told < index_ ? 0 : std::max<std::uint64_t>(told, 1);
      failures_ = 0;
      SendAfter(pacer_.Book(MonotonicNow()));
    } else {
      index_ = 0;
      SendAfter(RetryPause(answer.error().kind));
    }
    query_.handler(std::move(answer));  // Last: it may destroy the Watch, or the Client.
  }

  std::chrono::nanoseconds RetryPause(ErrorKind kind) {
    const bool is_away = kind == ErrorKind::kUnreachable || kind == ErrorKind::kNoLeader || kind == ErrorKind::kTimeout;
    const auto longest = is_away ? kMaxRetryWhileAway : kMaxRetry;
    const auto pause = std::min(kFirstRetry * (1 << std::min(failures_, 10)), longest);
    ++failures_;
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
        pause * std::uniform_real_distribution<double>(0.75, 1.0)(jitter_));
  }

  void SendAfter(std::chrono::nanoseconds pause) {
    if (pause.count() <= 0) {
      Send();
      return;
    }
    const auto whole = std::chrono::ceil<std::chrono::milliseconds>(pause);
    uv_timer_start(
        timer_, [](uv_timer_t* timer) { static_cast<Poller*>(timer->data)->Send(); },
        static_cast<std::uint64_t>(whole.count()), 0);
  }

  std::weak_ptr<HttpTransport> transport_;  ///< Gone with the Client: the Watch then stays silent.
  Query query_;
  std::minstd_rand jitter_;
  uv_timer_t* timer_;  ///< Null once stopped. Freed in its close callback.
  HttpTransport::RequestId in_flight_ = 0;
  std::uint64_t index_ = 0;
  int failures_ = 0;
  QueryPacer pacer_;
};

template <typename T>
class PollingWatch : public Watch {
 public:
  PollingWatch(uv_loop_s* loop, const std::shared_ptr<HttpTransport>& transport, typename Poller<T>::Query query)
      : poller_(std::make_shared<Poller<T>>(transport, loop, std::move(query))) {
    poller_->Send();
  }
  PollingWatch(const PollingWatch&) = delete;
  PollingWatch& operator=(const PollingWatch&) = delete;
  ~PollingWatch() override { poller_->Stop(); }

 private:
  std::shared_ptr<Poller<T>> poller_;
};

}  // namespace

class Client::Impl {
 public:
  Impl(uv_loop_s* event_loop, std::shared_ptr<HttpTransport> http)
      : loop(event_loop),
        shared(std::move(http)),
        transport(std::make_shared<std::shared_ptr<HttpTransport>>(shared), shared.get()) {}

  template <typename T, typename Parse>
  void Call(const HttpRequest& request, std::string intent, Parse parse, Handler<T> handler) {
    transport->Send(request, [weak = std::weak_ptr<HttpTransport>(transport), intent = std::move(intent),
                              parse = std::move(parse), handler = std::move(handler)](Result<HttpResponse> response) {
      if (!weak.expired()) handler(Explain<T>(response.and_then(parse), intent));
    });
  }

  uv_loop_s* loop;
  std::shared_ptr<HttpTransport> shared;  ///< By all clients on the same connections.
  /// The same, with a count of this client alone: what is under way keeps it weakly, and so knows when the client is
  /// gone.
  std::shared_ptr<HttpTransport> transport;
};

Result<std::unique_ptr<Client>> Client::Create(uv_loop_s* loop, const HttpTransport::Options& options) {
  auto transport = HttpTransport::Create(loop, options);
  if (!transport) return tl::unexpected(transport.error());
  return std::unique_ptr<Client>(new Client(std::make_shared<Impl>(loop, *std::move(transport))));
}

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

std::unique_ptr<Client> Client::Share() const {
  return std::unique_ptr<Client>(new Client(std::make_shared<Impl>(impl_->loop, impl_->shared)));
}

Result<void> Client::SetToken(const std::string& token) { return impl_->transport->SetToken(token); }

void Client::RegisterService(const ServiceRegistration& registration, Handler<void> handler) {
  impl_->Call<void>(RegisterServiceRequest(registration), "cannot register service " + registration.id,
                    ParseEmptyResponse, std::move(handler));
}

void Client::DeregisterService(const std::string& service_id, Handler<void> handler) {
  impl_->Call<void>(DeregisterServiceRequest(service_id), "cannot deregister service " + service_id, ParseEmptyResponse,
                    std::move(handler));
}

void Client::UpdateTtl(const std::string& check_id, CheckStatus status, const std::string& output,
                       Handler<void> handler) {
  impl_->Call<void>(UpdateTtlRequest(check_id, status, output), "cannot update check " + check_id, ParseEmptyResponse,
                    std::move(handler));
}

void Client::Self(Handler<AgentSelf> handler) {
  impl_->Call<AgentSelf>(AgentSelfRequest(), "cannot ask the Consul agent about itself", ParseAgentSelf,
                         std::move(handler));
}

void Client::KvGet(const std::string& key, Handler<KvPair> handler) {
  impl_->Call<KvPair>(
      KvGetRequest(key, 0, {}), "cannot read key " + key,
      [key](const HttpResponse& response) { return ParseKvGet(key, response); }, std::move(handler));
}

void Client::KvCas(const std::string& key, const std::string& value, std::uint64_t index, Handler<void> handler) {
  impl_->Call<void>(KvCasRequest(key, value, index), "cannot write key " + key, ParseKvCas, std::move(handler));
}

void Client::KvDelete(const std::string& key, std::uint64_t index, Handler<void> handler) {
  impl_->Call<void>(KvDeleteRequest(key, index), "cannot delete key " + key, ParseKvCas, std::move(handler));
}

void Client::HealthService(const std::string& service, Handler<std::vector<ServiceEntry>> handler) {
  impl_->Call<std::vector<ServiceEntry>>(HealthServiceRequest(service, 0, {}), "cannot read service " + service,
                                         ParseHealthService, std::move(handler));
}

void Client::Txn(const std::vector<TxnOperation>& operations, Handler<std::uint64_t> handler) {
  impl_->Call<std::uint64_t>(TxnRequest(operations), "cannot write the catalog", ParseTxn, std::move(handler));
}

std::unique_ptr<Watch> Client::WatchKv(const std::string& key, std::chrono::milliseconds wait,
                                       Handler<KvPair> handler) {
  return std::make_unique<PollingWatch<KvPair>>(
      impl_->loop, impl_->transport,
      Poller<KvPair>::Query{.request = [key, wait](std::uint64_t index) { return KvGetRequest(key, index, wait); },
                            .parse = [key](const HttpResponse& response) { return ParseKvGet(key, response); },
                            .intent = "cannot watch key " + key,
                            .handler = std::move(handler)});
}

std::unique_ptr<Watch> Client::WatchService(const std::string& service, std::chrono::milliseconds wait,
                                            Handler<std::vector<ServiceEntry>> handler) {
  using Entries = std::vector<ServiceEntry>;
  return std::make_unique<PollingWatch<Entries>>(
      impl_->loop, impl_->transport,
      Poller<Entries>::Query{
          .request = [service, wait](std::uint64_t index) { return HealthServiceRequest(service, index, wait); },
          .parse = ParseHealthService,
          .intent = "cannot watch service " + service,
          .handler = std::move(handler)});
}

}  // namespace rcb::consul
