/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "tests/support/quic-seal.h"

#define NAME       "chat.example.org"
#define HELLO_SIZE 1900
#define SENTINEL   "unwritten"

static struct quic *q;
static struct quic_flow flow;
static char name[WIRE_NAME_SIZE];
static const struct seal v1 = {.version = QUIC_VERSION_1, .dcid = {8, "client-1"}};

static int setup(void **state)
{
        return quic_new(&q);
}

static int teardown(void **state)
{
        quic_free(q);
        return 0;
}

static void begin(void)
{
        quic_flow_init(&flow, q);
}

/* Feeds an exact-size copy, and checks that a name is written when one is found. */
static int feed(const uint8_t *datagram, size_t size)
{
        _cleanup_free_ uint8_t *copy = malloc(size ? size : 1);

        memcpy(copy, datagram, size);
        strcpy(name, SENTINEL);
        int r = quic_flow_feed(&flow, copy, size, name);
        assert_int_equal(strcmp(name, SENTINEL) != 0, r == QUIC_FOUND);
        return r;
}

/* Frames in a packet of their own, in a datagram as large as a client makes it. */
static int feed_frames(const struct seal *s, const void *frames, size_t size)
{
        uint8_t datagram[20000] = {0};
        size_t n = quic_seal(q, s, frames, size, datagram);

        return feed(datagram, n > QUIC_INITIAL_DATAGRAM_MIN ? n : QUIC_INITIAL_DATAGRAM_MIN);
}

/* Appends a CRYPTO frame for [from, to) of the hello, with two-byte numbers. */
static size_t add_crypto(uint8_t *frames, const uint8_t *hello, size_t from, size_t to)
{
        frames[0] = 0x06;
        frames[1] = (uint8_t)(0x40 | from >> 8);
        frames[2] = (uint8_t)from;
        frames[3] = (uint8_t)(0x40 | (to - from) >> 8);
        frames[4] = (uint8_t)(to - from);
        memcpy(frames + 5, hello + from, to - from);
        return 5 + to - from;
}

static int feed_crypto(const struct seal *s, const uint8_t *hello, size_t from, size_t to)
{
        uint8_t frames[QUIC_CRYPTO_MAX + 5];

        return feed_frames(s, frames, add_crypto(frames, hello, from, to));
}

static void put16(uint8_t *p, size_t n)
{
        p[0] = (uint8_t)(n >> 8);
        p[1] = (uint8_t)n;
}

static size_t add_extension(uint8_t *p, unsigned type, const void *data, size_t size)
{
        put16(p, type);
        put16(p + 2, size);
        if (data)
                memcpy(p + 4, data, size);
        else
                memset(p + 4, 0x55, size);
        return 4 + size;
}

/* A hello like Chromium's: extensions before the name, among them a share of X25519MLKEM768
 * (1,216 + 4 bytes), and what is wanted behind it. Returns its size. */
static size_t make_hello(uint8_t *p, const void *sni, size_t sni_size, size_t total)
{
        static const uint8_t start[] = {1, 0, 0, 0, 3, 3};
        uint8_t list[5 + 300] = {0}, *begin_extensions;
        uint8_t *at = p + sizeof(start) + 32;

        memcpy(p, start, sizeof(start));
        memset(p + sizeof(start), 0xaa, 32);
        *at++ = 0; /* session id */
        memcpy(at, "\0\6\x13\1\x13\2\x13\3\1\0", 10);
        at += 12;
        begin_extensions = at;
        at += add_extension(at, 0x2a2a, NULL, 0);
        at += add_extension(at, 51, NULL, 1222);
        if (sni) {
                put16(list, sni_size + 3);
                put16(list + 3, sni_size);
                memcpy(list + 5, sni, sni_size);
                at += add_extension(at, 0, list, sni_size + 5);
        }
        if (p + total > at + 4)
                at += add_extension(at, 57, NULL, (size_t)(p + total - at) - 4);
        put16(begin_extensions - 2, (size_t)(at - begin_extensions));
        put16(p + 2, (size_t)(at - p) - 4);
        return (size_t)(at - p);
}

