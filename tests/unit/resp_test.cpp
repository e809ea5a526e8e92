#include "redis/resp.h"

#include <doctest/doctest.h>

#include <string>

namespace rcb::redis {
namespace {

Result<std::optional<DecodedReply>> DecodeOne(const std::string& bytes) {
  ReplyDecoder decoder;
  decoder.Feed(bytes);
  return decoder.Next();
}

std::string Repeat(const std::string& text, std::size_t times) {
  std::string repeated;
  for (std::size_t i = 0; i < times; ++i) repeated += text;
  return repeated;
}

TEST_CASE("A command is an array of bulk strings, whatever its bytes") {
  CHECK(EncodeCommand({"INFO", std::string("a\r\n\0", 4)}) == std::string("*2\r\n$4\r\nINFO\r\n$4\r\na\r\n\0\r\n", 24));
}

TEST_CASE("Replies of all types are decoded") {
  const auto reply = DecodeOne("*5\r\n+OK\r\n:-7\r\n$-1\r\n*0\r\n*2\r\n$2\r\na\n\r\n-ERR x\r\n");
  REQUIRE(reply);
  REQUIRE(*reply);
  CHECK_FALSE((*reply)->is_error);
  const auto& elements = (*reply)->reply.elements;
  REQUIRE(elements.size() == 5);
  CHECK(elements[0].text == "OK");
  CHECK(elements[1].integer == -7);
  CHECK(elements[2].type == Reply::Type::kNil);
  CHECK(elements[3].type == Reply::Type::kArray);
  REQUIRE(elements[4].elements.size() == 2);
  CHECK(elements[4].elements[0].text == "a\n");
  CHECK(elements[4].elements[1].text == "ERR x");

  const auto error = DecodeOne("-NOAUTH Authentication required.\r\n");
  REQUIRE(error);
  REQUIRE(*error);
  CHECK((*error)->is_error);
  CHECK((*error)->reply.text == "NOAUTH Authentication required.");
}

TEST_CASE("Bytes may come one by one, and replies several at once") {
  const std::string bytes = "*2\r\n$3\r\nfoo\r\n*1\r\n:1\r\n+PONG\r\n";
  ReplyDecoder decoder;
  std::size_t replies = 0;
  for (const char byte : bytes) {
    decoder.Feed({&byte, 1});
    const auto reply = decoder.Next();
    REQUIRE(reply);
    replies += reply->has_value() ? 1 : 0;
  }
  CHECK(replies == 2);

  decoder.Feed(bytes + bytes);
  for (int i = 0; i < 4; ++i) {
    const auto reply = decoder.Next();
    REQUIRE(reply);
    CHECK(reply->has_value());
  }
  const auto none = decoder.Next();
  REQUIRE(none);
  CHECK_FALSE(none->has_value());
}

TEST_CASE("What is not RESP, or out of bounds, is an error") {
  const std::string bytes[] = {
      "HTTP/1.1 400 Bad Request\r\n\r\n",
      "\r\n",
      std::string("\x15\x03\x01\x00\x02\x02\x46", 7),  // A TLS alert.
      "$x\r\n",
      ":12x\r\n",
      "*9223372036854775807\r\n",
      "*100000\r\n",
      Repeat("*1\r\n", 1000),
      Repeat("*30000\r\n", 4),
      "$2000000\r\n" + std::string(1500000, 'x'),
      "+" + std::string(1500000, 'x'),
      "%2\r\n+a\r\n*9999999\r\n",
  };
  for (const std::string& text : bytes) {
    CAPTURE(text.substr(0, 40));
    const auto reply = DecodeOne(text);
    REQUIRE_FALSE(reply);
    CHECK(reply.error().kind == ErrorKind::kProtocol);
  }
  const auto deep = DecodeOne(Repeat("*1\r\n", ReplyDecoder::kMaxDepth) + ":1\r\n");
  REQUIRE(deep);
  CHECK(deep->has_value());
}

TEST_CASE("Many small replies are not one large one") {
  ReplyDecoder decoder;
  const std::string bulk = "$1000\r\n" + std::string(1000, 'x') + "\r\n";
  for (int i = 0; i < 3000; ++i) {
    decoder.Feed(bulk);
    const auto reply = decoder.Next();
    REQUIRE(reply);
    REQUIRE(reply->has_value());
  }
}

}  // namespace
}  // namespace rcb::redis
