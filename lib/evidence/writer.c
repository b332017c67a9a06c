/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lines are put together by hand: their members have one order, and most of their bytes are hex. */
#include <errno.h>
#include "base/text.h"
#include "evidence/bundle.h"

static void add_hex(struct buf *b, const char *before, const uint8_t *data, size_t size)
{
        char *p;

        buf_add_string(b, before);
        p = buf_extend(b, 2 * size + 1);
        if (p) {
                hex_encode(data, size, p);
                b->size--; /* the NUL */
        }
}

static void add_text(struct buf *b, const char *before, const char *s)
{
        json_auto_t *o = json_string(s);
        _cleanup_free_ char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

        buf_add_string(b, before);
        if (text)
                buf_add_string(b, text);
        else
                b->error = -ENOMEM;
}

static void add_number(struct buf *b, const char *before, uint64_t v)
{
        buf_addf(b, "%s%llu", before, (unsigned long long)v);
}

/* Closes the line that began at `from`: its sum, and all of it into the bundle's. */
static void finish(struct bundle_writer *w, struct buf *out, size_t from)
{
        uint8_t sum[crypto_hash_sha256_BYTES];

        if (buf_error(out) < 0)
                return;
        crypto_hash_sha256(sum, out->data + from, out->size - from);
        add_hex(out, ",\"sum\":\"", sum, BUNDLE_SUM_HEX / 2);
        buf_add_string(out, "\"}\n");
        if (buf_error(out) < 0)
                return;
        crypto_hash_sha256_update(&w->hash, out->data + from, out->size - from);
        w->lines++;
}

static void add_raw(struct bundle_writer *w, struct buf *out, const char *text, size_t size)
{
        size_t from = out->size;

        buf_add(out, text, size);
        buf_add_string(out, "\n");
        if (buf_error(out) < 0)
                return;
        crypto_hash_sha256_update(&w->hash, out->data + from, out->size - from);
        w->lines++;
}

static void add_proof(struct buf *out, const struct merkle_proof *p)
{
        buf_add_string(out, ",\"proof\":[");
        for (unsigned i = 0; i < p->n; i++) {
                add_hex(out, i ? ",\"" : "\"", p->hashes[i], MERKLE_HASH_SIZE);
                buf_add_string(out, "\"");
        }
        buf_add_string(out, "]");
}

static void add_leaf(struct buf *out, const struct bundle_leaf *l)
{
        if (!*l->log)
                return;
        add_text(out, ",\"log\":", l->log);
        add_number(out, ",\"leaf\":", l->index);
        add_proof(out, &l->proof);
}

void bundle_write_head(struct bundle_writer *w, struct buf *out, const struct bundle_head *h)
{
        _cleanup_free_ char *filter = h->filter ? json_dumps(h->filter, JSON_COMPACT) : NULL;
        size_t from = out->size;

        *w = (struct bundle_writer){0};
        crypto_hash_sha256_init(&w->hash);
        buf_add_string(out, "{\"onchannel\":\"" BUNDLE_FORMAT "\"");
        add_text(out, ",\"origin\":", h->origin);
        add_text(out, ",\"version\":", h->version);
        add_number(out, ",\"created\":", h->created_ms);
        add_number(out, ",\"from\":", h->from_ms);
        add_number(out, ",\"to\":", h->to_ms);
        buf_addf(out, ",\"filter\":%s", filter ? filter : "{}");
        finish(w, out, from);
}

void bundle_write_checkpoint(struct bundle_writer *w, struct buf *out, const char *vkey, const char *note)
{
        size_t from = out->size;

        add_text(out, "{\"checkpoint\":", note);
        add_text(out, ",\"key\":", vkey);
        finish(w, out, from);
}

void bundle_write_cosigned(struct bundle_writer *w, struct buf *out, const char *note, const char *log,
                           const struct merkle_proof *p)
{
        size_t from = out->size;

        add_text(out, "{\"cosigned\":", note);
        add_text(out, ",\"log\":", log);
        add_proof(out, p);
        finish(w, out, from);
}

