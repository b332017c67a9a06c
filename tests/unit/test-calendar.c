/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What coverage records with holes prove of each day, and no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/api/calendar.h"

#define DAY0 (20000 * CALENDAR_DAY_MS)
#define HOUR 3600000ull
#define MIN  60000ull
#define LATE (HOUR + CALENDAR_LATE_MS)

static struct calendar calendar;
static uint64_t next_seq;

/* A record `at` ms after the first day began; its next one is due within the hour. */
static struct cover_record beat(uint64_t at)
{
        return (struct cover_record){.seq = ++next_seq,
                                     .time_ms = DAY0 + at,
                                     .boottime_ms = HOUR + at,
                                     .heartbeat_ms = HOUR,
                                     .boot = "one",
                                     .in_force = true,
                                     .is_known = true};
}

static void add(struct cover_record r)
{
        assert_int_equal(calendar_add(&calendar, &r), 0);
}

static void beats(uint64_t from, uint64_t to)
{
        for (uint64_t at = from; at <= to; at += HOUR)
                add(beat(at));
}

static int setup(void **state)
{
        next_seq = 0;
        calendar = (struct calendar){.from_ms = DAY0, .now_ms = DAY0 + 3 * CALENDAR_DAY_MS, .n_days = 3};
        return 0;
}

static int teardown(void **state)
{
        calendar_done(&calendar);
        return 0;
}

static void assert_day(const json_t *o, size_t day, const char *state, const char *words)
{
        const json_t *d = json_array_get(json_object_get(o, "days"), day), *n;
        char text[256] = "";
        const char *name;

        json_object_foreach(json_object_get((json_t *)d, "minutes"), name, n)
                sprintf(text + strlen(text), "%s%s %lld", *text ? ", " : "", name, (long long)json_integer_value(n));
        assert_string_equal(text, words);
        assert_string_equal(json_string_value(json_object_get(d, "state")), state);
}

static void assert_hole(const json_t *o, uint64_t from, uint64_t to, const char *state)
{
        const json_t *h = json_array_get(json_object_get(o, "holes"), 0);

        assert_int_equal(json_array_size(json_object_get(o, "holes")), 1);
        assert_int_equal(json_integer_value(json_object_get(h, "from")), DAY0 + from);
        assert_int_equal(json_integer_value(json_object_get(h, "to")), DAY0 + to);
        assert_string_equal(json_string_value(json_object_get(h, "state")), state);
}

static void test_unbroken(void **state)
{
        json_auto_t *o = NULL;

        beats(0, 72 * HOUR);
        o = calendar_json(&calendar);
        for (size_t d = 0; d < 3; d++)
                assert_day(o, d, "covered", "covered 1440");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "counts"), "covered")), 3);
        assert_int_equal(json_array_size(json_object_get(o, "holes")), 0);
        assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(o, "days"), 0), "day")),
                            "2024-10-04");
}

static void test_nothing(void **state)
{
        json_auto_t *o = calendar_json(&calendar);

        for (size_t d = 0; d < 3; d++)
                assert_day(o, d, "none", "");
}

static void test_hole(void **state)
{
        json_auto_t *o = NULL;

        beats(0, 10 * HOUR);
        beats(13 * HOUR, 72 * HOUR);
        o = calendar_json(&calendar);
        assert_day(o, 0, "gap", "covered 1260, gap 180");
        assert_day(o, 1, "covered", "covered 1440");
        assert_hole(o, 10 * HOUR, 13 * HOUR, "gap");
}

static void test_late_is_no_hole(void **state)
{
        struct cover_record r = beat(0);
        json_auto_t *o = NULL, *later = NULL;

        add(r);
        add(beat(LATE));
        beats(LATE + HOUR, 72 * HOUR);
        o = calendar_json(&calendar);
        assert_string_equal(
                json_string_value(json_object_get(json_array_get(json_object_get(o, "days"), 0), "state")),
                "covered");
        calendar_done(&calendar);
        setup(state);
        add(beat(0));
        add(beat(LATE + 1));
        later = calendar_json(&calendar);
        assert_string_equal(
                json_string_value(json_object_get(json_array_get(json_object_get(later, "days"), 0), "state")),
                "gap");
}

