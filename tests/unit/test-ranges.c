/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Nested prefixes become disjoint ranges, the longest prefix wins. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "agent/enforce/ranges.h"
#include "base/buf.h"

static const char *format_ranges(const struct range *ranges, size_t n, int family)
{
        static struct buf b;
        char first[INET6_ADDRSTRLEN], last[INET6_ADDRSTRLEN];

        buf_done(&b);
        b = (struct buf){};
        buf_add_string(&b, "");
        for (size_t i = 0; i < n; i++)
                buf_addf(&b, "%s%s-%s=%u", i ? " " : "", inet_ntop(family, ranges[i].first, first, sizeof(first)),
                         inet_ntop(family, ranges[i].last, last, sizeof(last)), ranges[i].target);
        assert_int_equal(buf_error(&b), 0);
        return b.data ? (char *)b.data : "";
}

static void test_ranges(void **state)
{
        static const struct {
                int family;
                const char *prefixes; /* "prefix=target …" */
                const char *ranges;
        } cases[] = {
                {AF_INET, "", ""},
                {AF_INET, "10.0.0.0/8=1", "10.0.0.0-10.255.255.255=1"},
                {AF_INET, "2001:db8::/32=1", ""},
                {AF_INET, "10.0.0.0/8=0", ""},
                {AF_INET, "10.0.0.0/8=1 10.1.0.0/16=0", "10.0.0.0-10.0.255.255=1 10.2.0.0-10.255.255.255=1"},
                {AF_INET, "10.1.0.0/16=2 10.0.0.0/8=1",
                 "10.0.0.0-10.0.255.255=1 10.1.0.0-10.1.255.255=2 10.2.0.0-10.255.255.255=1"},
                {AF_INET, "10.0.0.0/8=1 10.0.0.0/16=2", "10.0.0.0-10.0.255.255=2 10.1.0.0-10.255.255.255=1"},
                {AF_INET, "10.0.0.0/8=1 10.255.0.0/16=2", "10.0.0.0-10.254.255.255=1 10.255.0.0-10.255.255.255=2"},
                {AF_INET, "10.0.0.0/8=1 10.1.0.0/16=1", "10.0.0.0-10.255.255.255=1"},
                {AF_INET, "10.0.0.0/9=1 10.128.0.0/9=1", "10.0.0.0-10.255.255.255=1"},
                {AF_INET, "10.0.0.0/9=1 10.128.0.0/9=2", "10.0.0.0-10.127.255.255=1 10.128.0.0-10.255.255.255=2"},
                {AF_INET, "10.0.0.0/8=3 10.0.0.0/8=4", "10.0.0.0-10.255.255.255=3"},
                {AF_INET, "10.0.0.0/8=0 10.0.0.0/8=4", ""},
                {AF_INET, "10.0.0.0/8=1 10.1.0.0/16=0 10.1.2.0/24=3 10.1.2.3/32=0",
                 "10.0.0.0-10.0.255.255=1 10.1.2.0-10.1.2.2=3 10.1.2.4-10.1.2.255=3 10.2.0.0-10.255.255.255=1"},
                {AF_INET, "0.0.0.0/0=1", "0.0.0.0-255.255.255.255=1"},
                {AF_INET, "0.0.0.0/0=1 255.255.255.255/32=2",
                 "0.0.0.0-255.255.255.254=1 255.255.255.255-255.255.255.255=2"},
                {AF_INET6, "::/0=1", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff=1"},
                {AF_INET6, "::/0=1 8000::/1=2 ffff::/16=3 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128=4",
                 "::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff=1 8000::-fffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff=2 "
                 "ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe=3 "
                 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff=4"},
                {AF_INET6, "2001:db8::/32=1 10.0.0.0/8=2 2001:db8::1/128=2",
                 "2001:db8::-2001:db8::=1 2001:db8::1-2001:db8::1=2 "
                 "2001:db8::2-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff=1"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct prefix prefixes[8];
                struct range_prefix input[8];
                _cleanup_free_ struct range *ranges = NULL;
                _cleanup_free_ char *text = strdup(cases[i].prefixes);
                size_t n = 0, n_ranges = 99;
                char *save = NULL;

                for (char *p = strtok_r(text, " ", &save); p; p = strtok_r(NULL, " ", &save), n++) {
                        char *equals = strchr(p, '=');

                        *equals = '\0';
                        assert_int_equal(prefix_parse(p, &prefixes[n]), 0);
                        input[n] = (struct range_prefix){&prefixes[n], (uint16_t)atoi(equals + 1)};
                }
                assert_int_equal(ranges_flatten(input, n, cases[i].family, &ranges, &n_ranges), 0);
                assert_string_equal(format_ranges(ranges, n_ranges, cases[i].family), cases[i].ranges);
        }
}

/* Against the obvious definition: for random nested prefixes each address has the target of
 * the longest prefix that contains it. */
static void test_ranges_longest_prefix(void **state)
{
        uint32_t random = 1;

        for (int round = 0; round < 500; round++) {
                struct prefix prefixes[24];
                struct range_prefix input[24];
                _cleanup_free_ struct range *ranges = NULL;
                size_t n_ranges;

                for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                        unsigned length, address;

                        random = random * 1664525 + 1013904223;
                        length = 24 + (random >> 8) % 9;
                        address = (random >> 16) & 0xff & ~(0xffu >> (length - 24));
                        prefixes[i] = (struct prefix){AF_INET, (uint8_t)length, {10, 0, 0, (uint8_t)address}};
                        input[i] = (struct range_prefix){&prefixes[i], (random >> 4) % 4};
                }
                assert_int_equal(ranges_flatten(input, ELEMENTSOF(input), AF_INET, &ranges, &n_ranges), 0);
                for (unsigned a = 0; a < 256; a++) {
                        const struct prefix host = {AF_INET, 32, {10, 0, 0, (uint8_t)a}};
                        unsigned expected = 0, got = 0, best = 0;

                        for (size_t i = 0; i < ELEMENTSOF(input); i++) /* sorted: of equals the first */
                                if (prefix_contains(input[i].prefix, &host) && input[i].prefix->length > best) {
                                        best = input[i].prefix->length;
                                        expected = input[i].target;
                                }
                        for (size_t i = 0; i < n_ranges; i++)
                                if (a >= ranges[i].first[3] && a <= ranges[i].last[3])
                                        got = ranges[i].target;
                        assert_int_equal(got, expected);
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ranges),
                cmocka_unit_test(test_ranges_longest_prefix),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
