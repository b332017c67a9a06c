/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is too old goes: whole months where all of one is, else single records, whose links stay while something of
 * their batch does. */
#include <errno.h>
#include <stdio.h>
#include "base/cleanup.h"
#include "collector/store/erase.h"
#include "collector/store/private.h"
#include "collector/store/purges.h"
#include "collector/store/rules.h"
#include "collector/store/schema.h"

#define WINDOW     20000 /* records that one turn of a walk looks at */
#define MONTH_HELD 0 /* where what is held goes before its month is removed */

/* ---- a whole month ---- */

/* They are gone when a rule has removed what month 0 has of them, not before. */
static int batches_mark(struct db *db, struct batches *held)
{
#define IN_MONTH_0                                                                                                   \
        " WHERE coalesce(gone, 0) < 2 AND (device, first) IN (SELECT k.device, (SELECT max(t.first) FROM seal t"     \
        " WHERE t.device = k.device AND t.first <= k.seq) FROM record k WHERE k.month = 0)"
        _cleanup_rows_ struct db_rows q = {0};
        uint8_t head[CHAIN_HASH_SIZE];
        int r = db_query(db, "SELECT head FROM seal" IN_MONTH_0, &q, "");

        while (r >= 0 && (r = db_next(&q)) > 0) {
                if (db_bytes(&q, 0, head, sizeof(head)) < 0)
                        return -EUCLEAN;
                batches_add(held, head);
        }
        db_rows_done(&q);
        return r < 0 ? r : db_run(db, "UPDATE seal SET gone = coalesce(gone, 0) + 2" IN_MONTH_0, "");
}

/* What is held leaves its month, and with it the rest of its seals, erased: their chain is proof of what is held. */
static int month_hold(struct store *s, uint64_t now_ms, struct purge *p)
{
        const int64_t month = p->month;
        struct db *db = s->write;
        int r = db_run(db, "UPDATE record AS r SET month = 0 WHERE r.month = $1 AND r.erased_ms IS NULL AND " HELD,
                       "i", month);
        int erased = r;

        if (r < 0)
                return r;
        p->n_held = (uint64_t)r;
        for (bool first = true; r >= 0 && p->n_held > 0 && (first || erased > 0); first = false) {
                _cleanup_rows_ struct db_rows rows = {0};

                r = db_query(db,
                             "SELECT " ERASE_COLUMNS " FROM record r WHERE r.month = $1"
                             " AND r.erased_ms IS NULL AND EXISTS (SELECT 1 FROM record k WHERE k.month = 0"
                             " AND k.device = r.device AND k.received_ms = r.received_ms) LIMIT $2",
                             &rows, "ii", month, (int64_t)ERASE_CHUNK);
                if (r == 0)
                        r = erased = erase_rows(db, &rows, now_ms);
        }
        if (r >= 0 && p->n_held > 0)
                r = db_run(db,
                           "UPDATE record AS r SET month = 0 WHERE r.month = $1 AND EXISTS (SELECT 1 FROM record k"
                           " WHERE k.month = 0 AND k.device = r.device AND k.received_ms = r.received_ms)",
                           "i", month);
        if (r >= 0 && p->n_held > 0)
                r = batches_mark(db, &p->held);
        return r < 0 ? r : 0;
}

