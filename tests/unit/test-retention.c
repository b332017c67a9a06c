/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is erased, held or too old; what an older version left. */
#include "base/text.h"
#include "collector/store/purges.h"
#include "tests/unit/store-fixture.h"

/* The chain from prev to head, erased records by their commitment. */
struct walk {
        uint8_t at[CHAIN_HASH_SIZE];
        unsigned n, erased;
};

static int walk(const struct store_row *row, void *userdata)
{
        struct walk *w = userdata;

        if (row->erased_ms)
                chain_link("d-test", row->seq, w->at, row->commitment, w->at);
        else
                chain_next("d-test", row->seq, w->at, row->salt, row->body, row->body_size, w->at);
        assert_memory_equal(w->at, row->hash, CHAIN_HASH_SIZE);
        if (row->erased_ms) {
                assert_null(row->user);
                assert_null(row->program);
                assert_int_equal(row->body_size, 0);
        }
        w->n++;
        w->erased += row->erased_ms > 0;
        return 0;
}

static void check_walk(struct fixture *f, const struct chain_seal *seal, unsigned erased)
{
        struct walk w = {0};

        memcpy(w.at, seal->prev, sizeof(w.at));
        assert_int_equal(store_records(f->s, f->device.number, seal->first, seal->n, walk, &w), 0);
        assert_int_equal(w.n, seal->n);
        assert_int_equal(w.erased, erased);
        assert_memory_equal(w.at, seal->head, sizeof(w.at));
}

static void test_erase(void **state)
{
        struct fixture *f = *state;
        const struct store_selection anna = {.user = "anna"}, nobody = {.device = "ws-9"};
        const struct store_hold hold = {.reason = "case 7", .who = "eve", .what = {.channel = "signal"}};
        struct store_cursor end;
        struct seen s = {0};
        struct made m;
        uint64_t erased, held;
        int64_t number;
        bool more;

        make(&m, 1, RECORDS, f->device.head); /* 1, 3, 5: anna; 1, 4: signal */
        assert_int_equal(put(f, &m), 0);
        assert_int_equal(store_commit(f->s), 0);
        assert_int_equal(store_erase(f->s, &nobody, 7000, &erased, &held), -ENOENT);
        assert_int_equal(store_hold_add(f->s, &hold, &number), 0);
        assert_int_equal(store_erase(f->s, &anna, 7000, &erased, &held), 0);
        assert_int_equal(erased, 2);
        assert_int_equal(held, 1);
        check_walk(f, &m.seal, 2);
        assert_int_equal(store_violations(f->s, &(struct store_filter){.limit = 6}, see, &s, &end, &more), 0);
        assert_int_equal(s.n, 4);
        assert_int_equal(store_hold_release(f->s, number, 8000), 0);
        assert_int_equal(store_hold_release(f->s, number, 8000), -ENOENT);
        assert_int_equal(store_erase(f->s, &anna, 8000, &erased, &held), 0);
        assert_int_equal(erased, 1);
        assert_int_equal(held, 0);
        check_walk(f, &m.seal, 3);
}

#define JANUARY 1767225600000ull /* 2026-01-01 */
#define DAY     86400000ull

static void purge_all(struct fixture *f, uint64_t now_ms, uint64_t *ret_gone)
{
        struct store_purge p;

        *ret_gone = 0;
        do {
                assert_int_equal(store_purge(f->s, now_ms, 4, &p), 0);
                *ret_gone += p.n_gone;
        } while (p.more || p.n_gone > 0);
}

static void rule(struct fixture *f, struct store_rule r)
{
        assert_int_equal(store_rule_set(f->s, &r), 0);
        assert_int_equal(store_commit(f->s), 0);
}

