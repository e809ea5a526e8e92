#include <doctest/doctest.h>

#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "real_server.h"
#include "redis/connection.h"
#include "redis/instance_client.h"
#include "redis/tls.h"
#include "tests/integration/certificates.h"

namespace rcb::redis {
namespace {

using namespace std::chrono_literals;
using integration::Certificate;
using integration::CertificateAuthority;
using integration::TestFolder;

constexpr char kLocalNames[] = "IP:127.0.0.1,IP:::1,DNS:localhost";

/// A redis-server that speaks TLS on a port of its own.
struct TlsServer {
  TlsServer(const CertificateAuthority& ca, const Certificate& certificate, const std::string& settings)
      : port(FreePort()),
        server("bind 127.0.0.1 ::1\ntls-port " + std::to_string(port) + "\ntls-cert-file " + certificate.file +
               "\ntls-key-file " + certificate.key + "\ntls-ca-cert-file " + ca.file() + "\n" + settings) {}

  std::uint16_t port;
  RealServer server;
};

std::shared_ptr<TlsClient> Tls(const TlsOptions& options) {
  auto client = TlsClient::Create(options);
  if (!client) FAIL(client.error().message);
  return *client;
}

/// A connection and what its handlers heard.
struct Client {
  Client(TestLoop& event_loop, const Endpoint& endpoint, std::shared_ptr<TlsClient> tls, milliseconds timeout = 3000ms)
      : loop(event_loop),
        connection(loop.get(),
                   {.endpoint = endpoint, .credentials = {}, .tls = std::move(tls), .connect_timeout = timeout},
                   {.on_open = [this] { opened = true; },
                    .on_close = [this](const Error& told) { error = told; },
                    .on_message = [this](const std::string&, const std::string& payload) { message = payload; }}) {
    connection.Open();
  }

  std::string Ask(const std::vector<std::string>& command) {
    std::optional<std::string> answer;
    connection.Command(command, 10s,
                       [&answer](const Result<Reply>& reply) { answer = reply ? reply->text : reply.error().message; });
    loop.RunUntil([&] { return answer.has_value(); });
    return answer.value_or("no answer");
  }

