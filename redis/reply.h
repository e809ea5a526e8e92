#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rcb::redis {

/// A RESP2 reply as a plain value. Error replies never reach a caller as a Reply: the connection turns them into Error.
struct Reply {
  enum class Type { kNil, kInteger, kString, kArray };
  Type type = Type::kNil;
  std::int64_t integer = 0;
  std::string text;
  std::vector<Reply> elements;
};

}  // namespace rcb::redis
