/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/buf.h"
#include "wire/answer.h"
#include "wire/dns.h"
#include "wire/tls.h"

/* Feeds exact-size copies of [0, cut) and [cut, size), so that a sanitizer sees one byte too far. */
static enum wire_result parse_tls(const void *data, size_t size, size_t cut, struct tls_stream *s)
{
        enum wire_result r = WIRE_CUT;

        memset(s, 0, sizeof(*s));
        for (size_t at = 0; at < size && r == WIRE_CUT; at = cut) {
                if (at == cut)
                        cut = size;
                _cleanup_free_ __u8 *copy = malloc(cut - at);
                assert_non_null(copy);
                memcpy(copy, (const __u8 *)data + at, cut - at);
                const struct wire_bytes p = {copy, (__u32)(cut - at)};
                __u32 pos = 0;
                r = tls_feed(s, &p, &pos, p.size);
        }
        return r;
}

/* The same for one DNS message; the first result. */
static enum wire_result parse_dns(const void *data, size_t size, struct dns_stream *s)
{
        _cleanup_free_ __u8 *copy = malloc(size ? size : 1);
        __u32 pos = 0;

        assert_non_null(copy);
        memcpy(copy, data, size);
        memset(s, 0, sizeof(*s));
        dns_begin(s, (__u32)size);
        const struct wire_bytes p = {copy, (__u32)size};
        return dns_feed(s, &p, &pos, p.size);
}

/* At once; an exact-size copy as well. */
static enum wire_result parse_query(const void *data, size_t size, struct wire_name *name)
{
        _cleanup_free_ __u8 *copy = malloc(size ? size : 1);

        assert_non_null(copy);
        memcpy(copy, data, size);
        memset(name, 0xee, sizeof(*name));
        const struct wire_bytes p = {copy, (__u32)size};
        return dns_query_name(&p, 0, p.size, name);
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
        Q("the second a pointer", "\0\1\1\0\0\2\0\0\0\0\0\0\0" TYPE "\1b\xc0\xc" TYPE, WIRE_NONE, NULL),
        Q("other opcode", "\0\1\x29\0\0\1\0\0\0\0\0\0\1a\0" TYPE, WIRE_FOUND, ".a"),
        Q("an answer", "\0\1\x81\x80\0\1\0\0\0\0\0\0\1a\0" TYPE, WIRE_CUT, NULL),
        Q("no question", "\0\1\1\0\0\0\0\0\0\0\0\0\1a\0" TYPE, WIRE_CUT, NULL),
        Q("the root", HEADER "\0" TYPE, WIRE_CUT, NULL),
        Q("a dot inside a label",
          HEADER "\xf"
                 "web.example.org\0" TYPE,
          WIRE_FOUND,
          ".web\xff"
          "example\xff"
          "org"),
        Q("a pointer", HEADER "\3web\xc0\x0c" TYPE, WIRE_NONE, NULL),
        Q("a reserved length", HEADER "\x40" LABEL60 "aaaa\0" TYPE, WIRE_CUT, NULL),
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
          WIRE_CUT, NULL),
};

static void test_dns(void **state)
{
        for (size_t i = 0; i < ELEMENTSOF(queries); i++) {
                struct dns_stream d;
                enum wire_result r = parse_dns(queries[i].data, queries[i].size, &d);

                if (r != queries[i].result)
                        fail_msg("%s: %d", queries[i].what, r);
                if (queries[i].name && *queries[i].name)
                        assert_name(&d.name, queries[i].name);
                else if (r == WIRE_FOUND)
                        assert_int_equal(d.name.size, 254);
        }
}

/* What can be read at once is what is read byte by byte; the odd cases are left to that. */
static void test_dns_query(void **state)
{
        static const struct {
                const char *data;
                size_t size;
                const char *name; /* NULL: not at once */
        } cases[] = {
#define C(bytes, name) {bytes, sizeof(bytes) - 1, name}
                C(HEADER "\3web\7example\3org\0" TYPE, ".web.example.org"),
                C(HEADER "\3web\7example\3org\0", ".web.example.org"),
                C(HEADER "\3web\7example\3org\0" TYPE "\0\0\x29....", ".web.example.org"), /* dots behind it */
                C("\0\1\1\0\0\1\0\0\0\0\0\1\1a\0" TYPE, ".a"),
                C("\0\1\1\0\0\2\0\0\0\0\0\0\1a\0" TYPE "\1b\0" TYPE, NULL),
                C(HEADER "\7web.org\0" TYPE, NULL),
                C(HEADER "\0" TYPE, NULL),
                C(HEADER "\3web", NULL),
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct wire_name name;
                enum wire_result r = parse_query(cases[i].data, cases[i].size, &name);

                assert_int_equal(r, cases[i].name ? WIRE_FOUND : WIRE_NONE);
                if (cases[i].name)
                        assert_name(&name, cases[i].name);
        }
        for (size_t i = 0; i < ELEMENTSOF(queries); i++) {
                struct dns_stream d;
                struct wire_name name;

                if (parse_query(queries[i].data, queries[i].size, &name) != WIRE_FOUND)
                        continue;
                assert_int_equal(parse_dns(queries[i].data, queries[i].size, &d), WIRE_FOUND);
                assert_int_equal(name.size, d.name.size);
                assert_memory_equal(name.text, d.name.text, name.size);
        }
}

