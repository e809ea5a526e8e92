#include "redis/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <system_error>
#include <utility>

#include "redis/file_stamp.h"
#include "redis/resp.h"

namespace rcb::redis {
namespace {

constexpr int kMaxNamesTold = 8;  // Of a foreign certificate, in a sentence.
constexpr std::size_t kTextChunk = 16384;

struct Deleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};
using ContextPtr = std::unique_ptr<SSL_CTX, Deleter>;
using SslPtr = std::unique_ptr<SSL, Deleter>;
using BioPtr = std::unique_ptr<BIO, Deleter>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Deleter>;

/// The reason of OpenSSL's last error, in its words.
std::string ReasonText(unsigned long error) {
  const char* text = ERR_reason_error_string(error);
  return text == nullptr ? "no reason told" : text;
}

// --- Foreign certificates, in words
// -----------------------------------------------------------------------------------

std::string TextOf(const ASN1_STRING* string) {
  return Quote({reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                static_cast<std::size_t>(ASN1_STRING_length(string))});
}

/// "CN=redis-1,O=Example".
std::string NameOf(const X509_NAME* name) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253);
  std::array<char, 256> text{};
  const int length = BIO_read(out.get(), text.data(), static_cast<int>(text.size()));
  return length <= 0 ? "a certificate without a name"
                     : "\"" + Quote({text.data(), static_cast<std::size_t>(length)}) + "\"";
}

std::string TimeOf(const ASN1_TIME* time) {
  std::tm parts{};
  std::array<char, 32> text{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable date";
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text.data();
}

std::string AddressOf(const ASN1_OCTET_STRING* bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(bytes) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(bytes) != 16) return {};
  inet_ntop(family, ASN1_STRING_get0_data(bytes), text.data(), text.size());
  return text.data();
}

/// The names and addresses that a certificate is for, as OpenSSL compares them: the subject's name counts only where
/// there is no other (X509_check_host).
std::string NamesIn(const X509* certificate) {
  std::string list;
  const auto add = [&list](const std::string& name) {
    if (!name.empty()) list += (list.empty() ? "" : ", ") + name;
  };
  const NamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  const int count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (int i = 0; i < std::min(count, kMaxNamesTold); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) add(TextOf(name->d.dNSName));
    if (name->type == GEN_IPADD) add(AddressOf(name->d.iPAddress));
  }
  if (count > kMaxNamesTold) add("...");
  return list.empty() ? NameOf(X509_get_subject_name(certificate)) : list;
}

}  // namespace

