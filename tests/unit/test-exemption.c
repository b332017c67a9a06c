/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/exemption.h"
#include "policy/term.h"

#define REST   "reason = CHG-4711\napprover = Dora Chief\n"
#define TIMES  "from = 2026-12-01T08:00:00Z\nuntil = 2026-12-01T18:00:00Z\n"
#define GRANT  "[exemption]\nformat = 1\nid = EX-1\nchannel = whatsapp\n"
#define WHOLE  GRANT "user = anna\n" TIMES REST
#define GLASS  "[break-glass]\nformat = 1\nid = BG-1\n"
#define ID     "3f2a9c0d1e4b5a69788796a5b4c3d2e1"
#define REVOKE "[revocation]\nformat = 1\nid = RV-1\n"

static struct exemption *parsed(const char *text)
{
        struct exemption *e = NULL;
        struct diag d = {0};

        if (exemption_parse(text, strlen(text), "e.ini", &e, &d) < 0)
                fail_msg("%u: %s", d.line, d.text);
        return e;
}

static void test_read_and_written(void **state)
{
        static const struct {
                const char *text, *comment;
                enum exemption_kind kind;
        } table[] = {
                {WHOLE, "onchannel exemption id=EX-1 until=2026-12-01T18:00:00Z", EXEMPTION_GRANT},
                {GRANT "channel = telegram\ndevice = ws-03*\ndevice = " ID
                       "\nuser = anna\nuser = bob\nunixgroup = desk\n" TIMES REST,
                 "onchannel exemption id=EX-1 until=2026-12-01T18:00:00Z", EXEMPTION_GRANT},
                {GLASS "device = " ID "\n" TIMES REST, "onchannel break-glass id=BG-1 until=2026-12-01T18:00:00Z",
                 EXEMPTION_BREAK_GLASS},
                {REVOKE "revokes = EX-1\nrevokes = BG-1\n" REST, "onchannel revocation id=RV-1",
                 EXEMPTION_REVOCATION},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_exemption_ struct exemption *e = parsed(table[i].text);
                _cleanup_free_ char *text = NULL, *comment = NULL;
                struct diag d = {0};

                assert_int_equal(e->kind, table[i].kind);
                assert_int_equal(exemption_format(e, &text), 0);
                assert_string_equal(text, table[i].text);
                assert_int_equal(exemption_comment_new(e, &comment), 0);
                assert_string_equal(comment, table[i].comment);
                assert_int_equal(exemption_comment_check(e, table[i].comment, "e", &d), 0);
                assert_int_equal(exemption_comment_check(e, "onchannel policy serial=1", "e", &d), -EBADMSG);
        }
}