/* What the audit trail says was removed and held is what the seals are marked as. */
static void check_marks(struct fixture *f, uint64_t gone, uint64_t held)
{
        _cleanup_rows_ struct db_rows seals = {0}, lines = {0};
        struct batches of_seals[2] = {0}, of_lines[2] = {0};

        assert_int_equal(db_query(store_db(f->s), "SELECT head, coalesce(gone, 0) FROM seal", &seals, ""), 0);
        while (db_next(&seals) > 0)
                for (int i = 0; i < 2; i++)
                        if (db_int(&seals, 1) & (i ? SEAL_HELD : SEAL_GONE))
                                batches_add(&of_seals[i], db_blob(&seals, 0, &(size_t){0}));
        db_rows_done(&seals);
        assert_int_equal(
                db_query(store_db(f->s), "SELECT detail FROM admin_audit WHERE action = 'purge'", &lines, ""), 0);
        while (db_next(&lines) > 0) {
                struct purge p;

                assert_true(purge_parse(db_text(&lines, 0), &p));
                batches_join(&of_lines[0], &p.gone);
                batches_join(&of_lines[1], &p.held);
        }
        assert_int_equal(of_seals[0].n, gone);
        assert_int_equal(of_seals[1].n, held);
        assert_true(batches_equal(&of_seals[0], &of_lines[0]) && batches_equal(&of_seals[1], &of_lines[1]));
}

static void test_purge_text(void **state)
{
        static const char *const bad[] = {"", "month x: 1 records removed",
                                          "month 202601: 1 records removed; batches gone: 1 00",
                                          "month 202601: 1 records removed one by one; batches gone: x"};
        struct purge p = {.month = 202601, .n_gone = 9, .n_held = 2, .whole = true, .held = {1, {0xab}}}, q;
        _cleanup_buf_ struct buf b = {0};

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_false(purge_parse(bad[i], &q));
        assert_true(purge_parse("month 202512: 7 records removed", &q)); /* of an older version */
        assert_true(q.whole && q.month == 202512 && q.gone.n == 0);
        for (int whole = 0; whole < 2; whole++) {
                b.size = 0;
                p.whole = whole;
                purge_format(&b, &p);
                buf_add(&b, "", 1);
                assert_true(purge_parse((const char *)b.data, &q));
                assert_true(q.whole == whole && q.month == p.month && q.n_gone == 9 && q.gone.n == 0);
                assert_true(batches_equal(&q.held, &p.held));
        }
}

static void test_retention(void **state)
{
        struct fixture *f = *state;
        const struct store_hold hold = {.reason = "case 7", .who = "eve", .what = {.device = "ws-1", .user = "anna"}};
        struct made old, held, new;
        uint64_t gone;
        int64_t number;

        make(&old, 1, RECORDS, f->device.head);
        make(&held, 7, RECORDS, old.seal.head);
        make(&new, 13, 3, held.seal.head);
        for (unsigned i = 0; i < RECORDS; i++)
                old.rows[i].user = "ben";
        assert_int_equal(schema_partition(store_db(f->s), 202601), 0); /* February's records go to the other one */
        assert_int_equal(put_at(f, &old, JANUARY), 0);
        assert_int_equal(put_at(f, &held, JANUARY + DAY), 0);
        assert_int_equal(put_at(f, &new, JANUARY + 40 * DAY), 0);
        assert_int_equal(store_commit(f->s), 0);
        assert_int_equal(store_hold_add(f->s, &hold, &number), 0);

        purge_all(f, JANUARY + 1000 * DAY, &gone);
        assert_int_equal(gone, 0); /* no rule: for ever */
        rule(f, (struct store_rule){.months = 2});
        purge_all(f, JANUARY + 89 * DAY, &gone); /* 31 March */
        assert_int_equal(gone, 0);
        purge_all(f, JANUARY + 90 * DAY, &gone); /* 1 April: January goes, but for what is held with its seal */
        assert_int_equal(gone, RECORDS);
        assert_int_equal(n_records(f), RECORDS + 3);
        check_walk(f, &held.seal, 3);
        assert_int_equal(store_hold_release(f->s, number, JANUARY + 91 * DAY), 0);
        purge_all(f, JANUARY + 91 * DAY, &gone);
        assert_int_equal(gone, 3); /* the others were links already */
        assert_int_equal(n_records(f), 3);
        purge_all(f, JANUARY + 200 * DAY, &gone);
        assert_int_equal(gone, 3);
        assert_int_equal(n_records(f), 0);
        assert_int_equal(next_of(f), 16);
        check_marks(f, 1, 1);
}

