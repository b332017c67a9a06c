/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Batches: each with a commitment for every record, and the bytes of those that were asked for. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "collector/log/export-private.h"

int export_leaf(struct export_log *l, struct bundle_leaf *leaf)
{
        strcpy(leaf->log, l->head.key.name);
        return merkle_inclusion(&l->reader->tree, leaf->index, l->head.checkpoint.head.size, &leaf->proof);
}

/* The first record of the device in the time that was asked for, and the last; 0 there is none. A device's clock may be
 * set, so places in the chain say nothing about times. */
#define PLACES(which)                                                                                                \
        "SELECT coalesce(min(seq + 0), 0), coalesce(max(seq + 0), 0) FROM record" /* + 0: by no index of places */   \
        " WHERE device = $1 AND time_ms >= $2 AND time_ms < $3 AND " which
#define PLACES_QUERY                                                                                                 \
        PLACES("class IS NOT NULL")                                                                                  \
        " UNION ALL " PLACES("kind = 'coverage'") " UNION ALL " PLACES("class IS NULL AND kind <> 'coverage'")

static int places(struct export *e, int64_t *ret_first, int64_t *ret_last)
{
        _cleanup_rows_ struct db_rows q = {0};
        int64_t first = 0, last = 0;
        int r = db_query(e->db, PLACES_QUERY, &q, "iii", e->devices[e->device], (int64_t)e->filter.from_ms,
                         export_to(e));

        while (r >= 0 && (r = db_next(&q)) > 0) {
                int64_t low = db_int(&q, 0), high = db_int(&q, 1);

                first = low > 0 && (first == 0 || low < first) ? low : first;
                last = high > last ? high : last;
        }
        *ret_first = first;
        *ret_last = last;
        return r;
}

int export_range(struct export *e)
{
        _cleanup_rows_ struct db_rows q = {0};
        bool bounded = e->filter.from_ms > 0 || export_to(e) < INT64_MAX;
        int64_t first = 0, last = INT64_MAX;
        int r = bounded ? places(e, &first, &last) : 0;

        if (r == 0)
                r = db_query(e->db,
                             "SELECT coalesce((SELECT max(first) FROM seal WHERE device = $1 AND first <= $2), 0),"
                             " coalesce((SELECT max(first) FROM seal WHERE device = $1 AND first <= $3), -1)",
                             &q, "iii", e->devices[e->device], first, last);
        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        e->cursor = db_int(&q, 0);
        e->last = db_int(&q, 1);
        return 0;
}

static bool same(const char *wanted, const char *value)
{
        return !wanted || (value && strcmp(wanted, value) == 0);
}

enum {
        COLUMN_SEQ,
        COLUMN_TIME,
        COLUMN_KIND,
        COLUMN_USER,
        COLUMN_CHANNEL,
        COLUMN_CLASS,
        COLUMN_TIER,
        COLUMN_LAYER,
        COLUMN_OUTCOME,
        COLUMN_PROGRAM,
        COLUMN_PROGRAM_NAME,
        COLUMN_SALT,
        COLUMN_BODY,
        COLUMN_ERASED,
        COLUMN_COMMITMENT,
};
#define RECORD_QUERY                                                                                                 \
        "SELECT seq, time_ms, kind, user_name, channel, class, tier, layer, outcome, program, program_name, salt,"   \
        " body, coalesce(erased_ms, 0), commitment FROM record WHERE device = $1 AND seq >= $2 AND seq < $3 ORDER "  \
        "BY seq"

/* Coverage is never left out within the time that was asked for: without it an absence of violations says nothing. */
static bool wanted(const struct export *e, const struct db_rows *q)
{
        const struct store_filter *f = &e->filter;
        uint64_t time_ms = (uint64_t)db_int(q, COLUMN_TIME);
        const char *kind = db_text(q, COLUMN_KIND);

        if (time_ms < f->from_ms || (int64_t)time_ms >= export_to(e))
                return false;
        if (kind && strcmp(kind, "coverage") == 0)
                return true;
        return same(f->user, db_text(q, COLUMN_USER)) && same(f->channel, db_text(q, COLUMN_CHANNEL)) &&
               same(f->class, db_text(q, COLUMN_CLASS)) && same(f->tier, db_text(q, COLUMN_TIER)) &&
               same(f->layer, db_text(q, COLUMN_LAYER)) && same(f->outcome, db_text(q, COLUMN_OUTCOME)) &&
               same(f->program,
                    db_text(q, f->program && strchr(f->program, '/') ? COLUMN_PROGRAM : COLUMN_PROGRAM_NAME));
}

