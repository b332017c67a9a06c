/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/net/tls.h"
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>
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
                SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
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

bool tls_peer_name(const SSL *ssl, char ret[static TLS_NAME_MAX])
{
        X509 *peer = SSL_get0_peer_certificate(ssl);

        if (!peer || SSL_get_verify_result(ssl) != X509_V_OK)
                return false;
        return X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, ret, TLS_NAME_MAX) > 0;
}
