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

struct row {
        const char *payload;
        size_t size;
        enum socks_result expected;
        const char *target; /* the name, or 16 bytes of address */
        size_t more; /* bytes at the end of the payload that are not the request's */
};

/* In writes of `write` bytes, amid other bytes. */
static void check(const struct row *t, size_t write)
{
        _cleanup_free_ uint8_t *copy = malloc(t->size + 300);
        struct wire_bytes p = {copy, (uint32_t)t->size + 300};
        uint32_t pos = 3, last = (uint32_t)t->size + 3;
        struct socks_stream s = {0};
        enum socks_result r = SOCKS_CUT;

        memset(copy, 5, t->size + 300);
        memcpy(copy + 3, t->payload, t->size);
        while (pos < last && r == SOCKS_CUT)
                r = socks_feed(&s, &p, &pos, last - pos > write ? pos + (uint32_t)write : last);
        assert_int_equal(r, t->expected);
        if (r == SOCKS_NAME || r == SOCKS_ADDRESS)
                assert_int_equal(last - pos, t->more);
        if (r == SOCKS_NAME) {
                assert_int_equal(s.host.name.text[0], '.');
                assert_int_equal(s.host.name.size, strlen(t->target) + 1);
                assert_memory_equal(s.host.name.text + 1, t->target, strlen(t->target));
        } else if (r == SOCKS_ADDRESS) {
                assert_memory_equal(s.host.literal.address, t->target, 16);
        }
}

static void check_all(const struct row *t, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                for (size_t write = 1; write < 8; write++)
                        check(&t[i], write);
                check(&t[i], t[i].size + 1);
                /* a part of it is told only once it is whole */
                for (size_t size = 1; size + t[i].more < t[i].size && t[i].expected != SOCKS_NONE; size++) {
                        struct row part = {t[i].payload, size, SOCKS_CUT, NULL, 0};
                        check(&part, 1000);
                }
        }
}

#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff"

static void test_version_5(void **state)
{
        static const struct row table[] = {
                {BYTES("\5\1\0"), SOCKS_CUT, NULL, 0},
                {BYTES("\5\3\0\1\2"), SOCKS_CUT, NULL, 0},
                {BYTES("\5"), SOCKS_CUT, NULL, 0},
                {BYTES("\5\0"), SOCKS_NONE, NULL, 0},
                {BYTES("\5\1\0\5\1\0\3\017web.example.org\1\xbb"), SOCKS_NAME, "web.example.org", 0},
                {BYTES("\5\1\0\5\1\0\3\020web.example.org.\1\xbb\x16\3\1"), SOCKS_NAME, "web.example.org", 3},
                {BYTES("\5\1\0\5\xf0\0\3\017WEB.example.org\0\0"), SOCKS_NAME, "WEB.example.org",
                 0}, /* Tor's RESOLVE */
                {BYTES("\5\1\0\5\1\0\3\1a\1\xbb"), SOCKS_NAME, "a", 0},
                {BYTES("\5\1\2\1\4user\4pass\5\1\0\3\3a.b\1\xbb"), SOCKS_NAME, "a.b", 0},
                {BYTES("\5\1\2\1\0\0\5\1\0\3\3a.b\1\xbb"), SOCKS_NAME, "a.b", 0},
                {BYTES("\5\1\2\1\4user\0\5\1\0\3\3a.b\1\xbb"), SOCKS_NAME, "a.b", 0},
                {BYTES("\5\1\0\5\1\0\1\xc0\0\2\1\1\xbb"), SOCKS_ADDRESS, MAPPED "\xc0\0\2\1", 0},
                {BYTES("\5\1\0\5\1\0\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\1\xbb"), SOCKS_ADDRESS,
                 "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 0},
                {BYTES("\5\1\0\7\1\0\3\3a.b\1\xbb"), SOCKS_NONE, NULL, 0},
                {BYTES("\5\1\0\5\1\0\3\0\1\xbb\0"), SOCKS_NONE, NULL, 0}, /* an empty name */
                {BYTES("\5\1\0\5\1\0\2\1\1\1\1"), SOCKS_NONE, NULL, 0},
                {BYTES("\5\1\0\5\1\1\3\3a.b\1\xbb"), SOCKS_NAME, "a.b", 0}, /* reserved */
                {BYTES("\x16\x03\x01"), SOCKS_NONE, NULL, 0},
        };

        check_all(table, ELEMENTSOF(table));
}

static void test_version_4(void **state)
{
        static const struct row table[] = {
                {BYTES("\4\1\1\xbb\0\0\0\1user\0web.example.org\0"), SOCKS_NAME, "web.example.org", 0},
                {BYTES("\4\1\1\xbb\0\0\0\1\0web.example.org.\0GET "), SOCKS_NAME, "web.example.org", 4},
                {BYTES("\4\2\1\xbb\0\0\0\xff\0a\0"), SOCKS_NAME, "a", 0},
                {BYTES("\4\1\1\xbb\xc0\0\2\1user\0"), SOCKS_ADDRESS, MAPPED "\xc0\0\2\1", 0},
                {BYTES("\4\1\1\xbb\0\0\0\0\0"), SOCKS_ADDRESS, MAPPED "\0\0\0\0", 0},
                {BYTES("\4\1\1\xbb\0\0\0\1user\0\0"), SOCKS_NONE, NULL, 0},
                {BYTES("\4\3\1\xbb\xc0\0\2\1\0"), SOCKS_NONE, NULL, 0},
        };

        check_all(table, ELEMENTSOF(table));
}

static void test_lengths(void **state)
{
        char request[SOCKS_USER_MAX + 16], name[300];
        struct row t = {.payload = request, .target = name};

        memset(name, 'a', sizeof(name));
        for (size_t size = 250; size <= 255; size++) {
                memcpy(request, "\5\1\0\5\1\0\3", 7);
                request[7] = (char)size;
                memset(request + 8, 'a', 300);
                t.size = 10 + size;
                t.expected = size <= AUTHORITY_HOST_MAX ? SOCKS_NAME : SOCKS_NONE;
                name[size] = 0;
                check(&t, 1000);
                name[size] = 'a';
        }
        memset(request, 0, sizeof(request));
        memcpy(request, "\4\1\1\xbb\0\0\0\1", 8);
        for (size_t size = 250; size < 260; size++) {
                memset(request + 9, 'a', size);
                t.size = 10 + size;
                t.expected = size <= AUTHORITY_HOST_MAX ? SOCKS_NAME : SOCKS_NONE;
                name[size] = 0;
                check(&t, 1000);
                name[size] = 'a';
        }
        memset(request + 8, 'u', sizeof(request) - 8); /* a user id without an end */
        t = (struct row){request, sizeof(request), SOCKS_NONE, NULL, 0};
        check(&t, 1000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_version_5),
                cmocka_unit_test(test_version_4),
                cmocka_unit_test(test_lengths),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