/* Messages over TCP: an answer, two questions, an empty message, one of two bytes, a malformed
 * one, and a plain query behind all that. */
static const char stream[] = "\0\x15\0\1\x81\x80\0\1\0\0\0\0\0\0\1x\0" TYPE "ab"
                             "\0\x1c\0\1\1\0\0\2\0\0\0\0\0\0\1a\0" TYPE "\3b.c\0" TYPE "\0\0"
                             "\0\2zz"
                             "\0\x13" HEADER "\1y\xc0\xc\0\1\0"
                             "\0\x21" HEADER "\3web\7example\3org\0" TYPE;

/* However the stream is cut, the same names come. */
static void test_dns_stream(void **state)
{
        static const char *const want[] = {".a",
                                           ".b\xff"
                                           "c",
                                           ".web.example.org"};

        for (size_t step = 1; step < sizeof(stream); step++) {
                struct dns_stream s = {};
                size_t n = 0;

                for (size_t at = 0; at < sizeof(stream) - 1; at += step) {
                        size_t size = sizeof(stream) - 1 - at < step ? sizeof(stream) - 1 - at : step;
                        const struct wire_bytes p = {stream + at, (__u32)size};
                        enum wire_result r;
                        __u32 pos = 0;

                        while ((r = dns_feed(&s, &p, &pos, p.size)) == WIRE_FOUND) {
                                assert_in_range(n, 0, ELEMENTSOF(want) - 1);
                                assert_name(&s.name, want[n++]);
                        }
                        assert_int_equal(r, WIRE_CUT);
                        assert_int_equal(pos, size);
                }
                assert_int_equal(n, ELEMENTSOF(want));
                assert_int_equal(s.at, 0);
        }
}

#define ANSWER(n) "\0\1\x81\x80\0\1\0" n "\0\0\0\0\3www\7example\3org\0\0\1\0\1" /* "example.org" at 16 */
#define FIXED     "\0\1\0\0\0\x3c"

static const struct answer_case {
        const char *what;
        const char *data;
        size_t size;
        const char *names[4]; /* behind the question's */
} answers[] = {
#define A(what, bytes, ...)                                                                                          \
        {                                                                                                            \
                what, bytes, sizeof(bytes) - 1,                                                                      \
                {                                                                                                    \
                        __VA_ARGS__                                                                                  \
                }                                                                                                    \
        }
        A("an address", ANSWER("\1") "\xc0\xc\0\1" FIXED "\0\4abcd", NULL),
        A("an alias",
          ANSWER("\2") "\xc0\xc\0\5" FIXED "\0\x6\3web\xc0\x10"
                       "\xc0\x2d\0\1" FIXED "\0\4abcd",
          ".web.example.org"),
        A("aliases",
          ANSWER("\2") "\xc0\xc\0\5" FIXED "\0\3\1a\0"
                       "\1a\0\0\5" FIXED "\0\3\1b\0",
          ".a", ".b"),
        A("a service", ANSWER("\1") "\xc0\xc\0\x41" FIXED "\0\7\0\0\3web\0", ".web"),
        A("a service under its own name", ANSWER("\1") "\xc0\xc\0\x41" FIXED "\0\3\0\1\0", NULL),
        A("a pointer to itself", ANSWER("\1") "\xc0\xc\0\5" FIXED "\0\2\xc0\x2d", NULL),
        A("a loop", ANSWER("\1") "\xc0\xc\0\5" FIXED "\0\4\1a\xc0\x2d", NULL),
        A("cut", ANSWER("\1") "\xc0\xc\0\5" FIXED "\0\4\3we", NULL),
        A("no record", ANSWER("\1"), NULL),
};

