#pragma once

#include <string>

namespace rcb::integration {

struct HttpReply {
  long status = 0;  ///< 0: no answer.
  std::string body;
};

/// One HTTP request, blocking for 5 s at most; `token` goes into X-Consul-Token unless it is empty.
HttpReply HttpCall(const std::string& method, const std::string& url, const std::string& body = "",
                   const std::string& token = "");

}  // namespace rcb::integration
