#include "redis/connection.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "real_server.h"

namespace rcb::redis {
namespace {

using namespace std::chrono_literals;

Endpoint Local(std::uint16_t port) { return {"127.0.0.1", port, ""}; }

/// A connection that notes what its handlers hear.
struct Client {
  Client(TestLoop& loop, Connection::Options options)
      : connection(std::make_unique<Connection>(
            loop.get(), std::move(options),
            Connection::Handlers{
                .on_open = [this] { ++opened; },
                .on_close = [this](const Error& error) { closed.push_back(error); },
                .on_message = [this](const std::string& channel,
                                     const std::string& payload) { messages.push_back(channel + " " + payload); }})) {
    connection->Open();
    REQUIRE(opened == 0);
    REQUIRE(closed.empty());
  }

  std::optional<Result<Reply>> Ask(TestLoop& loop, const std::vector<std::string>& command) {
    std::optional<Result<Reply>> answer;
    connection->Command(command, 5s, [&answer](Result<Reply> reply) { answer = std::move(reply); });
    loop.RunUntil([&] { return answer.has_value(); });
    return answer;
  }

  int opened = 0;
  std::vector<Error> closed;
  std::vector<std::string> messages;
  std::unique_ptr<Connection> connection;
};

void CheckFails(const Endpoint& endpoint, ErrorKind kind, const std::string& words, const Credentials& credentials = {},
                milliseconds timeout = 3000ms) {
  TestLoop loop;
  Client client(loop, {.endpoint = endpoint, .credentials = credentials, .connect_timeout = timeout});
  REQUIRE(loop.RunUntil([&] { return !client.closed.empty(); }));
  CHECK(client.opened == 0);
  CHECK(client.closed.size() == 1);
  CHECK(client.closed[0].kind == kind);
  CAPTURE(client.closed[0].message);
  CHECK(client.closed[0].message.find(words) != std::string::npos);
  CHECK(client.closed[0].message.find("s3cret") == std::string::npos);
}

TEST_CASE("Connection: opens over TCP, by name and over a unix socket, names itself and answers") {
  RealServer server;
  TestLoop loop;
  Endpoint endpoint = Local(server.port());
  SUBCASE("address") {}
  SUBCASE("name with several addresses, the first of which may refuse") { endpoint.host = "localhost"; }
  SUBCASE("unix socket") { endpoint = {"", 0, server.unix_path()}; }
  Client client(loop, {.endpoint = endpoint, .credentials = {}});
  const auto early = client.Ask(loop, {"CLIENT", "GETNAME"});  // Sent before on_open, right behind the greeting.
  REQUIRE(early);
  REQUIRE(*early);
  CHECK((*early)->text == "redis-consul-agent");
  CHECK(client.opened == 1);
  CHECK(client.connection->is_open());
  const auto refused = client.Ask(loop, {"NOSUCH"});
  REQUIRE(refused);
  REQUIRE_FALSE(*refused);
  CHECK(refused->error().kind == ErrorKind::kReply);
  CHECK(client.closed.empty());
}

TEST_CASE("Connection: says why it cannot be opened") {
  SUBCASE("refused") { CheckFails(Local(FreePort()), ErrorKind::kRefused, "refuses connections"); }
  SUBCASE("no unix socket") { CheckFails({"", 0, "/nonexistent/redis.sock"}, ErrorKind::kRefused, "does not exist"); }
  SUBCASE("no such name") {
    CheckFails({"no-such-host.invalid", 6379, ""}, ErrorKind::kUnresolvable, "cannot be resolved");
  }
  SUBCASE("an HTTP server") {
    FakeServer http("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    CheckFails(Local(http.port()), ErrorKind::kProtocol,
               "127.0.0.1:" + std::to_string(http.port()) + " does not speak the Redis protocol");
  }
  SUBCASE("more replies than questions") {
    FakeServer chatty("+OK\r\n+OK\r\n");
    TestLoop loop;
    Client client(loop, {.endpoint = Local(chatty.port()), .credentials = {}});
    REQUIRE(loop.RunUntil([&] { return !client.closed.empty(); }));
    CHECK(client.closed[0].kind == ErrorKind::kProtocol);
  }
  SUBCASE("closes without a word") {
    FakeServer mute("");
    CheckFails(Local(mute.port()), ErrorKind::kClosed, "without a word");
  }
  SUBCASE("accepts and says nothing") {
    LoopbackSocket silent;
    silent.Listen();
    CheckFails(Local(silent.port()), ErrorKind::kTimeout, "says nothing", {}, 50ms);
  }
  SUBCASE("protected mode") {
    FakeServer guarded("-DENIED Redis is running in protected mode because...\r\n");
    CheckFails(Local(guarded.port()), ErrorKind::kPermission, "protected mode");
  }
  SUBCASE("wrong password") {
    RealServer server("requirepass right");
    CheckFails(Local(server.port()), ErrorKind::kAuthentication, "WRONGPASS", {"", "s3cret"});
  }
  SUBCASE("wrong user") {
    RealServer server;
    CheckFails(Local(server.port()), ErrorKind::kAuthentication, "WRONGPASS", {"nobody", "s3cret"});
  }
  SUBCASE("a server that knows no users") {
    FakeServer old("-ERR wrong number of arguments for 'auth' command\r\n");
    CheckFails(Local(old.port()), ErrorKind::kAuthentication, "before 6.0", {"nobody", "s3cret"});
  }
}

TEST_CASE("Connection: passwords that fit, and one that is not needed") {
  RealServer server("user bridge on >right ~* &* +@all");
  TestLoop loop;
  Credentials credentials;
  SUBCASE("user and password") { credentials = {"bridge", "right"}; }
  SUBCASE("none configured there") { credentials = {"", "unneeded"}; }
  Client client(loop, {.endpoint = Local(server.port()), .credentials = credentials});
  REQUIRE(loop.RunUntil([&] { return client.opened == 1; }));
  CHECK(*client.Ask(loop, {"PING"}));
}

TEST_CASE("Connection: error replies by their kind") {
  RealServer server("requirepass right\nuser limited on >limited resetchannels -@all +ping");
  TestLoop loop;
  {
    Client client(loop, {.endpoint = Local(server.port()), .credentials = {}});
    const auto answer = client.Ask(loop, {"INFO"});
    REQUIRE(answer);
    CHECK(answer->error().kind == ErrorKind::kAuthentication);
  }
  Client client(loop, {.endpoint = Local(server.port()), .credentials = {"limited", "limited"}});
  REQUIRE(loop.RunUntil([&] { return client.opened == 1; }));  // Although CLIENT SETNAME is refused.
  CHECK(client.Ask(loop, {"INFO"})->error().kind == ErrorKind::kPermission);
}

TEST_CASE("Connection: a busy server says so") {
  RealServer server("busy-reply-threshold 10");
  TestLoop loop;
  Client script(loop, {.endpoint = Local(server.port()), .credentials = {}});
  script.connection->Command({"EVAL", "while true do end", "0"}, 60s, [](const Result<Reply>&) {});
  Client client(loop, {.endpoint = Local(server.port()), .credentials = {}});
  std::optional<ErrorKind> kind;
  REQUIRE(loop.RunUntil([&] {
    const auto answer = client.Ask(loop, {"INFO"});
    if (answer && !*answer) kind = answer->error().kind;
    return kind.has_value();
  }));
  CHECK(*kind == ErrorKind::kBusy);
}

TEST_CASE("Connection: messages arrive, by channel and by pattern, with the channel published to") {
  RealServer server;
  TestLoop loop;
  Client client(loop, {.endpoint = Local(server.port()), .credentials = {}});
  int accepted = 0;
  client.connection->Subscribe("news", false, [&](const Result<Reply>& reply) { accepted += reply ? 1 : 0; });
  client.connection->Subscribe("w*", true, [&](const Result<Reply>& reply) { accepted += reply ? 1 : 0; });
  REQUIRE(loop.RunUntil([&] { return accepted == 2; }));
  server.Ask("PUBLISH news hello");
  server.Ask("PUBLISH weather rain");
  REQUIRE(loop.RunUntil([&] { return client.messages.size() == 2; }));
  CHECK(client.messages == std::vector<std::string>{"news hello", "weather rain"});
}

TEST_CASE("Connection: an end is told once, to the commands and to the owner") {
  RealServer server;
  TestLoop loop;
  Client client(loop, {.endpoint = Local(server.port()), .credentials = {}});
  REQUIRE(loop.RunUntil([&] { return client.opened == 1; }));
  std::optional<ErrorKind> told;
  SUBCASE("the server is killed") {
    server.Signal(SIGSTOP);
    client.connection->Command({"PING"}, 60s, [&](const Result<Reply>& reply) { told = reply.error().kind; });
    server.Kill();
    REQUIRE(loop.RunUntil([&] { return !client.closed.empty(); }));
    CHECK(client.closed[0].kind == ErrorKind::kClosed);
  }
  SUBCASE("the server hangs") {
    server.Signal(SIGSTOP);
    client.connection->Command({"PING"}, 20ms, [&](const Result<Reply>& reply) { told = reply.error().kind; });
    REQUIRE(loop.RunUntil([&] { return !client.closed.empty(); }));
    CHECK(client.closed[0].kind == ErrorKind::kTimeout);
  }
  CHECK(client.closed.size() == 1);
  CHECK(told == ErrorKind::kClosed);
  CHECK_FALSE(client.connection->is_open());
  client.connection->Command({"PING"}, 1s, [](const Result<Reply>&) { FAIL("a closed connection answers nothing"); });
}

TEST_CASE("Connection: may be destroyed inside any of its handlers") {
  RealServer server;
  TestLoop loop;
  bool destroyed = false;
  std::unique_ptr<Connection> connection;
  const auto destroy = [&] {
    REQUIRE_FALSE(destroyed);
    connection.reset();
    destroyed = true;
  };
  Connection::Handlers handlers;
  handlers.on_close = [](const Error&) { FAIL("nothing is called after the end"); };
  Endpoint endpoint = Local(server.port());
  SUBCASE("on_open") { handlers.on_open = destroy; }
  SUBCASE("on_close of a refused one") {
    endpoint.port = FreePort();
    handlers.on_close = [&](const Error&) { destroy(); };
  }
  SUBCASE("on_message") {
    handlers.on_message = [&](const std::string&, const std::string&) { destroy(); };
  }
  SUBCASE("a reply") {
    handlers.on_open = [&] { connection->Command({"PING"}, 5s, [&](const Result<Reply>&) { destroy(); }); };
  }
  SUBCASE("a command's end") {
    handlers.on_open = [&] {
      connection->Command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"}, 5s, [](const Result<Reply>&) {});
      connection->Command({"PING"}, 5s, [&](const Result<Reply>&) { destroy(); });
    };
  }
  connection =
      std::make_unique<Connection>(loop.get(), Connection::Options{.endpoint = endpoint, .credentials = {}}, handlers);
  connection->Open();
  if (handlers.on_message) {
    bool accepted = false;
    connection->Subscribe("news", false, [&](const Result<Reply>&) { accepted = true; });
    REQUIRE(loop.RunUntil([&] { return accepted; }));
    server.Ask("PUBLISH news hello");
    server.Ask("PUBLISH news again");
  }
  CHECK(loop.RunUntil([&] { return destroyed; }));
}

TEST_CASE("Connection: destroyed while resolving, connecting or greeting it leaves nothing behind") {
  RealServer server;
  for (const std::string host : {"localhost", "127.0.0.1"}) {
    for (int turns = 0; turns < 4; ++turns) {
      TestLoop loop;
      auto client =
          std::make_unique<Client>(loop, Connection::Options{.endpoint = {host, server.port(), ""}, .credentials = {}});
      for (int i = 0; i < turns; ++i) uv_run(loop.get(), UV_RUN_NOWAIT);
      client.reset();
    }
  }
}

}  // namespace
}  // namespace rcb::redis
