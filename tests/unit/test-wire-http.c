/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <arpa/inet.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "wire/http.h"

#define BYTES(s) s, sizeof(s) - 1
#define HEX_MAX  1024
#define SAID_MAX 4096

/* What a stream says: names and ends, one a line, and where it is over. */
struct said {
        char text[SAID_MAX];
        size_t over;
};

static void say(struct said *said, enum http_result r, struct authority *a)
{
        static const char *const ends[] = {
                [HTTP_CUT] = "", [HTTP_NONE] = "none\n", [HTTP_TUNNEL] = "tunnel\n", [HTTP_ODD] = "odd\n"};
        size_t n = strlen(said->text);

        if (r == HTTP_NAME) {
                assert_int_equal(a->name.text[0], '.');
                snprintf(said->text + n, SAID_MAX - n, "%.*s\n", (int)a->name.size - 1, a->name.text + 1);
        } else if (r != HTTP_STREAMS) {
                snprintf(said->text + n, SAID_MAX - n, "%s", ends[r]);
        }
}

/* Amid other bytes, in writes of `write` bytes. */
static struct said feed(const void *data, size_t size, bool streams, size_t write)
{
        _cleanup_free_ uint8_t *copy = malloc(size + 300);
        struct wire_bytes p = {copy, (uint32_t)size + 300};
        uint32_t pos = 7, last = (uint32_t)size + 7;
        struct http_stream http = {0};
        struct http2_stream http2 = {0};
        struct said said = {0};
        enum http_result r = HTTP_CUT;

        memset(copy, 'H', size + 300);
        memcpy(copy + 7, data, size);
        while (pos < last && r != HTTP_NONE && r != HTTP_TUNNEL && r != HTTP_ODD) {
                uint32_t end = last - pos > write ? pos + (uint32_t)write : last;

                r = streams ? http2_feed(&http2, &p, &pos, end) : http_feed(&http, &p, &pos, end);
                say(&said, r, streams ? &http2.host : &http.host);
                streams |= r == HTTP_STREAMS;
        }
        said.over = pos - 7;
        return said;
}

static void assert_says(const void *data, size_t size, bool streams, const char *expected)
{
        static const size_t writes[] = {1 << 20, 1, 2, 3, 7, 64};
        size_t over = feed(data, size, streams, size + 1).over;

        for (size_t i = 0; i < ELEMENTSOF(writes); i++) {
                struct said said = feed(data, size, streams, writes[i]);
                assert_string_equal(said.text, expected);
                assert_int_equal(said.over, over);
        }
}

#define WEB       "web.example.org\n"
#define BOTH      "one.example\ntwo.example\n"
#define GET(host) "GET / HTTP/1.1\r\nHost: " host "\r\n\r\n"

