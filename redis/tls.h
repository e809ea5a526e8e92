#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "redis/result.h"

namespace rcb::redis {

/// How a server is to prove who it is, and how we prove who we are.
struct TlsOptions {
  std::string ca_file{};      ///< PEM; empty: the system's.
  std::string client_cert{};  ///< PEM, the chain behind it; empty: none is shown. Needs client_key.
  std::string client_key{};   ///< PEM, not encrypted.
  std::string server_name{};  ///< Name or address that the certificate must be for; empty: the one connected to.
  bool verify = true;         ///< Else any certificate will do: encrypted, but to whom is unknown.

  bool operator==(const TlsOptions&) const = default;
};

/// The TLS side of one connection, without its socket: bytes go in, bytes come out. Safe against any bytes.
///
/// OpenSSL itself, since hiredis's layer on it (1.2.0 ssl.c) verifies no host name, tells every failure after the first
/// flight as errno, takes errors that another user of OpenSSL left on this thread (curl) for its own, and writes
/// without MSG_NOSIGNAL.
class TlsSession {
 public:
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  /// Begins the handshake.
  void Start();
  /// Sends a text, once the handshake is over.
  void Write(std::string_view text);
  /// Takes what arrived and appends what it says to `text`, also when it then fails. Error kTls, whose message goes on
  /// with a sentence that starts with the peer's name: who refuses whose certificate and why, or that there is no TLS.
  Result<void> Read(std::string_view bytes, std::string& text);
  /// What is to go out now; told once.
  std::string TakeOutput();
  bool is_established() const;

 private:
  friend class TlsClient;
  class Impl;
  explicit TlsSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Makes sessions. One for all connections with the same settings.
class TlsClient {
 public:
  /// Reads the files. Error kTls: names the one that cannot be read or does not fit, never its content.
  static Result<std::shared_ptr<TlsClient>> Create(const TlsOptions& options);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  /// For a connection to `host` (name or address). Reads the files again when they have changed, so that renewed
  /// certificates are followed; while they cannot be used, those from before stand.
  std::unique_ptr<TlsSession> NewSession(const std::string& host);
  const TlsOptions& options() const;

 private:
  class Impl;
  explicit TlsClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// True for the first bytes of a TLS record as a server sends it: an alert or a handshake message.
bool LooksLikeTls(std::string_view bytes);

}  // namespace rcb::redis
