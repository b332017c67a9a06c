/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Searches. The SQL is put together from the constant parts below; every value is bound.
 *
 * Of the conditions given, the one with the fewest rows (counted up to PROBE_MAX) is looked up in its index, which
 * is in the order of the page. The others are then tested row by row; each of them is written so that no index
 * serves it ("|| ''", "+ 0"), hence neither planner can choose badly. What is tested is bounded: a pass goes back
 * over a window of rows of the chosen index, the next pass over as many as the time left allows by what the last one
 * took, and by what they would take if each came from the disk, until the page is full or PAGE_MS are over. So a page
 * costs the same at any depth, whatever is asked, however many rows there are and whether they are in memory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/buf.h"
#include "collector/store/db-private.h"
#include "collector/store/private.h"

#define CHANNELS_MAX   1000
#define NAMES_MAX      100
#define CONDITIONS_MAX 10
#define DEVICES_MAX    8 /* that have had one name, one after the other */
#define PROBE_MAX      2000
#define WINDOW_FIRST   100
#define WINDOW_MIN     50
#define ROW_COLD_US    130 /* a row that is in no memory, on a busy disk; PostgreSQL reads them one after the other */

struct condition {
        const char *column;
        const char *value;
};

struct search {
        const struct store_filter *filter;
        struct condition conditions[CONDITIONS_MAX]; /* the first is looked up in its index */
        size_t n;
        bool has_device, device_first;
        int64_t devices[DEVICES_MAX];
        size_t n_devices;
        bool has_before, has_horizon;
        struct store_cursor before; /* rows before this one … */
        struct store_cursor horizon; /* … back to this one */
};

struct statement {
        struct buf sql;
        struct db_value values[DB_VALUES_MAX];
        size_t n;
};

static void statement_done(struct statement *q)
{
        buf_done(&q->sql);
}

static void add(struct statement *q, const char *sql)
{
        buf_add_string(&q->sql, sql);
}

static void add_value(struct statement *q, const char *sql, struct db_value v)
{
        if (q->n == DB_VALUES_MAX) {
                q->sql.error = -ENOBUFS;
                return;
        }
        q->values[q->n++] = v;
        buf_addf(&q->sql, "%s$%zu", sql, q->n);
}

static void add_text(struct statement *q, const char *sql, const char *value)
{
        add_value(q, sql, (struct db_value){.type = 't', .data = value, .size = strlen(value)});
}

static void add_number(struct statement *q, const char *sql, uint64_t value)
{
        add_value(q, sql, (struct db_value){.type = 'i', .number = value > INT64_MAX ? INT64_MAX : (int64_t)value});
}

static int run(struct store *s, struct statement *q, struct db_rows *ret)
{
        int r = buf_error(&q->sql);

        return r < 0 ? r : db_query_values(s->read, (const char *)q->sql.data, ret, q->values, q->n);
}

/* ---- conditions ---- */

static void add_cursor(struct statement *q, const char *comparison, const struct store_cursor *c)
{
        add(q, " AND (r.time_ms, r.device, r.seq)");
        add_number(q, comparison, c->time_ms);
        add_number(q, ", ", (uint64_t)c->device);
        add_number(q, ", ", c->seq);
        add(q, ")");
}

/* What bounds the walk along an index. */
static void add_bounds(struct statement *q, const struct search *s)
{
        if (s->filter->from_ms)
                add_number(q, " AND r.time_ms >= ", s->filter->from_ms);
        if (s->filter->to_ms)
                add_number(q, " AND r.time_ms < ", s->filter->to_ms);
        if (s->has_before)
                add_cursor(q, " < (", &s->before);
        if (s->has_horizon)
                add_cursor(q, " >= (", &s->horizon);
}

/* Branch i: the chosen condition, or the i-th device of the name. */
static void add_chosen(struct statement *q, const struct search *s, size_t i)
{
        if (s->device_first) {
                add_number(q, " WHERE r.class IS NOT NULL AND r.device = ", (uint64_t)s->devices[i]);
        } else if (s->n > 0) {
                buf_addf(&q->sql, " WHERE r.%s", s->conditions[0].column);
                add_text(q, " = ", s->conditions[0].value);
        } else {
                add(q, " WHERE r.kind = 'violation'");
        }
        add_bounds(q, s);
}