static const uint8_t *usual_hello(void)
{
        static uint8_t hello[HELLO_SIZE + 8];

        assert_int_equal(make_hello(hello, NAME, strlen(NAME), HELLO_SIZE), HELLO_SIZE);
        return hello;
}

/* The datagrams of a corpus file: fuzz-quic.c says how they are kept. */
static size_t corpus_datagram(const char *file, unsigned index, uint8_t ret[static 2048])
{
        _cleanup_free_ char *path = NULL, *data = NULL;
        size_t size, n = 0;

        assert_true(asprintf(&path, "%s/tests/fuzz/corpus/quic/%s", getenv("ONCHANNEL_SOURCE"), file) > 0);
        assert_int_equal(file_read(path, 65536, &data, &size), 0);
        for (size_t at = 0; at + 3 <= size; at += 3 + n) {
                n = (size_t)(uint8_t)data[at + 1] << 8 | (uint8_t)data[at + 2];
                if (index-- == 0) {
                        assert_true(n <= 2048 && at + 3 + n <= size);
                        memcpy(ret, data + at + 3, n);
                        return n;
                }
        }
        return 0;
}

/* RFC 9001 A.1, RFC 9369 A.1 */
static void test_keys(void **state)
{
        static const struct {
                uint32_t version;
                struct quic_keys keys;
        } table[] = {
                {QUIC_VERSION_1,
                 {"\x1f\x36\x96\x13\xdd\x76\xd5\x46\x77\x30\xef\xcb\xe3\xb1\xa2\x2d",
                  "\xfa\x04\x4b\x2f\x42\xa3\xfd\x3b\x46\xfb\x25\x5c",
                  "\x9f\x50\x44\x9e\x04\xa0\xe8\x10\x28\x3a\x1e\x99\x33\xad\xed\xd2"}},
                {QUIC_VERSION_2,
                 {"\x8b\x1a\x0b\xc1\x21\x28\x42\x90\xa2\x9e\x09\x71\xb5\xcd\x04\x5d",
                  "\x91\xf7\x3e\x23\x51\xd8\xfa\x91\x66\x0e\x90\x9f",
                  "\x45\xb9\x5e\x15\x23\x5d\x6f\x45\xa6\xb1\x9c\xbc\xb0\x29\x4b\xa9"}},
        };
        static const struct quic_cid dcid = {8, "\x83\x94\xc8\xf0\x3e\x51\x57\x08"};

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct quic_keys k;

                assert_int_equal(quic_keys_derive(q, quic_version_find(table[i].version), &dcid, &k), 0);
                assert_memory_equal(&k, &table[i].keys, sizeof(k));
        }
        assert_null(quic_version_find(0xff00001d));
}

/* RFC 9001 A.2, RFC 9369 A.2, whole, cut anywhere, and with any byte changed */
static void test_vectors(void **state)
{
        static const char *const files[] = {"rfc9001-a2", "rfc9369-a2"};

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                uint8_t datagram[2048];
                size_t size = corpus_datagram(files[i], 0, datagram);

                assert_int_equal(size, 1200);
                begin();
                assert_int_equal(feed(datagram, size), QUIC_FOUND);
                assert_string_equal(name, "example.com");
                assert_int_equal(feed(datagram, size), QUIC_FOUND);
                for (size_t n = 0; n < size; n++) {
                        begin();
                        assert_int_equal(feed(datagram, n), QUIC_NOT_QUIC);
                }
                for (size_t n = 0; n < size; n++) {
                        begin();
                        datagram[n] ^= 2;
                        int r = feed(datagram, size);
                        datagram[n] ^= 2;
                        if (n > 0 && n < 5)
                                assert_int_equal(r, QUIC_UNKNOWN_VERSION);
                        else
                                assert_true(r == QUIC_UNREADABLE || r == QUIC_NOT_QUIC);
                }
        }
}