static void test_requests(void **state)
{
        static const struct {
                const char *request;
                size_t size;
                const char *says;
        } table[] = {
                {BYTES(GET("web.example.org")), WEB},
                {BYTES("GET / HTTP/1.1\r\nAccept: */*\r\nhOsT:web.example.org:8080\r\n"), WEB},
                {BYTES("POST /a?b=http://c/ HTTP/1.1\r\nHost:\t WeB.example.org.\t \r\n"), "WeB.example.org\n"},
                {BYTES("GET / HTTP/1.1\nHost: web.example.org\n\n"), WEB},
                {BYTES("\r\n\r\nGET / HTTP/1.1\r\nHost: web.example.org\r\n"), WEB},
                {BYTES("GET / HTTP/1.1\r\nX: Host: a\r\nXHost: b\r\nHosts: c\r\n Host: d\r\nHost: "
                       "web.example.org\r\n"),
                 WEB},
                {BYTES("GET / HTTP/1.1\r\nHost : web.example.org\r\n"), WEB},
                {BYTES("GET / HTTP/1.1\r\nHost:\r\n web.example.org\r\n"), WEB},
                {BYTES("GET / HTTP/1.1\r\nHost:\r\nAccept: a.b\r\n\r\n"), ""},
                {BYTES("GET / HTTP/1.1\r\nHost: a@web.example.org\r\n"), WEB},
                {BYTES("GET / HTTP/1.1\r\nHost: one.example\r\nHost: two.example\r\n\r\n"), BOTH},
                {BYTES("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n"), "2001:db8::1\n"},
                {BYTES("GET / HTTP/1.0\r\n\r\n"), ""},
                {BYTES("OPTIONS * HTTP/1.1\r\nHost: web.example.org\r\n"), WEB},
                {BYTES("brew-it! / HTTP/1.1\r\nhost: web.example.org\r\n"), WEB},
                {BYTES("GET index HTTP/1.1\r\nHost: web.example.org\r\n"), "index\n" WEB},
                {BYTES("GET /\xc3\xa4 HTTP/1.1\r\nHost: web.example.org\r\n"), WEB},

                {BYTES("GET http://one.example/a HTTP/1.1\r\nHost: two.example\r\n"), BOTH},
                {BYTES("GET http://web.example.org/a HTTP/1.1\r\nHost: web.example.org\r\n"), WEB},
                {BYTES("GET http://web.example.org HTTP/1.0\r\n"), WEB},
                {BYTES("GET ws://u:p@web.example.org:80/?q=@x HTTP/1.1\r\n"), WEB},
                {BYTES("GET http://one.example?@two.example/ HTTP/1.1\r\n"), BOTH},
                {BYTES("GET http://one.example\\@two.example/ HTTP/1.1\r\n"), BOTH},
                {BYTES("GET http://[web.example.org]:80/ HTTP/1.1\r\n"), WEB},
                {BYTES("GET\t http:// web.example.org\v\fHTTP/1.1\r\n"), WEB},
                {BYTES("GET http:///a HTTP/1.1\r\nHost: web.example.org\r\n"), WEB},
                {BYTES("GET /http://no.example/ HTTP/1.1\r\nHost: web.example.org\r\n"), WEB},

                {BYTES("CONNECT web.example.org:443 HTTP/1.1\r\n"), WEB},
                {BYTES("CONNECT web.example.org:443 HTTP/1.1\r\nHost: web.example.org:443\r\n\r\nGET "),
                 WEB "tunnel\n"},
                {BYTES("CONNECT user@web.example.org HTTP/1.0\r\n\r\n"), WEB "tunnel\n"},
                {BYTES("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"), "2001:db8::1\n"},
                {BYTES("CONNECT 192.0.2.1:443 HTTP/1.1\r\n"), "192.0.2.1\n"},
                {BYTES("CONNECT :443 HTTP/1.1\r\nHost: web.example.org\r\n\r\n"), WEB "tunnel\n"},
                {BYTES("CONNECT web.example.org:443 SIP/2.0\r\n\r\n"), WEB "tunnel\n"},
                {BYTES("CONNECT web.example.org:443\r\n\r\n"), WEB "tunnel\n"},
                {BYTES("CONNECTED\rweb.example.org:443\rX\r\n\r\n"), WEB "tunnel\n"},
                {BYTES("CONNECT https://web.example.org:443/ HTTP/1.1\r\n\r\n"), WEB "tunnel\n"},
                {BYTES("CONNECT\naccept-version:1.2\n\n"), "none\n"}, /* STOMP */

                /* any version */
                {BYTES("GET http://web.example.org/\r\n"), WEB}, /* HTTP/0.9, by Squid */
                {BYTES("CONNECT web.exa mple.org:443 HTTP/1.1\r\n"), "odd\n"},
                {BYTES("CONNECT web.example.org 443 x\r\n"), WEB}, /* IRC */
                {BYTES("PRI http://web.example.org/ HTTP/2.0\r\n"), WEB},
                {BYTES("GET / HTTP/1.10\r\nHost: web.example.org\r\n"), WEB},
                {BYTES("GET / http/01.1 x\r\nHost: web.example.org\r\n"), WEB},
                {BYTES("GET / HTTP/3.0\r\nHost: web.example.org\r\n"), WEB},
                {BYTES("GET / HTTP/2.0\r\nHost: web.example.org\r\n"), WEB},
                {BYTES(" \t GET / HTTP/1.1\r\nHost: web.example.org\r\n"), WEB},
                {BYTES("GET /http/ 1\r\nHost: web.example.org\r\n"), "none\n"},

                /* fields that are called nearly so */
                {BYTES("GET / HTTP/1.1\r\nXXXXXXt-Length: 500\r\nHost: one.example\r\n\r\n" GET("two.example")),
                 BOTH},
                {BYTES("GET / HTTP/1.1\r\nXontent-Length: 500\r\nHost: one.example\r\n\r\n" GET("two.example")),
                 BOTH},
                {BYTES("GET / HTTP/1.1\r\nContent-LengthX: 500\r\nHost: one.example\r\n\r\n" GET("two.example")),
                 BOTH},
                {BYTES("GET / HTTP/1.1\r\nContent-Lengt: 500\r\nHost: one.example\r\n\r\n" GET("two.example")), BOTH},
                {BYTES("GET / HTTP/1.1\r\nContent -Length: 500\r\nHost: one.example\r\n\r\n" GET("two.example")),
                 BOTH},
                {BYTES("GET / HTTP/1.1\r\nContent-encoding: chunked\r\nHost: one.example\r\n\r\n" GET("two.example")),
                 BOTH},
                {BYTES("GET / HTTP/1.1\r\nTransferxencoding: chunked\r\nHost: one.example\r\n\r\n" GET(
                         "two.example")),
                 BOTH},
                {BYTES("POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\nHost: one.example\r\n\r\n" GET(
                         "two.example")),
                 BOTH},
                {BYTES("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\nHost: one.example\r\n\r\nx" GET(
                         "two.example")),
                 BOTH},
                {BYTES("POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n"), "odd\n"},
                {BYTES("POST / HTTP/1.1\r\nContent-Length: 5 5\r\n"), "odd\n"},
                {BYTES("POST / HTTP/1.1\r\nContent-Length: +5\r\n"), "odd\n"},
                {BYTES("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n"), "odd\n"},
                {BYTES("POST / HTTP/1.1\r\nContent-Length: 5\r\n 5\r\n"), "odd\n"},
                {BYTES("POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n"), "odd\n"},
                {BYTES("POST / HTTP/1.1\r\nTransfer-Encoding: chunked, x\r\n"), "odd\n"},

                /* one behind the other; what they carry says nothing (RFC 9112 6.3) */
                {BYTES(GET("one.example") GET("two.example")), BOTH},
                {BYTES("POST / HTTP/1.1\r\nHost: one.example\r\nContent-Length: 40\r\n\r\n" GET(
                         "web.example.org") "x" GET("two.example")),
                 BOTH},
                {BYTES("POST / HTTP/1.1\r\ncontent-length:5 \r\nHost: one.example\r\n\r\nabcde" GET("two.example")),
                 BOTH},
                {BYTES("POST / HTTP/1.1\r\nHost: one.example\r\nContent-Length: 4\r\nTransfer-Encoding: gzip, "
                       "Chunked\r\n\r\n"
                       "27\r\n" GET("web.example.org") "\r\nA;x=y\r\n0123456789\r\n0\r\nHost: "
                                                       "three.example\r\n\r\n" GET("two.example")),
                 BOTH},
                {BYTES("POST / HTTP/1.1\r\nHost: one.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET(
                         "two.example")),
                 BOTH},
                {BYTES(GET("one.example") "\x81\x05hello"), "one.example\nnone\n"}, /* an upgrade to WebSocket */

                {BYTES("GET / HTTP/1.1\r\nHost: web.example.or"), ""},
                {BYTES("GET / HTTP/1.1\r\nHost: web.example.org"), ""},
                {BYTES("CONNECT web.example.org:443 HTTP/1.1"), ""},
                {BYTES("G"), ""},

                {BYTES("GET /\r\n"), "none\n"}, /* HTTP/0.9 */
                {BYTES("INVITE sip:a@web.example.org SIP/2.0\r\n"), "none\n"},
                {BYTES("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"), "none\n"},
                {BYTES("EHLO web.example.org\r\n"), "none\n"},
                {BYTES("HTTP/1.1 200 OK\r\nHost: web.example.org\r\n"), "none\n"},
                {BYTES("\x16\x03\x01\x02\x00\x01"), "none\n"},
                {BYTES("GET \1\2 HTTP/1.1\r\nHost: web.example.org\r\n"), "none\n"},
                {BYTES("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n"), "none\n"}, /* method of 33 bytes */
                {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r"), ""},
                {BYTES("GET * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "none\n"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                assert_says(table[i].request, table[i].size, false, table[i].says);
}

static void test_bounds(void **state)
{
        static const char first[] = "GET / HTTP/1.1\r\nX: ", last[] = "\r\nHost: web.example.org\r\n";
        static char request[100000];
        char host[300], expected[310];

        /* a head of any size */
        memset(request, 'x', sizeof(request));
        memcpy(request, first, strlen(first));
        memcpy(request + sizeof(request) - strlen(last), last, strlen(last));
        assert_says(request, sizeof(request), false, WEB);
        memcpy(request, "GET ", 4); /* a first line of more than any server takes */
        memset(request + 4, 'x', sizeof(request) - 4);
        assert_string_equal(feed(request, sizeof(request), false, 1000).text, "none\n");
        for (int size = 250; size < 260; size++) {
                memset(host, 'a', sizeof(host));
                int n = snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %.*s:80\r\n\r\n", size, host);
                snprintf(expected, sizeof(expected), "%.*s\n", size, host);
                assert_says(request, (size_t)n, false, size <= AUTHORITY_HOST_MAX ? expected : "");
                n = snprintf(request, sizeof(request), "CONNECT %.*s@a.b:80 HTTP/1.1\r\n", size, host);
                assert_says(request, (size_t)n, false, "a.b\n");
        }
}

static void test_addresses(void **state)
{
        static const struct {
                const char *text;
                const char *address; /* NULL: it is none */
        } table[] = {
                {"149.154.167.51", "::ffff:149.154.167.51"},
                {"255.255.255.255", "::ffff:255.255.255.255"},
                {"0", "::ffff:0.0.0.0"},
                {"2509940531", "::ffff:149.154.167.51"}, /* inet_aton(3) */
                {"0x959aA733", "::ffff:149.154.167.51"},
                {"0225.0232.0247.063", "::ffff:149.154.167.51"},
                {"149.154.42803", "::ffff:149.154.167.51"},
                {"149.10135347", "::ffff:149.154.167.51"},
                {"[2001:67c:4e8::1]", "2001:67c:4e8::1"},
                {"2001:67C:4e8:0:0:0:0:a", "2001:67c:4e8::a"},
                {"[::]", "::"},
                {"[::1]", "::1"},
                {"[fe80::]", "fe80::"},
                {"[1:2:3:4:5:6:7::]", "1:2:3:4:5:6:7:0"},
                {"[::ffff:149.154.167.51]", "::ffff:149.154.167.51"},
                {"[1:2:3:4:5:6:7:8]", "1:2:3:4:5:6:7:8"},
                {"256.1.1.1", NULL},
                {"1.2.3.4.5", NULL},
                {"1.2.3.256", NULL},
                {"4294967296", NULL},
                {"99999999999999999999", NULL},
                {"09.1.1.1", NULL},
                {"1..1", NULL},
                {"web.whatsapp.com", NULL},
                {"face.cafe", NULL},
                {"1.2.3.com", NULL},
                {"0x1g", NULL},
                {"[1:2:3:4:5:6:7:8:9]", NULL},
                {"[1:2:3]", NULL},
                {"[12345::]", NULL},
                {"[::1.2.3]", NULL},
                {"[1:2:3:4:5:6:7:1.2.3.4]", NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct authority a = {0};
                uint8_t expected[16];

                for (const char *s = table[i].text; *s; s++)
                        authority_add(&a, (uint8_t)*s);
                assert_true(authority_end(&a));
                for (int again = 0; again < 2; again++)
                        assert_int_equal(authority_address(&a), table[i].address != NULL);
                if (!table[i].address)
                        continue;
                assert_int_equal(inet_pton(AF_INET6, table[i].address, expected), 1);
                assert_memory_equal(a.literal.address, expected, sizeof(expected));
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
        assert_says(data, SIZE, false, "web.chat.example\n");
        assert_says(data + 24, SIZE - 24, true, "web.chat.example\n");
}

/* Header blocks; a HEADERS frame with stream 1 goes around them. */
static void test_http2_headers(void **state)
{
        static const struct {
                const char *block; /* hexadecimal */
                uint8_t flags;
                const char *says;
        } table[] = {
                {"82418c f1e3c2e5f23a6ba0ab90f4ff", 4, "www.example.com\n"}, /* RFC 7541 C.4.1 */
                {"82410f 7777772e6578616d706c652e636f6d", 4, "www.example.com\n"}, /* C.3.1 */
                {"82010f 7777772e6578616d706c652e636f6d", 4, "www.example.com\n"},
                {"82110f 7777772e6578616d706c652e636f6d", 4, "www.example.com\n"}, /* never indexed */
                {"3fe11f82410f 7777772e6578616d706c652e636f6d", 4, "www.example.com\n"}, /* table size */
                {"826603 612e62", 4, "a.b\n"}, /* host, not :authority */
                {"0f1703 612e62", 4, "a.b\n"}, /* the same, its index in two bytes */
                {"4003 783a79 05 68656c6c6f 4103 612e62", 4, "a.b\n"}, /* behind a field of its own name */
                {"00 4103 612e62", 0x0c, "a.b\n"}, /* padded */
                {"80000000ff 4103 612e62", 0x24, "a.b\n"}, /* with a priority */
                {"82864107 612e623a343433", 4, "a.b\n"},
                {"4105 612e622e2e", 4, "a.b.\n"},
                {"41811f", 4, "a\n"},
                {"418118", 4, "a\n"}, /* padded with zeros */
                {"41b8 "
                 "1c6490b2cd39ba75a29a8f5f6b109b7bf8f3ebdaf0ddbd7f061c58f265cd9f469d5af66dddbf871e5f9cff570044cb4db8e"
                 "b"
                 "cfad15c69a67",
                 4, "abcdefghijklmnopqrstuvwxyz.ABCDEFGHIJKLMNOPQRSTUVWXYZ.0123456789-_\n"},
                {"8284", 4, ""},
                {"4100", 4, ""}, /* empty */
                {"4180", 4, ""},
                {"41841c7ffd27", 4, ""}, /* ab~c: a code longer than eight bits */
                {"417fffffffffff7f", 4, "odd\n"}, /* an absurd length */
                {"4103 61", 4, ""}, /* beyond the frame */
                {"ffffffffffffffff", 4, "odd\n"},
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
                assert_says(frame, (size_t)HTTP2_FRAME_SIZE + frame[2], true, table[i].says);
        }
}

/* Frames of several requests; of each only what was not said before. */
static void test_http2_requests(void **state)
{
        static const struct {
                const char *frames; /* hexadecimal */
                const char *says;
        } table[] = {
                {"000006 01 04 00000001 82 4103 612e62  000005 01 04 00000003 4103 632e64", "a.b\nc.d\n"},
                {"000003 00 01 00000001 4103ff  000005 01 04 00000003 4103 632e64", "c.d\n"}, /* DATA says nothing */
                {"000000 00 01 00000001  000005 01 04 00000003 4103 632e64", "c.d\n"},
                {"000003 01 00 00000001 824103  000002 09 00 00000001 612e  000001 09 04 00000001 62", "a.b\n"},
                /* the name :authority as a literal, and by its place in the dynamic table */
                {"000010 01 04 00000001 400a 3a617574686f72697479 03 612e62  000005 01 04 00000003 7e03 632e64",
                 "a.b\nc.d\n"},
                {"00000a 01 04 00000001 4103 612e62 7a03782e79  000006 01 04 00000003 7f0003 632e64", "a.b\nc.d\n"},
                {"000007 01 0c 00000001 01 4103 612e62 41  000005 01 04 00000003 4103 632e64",
                 "a.b\nc.d\n"}, /* padding */
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                char hex[HEX_MAX], *h = hex;
                uint8_t data[HEX_MAX];

                for (const char *s = table[i].frames; *s; s++)
                        if (*s != ' ')
                                *h++ = *s;
                *h = 0;
                assert_int_equal(hex_decode(hex, data, strlen(hex) / 2), 0);
                assert_says(data, strlen(hex) / 2, true, table[i].says);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_requests),      cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_addresses),     cmocka_unit_test(test_http2_curl),
                cmocka_unit_test(test_http2_headers), cmocka_unit_test(test_http2_requests),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
