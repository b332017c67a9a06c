/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/store/forwarding.h"
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "base/clock.h"
#include "collector/store/private.h"

int forward_places(struct db *db, const char *name, int64_t after, struct forward_place *ret, size_t max)
{
        _cleanup_rows_ struct db_rows rows = {0};
        size_t n = 0;
        int r = db_query(db,
                         "SELECT d.number, coalesce(p.next_seq, 1), d.next_seq FROM device d"
                         " LEFT JOIN forward_place p ON p.device = d.number AND p.name = $1"
                         " WHERE d.next_seq > coalesce(p.next_seq, 1) AND d.number > $2 ORDER BY d.number LIMIT $3",
                         &rows, "tii", name, after, (int64_t)max);

        while (r >= 0 && (r = db_next(&rows)) > 0)
                ret[n++] = (struct forward_place){
                        .device = db_int(&rows, 0),
                        .next = (uint64_t)db_int(&rows, 1),
                        .end = (uint64_t)db_int(&rows, 2),
                };
        return r < 0 ? r : (int)n;
}

struct present {
        store_row_fn fn;
        void *userdata;
};

static int on_row(const struct store_row *row, void *userdata)
{
        const struct present *p = userdata;

        return row->body && !row->erased_ms ? p->fn(row, p->userdata) : 0;
}

int forward_rows(struct db *db, const struct forward_place *p, unsigned max, store_row_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows rows = {0};
        struct present present = {fn, userdata};
        int r = db_query(db,
                         "SELECT " ROW_COLUMNS ROW_PROOF_COLUMNS " FROM record r JOIN device d ON d.number = r.device"
                         " WHERE r.device = $1 AND r.seq >= $2 AND r.seq < $3 ORDER BY r.seq LIMIT $4",
                         &rows, "iiii", p->device, (int64_t)p->next, (int64_t)p->end, (int64_t)max);

        return r < 0 ? r : store_rows(&rows, true, on_row, &present);
}

#define SETTLED_MS 5000

/* 1: there are some. */
int forward_findings(struct db *db, const char *name, struct forward_place *ret_place)
{
        int64_t next = 1, last = 0;
        int r = db_number(db, "SELECT next_seq FROM forward_place WHERE name = $1 AND device = $2", &next, "ti", name,
                          (int64_t)FORWARD_FINDINGS);

        if (r >= 0)
                r = db_number(db, "SELECT coalesce(max(number), 0) FROM finding WHERE time_ms < $1", &last, "i",
                              (int64_t)(clock_utc_ms() - SETTLED_MS));
        if (r < 0)
                return r;
        *ret_place = (struct forward_place){FORWARD_FINDINGS, (uint64_t)next, (uint64_t)last + 1};
        return last >= next;
}

int forward_finding_rows(struct db *db, const struct forward_place *p, unsigned max, store_row_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(db,
                         "SELECT f.number, f.time_ms, f.kind, f.device, f.body, coalesce(d.name, f.device)"
                         " FROM finding f LEFT JOIN device d ON d.id = f.device"
                         " WHERE f.number >= $1 AND f.number < $2 ORDER BY f.number LIMIT $3",
                         &q, "iii", (int64_t)p->next, (int64_t)p->end, (int64_t)max);

        while (r >= 0 && (r = db_next(&q)) > 0) {
                const char *body = db_text(&q, 4);

                r = fn(&(struct store_row){.device = "finding",
                                           .device_name = db_text(&q, 5),
                                           .seq = (uint64_t)db_int(&q, 0),
                                           .time_ms = (uint64_t)db_int(&q, 1),
                                           .kind = "finding",
                                           .class = db_text(&q, 2),
                                           .uid = -1,
                                           .count = 1,
                                           .body = body,
                                           .body_size = strlen(body)},
                       userdata);
        }
        return r < 0 ? r : 0;
}

int forward_move(struct db *db, const char *name, const struct forward_place *p)
{
        int r = db_run(db,
                       "INSERT INTO forward_place (name, device, next_seq) VALUES ($1, $2, $3)"
                       " ON CONFLICT (name, device) DO UPDATE SET next_seq = excluded.next_seq",
                       "tii", name, p->device, (int64_t)p->next);

        return r < 0 ? r : 0;
}

int forward_state_put(struct db *db, const struct forward_state *add)
{
        int r = db_run(
                db,
                "INSERT INTO forward_state (name, sent, refused, sent_ms, problem, problem_ms)"
                " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET"
                " sent = forward_state.sent + excluded.sent, refused = forward_state.refused + excluded.refused,"
                " sent_ms = CASE WHEN excluded.sent_ms > 0 THEN excluded.sent_ms ELSE forward_state.sent_ms END,"
                " problem = excluded.problem, problem_ms = excluded.problem_ms",
                "tiiiti", add->name, (int64_t)add->sent, (int64_t)add->refused, (int64_t)add->sent_ms, add->problem,
                (int64_t)add->problem_ms);

        return r < 0 ? r : 0;
}

int forward_state_get(struct db *db, const char *name, struct forward_state *ret)
{
        _cleanup_rows_ struct db_rows rows = {0};
        struct forward_state s = {0};
        int64_t behind = 0;
        int r = db_query(db, "SELECT sent, refused, sent_ms, problem, problem_ms FROM forward_state WHERE name = $1",
                         &rows, "t", name);

        if (r < 0 || (r = db_next(&rows)) < 0)
                return r;
        if (r > 0) {
                s.sent = (uint64_t)db_int(&rows, 0);
                s.refused = (uint64_t)db_int(&rows, 1);
                s.sent_ms = (uint64_t)db_int(&rows, 2);
                r = db_copy(&rows, 3, s.problem, sizeof(s.problem));
                s.problem_ms = (uint64_t)db_int(&rows, 4);
        }
        db_rows_done(&rows);
        if (r >= 0)
                r = db_number(db,
                              "SELECT CAST(coalesce(sum(d.next_seq - coalesce(p.next_seq, 1)), 0) AS BIGINT)"
                              " FROM device d LEFT JOIN forward_place p ON p.device = d.number AND p.name = $1",
                              &behind, "t", name);
        if (r < 0)
                return r;
        snprintf(s.name, sizeof(s.name), "%s", name);
        s.behind = (uint64_t)behind;
        *ret = s;
        return 0;
}

int forward_lock(struct db *db, const char *name)
{
        uint8_t hash[8];
        int64_t key, ours = 1;
        int r;

        if (db_kind(db) == DB_SQLITE)
                return 1;
        /* both halves of the lock's number are ours to choose: 64 bits of the name's hash */
        crypto_generichash(hash, sizeof(hash), (const uint8_t *)name, strlen(name),
                           (const uint8_t *)"onchannel-forward", strlen("onchannel-forward"));
        memcpy(&key, hash, sizeof(key));
        r = db_number(db, "SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1 ELSE 0 END", &ours, "i", key);
        return r < 0 ? r : (int)ours;
}