static void test_chromium(void **state)
{
        static const char *const files[] = {"chromium-1", "chromium-2"};

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                uint8_t first[2048], second[2048];
                size_t first_size = corpus_datagram(files[i], 0, first);
                size_t second_size = corpus_datagram(files[i], 1, second);

                begin();
                assert_int_equal(feed(first, first_size), QUIC_MORE);
                assert_int_equal(feed(first, first_size), QUIC_MORE);
                assert_true(quic_flow_is_of(&flow, first, first_size) && !quic_flow_is_whole(&flow));
                assert_int_equal(feed(second, second_size), QUIC_FOUND);
                assert_true(quic_flow_is_of(&flow, second, second_size) && quic_flow_is_whole(&flow));
                assert_string_equal(name, NAME);
                begin();
                assert_int_equal(feed(second, second_size), QUIC_HEADLESS);
                assert_int_equal(feed(first, first_size), QUIC_FOUND);
                assert_string_equal(name, NAME);
        }
}

static void test_every_split(void **state)
{
        const uint8_t *hello = usual_hello();
        size_t name_end =
                (size_t)((const uint8_t *)memmem(hello, HELLO_SIZE, NAME, strlen(NAME)) - hello) + strlen(NAME);

        for (size_t cut = 0; cut <= HELLO_SIZE; cut++) {
                begin();
                assert_int_equal(feed_crypto(&v1, hello, 0, cut), cut < name_end ? QUIC_MORE : QUIC_FOUND);
                assert_int_equal(feed_crypto(&v1, hello, cut, HELLO_SIZE), QUIC_FOUND);
                assert_string_equal(name, NAME);
        }
}

static unsigned rnd(unsigned *seed, unsigned below)
{
        *seed = *seed * 1103515245 + 12345;
        return (*seed >> 16) % below;
}

/* 6 to 24 fragments, some of them overlapping, in any order over two Initials. */
static void test_shuffled(void **state)
{
        const uint8_t *hello = usual_hello();

        for (unsigned seed = 1; seed <= 500; seed++) {
                unsigned s = seed, n = 6 + rnd(&s, 19);
                size_t cut[25] = {0}, order[24];
                uint8_t frames[2][4096];
                size_t size[2] = {0};

                for (unsigned i = 1; i < n; i++)
                        cut[i] = HELLO_SIZE * i / n + rnd(&s, 30);
                cut[n] = HELLO_SIZE;
                for (unsigned i = 0; i < n; i++) {
                        unsigned j = rnd(&s, i + 1);
                        order[i] = order[j];
                        order[j] = i;
                }
                for (unsigned i = 0; i < n; i++) {
                        unsigned half = i >= n / 2;
                        size_t from = cut[order[i]], to = cut[order[i] + 1] + rnd(&s, 20);
                        size[half] +=
                                add_crypto(frames[half] + size[half], hello, from, to < HELLO_SIZE ? to : HELLO_SIZE);
                        frames[half][size[half]++] = rnd(&s, 2); /* PADDING or PING */
                }
                begin();
                int r = feed_frames(&v1, frames[0], size[0]);
                assert_true(r == QUIC_MORE || r == QUIC_HEADLESS || (r == QUIC_FOUND && strcmp(name, NAME) == 0));
                assert_int_equal(feed_frames(&v1, frames[1], size[1]), QUIC_FOUND);
                assert_string_equal(name, NAME);
        }
}

