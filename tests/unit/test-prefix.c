/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/prefix.h"

static void test_parse(void **state)
{
        static const struct {
                const char *text;
                int r;
                const char *expected;
        } table[] = {
                {"149.154.160.0/20", 0, "149.154.160.0/20"},
                {"192.0.2.1", 0, "192.0.2.1/32"},
                {"0.0.0.0/0", 0, "0.0.0.0/0"},
                {"128.0.0.0/1", 0, "128.0.0.0/1"},
                {"2001:DB8::/32", 0, "2001:db8::/32"},
                {"::1", 0, "::1/128"},
                {"::/0", 0, "::/0"},
                {"::ffff:192.0.2.1/128", 0, "::ffff:192.0.2.1/128"},
                {"149.154.160.1/20", -ERANGE, NULL},
                {"192.0.2.1/31", -ERANGE, NULL},
                {"2001:db8::1/64", -ERANGE, NULL},
                {"1.2.3.4/0", -ERANGE, NULL},
                {"1.2.3.4/33", -EINVAL, NULL},
                {"::/129", -EINVAL, NULL},
                {"1.2.3.4/", -EINVAL, NULL},
                {"1.2.3.4/-1", -EINVAL, NULL},
                {"1.2.3.4/0032", -EINVAL, NULL},
                {"1.2.3.4/24/8", -EINVAL, NULL},
                {"1.2.3", -EINVAL, NULL},
                {"1.2.3.256", -EINVAL, NULL},
                {"01.2.3.4", -EINVAL, NULL},
                {" 1.2.3.4", -EINVAL, NULL},
                {"fe80::1%lo", -EINVAL, NULL},
                {"2001:db8:::", -EINVAL, NULL},
                {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", -EINVAL, NULL},
                {"/8", -EINVAL, NULL},
                {"", -EINVAL, NULL},
                {"example.org", -EINVAL, NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct prefix p = {.length = 77};
                char text[PREFIX_TEXT_MAX];

                assert_int_equal(prefix_parse(table[i].text, &p), table[i].r);
                if (table[i].r < 0)
                        assert_int_equal(p.length, 77);
                else
                        assert_string_equal(prefix_format(&p, text), table[i].expected);
        }
}

static void test_contains(void **state)
{
        static const struct {
                const char *outer, *inner;
                bool expected;
        } table[] = {
                {"149.154.160.0/20", "149.154.160.0/20", true},
                {"149.154.160.0/20", "149.154.175.255", true},
                {"149.154.160.0/20", "149.154.176.0", false},
                {"149.154.160.0/20", "149.154.159.255", false},
                {"149.154.160.0/24", "149.154.160.0/20", false},
                {"0.0.0.0/0", "192.0.2.1", true},
                {"0.0.0.0/0", "::1", false},
                {"2001:db8::/33", "2001:db8:7fff::1", true},
                {"2001:db8::/33", "2001:db8:8000::1", false},
                {"::1", "::1", true},
                {"::1", "::2", false},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct prefix outer, inner;

                assert_int_equal(prefix_parse(table[i].outer, &outer), 0);
                assert_int_equal(prefix_parse(table[i].inner, &inner), 0);
                assert_int_equal(prefix_contains(&outer, &inner), table[i].expected);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_contains),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
