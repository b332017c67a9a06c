/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/log/log.h"
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/log/private.h"

struct tlog *tlog_free(struct tlog *l)
{
        if (!l)
                return NULL;
        sodium_memzero(l->secret, sizeof(l->secret));
        free(l);
        return NULL;
}

const struct note_key *tlog_key(const struct tlog *l)
{
        return &l->key;
}

const uint8_t *tlog_secret(const struct tlog *l)
{
        return l->secret;
}

uint64_t tlog_size(const struct tlog *l)
{
        return l->size;
}

int tlog_put_tile(void *userdata, const struct merkle_tile *t, const uint8_t *hashes)
{
        struct tlog *l = userdata;
        int r = db_run(store_db(l->store),
                       "INSERT INTO log_tile (log, level, number, hashes) VALUES ($1, $2, $3, $4)"
                       " ON CONFLICT (log, level, number) DO UPDATE SET hashes = excluded.hashes",
                       "iiib", l->number, (int64_t)t->level, (int64_t)t->index, hashes,
                       (size_t)t->width * MERKLE_HASH_SIZE);

        return r < 0 ? r : 0;
}

static int read_edge(void *userdata, const struct merkle_tile *t, uint8_t *ret)
{
        struct tlog *l = userdata;

        return tlog_read_tile(store_db(l->store), l->number, t, ret);
}

/* Entries that were committed after the last checkpoint. */
static int read_entries(struct tlog *l)
{
        _cleanup_rows_ struct db_rows q = {0};
        uint8_t hash[MERKLE_HASH_SIZE];
        int r = db_query(store_db(l->store),
                         "SELECT number, entry FROM log_leaf WHERE log = $1 AND number >= $2 ORDER BY number", &q,
                         "ii", l->number, (int64_t)l->edge.size);

        if (r < 0)
                return r;
        while ((r = db_next(&q)) > 0) {
                size_t size = 0;
                const void *entry = db_blob(&q, 1, &size);

                if (!entry || (uint64_t)db_int(&q, 0) != l->edge.size)
                        return -EUCLEAN;
                merkle_leaf(entry, size, hash);
                r = merkle_edge_add(&l->edge, hash, tlog_put_tile, l);
                if (r < 0)
                        return r;
        }
        return r;
}

/* Takes up the state of the last commit. The edge must lead to the root that was signed. */
static int reload(struct tlog *l)
{
        _cleanup_(tlog_head_done) struct tlog_head h = {0};
        int r = tlog_head_get(store_db(l->store), NULL, l->number, &h);

        l->edge.size = l->size = 0;
        if (r == -ENOENT)
                return read_entries(l);
        if (r == 0)
                r = tlog_contains(store_db(l->store), &h, &h.checkpoint.head);
        if (r == -EILSEQ)
                r = -EUCLEAN;
        if (r == 0)
                r = merkle_edge_load(&l->edge, h.checkpoint.head.size, read_edge, l);
        if (r < 0)
                return r;
        l->size = h.checkpoint.head.size;
        return read_entries(l);
}

static int row_find(struct tlog *l, struct diag *reterr)
{
        struct db *db = store_db(l->store);
        _cleanup_rows_ struct db_rows q = {0};
        char vkey[NOTE_VKEY_MAX];
        int r;

        note_key_format(&l->key, vkey);
        r = db_run(db, "INSERT INTO log (origin, vkey) VALUES ($1, $2) ON CONFLICT (origin) DO NOTHING", "tt",
                   l->key.name, vkey);
        if (r >= 0)
                r = db_query(db, "SELECT number, vkey FROM log WHERE origin = $1", &q, "t", l->key.name);
        if (r >= 0)
                r = db_next(&q);
        if (r <= 0)
                return diag_set(reterr, r ? r : -EUCLEAN, NULL, 0, "the log cannot be opened: %s", db_error(db));
        l->number = db_int(&q, 0);
        if (strcmp(db_text(&q, 1), vkey) != 0)
                return diag_set(reterr, -EEXIST, NULL, 0,
                                "the database has a log '%s' with another key: log.key was lost or replaced",
                                l->key.name);
        return 0;
}