static void test_coalesced(void **state)
{
        const uint8_t *hello = usual_hello();
        struct seal early = v1, second = v1;
        uint8_t frames[2048], datagram[8192] = {0};
        size_t size = 0, n;

        early.other_type = true;
        second.number = 1;
        begin();
        size += quic_seal(q, &early, hello, 100, datagram);
        size += quic_seal(q, &v1, frames, add_crypto(frames, hello, 0, 900), datagram + size);
        size += quic_seal(q, &early, hello, 100, datagram + size);
        size += quic_seal(q, &second, frames, add_crypto(frames, hello, 900, HELLO_SIZE), datagram + size);
        assert_int_equal(feed(datagram, size), QUIC_FOUND);
        assert_string_equal(name, NAME);

        /* one that cannot be read does not hide the next */
        begin();
        datagram[quic_seal(q, &v1, hello, 100, datagram) - 1] ^= 1;
        assert_int_equal(feed(datagram, size), QUIC_UNREADABLE);
        size = quic_seal(q, &second, hello, 100, datagram);
        datagram[size - 1] ^= 1;
        size += quic_seal(q, &v1, frames, add_crypto(frames, hello, 0, HELLO_SIZE), datagram + size);
        assert_int_equal(feed(datagram, size), QUIC_FOUND);

        begin();
        size = 0;
        for (unsigned i = 0; i <= QUIC_PACKETS_MAX; i++)
                size += quic_seal(q, &early, hello, 100, datagram + size);
        n = quic_seal(q, &v1, frames, add_crypto(frames, hello, 0, HELLO_SIZE), datagram + size);
        assert_int_equal(feed(datagram, size + n), QUIC_TOO_LARGE);
        assert_int_equal(feed_crypto(&v1, hello, 0, HELLO_SIZE), QUIC_TOO_LARGE);

        /* a part of one connection's hello does not go with another's */
        begin();
        second.dcid = second.keys = (struct quic_cid){4, "anew"};
        size = quic_seal(q, &v1, frames, add_crypto(frames, hello, 0, 900), datagram);
        size += quic_seal(q, &second, frames, add_crypto(frames, hello, 0, HELLO_SIZE), datagram + size);
        assert_int_equal(feed(datagram, size), QUIC_MALFORMED);
}

static void test_connection_ids(void **state)
{
        const uint8_t *hello = usual_hello();
        struct seal later = v1, retried = v1, v2 = v1, longest = v1;

        /* the server chose another id: the keys stay */
        later.dcid = (struct quic_cid){5, "serve"};
        later.keys = v1.dcid;
        later.number = 300;
        later.number_size = 2;
        begin();
        assert_int_equal(feed_crypto(&later, hello, 0, 900), QUIC_UNREADABLE);
        assert_int_equal(feed_crypto(&v1, hello, 0, 900), QUIC_MORE);
        assert_int_equal(feed_crypto(&later, hello, 900, HELLO_SIZE), QUIC_FOUND);

        /* RFC 9000 17.2.5.2: after a Retry the keys follow from its id, the hello is sent again */
        retried.dcid = (struct quic_cid){4, "anew"};
        retried.token_size = 60;
        retried.number = 1;
        begin();
        assert_int_equal(feed_crypto(&v1, hello, 0, 900), QUIC_MORE);
        assert_int_equal(feed_crypto(&retried, hello, 900, HELLO_SIZE), QUIC_HEADLESS);
        assert_int_equal(feed_crypto(&retried, hello, 0, 900), QUIC_FOUND);

        /* RFC 9369 4.1: another version, the first id */
        v2.version = QUIC_VERSION_2;
        v2.dcid = later.dcid;
        v2.keys = v1.dcid;
        begin();
        assert_int_equal(feed_crypto(&v1, hello, 0, 900), QUIC_MORE);
        assert_int_equal(feed_crypto(&v2, hello, 900, HELLO_SIZE), QUIC_FOUND);

        longest.dcid = (struct quic_cid){20, "twenty bytes: its id"};
        begin();
        assert_int_equal(feed_crypto(&longest, hello, 0, HELLO_SIZE), QUIC_FOUND);
        longest.dcid.size = 0;
        begin();
        assert_int_equal(feed_crypto(&longest, hello, 0, HELLO_SIZE), QUIC_FOUND);
}

/* RFC 9000 A.3: a number of one byte is the nearest to the one expected. */
static void test_numbers(void **state)
{
        const uint8_t *hello = usual_hello();
        struct seal s = v1;

        begin();
        for (unsigned i = 0; i < 70; i++) {
                s.number = 100 * i;
                s.number_size = 1;
                assert_int_equal(feed_crypto(&s, hello, 10 * i, 10 * i + 10), QUIC_MORE);
        }
        s.number = 27 * 256 + 2;
        assert_int_equal(feed_crypto(&s, hello, 0, 10), QUIC_MORE);
        s.number -= 120;
        assert_int_equal(feed_crypto(&s, hello, 700, HELLO_SIZE), QUIC_FOUND);
}