void bundle_write_device(struct bundle_writer *w, struct buf *out, const struct bundle_device *d)
{
        size_t from = out->size;

        add_text(out, "{\"device\":", d->id);
        add_text(out, ",\"name\":", d->name);
        add_hex(out, ",\"key\":\"", d->public_key, DEVICE_KEY_SIZE);
        add_number(out, "\",\"enrolled\":", d->enrolled_ms);
        finish(w, out, from);
}

static void add_record(struct buf *out, const struct bundle_record *r)
{
        add_hex(out, "\"", r->commitment, CHAIN_HASH_SIZE);
        if (r->state == BUNDLE_PRESENT)
                add_hex(out, ":", r->salt, CHAIN_SALT_SIZE);
        else if (r->state == BUNDLE_ERASED)
                buf_add_string(out, ":erased");
        buf_add_string(out, "\"");
}

void bundle_write_batch(struct bundle_writer *w, struct buf *out, const struct bundle_batch *b)
{
        size_t from = out->size;

        add_text(out, "{\"batch\":", b->device);
        add_text(out, ",\"boot\":", b->boot);
        add_number(out, ",\"first\":", b->seal.first);
        add_number(out, ",\"n\":", b->seal.n);
        add_hex(out, ",\"prev\":\"", b->seal.prev, CHAIN_HASH_SIZE);
        add_hex(out, "\",\"head\":\"", b->seal.head, CHAIN_HASH_SIZE);
        add_hex(out, "\",\"sig\":\"", b->seal.signature, CHAIN_SIGNATURE_SIZE);
        add_number(out, "\",\"received\":", b->received_ms);
        add_leaf(out, &b->leaf);
        if (b->n_gone)
                add_number(out, ",\"gone\":", b->n_gone);
        if (b->records) {
                buf_add_string(out, ",\"records\":[");
                for (uint64_t i = 0; i < b->seal.n; i++) {
                        buf_add_string(out, i ? "," : "");
                        add_record(out, &b->records[i]);
                }
                buf_add_string(out, "]");
        }
        finish(w, out, from);
        for (uint64_t i = 0; b->records && i < b->seal.n; i++)
                if (b->records[i].state == BUNDLE_PRESENT)
                        add_raw(w, out, b->records[i].text, b->records[i].size);
}

void bundle_write_audit(struct bundle_writer *w, struct buf *out, const struct bundle_audit *a)
{
        size_t from = out->size;

        add_number(out, "{\"audit\":", a->number);
        add_hex(out, ",\"salt\":\"", a->salt, CHAIN_SALT_SIZE);
        buf_add_string(out, "\"");
        add_leaf(out, &a->leaf);
        finish(w, out, from);
        add_raw(w, out, a->text, a->size);
}

void bundle_write_seen(struct bundle_writer *w, struct buf *out, const struct bundle_seen *s)
{
        size_t from = out->size;

        add_number(out, "{\"seen\":", s->head.size);
        add_text(out, ",\"log\":", s->log);
        add_hex(out, ",\"root\":\"", s->head.root, MERKLE_HASH_SIZE);
        buf_add_string(out, "\"");
        add_proof(out, &s->proof);
        finish(w, out, from);
}

void bundle_end_text(struct buf *out, const char *origin, uint64_t lines, crypto_hash_sha256_state hash)
{
        uint8_t sum[crypto_hash_sha256_BYTES];

        crypto_hash_sha256_final(&hash, sum);
        buf_addf(out, "onchannel evidence bundle\n%s\n%llu\n", origin, (unsigned long long)lines);
        add_hex(out, "", sum, sizeof(sum));
        buf_add_string(out, "\n");
}

void bundle_write_end(struct bundle_writer *w, struct buf *out, const struct note_key *k,
                      const uint8_t secret[static NOTE_SECRET_SIZE])
{
        _cleanup_buf_ struct buf note = {0};
        size_t from = out->size, text_size;

        bundle_end_text(&note, k->name, w->lines, w->hash);
        text_size = note.size;
        buf_add_string(&note, "\n");
        if (buf_error(&note) == 0)
                note_sign(&note, (const char *)note.data, text_size, k, secret, 0);
        if (buf_error(&note) < 0) {
                out->error = buf_error(&note);
                return;
        }
        add_text(out, "{\"end\":", (const char *)note.data);
        finish(w, out, from);
}
