/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Records that are no violations, by what they are: requests for exemptions with their answers, coverage. */
#include <errno.h>
#include "collector/store/private.h"

#define COVERAGE_PAGE 2000

int store_requests(struct store *s, uint64_t since_ms, unsigned max, store_row_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->read,
                         "SELECT " ROW_COLUMNS ROW_PROOF_COLUMNS " FROM record r JOIN device d ON d.number = r.device"
                         " WHERE r.kind = 'request' AND r.time_ms >= $1"
                         " ORDER BY r.time_ms DESC, r.device DESC, r.seq DESC LIMIT $2",
                         &q, "ii", (int64_t)since_ms, (int64_t)max);

        return r < 0 ? r : store_rows(&q, true, fn, userdata);
}

int store_answer_add(struct store *s, const struct store_answer *a)
{
        int r = db_run(s->write,
                       "INSERT INTO request_answer (device, seq, time_ms, who, exemption, reason)"
                       " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (device, seq) DO UPDATE SET"
                       " time_ms = excluded.time_ms, who = excluded.who, exemption = excluded.exemption,"
                       " reason = excluded.reason",
                       "iiittt", a->device, (int64_t)a->seq, (int64_t)a->time_ms, a->who, a->exemption, a->reason);

        return r < 0 ? r : 0;
}

int store_answers(struct store *s, uint64_t since_ms, unsigned max, store_answer_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->read,
                         "SELECT device, seq, time_ms, who, exemption, reason FROM request_answer WHERE time_ms >= $1"
                         " ORDER BY time_ms DESC LIMIT $2",
                         &q, "ii", (int64_t)since_ms, (int64_t)max);

        while (r >= 0 && (r = db_next(&q)) > 0)
                r = fn(&(struct store_answer){.device = db_int(&q, 0),
                                              .seq = (uint64_t)db_int(&q, 1),
                                              .time_ms = (uint64_t)db_int(&q, 2),
                                              .who = db_text(&q, 3),
                                              .exemption = db_text(&q, 4),
                                              .reason = db_text(&q, 5)},
                       userdata);
        return r < 0 ? r : 0;
}

/* ---- coverage ---- */

#define COVERAGE_SELECT                                                                                              \
        "SELECT " ROW_COLUMNS ROW_PROOF_COLUMNS " FROM record r JOIN device d ON d.number = r.device"                \
        " WHERE r.kind = 'coverage' AND r.device = $1"

struct page {
        store_row_fn fn;
        void *userdata;
        uint64_t time_ms, seq, n; /* of the last row */
};

static int page_row(const struct store_row *row, void *userdata)
{
        struct page *p = userdata;

        p->time_ms = row->time_ms;
        p->seq = row->seq;
        p->n++;
        return p->fn(row, p->userdata);
}

static int coverage_before(struct store *s, int64_t device, uint64_t time_ms, struct page *p)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->read, COVERAGE_SELECT " AND r.time_ms < $2 ORDER BY r.time_ms DESC, r.seq DESC LIMIT 1",
                         &q, "ii", device, (int64_t)time_ms);

        return r < 0 ? r : store_rows(&q, true, page_row, p);
}

int store_coverage(struct store *s, int64_t device, const struct store_span *span, store_row_fn fn, void *userdata)
{
        struct page p = {.fn = fn, .userdata = userdata};
        int r = coverage_before(s, device, span->from_ms, &p);

        p.time_ms = span->from_ms;
        p.seq = 0;
        do {
                _cleanup_rows_ struct db_rows q = {0};

                p.n = 0;
                if (r == 0)
                        r = db_query(s->read,
                                     COVERAGE_SELECT " AND (r.time_ms, r.seq) > ($2, $3) AND r.time_ms < $4"
                                                     " ORDER BY r.time_ms, r.seq LIMIT $5",
                                     &q, "iiiii", device, (int64_t)p.time_ms, (int64_t)p.seq, (int64_t)span->to_ms,
                                     (int64_t)COVERAGE_PAGE);
                if (r >= 0)
                        r = store_rows(&q, true, page_row, &p);
        } while (r == 0 && p.n == COVERAGE_PAGE);
        return r;
}

int store_bundle_read(struct store *s, const char *prefix, store_part_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->read,
                         "SELECT part, json FROM bundle WHERE substr(part, 1, length($1)) = $1 ORDER BY part", &q,
                         "t", prefix);

        while (r >= 0 && (r = db_next(&q)) > 0)
                r = fn(db_text(&q, 0), db_text(&q, 1), userdata);
        return r < 0 ? r : 0;
}