/* With the names of the question and of owners, and without. */
static void test_answer(void **state)
{
        for (size_t i = 0; i < 2 * ELEMENTSOF(answers); i++) {
                const bool aliases = i >= ELEMENTSOF(answers);
                const struct answer_case *x = &answers[i % ELEMENTSOF(answers)];
                _cleanup_free_ char *copy = malloc(x->size);
                const struct wire_bytes p = {copy, (__u32)x->size};
                const char *const *want = x->names;
                struct wire_name n = {};
                enum wire_result r;
                struct answer a = {};

                assert_non_null(copy);
                memcpy(copy, x->data, x->size);
                assert_int_equal(answer_begin(&p, 0, p.size, &a), 0);
                a.aliases = aliases;
                assert_int_equal(answer_next(&p, &a, &n), aliases ? WIRE_CUT : WIRE_FOUND);
                if (!aliases)
                        assert_name(&n, ".www.example.org");
                while ((r = answer_next(&p, &a, &n)) != WIRE_NONE)
                        if (r == WIRE_FOUND) {
                                if (!*want)
                                        fail_msg("%s: %.*s", x->what, (int)n.size, n.text);
                                assert_name(&n, *want++);
                        }
                if (*want)
                        fail_msg("%s: no %s", x->what, *want);
        }
}

/* Behind the names: where an address is, and for how long. */
static void test_answer_addresses(void **state)
{
        static const char data[] = ANSWER("\3") "\xc0\xc\0\1\0\1\0\1\0\2\0\4abcd"
                                                "\xc0\xc\0\x1c\0\1\0\0\0\7\0\x10"
                                                "0123456789abcdef"
                                                "\xc0\xc\0\1\0\1\0\1\0\2\0\3abc";
        const struct wire_bytes p = {data, sizeof(data) - 1};
        struct wire_name n = {};
        struct answer a = {};

        assert_int_equal(answer_begin(&p, 0, p.size, &a), 0);
        assert_int_equal(answer_next(&p, &a, &n), WIRE_FOUND);
        assert_int_equal(a.address, 0);
        assert_int_equal(answer_next(&p, &a, &n), WIRE_CUT);
        assert_memory_equal(data + a.address, "abcd", 4);
        assert_int_equal(a.address_size, 4);
        assert_int_equal(a.ttl, 65538);
        assert_int_equal(answer_next(&p, &a, &n), WIRE_CUT);
        assert_memory_equal(data + a.address, "0123456789abcdef", 16);
        assert_int_equal(a.ttl, 7);
        assert_int_equal(answer_next(&p, &a, &n), WIRE_CUT); /* of three bytes */
        assert_int_equal(a.address, 0);
        assert_int_equal(answer_next(&p, &a, &n), WIRE_NONE);
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
        {{.name = "web.example.org", .before = 200, .before_size = 300}, WIRE_FOUND, ".web.example.org"},
        {{.session = 32, .before = 5, .before_size = 3}, WIRE_NONE, NULL},
        {{.name = "web.example.org", .name_type = 1}, WIRE_NONE, NULL},
        {{.name = ""}, WIRE_NONE, NULL},
};

static void test_tls(void **state)
{
        for (size_t i = 0; i < ELEMENTSOF(hellos); i++) {
                _cleanup_buf_ struct buf b = {};
                struct tls_stream t;

                make_hello(&hellos[i].hello, &b);
                enum wire_result r = parse_tls(b.data, b.size, b.size, &t);
                if (r != hellos[i].result)
                        fail_msg("hello %zu: %d", i, r);
                if (r == WIRE_FOUND)
                        assert_name(&t.name, hellos[i].name);
        }
}

/* Each beginning of a hello is cut, until its name is whole; none is read as another name. */
static void test_tls_cut(void **state)
{
        const struct hello h = {
                .name = "web.example.org", .before = 3, .before_size = 40, .after_size = 9, .session = 32};
        _cleanup_buf_ struct buf b = {};
        struct tls_stream t;

        make_hello(&h, &b);
        for (size_t size = 1; size <= b.size; size++) {
                enum wire_result want = size < b.size - 4 - h.after_size ? WIRE_CUT : WIRE_FOUND;
                assert_int_equal(parse_tls(b.data, size, size, &t), want);
                if (size < b.size) {
                        assert_int_equal(parse_tls(b.data, b.size, size, &t), WIRE_FOUND);
                        assert_name(&t.name, ".web.example.org");
                }
        }
}

