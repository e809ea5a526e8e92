#pragma once

#include <functional>
#include <memory>
#include <string>

#include "consul/requests.h"
#include "consul/result.h"

struct uv_loop_s;

namespace rcb::consul {

/// Sends HTTP requests to one Consul agent with curl multi on the event loop. Connections are kept alive.
class HttpTransport {
 public:
  struct Options {
    /// http://host:port, https://host:port or unix:///path (as CONSUL_HTTP_ADDR also says: a bare host:port is http).
    std::string url = "http://127.0.0.1:8500";
    std::string token{};            ///< Sent as X-Consul-Token; never printed. Empty: none.
    std::string ca_file{};          ///< PEM; empty: the system's.
    std::string client_cert{};      ///< PEM.
    std::string client_key{};       ///< PEM.
    std::string tls_server_name{};  ///< Name to verify in place of the URL's host.
    bool verify = true;
    std::string name_space{};  ///< Consul Enterprise namespace, added as `ns=`; empty: none.
    std::string partition{};   ///< Consul Enterprise admin partition, added as `partition=`; empty: none.

    bool operator==(const Options&) const = default;
  };
  using Handler = std::function<void(Result<HttpResponse>)>;
  using RequestId = std::uint64_t;

  /// Error kConfiguration: a URL of no known form, a file that is not there or is unreadable; names it and the setting.
  static Result<std::unique_ptr<HttpTransport>> Create(uv_loop_s* loop, const Options& options);
  ~HttpTransport();  ///< Requests in flight are dropped; their handlers are not called.

  /// Never calls the handler before it returns. Bodies over 16 MiB end with kMalformedReply. Beside blocking queries 32
  /// requests are under way at most, others wait for their turn, those that yield the longest: Consul bounds the
  /// connections of a host.
  RequestId Send(const HttpRequest& request, Handler handler);
  /// Of the requests to come. Error kConfiguration: it holds a control character; then the old one stays.
  Result<void> SetToken(const std::string& token);
  void Cancel(RequestId id);  ///< Its handler is not called any more. Unknown ids are ignored.

 private:
  class Impl;
  explicit HttpTransport(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rcb::consul
