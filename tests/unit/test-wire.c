/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/buf.h"
#include "wire/dns.h"
#include "wire/tls.h"

/* Parses an exact-size copy, so that a sanitizer sees one byte too far. */
static enum wire_result parse(enum wire_result (*f)(wire_packet *, __u32, __u32, struct wire_name *),
                              const void *data, size_t size, struct wire_name *ret)
{
        _cleanup_free_ __u8 *copy = malloc(size ? size : 1);

        assert_non_null(copy);
        memcpy(copy, data, size);
        memset(ret, 0, sizeof(*ret));
        const struct wire_bytes p = {copy, (__u32)size};
        return f(&p, 0, (__u32)size, ret);
}

static void assert_name(const struct wire_name *n, const char *want)
{
        assert_int_equal(n->size, strlen(want));
        assert_memory_equal(n->text, want, n->size);
}

#define HEADER "\0\1\1\0\0\1\0\0\0\0\0\0"
#define TYPE   "\0\1\0\1"
#define LABEL60                                                                                                      \
        "\74"                                                                                                        \
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
        const char *what;
        const char *data;
        size_t size;
        enum wire_result result;
        const char *name;
} queries[] = {
#define Q(what, bytes, result, name)                                                                                 \
        {                                                                                                            \
                what, bytes, sizeof(bytes) - 1, result, name                                                         \
        }
        Q("plain", HEADER "\3web\7example\3org\0" TYPE, WIRE_FOUND, ".web.example.org"),
        Q("case is kept", HEADER "\3WeB\3oRg\0" TYPE, WIRE_FOUND, ".WeB.oRg"),
        Q("two questions", "\0\1\1\0\0\2\0\0\0\0\0\0\1a\0" TYPE "\1b\0" TYPE, WIRE_FOUND, ".a"),
        Q("other opcode", "\0\1\x29\0\0\1\0\0\0\0\0\0\1a\0" TYPE, WIRE_FOUND, ".a"),
        Q("an answer", "\0\1\x81\x80\0\1\0\0\0\0\0\0\1a\0" TYPE, WIRE_NONE, NULL),
        Q("no question", "\0\1\1\0\0\0\0\0\0\0\0\0\1a\0" TYPE, WIRE_NONE, NULL),
        Q("the root", HEADER "\0" TYPE, WIRE_NONE, NULL),
        Q("a dot inside a label",
          HEADER "\xf"
                 "web.example.org\0" TYPE,
          WIRE_FOUND,
          ".web\xff"
          "example\xff"
          "org"),
        Q("a pointer", HEADER "\3web\xc0\x0c" TYPE, WIRE_NONE, NULL),
        Q("a reserved length", HEADER "\x40" LABEL60 "aaaa\0" TYPE, WIRE_NONE, NULL),
        Q("cut in a label", HEADER "\3web\7exa", WIRE_CUT, NULL),
        Q("cut before the root", HEADER "\3web\7example\3org", WIRE_CUT, NULL),
        Q("header only", HEADER, WIRE_CUT, NULL),
        Q("empty", "", WIRE_CUT, NULL),
        Q("255 bytes",
          HEADER LABEL60 LABEL60 LABEL60 LABEL60 "\7"
                                                 "aaaaaaa\1b\0" TYPE,
          WIRE_FOUND, ""),
        Q("256 bytes",
          HEADER LABEL60 LABEL60 LABEL60 LABEL60 "\10"
                                                 "aaaaaaaa\1b\0" TYPE,
          WIRE_NONE, NULL),
};

static void test_dns(void **state)
{
        for (size_t i = 0; i < ELEMENTSOF(queries); i++) {
                struct wire_name n;
                enum wire_result r = parse(dns_query_name, queries[i].data, queries[i].size, &n);

                if (r != queries[i].result)
                        fail_msg("%s: %d", queries[i].what, r);
                if (queries[i].name && *queries[i].name)
                        assert_name(&n, queries[i].name);
                else if (r == WIRE_FOUND)
                        assert_int_equal(n.size, 254);
        }
}

struct hello {
        const char *name; /* NULL: no such extension */
        unsigned before; /* extensions before it */
        unsigned before_size; /* of each */
        unsigned after_size; /* of one behind it */
        unsigned session; /* length of the session id */
        __u8 name_type;
};

static void add_extension(struct buf *b, unsigned type, unsigned size)
{
        buf_add_be16(b, (__u16)type);
        buf_add_be16(b, (__u16)size);
        memset(buf_extend(b, size), 'x', size);
}