/* A flow that begins many connections without a whole hello is given up. */
static void test_starts(void **state)
{
        const uint8_t *hello = usual_hello();
        struct seal s = v1;

        begin();
        for (unsigned i = 0; i < 2 * QUIC_STARTS_MAX; i++) {
                s.dcid.bytes[0] = (uint8_t)i;
                assert_int_equal(feed_crypto(&s, hello, 0, HELLO_SIZE), QUIC_FOUND);
        }
        for (unsigned i = 0; i <= QUIC_STARTS_MAX; i++) {
                s.dcid.bytes[0] = (uint8_t)(100 + i);
                assert_int_equal(feed_crypto(&s, hello, 0, 900), i < QUIC_STARTS_MAX ? QUIC_MORE : QUIC_TOO_LARGE);
        }
        assert_int_equal(feed_crypto(&s, hello, 0, HELLO_SIZE), QUIC_TOO_LARGE);
}

static void test_headers(void **state)
{
        static const struct {
                const char *start; /* 8 bytes */
                size_t size;
                int expected;
        } table[] = {
                {"\xca\x1a\x2a\x3a\x4a\x08", 1200,
                 QUIC_UNKNOWN_VERSION}, /* RFC 9000 15: reserved to force negotiation */
                {"\xc3Q046\x08", 1350, QUIC_UNKNOWN_VERSION},
                {"\xff\xff\0\0\x1d\x08", 1200, QUIC_UNKNOWN_VERSION}, /* draft 29 */
                {"\xca\x1a\x2a\x3a\x4a\x08", 1199, QUIC_NOT_QUIC},
                {"\xca\x1a\x2a\x3a\x4a\x15", 1200, QUIC_NOT_QUIC}, /* an id of 21 bytes */
                {"\x80\x1a\x2a\x3a\x4a\x08", 1200, QUIC_NOT_QUIC}, /* RTP */
                {"\xca\0\0\0\0\x08", 1200, QUIC_NOT_QUIC}, /* version negotiation */
                {"\xf0\0\0\0\1\x08", 1200, QUIC_NOT_QUIC}, /* Retry */
                {"\xc0k3C\xcf\x08", 1200, QUIC_NOT_QUIC}, /* Retry of version 2 */
                {"\xc0\0\0\0\1\x08", 1200, QUIC_UNREADABLE}, /* not authentic */
                {"\xc0\0\0\0\1\x15", 1200, QUIC_NOT_QUIC},
                {"\x40\0\0\0\1\x08", 1200, QUIC_NOT_QUIC}, /* short header */
                {"\x16\xfe\xfd\0\0\0", 1200, QUIC_NOT_QUIC}, /* DTLS */
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                uint8_t datagram[1400] = {0};

                memcpy(datagram, table[i].start, 6);
                begin();
                assert_int_equal(feed(datagram, table[i].size), table[i].expected);
                /* nothing sticks */
                assert_int_equal(feed_crypto(&v1, usual_hello(), 0, HELLO_SIZE), QUIC_FOUND);
        }
}

