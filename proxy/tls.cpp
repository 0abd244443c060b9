// Certificates, keys and verification.
#include "proxy/tls.hpp"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <filesystem>

namespace holdfast::proxy {

using asio::ssl::context;

namespace {

constexpr auto modern = context::default_workarounds | context::no_sslv2 | context::no_sslv3 | context::no_tlsv1 | context::no_tlsv1_1;

std::string default_root_certificate() {
  const char* home = std::getenv("HOME");
  return home == nullptr ? std::string{} : std::string(home) + "/.postgresql/root.crt";
}

TlsResult failure(const std::string& what, const ErrorCode& error) { return {nullptr, what + ": " + error.message()}; }

/// PostgreSQL's name as ALPN lists it: its length, then itself.
constexpr unsigned char alpn_protocol[] = "\x0apostgresql";

/// A client that names protocols must name ours (PostgreSQL documentation, "SSL Session Encryption"); direct TLS asks for
/// it, so that a server of another protocol is not taken for this one.
int select_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned int offered_size, void*) {
  unsigned char* found = nullptr;
  const auto result = SSL_select_next_proto(&found, size, alpn_protocol, sizeof alpn_protocol - 1, offered, offered_size);
  *chosen = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

TlsResult upstream_tls(const config::PostgresUri& uri) {
  auto made = std::make_shared<context>(context::tls_client);
  ErrorCode error;
  made->set_options(modern, error);
  const bool must_verify = uri.sslmode == config::SslMode::verify_ca || uri.sslmode == config::SslMode::verify_full;
  std::string root = uri.sslrootcert.empty() ? default_root_certificate() : uri.sslrootcert;
  std::error_code ignored;
  if (root == "system") {
    made->set_default_verify_paths(error);
    if (error) return failure("sslrootcert=system", error);
    made->set_verify_mode(asio::ssl::verify_peer, error);
  } else if (!root.empty() && std::filesystem::exists(root, ignored)) {
    // As in libpq, a root certificate makes `require` verify the chain too.
    made->load_verify_file(root, error);
    if (error) return failure("sslrootcert " + root, error);
    const bool verify = must_verify || uri.sslmode == config::SslMode::require;
    made->set_verify_mode(verify ? asio::ssl::verify_peer : asio::ssl::verify_none, error);
  } else if (must_verify || !uri.sslrootcert.empty()) {
    return {nullptr, "sslrootcert " + root + ": no such file, and sslmode asks for verification"};
  } else {
    made->set_verify_mode(asio::ssl::verify_none, error);
  }
  if (!uri.sslcert.empty()) {
    made->use_certificate_chain_file(uri.sslcert, error);
    if (error) return failure("sslcert " + uri.sslcert, error);
    made->use_private_key_file(uri.sslkey.empty() ? uri.sslcert : uri.sslkey, context::pem, error);
    if (error) return failure("sslkey " + uri.sslkey, error);
  }
  // Required by the server where TLS starts without an SSLRequest (sslnegotiation=direct).
  SSL_CTX_set_alpn_protos(made->native_handle(), alpn_protocol, sizeof alpn_protocol - 1);
  return {std::move(made), {}};
}

TlsResult upstream_tls(const config::MongoUri& uri) {
  auto made = std::make_shared<context>(context::tls_client);
  ErrorCode error;
  made->set_options(modern, error);
  if (!uri.tls_verify) {
    made->set_verify_mode(asio::ssl::verify_none, error);
  } else if (uri.tls_ca_file.empty()) {
    made->set_default_verify_paths(error);
    if (error) return failure("the system's certificates", error);
    made->set_verify_mode(asio::ssl::verify_peer, error);
  } else {
    made->load_verify_file(uri.tls_ca_file, error);
    if (error) return failure("tlsCAFile " + uri.tls_ca_file, error);
    made->set_verify_mode(asio::ssl::verify_peer, error);
  }
  if (!uri.tls_certificate_key_file.empty()) {
    made->use_certificate_chain_file(uri.tls_certificate_key_file, error);
    if (!error) made->use_private_key_file(uri.tls_certificate_key_file, context::pem, error);
    if (error) return failure("tlsCertificateKeyFile " + uri.tls_certificate_key_file, error);
  }
  return {std::move(made), {}};
}

TlsResult listener_tls(const config::TlsFiles& files, ListenerProtocol protocol) {
  auto made = std::make_shared<context>(context::tls_server);
  ErrorCode error;
  made->set_options(modern | context::single_dh_use, error);
  made->use_certificate_chain_file(files.cert_file, error);
  if (error) return failure("cert_file " + files.cert_file, error);
  made->use_private_key_file(files.key_file, context::pem, error);
  if (error) return failure("key_file " + files.key_file, error);
  if (!files.client_ca_file.empty()) {
    made->load_verify_file(files.client_ca_file, error);
    if (error) return failure("client_ca_file " + files.client_ca_file, error);
    made->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, error);
  }
  if (protocol == ListenerProtocol::postgres) SSL_CTX_set_alpn_select_cb(made->native_handle(), select_protocol, nullptr);
  return {std::move(made), {}};
}

bool verifies_host(const config::PostgresUri& uri) {
  return uri.sslmode == config::SslMode::verify_full || uri.sslrootcert == "system";
}

void expect_host(TlsStream& stream, const std::string& host) {
  ErrorCode not_an_address;
  asio::ip::make_address(host, not_an_address);
  if (not_an_address) {
    SSL_set1_host(stream.native_handle(), host.c_str());
  } else {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(stream.native_handle()), host.c_str());
  }
}

std::string end_point_binding(TlsStream& stream, CertificateOf whose) {
  X509* certificate = whose == CertificateOf::peer ? SSL_get1_peer_certificate(stream.native_handle())
                                                   : SSL_get_certificate(stream.native_handle());
  if (certificate == nullptr) return {};
  int digest = NID_undef;
  std::string binding;
  if (X509_get_signature_info(certificate, &digest, nullptr, nullptr, nullptr) == 1) {
    // RFC 5929, section 4.1: MD5 and SHA-1 are replaced by SHA-256.
    if (digest == NID_md5 || digest == NID_sha1 || digest == NID_undef) digest = NID_sha256;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    const auto* method = EVP_get_digestbynid(digest);
    if (method != nullptr && X509_digest(certificate, method, hash, &size) == 1) {
      binding.assign(reinterpret_cast<const char*>(hash), size);
    }
  }
  if (whose == CertificateOf::peer) X509_free(certificate);
  return binding;
}

}  // namespace holdfast::proxy
