/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stays longer, under a legal hold, and what goes before its time: a person's records. */
#include "collector/store/erase.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "collector/store/private.h"

#define HOLDS_MAX 1000

/* ---- holds ---- */

int store_hold_add(struct store *s, const struct store_hold *h, int64_t *ret_number)
{
        _cleanup_rows_ struct db_rows q = {0};
        const struct store_selection *w = &h->what;
        int64_t to_ms = w->to_ms ? (int64_t)w->to_ms : INT64_MAX;
        int r = db_query(s->write,
                         "INSERT INTO hold (reason, device, user_name, channel, from_ms, to_ms, who, time_ms)"
                         " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING number",
                         &q, "ttttiiti", h->reason, w->device, w->user, w->channel, (int64_t)w->from_ms, to_ms,
                         h->who, (int64_t)h->time_ms);

        if (r < 0 || (r = db_next(&q)) <= 0)
                return r < 0 ? r : -EIO;
        *ret_number = db_int(&q, 0);
        db_rows_done(&q);
        return store_commit(s);
}

int store_hold_release(struct store *s, int64_t number, uint64_t now_ms)
{
        int r = db_run(s->write, "UPDATE hold SET released_ms = $2 WHERE number = $1 AND released_ms IS NULL", "ii",
                       number, (int64_t)now_ms);

        if (r == 0)
                return -ENOENT;
        if (r > 0) /* what it held may go: rules.c */
                r = db_run(s->write, "DELETE FROM retention_swept", "");
        return r < 0 ? r : store_commit(s);
}

int store_holds(struct store *s, store_hold_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->write,
                         "SELECT number, reason, who, device, user_name, channel, from_ms, to_ms, time_ms,"
                         " coalesce(released_ms, 0) FROM hold ORDER BY number LIMIT $1",
                         &q, "i", (int64_t)HOLDS_MAX);

        while (r >= 0 && (r = db_next(&q)) > 0) {
                struct store_hold h = {
                        .number = db_int(&q, 0),
                        .reason = db_text(&q, 1),
                        .who = db_text(&q, 2),
                        .what = {db_text(&q, 3), db_text(&q, 4), db_text(&q, 5), (uint64_t)db_int(&q, 6),
                                 (uint64_t)db_int(&q, 7)},
                        .time_ms = (uint64_t)db_int(&q, 8),
                        .released_ms = (uint64_t)db_int(&q, 9),
                };

                r = fn(&h, userdata);
        }
        return r < 0 ? r : 0;
}

/* ---- erasing ---- */

static int record_erase(struct db *db, const struct place *p, uint64_t now_ms)
{
        int r = db_run(db,
                       "UPDATE record SET erased_ms = $3, commitment = $4, salt = $5, body = $5, kind = 'erased',"
                       " channel = NULL, channel_name = NULL, class = NULL, tier = NULL, layer = NULL,"
                       " outcome = NULL, verdict = NULL, user_name = NULL, uid = NULL, program = NULL,"
                       " program_name = NULL, remote = NULL, port = 0, count = 0, entry = NULL"
                       " WHERE device = $1 AND seq = $2",
                       "iiibb", p->device, p->seq, (int64_t)now_ms, p->commitment, sizeof(p->commitment), "",
                       (size_t)0);

        return r < 0 ? r : 0;
}

int erase_read(struct db_rows *q, struct place *ret)
{
        size_t n = 0, salt_size, size;
        int r = 0;

        while (n < ERASE_CHUNK && (r = db_next(q)) > 0) {
                const void *salt = db_blob(q, 2, &salt_size), *body = db_blob(q, 3, &size);

                if (salt_size != CHAIN_SALT_SIZE)
                        return -EUCLEAN;
                ret[n] = (struct place){.device = db_int(q, 0), .seq = db_int(q, 1)};
                ret[n].at = (struct place_key){db_int(q, 4), db_int(q, 5)};
                chain_commit(salt, body, size, ret[n++].commitment);
        }
        db_rows_done(q);
        return r < 0 ? r : (int)n;
}

int erase_write(struct db *db, const struct place *places, int n, uint64_t now_ms)
{
        int r = 0;

        for (int i = 0; i < n && r >= 0; i++)
                r = record_erase(db, &places[i], now_ms);
        return r < 0 ? r : n;
}

