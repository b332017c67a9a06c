/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Searches of violations, and one violation with its proof. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "collector/api/filter.h"
#include "collector/api/private.h"

#define TOTAL_MAX   10000
#define PATH_PREFIX "/api/v1/violations/"

static json_t *number(uint64_t v)
{
        return json_integer((json_int_t)v);
}

json_t *row_to_json(const struct store_row *row)
{
        json_t *o = json_pack("{s:s,s:s,s:o,s:o,s:o,s:s?,s:s?,s:s?,s:s?,s:s?,s:s?,s:s?}", "device", row->device,
                              "device_name", row->device_name, "seq", number(row->seq), "time", number(row->time_ms),
                              "received", number(row->received_ms), "channel", row->channel, "channel_name",
                              row->channel_name, "class", row->class, "tier", row->tier, "layer", row->layer,
                              "outcome", row->outcome, "verdict", row->verdict);
        json_t *rest = json_pack("{s:s?,s:o,s:s?,s:s?,s:o,s:o,s:o,s:s?}", "user", row->user, "uid",
                                 row->uid < 0 ? json_null() : json_integer(row->uid), "program", row->program,
                                 "remote", row->remote, "port", row->port ? number(row->port) : json_null(), "count",
                                 number(row->count), "policy_serial",
                                 row->policy_serial ? number(row->policy_serial) : json_null(), "entry", row->entry);

        if (!o || json_object_update_new(o, rest) < 0) {
                json_decref(o);
                return NULL;
        }
        return o;
}

static int page_add(const struct store_row *row, void *userdata)
{
        return json_array_append_new(userdata, row_to_json(row)) < 0 ? -ENOMEM : 0;
}

static void reply_page(struct http_request *req, const struct store_filter *f)
{
        struct store *s = api_of(req)->store;
        json_auto_t *rows = json_array();
        char cursor[FILTER_CURSOR_MAX];
        uint64_t total = 0;
        bool exact = false;
        struct store_cursor end;
        bool more = false;
        int r = store_violations(s, f, page_add, rows, &end, &more);

        if (r == 0)
                r = store_count(s, f, TOTAL_MAX, &total, &exact);
        if (r < 0) {
                reply_errno(req, r, NULL);
                return;
        }
        if (more)
                cursor_format(&end, cursor);
        reply_json(req, 200,
                   json_pack("{s:O,s:s?,s:o,s:b}", "rows", rows, "next", more ? cursor : NULL, "total", number(total),
                             "total_is_exact", exact));
}

void page_violations(struct http_request *req)
{
        _cleanup_(http_query_done) struct http_query q = {0};
        struct store_session session;
        struct store_filter f;
        struct diag d = {0};

        if (!page_authorised(req, &session))
                return;
        if (http_query_parse(req->query, &q, &d) < 0 || filter_parse(&q, &f, &d) < 0)
                reply_error(req, 400, d.text);
        else
                reply_page(req, &f);
}

/* ---- one violation ---- */

struct proof {
        json_t *row, *record;
        uint64_t seq;
        /* the walk along the seal */
        const char *device;
        uint8_t walk[CHAIN_HASH_SIZE];
        uint64_t next;
        bool broken, erased;
        unsigned n_erased; /* of the seal */
        uint8_t prev[CHAIN_HASH_SIZE], hash[CHAIN_HASH_SIZE], salt[CHAIN_SALT_SIZE];
};

static int proof_add(const struct store_row *row, void *userdata)
{
        struct proof *p = userdata;

        if (row->seq == p->seq) {
                p->row = row_to_json(row);
                memcpy(p->prev, p->walk, sizeof(p->prev));
                memcpy(p->hash, row->hash, sizeof(p->hash));
                p->erased = row->erased_ms;
                if (!p->erased) {
                        p->record = json_loadb(row->body, row->body_size, JSON_REJECT_DUPLICATES, NULL);
                        memcpy(p->salt, row->salt, sizeof(p->salt));
                }
        }
        p->n_erased += row->erased_ms > 0;
        if (row->erased_ms)
                chain_link(p->device, row->seq, p->walk, row->commitment, p->walk);
        else
                chain_next(p->device, row->seq, p->walk, row->salt, row->body, row->body_size, p->walk);
        if (row->seq != p->next++ || memcmp(p->walk, row->hash, sizeof(p->walk)) != 0)
                p->broken = true;
        return 0;
}

static json_t *hex(const uint8_t *data, size_t size)
{
        char text[2 * CHAIN_SIGNATURE_SIZE + 1];

        hex_encode(data, size, text);
        return json_string(text);
}

static json_t *proof_to_json(const struct proof *p, const struct chain_seal *seal, bool verified)
{
        return json_pack(
                "{s:o?,s:o?,s:{s:o,s:o,s:o,s:{s:o,s:o,s:o,s:o,s:o},s:b,s:b,s:i}}", "row", p->row, "record", p->record,
                "chain", "prev", hex(p->prev, sizeof(p->prev)), "hash", hex(p->hash, sizeof(p->hash)), "salt",
                p->erased ? json_null() : hex(p->salt, sizeof(p->salt)), "seal", "first", number(seal->first), "n",
                number(seal->n), "prev", hex(seal->prev, sizeof(seal->prev)), "head",
                hex(seal->head, sizeof(seal->head)), "sig", hex(seal->signature, sizeof(seal->signature)), "verified",
                verified, "erased", p->erased, "n_erased", (int)p->n_erased);
}

static void reply_proof(struct http_request *req, const struct store_device *device, uint64_t seq)
{
        struct store *s = api_of(req)->store;
        struct proof p = {.seq = seq, .device = device->id};
        struct chain_seal seal;
        bool verified;
        int r = store_seal_get(s, device->number, seq, &seal);

        if (r == 0) {
                memcpy(p.walk, seal.prev, sizeof(p.walk));
                p.next = seal.first;
                r = store_records(s, device->number, seal.first, seal.n, proof_add, &p);
        }
        if (r == 0 && !p.row)
                r = -ENOENT;
        if (r < 0) {
                json_decref(p.row);
                json_decref(p.record);
                if (r == -ENOENT)
                        reply_error(req, 404, "there is no such record");
                else
                        reply_errno(req, r, NULL);
                return;
        }
        verified = !p.broken && p.next == seal.first + seal.n && memcmp(p.walk, seal.head, sizeof(p.walk)) == 0 &&
                   chain_seal_verify(&seal, device->id, device->public_key) == 0;
        reply_after_commit(req, 200, proof_to_json(&p, &seal, verified));
}

void page_violation(struct http_request *req)
{
        struct store *s = api_of(req)->store;
        struct store_session session;
        struct store_device device;
        char id[DEVICE_ID_MAX];
        const char *place = req->path + strlen(PATH_PREFIX), *slash = strchr(place, '/');
        uint64_t seq;
        int r;

        if (!page_authorised(req, &session))
                return;
        if (!slash || slash - place >= (ptrdiff_t)sizeof(id) || parse_u64(slash + 1, INT64_MAX, &seq) < 0) {
                reply_error(req, 404, "there is no such record");
                return;
        }
        snprintf(id, sizeof(id), "%.*s", (int)(slash - place), place);
        r = store_device_get(s, id, &device);
        if (r == 0) /* who read about whom is kept */
                r = store_audit_add(s, &(struct store_audit){now_utc_ms(), session.user, "read", place});
        if (r == -ENOENT)
                reply_error(req, 404, "there is no such record");
        else if (r < 0)
                reply_errno(req, r, NULL);
        else
                reply_proof(req, &device, seq);
}
