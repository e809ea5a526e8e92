#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "consul/http_transport.h"
#include "consul/result.h"
#include "consul/types.h"

struct uv_loop_s;

namespace rcb::consul {

/// A value that Consul keeps telling: reads with blocking queries until destroyed.
///
/// Index rules of Consul's documentation on blocking queries: an index that falls starts again at 0, one below 1 is 1,
/// and an answer without change is asked again (at most 20 times a second in the long run; a burst of changes passes
/// without pause). After an error: jittered, doubling pauses from 100 ms up to 10 s, but up to 0.2 s while the agent is
/// away or its servers have no leader; then from index 0.
class Watch {
 public:
  virtual ~Watch() = default;
};

/// Typed calls to the local Consul agent. Handlers run on the loop, never before the call returns, and not after
/// destruction.
class Client {
 public:
  template <typename T>
  using Handler = std::function<void(Result<T>)>;

  static Result<std::unique_ptr<Client>> Create(uv_loop_s* loop, const HttpTransport::Options& options);
  ~Client();

  /// Another client on the same connections, with the same token. Calls that its destruction leaves behind are still
  /// sent.
  std::unique_ptr<Client> Share() const;

  /// Of the calls to come, see HttpTransport::SetToken(). A service keeps the token that registered it: register again.
  Result<void> SetToken(const std::string& token);

  void RegisterService(const ServiceRegistration& registration, Handler<void> handler);
  void DeregisterService(const std::string& service_id, Handler<void> handler);
  /// Error kNotFound: the local agent does not know the check (it restarted empty).
  void UpdateTtl(const std::string& check_id, CheckStatus status, const std::string& output, Handler<void> handler);
  void Self(Handler<AgentSelf> handler);
  void KvGet(const std::string& key, Handler<KvPair> handler);
  void KvCas(const std::string& key, const std::string& value, std::uint64_t index, Handler<void> handler);
  /// Removes the key, only at this ModifyIndex. Error kConflict: it has another.
  void KvDelete(const std::string& key, std::uint64_t index, Handler<void> handler);
  void HealthService(const std::string& service, Handler<std::vector<ServiceEntry>> handler);
  void Txn(const std::vector<TxnOperation>& operations, Handler<std::uint64_t> handler);

  /// Calls the handler with the first answer, then with every answer that came (changed or not: each is proof of a read
  /// at Consul's servers), and with every error. `wait` bounds one blocking query.
  std::unique_ptr<Watch> WatchKv(const std::string& key, std::chrono::milliseconds wait, Handler<KvPair> handler);
  std::unique_ptr<Watch> WatchService(const std::string& service, std::chrono::milliseconds wait,
                                      Handler<std::vector<ServiceEntry>> handler);

 private:
  class Impl;
  explicit Client(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace rcb::consul
