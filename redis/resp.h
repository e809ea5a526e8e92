#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "redis/reply.h"
#include "redis/result.h"

namespace rcb::redis {

/// A command in the Redis protocol (RESP, an array of bulk strings).
std::string EncodeCommand(const std::vector<std::string>& arguments);

/// A reply as it came, error replies included.
struct DecodedReply {
  bool is_error = false;  ///< Then `reply.text` is the error, without its leading '-'.
  Reply reply;
};

/// What an error reply (its text without the leading '-') means, by its first word (src/server.c createSharedObjects,
/// src/acl.c; 2.8 to 8).
ErrorKind KindOfErrorReply(std::string_view text);

/// A foreign text fit for a sentence: no control characters, at most 200 bytes.
std::string Quote(std::string_view text);

/// Turns bytes into replies, on hiredis's reader. Safe against any bytes: a reply's size, depth and number of elements
/// are bounded before memory is spent on them.
class ReplyDecoder {
 public:
  static constexpr std::size_t kMaxReplyBytes = 1 << 20;  ///< SENTINEL MASTERS of a thousand groups has as much.
  static constexpr std::size_t kMaxElements = 1 << 16;    ///< In a whole reply, all levels together.
  static constexpr std::size_t kMaxDepth = 7;             ///< Of arrays in arrays.

  ReplyDecoder();
  ~ReplyDecoder();
  ReplyDecoder(const ReplyDecoder&) = delete;
  ReplyDecoder& operator=(const ReplyDecoder&) = delete;

  void Feed(std::string_view bytes);

  /// The next complete reply; nothing while bytes are missing. Error kProtocol, whose message continues a sentence that
  /// starts with the peer's name: not RESP, or out of bounds; nothing comes after it.
  Result<std::optional<DecodedReply>> Next();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rcb::redis
