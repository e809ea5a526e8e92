#include "tests/integration/redis_command.h"

#include <hiredis/hiredis.h>

#include <memory>

namespace rcb::integration {
namespace {

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

}  // namespace

struct RedisConnection::Context {
  std::unique_ptr<redisContext, decltype(&redisFree)> handle;
};

RedisConnection::RedisConnection(const std::string& address, const std::string& password) {
  constexpr timeval kTimeout{2, 0};
  const std::size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  const int port = std::stoi(address.substr(colon + 1));
  context_ = std::make_unique<Context>(Context{{redisConnectWithTimeout(host.c_str(), port, kTimeout), &redisFree}});
  if (context_->handle == nullptr || context_->handle->err != 0) return;
  redisSetTimeout(context_->handle.get(), kTimeout);
  if (!password.empty()) Command({"AUTH", password});
}

RedisConnection::~RedisConnection() = default;

std::string RedisConnection::Command(const std::vector<std::string>& command) {
  redisContext* const handle = context_->handle.get();
  if (handle == nullptr || handle->err != 0) return "";
  std::vector<const char*> words;
  std::vector<std::size_t> lengths;
  for (const std::string& word : command) {
    words.push_back(word.data());
    lengths.push_back(word.size());
  }
  void* reply = redisCommandArgv(handle, static_cast<int>(words.size()), words.data(), lengths.data());
  if (reply == nullptr) return "";
  std::string text = ToText(*static_cast<redisReply*>(reply));
  freeReplyObject(reply);
  return text;
}

std::string RedisCommand(const std::string& address, const std::vector<std::string>& command,
                         const std::string& password) {
  return RedisConnection(address, password).Command(command);
}

}  // namespace rcb::integration
