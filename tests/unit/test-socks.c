/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "wire/socks.h"

#define BYTES(s) s, sizeof(s) - 1

static struct wire_name name;

static enum socks_result parse(const void *data, size_t size, bool first)
{
        _cleanup_free_ uint8_t *copy = malloc(size + 300);
        struct wire_bytes p = {copy, (uint32_t)size + 300};
        uint32_t end = (uint32_t)size + 3;

        memset(copy, 5, size + 300);
        memcpy(copy + 3, data, size);
        memset(&name, 0, sizeof(name));
        return first ? socks_first(&p, 3, end, &name) : socks_request(&p, 3, end, &name);
}

struct row {
        const char *payload;
        size_t size;
        enum socks_result expected;
        const char *target; /* the name, or 16 bytes of address */
};

static void check(const struct row *t, bool first)
{
        assert_int_equal(parse(t->payload, t->size, first), t->expected);
        if (t->expected == SOCKS_NAME) {
                assert_int_equal(name.text[0], '.');
                assert_int_equal(name.size, strlen(t->target) + 1);
                assert_memory_equal(name.text + 1, t->target, strlen(t->target));
        } else if (t->expected == SOCKS_ADDRESS) {
                assert_memory_equal(name.text, t->target, 16);
        } else {
                return;
        }
        /* a part of it is told only once it is there */
        for (size_t n = 1; n < t->size; n++) {
                enum socks_result r = parse(t->payload, n, first);
                if (r == t->expected)
                        assert_true(n + 2 >= t->size); /* the port may be missing */
                else
                        assert_true(r == SOCKS_CUT || r == SOCKS_GREETING);
        }
}

#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff"

static void test_first(void **state)
{
        static const struct row table[] = {
                {BYTES("\5\1\0"), SOCKS_GREETING, NULL},
                {BYTES("\5\3\0\1\2"), SOCKS_GREETING, NULL},
                {BYTES("\5\2\0"), SOCKS_CUT, NULL},
                {BYTES("\5"), SOCKS_CUT, NULL},
                {BYTES("\5\0"), SOCKS_NONE, NULL},
                {BYTES("\5\1\0\5\1\0\3\017web.example.org\1\xbb"), SOCKS_NAME, "web.example.org"}, /* all at once */
                {BYTES("\5\1\2\1\4user\4pass\5\1\0\3\3a.b\1\xbb"), SOCKS_NAME, "a.b"},
                {BYTES("\5\1\2\1\4user\4pass"), SOCKS_GREETING, NULL},
                {BYTES("\5\1\0\7\1\0\3\3a.b\1\xbb"), SOCKS_NONE, NULL},

                {BYTES("\4\1\1\xbb\0\0\0\1user\0web.example.org\0"), SOCKS_NAME, "web.example.org"},
                {BYTES("\4\1\1\xbb\0\0\0\1\0web.example.org.\0"), SOCKS_NAME, "web.example.org"},
                {BYTES("\4\2\1\xbb\0\0\0\xff\0a\0"), SOCKS_NAME, "a"},
                {BYTES("\4\1\1\xbb\0\0\0\1user\0\0"), SOCKS_NONE, NULL},
                {BYTES("\4\1\1\xbb\0\0\0\1user\0web.example.org"), SOCKS_CUT, NULL},
                {BYTES("\4\1\1\xbb\xc0\0\2\1user\0"), SOCKS_ADDRESS, MAPPED "\xc0\0\2\1"},
                {BYTES("\4\1\1\xbb\0\0\0\0\0"), SOCKS_ADDRESS, MAPPED "\0\0\0\0"},
                {BYTES("\4\1\1\xbb\xc0\0\2\1user"), SOCKS_CUT, NULL},
                {BYTES("\4\3\1\xbb\xc0\0\2\1\0"), SOCKS_NONE, NULL},
                {BYTES("\4\1\1\xbb\xc0\0\2"), SOCKS_CUT, NULL},

                {BYTES(""), SOCKS_NONE, NULL},
                {BYTES("\x16\x03\x01"), SOCKS_NONE, NULL},
                {BYTES("GET /"), SOCKS_NONE, NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                check(&table[i], true);
}

static void test_request(void **state)
{
        static const struct row table[] = {
                {BYTES("\5\1\0\3\017web.example.org\1\xbb"), SOCKS_NAME, "web.example.org"},
                {BYTES("\5\1\0\3\020web.example.org.\1\xbb"), SOCKS_NAME, "web.example.org"},
                {BYTES("\5\xf0\0\3\017WEB.example.org\0\0"), SOCKS_NAME, "WEB.example.org"}, /* Tor's RESOLVE */
                {BYTES("\5\1\0\3\1a\1\xbb"), SOCKS_NAME, "a"},
                {BYTES("\5\1\0\1\xc0\0\2\1\1\xbb"), SOCKS_ADDRESS, MAPPED "\xc0\0\2\1"},
                {BYTES("\5\1\0\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\1\xbb"), SOCKS_ADDRESS,
                 "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"},
                {BYTES("\1\4user\4pass"), SOCKS_GREETING, NULL},
                {BYTES("\1\0\0"), SOCKS_GREETING, NULL},
                {BYTES("\1\4user\4pass\5\1\0\3\3a.b\1\xbb"), SOCKS_NAME, "a.b"},
                {BYTES("\1\4user\4pas"), SOCKS_CUT, NULL},
                {BYTES("\1\4use"), SOCKS_CUT, NULL},
                {BYTES("\5\1\0\3\0\1\xbb\0"), SOCKS_NONE, NULL}, /* an empty name */
                {BYTES("\5\1\0\2\1\1\1\1"), SOCKS_NONE, NULL},
                {BYTES("\5\1\1\3\3a.b\1\xbb"), SOCKS_NONE, NULL},
                {BYTES("\4\1\1\xbb\0\0\0\1\0a\0"), SOCKS_NONE, NULL},
                {BYTES(""), SOCKS_CUT, NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                check(&table[i], false);
}

static void test_lengths(void **state)
{
        uint8_t request[1024] = {5, 1, 0, SOCKS_DOMAIN};

        for (int size = 250; size <= 255; size++) {
                request[4] = (uint8_t)size;
                memset(request + 5, 'a', sizeof(request) - 5);
                assert_int_equal(parse(request, 7 + (size_t)size, false),
                                 size <= SOCKS_NAME_MAX ? SOCKS_NAME : SOCKS_NONE);
        }
        memset(request, 0, sizeof(request));
        memcpy(request, "\4\1\1\xbb\0\0\0\1", 8);
        for (int size = 250; size < 260; size++) {
                memset(request + 9, 'a', (size_t)size);
                assert_int_equal(parse(request, 10 + (size_t)size, true),
                                 size <= SOCKS_NAME_MAX ? SOCKS_NAME : SOCKS_NONE);
        }
        memset(request + 8, 'u', sizeof(request) - 8); /* a user id without an end */
        assert_int_equal(parse(request, sizeof(request), true), SOCKS_CUT);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_first),
                cmocka_unit_test(test_request),
                cmocka_unit_test(test_lengths),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