int erase_rows(struct db *db, struct db_rows *q, uint64_t now_ms)
{
        _cleanup_free_ struct place *places = calloc(ERASE_CHUNK, sizeof(*places));
        int r = places ? erase_read(q, places) : -ENOMEM;

        return r < 0 ? r : erase_write(db, places, r, now_ms);
}

struct selected {
        struct buf sql;
        struct db_value values[8];
        size_t n;
};

static void selected_done(struct selected *q)
{
        buf_done(&q->sql);
}

static void select_text(struct selected *q, const char *sql, const char *value)
{
        if (!value)
                return;
        q->values[q->n++] = (struct db_value){.type = 't', .data = value, .size = strlen(value)};
        buf_addf(&q->sql, "%s$%zu", sql, q->n);
}

static void select_number(struct selected *q, const char *sql, uint64_t value)
{
        if (!value)
                return;
        q->values[q->n++] = (struct db_value){.type = 'i', .number = (int64_t)value};
        buf_addf(&q->sql, "%s$%zu", sql, q->n);
}

/* `what` also holds what is no violation of this device, unless a user or a channel is given. */
static int selection_query(struct db *db, const char *columns, const struct store_selection *what, bool held,
                           struct selected *q)
{
        buf_addf(&q->sql, "SELECT %s FROM record r WHERE r.erased_ms IS NULL AND %s" HELD, columns,
                 held ? "" : "NOT ");
        select_text(q, " AND r.user_name = ", what->user);
        select_text(q, " AND r.channel = ", what->channel);
        select_number(q, " AND r.time_ms >= ", what->from_ms);
        select_number(q, " AND r.time_ms < ", what->to_ms);
        if (what->device) {
                select_text(q, " AND r.device IN (SELECT number FROM device WHERE id = ", what->device);
                select_text(q, " OR name = ", what->device);
                buf_add_string(&q->sql, ")");
        }
        select_number(q, " LIMIT ", ERASE_CHUNK);
        return buf_error(&q->sql);
}

static int selection_count(struct db *db, const struct store_selection *what, uint64_t *ret)
{
        _cleanup_(selected_done) struct selected q = {0};
        _cleanup_rows_ struct db_rows rows = {0};
        int r = selection_query(db, "count(*)", what, true, &q);

        if (r == 0)
                r = db_query_values(db, (const char *)q.sql.data, &rows, q.values, q.n);
        if (r == 0 && (r = db_next(&rows)) > 0)
                *ret = (uint64_t)db_int(&rows, 0);
        return r < 0 ? r : 0;
}

int store_erase(struct store *s, const struct store_selection *what, uint64_t now_ms, uint64_t *ret_erased,
                uint64_t *ret_held)
{
        struct db *db = s->write;
        uint64_t erased = 0;
        int64_t devices = 1;
        int r = 0;

        if (what->device)
                r = db_number(db, "SELECT count(*) FROM device WHERE id = $1 OR name = $1", &devices, "t",
                              what->device);
        if (r < 0 || devices == 0)
                return r < 0 ? r : -ENOENT;
        r = selection_count(db, what, ret_held);
        while (r >= 0) {
                _cleanup_(selected_done) struct selected q = {0};
                _cleanup_rows_ struct db_rows rows = {0};

                r = selection_query(db, ERASE_COLUMNS, what, false, &q);
                if (r == 0)
                        r = db_query_values(db, (const char *)q.sql.data, &rows, q.values, q.n);
                if (r == 0)
                        r = erase_rows(db, &rows, now_ms);
                if (r <= 0)
                        break;
                erased += (uint64_t)r;
                r = store_commit(s);
        }
        if (r < 0) {
                db_rollback(db);
                return r;
        }
        *ret_erased = erased;
        return 0;
}

int store_scrub(struct store *s)
{
        int64_t busy = 0;
        int r = db_kind(s->write) == DB_SQLITE ? db_number(s->write, "PRAGMA wal_checkpoint(TRUNCATE)", &busy, "")
                                               : 0;

        return r < 0 ? r : busy ? -EBUSY : 0;
}