class TlsSession::Impl {
 public:
  Impl(SSL_CTX* context, const TlsOptions& options, const std::string& host)
      : options_(options), expected_(options.server_name.empty() ? host : options.server_name) {
    ssl_.reset(SSL_new(context));
    input_ = BIO_new(BIO_s_mem());
    output_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_.get(), input_, output_);  // Owns both.
    SSL_set_connect_state(ssl_.get());
    SSL_set_app_data(ssl_.get(), this);
    // The interface of a link-local address is no part of a certificate.
    const std::string name = expected_.substr(0, expected_.find('%'));
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), name.c_str()) != 1) {
      SSL_set_tlsext_host_name(ssl_.get(), name.c_str());
      SSL_set1_host(ssl_.get(), name.c_str());
    }
    ERR_clear_error();
    SSL_set_verify(ssl_.get(), options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, &Impl::OnVerified);
  }

  void Start() {
    ERR_clear_error();
    SSL_do_handshake(ssl_.get());
  }

  void Write(std::string_view text) {
    waiting_ += text;
    WriteWaiting();
  }

  Result<void> Read(std::string_view bytes, std::string& text) {
    if (first_bytes_.size() < kRecordHeader) first_bytes_ += bytes.substr(0, kRecordHeader - first_bytes_.size());
    BIO_write(input_, bytes.data(), static_cast<int>(bytes.size()));
    // SSL_get_error() also reports what anybody else left in this thread's queue.
    ERR_clear_error();
    if (!is_established()) {
      const int status = SSL_do_handshake(ssl_.get());
      if (status != 1) return Failure(status);
      WriteWaiting();
    }
    std::array<char, kTextChunk> chunk{};
    for (;;) {
      const int length = SSL_read(ssl_.get(), chunk.data(), static_cast<int>(chunk.size()));
      if (length <= 0) return Failure(length);
      text.append(chunk.data(), static_cast<std::size_t>(length));
    }
  }

  std::string TakeOutput() {
    std::string bytes(BIO_ctrl_pending(output_), '\0');
    if (!bytes.empty()) BIO_read(output_, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }

  bool is_established() const { return SSL_is_init_finished(ssl_.get()) == 1; }

 private:
  static constexpr std::size_t kRecordHeader = 3;

  /// A memory BIO takes everything at once.
  void WriteWaiting() {
    if (!is_established() || waiting_.empty()) return;
    ERR_clear_error();
    SSL_write(ssl_.get(), waiting_.data(), static_cast<int>(waiting_.size()));
    waiting_.clear();
  }

  /// What a call that did not succeed means; no error when it only waits for more, or when the peer said goodbye (then
  /// the socket ends as well).
  Result<void> Failure(int status) {
    const int code = SSL_get_error(ssl_.get(), status);
    if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE || code == SSL_ERROR_ZERO_RETURN) return {};
    const unsigned long error = ERR_peek_error();
    ERR_clear_error();
    if (!refusal_.empty()) return Fail(ErrorKind::kTls, refusal_);
    const int reason = ERR_GET_REASON(error);
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET) {
      return Fail(ErrorKind::kTls, RefusedBy(reason - SSL_AD_REASON_OFFSET));
    }
    if (!LooksLikeTls(first_bytes_)) {
      return Fail(ErrorKind::kTls, "answers without TLS, which is configured for it: is the port right?");
    }
    return Fail(ErrorKind::kTls, "fails at TLS: " + ReasonText(error));
  }

  /// The peer ended TLS with an alert (RFC 8446 section 6). With TLS 1.3 one about our certificate comes after our side
  /// of the handshake is over.
  std::string RefusedBy(int alert) const {
    const std::string text = SSL_alert_desc_string_long(alert);
    const bool about_certificate = alert == SSL_AD_HANDSHAKE_FAILURE || alert == SSL_AD_ACCESS_DENIED ||
                                   alert == SSL_AD_UNKNOWN_CA || alert == TLS13_AD_CERTIFICATE_REQUIRED ||
                                   (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN);
    if (!about_certificate) return "ends TLS: " + text;
    if (options_.client_cert.empty()) {
      return "ends TLS (" + text + "): it wants a client certificate, and none is configured";
    }
    return "refuses our certificate " + options_.client_cert + ": " + text;
  }

  static int OnVerified(int verified, X509_STORE_CTX* store) noexcept {
    auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto* self = static_cast<Impl*>(SSL_get_app_data(ssl));
    if (verified != 1 && self->refusal_.empty()) self->refusal_ = self->WhyRefused(store);
    return verified;
  }

  std::string WhyRefused(X509_STORE_CTX* store) const {
    const X509* certificate = X509_STORE_CTX_get_current_cert(store);
    const int error = X509_STORE_CTX_get_error(store);
    if (certificate == nullptr)
      return std::string("shows no good certificate: ") + X509_verify_cert_error_string(error);
    const std::string subject = NameOf(X509_get_subject_name(certificate));
    switch (error) {
      case X509_V_ERR_CERT_HAS_EXPIRED:
        return "shows a certificate that has expired: " + subject + " was valid until " +
               TimeOf(X509_get0_notAfter(certificate));
      case X509_V_ERR_CERT_NOT_YET_VALID:
        return "shows a certificate that is not valid yet: " + subject + " is from " +
               TimeOf(X509_get0_notBefore(certificate)) + " on; is the clock right?";
      case X509_V_ERR_HOSTNAME_MISMATCH:
      case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "shows a certificate for other names: it is for " + NamesIn(certificate) + ", not for " + expected_ +
               "; connect by one of its names or set the TLS server name to it";
      case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
      case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
      case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        // What stands at the top of its chain is missing here; the certificate itself is at the bottom.
        return "shows a certificate that is not trusted: " +
               NameOf(X509_get_subject_name(X509_STORE_CTX_get0_cert(store))) + " was issued under " +
               NameOf(X509_get_issuer_name(certificate)) + ", which " +
               (options_.ca_file.empty() ? "the system's CAs do not hold; set the CA file"
                                         : options_.ca_file + " does not hold");
      default: return "shows a certificate that is refused: " + subject + ": " + X509_verify_cert_error_string(error);
    }
  }

  TlsOptions options_;
  std::string expected_;  ///< Who the certificate must be for.
  SslPtr ssl_;
  BIO* input_;
  BIO* output_;
  std::string waiting_;  ///< Text for after the handshake.
  std::string first_bytes_;
  std::string refusal_;  ///< Why we refuse the peer's certificate.
};

