/*
** words.c - what OpenSSL's reasons mean, in sentences for people.
**
** "Alert" is what the peer has said before it gave up; the words are those of the standard.
*/
#include "tls/words.h"

#include <openssl/err.h>
#include <openssl/pemerr.h>
#include <openssl/sslerr.h>
#include <openssl/x509err.h>
#include <stdbool.h>

#define ALERT(number) (1000 + (number)) /* OpenSSL's reason for one that came */
#define NO_APPLICATION_PROTOCOL ALERT(120) /* OpenSSL 3.0 has no constant for it */

typedef struct Words {
  int reason;
  const char *sentence;
} Words;

static const Words SSL_WORDS[] = {
    {SSL_R_HTTP_REQUEST, "the peer speaks plain HTTP to a port of TLS"},
    {SSL_R_HTTPS_PROXY_REQUEST, "the peer speaks plain HTTP, as to a proxy, to a port of TLS"},
    {SSL_R_WRONG_VERSION_NUMBER, "what the peer sends is not TLS"},
    {SSL_R_PACKET_LENGTH_TOO_LONG, "what the peer sends is not TLS: a record would be too long"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "the peer speaks no version of TLS that is allowed here"},
    {SSL_R_NO_PROTOCOLS_AVAILABLE, "no version of TLS is allowed here: look at minimum_version and maximum_version"},
    {SSL_R_VERSION_TOO_LOW, "the peer speaks no version of TLS that is allowed here: its are too old"},
    {SSL_R_NO_SHARED_CIPHER, "the peer shares no cipher with this side, or can't use this side's certificate"},
    {SSL_R_NO_CIPHERS_AVAILABLE, "no cipher is allowed here for the allowed versions of TLS"},
    {SSL_R_NO_CIPHER_MATCH, "none of these ciphers is known"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "the peer takes no signature that this side's certificate can make"},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, "the peer shares no signature algorithm with this side"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, "the peer shares no key exchange group with this side"},
    {SSL_R_NO_SHARED_GROUPS, "the peer shares no key exchange group with this side"},
    {SSL_R_NO_APPLICATION_PROTOCOL, "the peer offers none of the application protocols of this side (ALPN)"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the peer has sent no certificate, and one is required"},
    {SSL_R_NO_CERTIFICATE_SET, "this side has no certificate"},
    {SSL_R_NO_CERTIFICATE_ASSIGNED, "this side has no certificate"},
    {SSL_R_DH_KEY_TOO_SMALL, "the peer's Diffie-Hellman key is too short to be safe"},
    {SSL_R_EE_KEY_TOO_SMALL, "the certificate's key is too short to be safe"},
    {SSL_R_CA_KEY_TOO_SMALL, "the key of an authority in the certificate's chain is too short to be safe"},
    {SSL_R_CA_MD_TOO_WEAK,
     "the certificate, or one in its chain, is signed with a hash that is too weak (MD5 or SHA-1)"},
    {SSL_R_UNKNOWN_PROTOCOL, "what the peer sends is not TLS"},
    {SSL_R_RECORD_TOO_SMALL, "what the peer sends is not TLS: a record is too short"},
    {SSL_R_BAD_RECORD_TYPE, "what the peer sends is not TLS: there is no such type of record"},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "what the peer sends was changed on the way: a record's check fails"},
    {SSL_R_BAD_SIGNATURE, "the peer's signature is wrong: it doesn't have the key of its certificate"},
    {SSL_R_UNEXPECTED_MESSAGE, "the peer has sent a message of TLS that has no place there"},
    {SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED, "the peer doesn't support secure renegotiation (RFC 5746)"},
    {SSL_R_INAPPROPRIATE_FALLBACK, "the peer has fallen back to an older version of TLS than both sides speak"},
    {SSL_R_EXCESSIVE_MESSAGE_SIZE, "a message of the peer's handshake is too long"},
    {SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE, "alert from the peer: unexpected message"},
    {SSL_R_SSLV3_ALERT_BAD_RECORD_MAC, "alert from the peer: what it got was changed on the way (bad record MAC)"},
    {SSL_R_TLSV1_ALERT_DECRYPTION_FAILED, "alert from the peer: decryption failed"},
    {SSL_R_TLSV1_ALERT_RECORD_OVERFLOW, "alert from the peer: record overflow"},
    {SSL_R_SSLV3_ALERT_DECOMPRESSION_FAILURE, "alert from the peer: decompression failure"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
     "alert from the peer: handshake failure (it shares no cipher with this side, or wants a certificate, say)"},
    {SSL_R_SSLV3_ALERT_NO_CERTIFICATE, "alert from the peer: no certificate"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "alert from the peer: it refuses this side's certificate (bad certificate)"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE,
     "alert from the peer: this side's certificate is of a kind that it doesn't take (unsupported certificate)"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "alert from the peer: this side's certificate was revoked"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "alert from the peer: this side's certificate has expired"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN,
     "alert from the peer: it refuses this side's certificate (certificate unknown)"},
    {SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER, "alert from the peer: illegal parameter"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "alert from the peer: it doesn't trust this side's certificate (unknown CA)"},
    {SSL_R_TLSV1_ALERT_ACCESS_DENIED, "alert from the peer: access denied"},
    {SSL_R_TLSV1_ALERT_DECODE_ERROR, "alert from the peer: it couldn't read what it got (decode error)"},
    {SSL_R_TLSV1_ALERT_DECRYPT_ERROR, "alert from the peer: a signature or a check is wrong (decrypt error)"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION,
     "alert from the peer: it takes no version of TLS that is allowed here (protocol version)"},
    {SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY,
     "alert from the peer: what this side offers isn't safe enough (insufficient security)"},
    {SSL_R_TLSV1_ALERT_INTERNAL_ERROR, "alert from the peer: internal error"},
    {SSL_R_TLSV1_ALERT_INAPPROPRIATE_FALLBACK, "alert from the peer: inappropriate fallback"},
    {SSL_R_TLSV1_ALERT_USER_CANCELLED, "alert from the peer: cancelled by its user"},
    {SSL_R_TLSV1_ALERT_NO_RENEGOTIATION, "alert from the peer: no renegotiation"},
    {ALERT(109), "alert from the peer: missing extension"},
    {SSL_R_TLSV1_UNSUPPORTED_EXTENSION, "alert from the peer: unsupported extension"},
    {SSL_R_TLSV1_UNRECOGNIZED_NAME,
     "alert from the peer: it has no certificate for the name that was asked for (unrecognized name)"},
    {SSL_R_TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE, "alert from the peer: bad certificate status response"},
    {ALERT(115), "alert from the peer: unknown PSK identity"},
    {ALERT(116), "alert from the peer: it requires a certificate (certificate required)"},
    {NO_APPLICATION_PROTOCOL, "alert from the peer: it takes none of the application protocols of this side (ALPN)"},
};

