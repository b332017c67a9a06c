/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include "agent/classify/heads.h"
#include "tests/unit/rules-fixture.h"
#include "wire/tls.h"

#define BYTES(text) text, sizeof(text) - 1
#define NAME        "\x00\x00\x00\x11\x00\x0f\x00\x00\x0c" /* server_name of twelve bytes */
#define HELLO(name)                                                                                                  \
        BYTES("\x16\x03\x01\x00\x44\x01\x00\x00\x40\x03\x03"                                                         \
              "0123456789abcdef0123456789abcdef\x00\x00\x02\x13\x01\x01\x00\x00\x15" NAME name)

static void test_heads(void **state)
{
        static const struct {
                const char *text;
                size_t size;
                enum head expect;
        } cases[] = {
                {HELLO("chat.example"), HEAD_BLOCKED},
                {HELLO("corn.example"), HEAD_PASSES},
                {"\x16\x03\x01\x00\x44\x01", 6, HEAD_UNREAD},
                {BYTES("\x16SOME OTHER THING"), HEAD_PASSES},
                {BYTES("\x7f"
                       "ELF"),
                 HEAD_PASSES},
                {BYTES("\x05\x01\x00"), HEAD_UNREAD},
                {BYTES(""), HEAD_UNREAD},
                {BYTES("GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n"), HEAD_BLOCKED},
                {BYTES("GET / HTTP/1.1\r\nHost: corn.example\r\n\r\n"), HEAD_REQUESTS},
                {BYTES("GET / HTTP/1.1\r\nHost: corn.example\r\n"), HEAD_UNREAD},
                {BYTES("GET / HTTP/1.1\r\nHost: corn.example\r\n\r\nGET / HTTP/1.1\r\nHost: a.chat.example\r\n"),
                 HEAD_BLOCKED},
                {BYTES("PUT / HTTP/1.1\r\nHost: corn.example\r\nContent-Length: 9\r\n\r\nGET"), HEAD_UNREAD},
                {BYTES("CONNECT 91.108.4.1:443 HTTP/1.1\r\n\r\n"), HEAD_BLOCKED},
                {BYTES("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n"), HEAD_BLOCKED},
                {BYTES("CONNECT 91.109.4.1:443 HTTP/1.1\r\n\r\n"), HEAD_REQUESTS},
                {BYTES("CONNECT corn.example:443 HTTP/1.1\r\n\r\n\x16"), HEAD_UNREAD},
                {BYTES("EHLO corn.example\r\n"), HEAD_PASSES},
                {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HEAD_UNREAD},
        };
        _cleanup_(ruleset_freep) struct ruleset *rs = compile(POLICY("enforce", ""), "2026-06-01T00:00:00Z");

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint32_t entry = 0;
                enum head h = head_read(rs, 1000, (const uint8_t *)cases[i].text, cases[i].size, &entry);

                if (h != cases[i].expect)
                        fail_msg("case %zu: %d", i, h);
                assert_int_equal(entry > 0 ? rs->entries[entry].channel : 0, h == HEAD_BLOCKED ? CHAT : 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_heads)};

        return cmocka_run_group_tests(tests, setup, teardown);
}