TlsSession::TlsSession(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsSession::~TlsSession() = default;
void TlsSession::Start() { impl_->Start(); }
void TlsSession::Write(std::string_view text) { impl_->Write(text); }
Result<void> TlsSession::Read(std::string_view bytes, std::string& text) { return impl_->Read(bytes, text); }
std::string TlsSession::TakeOutput() { return impl_->TakeOutput(); }
bool TlsSession::is_established() const { return impl_->is_established(); }

class TlsClient::Impl {
 public:
  explicit Impl(TlsOptions options) : options_(std::move(options)) {}

  Result<void> Load() {
    stamps_ = Stamps();
    for (const std::string& path : {options_.ca_file, options_.client_cert, options_.client_key}) {
      if (auto readable = CheckReadable(path); !readable) return readable;
    }
    if (options_.client_cert.empty() != options_.client_key.empty()) {
      return Fail(ErrorKind::kTls, "a client certificate and its key belong together: one of them is missing");
    }
    ContextPtr context(SSL_CTX_new(TLS_client_method()));
    if (!context) return Fail(ErrorKind::kTls, "OpenSSL gives no TLS: " + ReasonText(ERR_peek_error()));
    // As Redis does by default (tls-protocols; src/tls.c, 7.0).
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    // A daemon has no terminal to ask for a passphrase.
    SSL_CTX_set_default_passwd_cb(context.get(), [](char*, int, int, void*) { return 0; });
    ERR_clear_error();
    const int trusted = options_.ca_file.empty()
                            ? SSL_CTX_set_default_verify_paths(context.get())
                            : SSL_CTX_load_verify_locations(context.get(), options_.ca_file.c_str(), nullptr);
    if (trusted != 1) return Unusable(options_.ca_file, "holds no CA certificate in PEM form");
    if (!options_.client_cert.empty()) {
      if (SSL_CTX_use_certificate_chain_file(context.get(), options_.client_cert.c_str()) != 1) {
        return Unusable(options_.client_cert, "holds no certificate in PEM form");
      }
      // Also compares it with the certificate.
      if (SSL_CTX_use_PrivateKey_file(context.get(), options_.client_key.c_str(), SSL_FILETYPE_PEM) != 1) {
        const bool foreign = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH;
        return Unusable(options_.client_key, foreign ? "is not the key of " + options_.client_cert
                                                     : "holds no unencrypted private key in PEM form");
      }
    }
    context_ = std::move(context);
    return {};
  }

  std::unique_ptr<TlsSession> NewSession(const std::string& host) {
    if (Stamps() != stamps_) static_cast<void>(Load());  // What does not fit leaves context_ as it is.
    return std::unique_ptr<TlsSession>(
        new TlsSession(std::make_unique<TlsSession::Impl>(context_.get(), options_, host)));
  }

  const TlsOptions& options() const { return options_; }

 private:
  std::array<FileStamp, 3> Stamps() const {
    return {StampOf(options_.ca_file), StampOf(options_.client_cert), StampOf(options_.client_key)};
  }

  static Result<void> CheckReadable(const std::string& path) {
    if (path.empty()) return {};
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"), &std::fclose);
    if (file) return {};
    return Fail(ErrorKind::kTls, "cannot read " + path + ": " + std::generic_category().message(errno));
  }

  /// OpenSSL's reason is left out: it speaks of "no start line" and the like.
  static Result<void> Unusable(const std::string& path, const std::string& what) {
    ERR_clear_error();
    return Fail(ErrorKind::kTls, path + " " + what);
  }

  TlsOptions options_;
  std::array<FileStamp, 3> stamps_;
  ContextPtr context_;
};

Result<std::shared_ptr<TlsClient>> TlsClient::Create(const TlsOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  if (auto loaded = impl->Load(); !loaded) return tl::unexpected(loaded.error());
  return std::shared_ptr<TlsClient>(new TlsClient(std::move(impl)));
}

TlsClient::TlsClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsClient::~TlsClient() = default;
std::unique_ptr<TlsSession> TlsClient::NewSession(const std::string& host) { return impl_->NewSession(host); }
const TlsOptions& TlsClient::options() const { return impl_->options(); }

bool LooksLikeTls(std::string_view bytes) {
  constexpr char kAlert = 21;
  constexpr char kHandshake = 22;
  return bytes.size() >= 2 && (bytes[0] == kAlert || bytes[0] == kHandshake) && bytes[1] == 3;
}

}  // namespace rcb::redis