static const Words X509_WORDS[] = {
    {X509_R_KEY_VALUES_MISMATCH, "the private key is not the certificate's"},
    {X509_R_KEY_TYPE_MISMATCH, "the private key is not of the certificate's kind"},
    {X509_R_UNABLE_TO_GET_CERTS_PUBLIC_KEY, "its public key can't be read: it is of an unknown kind, or damaged"},
};

static const Words PEM_WORDS[] = {
    {PEM_R_NO_START_LINE, "there is nothing in PEM's form"},
    {PEM_R_BAD_BASE64_DECODE, "it is not well-formed PEM"},
    {PEM_R_BAD_END_LINE, "it is not well-formed PEM"},
    {PEM_R_SHORT_HEADER, "it is not well-formed PEM"},
};

static const char *find(const Words *words, size_t n, int reason) {
  for (size_t i = 0; i < n; i++)
    if (words[i].reason == reason) return words[i].sentence;
  return NULL;
}

#define FIND(words, reason) find(words, sizeof words / sizeof *words, reason)

/* Libraries that TLS is made of have failed, and for TLS itself there is nothing more to say. Where it's others that
** speak, bytes that make no sense may be the reason. */
static bool is_of_another(int library, int reason) {
  return library == ERR_LIB_SSL && (reason & ERR_RFLAG_COMMON) && !(reason & ERR_RFLAG_FATAL) &&
         (reason & ~ERR_RFLAG_COMMON) < ERR_LIB_USER;
}

const char *words_of(int library, int reason) {
  if (reason == ERR_R_INTERNAL_ERROR || is_of_another(library, reason))
    return "OpenSSL has failed in itself: it may have run out of memory";
  switch (library) {
  case ERR_LIB_SSL: return FIND(SSL_WORDS, reason);
  case ERR_LIB_X509: return FIND(X509_WORDS, reason);
  case ERR_LIB_PEM: return FIND(PEM_WORDS, reason);
  default: return NULL;
  }
}

const char *words_name(int library, int reason) {
  return library == ERR_LIB_SSL && reason == NO_APPLICATION_PROTOCOL ? "tlsv1 alert no application protocol" : NULL;
}
