#pragma once

#include <string>

#include "tests/integration/test_folder.h"

namespace rcb::integration {

/// A certificate and its key, as files.
struct Certificate {
  std::string file;
  std::string key;
};

/// A certificate authority of one test, made with `openssl`. Its files stand in the test's folder.
class CertificateAuthority {
 public:
  /// `name` is its common name and the start of its files' names. Throws std::runtime_error with openssl's words.
  CertificateAuthority(const TestFolder& folder, const std::string& name);

  std::string file() const { return path("pem"); }
  /// For `subject` (its common name) and the alternative names: "IP:127.0.0.1,DNS:localhost". A negative number of days
  /// makes one that has expired.
  Certificate Issue(const std::string& subject, const std::string& names, int days = 2) const;

 private:
  std::string path(const std::string& suffix) const { return folder_ + "/" + name_ + "." + suffix; }

  const std::string folder_;
  const std::string name_;
};

}  // namespace rcb::integration
