/* SPDX-License-Identifier: GPL-3.0-or-later */
/* When the log takes up what is new, and when it signs: on both databases. */
#include "base/diag.h"
#include "collector/log/log.h"
#include "tests/unit/store-fixture.h"

#define NOW 1790000000000ull

static struct tlog *open_log(struct fixture *f)
{
        struct tlog *l = NULL;
        struct diag d = {0};
        char path[160];

        snprintf(path, sizeof(path), "%s/log.key", f->dir);
        if (tlog_open(f->s, path, "test.example/log", &l, &d) < 0)
                fail_msg("%s", d.text);
        return l;
}

static void act(struct fixture *f)
{
        assert_int_equal(store_audit_add(f->s, &(struct store_audit){1, "dora", "read", "x"}), 0);
        assert_int_equal(store_commit(f->s), 0);
}

/* A tick at that time; the published checkpoint is of this size then, and the log's key has signed it. */
static void tick(struct tlog *l, uint64_t now_ms, uint64_t size)
{
        _cleanup_free_ char *note = NULL;
        struct checkpoint c;
        size_t n;

        assert_int_equal(tlog_tick(l, now_ms, false), 0);
        assert_int_equal(tlog_size(l), size);
        assert_int_equal(tlog_checkpoint(l, &note, &n), 0);
        assert_int_equal(checkpoint_open(note, n, tlog_key(l), &c), 0);
        assert_int_equal(c.head.size, size);
}

/* Every 10 s, when there is something new; a clock that was set back keeps nobody waiting; a crash leaves nothing out. */
static void test_checkpoints(void **state)
{
        struct fixture *f = *state;
        struct tlog *l = open_log(f);
        uint64_t first;

        act(f);
        assert_int_equal(tlog_tick(l, NOW, true), 0);
        first = tlog_size(l);
        act(f);
        tick(l, NOW + 1000, first);
        act(f);
        tick(l, NOW + TLOG_CHECKPOINT_MS - 1, first);
        tick(l, NOW + TLOG_CHECKPOINT_MS, first + 2);
        tick(l, NOW + 5 * TLOG_CHECKPOINT_MS, first + 2);
        act(f);
        tick(l, NOW + 5 * TLOG_CHECKPOINT_MS + 1, first + 3); /* nothing was due for so long */
        act(f);
        tick(l, NOW, first + 4);
        act(f);
        tick(l, NOW + 1, first + 4); /* taken up, not signed yet */
        tlog_free(l);
        l = open_log(f);
        assert_int_equal(tlog_size(l), first + 4);
        tick(l, NOW + TLOG_CHECKPOINT_MS, first + 5);
        tlog_free(l);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_checkpoints, setup, teardown),
        };

        _Static_assert(TLOG_CHECKPOINT_MS == 10000, "as ARCHITECTURE.md says");
        return on_both(tests);
}
