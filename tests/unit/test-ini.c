/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/ini.h"

/* Writes down what it is told: "1[a] 2a.key=value ". */
static int note(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                struct diag *reterr)
{
        struct buf *b = userdata;

        if (name && strcmp(name, "stop") == 0)
                return diag_set(reterr, -ENOTUNIQ, "handler", line, "stopped");
        if (!name && strcmp(section, "stop") == 0)
                return diag_set(reterr, -ENOENT, "handler", line, "stopped");
        if (!name)
                buf_addf(b, "%u[%s] ", line, section);
        else
                buf_addf(b, "%u%s.%s=%s ", line, section, name, value);
        return 0;
}

static void test_accepted(void **state)
{
        static const struct {
                const char *text, *expected;
        } table[] = {
                {"", ""},
                {"\n\n", ""},
                {"key = 1", "1.key=1 "},
                {"[a]\nkey = 1\n", "1[a] 2a.key=1 "},
                {"[a]\r\nkey = 1\r\n\r\n", "1[a] 2a.key=1 "},
                {"; c\n# c\n\n[a]\n \t \nkey=1", "4[a] 6a.key=1 "},
                {"[a]\nx=1\nx=2\n[a]\nx=3\n", "1[a] 2a.x=1 3a.x=2 4[a] 5a.x=3 "},
                {"[a]\n[b]\n[a]\n", "1[a] 2[b] 3[a] "},
                {"[group client-desk] ; comment\n", "1[group client-desk] "},
                {"x = 1 ; comment\n", "1.x=1 "},
                {"x = 1;2\n", "1.x=1;2 "},
                {"x =\n", "1.x= "},
                {"x = ; comment\n", "1.x= "},
                {"x = a=b:c [d]\n", "1.x=a=b:c [d] "},
                {"x = \"quoted\" # no comment\n", "1.x=\"quoted\" # no comment "},
                {"x\t=\tB\xc3\xa4nk  \n", "1.x=B\xc3\xa4nk "},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                _cleanup_buf_ struct buf b = {0};
                struct diag d = {0};

                buf_add_string(&b, "");
                assert_int_equal(ini_parse_text(table[i].text, strlen(table[i].text), "f.ini", note, &b, &d), 0);
                assert_string_equal((char *)b.data, table[i].expected);
                assert_string_equal(d.text, "");
        }
}

#define NAME_50 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"
#define TEXT(s) s, sizeof(s) - 1