static bool has_residue(const struct search *s)
{
        return s->n + s->has_device > 1 || (s->filter->program && strchr(s->filter->program, '/'));
}

static void add_residue(struct statement *q, const struct search *s)
{
        for (size_t i = !s->device_first; i < s->n; i++) {
                buf_addf(&q->sql, " AND r.%s || ''", s->conditions[i].column);
                add_text(q, " = ", s->conditions[i].value);
        }
        if (s->has_device && !s->device_first) {
                add(q, " AND r.device + 0 IN (0");
                for (size_t i = 0; i < s->n_devices; i++)
                        add_number(q, ", ", (uint64_t)s->devices[i]);
                add(q, ")");
        }
        if (s->filter->program && strchr(s->filter->program, '/'))
                add_text(q, " AND r.program = ", s->filter->program);
}

static size_t n_branches(const struct search *s)
{
        return s->device_first ? s->n_devices : 1;
}

/* ---- preparing ---- */

static int devices_find(struct store *st, struct search *s)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(st->read,
                         "SELECT number FROM device WHERE id = $1 UNION SELECT number FROM device WHERE name = $1"
                         " ORDER BY number DESC LIMIT 8",
                         &q, "t", s->filter->device);

        _Static_assert(DEVICES_MAX == 8, "the LIMIT above");
        while (r >= 0 && (r = db_next(&q)) > 0)
                s->devices[s->n_devices++] = db_int(&q, 0);
        return r < 0 ? r : 0;
}

/* How many rows the condition in front has, up to PROBE_MAX. */
static int probe(struct store *st, const struct search *s, int64_t *ret)
{
        int64_t total = 0;

        for (size_t i = 0; i < n_branches(s); i++) {
                _cleanup_(statement_done) struct statement q = {0};
                _cleanup_rows_ struct db_rows rows = {0};
                int r;

                add(&q, "SELECT count(*) FROM (SELECT 1 FROM record r");
                add_chosen(&q, s, i);
                add_number(&q, " LIMIT ", PROBE_MAX);
                add(&q, ") x");
                r = run(st, &q, &rows);
                if (r < 0 || (r = db_next(&rows)) <= 0)
                        return r;
                total += db_int(&rows, 0);
        }
        *ret = total;
        return 0;
}

static void put_first(struct search *s, size_t i)
{
        struct condition c = s->conditions[i];

        memmove(&s->conditions[1], &s->conditions[0], i * sizeof(c));
        s->conditions[0] = c;
}

static int choose(struct store *st, struct search *s)
{
        int64_t best = INT64_MAX, n = 0;
        size_t first = 0;
        int r = 0;

        if (s->n + s->has_device < 2) {
                s->device_first = s->has_device;
                return 0;
        }
        for (size_t i = 0; i < s->n && r == 0; i++) {
                struct search one = {.filter = s->filter,
                                     .conditions = {s->conditions[i]},
                                     .n = 1,
                                     .has_before = s->has_before,
                                     .before = s->before};

                r = probe(st, &one, &n);
                if (n < best) {
                        best = n;
                        first = i;
                }
        }
        s->device_first = s->has_device;
        if (r == 0 && s->has_device)
                r = probe(st, s, &n);
        s->device_first = s->has_device && n < best;
        if (s->n > 0 && !s->device_first)
                put_first(s, first);
        return r;
}

static int search_init(struct store *st, const struct store_filter *f, struct search *ret)
{
        const char *slash = f->program ? strrchr(f->program, '/') : NULL;
        const struct condition all[] = {
                {"user_name", f->user},  {"program_name", slash ? slash + 1 : f->program},
                {"channel", f->channel}, {"class", f->class},
                {"layer", f->layer},     {"outcome", f->outcome},
                {"tier", f->tier},
        };
        struct search s = {.filter = f, .has_before = f->has_before, .before = f->before, .has_device = f->device};
        int r = 0;

        _Static_assert(ELEMENTSOF(all) <= CONDITIONS_MAX, "all of them at once");
        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                if (all[i].value)
                        s.conditions[s.n++] = all[i];
        if (f->device)
                r = devices_find(st, &s);
        if (r == 0)
                r = choose(st, &s);
        *ret = s;
        return r;
}

/* ---- passes ---- */

