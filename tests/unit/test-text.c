/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/diag.h"
#include "base/text.h"

static void test_utf8(void **state)
{
        static const struct {
                const char *s;
                bool ok, line;
        } table[] = {
                {"", true, true},
                {"abc", true, true},
                {"\xc3\xa9", true, true},
                {"\xe2\x82\xac", true, true},
                {"\xf0\x9f\x98\x80", true, true},
                {"\xf4\x8f\xbf\xbf", true, true},
                {"a\tb", true, true},
                {"a\nb", true, false},
                {"a\x7f", true, false},
                {"\xc2\x9b", true, false}, /* CSI as one C1 character */
                {"\xff", false, false},
                {"\x80", false, false},
                {"\xc3", false, false},
                {"\xc3(", false, false},
                {"\xc0\xaf", false, false}, /* overlong '/' */
                {"\xe0\x80\xaf", false, false},
                {"\xf0\x80\x80\xaf", false, false},
                {"\xed\xa0\x80", false, false}, /* surrogate */
                {"\xf4\x90\x80\x80", false, false},
                {"\xf8\x88\x80\x80\x80", false, false},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                assert_int_equal(text_is_utf8(table[i].s, strlen(table[i].s)), table[i].ok);
                assert_int_equal(text_is_line(table[i].s, strlen(table[i].s)), table[i].line);
        }
        assert_true(text_is_utf8("a\0b", 3));
        assert_false(text_is_line("a\0b", 3));
}

static void test_escape(void **state)
{
        static const struct {
                const char *s;
                size_t size;
                const char *expected;
        } table[] = {
                {"plain 'text'", 64, "plain 'text'"},
                {"\x1b[31m", 64, "\\x1b[31m"},
                {"a\nb\tc", 64, "a\\x0ab\\x09c"},
                {"\xc3\xa9\xff", 64, "\xc3\xa9\\xff"},
                {"\xc2\x9b", 64, "\\xc2\\x9b"},
                {"\xe2\x80\xae"
                 "abc",
                 64,
                 "\\xe2\\x80\\xae"
                 "abc"}, /* right-to-left override */
                {"abcdef", 4, "abc"},
                {"ab\xc3\xa9", 4, "ab"}, /* no half character */
                {"a\n", 5, "a"}, /* no half escape */
                {"abc", 1, ""},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                char buf[64];

                memset(buf, '#', sizeof(buf));
                text_escape(table[i].s, buf, table[i].size);
                assert_string_equal(buf, table[i].expected);
        }
}

static void test_hex(void **state)
{
        static const char *const bad[] = {"", "0", "00ff1", "00ff1g", "00ff1a00", " 0ff1a"};
        uint8_t bytes[3] = {1, 2, 3};
        char text[7];

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(hex_decode(bad[i], bytes, sizeof(bytes)), -EINVAL);
        assert_int_equal(bytes[0], 1);
        assert_int_equal(hex_decode("00Ff1a", bytes, sizeof(bytes)), 0);
        hex_encode(bytes, sizeof(bytes), text);
        assert_string_equal(text, "00ff1a");
}

