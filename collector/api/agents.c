/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The agents' calls but reports: enrol, policy, status. */
#include <errno.h>
#include <search.h>
#include <sodium.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "collector/api/private.h"
#include "collector/net/message.h"

#define PROOF_PREFIX           "onchannel-enrol/v1\n"
#define CONNECTIONS_PER_SECOND 100 /* that reconnects should not exceed */
#define SPREAD_MAX_S           300

/* ---- last seen: in memory, written by the minute ---- */

struct seen {
        char id[DEVICE_ID_MAX];
        uint64_t at_ms;
};

static int seen_compare(const void *a, const void *b)
{
        return strcmp(((const struct seen *)a)->id, ((const struct seen *)b)->id);
}

static void device_seen(struct api *a, const char *id)
{
        _cleanup_free_ struct seen *new = calloc(1, sizeof(*new));
        struct seen **found;

        if (!new)
                return;
        strcpy(new->id, id);
        found = tsearch(new, &a->seen, seen_compare);
        if (!found)
                return;
        (*found)->at_ms = clock_utc_ms();
        if (*found == new)
                TAKE_PTR(new);
}

static void seen_write(const void *node, VISIT visit, void *userdata)
{
        const struct seen *s = *(struct seen *const *)node;
        struct store *store = userdata;

        if (visit == postorder || visit == leaf)
                (void)store_device_seen(store, s->id, s->at_ms);
}

void agents_flush_seen(struct api *a)
{
        twalk_r(a->seen, seen_write, a->store);
        tdestroy(a->seen, free);
        a->seen = NULL;
}

bool agents_device(struct http_request *req, struct store_device *ret)
{
        struct api *a = api_of(req);
        int r = store_device_get(a->store, req->peer, ret);

        if (r == -ENOENT || (r == 0 && ret->retired_ms)) {
                reply_error(req, 403, r < 0 ? "this device is not known: enrol it" : "this device has been retired");
                return false;
        }
        if (r < 0) {
                reply_errno(req, r, NULL);
                return false;
        }
        device_seen(a, ret->id);
        return true;
}

/* ---- enrol ---- */

struct enrolment {
        const char *token, *csr, *name;
        uint8_t key[DEVICE_KEY_SIZE];
        char id[DEVICE_ID_MAX];
};

static bool is_device_name(const char *s)
{
        return *s && strlen(s) < STORE_NAME_MAX &&
               strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == strlen(s);
}

/* NULL, or what is wrong. */
static const char *enrolment_parse(json_t *o, struct enrolment *ret)
{
        const char *key, *proof;
        uint8_t signature[crypto_sign_BYTES];
        _cleanup_buf_ struct buf signed_text = {0};

        if (json_unpack_ex(o, NULL, JSON_STRICT, "{s:s,s:s,s:s,s:s,s:s}", "token", &ret->token, "csr", &ret->csr,
                           "device_key", &key, "proof", &proof, "name", &ret->name) < 0)
                return "exactly token, csr, device_key, proof and name are needed, all text";
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

static void enrol(struct http_request *req, const struct enrolment *e)
{
        struct api *a = api_of(req);
        _cleanup_free_ char *certificate = NULL;
        uint8_t token_hash[STORE_HASH_SIZE], certificate_hash[STORE_HASH_SIZE];
        struct diag d = {0};
        int r = pki_sign_request(a->device_ca, e->csr, e->id, &certificate, certificate_hash, &d);

        if (r == 0) {
                crypto_hash_sha256(token_hash, (const uint8_t *)e->token, strlen(e->token));
                r = store_device_enrol(a->store, &(struct store_enrol){.id = e->id,
                                                                       .name = e->name,
                                                                       .public_key = e->key,
                                                                       .token_hash = token_hash,
                                                                       .certificate_hash = certificate_hash,
                                                                       .now_ms = clock_utc_ms()});
        }
        if (r == -EACCES) {
                reply_error(req, 403, "the token is unknown, used up or expired");
        } else if (r == -EEXIST) {
                reply_error(req, 409, "a device of this name is enrolled already with another key");
        } else if (r < 0) {
                reply_errno(req, r, &d);
        } else {
                log_line(LOG_INFO, "enrolled '%s' as %s from %s", e->name, e->id, req->address);
                (void)store_audit_add(a->store, &(struct store_audit){clock_utc_ms(), e->id, "enrol", e->name});
                reply_after_commit(
                        req, 200,
                        json_pack("{s:s,s:s,s:s}", "device", e->id, "certificate", certificate, "ca", a->server_ca));
        }
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
        else
                enrol(req, &e);
}

/* ---- policy ---- */

static int wait_parse(const char *query, unsigned *ret, struct diag *reterr)
{
        _cleanup_(http_query_done) struct http_query q = {0};
        uint64_t wait_s = 0;
        int r = http_query_parse(query, &q, reterr);

        if (r < 0)
                return r;
        for (size_t i = 0; i < q.n; i++) {
                if (strcmp(q.pairs[i].name, "wait") != 0)
                        return diag_set(reterr, -EBADMSG, NULL, 0, "parameter '%s' is not known", q.pairs[i].name);
                if (parse_u64(q.pairs[i].value, BUNDLE_WAIT_MAX, &wait_s) < 0)
                        return diag_set(reterr, -EBADMSG, NULL, 0, "wait must be 0 to %d seconds", BUNDLE_WAIT_MAX);
        }
        *ret = (unsigned)wait_s;
        return 0;
}

void agents_policy(struct http_request *req)
{
        struct api *a = api_of(req);
        struct store_device device;
        unsigned wait_s = 0;
        struct diag d = {0};
        size_t spread_s = a->agents ? http_server_n_connections(a->agents) / CONNECTIONS_PER_SECOND : 0;
        int r = wait_parse(req->query, &wait_s, &d);

        if (r < 0)
                reply_error(req, 400, d.text);
        else if (agents_device(req, &device))
                bundle_answer(a->bundle, req, &device, wait_s,
                              spread_s > SPREAD_MAX_S ? SPREAD_MAX_S : (unsigned)spread_s);
}

/* ---- status ---- */

static void echo_check(struct api *a, const struct store_device *d, json_t *seen)
{
        struct merkle_head head;
        const char *log = NULL;
        char text[NOTE_NAME_MAX + 128];

        if (!seen || log_echo_check(a, seen, &head, &log) == 0)
                return;
        snprintf(text, sizeof(text), "it saw the log %s at size %llu in a state that is not in this log's history",
                 log, (unsigned long long)head.size);
        finding_add(a, FINDING_LOG_FORK, d, head.size, text);
}

void agents_status(struct http_request *req)
{
        struct api *a = api_of(req);
        struct store_device device;
        _cleanup_free_ char *text = NULL;
        json_auto_t *o = NULL;
        int r;

        if (!agents_device(req, &device))
                return;
        o = request_json(req);
        if (!o)
                return;
        echo_check(a, &device, json_object_get(o, "checkpoint"));
        text = json_dumps(o, JSON_COMPACT);
        r = text ? store_device_status(a->store, device.number, text) : -ENOMEM;
        if (r < 0)
                reply_errno(req, r, NULL);
        else
                reply_after_commit(req, 200, json_pack("{s:o*}", "checkpoint", log_checkpoint_json(a)));
}
