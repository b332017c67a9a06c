/* SPDX-License-Identifier: GPL-3.0-or-later */
/* GET /api/v1/integrity: the log, who watches it, and what this collector found wrong with chains and devices. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "collector/api/private.h"

static json_t *number(uint64_t v)
{
        return json_integer((json_int_t)v);
}

static int witness_add(const struct tlog_witness *w, void *userdata)
{
        return json_array_append_new(userdata, json_pack("{s:s,s:o,s:o}", "name", w->name, "size",
                                                         w->note ? number(w->size) : json_null(), "time",
                                                         w->note ? number(w->time_ms) : json_null())) < 0
                       ? -ENOMEM
                       : 0;
}

static int log_add(struct api *a, json_t *o)
{
        _cleanup_(tlog_head_done) struct tlog_head h = {0};
        json_t *witnesses = json_array();
        char vkey[NOTE_VKEY_MAX], root[2 * MERKLE_HASH_SIZE + 1];
        int r = a->log ? tlog_head_get(store_reader(a->store), tlog_key(a->log)->name, 0, &h) : -ENOENT;

        if (r == -ENOENT) {
                json_decref(witnesses);
                return json_object_set_new(o, "log", json_null()) < 0 ? -ENOMEM : 0;
        }
        if (r == 0)
                r = tlog_witnesses(store_reader(a->store), h.number, witness_add, witnesses);
        if (r < 0) {
                json_decref(witnesses);
                return r;
        }
        note_key_format(&h.key, vkey);
        hex_encode(h.checkpoint.head.root, MERKLE_HASH_SIZE, root);
        r = json_object_set_new(o, "log",
                                json_pack("{s:s,s:s,s:o,s:s,s:o,s:o}", "origin", h.key.name, "vkey", vkey, "size",
                                          number(h.checkpoint.head.size), "root", root, "time", number(h.time_ms),
                                          "witnesses", witnesses));
        return r < 0 ? -ENOMEM : 0;
}

static int finding_row(const struct store_finding *f, void *userdata)
{
        json_t *body = json_loads(f->body, 0, NULL);
        json_t *o = json_pack("{s:s,s:s,s:o,s:o,s:o,s:o?}", "kind", f->kind, "device", f->device, "time",
                              number(f->time_ms), "place", number(f->place), "ended",
                              f->ended_ms ? number(f->ended_ms) : json_null(), "record", body);

        return json_array_append_new(userdata, o) < 0 ? -ENOMEM : 0;
}

static json_t *integrity_run(struct later *l)
{
        struct api *a = l->api;
        json_t *o = json_object();
        json_auto_t *findings = json_array();
        uint64_t pending = 0;
        int r = o && findings ? log_add(a, o) : -ENOMEM;

        if (r == 0)
                r = store_unlogged(a->store, &pending);
        if (r == 0)
                r = store_findings(a->store, finding_row, findings);
        if (r == 0 &&
            (json_object_set(o, "findings", findings) < 0 || json_object_set_new(o, "pending", number(pending)) < 0))
                r = -ENOMEM;
        if (r == 0)
                return o;
        json_decref(o);
        l->r = r;
        return NULL;
}

void page_integrity(struct http_request *req)
{
        struct store_session session;
        struct later *l;

        if (!page_authorised(req, &session))
                return;
        l = calloc(1, sizeof(*l));
        if (!l) {
                reply_errno(req, -ENOMEM, NULL);
                return;
        }
        l->run = integrity_run;
        reply_later(req, l);
}

/* ---- of one record ---- */

json_t *log_proof_json(struct api *a, int64_t device, uint64_t seq)
{
        _cleanup_(tlog_head_done) struct tlog_head h = {0};
        _cleanup_free_ struct tlog_reader *reader = NULL;
        _cleanup_buf_ struct buf entry = {0};
        struct merkle_proof p;
        uint8_t leaf[MERKLE_HASH_SIZE];
        int64_t log = 0, number_in = -1;
        bool included;
        int r = store_leaf_get(a->store, device, seq, &log, &number_in, &entry);

        if (r < 0 || number_in < 0 || tlog_head_get(store_reader(a->store), NULL, log, &h) < 0 ||
            (uint64_t)number_in >= h.checkpoint.head.size)
                return json_null();
        reader = malloc(sizeof(*reader));
        if (!reader)
                return NULL;
        tlog_reader_init(reader, store_reader(a->store), &h);
        merkle_leaf(entry.data, entry.size, leaf);
        included = merkle_inclusion(&reader->tree, (uint64_t)number_in, h.checkpoint.head.size, &p) == 0 &&
                   merkle_inclusion_verify(leaf, (uint64_t)number_in, h.checkpoint.head.size, &p,
                                           h.checkpoint.head.root) == 0;
        return json_pack("{s:s,s:I,s:o,s:o,s:b}", "origin", h.key.name, "leaf", (json_int_t)number_in, "size",
                         number(h.checkpoint.head.size), "time", number(h.time_ms), "included", included);
}
