/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An agent that is killed, a spool that is full: what is lost, and that it is told. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/report-fixture.h"

static void attempts(struct report *r, int n)
{
        struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED);

        while (n-- > 0)
                assert_int_equal(report_fact(r, &f, &rules), 0);
}

/* An agent that is killed before its first record, or in an open window. */
static void test_killed(void **state)
{
        static const struct {
                int before, after; /* attempts before the first record and after it */
                uint64_t written; /* records by the one that is killed */
        } cases[] = {{2, 0, 0}, {1, 3, 1}, {1, 0, 1}};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t records = (cases[i].before > 0) + (cases[i].after > 0);
                struct report *r;
                pid_t pid;
                int how;

                assert_int_equal(setup(NULL), 0);
                pid = fork();
                if (pid == 0) {
                        assert_int_equal(sd_event_new(&event), 0);
                        r = start();
                        attempts(r, cases[i].before);
                        if (cases[i].written)
                                wait_records(r, cases[i].written);
                        attempts(r, cases[i].after);
                        raise(SIGKILL);
                }
                assert_int_equal(waitpid(pid, &how, 0), pid);
                assert_true(WIFSIGNALED(how));
                r = start();
                wait_records(r, records);
                json_auto_t *one = record(r, 1), *two = records > 1 ? record(r, 2) : NULL;
                assert_int_equal(count(one), cases[i].before);
                assert_string_equal(extra(one, "policy_hash"), "aa");
                if (two) {
                        assert_int_equal(count(two), cases[i].after);
                        assert_string_equal(extra(one, "id"), extra(two, "id"));
                }
                report_free(r);
                r = start(); /* after an orderly end nothing is left over */
                assert_int_equal(sd_event_run(event, 100000) >= 0, 1);
                struct report_state s;
                report_get_state(r, &s);
                assert_int_equal(s.next_seq, records + 1);
                report_free(r);
                assert_int_equal(teardown(NULL), 0);
        }
}

/* The agent before was killed between counting an attempt and taking its event from the ring: it is read once more. */
static void test_killed_before_the_event_was_taken(void **state)
{
        struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED), later;
        struct report *r;
        pid_t pid;
        int how;

        pid = fork();
        if (pid == 0) {
                assert_int_equal(sd_event_new(&event), 0);
                r = start();
                attempts(r, 2);
                assert_int_equal(report_fact(r, &f, &rules), 0);
                raise(SIGKILL);
        }
        assert_int_equal(waitpid(pid, &how, 0), pid);
        r = start();
        assert_int_equal(report_fact(r, &f, &rules), 0);
        later = fact(LAYER_DNS, 2, OUTCOME_DROPPED);
        later.boottime_ns = f.boottime_ns + 1;
        assert_int_equal(report_fact(r, &later, &rules), 0);
        wait_records(r, 1);
        json_auto_t *one = record(r, 1);
        assert_int_equal(count(one), 4);
        report_free(r);
}

/* Killed between "these attempts become record 1" and the record: another record gets that number, and a second kill
 * does not take it for theirs. */
static void test_killed_twice(void **state)
{
        _cleanup_free_ char *path = format_new("%s/collected", dir);
        struct collected e = {.violation = {.count = 3}, .seq = 1};
        struct journal *j;
        struct report *r;
        pid_t pid;

        for (int kills = 0; kills < 2; kills++) {
                pid = fork();
                if (pid == 0) {
                        assert_int_equal(sd_event_new(&event), 0);
                        r = start();
                        if (kills == 0) {
                                attempts(r, 3);
                                assert_int_equal(journal_open(path, &j), 0);
                                journal_update(j, &e);
                        } else {
                                assert_int_equal(report_tamper(r, "x", OUTCOME_PASSED), 0);
                        }
                        raise(SIGKILL);
                }
                assert_int_equal(waitpid(pid, NULL, 0), pid);
        }
        r = start();
        wait_records(r, 2);
        json_auto_t *two = record(r, 2);
        assert_int_equal(count(two), 3);
        report_free(r);
}

/* Whom nobody let run in time has lost nothing. */
static void test_late(void **state)
{
        struct report *r = start();
        struct report_state s;
        uint64_t until_ms;

        attempts(r, 3);
        until_ms = clock_monotonic_ms() + 2 * options().settle_ms;
        while (clock_monotonic_ms() < until_ms)
                ;
        report_get_state(r, &s);
        assert_int_equal(s.refused, 0);
        report_free(r);
}

