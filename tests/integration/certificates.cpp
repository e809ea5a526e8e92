#include "tests/integration/certificates.h"

#include <chrono>
#include <stdexcept>
#include <vector>

#include "tests/integration/process.h"

namespace rcb::integration {
namespace {

/// Elliptic curves: an RSA key takes a second on a busy machine.
const std::vector<std::string> kNewKey{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"};

void OpenSsl(const std::string& log, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "openssl");
  Process process({.command = std::move(arguments), .output = log});
  if (process.WaitForExit(std::chrono::seconds(30)) != 0) throw std::runtime_error("openssl failed: " + ReadFile(log));
}

}  // namespace

CertificateAuthority::CertificateAuthority(const TestFolder& folder, const std::string& name)
    : folder_(folder.path().string()), name_(name) {
  std::vector<std::string> command{"req", "-x509",   "-subj",     "/CN=" + name, "-days",
                                   "2",   "-keyout", path("key"), "-out",        file()};
  command.insert(command.end(), kNewKey.begin(), kNewKey.end());
  OpenSsl(path("log"), std::move(command));
}

Certificate CertificateAuthority::Issue(const std::string& subject, const std::string& names, int days) const {
  Certificate certificate{path(subject + ".pem"), path(subject + ".key")};
  const std::string request = path(subject + ".request");
  std::vector<std::string> command{
      "req",     "-new",          "-subj", "/CN=" + subject, "-addext", "subjectAltName=" + names,
      "-keyout", certificate.key, "-out",  request};
  command.insert(command.end(), kNewKey.begin(), kNewKey.end());
  OpenSsl(path("log"), std::move(command));
  OpenSsl(path("log"), {"x509", "-req", "-in", request, "-CA", file(), "-CAkey", path("key"), "-days",
                        std::to_string(days), "-copy_extensions", "copy", "-out", certificate.file});
  return certificate;
}

}  // namespace rcb::integration