/* All of the month on PostgreSQL, up to `max` on SQLite. */
static int month_remove(struct db *db, unsigned max, struct purge *p)
{
        const int64_t month = p->month;
        int64_t n = 0;
        char sql[64];
        int r = db_run(db, "DELETE FROM retention_swept WHERE month = $1", "i", month);

        if (r < 0)
                return r;
        if (db_kind(db) == DB_SQLITE) {
                r = db_run(db,
                           "DELETE FROM record WHERE rowid IN (SELECT rowid FROM record WHERE month = $1 LIMIT $2)",
                           "ii", month, (int64_t)max);
                p->n_gone = r < 0 ? 0 : (uint64_t)r;
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

/* ---- single records ---- */

/* A walk over a month's records, in the order of an index that each database has. */
static const struct {
        const char *key, *behind, *until, *order;
} walks[_DB_KIND_MAX] = {
        [DB_SQLITE] = {"0, r.rowid", "r.rowid > $3", "r.rowid <= $5", "r.rowid"},
        [DB_POSTGRES] = {"r.device, r.seq", "(r.device, r.seq) > ($2, $3)", "(r.device, r.seq) <= ($4, $5)",
                         "r.device, r.seq"},
};

struct sweep {
        struct db *db;
        const struct rules *rules;
        int64_t month, stage; /* done again when the stage is another one: rules_stage() */
        struct place_key at; /* looked at so far */
        bool fresh, done;
        uint64_t now_ms;
        struct batches *gone; /* of which nothing is left */
};

static int sweep_load(struct sweep *w)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(w->db, "SELECT device, seq, done FROM retention_swept WHERE month = $1 AND stage = $2", &q,
                         "ii", w->month, w->stage);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        w->fresh = r == 0;
        if (r > 0) {
                w->at = (struct place_key){db_int(&q, 0), db_int(&q, 1)};
                w->done = db_int(&q, 2);
        }
        return 0;
}

static int sweep_save(const struct sweep *w)
{
        int r = db_run(w->db,
                       "INSERT INTO retention_swept (month, stage, device, seq, done) VALUES ($1, $2, $3, $4, $5)"
                       " ON CONFLICT (month) DO UPDATE SET stage = excluded.stage, device = excluded.device,"
                       " seq = excluded.seq, done = excluded.done",
                       "iiiii", w->month, w->stage, w->at.device, w->at.seq, (int64_t)w->done);

        return r < 0 ? r : 0;
}

/* The place WINDOW records further. Returns 0 when there are not so many, and one behind all. */
static int sweep_window(const struct sweep *w, struct place_key *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        char sql[256];
        int r;

        snprintf(sql, sizeof(sql), "SELECT %s FROM record r WHERE r.month = $1 AND %s ORDER BY %s LIMIT 1 OFFSET %d",
                 walks[db_kind(w->db)].key, walks[db_kind(w->db)].behind, walks[db_kind(w->db)].order, WINDOW - 1);
        r = db_query(w->db, sql, &q, "iii", w->month, w->at.device, w->at.seq);
        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        *ret = r > 0 ? (struct place_key){db_int(&q, 0), db_int(&q, 1)} : (struct place_key){INT64_MAX, INT64_MAX};
        return r;
}

/* Up to ERASE_CHUNK records that are too old. */
static int sweep_read(const struct sweep *w, const struct place_key *end, struct place *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        _cleanup_buf_ struct buf b = {0};
        enum db_kind kind = db_kind(w->db);
        int r;

        buf_addf(&b,
                 "SELECT " ERASE_PROOF
                 ", %s FROM record r WHERE r.month = $1 AND %s AND %s AND r.erased_ms IS NULL AND ",
                 walks[kind].key, walks[kind].behind, walks[kind].until);
        rules_add_expired(&b, kind, w->rules, RULES_TABLE);
        buf_addf(&b, " AND NOT " HELD " ORDER BY %s LIMIT %d", walks[kind].order, ERASE_CHUNK);
        r = buf_error(&b);
        if (r == 0)
                r = db_query(w->db, (const char *)b.data, &q, "iiiii", w->month, w->at.device, w->at.seq, end->device,
                             end->seq);
        return r < 0 ? r : erase_read(&q, ret);
}

/* Removes the records of a seal of which nothing is left; *ret_next: the first record behind the seal. */
static int seal_remove(const struct sweep *w, const struct place *p, int64_t *ret_next)
{
        _cleanup_rows_ struct db_rows q = {0};
        uint8_t head[CHAIN_HASH_SIZE];
        int64_t first, n, left;
        int r = db_query(w->db,
                         "SELECT first, n, head FROM seal WHERE device = $1 AND first <= $2 ORDER BY first DESC"
                         " LIMIT 1",
                         &q, "ii", p->device, p->seq);

        if (r < 0 || (r = db_next(&q)) <= 0)
                return r < 0 ? r : -EUCLEAN;
        if (db_bytes(&q, 2, head, sizeof(head)) < 0)
                return -EUCLEAN;
        first = db_int(&q, 0);
        n = db_int(&q, 1);
        db_rows_done(&q);
        *ret_next = first + n;
        r = db_number(w->db,
                      "SELECT 1 FROM record WHERE device = $1 AND seq >= $2 AND seq < $3 AND month = $4"
                      " AND erased_ms IS NULL LIMIT 1",
                      &left, "iiii", p->device, first, first + n, w->month);
        if (r != 0)
                return r < 0 ? r : 0;
        batches_add(w->gone, head);
        r = db_run(w->db, "DELETE FROM record WHERE device = $1 AND seq >= $2 AND seq < $3 AND month = $4", "iiii",
                   p->device, first, first + n, w->month);
        if (r >= 0)
                r = db_run(w->db, "UPDATE seal SET gone = coalesce(gone, 0) + 1 WHERE device = $1 AND first = $2",
                           "ii", p->device, first);
        return r < 0 ? r : 0;
}

static int seals_remove(const struct sweep *w, const struct place *places, int n)
{
        int64_t device = 0, next = 0;
        int r = 0;

        for (int i = 0; i < n && r >= 0; i++) {
                if (places[i].device == device && places[i].seq < next)
                        continue;
                device = places[i].device;
                r = seal_remove(w, &places[i], &next);
        }
        return r;
}

static int sweep(struct sweep *w, unsigned max, uint64_t *ret_gone)
{
        _cleanup_free_ struct place *places = calloc(ERASE_CHUNK, sizeof(*places));
        struct place_key end;
        uint64_t gone = 0;
        int more, n, r = places ? 0 : -ENOMEM;

        if (r < 0 || (more = sweep_window(w, &end)) < 0)
                return r < 0 ? r : more;
        do {
                n = sweep_read(w, &end, places);
                r = n < 0 ? n : erase_write(w->db, places, n, w->now_ms);
                if (r >= 0)
                        r = seals_remove(w, places, n);
                if (r < 0)
                        return r;
                gone += (uint64_t)n;
                w->at = n == ERASE_CHUNK ? places[n - 1].at : end;
        } while (n == ERASE_CHUNK && gone < max);
        w->done = n < ERASE_CHUNK && more == 0;
        *ret_gone = gone;
        return sweep_save(w);
}

/* ---- what is to do ---- */

/* The first month behind another one that may be there. */
static int month_next(struct db *db, int64_t before, int64_t *month)
{
        static const char *const sql[_DB_KIND_MAX] = {
                [DB_SQLITE] = "SELECT min(month) FROM record WHERE month > $1 AND month < $2",
                /* no index has the month: the names of the partitions say it */
                [DB_POSTGRES] = "SELECT min(x.month) FROM (SELECT CAST(substr(c.relname, 8) AS BIGINT) AS month"
                                " FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
                                " WHERE i.inhparent = CAST('record' AS regclass) AND c.relname ~ '^record_[0-9]+$'"
                                " UNION ALL SELECT month FROM record_other) x WHERE x.month > $1 AND x.month < $2",
        };
        int64_t next = 0;
        int r = db_number(db, sql[db_kind(db)], &next, "ii", *month, before);

        if (r <= 0 || next == 0) /* NULL: none */
                return r < 0 ? r : 0;
        *month = next;
        return 1;
}

/* Is nothing left of the month but what is too old? A question for where it can be dropped. */
static int month_is_over(const struct sweep *w)
{
        _cleanup_buf_ struct buf b = {0};
        int64_t left;
        int r;

        if (w->rules->longest < rules_age(w->rules, w->month))
                return 1;
        if (!w->fresh || db_kind(w->db) == DB_SQLITE)
                return 0;
        buf_add_string(&b, "SELECT 1 FROM record r WHERE r.month = $1 AND r.erased_ms IS NULL AND NOT (");
        rules_add_expired(&b, db_kind(w->db), w->rules, RULES_TABLE);
        buf_add_string(&b, ") LIMIT 1");
        r = buf_error(&b);
        if (r == 0)
                r = db_number(w->db, (const char *)b.data, &left, "i", w->month);
        return r < 0 ? r : r == 0;
}

/* 1: something was to do. */
static int month_purge(struct store *s, struct sweep *w, unsigned max, struct purge *p)
{
        int r = sweep_load(w);

        if (r == 0 && w->month != MONTH_HELD)
                r = month_is_over(w);
        if (r < 0 || (r == 0 && w->done))
                return r;
        p->month = w->month == MONTH_HELD ? rules_before(w->rules) : w->month;
        p->whole = r > 0;
        w->gone = &p->gone;
        if (r == 0) {
                r = sweep(w, max, &p->n_gone);
        } else {
                r = month_hold(s, w->now_ms, p);
                if (r == 0)
                        r = month_remove(s->write, max, p);
        }
        return r < 0 ? r : 1;
}

/* 1: something was to do. */
static int purge(struct store *s, uint64_t now_ms, unsigned max, struct purge *p)
{
        struct rules rules;
        int64_t month = MONTH_HELD;
        int r = rules_load(s->write, now_ms, NULL, &rules);

        if (r < 0 || !rules.shortest)
                return r;
        while ((r = month_next(s->write, rules_before(&rules), &month)) > 0) {
                struct sweep w = {.db = s->write, .rules = &rules, .month = month, .now_ms = now_ms};

                w.stage = rules_stage(&rules, month);
                r = month_purge(s, &w, max, p);
                if (r != 0)
                        return r;
        }
        if (r == 0) {
                struct sweep w = {.db = s->write, .rules = &rules, .month = MONTH_HELD, .now_ms = now_ms};

                w.stage = rules.this_month;
                r = month_purge(s, &w, max, p);
        }
        return r;
}

static int purge_note(struct store *s, uint64_t now_ms, const struct purge *p)
{
        _cleanup_buf_ struct buf detail = {0};

        purge_format(&detail, p);
        buf_add(&detail, "", 1);
        return buf_error(&detail) < 0 ? buf_error(&detail)
                                      : store_audit_add(s, &(struct store_audit){now_ms, "retention", "purge",
                                                                                 (const char *)detail.data});
}

int store_purge(struct store *s, uint64_t now_ms, unsigned max, struct store_purge *ret)
{
        struct purge p = {0};
        int more = purge(s, now_ms, max, &p), r = more < 0 ? more : 0;

        if (r == 0 && p.n_gone + p.n_held > 0)
                r = purge_note(s, now_ms, &p);
        if (r == 0)
                r = store_commit(s);
        if (r < 0) {
                db_rollback(s->write);
                return r;
        }
        *ret = (struct store_purge){p.month, p.n_gone, p.n_held, more > 0};
        return 0;
}