static void make_hello(const struct hello *h, struct buf *ret)
{
        _cleanup_buf_ struct buf e = {}, body = {};

        for (unsigned i = 0; i < h->before; i++)
                add_extension(&e, 0x0a0a + 0x1010 * i, h->before_size); /* RFC 8701 */
        if (h->name) {
                size_t size = strlen(h->name);
                buf_add_be16(&e, 0);
                buf_add_be16(&e, (__u16)(size + 5));
                buf_add_be16(&e, (__u16)(size + 3));
                buf_add(&e, &h->name_type, 1);
                buf_add_be16(&e, (__u16)size);
                buf_add(&e, h->name, size);
        }
        if (h->after_size)
                add_extension(&e, 21, h->after_size);
        buf_add(&body, "\3\3", 2);
        memset(buf_extend(&body, 32), 'r', 32);
        buf_add(&body, &(__u8){(__u8)h->session}, 1);
        memset(buf_extend(&body, h->session), 's', h->session);
        buf_add(&body, "\0\4\x13\1\x13\2\1\0", 8);
        buf_add_be16(&body, (__u16)e.size);
        buf_add(&body, e.data, e.size);
        buf_add(ret, "\x16\3\1", 3);
        buf_add_be16(ret, (__u16)(body.size + 4));
        buf_add(ret, "\1\0", 2);
        buf_add_be16(ret, (__u16)body.size);
        buf_add(ret, body.data, body.size);
        assert_int_equal(buf_error(ret), 0);
}

static const struct {
        struct hello hello;
        enum wire_result result;
        const char *name;
} hellos[] = {
        {{.name = "web.example.org", .session = 32}, WIRE_FOUND, ".web.example.org"},
        {{.name = "web.example.org"}, WIRE_FOUND, ".web.example.org"},
        {{.name = "web.example.org.", .session = 32}, WIRE_FOUND, ".web.example.org"},
        {{.name = "WEB.Example.ORG", .session = 32, .after_size = 1800}, WIRE_FOUND, ".WEB.Example.ORG"},
        {{.name = "web.example.org", .session = 32, .before = 1, .before_size = 1900},
         WIRE_FOUND,
         ".web.example.org"},
        {{.name = "web.example.org", .before = 63, .before_size = 20}, WIRE_FOUND, ".web.example.org"},
        {{.name = "web.example.org", .before = 64, .before_size = 2}, WIRE_CUT, NULL},
        {{.session = 32, .before = 5, .before_size = 3}, WIRE_NONE, NULL},
        {{.name = "web.example.org", .name_type = 1}, WIRE_NONE, NULL},
        {{.name = ""}, WIRE_NONE, NULL},
};

static void test_tls(void **state)
{
        for (size_t i = 0; i < ELEMENTSOF(hellos); i++) {
                _cleanup_buf_ struct buf b = {};
                struct wire_name n;

                make_hello(&hellos[i].hello, &b);
                enum wire_result r = parse(tls_server_name, b.data, b.size, &n);
                if (r != hellos[i].result)
                        fail_msg("hello %zu: %d", i, r);
                if (r == WIRE_FOUND)
                        assert_name(&n, hellos[i].name);
        }
}

/* Each beginning of a hello is cut, until its name is whole; none is read as another name. */
static void test_tls_cut(void **state)
{
        const struct hello h = {
                .name = "web.example.org", .before = 3, .before_size = 40, .after_size = 9, .session = 32};
        _cleanup_buf_ struct buf b = {};
        struct wire_name n;

        make_hello(&h, &b);
        for (size_t size = 1; size <= b.size; size++) {
                enum wire_result want = size < b.size - 4 - h.after_size ? WIRE_CUT : WIRE_FOUND;
                assert_int_equal(parse(tls_server_name, b.data, size, &n), want);
        }
}

/* A record that ends before the name does: the rest is in the next record. */
static void test_tls_records(void **state)
{
        const struct hello h = {.name = "web.example.org", .before = 1, .before_size = 4, .session = 32};
        _cleanup_buf_ struct buf b = {};
        struct wire_name n;

        make_hello(&h, &b);
        size_t whole = b.size - 5;
        buf_add(&b, "\x16\3\3", 3);
        for (size_t size = 39; size <= whole; size++) {
                b.data[3] = (__u8)(size >> 8);
                b.data[4] = (__u8)size;
                assert_int_equal(parse(tls_server_name, b.data, b.size, &n), size < whole ? WIRE_CUT : WIRE_FOUND);
        }
}

static void test_tls_other(void **state)
{
        static const struct {
                const char *data;
                size_t size;
                enum wire_result result;
        } t[] = {
                {"", 0, WIRE_NONE},
                {"GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n        ", 50, WIRE_NONE},
                {"\x16", 1, WIRE_CUT},
                {"\x17\3\3\0\5aaaaa", 10, WIRE_NONE},
                {"\x16\2\1\0\x40\1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 50, WIRE_NONE},
                {"\x16\3\3\0\x40\2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 50, WIRE_NONE},
        };
        struct wire_name n;

        for (size_t i = 0; i < ELEMENTSOF(t); i++)
                assert_int_equal(parse(tls_server_name, t[i].data, t[i].size, &n), t[i].result);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_dns),         cmocka_unit_test(test_tls),       cmocka_unit_test(test_tls_cut),
                cmocka_unit_test(test_tls_records), cmocka_unit_test(test_tls_other),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
