/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whose word is kept beside the log's own: for each witness the last checkpoint that it cosigned, as text and its own
 * line alone. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/log/private.h"

int tlog_witness_add(struct store *s, const char *vkey, uint64_t now_ms)
{
        struct note_key k;
        int r;

        if (note_key_parse(vkey, &k) < 0 || k.kind != NOTE_COSIGNATURE)
                return -EINVAL;
        r = db_run(store_db(s),
                   "INSERT INTO witness (name, vkey, time_ms) VALUES ($1, $2, $3)"
                   " ON CONFLICT (name) DO UPDATE SET vkey = excluded.vkey",
                   "tti", k.name, vkey, (int64_t)now_ms);
        return r < 0 ? r : 0;
}

int tlog_witness_remove(struct store *s, const char *name)
{
        int r = db_run(store_db(s), "DELETE FROM cosignature WHERE witness = $1", "t", name);

        if (r >= 0)
                r = db_run(store_db(s), "DELETE FROM witness WHERE name = $1", "t", name);
        return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

int tlog_witnesses(struct db *db, int64_t log, tlog_witness_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(db,
                         "SELECT w.name, w.vkey, c.note, coalesce(c.size, 0), coalesce(c.time_ms, 0) FROM witness w"
                         " LEFT JOIN cosignature c ON c.witness = w.name AND c.log = $1 ORDER BY w.name LIMIT 16",
                         &q, "i", log);

        if (r < 0)
                return r;
        while ((r = db_next(&q)) > 0) {
                r = fn(&(struct tlog_witness){.name = db_text(&q, 0),
                                              .vkey = db_text(&q, 1),
                                              .note = db_text(&q, 2),
                                              .size = (uint64_t)db_int(&q, 3),
                                              .time_ms = (uint64_t)db_int(&q, 4)},
                       userdata);
                if (r < 0)
                        return r;
        }
        return r;
}

struct attempt {
        const char *note;
        size_t size;
        char name[NOTE_NAME_MAX];
        uint64_t time_s;
        int r;
};

static int try_witness(const struct tlog_witness *w, void *userdata)
{
        struct attempt *a = userdata;
        struct note_key k;
        int r = note_key_parse(w->vkey, &k) < 0 ? -EUCLEAN : note_verify(a->note, a->size, &k, &a->time_s);

        if (r == 0)
                strcpy(a->name, k.name);
        if (r == 0 || (r != -ENOKEY && a->r == -ENOKEY))
                a->r = r;
        return r == 0 ? -ECANCELED : 0; /* enough */
}

int tlog_cosigned(struct store *s, const struct tlog_head *h, const char *note, size_t size)
{
        struct attempt a = {.note = note, .size = size, .r = -ENOKEY};
        _cleanup_buf_ struct buf own = {0};
        struct checkpoint c;
        int r = checkpoint_open(note, size, &h->key, &c);

        if (r < 0)
                return -EBADMSG;
        r = tlog_contains(store_db(s), h, &c.head);
        if (r < 0)
                return r == -ERANGE || r == -EILSEQ ? -EBADMSG : r;
        r = tlog_witnesses(store_db(s), h->number, try_witness, &a);
        if (r < 0 && r != -ECANCELED)
                return r;
        if (a.r < 0)
                return a.r;
        r = note_keep(note, size, h->key.name, &own);
        if (r == 0)
                r = note_keep(note, size, a.name, &own);
        if (r < 0)
                return r;
        r = db_run(store_db(s),
                   "INSERT INTO cosignature (log, witness, size, time_ms, note) VALUES ($1, $2, $3, $4, $5)"
                   " ON CONFLICT (log, witness) DO UPDATE SET size = excluded.size, time_ms = excluded.time_ms,"
                   " note = excluded.note WHERE cosignature.size <= excluded.size",
                   "itiit", h->number, a.name, (int64_t)c.head.size, (int64_t)(a.time_s * 1000),
                   (const char *)own.data);
        return r < 0 ? r : 0;
}
