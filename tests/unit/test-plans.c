/* SPDX-License-Identifier: GPL-3.0-or-later */
/* No question of the page walks the table of records, or sorts what it found there: each goes by an index that is in
 * the order of the page. Every statement that a search sends is explained by the database itself. */
#include "base/text.h"
#include "collector/log/export-private.h"
#include "collector/store/db-private.h"
#include "tests/unit/store-fixture.h"

#define BATCHES 100 /* more rows than the first pass of a search looks at */

static unsigned n_explained, n_passes;

/* What is wrong with a plan, or NULL; `line` is where. What follows a LIMIT of its own may be sorted: it is a page. */
struct plan {
        bool is_limited; /* SQLite: an inner select comes before what is at the outermost level */
        bool is_sorting; /* PostgreSQL: what comes next is sorted, but for what is below a limit */
        const char *wrong;
};

static void plan_sqlite(struct plan *p, const struct db_rows *q)
{
        const char *line = db_text(q, 3);
        bool is_outer = db_int(q, 1) == 0 && p->is_limited;

        if (strstr(line, "CO-ROUTINE") || strstr(line, "MATERIALIZE"))
                p->is_limited = true;
        else if ((text_starts_with(line, "SCAN r") || text_starts_with(line, "SCAN seal")) && !is_outer &&
                 !strstr(line, " INDEX record_") && !strstr(line, " INDEX seal_"))
                p->wrong = "a walk along the table";
        else if (strstr(line, "TEMP B-TREE") && !is_outer)
                p->wrong = "a sort";
}

static void plan_postgres(struct plan *p, const struct db_rows *q)
{
        const char *line = db_text(q, 0);
        bool is_row = strstr(line, " on record") || strstr(line, " on seal");

        if (strstr(line, "Sort  ("))
                p->is_sorting = true;
        else if (strstr(line, "Limit  ("))
                p->is_sorting = false;
        else if (is_row && (strstr(line, "Seq Scan") || strstr(line, "Bitmap")))
                p->wrong = "a walk along the table";
        else if (is_row && p->is_sorting)
                p->wrong = "a sort";
}

static void on_query(struct db *db, const char *sql, const struct db_value *v, size_t n)
{
        bool is_postgres = db_kind(db) == DB_POSTGRES;
        _cleanup_free_ char *explain = NULL;
        _cleanup_rows_ struct db_rows q = {0};
        struct plan p = {0};

        if (!strstr(sql, " record ") && !strstr(sql, " seal "))
                return;
        assert_true(asprintf(&explain, "EXPLAIN %s%s", is_postgres ? "" : "QUERY PLAN ", sql) > 0);
        db->watch = NULL;
        assert_int_equal(db_query_values(db, explain, &q, v, n), 0);
        while (db_next(&q) > 0) {
                (is_postgres ? plan_postgres : plan_sqlite)(&p, &q);
                if (p.wrong)
                        fail_msg("%s: '%s' in the plan of %s", p.wrong, db_text(&q, is_postgres ? 0 : 3), sql);
        }
        db->watch = on_query;
        n_explained++;
        n_passes += strstr(sql, ">= (") != NULL;
}

static void search(struct fixture *f, struct store_filter *filter)
{
        struct store_cursor end;
        unsigned rows = 0;
        uint64_t n;
        bool more, exact;

        filter->limit = 10;
        assert_int_equal(store_violations(f->s, filter, count_row, &rows, &end, &more), 0);
        assert_int_equal(store_count(f->s, filter, 10000, &n, &exact), 0);
        assert_true(n > 0 || rows == 0);
}

/* One filter, or two of them, or all; from the top, from a place, between two times. */
static void test_searches(void **state)
{
        static const struct store_filter all = {.device = "ws-1",
                                                .user = "anna",
                                                .channel = "signal",
                                                .class = "use",
                                                .tier = "name",
                                                .layer = "tls",
                                                .outcome = "reset",
                                                .program = "/usr/bin/curl"};
        static const size_t fields[] = {
                offsetof(struct store_filter, device),  offsetof(struct store_filter, user),
                offsetof(struct store_filter, channel), offsetof(struct store_filter, class),
                offsetof(struct store_filter, tier),    offsetof(struct store_filter, layer),
                offsetof(struct store_filter, outcome), offsetof(struct store_filter, program),
        };
        struct fixture *f = *state;

        store_reader(f->s)->watch = on_query;
        n_explained = n_passes = 0;
        for (unsigned set = 0; set < 1u << ELEMENTSOF(fields); set++) {
                if (__builtin_popcount(set) > 2 && set != (1u << ELEMENTSOF(fields)) - 1)
                        continue;
                for (int k = 0; k < 3; k++) {
                        struct store_filter filter = {.has_before = k == 1, .before = {1300, 1, 300}};

                        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                                if (set & 1u << i)
                                        *(const char **)((char *)&filter + fields[i]) =
                                                *(const char *const *)((const char *)&all + fields[i]);
                        if (k == 2) {
                                filter.from_ms = 1100;
                                filter.to_ms = 1500;
                        }
                        search(f, &filter);
                }
        }
        assert_true(n_explained > 500 && n_passes > 50);
}

static int ignore_value(const char *value, void *userdata)
{
        return 0;
}

static int ignore_device(const struct store_device *d, void *userdata)
{
        return 0;
}

static int ignore_finding(const struct store_finding *d, void *userdata)
{
        return 0;
}

