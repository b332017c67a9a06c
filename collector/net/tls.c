/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/net/tls.h"
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"

DEFINE_CLEANUP(SSL_CTX, SSL_CTX_free)

static const unsigned char alpn_h2[] = {2, 'h', '2'};

const char *tls_error(char *buf, size_t size)
{
        unsigned long e = ERR_peek_last_error();

        if (e)
                ERR_error_string_n(e, buf, size);
        else
                snprintf(buf, size, "connection closed");
        ERR_clear_error();
        return buf;
}

/* RFC 7301 3.2: no protocol in common is a fatal alert. */
static int alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *in,
                       unsigned in_size, void *userdata)
{
        unsigned char *chosen;

        if (SSL_select_next_proto(&chosen, out_size, alpn_h2, sizeof(alpn_h2), in, in_size) != OPENSSL_NPN_NEGOTIATED)
                return SSL_TLSEXT_ERR_ALERT_FATAL;
        *out = chosen;
        return SSL_TLSEXT_ERR_OK;
}

#define PEER_EXPIRED (1u << 20) /* above OpenSSL's errors */

/* What is wrong with the client's certificate is noted, the first of it, and judged after the handshake. */
static int on_verify(int ok, X509_STORE_CTX *ctx)
{
        SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
        uintptr_t errors = (uintptr_t)SSL_get_app_data(ssl);
        int error = X509_STORE_CTX_get_error(ctx);

        if (ok)
                return 1;
        if (error == X509_V_ERR_CERT_HAS_EXPIRED && X509_STORE_CTX_get_error_depth(ctx) == 0)
                errors |= PEER_EXPIRED;
        else if (!(errors & ~(uintptr_t)PEER_EXPIRED))
                errors |= (uintptr_t)error;
        SSL_set_app_data(ssl, (void *)errors);
        return 1;
}

static int file_error(struct diag *reterr, const char *file, const char *what)
{
        char text[256];

        return diag_set(reterr, -EBADMSG, file, 0, "%s: %s", what, tls_error(text, sizeof(text)));
}

int tls_context_new(const struct tls_config *c, SSL_CTX **ret, struct diag *reterr)
{
        _cleanup_(SSL_CTX_freep) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

        if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION))
                return -ENOMEM;
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
        SSL_CTX_set_num_tickets(ctx, 0);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_alpn_select_cb(ctx, alpn_select, NULL);
        if (SSL_CTX_use_certificate_chain_file(ctx, c->certificate) != 1)
                return file_error(reterr, c->certificate, "no usable certificate");
        if (SSL_CTX_use_PrivateKey_file(ctx, c->key, SSL_FILETYPE_PEM) != 1)
                return file_error(reterr, c->key, "no usable private key");
        if (SSL_CTX_check_private_key(ctx) != 1)
                return file_error(reterr, c->key, "not the key of the certificate");
        if (c->client_ca) {
                if (SSL_CTX_load_verify_file(ctx, c->client_ca) != 1)
                        return file_error(reterr, c->client_ca, "no usable CA certificate");
                SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
                SSL_CTX_set_verify_depth(ctx, 1);
        }
        *ret = TAKE_PTR(ctx);
        return 0;
}

static int tls_result(SSL *ssl, int n, enum tls_want *ret_want)
{
        switch (SSL_get_error(ssl, n)) {
        case SSL_ERROR_WANT_READ:
                *ret_want = TLS_READ;
                return -EAGAIN;
        case SSL_ERROR_WANT_WRITE:
                *ret_want = TLS_WRITE;
                return -EAGAIN;
        case SSL_ERROR_ZERO_RETURN:
                return 0;
        default: /* switch: not an enum */
                return -EPROTO;
        }
}

int tls_handshake(SSL *ssl, enum tls_want *ret_want)
{
        const unsigned char *protocol = NULL;
        unsigned size = 0;
        int n;

        ERR_clear_error();
        n = SSL_do_handshake(ssl);
        if (n != 1) {
                int r = tls_result(ssl, n, ret_want);

                return r == 0 ? -EPROTO : r;
        }
        /* without the ALPN extension alpn_select() is not asked */
        SSL_get0_alpn_selected(ssl, &protocol, &size);
        return size == 2 && memcmp(protocol, "h2", 2) == 0 ? 0 : -EPROTO;
}

int tls_read(SSL *ssl, void *buf, size_t size, enum tls_want *ret_want)
{
        int n;

        ERR_clear_error();
        n = SSL_read(ssl, buf, size > INT_MAX ? INT_MAX : (int)size);
        return n > 0 ? n : tls_result(ssl, n, ret_want);
}

int tls_write(SSL *ssl, const void *buf, size_t size, enum tls_want *ret_want)
{
        int n;

        ERR_clear_error();
        n = SSL_write(ssl, buf, size > INT_MAX ? INT_MAX : (int)size);
        return n > 0 ? n : tls_result(ssl, n, ret_want);
}

void tls_peer_get(SSL *ssl, struct tls_peer *ret)
{
        struct tls_peer peer = {.state = TLS_PEER_NONE};
        X509 *c = SSL_get0_peer_certificate(ssl);
        uintptr_t errors = (uintptr_t)SSL_get_app_data(ssl);
        unsigned size = TLS_HASH_SIZE;
        struct tm ends;

        if (c && (X509_digest(c, EVP_sha256(), peer.hash, &size) != 1 ||
                  ASN1_TIME_to_tm(X509_get0_notAfter(c), &ends) != 1 ||
                  X509_NAME_get_text_by_NID(X509_get_subject_name(c), NID_commonName, peer.name, TLS_NAME_MAX) <= 0))
                errors = errors ?: X509_V_ERR_UNSPECIFIED;
        if (c && (errors & ~(uintptr_t)PEER_EXPIRED)) {
                peer.state = TLS_PEER_REFUSED;
                peer.problem = X509_verify_cert_error_string((long)(errors & ~(uintptr_t)PEER_EXPIRED));
                *peer.name = 0;
        } else if (c) {
                peer.state = errors ? TLS_PEER_EXPIRED : TLS_PEER_GOOD;
                peer.ends_s = (uint64_t)timegm(&ends);
        }
        *ret = peer;
}