/* The agent was killed at ten and started at one: it says so, but for no longer than it says. */
static void test_explained(void **state)
{
        struct cover_record told = beat(13 * HOUR);
        json_auto_t *o = NULL;

        beats(0, 10 * HOUR);
        told.seq = next_seq += 1;
        told.is_gap = true;
        told.gap_ms = 3 * HOUR;
        strcpy(told.detail, "the agent did not run");
        add(told);
        beats(13 * HOUR, 72 * HOUR);
        o = calendar_json(&calendar);
        assert_day(o, 0, "explained", "covered 1260, explained 180");
        assert_hole(o, 10 * HOUR, 13 * HOUR, "explained");
}

static void test_explained_in_part(void **state)
{
        struct cover_record told;
        json_auto_t *o = NULL;

        beats(0, 10 * HOUR);
        told = beat(14 * HOUR);
        told.is_gap = true;
        told.gap_ms = HOUR;
        add(told);
        beats(14 * HOUR, 72 * HOUR);
        o = calendar_json(&calendar);
        assert_day(o, 0, "gap", "covered 1200, explained 60, gap 180");
}

/* Off from six in the evening to eight: shut down in order, another boot. A day that is off as a whole is off. */
static void test_off(void **state)
{
        struct cover_record stop, start;
        json_auto_t *o = NULL;

        beats(0, 17 * HOUR);
        stop = beat(18 * HOUR);
        stop.is_stop = true;
        add(stop);
        start = beat(56 * HOUR);
        start.is_start = true;
        strcpy(start.boot, "two");
        start.boottime_ms = 1;
        add(start);
        for (uint64_t at = 57 * HOUR; at <= 72 * HOUR; at += HOUR) {
                struct cover_record r = beat(at);

                strcpy(r.boot, "two");
                add(r);
        }
        o = calendar_json(&calendar);
        assert_day(o, 0, "covered", "off 360, covered 1080");
        assert_day(o, 1, "off", "off 1440");
        assert_day(o, 2, "covered", "off 480, covered 960");
}

/* Asleep for six hours, which the first record after it says. */
static void test_slept(void **state)
{
        struct cover_record awake;
        json_auto_t *o = NULL;

        beats(0, 10 * HOUR);
        awake = beat(16 * HOUR + 30 * MIN);
        awake.is_gap = awake.is_sleep = true;
        awake.gap_ms = 6 * HOUR;
        add(awake);
        beats(17 * HOUR, 72 * HOUR);
        o = calendar_json(&calendar);
        assert_day(o, 0, "covered", "off 360, covered 1080");
        assert_int_equal(json_array_size(json_object_get(o, "holes")), 0);
}

/* Stopped while the machine went on: that is no machine that is off. */
static void test_stopped(void **state)
{
        struct cover_record stop;
        json_auto_t *o = NULL;

        beats(0, 10 * HOUR);
        stop = beat(10 * HOUR + MIN);
        stop.is_stop = true;
        add(stop);
        beats(14 * HOUR + MIN, 72 * HOUR);
        o = calendar_json(&calendar);
        assert_day(o, 0, "explained", "covered 1200, explained 240");
}

static void test_monitor_and_doubt(void **state)
{
        struct cover_record r;
        json_auto_t *o = NULL;

        r = beat(0);
        r.in_force = false;
        add(r);
        beats(HOUR, 25 * HOUR);
        r = beat(26 * HOUR);
        r.in_doubt = true;
        add(r);
        for (uint64_t at = 27 * HOUR; at <= 72 * HOUR; at += HOUR) {
                r = beat(at);
                r.lost = at >= 50 * HOUR ? 7 : 0;
                add(r);
        }
        o = calendar_json(&calendar);
        assert_day(o, 0, "monitor", "covered 1380, monitor 60");
        assert_day(o, 1, "doubt", "covered 1320, doubt 120"); /* before it and after it */
        assert_day(o, 2, "doubt", "covered 1380, doubt 60"); /* lost between 49 and 50 */
}

