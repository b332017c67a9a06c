/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is erased, held or too old; what an older version left. */
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

static void test_retention(void **state)
{
        struct fixture *f = *state;
        const struct store_hold hold = {.reason = "case 7", .who = "eve", .what = {.device = "ws-1", .user = "anna"}};
        struct made old, held, new;
        uint64_t gone;
        int64_t number;
        unsigned months;

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
        assert_int_equal(store_retention_set(f->s, 2), 0);
        assert_int_equal(store_retention_get(f->s, &months), 0);
        assert_int_equal(months, 2);
        purge_all(f, JANUARY + 89 * DAY, &gone); /* 31 March */
        assert_int_equal(gone, 0);
        purge_all(f, JANUARY + 90 * DAY, &gone); /* 1 April: January goes, but for what is held with its seal */
        assert_int_equal(gone, RECORDS);
        assert_int_equal(n_records(f), RECORDS + 3);
        check_walk(f, &held.seal, 3);
        assert_int_equal(store_hold_release(f->s, number, JANUARY + 91 * DAY), 0);
        purge_all(f, JANUARY + 91 * DAY, &gone);
        assert_int_equal(gone, RECORDS);
        purge_all(f, JANUARY + 200 * DAY, &gone);
        assert_int_equal(gone, 3);
        assert_int_equal(n_records(f), 0);
        assert_int_equal(next_of(f), 16);
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

/* Tables of version 1, with what was in them, to the newest: all of it is there and verifies as before. */
static void test_upgrade(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *text = NULL;
        static const uint8_t hash[STORE_HASH_SIZE] = {9};
        struct store_filter filter = {.device = "ws-old-1", .limit = 20};
        struct store_cursor end;
        struct store_session session;
        struct diag d = {0};
        char path[160];
        uint64_t n;
        bool exact;

        if (on_postgres) /* it came with version 2 */
                skip();
        text = file_text("store-1.sql");
        snprintf(path, sizeof(path), "%s/old", f->dir);
        script(path, text);
        store_free(f->s);
        f->s = NULL;
        assert_int_equal(store_open(path, 0, &f->s, &d), -ENOPKG);
        assert_int_equal(store_open(path, STORE_MIGRATE, &f->s, &d), 0);
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
                cmocka_unit_test_setup_teardown(test_erase, setup, teardown),
                cmocka_unit_test_setup_teardown(test_retention, setup, teardown),
                cmocka_unit_test_setup_teardown(test_upgrade, setup, teardown),
        };

        return on_both(tests);
}
