#include "tests/integration/redis_command.h"

#include <hiredis/hiredis.h>

#include <memory>

namespace rcb::integration {
namespace {

using Context = std::unique_ptr<redisContext, decltype(&redisFree)>;

std::string ToText(const redisReply& reply) {
  switch (reply.type) {
    case REDIS_REPLY_ERROR: return "-" + std::string(reply.str, reply.len);
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_STRING: return {reply.str, reply.len};
    case REDIS_REPLY_INTEGER: return std::to_string(reply.integer);
    case REDIS_REPLY_ARRAY: break;
    default: return "";
  }
  std::string text;
  for (std::size_t i = 0; i < reply.elements; ++i) text += ToText(*reply.element[i]) + "\n";
  return text;
}

std::string Ask(redisContext* context, const std::vector<std::string>& command) {
  std::vector<const char*> words;
  std::vector<std::size_t> lengths;
  for (const std::string& word : command) {
    words.push_back(word.data());
    lengths.push_back(word.size());
  }
  void* reply = redisCommandArgv(context, static_cast<int>(words.size()), words.data(), lengths.data());
  if (reply == nullptr) return "";
  std::string text = ToText(*static_cast<redisReply*>(reply));
  freeReplyObject(reply);
  return text;
}

}  // namespace

std::string RedisCommand(std::uint16_t port, const std::vector<std::string>& command, const std::string& password) {
  constexpr timeval kTimeout{2, 0};
  const Context context(redisConnectWithTimeout("127.0.0.1", port, kTimeout), &redisFree);
  if (context == nullptr || context->err != 0) return "";
  redisSetTimeout(context.get(), kTimeout);
  if (!password.empty()) Ask(context.get(), {"AUTH", password});
  return Ask(context.get(), command);
}

}  // namespace rcb::integration