static void test_refused(void **state)
{
        static char large[EXEMPTION_MAX_BYTES + 2];
        static const struct {
                const char *text;
                int r;
                const char *reason;
        } table[] = {
                {"", -EBADMSG, "no section"},
                {"id = EX-1\n", -EBADMSG, "before the section"},
                {"[policy]\n", -EBADMSG, "unknown section"},
                {"[exemption]\n", -EBADMSG, "without 'format'"},
                {"[exemption]\nformat = 2\n", -EBADMSG, "unknown format '2'"},
                {"[exemption]\nformat = 1\nformat = 1\n", -ENOTUNIQ, "given twice"},
                {"[exemption]\nformat = 1\n" TIMES REST, -EBADMSG, "without 'id'"},
                {GRANT TIMES REST, -EBADMSG, "without 'device', 'user' or 'unixgroup'"},
                {"[exemption]\nformat = 1\nid = EX-1\nuser = anna\n" TIMES REST, -EBADMSG, "without 'channel'"},
                {GRANT "user = anna\n" TIMES "approver = x\n", -EBADMSG, "without 'reason'"},
                {GRANT "user = anna\n" TIMES "reason = x\n", -EBADMSG, "without 'approver'"},
                {GRANT "user = anna\nfrom = 2026-12-01T08:00:00Z\n" REST, -EBADMSG, "without 'until'"},
                {GRANT "user = anna\nuntil = 2026-12-01T08:00:00Z\n" REST, -EBADMSG, "without 'from'"},
                {GRANT "user = anna\nfrom = 2026-12-01T08:00:00Z\nuntil = 2026-12-01T08:00:00Z\n" REST, -EBADMSG,
                 "ends before it begins"},
                {GRANT "user = anna\nfrom = 2026-12-01T08:00:00Z\nuntil = 2027-12-03T08:00:00Z\n" REST, -ERANGE,
                 "longer than 366 days"},
                {GRANT "user = anna\nfrom = 1970-01-01T00:00:00Z\nuntil = 1970-01-02T00:00:00Z\n" REST, -EBADMSG,
                 "no time"},
                {GRANT "user = anna\nfrom = tomorrow\n", -EBADMSG, "'tomorrow' is no time"},
                {GRANT "user = anna\n" TIMES "until = 2026-12-02T18:00:00Z\n" REST, -ENOTUNIQ, "'until' given twice"},
                {WHOLE "reason = again\n", -ENOTUNIQ, "'reason' given twice"},
                {WHOLE "verdict = allow\n", -EBADMSG, "unknown key 'verdict'"},
                {WHOLE "revokes = EX-2\n", -EBADMSG, "unknown key 'revokes'"},
                {WHOLE "user =\n", -EBADMSG, "without a value"},
                {WHOLE "user = anna bob\n", -EBADMSG, "holds a blank"},
                {WHOLE "[exemption]\n", -ENOTUNIQ, "second section"},
                {"[exemption]\nformat = 1\nid = ../x\n", -EBADMSG, "is no id"},
                {"[exemption]\nformat = 1\nid = .x\n", -EBADMSG, "is no id"},
                {"[exemption]\nformat = 1\nid = 1234567890123456789012345678901234567890123456789\n", -EBADMSG,
                 "is no id"},
                {GLASS TIMES REST, -EBADMSG, "without 'device'"},
                {GLASS "device = a\ndevice = b\n" TIMES REST, -EBADMSG, "is for one device"},
                {GLASS "device = a\nuser = anna\n", -EBADMSG, "unknown key 'user'"},
                {GLASS "device = a\nfrom = 2026-12-01T08:00:00Z\nuntil = 2026-12-09T08:00:00Z\n" REST, -ERANGE,
                 "longer than 168 hours"},
                {REVOKE REST, -EBADMSG, "without 'revokes'"},
                {REVOKE "revokes = a/b\n" REST, -EBADMSG, "is no id"},
                {REVOKE "until = 2026-12-01T08:00:00Z\n", -EBADMSG, "unknown key 'until'"},
                {large, -E2BIG, "larger than"},
        };

        memset(large, ';', sizeof(large) - 1);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct exemption *e = NULL;
                struct diag d = {0};
                int r = exemption_parse(table[i].text, strlen(table[i].text), "e.ini", &e, &d);

                if (r != table[i].r || e || !strstr(d.text, table[i].reason))
                        fail_msg("entry %zu: %d '%s'", i, r, d.text);
        }
}

static void test_what_cannot_be_written(void **state)
{
        _cleanup_exemption_ struct exemption *e = parsed(WHOLE);
        char *text = NULL;

        free(e->reason);
        e->reason = strdup("two\nuser = eve");
        assert_int_equal(exemption_format(e, &text), -EINVAL);
        free(e->reason);
        e->reason = strdup("a comment ; hides");
        assert_int_equal(exemption_format(e, &text), -EINVAL);
        e->until = e->from;
        assert_int_equal(exemption_format(e, &text), -EINVAL);
        assert_null(text);
}