static void test_refused(void **state)
{
        static const struct {
                const char *text;
                size_t size;
                unsigned line;
                const char *reason;
        } table[] = {
                {TEXT("[a]\nx = 1\0 2\n"), 2, "control character"},
                {TEXT("\0"), 1, "control character"},
                {TEXT("[a]\nx = \xff\n"), 2, "not UTF-8"},
                {TEXT("; \xc3\n"), 1, "not UTF-8"},
                {TEXT("x = \xed\xa0\x80\n"), 1, "not UTF-8"},
                {TEXT("x = \xc0\xaf\n"), 1, "not UTF-8"},
                {TEXT("x = \x1b[31m\n"), 1, "control character"},
                {TEXT("x = a\rserial = 9\n"), 1, "control character"},
                {TEXT("x = a\r"), 1, "control character"},
                {TEXT("x = a\r\r\n"), 1, "control character"},
                {TEXT("x = a\vb\n"), 1, "control character"},
                {TEXT("x = a\x7f\n"), 1, "control character"},
                {TEXT("x = \xc2\x85\n"), 1, "control character"},
                {TEXT("[a]\nx = 1\n 2\n"), 3, "line starts with a blank"},
                {TEXT("[a]\n\tx = 1\n"), 2, "line starts with a blank"},
                {TEXT("[a]\nx = 1\n  ; c\n"), 3, "line starts with a blank"},
                {TEXT("\xef\xbb\xbf[a]\n"), 1, "byte order mark"},
                {TEXT("[a\nx = 1\n"), 1, "section without ']'"},
                {TEXT("[a ; ]\n"), 1, "section without ']'"},
                {TEXT("[]\n"), 1, "section without a name"},
                {TEXT("[a] x = 1\n"), 1, "text behind the section name: ' x = 1'"},
                {TEXT("[a]]\n"), 1, "text behind the section name"},
                {TEXT("[a];c\n"), 1, "text behind the section name"},
                {TEXT("[a][b]\n"), 1, "text behind the section name"},
                {TEXT("[" NAME_50 "]\n"), 1, "section name too long"},
                {TEXT(NAME_50 " = 1\n"), 1, "key too long"},
                {TEXT("[a]\nkey\n"), 2, "expected 'key = value', not 'key'"},
                {TEXT("key : value\n"), 1, "expected 'key = value'"},
                {TEXT("a:b = value\n"), 1, "expected 'key = value'"},
                {TEXT("a b = value\n"), 1, "expected 'key = value'"},
                {TEXT("a ; = value\n"), 1, "expected 'key = value'"},
                {TEXT("a;b = value\n"), 1, "expected 'key = value'"},
                {TEXT("= value\n"), 1, "'=' without a key"},
                {TEXT("x = 1\nstop = 1\nno line\n"), 3, "expected 'key = value'"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                _cleanup_buf_ struct buf b = {0};
                struct diag d = {0};

                assert_int_equal(ini_parse_text(table[i].text, table[i].size, "f.ini", note, &b, &d), -EBADMSG);
                if (!strstr(d.text, table[i].reason))
                        fail_msg("entry %zu: '%s'", i, d.text);
                assert_int_equal(d.line, table[i].line);
                assert_string_equal(d.file, "f.ini");
                assert_int_equal(b.size, 0); /* nothing of the file was told */
        }
}

/* libinih 55 splits a line of 199 bytes or more and takes the rest for a new line. */
static void test_hidden_key(void **state)
{
        for (size_t at = INI_LINE_MAX - 20; at < 420; at++) {
                _cleanup_buf_ struct buf text = {0}, b = {0};
                struct diag d = {0};
                int r;

                buf_add_string(&text, "[a]\nx = ");
                while (text.size < 4 + at)
                        buf_add_string(&text, "p");
                buf_add_string(&text, "serial = 9\n");
                r = ini_parse_text((char *)text.data, text.size, "f.ini", note, &b, &d);
                if (at + strlen("serial = 9") <= INI_LINE_MAX) {
                        assert_int_equal(r, 0);
                        assert_null(strstr((char *)b.data, "a.serial"));
                } else {
                        assert_int_equal(r, -EBADMSG);
                        assert_int_equal(d.line, 2);
                        assert_non_null(strstr(d.text, "line longer than 180 bytes"));
                        assert_int_equal(b.size, 0);
                }
        }
}

static void test_long_lines(void **state)
{
        static const char *const starts[] = {"; ", "# ", "x = ", "[", "x = 1 ; "};

        for (size_t k = 0; k < sizeof(starts) / sizeof(starts[0]); k++)
                for (size_t size = INI_LINE_MAX + 1; size <= 210; size++)
                        for (int newline = 0; newline < 2; newline++) {
                                _cleanup_buf_ struct buf text = {0}, b = {0};
                                struct diag d = {0};

                                buf_add_string(&text, starts[k]);
                                while (text.size < size)
                                        buf_add_string(&text, "p");
                                buf_add_string(&text, newline ? "\n" : "");
                                assert_int_equal(ini_parse_text((char *)text.data, text.size, "f", note, &b, &d),
                                                 -EBADMSG);
                                assert_non_null(strstr(d.text, "line longer than"));
                        }
}

static void test_handler_stops(void **state)
{
        static const struct {
                const char *text;
                int r;
                unsigned line;
        } table[] = {
                {"[a]\nstop = 1\nx = 1\n", -ENOTUNIQ, 2},
                {"[a]\nx = 1\n\n[stop]\nx = 1\n", -ENOENT, 4},
        };

        for (size_t i = 0; i < 2; i++) {
                _cleanup_buf_ struct buf b = {0};
                struct diag d = {0};

                assert_int_equal(ini_parse_text(table[i].text, strlen(table[i].text), "f", note, &b, &d), table[i].r);
                assert_string_equal(d.text, "stopped");
                assert_int_equal(d.line, table[i].line);
        }
}

static void test_salvage(void **state)
{
        static const struct {
                const char *text, *value;
        } table[] = {
                {"[agent]\nstate = /s ; here\n", "/s"},
                {"[agent\nwhat\n  x = 1\nstate = /s\nstate = /t\n", "/s"},
                {"\xef\xbb\xbf[agent]\r\n\xff\r\nstate=/s\r\n[agent", "/s"},
                {"[agent]\nstate /s\n; state = /s\n state = /s\nstate2 = /s\n", NULL},
                {"", NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_free_ char *value = NULL;

                assert_int_equal(ini_salvage(table[i].text, strlen(table[i].text), "state", &value),
                                 table[i].value ? 0 : -ENOENT);
                if (table[i].value)
                        assert_string_equal(value, table[i].value);
        }
}

static void test_nothing(void **state)
{
        char *value = NULL;

        assert_int_equal(ini_parse_text(NULL, 0, "f", note, NULL, NULL), 0);
        assert_int_equal(ini_salvage(NULL, 0, "state", &value), -ENOENT);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_accepted),      cmocka_unit_test(test_refused),
                cmocka_unit_test(test_hidden_key),    cmocka_unit_test(test_long_lines),
                cmocka_unit_test(test_handler_stops), cmocka_unit_test(test_nothing),
                cmocka_unit_test(test_salvage),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