/* The checkpoint that a coverage record says the device saw. */
static int note_seen(struct export *e, const char *text, size_t size)
{
        json_auto_t *o = NULL;
        json_t *c;
        struct bundle_seen s = {0}, *list;
        const char *log, *root;

        if (!memmem(text, size, "\"checkpoint\"", 12))
                return 0;
        o = json_loadb(text, size, 0, NULL);
        c = json_object_get(json_object_get(json_object_get(o, "unmapped"), "onchannel"), "coverage");
        c = json_object_get(c, "checkpoint");
        log = json_string_value(json_object_get(c, "log"));
        root = json_string_value(json_object_get(c, "root"));
        if (!log || !root || strlen(log) >= sizeof(s.log) || hex_decode(root, s.head.root, MERKLE_HASH_SIZE) < 0)
                return 0;
        strcpy(s.log, log);
        s.head.size = (uint64_t)json_integer_value(json_object_get(c, "size"));
        for (size_t i = e->n_seen; i-- > 0;)
                if (strcmp(e->seen[i].log, s.log) == 0 && memcmp(&e->seen[i].head, &s.head, sizeof(s.head)) == 0)
                        return 0;
        list = reallocarray(e->seen, e->n_seen + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        e->seen = list;
        list[e->n_seen++] = s;
        return 0;
}

static int record_read(struct export *e, const struct db_rows *q, struct bundle_record *ret)
{
        size_t salt_size = 0, body_size = 0;
        const uint8_t *salt = db_blob(q, COLUMN_SALT, &salt_size);
        const char *body = db_blob(q, COLUMN_BODY, &body_size);

        if (db_int(q, COLUMN_ERASED) > 0) {
                ret->state = BUNDLE_ERASED;
                return db_bytes(q, COLUMN_COMMITMENT, ret->commitment, CHAIN_HASH_SIZE);
        }
        if (!salt || salt_size != CHAIN_SALT_SIZE || !body)
                return -EUCLEAN;
        memcpy(ret->salt, salt, CHAIN_SALT_SIZE);
        chain_commit(salt, body, body_size, ret->commitment);
        ret->state = wanted(e, q) ? BUNDLE_PRESENT : BUNDLE_WITHHELD;
        ret->text = body;
        ret->size = body_size;
        return ret->state == BUNDLE_PRESENT ? note_seen(e, body, body_size) : 0;
}

static void drop_texts(char **texts, uint64_t n)
{
        for (uint64_t i = 0; texts && i < n; i++)
                free(texts[i]);
        free(texts);
}

/* Bytes of a row live only until the next one. */
static int records_read(struct export *e, struct bundle_batch *b, char **texts)
{
        _cleanup_rows_ struct db_rows q = {0};
        int64_t first = (int64_t)b->seal.first;
        uint64_t n = 0;
        bool any = false;
        int r = db_query(e->db, RECORD_QUERY, &q, "iii", e->devices[e->device], first, first + (int64_t)b->seal.n);

        while (r >= 0 && (r = db_next(&q)) > 0) {
                struct bundle_record *record = &b->records[n];

                if (n == b->seal.n)
                        return -EUCLEAN;
                r = record_read(e, &q, record);
                if (r == 0 && record->state == BUNDLE_PRESENT) {
                        texts[n] = malloc(record->size + 1);
                        if (!texts[n])
                                return -ENOMEM;
                        memcpy(texts[n], record->text, record->size);
                        record->text = texts[n];
                }
                any = any || record->state != BUNDLE_WITHHELD;
                n++;
        }
        if (r < 0)
                return r;
        b->n_gone = b->seal.n - n; /* removed by the rule of retention: the chain over the rest is not to be had */
        return any && n == b->seal.n;
}

static int batch_read(struct export *e, const struct db_rows *q, struct bundle_batch *b)
{
        struct export_log *log = db_int(q, 8) >= 0 ? export_log_find(e, db_int(q, 7)) : NULL;

        strcpy(b->device, e->device_id);
        b->seal.first = (uint64_t)db_int(q, 0);
        b->seal.n = (uint64_t)db_int(q, 1);
        if (b->seal.n == 0 || b->seal.n > BATCH_RECORDS_MAX || db_bytes(q, 2, b->seal.prev, CHAIN_HASH_SIZE) < 0 ||
            db_bytes(q, 3, b->seal.head, CHAIN_HASH_SIZE) < 0 ||
            db_bytes(q, 4, b->seal.signature, CHAIN_SIGNATURE_SIZE) < 0 ||
            db_copy(q, 5, b->boot, sizeof(b->boot)) < 0)
                return -EUCLEAN;
        b->received_ms = (uint64_t)db_int(q, 6);
        b->leaf.index = (uint64_t)db_int(q, 8);
        if (log && b->leaf.index < log->head.checkpoint.head.size)
                return export_leaf(log, &b->leaf);
        return 0;
}

int export_batch(struct export *e, struct buf *out)
{
        _cleanup_rows_ struct db_rows q = {0};
        _cleanup_free_ struct bundle_record *records = NULL;
        struct bundle_batch b = {0};
        char **texts;
        int r = db_query(
                e->db,
                "SELECT first, n, prev, head, signature, boot, received_ms, coalesce(log, 0), coalesce(leaf, -1)"
                " FROM seal WHERE device = $1 AND first >= $2 AND first <= $3 ORDER BY first LIMIT 1",
                &q, "iii", e->devices[e->device], e->cursor, e->last);

        if (r < 0 || (r = db_next(&q)) <= 0)
                return r;
        r = batch_read(e, &q, &b);
        db_rows_done(&q);
        if (r < 0)
                return r;
        e->cursor = (int64_t)b.seal.first + 1;
        b.records = records = calloc(b.seal.n, sizeof(*records));
        texts = calloc(b.seal.n, sizeof(*texts));
        r = records && texts ? records_read(e, &b, texts) : -ENOMEM;
        if (r == 0)
                b.records = NULL; /* nothing of it was asked for: the seal carries the chain over it */
        if (r >= 0)
                bundle_write_batch(&e->writer, out, &b);
        drop_texts(texts, b.seal.n);
        return r < 0 ? r : 1;
}