static void test_u64(void **state)
{
        static const struct {
                const char *s;
                uint64_t max;
                int r;
                uint64_t v;
        } table[] = {
                {"0", 10, 0, 0},
                {"007", 10, 0, 7},
                {"10", 10, 0, 10},
                {"11", 10, -ERANGE, 0},
                {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
                {"18446744073709551616", UINT64_MAX, -ERANGE, 0},
                {"99999999999999999999999999", UINT64_MAX, -ERANGE, 0},
                {"", 10, -EINVAL, 0},
                {"-1", 10, -EINVAL, 0},
                {"+1", 10, -EINVAL, 0},
                {" 1", 10, -EINVAL, 0},
                {"1 ", 10, -EINVAL, 0},
                {"0x1", 10, -EINVAL, 0},
                {"99999999999999999999999999x", UINT64_MAX, -EINVAL, 0},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                uint64_t v = 4711;

                assert_int_equal(parse_u64(table[i].s, table[i].max, &v), table[i].r);
                assert_int_equal(v, table[i].r < 0 ? 4711 : table[i].v);
        }
}

static void test_time(void **state)
{
        static const struct {
                const char *s;
                time_t t; /* -1: refused */
        } table[] = {
                {"1970-01-01T00:00:00Z", 0},
                {"2026-11-21T00:00:00Z", 1795219200},
                {"2024-02-29T23:59:59Z", 1709251199},
                {"9999-12-31T23:59:59Z", 253402300799},
                {"2026-02-30T00:00:00Z", -1},
                {"2026-02-29T00:00:00Z", -1},
                {"2026-04-31T00:00:00Z", -1},
                {"2026-13-01T00:00:00Z", -1},
                {"2026-00-01T00:00:00Z", -1},
                {"2026-01-00T00:00:00Z", -1},
                {"2026-01-01T24:00:00Z", -1},
                {"2026-01-01T00:60:00Z", -1},
                {"2026-01-01T00:00:60Z", -1},
                {"1969-12-31T23:59:59Z", -1},
                {"0000-01-01T00:00:00Z", -1},
                {"2026-11-21", -1},
                {"2026-11-21T00:00:00", -1},
                {"2026-11-21t00:00:00z", -1},
                {"2026-11-21 00:00:00Z", -1},
                {"2026-11-21T00:00:00+00:00", -1},
                {"2026-11-21T00:00:00.5Z", -1},
                {"2026-1-21T00:00:00Z", -1},
                {"2026-11-21T00:00:00Zx", -1},
                {" 2026-11-21T00:00:00Z", -1},
                {"", -1},
        };
        char text[TIME_TEXT_MAX];
        time_t t;

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                t = 4711;
                assert_int_equal(time_parse(table[i].s, &t), table[i].t < 0 ? -EINVAL : 0);
                assert_int_equal(t, table[i].t < 0 ? 4711 : table[i].t);
                if (table[i].t >= 0)
                        assert_string_equal(time_format(t, text), table[i].s);
        }
        assert_int_equal(date_parse("2026-11-21", &t), 0);
        assert_int_equal(t, 1795219200);
        assert_int_equal(date_parse("2026-02-30", &t), -EINVAL);
        assert_int_equal(date_parse("2026-11-21T00:00:00Z", &t), -EINVAL);
        assert_int_equal(date_parse("21.11.2026", &t), -EINVAL);
        assert_int_equal(time_or_date_parse("2026-11-21", &t), 0);
        assert_int_equal(t, 1795219200);
        assert_int_equal(time_or_date_parse("2026-11-21T00:00:01Z", &t), 0);
        assert_int_equal(t, 1795219201);
        assert_int_equal(time_or_date_parse("2026-11-21T", &t), -EINVAL);
        assert_string_equal(time_format(INT64_MAX, text), "-");
}

