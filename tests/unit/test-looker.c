/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Children that look at what may stand still. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "agent/classify/looker.h"
#include "base/cleanup.h"

enum { WELL = 1, STANDS_STILL, ENDS, IS_SLOW, SLEEPS };

static uint32_t known; /* what the parent knows when a child is made */

static int look(enum lane lane, struct fact *f, struct classification *c, void *userdata)
{
        if (f->tgid == STANDS_STILL || (f->tgid == IS_SLOW && lane != LANE_FOREIGN))
                pause();
        if (f->tgid == ENDS)
                _exit(1);
        if (f->tgid == SLEEPS)
                poll(NULL, 0, 200); /* longer than anybody waits */
        c->channel = (uint16_t)lane;
        c->entry = known;
        strcpy(f->path, "seen");
        return f->tgid == STANDS_STILL || f->tgid > SLEEPS ? -EIO : 0;
}

struct test {
        sd_event *event;
        struct looker *looker;
        unsigned n;
        bool is_in_order; /* the n-th was of user n */
        int r;
        struct fact fact;
        struct classification c;
};

static void on_done(int r, struct fact *f, const struct classification *c, void *userdata)
{
        struct test *t = userdata;

        t->n++;
        t->is_in_order &= f->uid == t->n;
        t->r = r;
        t->fact = *f;
        t->c = *c;
}

/* In microseconds, where nothing stands still: as long as it takes on a machine with much to do. */
#define LONG 60000000

static void test_init(struct test *t, const uint64_t patience_us[static _LANE_MAX])
{
        const struct looker_options o = {.look = look, .done = on_done, .userdata = t, .patience_us = patience_us};

        *t = (struct test){.is_in_order = true};
        known = 7;
        assert_int_equal(sd_event_new(&t->event), 0);
        assert_int_equal(looker_new(t->event, &o, &t->looker), 0);
}

static void test_done(struct test *t)
{
        looker_free(t->looker);
        sd_event_unref(t->event);
}

static int ask(struct test *t, enum lane lane, uint32_t what, uint32_t uid)
{
        t->fact = (struct fact){.tgid = what, .uid = uid};
        t->c = (struct classification){};
        return looker_ask(t->looker, lane, &t->fact, &t->c);
}

/* In the end the answer is there. */
static void wait_for(struct test *t, unsigned n)
{
        while (t->n < n)
                assert_true(sd_event_run(t->event, UINT64_MAX) >= 0);
        assert_int_equal(t->n, n);
}

/* A machine with much to do may not have answered at once. */
static int answer(struct test *t, enum lane lane, uint32_t what, uint32_t uid)
{
        int r = ask(t, lane, what, uid);

        if (r != 1)
                return r;
        wait_for(t, t->n + 1);
        return t->r;
}

static void test_answers(void **state)
{
        static const uint64_t patience_us[] = {LONG, LONG, LONG};
        struct test t;

        test_init(&t, patience_us);
        assert_int_equal(answer(&t, LANE_QUICK, WELL, 1), 0);
        assert_string_equal(t.fact.path, "seen");
        assert_int_equal(t.c.entry, 7);
        known = 8;
        assert_int_equal(answer(&t, LANE_QUICK, WELL, 1), 0);
        assert_int_equal(t.c.entry, 7); /* the child's */
        looker_renew(t.looker);
        assert_int_equal(answer(&t, LANE_QUICK, WELL, 1), 0);
        assert_int_equal(t.c.entry, 8);
        assert_int_equal(answer(&t, LANE_QUICK, 99, 1), -EIO);
        t.n = 0;
        assert_int_equal(ask(&t, LANE_SLOW, WELL, 1), 1);
        assert_int_equal(ask(&t, LANE_FOREIGN, WELL, 1), 1);
        looker_renew(t.looker); /* what waits is asked anew */
        wait_for(&t, 2);
        test_done(&t);
}

/* Who stands still holds up nobody but themselves, and is asked about once more where nobody else waits. */
static void test_stands_still(void **state)
{
        static const uint64_t patience_us[] = {300000, LONG, LONG};
        struct test t;

        test_init(&t, patience_us);
        assert_int_equal(ask(&t, LANE_QUICK, IS_SLOW, 1), 1);
        assert_int_equal(ask(&t, LANE_QUICK, WELL, 2), 1); /* behind it */
        assert_int_equal(ask(&t, LANE_QUICK, STANDS_STILL, 3), 1);
        wait_for(&t, 2); /* of the third one nothing is heard */
        assert_int_equal(answer(&t, LANE_QUICK, WELL, 2), 0);
        assert_int_equal(answer(&t, LANE_SLOW, WELL, 2), 0);
        assert_int_equal(t.c.channel, LANE_SLOW);
        test_done(&t);
}

static void test_ends(void **state)
{
        static const uint64_t patience_us[] = {LONG, LONG, LONG};
        struct test t;

        test_init(&t, patience_us);
        assert_int_equal(ask(&t, LANE_SLOW, ENDS, 1), 1);
        assert_int_equal(ask(&t, LANE_SLOW, WELL, 1), 1);
        wait_for(&t, 1); /* of the first one nothing is heard */
        test_done(&t);
}

static void test_too_many(void **state)
{
        static const uint64_t patience_us[] = {LONG, LONG, LONG};
        struct test t;

        test_init(&t, patience_us);
        for (int i = 0; i < LOOKER_QUEUE_MAX; i++)
                assert_int_equal(ask(&t, LANE_FOREIGN, i ? WELL : STANDS_STILL, 1), 1);
        assert_int_equal(ask(&t, LANE_FOREIGN, WELL, 1), -EBUSY);
        assert_int_equal(answer(&t, LANE_QUICK, WELL, 1), 0);
        test_done(&t);
}

/* Each is answered once and in order, however many the child has at a time. */
static void test_in_order(void **state)
{
        static const uint64_t patience_us[] = {LONG, LONG, LONG};
        struct test t;

        test_init(&t, patience_us);
        for (uint32_t i = 1; i <= LOOKER_QUEUE_MAX; i++) {
                assert_int_equal(ask(&t, LANE_QUICK, i == 1 ? SLEEPS : WELL, i), 1);
                if (i == LOOKER_QUEUE_MAX / 2)
                        looker_renew(t.looker);
        }
        wait_for(&t, LOOKER_QUEUE_MAX);
        assert_true(t.is_in_order);
        test_done(&t);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_answers),  cmocka_unit_test(test_stands_still), cmocka_unit_test(test_ends),
                cmocka_unit_test(test_too_many), cmocka_unit_test(test_in_order),
        };
        sigset_t children;

        sigemptyset(&children);
        sigaddset(&children, SIGCHLD);
        sigprocmask(SIG_BLOCK, &children, NULL); /* sd_event_add_child(3) */
        return cmocka_run_group_tests(tests, NULL, NULL);
}
