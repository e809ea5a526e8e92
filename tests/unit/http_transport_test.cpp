// HttpTransport against real Consul agents, and against servers that are none.
#include "consul/http_transport.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "consul/client.h"
#include "tests/unit/consul_calls.h"
#include "tests/unit/consul_fake_server.h"
#include "tests/unit/consul_loop.h"
#include "tests/unit/consul_server.h"

namespace rcb::consul {
namespace {

using namespace std::chrono_literals;

TEST_CASE("HttpTransport: what is no Consul gives an error of the right kind, in a sentence that names it") {
  Loop loop;
  struct Row {
    std::string answer;
    ErrorKind kind;
    std::string_view words;
  };
  const Row rows[] = {
      {"", ErrorKind::kUnreachable, "ended the connection"},
      {"+PONG\r\n-ERR wrong number of arguments\r\n", ErrorKind::kMalformedReply, "does not speak HTTP"},
      {std::string("\0\xff\x01\x02", 4), ErrorKind::kMalformedReply, "does not speak HTTP"},
      {HttpOk("X-Consul-Index: 1\r\n", "<html>"), ErrorKind::kMalformedReply, "not JSON"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", ErrorKind::kUnreachable, "ended the connection"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[", ErrorKind::kUnreachable, "ended the connection"},
      {HttpOk("", std::string((std::size_t{16} << 20U) + 1, ' ')), ErrorKind::kMalformedReply, "16 MiB"},
      {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", ErrorKind::kServer,
       "redirect"},
      {HttpOk("X-Consul-Index: 9\r\nX-Consul-KnownLeader: false\r\n", "[]"), ErrorKind::kNoLeader, "no leader"},
      {"HTTP/1.1 500 Oops\r\nContent-Length: 17\r\n\r\nNo cluster leader", ErrorKind::kNoLeader, "No cluster leader"},
      {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ErrorKind::kNotFound, "404"},
  };
  for (const Row& row : rows) {
    FakeServer server(loop, row.answer);
    {
      const auto client = Connect(loop, {.url = server.url()});
      const auto pair = KvGet(loop, *client, "k");
      REQUIRE_FALSE(pair);
      CAPTURE(pair.error().message);
      CHECK(pair.error().kind == row.kind);
      CHECK(pair.error().message.find(row.words) != std::string::npos);
      CHECK(pair.error().message.find('\n') == std::string::npos);
    }
    server.Stop(loop);
  }
}

TEST_CASE("HttpTransport: nobody there, silence, and names without an address") {
  Loop loop;
  const std::string free_port = std::to_string(PickPorts(1));
  {
    const auto client = Connect(loop, {.url = "http://127.0.0.1:" + free_port});
    const auto pair = KvGet(loop, *client, "k");
    REQUIRE_FALSE(pair);
    CHECK(pair.error().kind == ErrorKind::kUnreachable);
    CHECK(pair.error().message ==
          "cannot read key k: Consul at http://127.0.0.1:" + free_port + " refuses connections: is the agent running?");
  }
  {
    const auto client = Connect(loop, {.url = "unix:///nonexistent/http.sock"});
    const auto pair = KvGet(loop, *client, "k");
    REQUIRE_FALSE(pair);
    CHECK(pair.error().kind == ErrorKind::kUnreachable);
    CHECK_MESSAGE(pair.error().message.find("/nonexistent/http.sock") != std::string::npos, pair.error().message);
  }
  {
    const auto client = Connect(loop, {.url = "http://no-such-host.invalid:8500"});
    const auto pair = KvGet(loop, *client, "k");
    REQUIRE_FALSE(pair);
    CHECK(pair.error().kind == ErrorKind::kUnreachable);
  }
  FakeServer server(loop, "HTTP/1.1 200 OK\r\n", /*closes=*/false);
  {
    auto transport = HttpTransport::Create(loop.get(), {.url = server.url()});
    REQUIRE(transport);
    const auto response = loop.Await<HttpResponse>([&](auto handler) {
      (*transport)->Send({.method = "GET", .path = "/", .body = {}, .timeout = 100ms}, std::move(handler));
    });
    REQUIRE_FALSE(response);
    CHECK(response.error().kind == ErrorKind::kTimeout);
    bool was_called = false;
    const auto id = (*transport)
                        ->Send({.method = "GET", .path = "/", .body = {}, .timeout = 50ms},
                               [&](const Result<HttpResponse>&) { was_called = true; });
    (*transport)->Cancel(id);
    (*transport)->Cancel(id);
    loop.RunUntil([&] { return was_called; }, 150ms);
    CHECK_FALSE(was_called);
  }
  server.Stop(loop);
}

TEST_CASE("HttpTransport: the namespace goes into every query") {
  Loop loop;
  const auto client = Connect(loop, {.url = SharedServer(loop).url(), .name_space = "team a"});
  const auto pair = KvGet(loop, *client, "k");
  REQUIRE_FALSE(pair);  // Consul without Enterprise refuses the parameter by name.
  CHECK_MESSAGE(pair.error().message.find("Namespaces are a Consul Enterprise feature") != std::string::npos,
                pair.error().message);
}

TEST_CASE("HttpTransport: namespace and partition go into every query, with and without one of its own") {
  Loop loop;
  FakeServer server(loop, HttpOk("", "true"));
  const auto client = Connect(loop, {.url = server.url(), .name_space = "team a", .partition = "north"});
  static_cast<void>(KvGet(loop, *client, "k"));
  CHECK_MESSAGE(server.last_request().starts_with("GET /v1/kv/k?leader&ns=team%20a&partition=north HTTP/1.1"),
                server.last_request());
  static_cast<void>(Register(loop, *client, Registration("r", "master")));
  CHECK_MESSAGE(server.last_request().find("ns=team%20a&partition=north HTTP/1.1") != std::string::npos,
                server.last_request());
  server.Stop(loop);
}

TEST_CASE(
    "HttpTransport: of many calls 32 are under way, blocking queries and urgent ones aside, and the others follow") {
  Loop loop;
  FakeServer server(loop, "HTTP/1.1 200 OK\r\n", /*closes=*/false);
  auto transport = HttpTransport::Create(loop.get(), {.url = server.url()});
  REQUIRE(transport);
  std::vector<HttpTransport::RequestId> calls;
  const auto send = [&](bool waits) {
    return (*transport)
        ->Send({.method = "GET", .path = "/", .body = {}, .timeout = 60s, .waits = waits},
               [](const Result<HttpResponse>&) { FAIL("nobody answers"); });
  };
  for (int i = 0; i < 40; ++i) send(true);
  calls.reserve(100);
  for (int i = 0; i < 100; ++i) calls.push_back(send(false));
  REQUIRE(loop.RunUntil([&] { return server.requests() == 72; }));
  CHECK_FALSE(loop.RunUntil([&] { return server.requests() > 72; }, 100ms));
  (*transport)
      ->Send({.method = "PUT", .path = "/", .body = {}, .timeout = 60s, .urgent = true},
             [](const Result<HttpResponse>&) { FAIL("nobody answers"); });
  REQUIRE(loop.RunUntil([&] { return server.requests() == 73; }));
  (*transport)->Cancel(calls.back());  // One that waits for its turn.
  for (int i = 0; i < 50; ++i) (*transport)->Cancel(calls[static_cast<std::size_t>(i)]);
  REQUIRE(loop.RunUntil([&] { return server.requests() == 105; }));
  CHECK_FALSE(loop.RunUntil([&] { return server.requests() > 105; }, 100ms));
  // Those that yield are fewer, and leave room for the others.
  transport = HttpTransport::Create(loop.get(), {.url = server.url()});
  REQUIRE(transport);
  for (int i = 0; i < 20; ++i) {
    (*transport)
        ->Send({.method = "PUT", .path = "/", .body = {}, .timeout = 60s, .yields = true},
               [](const Result<HttpResponse>&) { FAIL("nobody answers"); });
  }
  REQUIRE(loop.RunUntil([&] { return server.requests() == 109; }));
  send(false);
  REQUIRE(loop.RunUntil([&] { return server.requests() == 110; }));
  CHECK_FALSE(loop.RunUntil([&] { return server.requests() > 110; }, 100ms));
  transport->reset();
  server.Stop(loop);
}

TEST_CASE("HttpTransport: another token is sent from the next call on") {
  Loop loop;
  FakeServer server(loop, HttpOk("", "true"));
  const auto client = Connect(loop, {.url = server.url(), .token = "sesame-one"});
  const auto sent = [&](const std::string& token) {
    static_cast<void>(KvGet(loop, *client, "k"));
    return server.last_request().find("X-Consul-Token: " + token + "\r\n") != std::string::npos;
  };
  CHECK(sent("sesame-one"));
  CHECK(client->SetToken("sesame-two"));
  CHECK(sent("sesame-two"));
  const auto refused = client->SetToken("sesame\r\nX-Other: 1");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("sesame") == std::string::npos);
  CHECK(sent("sesame-two"));
  server.Stop(loop);
}

TEST_CASE("HttpTransport: TLS with Consul's own certificates") {
  Loop loop;
  const TempDir certificates;
  RunTool({FindConsul(), "tls", "ca", "create"}, certificates);
  RunTool({FindConsul(), "tls", "cert", "create", "-server", "-dc", "dc1", "-additional-dnsname", "consul.test"},
          certificates);
  RunTool({FindConsul(), "tls", "cert", "create", "-client", "-dc", "dc1"}, certificates);
  const std::string ca = certificates / "consul-agent-ca.pem";
  const std::string client_cert = certificates / "dc1-client-consul-0.pem";
  const std::string client_key = certificates / "dc1-client-consul-0-key.pem";
  ConsulServer server(R"(,"verify_incoming_https":true,"ca_file":")" + ca + R"(","cert_file":")" +
                      (certificates / "dc1-server-consul-0.pem") + R"(","key_file":")" +
                      (certificates / "dc1-server-consul-0-key.pem") + R"(")");
  server.WaitUntilReady(loop);
  HttpTransport::Options options{
      .url = server.https_url(), .ca_file = ca, .client_cert = client_cert, .client_key = client_key};
  bool is_accepted = false;
  SUBCASE("all is right") { is_accepted = true; }
  SUBCASE("another name that the certificate has") {
    options.tls_server_name = "consul.test";
    is_accepted = true;
  }
  SUBCASE("unknown issuer, not verified") {
    options.ca_file.clear();
    options.verify = false;
    is_accepted = true;
  }
  SUBCASE("unknown issuer") { options.ca_file.clear(); }
  SUBCASE("a name that the certificate has not") { options.tls_server_name = "other.test"; }
  SUBCASE("no client certificate") {
    options.client_cert.clear();
    options.client_key.clear();
  }
  const auto client = Connect(loop, options);
  const auto pair = KvGet(loop, *client, "k");
  CHECK(pair.has_value() == is_accepted);
  if (!pair) {
    CHECK_MESSAGE(pair.error().kind == ErrorKind::kTls, pair.error().message);
    CHECK(pair.error().message.find(server.https_url()) != std::string::npos);
  }
}

