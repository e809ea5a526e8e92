#pragma once

#include <memory>
#include <string>
#include <vector>

namespace rcb::integration {

/// A connection to the Redis or Sentinel at "address:port", blocking for 2 s at most at each step. A reply is told as
/// text, an array one element a line, an error with its "-" in front; empty when there is none, and then the connection
/// is of no more use.
class RedisConnection {
 public:
  explicit RedisConnection(const std::string& address, const std::string& password = "");
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  std::string Command(const std::vector<std::string>& command);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// One command to the Redis or Sentinel at "address:port", on a connection of its own.
std::string RedisCommand(const std::string& address, const std::vector<std::string>& command,
                         const std::string& password = "");

}  // namespace rcb::integration
