/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How long records stay: by rule, longer under a legal hold, shorter when a person's are erased. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/text.h"
#include "collector/store/private.h"
#include "collector/store/schema.h"

#define SETTING_MONTHS "retention-months"
#define HOLDS_MAX      1000
#define CHUNK          500 /* records read at once to be erased */

/* ---- the rule ---- */

int store_retention_get(struct store *s, unsigned *ret_months)
{
        _cleanup_rows_ struct db_rows q = {0};
        uint64_t months = 0;
        int r = db_query(s->write, "SELECT value FROM setting WHERE name = '" SETTING_MONTHS "'", &q, "");

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        if (r > 0 && parse_u64(db_text(&q, 0), STORE_MONTHS_MAX, &months) < 0)
                return -EUCLEAN;
        *ret_months = (unsigned)months;
        return 0;
}

int store_retention_set(struct store *s, unsigned months)
{
        char text[16];
        int r;

        snprintf(text, sizeof(text), "%u", months);
        r = db_run(s->write,
                   "INSERT INTO setting (name, value) VALUES ('" SETTING_MONTHS "', $1)"
                   " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                   "t", text);
        return r < 0 ? r : store_commit(s);
}

static int64_t month_before(int64_t month, unsigned n)
{
        int64_t count = month / 100 * 12 + month % 100 - 1 - n;

        return count / 12 * 100 + count % 12 + 1;
}

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

        return r < 0 ? r : r == 0 ? -ENOENT : store_commit(s);
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

/* Under a hold that is in force, for a record r. */
#define HELD                                                                                                         \
        "EXISTS (SELECT 1 FROM hold h LEFT JOIN device hd ON hd.id = h.device OR hd.name = h.device"                 \
        " WHERE h.released_ms IS NULL AND (h.device IS NULL OR hd.number = r.device)"                                \
        " AND (h.user_name IS NULL OR h.user_name = r.user_name) AND (h.channel IS NULL OR h.channel = r.channel)"   \
        " AND r.time_ms >= h.from_ms AND r.time_ms < h.to_ms)"

/* ---- erasing ---- */

struct place {
        int64_t device, seq;
        uint8_t commitment[CHAIN_HASH_SIZE];
};

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

/* Reads up to CHUNK records "device, seq, salt, body" of a query and erases them; returns how many. */
static int chunk_erase(struct db *db, struct db_rows *q, uint64_t now_ms)
{
        _cleanup_free_ struct place *places = calloc(CHUNK, sizeof(*places));
        size_t n = 0, salt_size, size;
        int r = places ? 0 : -ENOMEM;

        while (r >= 0 && n < CHUNK && (r = db_next(q)) > 0) {
                const void *salt = db_blob(q, 2, &salt_size), *body = db_blob(q, 3, &size);

                if (salt_size != CHAIN_SALT_SIZE)
                        return -EUCLEAN;
                places[n] = (struct place){.device = db_int(q, 0), .seq = db_int(q, 1)};
                chain_commit(salt, body, size, places[n++].commitment);
        }
        db_rows_done(q);
        for (size_t i = 0; i < n && r >= 0; i++)
                r = record_erase(db, &places[i], now_ms);
        return r < 0 ? r : (int)n;
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
        select_number(q, " LIMIT ", CHUNK);
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

                r = selection_query(db, "r.device, r.seq, r.salt, r.body", what, false, &q);
                if (r == 0)
                        r = db_query_values(db, (const char *)q.sql.data, &rows, q.values, q.n);
                if (r == 0)
                        r = chunk_erase(db, &rows, now_ms);
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

/* ---- what is too old ---- */

/* What is held leaves its month, and with it the rest of its seals, erased: their chain is proof of what is held. */
static int month_hold(struct store *s, int64_t month, uint64_t now_ms, uint64_t *ret)
{
        struct db *db = s->write;
        int r = db_run(db, "UPDATE record AS r SET month = 0 WHERE r.month = $1 AND " HELD, "i", month);
        int erased = r;

        if (r < 0)
                return r;
        *ret = (uint64_t)r;
        for (bool first = true; r >= 0 && *ret > 0 && (first || erased > 0); first = false) {
                _cleanup_rows_ struct db_rows rows = {0};

                r = db_query(db,
                             "SELECT r.device, r.seq, r.salt, r.body FROM record r WHERE r.month = $1"
                             " AND r.erased_ms IS NULL AND EXISTS (SELECT 1 FROM record k WHERE k.month = 0"
                             " AND k.device = r.device AND k.received_ms = r.received_ms) LIMIT $2",
                             &rows, "ii", month, (int64_t)CHUNK);
                if (r == 0)
                        r = erased = chunk_erase(db, &rows, now_ms);
        }
        if (r >= 0 && *ret > 0)
                r = db_run(db,
                           "UPDATE record AS r SET month = 0 WHERE r.month = $1 AND EXISTS (SELECT 1 FROM record k"
                           " WHERE k.month = 0 AND k.device = r.device AND k.received_ms = r.received_ms)",
                           "i", month);
        return r < 0 ? r : 0;
}

/* All of the month on PostgreSQL, up to `max` on SQLite. */
static int month_remove(struct db *db, int64_t month, unsigned max, struct store_purge *p)
{
        int64_t n = 0;
        char sql[64];
        int r;

        if (db_kind(db) == DB_SQLITE) {
                r = db_run(db,
                           "DELETE FROM record WHERE rowid IN (SELECT rowid FROM record WHERE month = $1 LIMIT $2)",
                           "ii", month, (int64_t)max);
                p->n_gone = r < 0 ? 0 : (uint64_t)r;
                p->more = r == (int)max;
                return r < 0 ? r : 0;
        }
        r = db_number(db, "SELECT count(*) FROM record WHERE month = $1", &n, "i", month);
        if (r < 0)
                return r;
        p->n_gone = (uint64_t)n;
        r = db_run(db, "DELETE FROM record_other WHERE month = $1", "i", month);
        snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS record_%lld", (long long)month);
        return r < 0 ? r : db_script(db, sql);
}

/* Of the held, what no hold keeps any more: whole seals. */
static int held_remove(struct db *db, int64_t before_month, struct store_purge *p)
{
        int r = db_run(db,
                       "DELETE FROM record AS o WHERE o.month = 0 AND NOT EXISTS (SELECT 1 FROM record r"
                       " WHERE r.month = 0 AND r.device = o.device AND r.received_ms = o.received_ms AND " HELD ")",
                       "");

        if (r > 0)
                *p = (struct store_purge){.month = before_month, .n_gone = (uint64_t)r};
        return r < 0 ? r : 0;
}

static int purge(struct store *s, uint64_t now_ms, unsigned max, struct store_purge *p)
{
        struct db *db = s->write;
        unsigned months = 0;
        int64_t before;
        int r = store_retention_get(s, &months);

        if (r < 0 || months == 0)
                return r;
        before = month_before(schema_month(now_ms), months);
        r = db_number(db, "SELECT month FROM record WHERE month > 0 AND month < $1 LIMIT 1", &p->month, "i", before);
        if (r < 0)
                return r;
        if (r == 0)
                return held_remove(db, before, p);
        p->more = true;
        r = month_hold(s, p->month, now_ms, &p->n_held);
        return r < 0 ? r : month_remove(db, p->month, max, p);
}

int store_purge(struct store *s, uint64_t now_ms, unsigned max, struct store_purge *ret)
{
        struct store_purge p = {0};
        char detail[128];
        int r = purge(s, now_ms, max, &p);

        if (r == 0 && p.n_gone + p.n_held > 0) {
                snprintf(detail, sizeof(detail), "month %lld: %llu records removed, %llu stay under a hold",
                         (long long)p.month, (unsigned long long)p.n_gone, (unsigned long long)p.n_held);
                r = store_audit_add(s, &(struct store_audit){now_ms, "retention", "purge", detail});
        }
        if (r == 0)
                r = store_commit(s);
        if (r < 0) {
                db_rollback(s->write);
                return r;
        }
        *ret = p;
        return 0;
}