/* Rules, and how many of records 1 to 6 of ws-1 go when 4 months are over: signal, discord, whatsapp, and again; class use. */
static const struct {
        struct store_rule rules[3];
        unsigned gone;
} held_by[] = {
        {{{.months = 3}}, 6},
        {{{.months = 4}}, 0},
        {{{.months = 12}, {.channel = "signal", .months = 3}}, 2},
        {{{.months = 3}, {.channel = "signal", .months = 12}}, 4},
        {{{.months = 3}, {.channel = "signal"}}, 4},
        {{{.channel = "signal", .months = 3}}, 2}, /* no rule: for ever */
        {{{.months = 12}, {.channel = "signal", .months = 3}, {.channel = "signal", .months = 12}}, 0}, /* replaced */
        {{{.months = 12}, {.device = "ws-?", .months = 3}}, 6},
        {{{.months = 12}, {.device = "*-1", .months = 3}}, 6},
        {{{.months = 12}, {.device = "ws-", .months = 3}}, 0},
        {{{.months = 12}, {.device = "WS-*", .months = 3}}, 0},
        {{{.months = 12}, {.device = "w%", .months = 3}}, 0},
        {{{.months = 12}, {.device = "w_-1", .months = 3}}, 0},
        {{{.months = 3}, {.class = "bypass", .months = 12}}, 6},
        {{{.class = "use", .months = 3}, {.device = "ws-1", .months = 12}}, 0}, /* device before class */
        {{{.device = "ws-1", .months = 12}, {.channel = "signal", .months = 3}}, 2}, /* channel before device */
        {{{.channel = "signal", .months = 12}, {.device = "ws-*", .class = "use", .months = 3}},
         6}, /* two before one */
        {{{.channel = "signal", .months = 12}, {.device = "ws-*", .channel = "signal", .months = 3}}, 2},
        {{{.device = "ws-*", .months = 3}, {.device = "ws-1", .months = 12}}, 0}, /* the longer pattern */
        {{{.device = "ws-*", .months = 3}, {.device = "*s-1", .months = 12}}, 0}, /* else the longer time */
        {{{.device = "ws-*"}, {.device = "*s-1", .months = 3}}, 0},
};

static int due_add(const struct store_due *due, void *userdata)
{
        struct store_due *sum = userdata;

        sum->n_gone += due->n_gone;
        sum->n_held += due->n_held;
        sum->month = due->month;
        return 0;
}

static int rule_number(const struct store_rule *r, void *userdata)
{
        *(int64_t *)userdata = r->number;
        return 0;
}

static struct store_due due(struct fixture *f, uint64_t now_ms, const struct store_rule *more)
{
        struct store_due sum = {0};

        assert_int_equal(store_due(f->s, now_ms, more, due_add, &sum), 0);
        return sum;
}

#define MAY (JANUARY + 120 * DAY)

static void test_which_rule_holds(void **state)
{
        struct fixture *f = *state;
        struct made m;

        make(&m, 1, RECORDS, f->device.head);
        assert_int_equal(put_at(f, &m, JANUARY + DAY), 0);
        assert_int_equal(store_commit(f->s), 0);
        for (size_t i = 0; i < ELEMENTSOF(held_by); i++) {
                struct store_due sum = {0};
                int64_t number = 0;

                for (size_t k = 0; k < 3; k++) {
                        const struct store_rule *r = &held_by[i].rules[k];

                        if (!r->months && !r->channel && !r->device)
                                continue;
                        sum = due(f, MAY, r); /* as if it were set */
                        rule(f, *r);
                }
                if (sum.n_gone != held_by[i].gone || due(f, MAY, NULL).n_gone != held_by[i].gone)
                        fail_msg("case %zu: %llu go, not %u", i, (unsigned long long)sum.n_gone, held_by[i].gone);
                for (; store_rules(f->s, rule_number, &number) == 0 && number; number = 0)
                        assert_int_equal(store_rule_remove(f->s, number), 0);
        }
        assert_int_equal(store_rule_remove(f->s, 1), -ENOENT);
        for (unsigned i = 0; i <= STORE_RULES_MAX; i++) {
                char name[8];

                snprintf(name, sizeof(name), "c%u", i);
                assert_int_equal(store_rule_set(f->s, &(struct store_rule){.channel = name, .months = 1 + i}),
                                 i < STORE_RULES_MAX ? 0 : -E2BIG);
        }
        assert_int_equal(due(f, MAY, NULL).n_gone, 0); /* a hundred rules in one question */
}