static void test_frames(void **state)
{
#define BYTES(s) s, sizeof(s) - 1
        static const struct {
                const char *frames;
                size_t size;
                int expected;
        } table[] = {
                {BYTES("\0\0\0\0"), QUIC_MORE},
                {BYTES("\1\1\1\1\1"), QUIC_MORE},
                {BYTES("\2\4\0\0\1\0\0"), QUIC_MORE}, /* ACK */
                {BYTES("\2\4\0\2\1\0\0\0\0"), QUIC_MORE}, /* with two ranges */
                {BYTES("\3\4\0\0\1\1\2\3"), QUIC_MORE}, /* ECN counts */
                {BYTES("\x1c\x40\x0a\6\4oops"), QUIC_MORE}, /* CONNECTION_CLOSE */
                {BYTES("\6\0\0\0\0"), QUIC_MORE}, /* an empty CRYPTO */
                {BYTES("\6\x80\0\x3f\xff\1x"), QUIC_HEADLESS}, /* the last byte that is kept */
                {BYTES("\6\x80\0\x40\0\1x"), QUIC_TOO_LARGE},
                {BYTES("\6\xff\xff\xff\xff\xff\xff\xff\xff\1x"), QUIC_TOO_LARGE},
                {BYTES("\6\0\4xyz"), QUIC_MALFORMED}, /* cut */
                {BYTES("\6\0\xff\xff\xff\xff\xff\xff\xff\xffx"), QUIC_MALFORMED},
                {BYTES("\2\4\0\xff\xff\xff\xff\xff\xff\xff\xff\0"), QUIC_MALFORMED},
                {BYTES("\3\4\0\0\1\1\2"), QUIC_MALFORMED},
                {BYTES("\x1c\x40\x0a\6\5oops"), QUIC_MALFORMED},
                {BYTES("\0\0\0\x40"), QUIC_MALFORMED}, /* half a number */
                {BYTES("\x1d\0\0\0"), QUIC_MALFORMED}, /* an application's close */
                {BYTES("\x08\0\1xx"), QUIC_MALFORMED}, /* STREAM */
                {BYTES("\x40\x06\0\4\2\0\0\0"), QUIC_MALFORMED}, /* a ServerHello, the type in two bytes */
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                begin();
                assert_int_equal(feed_frames(&v1, table[i].frames, table[i].size), table[i].expected);
                assert_int_equal(feed_crypto(&v1, usual_hello(), 0, HELLO_SIZE),
                                 table[i].expected <= QUIC_HEADLESS ? QUIC_FOUND : table[i].expected);
        }
}

static void test_contradictions(void **state)
{
        uint8_t other[HELLO_SIZE + 8], frames[2048], datagram[1200] = {0};
        const uint8_t *hello = usual_hello();
        size_t size;

        /* a decoy first, then the same bytes with another name */
        assert_int_equal(make_hello(other, "evil.example.org", 16, HELLO_SIZE), HELLO_SIZE);
        begin();
        assert_int_equal(feed_crypto(&v1, hello, 0, HELLO_SIZE), QUIC_FOUND);
        assert_int_equal(feed_crypto(&v1, other, 0, HELLO_SIZE), QUIC_MALFORMED);
        assert_int_equal(feed_crypto(&v1, hello, 0, HELLO_SIZE), QUIC_MALFORMED);

        /* RFC 9000 14.1: in a datagram that a server discards */
        size = quic_seal(q, &v1, frames, add_crypto(frames, hello, 0, 1000), datagram);
        begin();
        assert_int_equal(feed(datagram, size), QUIC_MALFORMED);
        size = quic_seal(q, &v1, "\2\4\0\0\1\0\0", 7, datagram);
        begin();
        assert_int_equal(feed(datagram, size), QUIC_MORE);
}

static void test_hellos(void **state)
{
        static char a253[255] = "";
        static const struct {
                const char *sni;
                size_t size;
                int expected;
                const char *name;
        } table[] = {
                {BYTES(NAME), QUIC_FOUND, NAME},
                {BYTES("WeB.Example.ORG"), QUIC_FOUND, "WeB.Example.ORG"},
                {BYTES("web.example.org."), QUIC_FOUND, "web.example.org"},
                {BYTES("a"), QUIC_FOUND, "a"},
                {a253, 253, QUIC_FOUND, a253},
                {a253, 255, QUIC_NO_NAME, NULL},
                {NULL, 0, QUIC_NO_NAME, NULL},
                {BYTES(""), QUIC_NO_NAME, NULL},
                {BYTES("."), QUIC_NO_NAME, NULL},
                {BYTES("ok.example\0.evil.example"), QUIC_MALFORMED, NULL},
                {BYTES("a b"), QUIC_MALFORMED, NULL},
                {BYTES("a\x7f"), QUIC_MALFORMED, NULL},
                {BYTES("caf\xc3\xa9.example"), QUIC_MALFORMED, NULL},
        };

        memset(a253, 'a', 253);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                uint8_t hello[HELLO_SIZE + 400];
                size_t size = make_hello(hello, table[i].sni, table[i].size, HELLO_SIZE);

                begin();
                assert_int_equal(feed_crypto(&v1, hello, 0, size), table[i].expected);
                if (table[i].name)
                        assert_string_equal(name, table[i].name);
        }
}

