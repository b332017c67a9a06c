/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "rules/expect.h"

static void is_text(const char *got, const char *expected)
{
        if (expected)
                assert_string_equal(got, expected);
        else
                assert_null(got);
}

static void test_lines(void **state)
{
        static const char text[] = "; a comment\n"
                                   "\n"
                                   "  \t\n"
                                   "ws-1 anna web.whatsapp.com block\n"
                                   "\t-\t -   149.154.167.50\t watch \t\r\n"
                                   "- bob /opt/Signal  Desktop/signal-desktop allow\n"
                                   "  ; - - x allow\n"
                                   "- - allow allow";
        static const struct expectation expected[] = {
                {"ws-1", "anna", "web.whatsapp.com", VERDICT_BLOCK, 4},
                {NULL, NULL, "149.154.167.50", VERDICT_WATCH, 5},
                {NULL, "bob", "/opt/Signal  Desktop/signal-desktop", VERDICT_ALLOW, 6},
                {NULL, NULL, "allow", VERDICT_ALLOW, 8},
        };
        _cleanup_expectations_ struct expectations e = {0};

        assert_int_equal(expectations_parse(text, strlen(text), "e", &e, NULL), 0);
        assert_int_equal(e.n, ELEMENTSOF(expected));
        for (size_t i = 0; i < e.n; i++) {
                is_text(e.list[i].device, expected[i].device);
                is_text(e.list[i].user, expected[i].user);
                is_text(e.list[i].subject, expected[i].subject);
                assert_int_equal(e.list[i].verdict, expected[i].verdict);
                assert_int_equal(e.list[i].line, expected[i].line);
        }
}

#define TEXT(s) s, sizeof(s) - 1

static void test_refused(void **state)
{
        static const struct {
                const char *text;
                size_t size;
                unsigned line;
                const char *why;
        } table[] = {
                {TEXT(""), 0, "no expectation"},
                {TEXT("; only this\n\n"), 0, "no expectation"},
                {TEXT("allow\n"), 1, "expected 'DEVICE USER SUBJECT VERDICT'"},
                {TEXT("- allow\n"), 1, "expected 'DEVICE"},
                {TEXT("\n- - allow\n"), 2, "expected 'DEVICE"},
                {TEXT("- - x\n"), 1, "expected 'DEVICE"},
                {TEXT("- - x deny\n"), 1, "no verdict"},
                {TEXT("- - x Allow\n"), 1, "no verdict"},
                {TEXT("- - x allow ; why\n"), 1, "no verdict"},
                {TEXT("- - \x1b[2J allow\n"), 1, "control character"},
                {TEXT("- - x\xff allow\n"), 1, "not UTF-8"},
                {TEXT("- - x allow\0\n"), 0, "holds a NUL"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_expectations_ struct expectations e = {0};
                struct diag d = {0};

                assert_int_equal(expectations_parse(table[i].text, table[i].size, "e", &e, &d), -EBADMSG);
                assert_int_equal(d.line, table[i].line);
                assert_non_null(strstr(d.text, table[i].why));
                assert_null(e.list);
        }
}

static void test_limit(void **state)
{
        static char large[EXPECT_MAX_BYTES + 1];
        _cleanup_expectations_ struct expectations e = {0};

        memset(large, '\n', sizeof(large));
        memcpy(large, "- - x allow", 11);
        assert_int_equal(expectations_parse(large, sizeof(large), "e", &e, NULL), -E2BIG);
        assert_int_equal(expectations_parse(large, sizeof(large) - 1, "e", &e, NULL), 0);
        assert_int_equal(e.n, 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lines),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_limit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
