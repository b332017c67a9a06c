/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How devices get their certificates: enrol, renew. */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "collector/api/private.h"

#define PROOF_PREFIX "onchannel-enrol/v1\n"
#define PEM_MAX      65536

int authorities_read(struct api *a, struct diag *reterr)
{
        _cleanup_free_ char *now = NULL, *next = NULL;
        char *both;
        size_t size;
        int r = file_read(a->server_ca_file, PEM_MAX, &now, &size);

        if (r < 0)
                return diag_set(reterr, r, a->server_ca_file, 0, "cannot be read: %s", strerror(-r));
        if (a->next_ca_file)
                (void)file_read(a->next_ca_file, PEM_MAX, &next, &size);
        both = format_new("%s%s", now, next ?: "");
        if (!both)
                return -ENOMEM;
        free(a->server_ca);
        a->server_ca = both;
        return 0;
}

static bool is_device_name(const char *s)
{
        return *s && strlen(s) < STORE_NAME_MAX &&
               strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == strlen(s);
}

const char *enrolment_parse(json_t *o, struct enrolment *ret)
{
        const char *key, *proof;
        uint8_t signature[crypto_sign_BYTES];
        _cleanup_buf_ struct buf signed_text = {0};

        ret->token = NULL;
        if (json_unpack_ex(o, NULL, JSON_STRICT, "{s?s,s:s,s:s,s:s,s:s}", "token", &ret->token, "csr", &ret->csr,
                           "device_key", &key, "proof", &proof, "name", &ret->name) < 0)
                return "exactly token (or a firm's certificate), csr, device_key, proof and name are needed, all "
                       "text";
        if (!is_device_name(ret->name))
                return "name must be up to 63 letters, digits, '-', '_' and '.'";
        if (hex_decode(key, ret->key, sizeof(ret->key)) < 0)
                return "device_key must be 64 hex digits";
        if (hex_decode(proof, signature, sizeof(signature)) < 0)
                return "proof must be 128 hex digits";
        buf_addf(&signed_text, PROOF_PREFIX "%s", ret->csr);
        if (buf_error(&signed_text) < 0 ||
            crypto_sign_verify_detached(signature, signed_text.data, signed_text.size, ret->key) != 0)
                return "proof is not the device key's signature over the certificate request";
        device_id_format(ret->key, ret->id);
        return NULL;
}

/* Without a token the firm's authority says which device it is. */
static bool firm_vouches(struct http_request *req, const struct enrolment *e)
{
        static const struct firm none;
        const struct firm *firm = api_of(req)->firm;
        char name[TLS_NAME_MAX], text[TLS_NAME_MAX + STORE_NAME_MAX + 64], where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct diag d = {0};
        int r;

        if (e->token)
                return true;
        r = firm_check(firm ?: &none,
                       &(struct firm_shown){SSL_get0_peer_certificate(http_tls(req)),
                                            SSL_get_peer_cert_chain(http_tls(req))},
                       name, &d);
        if (r == -EBADMSG || r == -ENOMEM) {
                log_line(LOG_ERR, "%s", diag_format_log(&d, where, sizeof(where)));
                reply_error(req, 503, "the firm's authority cannot be asked: see the collector's log");
        } else if (r < 0) {
                log_line(LOG_WARNING, "a device is not enrolled: %s", diag_format_log(&d, where, sizeof(where)));
                reply_error(req, 403, d.text);
        } else if (strcasecmp(name, e->name) != 0) {
                snprintf(text, sizeof(text), "the certificate is that of '%s', not of '%s'", name, e->name);
                reply_error(req, 403, text);
                r = -EACCES;
        }
        return r == 0;
}

static void enrolled(struct http_request *req, const struct enrolment *e, const char *certificate, bool replaced)
{
        struct api *a = api_of(req);

        log_line(LOG_INFO, "enrolled %s by %s%s", e->id, e->token ? "token" : "the firm's certificate",
                 replaced ? ", in place of another device, which is retired" : "");
        (void)store_audit_add(a->store,
                              &(struct store_audit){clock_utc_ms(), e->id, replaced ? "replace" : "enrol", e->name});
        reply_after_commit(
                req, 200,
                json_pack("{s:s,s:s,s:s}", "device", e->id, "certificate", certificate, "ca", a->server_ca));
}

