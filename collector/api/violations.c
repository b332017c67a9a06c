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

struct page {
        struct later later;
        struct http_query query; /* the filter's words */
        struct store_filter filter;
};

static json_t *page_run(struct later *l)
{
        const struct page *p = (const struct page *)l;
        json_auto_t *rows = json_array();
        char cursor[FILTER_CURSOR_MAX];
        struct store_cursor end;
        uint64_t total = 0;
        bool exact = false, more = false;

        l->r = store_violations(l->api->store, &p->filter, page_add, rows, &end, &more);
        if (l->r == 0)
                l->r = store_count(l->api->store, &p->filter, TOTAL_MAX, &total, &exact);
        if (l->r < 0)
                return NULL;
        if (more)
                cursor_format(&end, cursor);
        return json_pack("{s:O,s:s?,s:o,s:b}", "rows", rows, "next", more ? cursor : NULL, "total", number(total),
                         "total_is_exact", exact);
}

static void page_ended(struct later *l)
{
        http_query_done(&((struct page *)l)->query);
}

void page_violations(struct http_request *req)
{
        _cleanup_free_ struct page *p = calloc(1, sizeof(*p));
        struct store_session session;
        struct diag d = {0};

        if (!page_authorised(req, &session))
                return;
        if (!p) {
                reply_errno(req, -ENOMEM, NULL);
                return;
        }
        if (http_query_parse(req->query, &p->query, &d) < 0 || filter_parse(&p->query, &p->filter, &d) < 0) {
                http_query_done(&p->query);
                reply_error(req, 400, d.text);
                return;
        }
        p->later.run = page_run;
        p->later.ended = page_ended;
        reply_later(req, &TAKE_PTR(p)->later);
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

static json_t *proof_to_json(const struct proof *p, const struct chain_seal *seal, bool verified, json_t *log)
{
        return json_pack("{s:o,s:o?,s:o?,s:{s:o,s:o,s:o,s:{s:o,s:o,s:o,s:o,s:o},s:b,s:b,s:i}}", "log", log, "row",
                         p->row, "record", p->record, "chain", "prev", hex(p->prev, sizeof(p->prev)), "hash",
                         hex(p->hash, sizeof(p->hash)), "salt",
                         p->erased ? json_null() : hex(p->salt, sizeof(p->salt)), "seal", "first",
                         number(seal->first), "n", number(seal->n), "prev", hex(seal->prev, sizeof(seal->prev)),
                         "head", hex(seal->head, sizeof(seal->head)), "sig",
                         hex(seal->signature, sizeof(seal->signature)), "verified", verified, "erased", p->erased,
                         "n_erased", (int)p->n_erased);
}

struct proof_later {
        struct later later;
        struct store_device device;
        uint64_t seq;
        char user[STORE_NAME_MAX];
        char place[DEVICE_ID_MAX + 24];
};

static json_t *proof_run(struct later *l)
{
        const struct proof_later *q = (const struct proof_later *)l;
        const struct store_device *device = &q->device;
        struct proof p = {.seq = q->seq, .device = device->id};
        struct chain_seal seal;
        bool verified;

        l->r = store_seal_get(l->api->store, device->number, q->seq, &seal);
        if (l->r == 0) {
                memcpy(p.walk, seal.prev, sizeof(p.walk));
                p.next = seal.first;
                l->r = store_records(l->api->store, device->number, seal.first, seal.n, proof_add, &p);
        }
        if (l->r == 0 && !p.row)
                l->r = -ENOENT;
        if (l->r < 0) {
                json_decref(p.row);
                json_decref(p.record);
                return NULL;
        }
        verified = !p.broken && p.next == seal.first + seal.n && memcmp(p.walk, seal.head, sizeof(p.walk)) == 0 &&
                   chain_seal_verify(&seal, device->id, device->public_key) == 0;
        return proof_to_json(&p, &seal, verified, log_proof_json(l->api, device->number, q->seq));
}

/* Who read about whom is kept, before it is shown. */
static void proof_reply(struct later *l)
{
        const struct proof_later *q = (const struct proof_later *)l;
        int r = store_audit_add(l->api->store, &(struct store_audit){clock_utc_ms(), q->user, "read", q->place});

        if (r < 0)
                reply_errno(l->req, r, NULL);
        else
                reply_text_after_commit(l->req, 200, TAKE_PTR(l->text));
}

void page_violation(struct http_request *req)
{
        _cleanup_free_ struct proof_later *q = calloc(1, sizeof(*q));
        struct store_session session;
        char id[DEVICE_ID_MAX];
        const char *place = req->path + strlen(PATH_PREFIX), *slash = strchr(place, '/');
        int r;

        if (!page_authorised(req, &session))
                return;
        if (!slash || slash - place >= (ptrdiff_t)sizeof(id) || !q || strlen(place) >= sizeof(q->place) ||
            parse_u64(slash + 1, INT64_MAX, &q->seq) < 0) {
                reply_errno(req, q ? -ENOENT : -ENOMEM, NULL);
                return;
        }
        snprintf(id, sizeof(id), "%.*s", (int)(slash - place), place);
        r = store_device_get(api_of(req)->store, id, &q->device);
        if (r < 0) {
                reply_errno(req, r, NULL);
                return;
        }
        strcpy(q->user, session.user);
        strcpy(q->place, place);
        q->later.run = proof_run;
        q->later.reply = proof_reply;
        reply_later(req, &TAKE_PTR(q)->later);
}