static bool has_partition(struct fixture *f, const char *name)
{
        int64_t n = 0;

        assert_int_equal(db_number(store_db(f->s), "SELECT count(*) FROM pg_catalog.pg_tables WHERE tablename = $1",
                                   &n, "t", name),
                         1);
        return n > 0;
}

/* Single records go out of months of which others stay; the chain over them holds. */
static void test_rules(void **state)
{
        struct fixture *f = *state;
        const struct store_hold hold = {
                .reason = "case 7", .who = "eve", .what = {.channel = "signal", .user = "anna"}};
        struct store_due sum;
        struct made mixed, signal, february, march;
        uint64_t gone;
        int64_t number;

        make(&mixed, 1, RECORDS, f->device.head);
        make(&signal, 7, RECORDS, mixed.seal.head);
        make(&february, 13, RECORDS, signal.seal.head);
        make(&march, 19, RECORDS, february.seal.head);
        for (unsigned i = 0; i < RECORDS; i++) {
                signal.rows[i].channel = march.rows[i].channel = "signal";
                signal.rows[i].user = march.rows[i].user = "ben";
        }
        assert_int_equal(schema_partition(store_db(f->s), 202601), 0); /* February's records go to the other one */
        assert_int_equal(schema_partition(store_db(f->s), 202603), 0);
        assert_int_equal(put_at(f, &mixed, JANUARY), 0);
        assert_int_equal(put_at(f, &signal, JANUARY + DAY), 0);
        assert_int_equal(put_at(f, &february, JANUARY + 40 * DAY), 0);
        assert_int_equal(put_at(f, &march, JANUARY + 70 * DAY), 0);
        assert_int_equal(store_commit(f->s), 0);
        assert_int_equal(store_hold_add(f->s, &hold, &number), 0);
        rule(f, (struct store_rule){.months = 6});
        rule(f, (struct store_rule){.channel = "signal", .months = 2});

        sum = due(f, JANUARY + 90 * DAY, NULL); /* 1 April */
        assert_int_equal(sum.n_gone, 7);
        assert_int_equal(sum.n_held, 1);
        assert_int_equal(sum.month, 202601);
        purge_all(f, JANUARY + 90 * DAY, &gone);
        assert_int_equal(gone, 7);
        assert_int_equal(n_records(f), 3 * RECORDS); /* of the batch that was all signal nothing is left */
        check_walk(f, &mixed.seal, 1);
        check_walk(f, &february.seal, 0);
        purge_all(f, JANUARY + 91 * DAY, &gone);
        assert_int_equal(gone, 0);
        assert_int_equal(store_hold_release(f->s, number, JANUARY + 91 * DAY), 0);
        purge_all(f, JANUARY + 91 * DAY, &gone);
        assert_int_equal(gone, 1);
        rule(f, (struct store_rule){.channel = "discord", .device = "ws-*", .months = 1}); /* 2, 5; 14, 17 */
        purge_all(f, JANUARY + 91 * DAY, &gone);
        assert_int_equal(gone, 4);
        check_walk(f, &mixed.seal, 4);
        check_walk(f, &february.seal, 2);

        if (on_postgres)
                assert_true(has_partition(f, "record_202603"));
        purge_all(f, JANUARY + 151 * DAY,
                  &gone); /* 1 June: February's two; March is one partition with signal alone */
        assert_int_equal(gone, 2 + RECORDS);
        check_walk(f, &february.seal, 4);
        assert_int_equal(n_records(f), 2 * RECORDS);
        if (on_postgres)
                assert_false(has_partition(f, "record_202603"));
        purge_all(f, JANUARY + 212 * DAY, &gone); /* 1 August: all of January */
        assert_int_equal(n_records(f), RECORDS);
        assert_int_equal(next_of(f), 25);
        check_marks(f, on_postgres ? 1 : 2, 0); /* a partition goes unmarked */
}

