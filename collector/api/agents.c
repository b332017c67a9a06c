/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The agents' calls policy and status, and who is calling. */
#include <errno.h>
#include <search.h>
#include <sodium.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "collector/api/private.h"
#include "collector/net/message.h"

#define CONNECTIONS_PER_SECOND 100 /* that reconnects should not exceed */
#define SPREAD_MAX_S           300
#define BOOT_ID_MAX            36

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

bool device_of(struct http_request *req, const char *id, struct store_device *ret)
{
        int r = store_device_get(api_of(req)->store, id, ret);

        if (r == -ENOENT || (r == 0 && ret->retired_ms)) {
                reply_error(req, 403, r < 0 ? "this device is not known: enrol it" : "this device has been retired");
                return false;
        }
        if (r < 0) {
                reply_errno(req, r, NULL);
                return false;
        }
        return true;
}

/* The certificate of before counts until the next one is used for the first time. */
static void certificate_note(struct http_request *req, const struct store_device *d)
{
        const uint8_t *hash = req->certificate->hash;

        if (memcmp(hash, d->certificate_hash, STORE_HASH_SIZE) == 0)
                return;
        if (memcmp(hash, d->issued_hash, STORE_HASH_SIZE) == 0)
                (void)store_device_adopt(api_of(req)->store, d->number, hash, clock_utc_ms());
        else
                clone_check_certificate(req, d);
}

bool agents_device(struct http_request *req, struct store_device *ret)
{
        if (!device_of(req, req->peer, ret))
                return false;
        certificate_note(req, ret);
        clone_check_connection(req, ret);
        device_seen(api_of(req), ret->id);
        return true;
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
        const char *boot;
        int r;

        if (!agents_device(req, &device))
                return;
        o = request_json(req);
        if (!o)
                return;
        echo_check(a, &device, json_object_get(o, "checkpoint"));
        boot = json_string_value(json_object_get(o, "boot"));
        if (boot && strlen(boot) <= BOOT_ID_MAX)
                clone_check_boot(a, &device, boot);
        text = json_dumps(o, JSON_COMPACT);
        r = text ? store_device_status(a->store, device.number, text) : -ENOMEM;
        if (r < 0)
                reply_errno(req, r, NULL);
        else
                reply_after_commit(req, 200,
                                   json_pack("{s:o*,s:s}", "checkpoint", log_checkpoint_json(a), "ca", a->server_ca));
}