static void test_hello_sizes(void **state)
{
        static uint8_t hello[QUIC_CRYPTO_MAX + 64];
        struct seal s = v1;
        uint8_t *p;

        /* as large as it may be, its name at the end of three Initials, and one byte larger */
        assert_int_equal(make_hello(hello, NAME, strlen(NAME), QUIC_CRYPTO_MAX), QUIC_CRYPTO_MAX);
        begin();
        assert_int_equal(feed_crypto(&s, hello, 8000, QUIC_CRYPTO_MAX), QUIC_HEADLESS);
        assert_int_equal(feed_crypto(&s, hello, 0, 8000), QUIC_FOUND);
        assert_int_equal(make_hello(hello, NAME, strlen(NAME), QUIC_CRYPTO_MAX + 1), QUIC_CRYPTO_MAX + 1);
        begin();
        assert_int_equal(feed_crypto(&s, hello, 0, 4), QUIC_TOO_LARGE);

        /* extensions without end */
        size_t size = make_hello(hello, NULL, 0, 0);
        p = hello + size;
        for (unsigned i = 0; i < 300; i++)
                p += add_extension(p, 0x1000 + i, NULL, 0);
        put16(hello + 2, (size_t)(p - hello) - 4);
        put16(hello + 4 + 2 + 32 + 1 + 10, (size_t)(p - hello) - 51);
        begin();
        assert_int_equal(feed_crypto(&s, hello, 0, (size_t)(p - hello) - 1), QUIC_MORE);
        assert_int_equal(feed_crypto(&s, hello, 0, (size_t)(p - hello)), QUIC_NO_NAME);
}

/* A HelloRetryRequest: the second hello continues the stream of the first. */
static void test_second_hello(void **state)
{
        uint8_t two[2 * HELLO_SIZE + 16];

        memcpy(two, usual_hello(), HELLO_SIZE);
        assert_int_equal(make_hello(two + HELLO_SIZE, "evil.example.org", 16, HELLO_SIZE), HELLO_SIZE);
        begin();
        assert_int_equal(feed_crypto(&v1, two, 0, HELLO_SIZE), QUIC_FOUND);
        assert_int_equal(feed_crypto(&v1, two, HELLO_SIZE, HELLO_SIZE + 50), QUIC_FOUND);
        assert_string_equal(name, NAME);
        assert_int_equal(feed_crypto(&v1, two, HELLO_SIZE + 50, 2 * HELLO_SIZE), QUIC_FOUND);
        assert_string_equal(name, "evil.example.org");
        two[HELLO_SIZE] = 20;
        begin();
        assert_int_equal(feed_crypto(&v1, two, 0, 2 * HELLO_SIZE), QUIC_MALFORMED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_keys),           cmocka_unit_test(test_vectors),
                cmocka_unit_test(test_chromium),       cmocka_unit_test(test_every_split),
                cmocka_unit_test(test_shuffled),       cmocka_unit_test(test_coalesced),
                cmocka_unit_test(test_connection_ids), cmocka_unit_test(test_numbers),
                cmocka_unit_test(test_starts),         cmocka_unit_test(test_headers),
                cmocka_unit_test(test_frames),         cmocka_unit_test(test_contradictions),
                cmocka_unit_test(test_hellos),         cmocka_unit_test(test_hello_sizes),
                cmocka_unit_test(test_second_hello),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