/* A hold outlives the month, and what it held goes by the rules of the time when it is released. */
static void test_rules_after_a_hold(void **state)
{
        struct fixture *f = *state;
        const struct store_hold hold = {.reason = "case 7", .who = "eve", .what = {.device = "ws-1", .user = "anna"}};
        struct made m;
        uint64_t gone;
        int64_t number;

        make(&m, 1, RECORDS, f->device.head);
        assert_int_equal(put_at(f, &m, JANUARY), 0);
        assert_int_equal(store_commit(f->s), 0);
        assert_int_equal(store_hold_add(f->s, &hold, &number), 0);
        rule(f, (struct store_rule){.months = 2});
        purge_all(f, MAY, &gone);
        check_walk(f, &m.seal, 3);
        rule(f, (struct store_rule){.channel = "signal", .months = 9});
        assert_int_equal(store_hold_release(f->s, number, MAY), 0);
        assert_int_equal(due(f, MAY, NULL).n_gone, 2);
        purge_all(f, MAY, &gone); /* 3, 5; 1 is signal */
        assert_int_equal(gone, 2);
        check_walk(f, &m.seal, 5);
        purge_all(f, JANUARY + 400 * DAY, &gone);
        assert_int_equal(gone, 1);
        assert_int_equal(n_records(f), 0);
        check_marks(f, 1, 1);
}

#define MANY 110 /* batches; of each five records go: more than are erased at once */

static void test_rules_in_turns(void **state)
{
        struct fixture *f = *state;
        struct store_purge p;
        struct made m;
        uint8_t head[CHAIN_HASH_SIZE];
        uint64_t gone = 0;

        memcpy(head, f->device.head, sizeof(head));
        for (unsigned i = 0; i < MANY; i++) {
                make(&m, 1 + i * RECORDS, RECORDS, head);
                m.rows[0].class = "bypass";
                memcpy(head, m.seal.head, sizeof(head));
                assert_int_equal(put_at(f, &m, JANUARY + i), 0);
        }
        assert_int_equal(store_commit(f->s), 0);
        rule(f, (struct store_rule){.class = "use", .months = 1});
        assert_int_equal(store_purge(f->s, MAY, 4, &p), 0);
        assert_in_range(p.n_gone, 4, 5 * MANY - 1);
        assert_true(p.more);
        purge_all(f, MAY, &gone);
        assert_int_equal(gone + p.n_gone, 5 * MANY);
        check_walk(f, &m.seal, 5);
}

#define LATER     1990000000000ull /* 2033-01: the collector's clock jumped ahead, so no partition was prepared */
#define LATER_SQL "SELECT count(*) FROM record_other"

static void test_month_not_prepared(void **state)
{
        struct fixture *f = *state;
        struct made m;
        int64_t left = 0;

        make(&m, 1, RECORDS, f->device.head);
        assert_int_equal(put_at(f, &m, LATER), 0);
        assert_int_equal(store_commit(f->s), 0);
        if (on_postgres)
                assert_true(db_number(store_db(f->s), LATER_SQL, &left, "") == 1 && left == RECORDS);
        for (int i = 0; i < 2; i++)
                assert_int_equal(schema_partition(store_db(f->s), schema_month(LATER)), 0);
        assert_int_equal(store_commit(f->s), 0);
        if (on_postgres)
                assert_true(db_number(store_db(f->s), LATER_SQL, &left, "") == 1 && left == 0);
        check_walk(f, &m.seal, 0);
        assert_int_equal(n_records(f), RECORDS);
}

