// The exchange of RFC 7677, section 3, as constants that the SCRAM tests share. The values without the user's name,
// as PostgreSQL's clients send it, were computed with Python's hashlib and hmac from the same password and nonces.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "crypto/base64.hpp"
#include "crypto/hash.hpp"
#include "crypto/scram.hpp"

namespace holdfast::crypto::vectors {

inline const std::string password = "pencil";
inline const std::string client_nonce = "rOprNGfwEbeRWgbNEkqO";
inline const std::string server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
inline const std::string nonce = client_nonce + server_nonce;
inline const std::string salt_text = "W22ZaJ0SNY7soEsUEjb6gQ==";
inline const std::string server_first = "r=" + nonce + ",s=" + salt_text + ",i=4096";

inline const std::string rfc_client_first = "n,,n=user,r=" + client_nonce;
inline const std::string rfc_client_final = "c=biws,r=" + nonce + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
inline const std::string rfc_server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

/// One exchange without the user's name, for each channel binding flag.
struct Exchange {
  ScramClient::Binding binding;
  std::string header, client_final, server_final;
};
inline const std::string binding_data = [] {
  std::string data;
  for (char c = 0; c < 32; ++c) data += c;
  return data;
}();
inline const Exchange unbound{ScramClient::Binding::none, "n,,",
                              "c=biws,r=" + nonce + ",p=qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k=",
                              "v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg="};
inline const Exchange could_bind{ScramClient::Binding::supported, "y,,",
                                 "c=eSws,r=" + nonce + ",p=VpuC5DGQa5ro9tXE9MnKs69NH1nxnuregZZcclqIGfM=",
                                 "v=FOmOj9BpTGwvnzwBtWQjBaPmVxT9I8IeHBOhcIPu3us="};
inline const Exchange bound{ScramClient::Binding::used, "p=tls-server-end-point,,",
                            "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,r=" + nonce +
                                ",p=Q8h71kjaoMzNI7dPksDrhRE/5mTUObF0fUHVIgBOWQg=",
                            "v=ykwoqH8mLqO5AQCeuwwf6lsj9f8zyJZT/CcvAbN4Ssc="};

inline const std::string stored_key_text = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=";
inline const std::string server_key_text = "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
inline const std::string client_key_text = "pg/JI9Z+hkSpLRa5btpe9GVrDHJcSEN0viVTVXaZbos=";
inline const std::string verifier_text =
    "SCRAM-SHA-256$4096:" + salt_text + "$" + stored_key_text + ":" + server_key_text;

inline ScramVerifier verifier() { return parse_verifier(verifier_text).value(); }

inline Digest digest(std::string_view base64) {
  const auto decoded = base64_decode(base64).value();
  Digest out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>(decoded.at(i));
  return out;
}

inline ScramKeys keys() {
  return {digest(client_key_text), digest(server_key_text), base64_decode(salt_text).value(), 4096};
}

}  // namespace holdfast::crypto::vectors
