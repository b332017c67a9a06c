/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Searches. The SQL is put together from the constant parts below; every value is bound. */
#include <errno.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "collector/store/sqlite.h"

#define FACETS_MAX     1000
#define PARAMETERS_MAX 16

struct search {
        struct buf sql;
        struct {
                const char *text; /* NULL: number */
                int64_t number;
        } parameters[PARAMETERS_MAX];
        int n;
};

static void search_done(struct search *q)
{
        buf_done(&q->sql);
}

static void search_text(struct search *q, const char *sql, const char *value)
{
        buf_add_string(&q->sql, sql);
        q->parameters[q->n++].text = value;
}

static void search_number(struct search *q, const char *sql, uint64_t value)
{
        buf_add_string(&q->sql, sql);
        q->parameters[q->n++].number = value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

/* The first condition given, in this order, chooses the index; a '+' keeps the others from being
 * considered (sqlite.org/optoverview.html, 2.1). So the plan follows from the query alone and not
 * from statistics of the day. */
static void search_filter(struct search *q, const struct store_filter *f)
{
        const char *slash = f->program ? strrchr(f->program, '/') : NULL;
        const struct {
                const char *value, *sql;
        } conditions[] = {
                {f->user, "r.user = ?"},
                {slash ? slash + 1 : f->program, "r.program_name = ?"},
                {f->device, "r.device IN (SELECT number FROM device WHERE ? IN (id, name))"},
                {f->channel, "r.channel = ?"},
                {f->class, "r.class = ?"},
                {f->layer, "r.layer = ?"},
                {f->outcome, "r.outcome = ?"},
                {f->tier, "r.tier = ?"},
        };
        bool chosen = false;

        buf_add_string(&q->sql, " WHERE r.kind = 'violation'");
        for (size_t i = 0; i < ELEMENTSOF(conditions); i++) {
                if (!conditions[i].value)
                        continue;
                buf_add_string(&q->sql, chosen ? " AND +" : " AND ");
                search_text(q, conditions[i].sql, conditions[i].value);
                chosen = true;
        }
        if (slash)
                search_text(q, " AND r.program = ?", f->program);
        if (f->from_ms)
                search_number(q, " AND r.time_ms >= ?", f->from_ms);
        if (f->to_ms)
                search_number(q, " AND r.time_ms < ?", f->to_ms);
}

static int search_prepare(struct sqlite_store *s, const struct search *q, sqlite3_stmt **ret)
{
        int code, r = buf_error(&q->sql);

        if (r < 0)
                return r;
        code = sqlite3_prepare_v2(s->search, (const char *)q->sql.data, (int)q->sql.size, ret, NULL);
        for (int i = 0; i < q->n && code == SQLITE_OK; i++)
                code = q->parameters[i].text
                               ? sqlite3_bind_text(*ret, i + 1, q->parameters[i].text, -1, SQLITE_STATIC)
                               : sqlite3_bind_int64(*ret, i + 1, q->parameters[i].number);
        return sqlite_errno(s->search, code);
}

int sqlite_violations(struct store *base, const struct store_filter *f, store_row_fn fn, void *userdata)
{
        _cleanup_(search_done) struct search q = {0};
        _cleanup_finalize_ sqlite3_stmt *statement = NULL;
        struct sqlite_store *s = sqlite_of(base);
        int r;

        buf_add_string(&q.sql, "SELECT r.device, d.id, d.name, r.seq, r.time_ms, r.received_ms, r.kind, r.channel,"
                               " r.channel_name, r.class, r.tier, r.layer, r.outcome, r.verdict, r.user,"
                               " ifnull(r.uid, -1), r.program, r.remote, r.port, r.count, r.policy_serial, r.entry"
                               " FROM record r CROSS JOIN device d ON d.number = r.device");
        search_filter(&q, f);
        if (f->has_before) {
                search_number(&q, " AND (r.time_ms, r.device, r.seq) < (?", f->before.time_ms);
                search_number(&q, ", ?", (uint64_t)f->before.device);
                search_number(&q, ", ?)", f->before.seq);
        }
        search_number(&q, " ORDER BY r.time_ms DESC, r.device DESC, r.seq DESC LIMIT ?", f->limit);
        r = search_prepare(s, &q, &statement);
        if (r < 0)
                return r;
        sqlite_deadline(s, SEARCH_MS);
        r = sqlite_rows(statement, fn, userdata);
        sqlite_deadline(s, 0);
        return r;
}

int sqlite_count(struct store *base, const struct store_filter *f, uint64_t max, uint64_t *ret, bool *ret_exact)
{
        _cleanup_(search_done) struct search q = {0};
        _cleanup_finalize_ sqlite3_stmt *statement = NULL;
        struct sqlite_store *s = sqlite_of(base);
        uint64_t n = 0;
        int r;

        buf_add_string(&q.sql, "SELECT 1 FROM record r");
        search_filter(&q, f);
        search_number(&q, " LIMIT ?", max + 1);
        r = search_prepare(s, &q, &statement);
        if (r < 0)
                return r;
        sqlite_deadline(s, COUNT_MS);
        while ((r = sqlite_step(statement)) > 0)
                n++;
        sqlite_deadline(s, 0);
        if (r < 0 && r != -ETIME)
                return r;
        *ret = n > max ? max : n;
        *ret_exact = r == 0 && n <= max;
        return 0;
}

/* Jumps from one value to the next along the index instead of reading every row. */
#define DISTINCT(column)                                                                                             \
        "WITH RECURSIVE v (x) AS ("                                                                                  \
        "SELECT min(" column ") FROM record WHERE kind = 'violation' AND " column " IS NOT NULL UNION ALL "          \
        "SELECT (SELECT min(" column ") FROM record WHERE kind = 'violation' AND " column " > v.x) FROM v "          \
        "WHERE v.x IS NOT NULL) "

static const char *const facet_sql[] = {
        [FACET_CHANNEL] = DISTINCT("channel") "SELECT x FROM v WHERE x IS NOT NULL LIMIT ?",
        [FACET_DEVICE] = "SELECT DISTINCT name FROM device ORDER BY name LIMIT ?",
        [FACET_USER] = DISTINCT("user") "SELECT x FROM v WHERE x IS NOT NULL LIMIT ?",
};
_Static_assert(ELEMENTSOF(facet_sql) == _FACET_MAX, "enum store_facet");

int sqlite_facet(struct store *base, enum store_facet which, store_facet_fn fn, void *userdata)
{
        _cleanup_(search_done) struct search q = {0};
        _cleanup_finalize_ sqlite3_stmt *statement = NULL;
        struct sqlite_store *s = sqlite_of(base);
        int r;

        search_number(&q, facet_sql[which], FACETS_MAX);
        r = search_prepare(s, &q, &statement);
        if (r < 0)
                return r;
        sqlite_deadline(s, SEARCH_MS);
        while ((r = sqlite_step(statement)) > 0) {
                r = fn(column_text(statement, 0), userdata);
                if (r < 0)
                        break;
        }
        sqlite_deadline(s, 0);
        return r < 0 ? r : 0;
}
