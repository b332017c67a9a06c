/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/enforce/refusal.h"
#include "base/cleanup.h"

#define QUESTION "\3WeB\7example\3org\0\0\1\0\1"
#define OPT      "\0\0\x29\4\xd0\0\0\x80\0\0\0"
#define EDE      "\0\0\x29\4\xd0\0\0\x80\0\0\6\0\xf\0\2\0\x11"

static const struct {
        const char *what;
        const char *query;
        size_t query_size;
        const char *answer;
        size_t answer_size;
} cases[] = {
#define C(what, query, answer)                                                                                       \
        {                                                                                                            \
                what, query, sizeof(query) - 1, answer, sizeof(answer) - 1                                           \
        }
        C("plain", "ab\1\0\0\1\0\0\0\0\0\0" QUESTION, "ab\x81\x85\0\1\0\0\0\0\0\0" QUESTION),
        C("opcode and no recursion", "ab\x28\x10\0\1\0\0\0\0\0\0" QUESTION, "ab\xa8\x85\0\1\0\0\0\0\0\0" QUESTION),
        C("EDNS", "ab\1\0\0\1\0\0\0\0\0\1" QUESTION OPT, "ab\x81\x85\0\1\0\0\0\0\0\1" QUESTION EDE),
        C("EDNS behind another record", "ab\1\0\0\1\0\0\0\0\0\2" QUESTION "\1x\0\0\1\0\1\0\0\0\0\0\2zz" OPT,
          "ab\x81\x85\0\1\0\0\0\0\0\1" QUESTION EDE),
        C("a record that is cut", "ab\1\0\0\1\0\0\0\0\0\2" QUESTION "\1x\0\0\1\0\1\0\0\0\0\0\x20zz" OPT,
          "ab\x81\x85\0\1\0\0\0\0\0\0" QUESTION),
        C("an answer", "ab\x85\x80\0\1\0\1\0\0\0\1" QUESTION "\xc0\xc\0\1\0\1\0\0\0\0\0\4abcd" OPT,
          "ab\x81\x85\0\1\0\0\0\0\0\1" QUESTION EDE),
        C("two questions", "ab\1\0\0\2\0\0\0\0\0\0" QUESTION QUESTION, "ab\x81\x85\0\0\0\0\0\0\0\0"),
        C("a pointer", "ab\1\0\0\1\0\0\0\0\0\0\1x\xc0\xc\0\1\0\1", "ab\x81\x85\0\0\0\0\0\0\0\0"),
        C("cut", "ab\1\0\0\1\0\0\0\0\0\0\3WeB", "ab\x81\x85\0\0\0\0\0\0\0\0"),
};

static int build(const char *query, size_t size, const char *text, uint8_t *ret)
{
        _cleanup_free_ uint8_t *copy = malloc(size ? size : 1); /* a sanitizer sees one byte too far */

        assert_non_null(copy);
        memcpy(copy, query, size);
        return refusal_build(copy, size, text, ret);
}

static void test_refusal(void **state)
{
        uint8_t got[REFUSAL_MAX];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                int n = build(cases[i].query, cases[i].query_size, "", got);

                if (n != (int)cases[i].answer_size || memcmp(got, cases[i].answer, cases[i].answer_size) != 0)
                        fail_msg("%s: %d", cases[i].what, n);
        }
}

static void test_text(void **state)
{
        static const char query[] = "ab\1\0\0\1\0\0\0\0\0\1" QUESTION OPT;
        uint8_t got[REFUSAL_MAX];
        char text[600];

        int n = build(query, sizeof(query) - 1, "Use Teams.", got);
        assert_int_equal(n, sizeof(query) - 1 + 6 + 10);
        assert_memory_equal(got + n - 14, "\0\xc\0\x11Use Teams.", 14);
        /* cut before a character of two bytes */
        memset(text, 'x', sizeof(text));
        memcpy(text + REFUSAL_TEXT_MAX - 1, "\xc3\xa4", 2);
        text[sizeof(text) - 1] = 0;
        n = build(query, sizeof(query) - 1, text, got);
        assert_int_equal(n, sizeof(query) - 1 + 6 + REFUSAL_TEXT_MAX - 1);
}

/* The same for those that ignore REFUSED. */
static void test_deny(void **state)
{
        static const char query[] = "ab\1\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1";
        uint8_t got[REFUSAL_MAX], before[REFUSAL_MAX];
        int n = build(query, sizeof(query) - 1, "", got);

        assert_true(n > 0);
        memcpy(before, got, (size_t)n);
        refusal_deny(got, (size_t)n);
        assert_int_equal(got[3], 0x80 | 3);
        got[3] = before[3];
        assert_memory_equal(got, before, (size_t)n);
}

static void test_no_query(void **state)
{
        uint8_t got[REFUSAL_MAX];

        assert_int_equal(build("ab\1\0\0\1\0\0\0\0\0", 11, "", got), -EBADMSG);
        assert_int_equal(build("", 0, "", got), -EBADMSG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_refusal),
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_deny),
                cmocka_unit_test(test_no_query),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
