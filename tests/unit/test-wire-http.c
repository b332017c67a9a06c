/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "wire/http.h"

#define BYTES(s) s, sizeof(s) - 1
#define HEX_MAX  1024

static struct wire_name name;

/* The result for a copy amid other bytes. */
static enum http_result parse(const void *data, size_t size, bool streams)
{
        _cleanup_free_ uint8_t *copy = malloc(size + 300);
        struct wire_bytes p = {copy, (uint32_t)size + 300};
        uint32_t end = (uint32_t)size + 7;

        memset(copy, 'H', size + 300);
        memcpy(copy + 7, data, size);
        memset(&name, 0, sizeof(name));
        enum http_result r = streams ? http2_authority(&p, 7, end, &name) : http_host(&p, 7, end, &name);
        return r == HTTP_STREAMS && !streams ? http2_authority(&p, 7 + HTTP_PREFACE, end, &name) : r;
}

static void assert_name(const char *expected)
{
        assert_int_equal(name.text[0], '.');
        assert_int_equal(name.size, strlen(expected) + 1);
        assert_memory_equal(name.text + 1, expected, strlen(expected));
}

static void test_requests(void **state)
{
        static const struct {
                const char *request;
                size_t size;
                enum http_result expected;
                const char *name;
        } table[] = {
                {BYTES("GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("GET / HTTP/1.1\r\nAccept: */*\r\nhOsT:web.example.org:8080\r\n"), HTTP_REQUEST,
                 "web.example.org"},
                {BYTES("POST /a?b=http://c/ HTTP/1.1\r\nHost:\t WeB.example.org.\t \r\n"), HTTP_REQUEST,
                 "WeB.example.org"},
                {BYTES("GET / HTTP/1.1\nHost: web.example.org\n\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("\r\n\r\nGET / HTTP/1.1\r\nHost: web.example.org\r\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("GET / HTTP/1.1\r\nX: Host: a\r\nXHost: b\r\nHosts: c\r\n Host: d\r\nHost: "
                       "web.example.org\r\n"),
                 HTTP_REQUEST, "web.example.org"},
                {BYTES("GET / HTTP/1.1\r\nHost : web.example.org\r\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("GET / HTTP/1.1\r\nHost:\r\n web.example.org\r\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("GET / HTTP/1.1\r\nHost:\r\nAccept: a.b\r\n\r\n"), HTTP_UNNAMED, NULL},
                {BYTES("GET / HTTP/1.1\r\nHost: a@web.example.org\r\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("GET / HTTP/1.1\r\nHost: one.example\r\nHost: two.example\r\n\r\n"), HTTP_REQUEST,
                 "one.example"},
                {BYTES("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n"), HTTP_REQUEST, "[2001:db8::1]"},
                {BYTES("GET / HTTP/1.0\r\n\r\n"), HTTP_UNNAMED, NULL},
                {BYTES("OPTIONS * HTTP/1.1\r\nHost: web.example.org\r\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("brew-it! / HTTP/1.1\r\nhost: web.example.org\r\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("GET index HTTP/1.1\r\nHost: web.example.org\r\n"), HTTP_REQUEST, "web.example.org"},

                {BYTES("GET http://web.example.org/a HTTP/1.1\r\nHost: other.example\r\n"), HTTP_REQUEST,
                 "web.example.org"},
                {BYTES("GET http://web.example.org HTTP/1.0\r\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("GET ws://u:p@web.example.org:80?q=@x HTTP/1.1\r\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("GET http:///a HTTP/1.1\r\nHost: web.example.org\r\n"), HTTP_REQUEST, "web.example.org"},
                {BYTES("GET /http://no.example/ HTTP/1.1\r\nHost: web.example.org\r\n"), HTTP_REQUEST,
                 "web.example.org"},

                {BYTES("CONNECT web.example.org:443 HTTP/1.1\r\n"), HTTP_TUNNEL, "web.example.org"},
                {BYTES("CONNECT web.example.org:443 HTTP/1.1\r\nHost: other.example\r\n\r\n"), HTTP_TUNNEL,
                 "web.example.org"},
                {BYTES("CONNECT user@web.example.org HTTP/1.0\r\n"), HTTP_TUNNEL, "web.example.org"},
                {BYTES("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"), HTTP_TUNNEL, "[2001:db8::1]"},
                {BYTES("CONNECT 192.0.2.1:443 HTTP/1.1\r\n"), HTTP_TUNNEL, "192.0.2.1"},
                {BYTES("CONNECT :443 HTTP/1.1\r\n"), HTTP_UNNAMED, NULL},
                {BYTES("CONNECT web.example.org:443 SIP/2.0\r\n"), HTTP_NONE, NULL},

                {BYTES("GET / HTTP/1.1\r\nHost: web.example.or"), HTTP_CUT, NULL},
                {BYTES("GET / HTTP/1.1\r\nHost: web.example.org"), HTTP_CUT, NULL},
                {BYTES("CONNECT web.example.org:443 HTTP/1.1"), HTTP_CUT, NULL},
                {BYTES("G"), HTTP_CUT, NULL},
                {BYTES(""), HTTP_NONE, NULL},

                {BYTES("GET /\r\n"), HTTP_NONE, NULL}, /* HTTP/0.9 */
                {BYTES("GET / HTTP/3.0\r\nHost: web.example.org\r\n"), HTTP_NONE, NULL},
                {BYTES("INVITE sip:a@web.example.org SIP/2.0\r\n"), HTTP_NONE, NULL},
                {BYTES("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"), HTTP_NONE, NULL},
                {BYTES("EHLO web.example.org\r\n"), HTTP_NONE, NULL},
                {BYTES("HTTP/1.1 200 OK\r\nHost: web.example.org\r\n"), HTTP_NONE, NULL},
                {BYTES(" GET / HTTP/1.1\r\nHost: web.example.org\r\n"), HTTP_NONE, NULL},
                {BYTES("\x16\x03\x01\x02\x00\x01"), HTTP_NONE, NULL},
                {BYTES("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n"), HTTP_NONE, NULL}, /* method of 33 bytes */
                {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r"), HTTP_CUT, NULL},
                {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HTTP_STREAMS, NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                assert_int_equal(parse(table[i].request, table[i].size, false), table[i].expected);
                if (table[i].name)
                        assert_name(table[i].name);
        }
}

/* Every cut of a request is either known to be one or has its whole name. */
static void test_cuts(void **state)
{
        static const struct {
                const char *request;
                enum http_result expected;
        } table[] = {
                {"GET / HTTP/1.1\r\nAccept: a/b\r\nHost: web.example.org\r\n", HTTP_REQUEST},
                {"GET http://web.example.org/a HTTP/1.1\r\n", HTTP_REQUEST},
                {"CONNECT web.example.org:443 HTTP/1.1\r\n", HTTP_TUNNEL},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                for (size_t n = 1; n <= strlen(table[i].request); n++) {
                        bool whole = n == strlen(table[i].request);
                        assert_int_equal(parse(table[i].request, n, false), whole ? table[i].expected : HTTP_CUT);
                        if (whole)
                                assert_name("web.example.org");
                }
}

static void test_bounds(void **state)
{
        static const char first[] = "GET / HTTP/1.1\r\nX: ", last[] = "\r\nHost: web.example.org\r\n";
        char request[HTTP_SCAN_MAX + 512];
        char host[300];

        for (int over = 0; over <= 1; over++) {
                size_t filler = HTTP_SCAN_MAX - strlen(first) - strlen(last) + (size_t)over;

                memset(request, 'x', sizeof(request));
                memcpy(request, first, strlen(first));
                memcpy(request + strlen(first) + filler, last, strlen(last));
                assert_int_equal(parse(request, HTTP_SCAN_MAX + (size_t)over, false), over ? HTTP_CUT : HTTP_REQUEST);
        }
        for (int size = 250; size < 260; size++) {
                memset(host, 'a', sizeof(host));
                int n = snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %.*s:80\r\n", size, host);
                assert_int_equal(parse(request, (size_t)n, false),
                                 size <= AUTHORITY_HOST_MAX ? HTTP_REQUEST : HTTP_UNNAMED);
                if (size <= AUTHORITY_HOST_MAX)
                        assert_int_equal(name.size, size + 1);
                n = snprintf(request, sizeof(request), "CONNECT %.*s@a.b:80 HTTP/1.1\r\n", size, host);
                assert_int_equal(parse(request, (size_t)n, false), HTTP_TUNNEL);
                assert_name("a.b");
        }
}

/* What curl 7.88 sends at once: the preface, SETTINGS, WINDOW_UPDATE, HEADERS. */
static void test_http2_curl(void **state)
{
        static const char hex[] = "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a"
                                  "000012040000000000000300000064000402000000000200000000"
                                  "00000408000000000001ff0001"
                                  "0000260105000000018204022f7886418ff058d724e34ae5f23a6ba0b71e03c0"
                                  "7a8825b650c3abbcf2e153032a2f2a";
        enum { SIZE = (sizeof(hex) - 1) / 2 };
        uint8_t data[SIZE];

        assert_int_equal(hex_decode(hex, data, SIZE), 0);
        for (size_t n = HTTP_PREFACE; n <= SIZE; n++) {
                enum http_result r = parse(data, n, false);
                if (r == HTTP_REQUEST)
                        assert_name("web.chat.example");
                else
                        assert_int_equal(r, n == HTTP_PREFACE || n == 51 || n == 64 ? HTTP_STREAMS : HTTP_CUT);
        }
        assert_int_equal(parse(data, SIZE, false), HTTP_REQUEST);
        assert_int_equal(parse(data + HTTP_PREFACE, SIZE - HTTP_PREFACE, true), HTTP_REQUEST);
}

/* Header blocks; a HEADERS frame with stream 1 goes around them. */
static void test_http2_headers(void **state)
{
        static const struct {
                const char *block; /* hexadecimal */
                uint8_t flags;
                enum http_result expected;
                const char *name;
        } table[] = {
                {"82418c f1e3c2e5f23a6ba0ab90f4ff", 4, HTTP_REQUEST, "www.example.com"}, /* RFC 7541 C.4.1 */
                {"82410f 7777772e6578616d706c652e636f6d", 4, HTTP_REQUEST, "www.example.com"}, /* C.3.1 */
                {"82010f 7777772e6578616d706c652e636f6d", 4, HTTP_REQUEST, "www.example.com"},
                {"82110f 7777772e6578616d706c652e636f6d", 4, HTTP_REQUEST, "www.example.com"}, /* never indexed */
                {"3fe11f82410f 7777772e6578616d706c652e636f6d", 4, HTTP_REQUEST, "www.example.com"}, /* table size */
                {"826603 612e62", 4, HTTP_REQUEST, "a.b"}, /* host, not :authority */
                {"0f1703 612e62", 4, HTTP_REQUEST, "a.b"}, /* the same, its index in two bytes */
                {"4003 783a79 05 68656c6c6f 4103 612e62", 4, HTTP_REQUEST,
                 "a.b"}, /* behind a field of its own name */
                {"00 4103 612e62", 0x0c, HTTP_REQUEST, "a.b"}, /* padded */
                {"80000000ff 4103 612e62", 0x24, HTTP_REQUEST, "a.b"}, /* with a priority */
                {"82864107 612e623a343433", 4, HTTP_REQUEST, "a.b"},
                {"4105 612e622e2e", 4, HTTP_REQUEST, "a.b."},
                {"41811f", 4, HTTP_REQUEST, "a"},
                {"418118", 4, HTTP_REQUEST, "a"}, /* padded with zeros */
                {"41b8 "
                 "1c6490b2cd39ba75a29a8f5f6b109b7bf8f3ebdaf0ddbd7f061c58f265cd9f469d5af66dddbf871e5f9cff570044cb4db8e"
                 "b"
                 "cfad15c69a67",
                 4, HTTP_REQUEST, "abcdefghijklmnopqrstuvwxyz.ABCDEFGHIJKLMNOPQRSTUVWXYZ.0123456789-_"},
                {"8284", 4, HTTP_UNNAMED, NULL},
                {"4100", 4, HTTP_UNNAMED, NULL}, /* empty */
                {"4180", 4, HTTP_UNNAMED, NULL},
                {"41841c7ffd27", 4, HTTP_UNNAMED, NULL}, /* ab~c: a code longer than eight bits */
                {"417fffffffffff7f", 4, HTTP_UNNAMED, NULL}, /* an absurd length */
                {"4103 61", 4, HTTP_UNNAMED, NULL}, /* beyond the frame */
                {"ffffffffffffffff", 4, HTTP_UNNAMED, NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                uint8_t frame[HEX_MAX] = {0, 0, 0, HTTP2_HEADERS, table[i].flags, 0, 0, 0, 1};
                char hex[HEX_MAX], *h = hex;

                for (const char *s = table[i].block; *s; s++)
                        if (*s != ' ')
                                *h++ = *s;
                *h = 0;
                frame[2] = (uint8_t)(strlen(hex) / 2);
                assert_int_equal(hex_decode(hex, frame + HTTP2_FRAME_SIZE, frame[2]), 0);
                assert_int_equal(parse(frame, (size_t)HTTP2_FRAME_SIZE + frame[2], true), table[i].expected);
                if (table[i].name)
                        assert_name(table[i].name);
                /* a frame that is cut is never called unnamed, nor is a part of its name told */
                for (size_t n = 1; n < (size_t)HTTP2_FRAME_SIZE + frame[2]; n++) {
                        enum http_result r = parse(frame, n, true);
                        assert_true(r == HTTP_CUT || r == table[i].expected);
                        if (r == HTTP_REQUEST)
                                assert_name(table[i].name);
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_requests),      cmocka_unit_test(test_cuts),
                cmocka_unit_test(test_bounds),        cmocka_unit_test(test_http2_curl),
                cmocka_unit_test(test_http2_headers),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
