/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tiles, entries and checkpoints out of the database. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/log/private.h"

void tlog_head_done(struct tlog_head *h)
{
        free(h->note);
        h->note = NULL;
}

int tlog_head_get(struct db *db, const char *origin, int64_t number, struct tlog_head *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        _cleanup_(tlog_head_done) struct tlog_head h = {0};
        const char *vkey, *note;
        int r = db_query(db, "SELECT number, vkey, note, time_ms FROM log WHERE origin = $1 OR number = $2", &q, "ti",
                         origin, number);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        vkey = r > 0 ? db_text(&q, 1) : NULL;
        note = r > 0 ? db_text(&q, 2) : NULL;
        if (!note)
                return -ENOENT;
        h.number = db_int(&q, 0);
        h.time_ms = (uint64_t)db_int(&q, 3);
        h.note = strdup(note);
        if (!h.note)
                return -ENOMEM;
        if (!vkey || note_key_parse(vkey, &h.key) < 0 ||
            checkpoint_open(note, strlen(note), &h.key, &h.checkpoint) < 0)
                return -EUCLEAN;
        *ret = h;
        h = (struct tlog_head){0};
        return 0;
}

int tlog_unsigned(struct db *db, uint64_t *ret)
{
        int64_t numbers[64], entries[64];
        size_t n = 0;
        int r;

        {
                _cleanup_rows_ struct db_rows q = {0};

                r = db_query(db,
                             "SELECT number, (SELECT coalesce(max(l.number) + 1, 0) FROM log_leaf l WHERE l.log = "
                             "log.number)"
                             " FROM log ORDER BY number LIMIT 64",
                             &q, "");
                for (; r >= 0 && (r = db_next(&q)) > 0; n++) {
                        numbers[n] = db_int(&q, 0);
                        entries[n] = db_int(&q, 1);
                }
        }
        *ret = 0;
        for (size_t i = 0; i < n && r >= 0; i++) {
                _cleanup_(tlog_head_done) struct tlog_head h = {0};

                r = tlog_head_get(db, NULL, numbers[i], &h);
                *ret += (uint64_t)entries[i] - h.checkpoint.head.size;
                if (r == -ENOENT)
                        r = 0;
        }
        return r;
}

int tlog_read_tile(struct db *db, int64_t log, const struct merkle_tile *t, uint8_t *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        const void *hashes;
        size_t size = 0;
        int r = db_query(db, "SELECT hashes FROM log_tile WHERE log = $1 AND level = $2 AND number = $3", &q, "iii",
                         log, (int64_t)t->level, (int64_t)t->index);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        if (r == 0)
                return -ENOENT;
        hashes = db_blob(&q, 0, &size);
        if (!hashes || size < (size_t)t->width * MERKLE_HASH_SIZE || size > MERKLE_TILE_BYTES)
                return -EUCLEAN;
        memcpy(ret, hashes, (size_t)t->width * MERKLE_HASH_SIZE);
        return 0;
}

static int entries(struct db *db, const struct tlog_head *h, const struct merkle_tile *t, struct buf *out)
{
        _cleanup_rows_ struct db_rows q = {0};
        int64_t first = (int64_t)t->index * MERKLE_TILE_HASHES;
        unsigned n = 0;
        int r = db_query(db,
                         "SELECT entry FROM log_leaf WHERE log = $1 AND number >= $2 AND number < $3 ORDER BY number",
                         &q, "iii", h->number, first, first + t->width);

        if (r < 0)
                return r;
        while ((r = db_next(&q)) > 0) {
                size_t size = 0;
                const void *entry = db_blob(&q, 0, &size);

                if (!entry || size > MERKLE_ENTRY_MAX)
                        return -EUCLEAN;
                buf_add_be16(out, (uint16_t)size); /* tlog-tiles, "Log entries" */
                buf_add(out, entry, size);
                n++;
        }
        return r < 0 ? r : n == t->width ? buf_error(out) : -EUCLEAN;
}

int tlog_tile(struct db *db, const struct tlog_head *h, const struct merkle_tile *t, struct buf *out)
{
        unsigned level = t->level == MERKLE_ENTRIES ? 0 : t->level;
        uint64_t hashes = level < MERKLE_LEVELS ? h->checkpoint.head.size >> (8 * level) : 0;
        uint8_t tile[MERKLE_TILE_BYTES];
        int r;

        if (t->index > hashes / MERKLE_TILE_HASHES || t->index * MERKLE_TILE_HASHES + t->width > hashes)
                return -ENOENT;
        if (t->level == MERKLE_ENTRIES)
                return entries(db, h, t, out);
        r = tlog_read_tile(db, h->number, t, tile);
        if (r < 0)
                return r;
        buf_add(out, tile, (size_t)t->width * MERKLE_HASH_SIZE);
        return buf_error(out);
}

static int read_for_tree(void *userdata, const struct merkle_tile *t, uint8_t *ret)
{
        const struct tlog_reader *r = userdata;
        int k = tlog_read_tile(r->db, r->number, t, ret);

        return k == -ENOENT ? -EUCLEAN : k;
}

void tlog_reader_init(struct tlog_reader *r, struct db *db, const struct tlog_head *h)
{
        r->db = db;
        r->number = h->number;
        r->tree = (struct merkle_tree){.fn = read_for_tree, .userdata = r, .size = h->checkpoint.head.size};
}

int tlog_contains(struct db *db, const struct tlog_head *h, const struct merkle_head *state)
{
        _cleanup_free_ struct tlog_reader *reader = NULL;
        uint8_t root[MERKLE_HASH_SIZE];
        int r;

        if (state->size > h->checkpoint.head.size)
                return -ERANGE;
        reader = malloc(sizeof(*reader));
        if (!reader)
                return -ENOMEM;
        tlog_reader_init(reader, db, h);
        r = merkle_root(&reader->tree, state->size, root);
        if (r < 0)
                return r;
        return memcmp(root, state->root, sizeof(root)) == 0 ? 0 : -EILSEQ;
}