static void test_silent(void **state)
{
        json_auto_t *o = NULL;

        beats(0, 30 * HOUR);
        o = calendar_json(&calendar);
        assert_day(o, 0, "covered", "covered 1440");
        assert_day(o, 1, "silent", "covered 421, silent 1019");
        assert_day(o, 2, "silent", "silent 1440");
        assert_hole(o, 30 * HOUR + LATE, 72 * HOUR, "silent");
}

/* Set forward by two days, seen by the machine's own clock; and back, so that times overlap: the worse counts. */
static void test_clock(void **state)
{
        struct cover_record r;
        json_auto_t *o = NULL, *back = NULL;

        beats(0, 5 * HOUR);
        r = beat(53 * HOUR);
        r.boottime_ms -= 48 * HOUR - HOUR / 2;
        r.boottime_ms -= HOUR / 2;
        add(r);
        o = calendar_json(&calendar);
        assert_day(o, 1, "explained", "explained 1440");
        calendar_done(&calendar);
        setup(state);
        beats(0, 10 * HOUR);
        r = beat(4 * HOUR);
        r.in_doubt = true;
        add(r);
        beats(5 * HOUR, 72 * HOUR);
        back = calendar_json(&calendar);
        assert_day(back, 0, "doubt", "covered 1380, doubt 60");
}

static void test_order_and_erased(void **state)
{
        struct cover_record first = beat(0), second = beat(HOUR), third = beat(2 * HOUR);
        json_auto_t *o = NULL;

        second.is_known = false;
        calendar.now_ms = DAY0 + 3 * HOUR;
        add(third);
        add(first);
        add(second);
        o = calendar_json(&calendar);
        assert_day(o, 0, "gap", "covered 60, gap 120");
}

#define RECORD(coverage)                                                                                             \
        "{\"time\":1700000000000,\"metadata\":{\"sequence\":7},\"device\":{\"boot_uid\":\"b\"},"                     \
        "\"unmapped\":{\"onchannel\":{\"boottime_ms\":5000,\"coverage\":" coverage "}}}"

static void test_parse(void **state)
{
        static const char *const bad[] = {
                "", "{}", "[]", "null", RECORD("{}"), RECORD("[]"), RECORD("{\"event\":7}")};
        static const char good[] = RECORD("{\"event\":\"gap\",\"mode\":\"enforce\",\"self_test_passed\":true,"
                                          "\"gap_ms\":3000,\"heartbeat\":300,\"lost\":2,\"detail\":\"a\\nb\"}");
        static const char passed[] =
                RECORD("{\"event\":\"heartbeat\",\"self_test_passed\":true,\"canary\":\"passed\","
                       "\"heartbeat\":99999999999,\"gap_ms\":-1}");
        struct cover_record r = {0};

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(cover_record_parse(bad[i], strlen(bad[i]), &r), -EBADMSG);
        assert_int_equal(cover_record_parse(good, strlen(good), &r), 0);
        assert_true(r.is_gap && r.in_force && r.is_known && !r.in_doubt && !r.is_stop);
        assert_int_equal(r.seq, 7);
        assert_int_equal(r.gap_ms, 3000);
        assert_int_equal(r.heartbeat_ms, 300000);
        assert_int_equal(r.lost, 2);
        assert_string_equal(r.boot, "b");
        assert_null(strchr(r.detail, '\n'));
        assert_int_equal(cover_record_parse(passed, strlen(passed), &r), 0);
        assert_true(r.in_doubt && !r.in_force && !r.is_gap);
        assert_int_equal(r.heartbeat_ms, 300000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_unbroken),
                TEST(test_nothing),
                TEST(test_hole),
                TEST(test_late_is_no_hole),
                TEST(test_explained),
                TEST(test_explained_in_part),
                TEST(test_off),
                TEST(test_slept),
                TEST(test_stopped),
                TEST(test_monitor_and_doubt),
                TEST(test_silent),
                TEST(test_clock),
                TEST(test_order_and_erased),
                TEST(test_parse),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