static void test_domain(void **state)
{
        static char long_label[80], long_name[300];
        const struct {
                const char *s;
                int r;
                const char *expected;
        } table[] = {
                {"WeB.wHaTsApP.cOm", 0, "web.whatsapp.com"},
                {"wa.me.", 0, "wa.me"},
                {"localhost", 0, "localhost"},
                {"_xmpp-client._tcp.example.org", 0, "_xmpp-client._tcp.example.org"},
                {"xn--bcher-kva.example", 0, "xn--bcher-kva.example"},
                {"", -EINVAL, NULL},
                {".", -EINVAL, NULL},
                {"a..b", -EINVAL, NULL},
                {".a", -EINVAL, NULL},
                {"a..", -EINVAL, NULL},
                {"a b", -EINVAL, NULL},
                {"a*b", -EINVAL, NULL},
                {"b\xc3\xbc"
                 "cher",
                 -EINVAL, NULL},
                {"a/b", -EINVAL, NULL},
                {long_label, -E2BIG, NULL},
        };
        char name[DOMAIN_NAME_MAX + 1] = "untouched";

        memset(long_label, 'a', 64);
        for (size_t i = 0; i < 254; i++)
                long_name[i] = i % 2 ? '.' : 'a';
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                int r = domain_normalise(table[i].s, strlen(table[i].s), name);

                assert_int_equal(r, table[i].r);
                if (r == 0 && table[i].expected)
                        assert_string_equal(name, table[i].expected);
        }
        assert_int_equal(domain_normalise(long_name, 254, name), 0); /* 253 bytes and the root's dot */
        long_name[253] = 'a';
        assert_int_equal(domain_normalise(long_name, 254, name), -E2BIG);
        long_label[63] = 0;
        assert_int_equal(domain_normalise(long_label, 63, name), 0);
        assert_int_equal(domain_normalise("a\0b", 3, name), -EINVAL);
        assert_int_equal(domain_normalise("abc.de", 3, name), 0);
        assert_string_equal(name, "abc");
}

static void test_affix(void **state)
{
        assert_true(text_starts_with("channel x", "channel "));
        assert_false(text_starts_with("chan", "channel "));
        assert_true(text_ends_with("a.ini", ".ini"));
        assert_false(text_ends_with("ini", ".ini"));
}

static void test_diag(void **state)
{
        char buf[64], long_text[DIAG_TEXT_MAX + 9] = "";
        struct diag d = {0};

        assert_int_equal(diag_set(&d, -EBADMSG, "a.ini", 7, "bad '%s'", "x\x1by"), -EBADMSG);
        assert_string_equal(diag_format(&d, buf, sizeof(buf)), "a.ini:7: bad 'x\\x1by'");
        diag_set(&d, -EBADMSG, "a\n.ini", 0, "bad");
        assert_string_equal(diag_format(&d, buf, sizeof(buf)), "a\\x0a.ini: bad");
        diag_set(&d, -EBADMSG, NULL, 0, "bad");
        assert_string_equal(diag_format(&d, buf, sizeof(buf)), "bad");
        assert_int_equal(diag_set(NULL, -ENOENT, "a", 1, "x"), -ENOENT);
        memset(long_text, 'a', sizeof(long_text) - 1);
        diag_set(&d, -EBADMSG, long_text, 0, "%s", long_text);
        assert_int_equal(strlen(d.text), DIAG_TEXT_MAX - 1);
        assert_int_equal(strlen(d.file), DIAG_FILE_MAX - 1);
}

static void test_unquote(void **state)
{
        static const char *const table[][2] = {
                {"", ""},
                {"plain", "plain"},
                {"unknown key 'anna'", "unknown key '…'"},
                {"'a' is for 'b'", "'…'"},
                {"is 'it's anna's', not this", "is '…', not this"},
                {"Couldn't connect: 'a' (5)", "Couldn't connect: '…' (5)"},
                {"the collector's answer", "the collector's answer"},
                {"cut 'ann", "cut '…'"},
        };
        char buf[64];
        struct diag d = {0};

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                text_unquote(table[i][0], buf, sizeof(buf));
                assert_string_equal(buf, table[i][1]);
        }
        diag_set(&d, -EBADMSG, "/home/anna/a.ini", 7, "bad '%s'", "anna");
        assert_string_equal(diag_format_log(&d, buf, sizeof(buf)), "a.ini:7: bad '…'");
        text_unquote("0123 'a' b", buf, 8);
        assert_string_equal(buf, "0123 '\xe2"); /* as snprintf(3) cuts */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_utf8),  cmocka_unit_test(test_escape), cmocka_unit_test(test_hex),
                cmocka_unit_test(test_u64),   cmocka_unit_test(test_time),   cmocka_unit_test(test_domain),
                cmocka_unit_test(test_affix), cmocka_unit_test(test_diag),   cmocka_unit_test(test_unquote),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