/* The hello in records of every size, behind a change_cipher_spec, cut everywhere. */
static void test_tls_records(void **state)
{
        const struct hello h = {.name = "web.example.org", .before = 1, .before_size = 4, .session = 32};
        _cleanup_buf_ struct buf b = {};
        struct tls_stream t;

        make_hello(&h, &b);
        for (size_t step = 1; step < b.size; step++) {
                _cleanup_buf_ struct buf records = {};

                buf_add(&records, "\x14\3\3\0\1\1\x16\3\3\0\0", 11);
                for (size_t at = 5; at < b.size; at += step) {
                        size_t size = b.size - at < step ? b.size - at : step;
                        buf_add(&records, "\x15\3\3\0\2\1\x5a\x16\4\1", 10);
                        buf_add_be16(&records, (__u16)size);
                        buf_add(&records, b.data + at, size);
                }
                assert_int_equal(buf_error(&records), 0);
                for (size_t cut = 1; cut <= records.size; cut += 1 + step / 8) {
                        assert_int_equal(parse_tls(records.data, records.size, cut, &t), WIRE_FOUND);
                        assert_name(&t.name, ".web.example.org");
                }
        }
}

/* Behind a hello, with a name or without: early data, and a second one. Cut everywhere. */
static void test_tls_again(void **state)
{
        const struct hello first = {.name = "www.example.org", .before = 2, .before_size = 8, .after_size = 50},
                           nameless = {.before = 2, .before_size = 8}, second = {.name = "web.example.org"};

        for (int named = 0; named < 2; named++) {
                _cleanup_buf_ struct buf b = {};
                make_hello(named ? &first : &nameless, &b);
                buf_add(&b, "\x17\3\3\1\0", 5);
                for (int i = 0; i < 256; i++)
                        buf_add(&b, "\x16", 1);
                buf_add(&b, "\x14\3\3\0\1\1", 6);
                make_hello(&second, &b);
                for (__u32 cut = 1; cut <= b.size; cut++) {
                        struct tls_stream s = {};
                        int n = 0;
                        for (__u32 pos = 0, end = cut; pos < end; end = (__u32)b.size) {
                                const struct wire_bytes p = {b.data, end};
                                enum wire_result r = tls_feed(&s, &p, &pos, end);
                                if (r == WIRE_CUT)
                                        continue;
                                assert_int_equal(r, n == 0 && !named ? WIRE_NONE : WIRE_FOUND);
                                if (r == WIRE_FOUND)
                                        assert_name(&s.name, n ? ".web.example.org" : ".www.example.org");
                                n++;
                                assert_true(tls_go_on(&s));
                        }
                        assert_int_equal(n, 2);
                        assert_true(tls_is_between(&s));
                }
        }
}

static void test_tls_other(void **state)
{
        static const struct {
                const char *data;
                size_t size;
                enum wire_result result;
        } t[] = {
                {"GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n        ", 50, WIRE_NONE},
                {"\x16", 1, WIRE_CUT},
                {"\x17\3\3\0\5aaaaa", 10, WIRE_NONE},
                {"\x15\3\3\0\3aaaa", 9, WIRE_NONE},
                {"\x14\3\3\1\1aaaa", 9, WIRE_NONE},
                {"\x16\3\3\0\x40\2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 50, WIRE_NONE},
                {"\x16\3\3\0\x40\1\0\0\0", 9, WIRE_NONE},
        };
        struct tls_stream s;

        for (size_t i = 0; i < ELEMENTSOF(t); i++)
                assert_int_equal(parse_tls(t[i].data, t[i].size, t[i].size, &s), t[i].result);
}

/* A list of names whose first is of a kind that nobody has defined. */
static void test_tls_second_entry(void **state)
{
        static const char hello[] =
                "\x16\3\1\0\x40\1\0\0\x3c\3\3rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr\0\0\2\x13\1\1\0\0\x11"
                "\0\0\0\xd\0\xb\1\0\2zz\0\0\3a.b";
        struct tls_stream s;

        assert_int_equal(parse_tls(hello, sizeof(hello) - 1, 20, &s), WIRE_FOUND);
        assert_name(&s.name, ".a.b");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_dns),
                cmocka_unit_test(test_dns_query),
                cmocka_unit_test(test_dns_stream),
                cmocka_unit_test(test_answer),
                cmocka_unit_test(test_answer_addresses),
                cmocka_unit_test(test_tls),
                cmocka_unit_test(test_tls_cut),
                cmocka_unit_test(test_tls_records),
                cmocka_unit_test(test_tls_again),
                cmocka_unit_test(test_tls_other),
                cmocka_unit_test(test_tls_second_entry),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