static void test_device(void **state)
{
        _cleanup_exemption_ struct exemption *any = parsed(WHOLE),
                                             *some = parsed(GRANT "device = ws-03*\n" TIMES REST),
                                             *glass = parsed(GLASS "device = " ID "\n" TIMES REST),
                                             *named = parsed(GLASS "device = *\n" TIMES REST);

        assert_true(exemption_has_device(any, "x", ID));
        assert_true(exemption_has_device(some, "ws-0301", ID));
        assert_false(exemption_has_device(some, "ws-0401", ID));
        assert_true(exemption_has_device(glass, "ws-0301", ID));
        assert_false(exemption_has_device(glass, ID, "other"));
        assert_false(exemption_has_device(named, "ws-0301", ID)); /* not a pattern */
        assert_false(exemption_is_for_everyone(any));
        assert_true(exemption_is_for_everyone(some));
}

struct step {
        time_t now;
        uint64_t boottime_s;
        bool restart; /* what is on disk, and a new boot */
        enum term_state state;
        uint64_t left_s;
};

static void run(const struct step *steps, size_t n)
{
        struct term t = {.from = 1000, .until = 4600};

        for (size_t i = 0; i < n; i++) {
                const enum term_state before = t.state;

                if (steps[i].restart)
                        t.seen_s = 0;
                assert_int_equal(term_update(&t, &(struct term_clock){steps[i].now, steps[i].boottime_s}),
                                 steps[i].state != before);
                if (t.state != steps[i].state || (t.state == TERM_IN_FORCE && t.left_s != steps[i].left_s))
                        fail_msg("step %zu: %s, %llu s left", i, term_state_to_string(t.state),
                                 (unsigned long long)t.left_s);
        }
}

#define RUN(...)                                                                                                     \
        do {                                                                                                         \
                static const struct step steps[] = {__VA_ARGS__};                                                    \
                run(steps, ELEMENTSOF(steps));                                                                       \
        } while (0)

static void test_term(void **state)
{
        RUN({999, 10, false, TERM_FUTURE, 0}, {1000, 11, false, TERM_IN_FORCE, 3600},
            {2000, 1011, false, TERM_IN_FORCE, 2600}, {4599, 3610, false, TERM_IN_FORCE, 1},
            {4600, 3611, false, TERM_ENDED, 0});
        /* it comes late */
        RUN({4000, 10, false, TERM_IN_FORCE, 600}, {4600, 610, false, TERM_ENDED, 0});
        RUN({4600, 10, false, TERM_ENDED, 0});
        /* the clock is set back: CLOCK_BOOTTIME goes on */
        RUN({1000, 10, false, TERM_IN_FORCE, 3600}, {-70000, 2010, false, TERM_IN_FORCE, 1600},
            {0, 3609, false, TERM_IN_FORCE, 1}, {0, 3610, false, TERM_ENDED, 0});
        /* set ahead: ended, and right again: still ended */
        RUN({1000, 10, false, TERM_IN_FORCE, 3600}, {4102444800, 20, false, TERM_ENDED, 0},
            {1020, 30, false, TERM_ENDED, 0});
        /* a restart gives nothing back, even with the clock set back */
        RUN({1000, 1000, false, TERM_IN_FORCE, 3600}, {3000, 3000, false, TERM_IN_FORCE, 1600},
            {1000, 5, true, TERM_IN_FORCE, 1600}, {1000, 1604, false, TERM_IN_FORCE, 1},
            {1000, 1605, false, TERM_ENDED, 0});
        /* switched off over its end */
        RUN({1000, 1000, false, TERM_IN_FORCE, 3600}, {9000, 5, true, TERM_ENDED, 0});
}

static void test_revoked(void **state)
{
        struct term t = {.from = 1000, .until = 4600};

        assert_true(term_update(&t, &(struct term_clock){2000, 10}));
        term_end(&t);
        assert_false(term_update(&t, &(struct term_clock){2001, 11}));
        assert_int_equal(t.state, TERM_ENDED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_read_and_written),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_what_cannot_be_written),
                cmocka_unit_test(test_device),
                cmocka_unit_test(test_term),
                cmocka_unit_test(test_revoked),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
