/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The one way in which this program speaks TLS: 1.3 only, ALPN h2 only, no resumption (a
 * resumed session would skip the client certificate). */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/diag.h"

struct tls_config {
        const char *certificate; /* PEM files */
        const char *key;
        const char *client_ca; /* NULL: client certificates are not asked for */
};

/* SSL_CTX_free() it. -EBADMSG a file does not hold what it should: *reterr names it. */
int tls_context_new(const struct tls_config *c, SSL_CTX **ret, struct diag *reterr);

enum tls_want {
        TLS_READ = 1,
        TLS_WRITE = 2,
};
/* 0 done; -EAGAIN with *ret_want set; -EPROTO failed or the peer does not speak h2.
 */
int tls_handshake(SSL *ssl, enum tls_want *ret_want);
/* Bytes read or written, 0 at the end of the stream; -EAGAIN, -EPROTO as above. */
int tls_read(SSL *ssl, void *buf, size_t size, enum tls_want *ret_want);
int tls_write(SSL *ssl, const void *buf, size_t size, enum tls_want *ret_want);

#define TLS_NAME_MAX  65 /* RFC 5280 ub-common-name, and NUL */
#define TLS_HASH_SIZE 32

enum tls_peer_state {
        TLS_PEER_NONE, /* showed no certificate */
        TLS_PEER_GOOD,
        TLS_PEER_EXPIRED, /* but for that, good */
        TLS_PEER_REFUSED, /* of another authority, for another use, not valid yet: see problem */
};
/* A handshake never fails because of the client's certificate: whoever has a bad one is answered why. */
struct tls_peer {
        enum tls_peer_state state;
        char name[TLS_NAME_MAX]; /* common name; "" unless good or expired */
        uint8_t hash[TLS_HASH_SIZE]; /* SHA-256 of the certificate (DER) */
        uint64_t ends_s; /* since 1970 */
        const char *problem; /* OpenSSL's words, static */
};
void tls_peer_get(SSL *ssl, struct tls_peer *ret);
/* Why the last call on this thread failed, as OpenSSL puts it; clears the queue. */
const char *tls_error(char *buf, size_t size);