/* The one rule that there was before. */
static void test_upgrade_rule(void **state)
{
        struct fixture *f = *state;
        _cleanup_(db_freep) struct db *db = NULL;
        int64_t months = 0;
        char path[160];

        snprintf(path, sizeof(path), "%s/eight", f->dir);
        if (on_postgres)
                script(f->path, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        assert_int_equal(db_open(on_postgres ? f->path : path, DB_CREATE, &db, NULL), 0);
        assert_int_equal(schema_apply(db, 8), 0);
        assert_int_equal(db_script(db, "INSERT INTO setting VALUES ('retention-months', '7')"), 0);
        assert_int_equal(db_commit(db), 0);
        assert_int_equal(schema_apply(db, schema_version), 0);
        assert_int_equal(db_number(db, "SELECT months FROM retention_rule WHERE class IS NULL", &months, ""), 1);
        assert_int_equal(months, 7);
}

static char *file_text(const char *name)
{
        const char *source = getenv("ONCHANNEL_SOURCE");
        char path[512], *text;
        size_t size;

        snprintf(path, sizeof(path), "%s/tests/unit/fixtures/%s", source ? source : ".", name);
        assert_int_equal(file_read(path, 1 << 20, &text, &size), 0);
        return text;
}

/* The rows of store-1.sql in the tables of version 2, PostgreSQL's first: bytes are written otherwise, a table has another
 * name, and records have a month (202611), and were not erased. */
static void postgres_rows(const char *text, struct buf *ret)
{
        for (const char *line = text, *end; *line; line = end + (*end == '\n')) {
                bool is_record = text_starts_with(line, "INSERT INTO record ");

                end = strchrnul(line, '\n');
                if (!text_starts_with(line, "INSERT INTO ") || text_starts_with(line, "INSERT INTO sqlite"))
                        continue;
                if (text_starts_with(line, "INSERT INTO user ")) {
                        buf_add_string(ret, "INSERT INTO account ");
                        line += strlen("INSERT INTO user ");
                }
                for (; line < end; line++)
                        if (text_starts_with(line, "X'"))
                                buf_add_string(ret, "'\\x"), line++;
                        else if (is_record && line == end - 2)
                                buf_add_string(ret, ",202611,NULL,NULL)");
                        else
                                buf_add(ret, line, 1);
        }
        buf_add(ret, "", 1);
        assert_int_equal(buf_error(ret), 0);
}

static void make_old(struct fixture *f, const char *path)
{
        _cleanup_free_ char *text = file_text("store-1.sql");
        _cleanup_(db_freep) struct db *db = NULL;
        _cleanup_buf_ struct buf rows = {0};

        if (!on_postgres) {
                script(path, text);
                return;
        }
        script(path, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        assert_int_equal(db_open(path, DB_CREATE, &db, NULL), 0);
        assert_int_equal(schema_apply(db, 2), 0);
        postgres_rows(text, &rows);
        if (db_script(db, (const char *)rows.data) < 0)
                fail_msg("%s", db_error(db));
}

/* The first tables of either database, with what was in them, to the newest: all of it is there and verifies as before. */
static void test_upgrade(void **state)
{
        struct fixture *f = *state;
        static const uint8_t hash[STORE_HASH_SIZE] = {9};
        struct store_filter filter = {.device = "ws-old-1", .limit = 20};
        struct store_cursor end;
        struct store_session session;
        struct diag d = {0};
        char path[160];
        uint64_t n;
        bool exact;

        store_free(f->s);
        f->s = NULL;
        snprintf(path, sizeof(path), "%s/old", f->dir);
        if (on_postgres)
                snprintf(path, sizeof(path), "%s", f->path);
        make_old(f, path);
        assert_int_equal(store_open(path, 0, &f->s, &d), -ENOPKG);
        if (store_open(path, STORE_MIGRATE, &f->s, &d) < 0)
                fail_msg("%s", d.text);
        assert_int_equal(store_count(f->s, &filter, 100, &n, &exact), 0);
        assert_int_equal(n, 12);
        filter.user = "anna";
        assert_int_equal(store_violations(f->s, &filter, count_row, &(unsigned){0}, &end, &exact), 0);
        assert_int_equal(store_device_get(f->s, "d-hqouovpw3urci25chpqfw6ip", &f->device), 0);
        assert_int_equal(f->device.next_seq, 13);
        assert_int_equal(n_records(f), 12);
        assert_int_equal(store_session_add(f->s, hash, "admin", 2000), 0);
        assert_int_equal(store_commit(f->s), 0);
        assert_int_equal(store_session_get(f->s, hash, 1, &session), 0);
        assert_string_equal(session.role, "admin");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_purge_text),
                cmocka_unit_test_setup_teardown(test_erase, setup, teardown),
                cmocka_unit_test_setup_teardown(test_retention, setup, teardown),
                cmocka_unit_test_setup_teardown(test_which_rule_holds, setup, teardown),
                cmocka_unit_test_setup_teardown(test_rules, setup, teardown),
                cmocka_unit_test_setup_teardown(test_rules_after_a_hold, setup, teardown),
                cmocka_unit_test_setup_teardown(test_rules_in_turns, setup, teardown),
                cmocka_unit_test_setup_teardown(test_month_not_prepared, setup, teardown),
                cmocka_unit_test_setup_teardown(test_upgrade_rule, setup, teardown),
                cmocka_unit_test_setup_teardown(test_upgrade, setup, teardown),
        };

        return on_both(tests);
}