static void test_spool_full(void **state)
{
        struct report_options o = options();
        struct coverage c = {.event = COVERAGE_HEARTBEAT, .mode = "enforce"};
        struct report *r = NULL;
        struct report_state s;
        uint64_t refused = 0;
        int k;

        o.spool_max_bytes = 16384;
        assert_int_equal(report_new(&o, event, &r), 0);
        while ((k = report_tamper(r, "x", OUTCOME_PASSED)) == 0)
                ;
        assert_int_equal(k, -ENOSPC);
        for (int i = 0; i < 4; i++)
                assert_int_equal(report_tamper(r, "x", OUTCOME_PASSED), -ENOSPC);
        report_get_state(r, &s);
        assert_int_equal(s.refused, 5);

        _cleanup_free_ char *folder = format_new("%s/uplink", dir), *ack = format_new("%s/uplink/ack", dir);
        char text[32];
        snprintf(text, sizeof(text), "%llu\n", (unsigned long long)s.next_seq - 1);
        assert_int_equal(dir_make(folder, 0700), 0);
        assert_int_equal(file_write_atomic(ack, text, strlen(text), 0644), 0);
        assert_int_equal(report_read_ack(r), 0);
        assert_int_equal(report_coverage(r, &c), 0);
        refused = c.refused;
        assert_int_equal(refused, 5);
        report_get_state(r, &s);
        assert_int_equal(s.refused, 0);
        report_free(r);
}

static void make_room(struct report *r)
{
        _cleanup_free_ char *folder = format_new("%s/uplink", dir), *ack = format_new("%s/uplink/ack", dir);
        struct report_state s;
        char text[32];

        report_get_state(r, &s);
        snprintf(text, sizeof(text), "%llu\n", (unsigned long long)s.next_seq - 1);
        assert_int_equal(dir_make(folder, 0700), 0);
        assert_int_equal(file_write_atomic(ack, text, strlen(text), 0644), 0);
        assert_int_equal(report_read_ack(r), 0);
}

/* What is collected while the spool is full waits for room, through a new policy and a restart; what is lost for good is
 * told by the agent after a kill. */
static void test_attempts_wait_for_room(void **state)
{
        enum { REFUSED = 3, ATTEMPTS = 4 };
        struct report_options o = options();
        struct record_context next = policy;
        struct coverage c = {.event = COVERAGE_START, .mode = "enforce"};
        struct report *r = NULL;
        struct report_state s;
        pid_t pid = fork();

        o.spool_max_bytes = 16384;
        next.policy_serial = 43;
        if (pid == 0) {
                assert_int_equal(sd_event_new(&event), 0);
                assert_int_equal(report_new(&o, event, &r), 0);
                assert_int_equal(report_set_policy(r, &policy), 0);
                for (int i = 0; i < REFUSED;)
                        i += report_tamper(r, "x", OUTCOME_PASSED) == -ENOSPC;
                attempts(r, ATTEMPTS);
                do {
                        assert_true(sd_event_run(event, 100000) >= 0);
                        report_get_state(r, &s);
                } while (s.refused == REFUSED);
                assert_int_equal(s.refused, REFUSED + 1);
                assert_int_equal(report_set_policy(r, &next), 0);
                attempts(r, 1); /* another one's: that of before was decided by another policy */
                raise(SIGKILL);
        }
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(report_new(&o, event, &r), 0);
        assert_int_equal(report_set_policy(r, &policy), 0);
        assert_int_equal(report_coverage(r, &c), -ENOSPC);
        r = report_free(r); /* nothing of it can be written */
        assert_int_equal(report_new(&o, event, &r), 0);
        assert_int_equal(report_set_policy(r, &policy), 0);
        report_get_state(r, &s);
        uint64_t before = s.next_seq;
        make_room(r);
        assert_int_equal(report_coverage(r, &c), 0);
        assert_int_equal(c.refused, REFUSED);
        assert_int_equal(report_coverage(r, &c), 0);
        assert_int_equal(c.refused, 0);
        wait_records(r, before + 3);
        json_auto_t *one = record(r, before + 2), *two = record(r, before + 3);
        assert_int_equal(count(one), ATTEMPTS);
        assert_int_equal(count(two), 1);
        report_free(r);
}

/* Where the journal has no slot for it, an attempt is at least told to be lost with the agent. */
static void test_attempts_without_a_slot(void **state)
{
        struct coverage c = {.event = COVERAGE_START, .mode = "enforce"};
        struct report *r;
        pid_t pid = fork();

        if (pid == 0) {
                struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED);

                assert_int_equal(sd_event_new(&event), 0);
                r = start();
                struct rlimit small = {.rlim_cur = JOURNAL_SLOT_BYTES, .rlim_max = JOURNAL_SLOT_BYTES};
                signal(SIGXFSZ, SIG_IGN);
                assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
                for (uint32_t i = 0; i < 8; i++) {
                        f.uid = i % 4;
                        assert_int_equal(report_fact(r, &f, &rules), 0);
                }
                raise(SIGKILL);
        }
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        r = start();
        assert_int_equal(report_coverage(r, &c), 0);
        assert_int_equal(c.refused, 6);
        json_auto_t *kept = (wait_records(r, 2), record(r, 2));
        assert_int_equal(count(kept), 2);
        report_free(r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_killed),
                REPORT_TEST(test_killed_before_the_event_was_taken),
                REPORT_TEST(test_killed_twice),
                REPORT_TEST(test_attempts_wait_for_room),
                REPORT_TEST(test_attempts_without_a_slot),
                REPORT_TEST(test_late),
                REPORT_TEST(test_spool_full),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