static void enrol(struct http_request *req, const struct enrolment *e)
{
        struct api *a = api_of(req);
        _cleanup_free_ char *certificate = NULL;
        uint8_t token_hash[STORE_HASH_SIZE], certificate_hash[STORE_HASH_SIZE];
        struct diag d = {0};
        int r = pki_sign_request(a->device_ca, e->csr, e->id, &certificate, certificate_hash, &d);

        if (r == 0) {
                if (e->token)
                        crypto_hash_sha256(token_hash, (const uint8_t *)e->token, strlen(e->token));
                r = store_device_enrol(a->store, &(struct store_enrol){.id = e->id,
                                                                       .name = e->name,
                                                                       .public_key = e->key,
                                                                       .token_hash = e->token ? token_hash : NULL,
                                                                       .certificate_hash = certificate_hash,
                                                                       .now_ms = clock_utc_ms()});
        }
        if (r == -EACCES)
                reply_error(req, 403, "the token is unknown, used up or expired");
        else if (r == -EKEYREVOKED)
                reply_error(req, 403, "this device's key has been revoked: it needs another one");
        else if (r == -EEXIST)
                reply_error(req, 409, "a device of this name is enrolled already with another key");
        else if (r < 0)
                reply_errno(req, r, &d);
        else
                enrolled(req, e, certificate, r > 0);
}

void agents_enrol(struct http_request *req)
{
        json_auto_t *o = request_json(req);
        struct enrolment e;
        const char *wrong;

        if (!o)
                return;
        wrong = enrolment_parse(o, &e);
        if (wrong)
                reply_error(req, 400, wrong);
        else if (firm_vouches(req, &e))
                enrol(req, &e);
}

/* ---- renew ---- */

/* The key of the certificate in use is the proof: TLS has asked for it. The device's own key is root's, and the uplink
 * that asks has it not. */
static const char *renewal_refuse(const struct http_request *req, const struct store_device *d)
{
        const struct tls_peer *c = req->certificate;

        if (c->state != TLS_PEER_EXPIRED)
                return NULL;
        if (memcmp(c->hash, d->certificate_hash, TLS_HASH_SIZE) != 0 &&
            memcmp(c->hash, d->issued_hash, TLS_HASH_SIZE) != 0)
                return "the certificate has ended, and is not the latest one of this device: enrol it again";
        if (clock_utc_ms() / 1000 > c->ends_s + api_of(req)->grace_s)
                return "the certificate ended too long ago: enrol this device again, its records are kept meanwhile";
        return NULL;
}

static void renew(struct http_request *req, const struct store_device *d, const char *csr)
{
        struct api *a = api_of(req);
        _cleanup_free_ char *certificate = NULL;
        uint8_t hash[STORE_HASH_SIZE];
        struct diag diag = {0};
        int r = pki_sign_request(a->device_ca, csr, d->id, &certificate, hash, &diag);

        if (r == 0)
                r = store_device_issue(a->store, d->number, hash);
        if (r < 0) {
                reply_errno(req, r, &diag);
                return;
        }
        log_line(LOG_INFO, "renewed the certificate of %s", d->id);
        (void)store_audit_add(a->store, &(struct store_audit){clock_utc_ms(), d->id, "renew", d->name});
        reply_after_commit(req, 200, json_pack("{s:s,s:s}", "certificate", certificate, "ca", a->server_ca));
}

void agents_renew(struct http_request *req)
{
        json_auto_t *o = request_json(req);
        const char *csr, *refused;
        struct store_device d;

        if (!o)
                return;
        if (json_unpack_ex(o, NULL, JSON_STRICT, "{s:s}", "csr", &csr) < 0) {
                reply_error(req, 400, "exactly csr is needed, a text");
                return;
        }
        if (!device_of(req, req->certificate->name, &d))
                return;
        refused = renewal_refuse(req, &d);
        if (refused)
                reply_error(req, 403, refused);
        else
                renew(req, &d, csr);
}