static bool is_later(const struct store_cursor *a, const struct store_cursor *b)
{
        if (a->time_ms != b->time_ms)
                return a->time_ms > b->time_ms;
        return a->device != b->device ? a->device > b->device : a->seq > b->seq;
}

/* How far back `window` rows of the chosen index go; no horizon when there are not so many. */
static int horizon_find(struct store *st, struct search *s, uint64_t window)
{
        s->has_horizon = false;
        for (size_t i = 0; i < n_branches(s); i++) {
                _cleanup_(statement_done) struct statement q = {0};
                _cleanup_rows_ struct db_rows rows = {0};
                struct search whole = *s;
                struct store_cursor c;
                int r;

                whole.has_horizon = false;
                add(&q, "SELECT r.time_ms, r.device, r.seq FROM record r");
                add_chosen(&q, &whole, i);
                add_number(&q, " ORDER BY r.time_ms DESC, r.device DESC, r.seq DESC LIMIT 1 OFFSET ", window);
                r = run(st, &q, &rows);
                if (r < 0 || (r = db_next(&rows)) < 0)
                        return r;
                if (r == 0)
                        continue;
                c = (struct store_cursor){(uint64_t)db_int(&rows, 0), db_int(&rows, 1), (uint64_t)db_int(&rows, 2)};
                if (!s->has_horizon || is_later(&c, &s->horizon))
                        s->horizon = c;
                s->has_horizon = true;
        }
        return 0;
}

/* What is looked at in passes, each behind the one before, until a time. */
struct passes {
        uint64_t window, start_ms, until_ms, late_ms; /* no pass may take longer than that, even from the disk */
};

static struct passes passes_begin(unsigned ms)
{
        uint64_t now_ms = clock_monotonic_ms();

        return (struct passes){WINDOW_FIRST, now_ms, now_ms + ms, now_ms + 2 * ms};
}

static int pass_begin(struct store *st, struct search *s, const struct passes *p)
{
        s->has_horizon = false;
        return has_residue(s) ? horizon_find(st, s, p->window) : 0;
}

/* False: there is nothing behind, or no time for it. */
static bool pass_end(struct search *s, struct passes *p)
{
        uint64_t now_ms = clock_monotonic_ms(), n, max;

        if (!s->has_horizon || now_ms >= p->until_ms)
                return false;
        n = p->window * (p->until_ms - now_ms) / 2 / (now_ms - p->start_ms ?: 1);
        n = n < 4 * p->window ? n : 4 * p->window;
        max = (p->late_ms - now_ms) * 1000 / ROW_COLD_US;
        n = n < max ? n : max;
        p->window = n > WINDOW_MIN ? n : WINDOW_MIN;
        p->start_ms = now_ms;
        s->before = s->horizon; /* the horizon itself was looked at */
        s->has_before = true;
        return true;
}

#define ORDER " ORDER BY r.time_ms DESC, r.device DESC, r.seq DESC LIMIT "

static void page_statement(struct statement *q, const struct search *s, unsigned limit)
{
        size_t n = n_branches(s);

        add(q, "SELECT " ROW_COLUMNS " FROM (");
        for (size_t i = 0; i < n; i++) {
                add(q, i > 0 ? " UNION ALL SELECT * FROM (" : "SELECT * FROM (");
                add(q, "SELECT r.* FROM record r");
                add_chosen(q, s, i);
                add_residue(q, s);
                add_number(q, ORDER, limit);
                buf_addf(&q->sql, ") b%zu", i);
        }
        add(q, ") r JOIN device d ON d.number = r.device");
        add_number(q, ORDER, limit);
}

struct page {
        store_row_fn fn;
        void *userdata;
        unsigned n;
        struct store_cursor last;
};

static int page_row(const struct store_row *row, void *userdata)
{
        struct page *p = userdata;

        p->last = (struct store_cursor){row->time_ms, row->device_number, row->seq};
        p->n++;
        return p->fn(row, p->userdata);
}

int store_violations(struct store *st, const struct store_filter *f, store_row_fn fn, void *userdata,
                     struct store_cursor *ret_end, bool *ret_more)
{
        struct page page = {.fn = fn, .userdata = userdata};
        struct passes passes = passes_begin(PAGE_MS);
        struct search s;
        int r = search_init(st, f, &s);