/* What else the page asks for, and one violation with its proof. */
static void test_others(void **state)
{
        struct fixture *f = *state;
        _cleanup_buf_ struct buf entry = {0};
        struct chain_seal seal;
        unsigned rows = 0;
        uint64_t n;
        int64_t log, number;

        store_reader(f->s)->watch = on_query;
        for (enum store_facet i = 0; i < _FACET_MAX; i++)
                assert_int_equal(store_facet(f->s, i, "a", ignore_value, NULL), 0);
        assert_int_equal(store_devices(f->s, ignore_device, NULL), 0);
        assert_int_equal(store_findings(f->s, ignore_finding, NULL), 0);
        assert_int_equal(store_requests(f->s, 1, 10, count_row, &rows), 0);
        assert_int_equal(store_coverage(f->s, f->device.number, &(struct store_span){1000, 2000}, count_row, &rows),
                         0);
        assert_int_equal(store_unlogged(f->s, &n), 0);
        assert_int_equal(store_seal_get(f->s, f->device.number, 7, &seal), 0);
        assert_int_equal(store_records(f->s, f->device.number, seal.first, seal.n, count_row, &rows), 0);
        assert_int_equal(rows, RECORDS);
        assert_int_equal(store_leaf_get(f->s, f->device.number, 7, &log, &number, &entry), -ENOENT);
}

/* A time is looked up in each part of a device's records, not compared with all of them. */
static void on_range(struct db *db, const char *sql, const struct db_value *v, size_t n)
{
        bool is_postgres = db_kind(db) == DB_POSTGRES;
        _cleanup_free_ char *explain = NULL;
        _cleanup_rows_ struct db_rows q = {0};
        unsigned looked_up = 0;

        if (!strstr(sql, "time_ms"))
                return;
        assert_true(asprintf(&explain, "EXPLAIN %s%s", is_postgres ? "" : "QUERY PLAN ", sql) > 0);
        db->watch = NULL;
        assert_int_equal(db_query_values(db, explain, &q, v, n), 0);
        while (db_next(&q) > 0) {
                const char *line = db_text(&q, is_postgres ? 0 : 3);

                assert_false(strstr(line, "Filter:") && strstr(line, "time_ms"));
                looked_up += is_postgres ? strstr(line, "Cond: ((device = ") && strstr(line, "AND (time_ms >= ")
                                         : strstr(line, "(device=? AND time_ms>? AND time_ms<?)") != NULL;
        }
        assert_true(looked_up >= 3);
        db->watch = on_range;
        n_explained++;
}

static void check_range(struct fixture *f, struct export *e, uint64_t from_ms, uint64_t to_ms)
{
        _cleanup_rows_ struct db_rows q = {0};

        e->filter = (struct store_filter){.from_ms = from_ms, .to_ms = to_ms};
        e->db->watch = on_range;
        assert_int_equal(export_range(e), 0);
        e->db->watch = NULL;
        assert_int_equal(
                db_query(e->db,
                         "SELECT coalesce(min(s.first), 0), coalesce(max(s.first), -1) FROM seal s WHERE"
                         " s.device = $1 AND EXISTS (SELECT 1 FROM record r WHERE r.device = s.device AND"
                         " r.seq >= s.first AND r.seq < s.first + s.n AND r.time_ms >= $2 AND r.time_ms < $3)",
                         &q, "iii", f->device.number, (int64_t)from_ms, export_to(e)),
                0);
        assert_int_equal(db_next(&q), 1);
        assert_int_equal(e->cursor, db_int(&q, 0));
        assert_int_equal(e->last, db_int(&q, 1));
}

/* Which batches an export of a time has: all kinds of records count, erased ones too, and the clock was set back. */
static void test_export_range(void **state)
{
        struct fixture *f = *state;
        struct export e = {.db = store_reader(f->s), .devices = &f->device.number, .n_devices = 1};

        script(f->path, "UPDATE record SET class = NULL, kind = 'coverage' WHERE seq % 7 = 0;"
                        "UPDATE record SET class = NULL, kind = 'erased' WHERE seq % 11 = 0;"
                        "UPDATE record SET time_ms = 1100 WHERE seq = 500;"
                        "UPDATE record SET time_ms = 9000 WHERE seq = 20");
        n_explained = 0;
        for (uint64_t from = 990; from < 1620; from += 9)
                for (uint64_t n = 1; n < 500; n *= 5)
                        check_range(f, &e, from, from + n);
        assert_true(n_explained > 100);
        check_range(f, &e, 1300, 0);
        check_range(f, &e, 8000, 10000);
        check_range(f, &e, 2000, 3000);
        e.filter = (struct store_filter){0};
        assert_int_equal(export_range(&e), 0);
        assert_true(e.cursor <= 1);
        assert_int_equal(e.last, (BATCHES - 1) * RECORDS + 1);
}

static int fill(void **state)
{
        struct fixture *f;
        struct made m;
        uint8_t head[CHAIN_HASH_SIZE];

        if (setup(state) < 0)
                return -1;
        f = *state;
        memcpy(head, f->device.head, sizeof(head));
        for (uint64_t i = 0; i < BATCHES; i++) {
                make(&m, i * RECORDS + 1, RECORDS, head);
                assert_int_equal(put(f, &m), 0);
                memcpy(head, m.seal.head, sizeof(head));
        }
        assert_int_equal(store_commit(f->s), 0);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_searches, fill, teardown),
                cmocka_unit_test_setup_teardown(test_others, fill, teardown),
                cmocka_unit_test_setup_teardown(test_export_range, fill, teardown),
        };

        return on_both(tests);
}
