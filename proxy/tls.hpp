// TLS contexts from the configuration: toward servers as libpq's sslmode means it, toward clients from a certificate.
#pragma once

#include <memory>
#include <string>

#include "config/config.hpp"
#include "proxy/stream.hpp"

namespace holdfast::proxy {

using TlsContext = std::shared_ptr<asio::ssl::context>;

struct TlsResult {
  TlsContext context;  // none on failure
  std::string error;   // names the file and what is wrong with it
};

/// A context for the upstream of `uri`: what is verified follows sslmode and sslrootcert (PostgreSQL documentation,
/// "SSL Support", "Protection Provided in Different Modes"). `sslrootcert=system` means the system's store.
[[nodiscard]] TlsResult upstream_tls(const config::PostgresUri& uri);
/// The same for an upstream of MongoDB: the chain is verified, by tlsCAFile or the system's store, unless the URI says otherwise.
[[nodiscard]] TlsResult upstream_tls(const config::MongoUri& uri);
/// A context for a listener. PostgreSQL's clients that name a protocol (ALPN) must name its.
enum class ListenerProtocol { postgres, any };
[[nodiscard]] TlsResult listener_tls(const config::TlsFiles& files, ListenerProtocol protocol = ListenerProtocol::postgres);

/// Does this sslmode check the host's name against the certificate?
[[nodiscard]] bool verifies_host(const config::PostgresUri& uri);
/// Sets the name that the certificate must carry, for verify-full. Before the handshake.
void expect_host(TlsStream& stream, const std::string& host);

/// tls-server-end-point channel binding data (RFC 5929): the peer's certificate, hashed; empty when there is none.
enum class CertificateOf { peer, own };
[[nodiscard]] std::string end_point_binding(TlsStream& stream, CertificateOf whose);

}  // namespace holdfast::proxy