        if (r < 0)
                return r;
        while (n_branches(&s) > 0) {
                _cleanup_(statement_done) struct statement q = {0};
                _cleanup_rows_ struct db_rows rows = {0};

                r = pass_begin(st, &s, &passes);
                if (r < 0)
                        return r;
                page_statement(&q, &s, f->limit - page.n);
                r = run(st, &q, &rows);
                if (r == 0)
                        r = store_rows(&rows, false, page_row, &page);
                if (r < 0)
                        return r;
                if (page.n == f->limit || !pass_end(&s, &passes))
                        break;
        }
        *ret_more = page.n == f->limit || s.has_horizon;
        *ret_end = page.n == f->limit ? page.last : s.horizon;
        return 0;
}

/* Of one pass, up to `max`. */
static int pass_count(struct store *st, const struct search *s, uint64_t max, uint64_t *n)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < n_branches(s) && *n <= max; i++) {
                _cleanup_(statement_done) struct statement q = {0};
                _cleanup_rows_ struct db_rows rows = {0};

                add(&q, "SELECT count(*) FROM (SELECT 1 FROM record r");
                add_chosen(&q, s, i);
                add_residue(&q, s);
                add_number(&q, " LIMIT ", max + 1 - *n);
                add(&q, ") x");
                r = run(st, &q, &rows);
                if (r == 0 && (r = db_next(&rows)) > 0) {
                        *n += (uint64_t)db_int(&rows, 0);
                        r = 0;
                }
        }
        return r;
}

int store_count(struct store *st, const struct store_filter *f, uint64_t max, uint64_t *ret, bool *ret_exact)
{
        struct passes passes = passes_begin(COUNT_MS);
        struct store_filter all = *f;
        struct search s;
        uint64_t n = 0;
        int r;

        all.has_before = false;
        r = search_init(st, &all, &s);
        do {
                if (r == 0)
                        r = pass_begin(st, &s, &passes);
                if (r == 0)
                        r = pass_count(st, &s, max, &n);
                if (r < 0)
                        return r;
        } while (n <= max && pass_end(&s, &passes));
        *ret = n > max ? max : n;
        *ret_exact = n <= max && !s.has_horizon;
        return 0;
}

/* Jumps from one value to the next along the index instead of reading every row: a step in each month's partition for
 * a value, so that their number is bounded. */
#define DISTINCT(column)                                                                                             \
        "WITH RECURSIVE v (x) AS ("                                                                                  \
        "SELECT min(" column ") FROM record WHERE " column " >= $2 UNION ALL "                                       \
        "SELECT (SELECT min(" column ") FROM record WHERE " column " > v.x) FROM v WHERE v.x IS NOT NULL) "          \
        "SELECT x FROM v WHERE x IS NOT NULL LIMIT $1"

static const char *const facet_sql[] = {
        [FACET_CHANNEL] = DISTINCT("channel"),
        [FACET_DEVICE] = "SELECT DISTINCT name FROM device WHERE name >= $2 ORDER BY name LIMIT $1",
        [FACET_USER] = DISTINCT("user_name"),
};
_Static_assert(ELEMENTSOF(facet_sql) == _FACET_MAX, "enum store_facet");

int store_facet(struct store *s, enum store_facet which, const char *from, store_facet_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->read, facet_sql[which], &q, "it",
                         (int64_t)(which == FACET_CHANNEL ? CHANNELS_MAX : NAMES_MAX), from);

        while (r >= 0 && (r = db_next(&q)) > 0) {
                r = fn(db_text(&q, 0), userdata);
                if (r < 0)
                        break;
        }
        return r < 0 ? r : 0;
}

int store_serial_count(struct store *s, uint64_t serial, uint64_t since_ms, struct store_serial_count *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(
                s->read,
                "SELECT count(*), coalesce(sum(CASE WHEN outcome = 'passed' THEN 1 ELSE 0 END), 0) FROM record"
                " WHERE kind = 'violation' AND class IN ('use', 'bypass') AND time_ms >= $1"
                " AND policy_serial = $2",
                &q, "ii", (int64_t)since_ms, (int64_t)serial);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        ret->passed = (uint64_t)db_int(&q, 1);
        ret->stopped = (uint64_t)db_int(&q, 0) - ret->passed;
        return 0;
}