TEST_CASE("HttpTransport::Create: settings that cannot work are named, secrets are not") {
  Loop loop;
  struct Row {
    HttpTransport::Options options;
    std::string_view words;
  };
  const Row rows[] = {
      {{.url = ""}, "CONSUL_HTTP_ADDR"},
      {{.url = "ftp://h:1"}, "scheme"},
      {{.url = "http://"}, "cannot be read"},
      {{.url = "http://h:99999"}, "cannot be read"},
      {{.url = "http://user:sesame@h:1"}, "credentials"},
      {{.url = "http://h:1/?token=sesame"}, "query"},
      {{.url = "unix://relative"}, "absolute"},
      {{.url = "unix:///" + std::string(200, 'x')}, "longer"},
      {{.token = "sesame\r\nX-Other: 1"}, "token"},
      {{.ca_file = "/nonexistent/ca.pem"}, "CONSUL_CACERT"},
      {{.client_cert = "/nonexistent/cert.pem"}, "CONSUL_CLIENT_CERT"},
      {{.client_key = "/nonexistent/key.pem"}, "CONSUL_CLIENT_KEY"},
      {{.url = "https://h:1", .tls_server_name = "a b"}, "CONSUL_TLS_SERVER_NAME"},
  };
  for (const Row& row : rows) {
    const auto client = Client::Create(loop.get(), row.options);
    CAPTURE(row.words);
    REQUIRE_FALSE(client);
    CAPTURE(client.error().message);
    CHECK(client.error().kind == ErrorKind::kConfiguration);
    CHECK(client.error().message.find(row.words) != std::string::npos);
    CHECK(client.error().message.find("sesame") == std::string::npos);
  }
  CHECK(Client::Create(loop.get(), {.url = "http://[::1]:8500"}));
  CHECK(Client::Create(loop.get(), {.url = "localhost:8500"}));
}

}  // namespace
}  // namespace rcb::consul