  TestLoop& loop;
  bool opened = false;
  std::optional<Error> error;
  std::optional<std::string> message;
  Connection connection;
};

void CheckFails(const Endpoint& endpoint, std::shared_ptr<TlsClient> tls, ErrorKind kind,
                const std::vector<std::string>& words, milliseconds timeout = 3000ms) {
  TestLoop loop;
  Client client(loop, endpoint, std::move(tls), timeout);
  REQUIRE(loop.RunUntil([&] { return client.error.has_value(); }));
  CHECK_FALSE(client.opened);
  CHECK(client.error->kind == kind);
  CAPTURE(client.error->message);
  for (const std::string& word : words) CHECK(client.error->message.find(word) != std::string::npos);
}

TEST_CASE("Connection over TLS: opens by address, by name and with a certificate of its own, and answers") {
  const TestFolder folder;
  const CertificateAuthority ca(folder, "authority");
  TlsOptions options{.ca_file = ca.file()};
  std::string host = "127.0.0.1";
  std::string settings = "tls-auth-clients no";
  SUBCASE("address") {}
  SUBCASE("address of IPv6") { host = "::1"; }
  SUBCASE("name") { host = "localhost"; }
  SUBCASE("TLS 1.2") { settings += "\ntls-protocols \"TLSv1.2\""; }
  SUBCASE("the server asks who we are") {
    const Certificate own = ca.Issue("agent", "DNS:agent");
    options.client_cert = own.file;
    options.client_key = own.key;
    settings = "tls-auth-clients yes";
  }
  SUBCASE("the server asks who we are, TLS 1.2") {
    const Certificate own = ca.Issue("agent", "DNS:agent");
    options.client_cert = own.file;
    options.client_key = own.key;
    settings = "tls-auth-clients yes\ntls-protocols \"TLSv1.2\"";
  }
  const TlsServer redis(ca, ca.Issue("redis", kLocalNames), settings);
  TestLoop loop;
  Client client(loop, {host, redis.port, ""}, Tls(options));
  CHECK(client.Ask({"CLIENT", "GETNAME"}) == "redis-consul-agent");  // Sent before the handshake.
  CHECK(client.opened);
  // Larger than a TLS record, both ways.
  const std::string text(100000, 'x');
  CHECK(client.Ask({"SET", "key", text}) == "OK");
  CHECK(client.Ask({"GET", "key"}) == text);
  bool subscribed = false;
  client.connection.Subscribe("news", false, [&subscribed](const Result<Reply>& reply) { subscribed = !!reply; });
  REQUIRE(loop.RunUntil([&] { return subscribed; }));
  redis.server.Ask("PUBLISH news hello");
  REQUIRE(loop.RunUntil([&] { return client.message.has_value(); }));
  CHECK(*client.message == "hello");
  CHECK_FALSE(client.error);
}

TEST_CASE("Connection over TLS: a certificate for another name, when that is the one expected or nobody looks") {
  const TestFolder folder;
  const CertificateAuthority ca(folder, "authority");
  const TlsServer redis(ca, ca.Issue("redis", "DNS:redis.example"), "tls-auth-clients no");
  TlsOptions options{.ca_file = ca.file()};
  SUBCASE("expected") { options.server_name = "redis.example"; }
  SUBCASE("not verified") { options = {.verify = false}; }
  TestLoop loop;
  Client client(loop, {"127.0.0.1", redis.port, ""}, Tls(options));
  CHECK(client.Ask({"ECHO", "hello"}) == "hello");
}

TEST_CASE("Connection over TLS: says who refuses whom, and why") {
  const TestFolder folder;
  const CertificateAuthority ca(folder, "authority");
  const CertificateAuthority other(folder, "stranger");
  const TlsOptions trusting{.ca_file = ca.file()};
  const auto check = [&](const Certificate& certificate, const TlsOptions& options,
                         const std::vector<std::string>& words, const std::string& settings = "tls-auth-clients no") {
    const TlsServer redis(ca, certificate, settings);
    CheckFails({"127.0.0.1", redis.port, ""}, Tls(options), ErrorKind::kTls, words);
  };
  SUBCASE("of an unknown authority") {
    check(other.Issue("redis", kLocalNames), trusting, {"\"CN=redis\" was issued under \"CN=stranger\"", ca.file()});
  }
  SUBCASE("not one of the system's authorities") {
    check(ca.Issue("redis", kLocalNames), {}, {"\"CN=redis\" was issued under \"CN=authority\"", "the system's CAs"});
  }
  SUBCASE("another name") {
    check(ca.Issue("redis", "DNS:redis-1.example,IP:192.0.2.1,IP:2001:db8::1"), trusting,
          {"it is for redis-1.example, 192.0.2.1, 2001:db8::1, not for 127.0.0.1"});
  }
  SUBCASE("another name than the one expected") {
    check(ca.Issue("redis", kLocalNames), {.ca_file = ca.file(), .server_name = "redis-2.example"},
          {"it is for 127.0.0.1, ::1, localhost, not for redis-2.example"});
  }
  SUBCASE("expired") {
    check(ca.Issue("redis", kLocalNames, -1), trusting, {"has expired: \"CN=redis\" was valid until 20", " UTC"});
  }
  SUBCASE("none of ours, and the server wants one") {
    check(ca.Issue("redis", kLocalNames), trusting, {"wants a client certificate, and none is configured"},
          "tls-auth-clients yes");
  }
  SUBCASE("none of ours, and the server wants one, TLS 1.2") {
    check(ca.Issue("redis", kLocalNames), trusting, {"wants a client certificate, and none is configured"},
          "tls-auth-clients yes\ntls-protocols \"TLSv1.2\"");
  }
  SUBCASE("the server does not know our authority") {
    const Certificate own = other.Issue("agent", "DNS:agent");
    check(ca.Issue("redis", kLocalNames), {.ca_file = ca.file(), .client_cert = own.file, .client_key = own.key},
          {"refuses our certificate " + own.file}, "tls-auth-clients yes");
  }
  SUBCASE("ours has expired") {
    const Certificate own = ca.Issue("agent", "DNS:agent", -1);
    check(ca.Issue("redis", kLocalNames), {.ca_file = ca.file(), .client_cert = own.file, .client_key = own.key},
          {"refuses our certificate " + own.file, "expired"}, "tls-auth-clients yes");
  }
}

TEST_CASE("Connection over TLS: one side speaks TLS, the other does not") {
  const TestFolder folder;
  const CertificateAuthority ca(folder, "authority");
  const auto tls = Tls({.ca_file = ca.file()});
  SUBCASE("the server does") {
    const TlsServer redis(ca, ca.Issue("redis", kLocalNames), "tls-auth-clients no");
    CheckFails({"127.0.0.1", redis.port, ""}, nullptr, ErrorKind::kClosed, {"without a word", "a port for TLS?"});
  }
  SUBCASE("the server does, and answers with an alert") {
    FakeServer alerting(std::string("\x15\x03\x01\x00\x02\x02\x46", 7));
    CheckFails({"127.0.0.1", alerting.port(), ""}, nullptr, ErrorKind::kTls, {"speaks TLS, which is not configured"});
  }
  SUBCASE("the server answers in clear text") {
    FakeServer plain("-ERR unknown command\r\n");
    CheckFails({"127.0.0.1", plain.port(), ""}, tls, ErrorKind::kTls, {"answers without TLS"});
  }
  SUBCASE("the server is a Redis without TLS, which waits for the end of a line") {
    const RealServer redis;
    CheckFails({"127.0.0.1", redis.port(), ""}, tls, ErrorKind::kTimeout, {"does it speak TLS there?"}, 200ms);
  }
  SUBCASE("the server says nothing") {
    LoopbackSocket silent;
    silent.Listen();
    CheckFails({"127.0.0.1", silent.port(), ""}, tls, ErrorKind::kTimeout, {"does it speak TLS there?"}, 50ms);
  }
  SUBCASE("the server ends the handshake") {
    FakeServer mute("");
    CheckFails({"127.0.0.1", mute.port(), ""}, tls, ErrorKind::kClosed, {"without a word"});
  }
  SUBCASE("a unix socket stays plain") {
    const RealServer redis;
    TestLoop loop;
    Client client(loop, {"", 0, redis.unix_path()}, tls);
    CHECK(client.Ask({"ECHO", "hello"}) == "hello");
  }
}

TEST_CASE("TlsClient: names the file that does not do") {
  const TestFolder folder;
  const CertificateAuthority ca(folder, "authority");
  const Certificate own = ca.Issue("agent", "DNS:agent");
  const Certificate another = ca.Issue("another", "DNS:another");
  const std::string text = (folder.path() / "text").string();
  integration::WriteFile(text, "-----BEGIN s3cret\n");
  struct Case {
    TlsOptions options;
    std::string words;
  };
  const std::vector<Case> cases{
      {{.ca_file = "/nonexistent/ca.pem"}, "cannot read /nonexistent/ca.pem: No such file"},
      {{.ca_file = text}, text + " holds no CA certificate"},
      {{.client_cert = own.file, .client_key = "/nonexistent/key"}, "cannot read /nonexistent/key: No such file"},
      {{.client_cert = text, .client_key = own.key}, text + " holds no certificate"},
      {{.client_cert = own.file, .client_key = text}, text + " holds no unencrypted private key"},
      {{.client_cert = own.file, .client_key = another.key}, another.key + " is not the key of " + own.file},
      {{.client_cert = own.file}, "belong together"},
      {{.client_key = own.key}, "belong together"},
  };
  for (const Case& wrong : cases) {
    const auto client = TlsClient::Create(wrong.options);
    REQUIRE_FALSE(client);
    CAPTURE(client.error().message);
    CHECK(client.error().kind == ErrorKind::kTls);
    CHECK(client.error().message.find(wrong.words) != std::string::npos);
    CHECK(client.error().message.find("s3cret") == std::string::npos);
  }
}

TEST_CASE("TlsClient: follows files that are renewed, and keeps what it has while they do not do") {
  const TestFolder folder;
  const CertificateAuthority ca(folder, "authority");
  const CertificateAuthority other(folder, "stranger");
  const std::string trusted = (folder.path() / "trusted.pem").string();
  integration::WriteFile(trusted, integration::ReadFile(other.file()));
  const TlsServer redis(ca, ca.Issue("redis", kLocalNames), "tls-auth-clients no");
  const auto tls = Tls({.ca_file = trusted});
  const Endpoint endpoint{"127.0.0.1", redis.port, ""};
  CheckFails(endpoint, tls, ErrorKind::kTls, {"is not trusted"});
  const auto opens = [&] {
    TestLoop loop;
    Client client(loop, endpoint, tls);
    return client.Ask({"ECHO", "hello"}) == "hello";
  };
  // As files are replaced: beside, then over.
  integration::WriteFile(trusted + ".new", integration::ReadFile(ca.file()));
  std::filesystem::rename(trusted + ".new", trusted);
  CHECK(opens());
  integration::WriteFile(trusted, "half of a");
  CHECK(opens());
  std::filesystem::remove(trusted);
  CHECK(opens());
}

TEST_CASE("InstanceClient over TLS: a server that is not trusted is withheld, not down") {
  const TestFolder folder;
  const CertificateAuthority ca(folder, "authority");
  const CertificateAuthority other(folder, "stranger");
  const TlsServer redis(ca, ca.Issue("redis", kLocalNames), "tls-auth-clients no");
  TestLoop loop;
  const auto health_with = [&](const CertificateAuthority& trusted) {
    InstanceClient client(loop.get(),
                          {.endpoint = {"127.0.0.1", redis.port, ""},
                           .access = {.credentials = {}, .tls = Tls({.ca_file = trusted.file()})}},
                          {});
    client.Start();
    loop.RunUntil([&] { return client.state().health != Health::kUnknown; });
    return client.state().health;
  };
  CHECK(health_with(ca) == Health::kAnswering);
  CHECK(health_with(other) == Health::kDenied);
}

TEST_CASE("TlsSession: any bytes end it with an error or are waited on") {
  const auto tls = Tls({});
  std::minstd_rand random{20261122};
  for (int round = 0; round < 2000; ++round) {
    const auto session = tls->NewSession("localhost");
    session->Start();
    session->Write("PING");
    CHECK_FALSE(session->TakeOutput().empty());
    // The header of a record, and what is none inside.
    std::string bytes{static_cast<char>(20 + random() % 4), 3, static_cast<char>(random() % 5), 0};
    const auto length = static_cast<std::size_t>(random() % 200);
    bytes += static_cast<char>(length);
    for (std::size_t i = 0; i < length; ++i) bytes += static_cast<char>(random() % 256);
    std::string text;
    for (int i = 0; i < 3; ++i) {
      if (const auto read = session->Read(bytes, text); !read) CHECK(read.error().kind == ErrorKind::kTls);
      static_cast<void>(session->TakeOutput());
    }
    CHECK(text.empty());
    CHECK_FALSE(session->is_established());
  }
}

}  // namespace
}  // namespace rcb::redis