int tlog_open(struct store *s, const char *key_path, const char *origin, struct tlog **ret, struct diag *reterr)
{
        _cleanup_(tlog_freep) struct tlog *l = calloc(1, sizeof(*l));
        int r;

        if (!l)
                return -ENOMEM;
        l->store = s;
        r = tlog_key_load(key_path, origin, &l->key, l->secret, reterr);
        if (r == 0)
                r = row_find(l, reterr);
        if (r < 0)
                return r;
        r = reload(l);
        if (r == 0)
                r = store_commit(s);
        if (r < 0)
                return diag_set(reterr, r, NULL, 0, "the log %s: %s", l->key.name,
                                r == -EUCLEAN ? "tiles, entries and checkpoint do not fit together: run 'check'"
                                              : db_error(store_db(s)));
        *ret = TAKE_PTR(l);
        return 0;
}

static int sign_checkpoint(struct tlog *l, uint64_t now_ms)
{
        _cleanup_free_ struct tlog_reader *reader = malloc(sizeof(*reader));
        _cleanup_buf_ struct buf note = {0};
        struct tlog_head h = {.number = l->number, .checkpoint.head.size = l->edge.size};
        size_t text_size;
        int r = reader ? merkle_edge_flush(&l->edge, tlog_put_tile, l) : -ENOMEM;

        if (r < 0)
                return r;
        strcpy(h.checkpoint.origin, l->key.name);
        tlog_reader_init(reader, store_db(l->store), &h);
        r = merkle_root(&reader->tree, l->edge.size, h.checkpoint.head.root);
        if (r < 0)
                return r;
        checkpoint_format(&h.checkpoint, &note);
        text_size = note.size;
        buf_add_string(&note, "\n");
        if (buf_error(&note) == 0)
                note_sign(&note, (const char *)note.data, text_size, &l->key, l->secret, 0);
        if (buf_error(&note) < 0)
                return buf_error(&note);
        r = db_run(store_db(l->store), "UPDATE log SET note = $2, time_ms = $3 WHERE number = $1", "iti", l->number,
                   (const char *)note.data, (int64_t)now_ms);
        return r < 0 ? r : 0;
}

int tlog_tick(struct tlog *l, uint64_t now_ms, bool now)
{
        bool due = now || now_ms >= l->checkpoint_ms + TLOG_CHECKPOINT_MS || now_ms < l->checkpoint_ms, sign;
        uint64_t before;
        int r;

        do {
                before = l->edge.size;
                r = tlog_take(l);
        } while (now && r == 0 && l->edge.size - before == TLOG_TAKE_MAX);
        sign = due && l->edge.size > l->size;
        if (r == 0 && sign)
                r = sign_checkpoint(l, now_ms);
        if (r == 0)
                r = store_commit(l->store);
        else
                db_rollback(store_db(l->store));
        if (r == 0 && sign) {
                l->size = l->edge.size;
                l->checkpoint_ms = now_ms;
        }
        if (r < 0 && reload(l) == 0)
                (void)store_commit(l->store);
        return r;
}

struct same_size {
        struct buf note;
        uint64_t size;
};

static int add_same(const struct tlog_witness *w, void *userdata)
{
        struct same_size *s = userdata;

        return w->note && w->size == s->size ? note_keep(w->note, strlen(w->note), w->name, &s->note) : 0;
}

int tlog_checkpoint(struct tlog *l, char **ret, size_t *ret_size)
{
        _cleanup_(tlog_head_done) struct tlog_head h = {0};
        struct same_size same = {0};
        int r = tlog_head_get(store_db(l->store), NULL, l->number, &h);

        if (r < 0)
                return r;
        same.size = h.checkpoint.head.size;
        buf_add_string(&same.note, h.note);
        r = tlog_witnesses(store_db(l->store), l->number, add_same, &same);
        if (r == 0)
                r = buf_error(&same.note);
        if (r == 0) {
                *ret_size = same.note.size;
                *ret = buf_take(&same.note);
        }
        buf_done(&same.note);
        return r;
}
