/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/diag.h"
#include "base/buf.h"
#include "base/text.h"
#include "record/chain.h"
#include "record/record.h"

/* RFC 8032 7.1, test 1. */
static const uint8_t seed[32] = {
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
        0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
};
static uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
static char device[DEVICE_ID_MAX];

static int setup(void **state)
{
        crypto_sign_seed_keypair(public_key, secret, seed);
        device_id_format(public_key, device);
        return 0;
}

/* The expected values were computed with Python's hashlib and base64. */
static void test_vectors(void **state)
{
        uint8_t hash[CHAIN_HASH_SIZE], salt[CHAIN_SALT_SIZE] = {1, 2, 3};
        char hex[2 * CHAIN_HASH_SIZE + 1];

        assert_string_equal(device, "d-eh7ddx5bksrgcytl7bkai36s");
        chain_start(public_key, hash);
        hex_encode(hash, sizeof(hash), hex);
        assert_string_equal(hex, "2795d7b5fb0360d5c0d7824f3582947a84bf28ea45af7b0719e74ae947aabd2c");
        chain_next(device, 0x0102030405060708, hash, salt, "{\"a\":1}", 7, hash);
        hex_encode(hash, sizeof(hash), hex);
        assert_string_equal(hex, "5601d808141ce2bd7640d1b8d3c22aed45fa2baaba1928b185a62640c5afee84");
}

static void test_branch(void **state)
{
        static const struct {
                const char *behind;
                bool holds;
        } cases[] = {{"", true},   {"~2", true},   {"~99", true},  {"~1", false}, {"~100", false},
                     {"~", false}, {"~02", false}, {"~2x", false}, {"2", false},  {"~2~2", false}};
        struct chain_seal seal = {.first = 4, .n = 1};
        uint8_t hash[2][CHAIN_HASH_SIZE] = {{1}, {1}};
        char id[64];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                snprintf(id, sizeof(id), "%s%s", device, cases[i].behind);
                assert_int_equal(device_id_is_of(id, public_key), cases[i].holds);
        }
        assert_false(device_id_is_of("d-eh7ddx5bksrgcytl7bkai36t", public_key));
        snprintf(id, sizeof(id), "%s~2", device);
        chain_link(device, 4, hash[0], hash[0], hash[0]);
        chain_link(id, 4, hash[1], hash[1], hash[1]);
        assert_memory_equal(hash[0], hash[1], CHAIN_HASH_SIZE);
        chain_seal_sign(&seal, device, secret);
        assert_int_equal(chain_seal_verify(&seal, id, public_key), 0);
}

static void test_key_new(void **state)
{
        struct chain_seal seal = {.first = 1, .n = 1};
        uint8_t p[2][DEVICE_KEY_SIZE], s[DEVICE_SECRET_SIZE];

        device_key_new(p[0], s);
        device_key_new(p[1], s);
        assert_memory_not_equal(p[0], p[1], DEVICE_KEY_SIZE);
        chain_seal_sign(&seal, device, s);
        assert_int_equal(chain_seal_verify(&seal, device, p[1]), 0);
        assert_int_equal(chain_seal_verify(&seal, device, p[0]), -EKEYREJECTED);
}

static void make_batch(struct buf *out, uint64_t first, size_t n, const char *record)
{
        _cleanup_(batch_done) struct batch b = {.seal = {.first = first, .n = n}};
        _cleanup_free_ char *header = NULL;
        uint8_t hash[CHAIN_HASH_SIZE];
        size_t size = 0;

        memcpy(b.device, device, sizeof(b.device));
        memcpy(b.boot, "0b1c2d3e-0000-4000-8000-000000000001", sizeof(b.boot));
        chain_start(public_key, b.seal.prev);
        memcpy(hash, b.seal.prev, sizeof(hash));
        b.salts = malloc(n * CHAIN_SALT_SIZE);
        for (size_t i = 0; i < n; i++) {
                memset(b.salts + i * CHAIN_SALT_SIZE, (int)i, CHAIN_SALT_SIZE);
                chain_next(device, first + i, hash, b.salts + i * CHAIN_SALT_SIZE, record, strlen(record), hash);
        }
        memcpy(b.seal.head, hash, sizeof(hash));
        chain_seal_sign(&b.seal, device, secret);

        assert_int_equal(batch_header_encode(&b, &header, &size), 0);
        buf_add(out, header, size);
        for (size_t i = 0; i < n; i++) {
                buf_add_string(out, record);
                buf_add_string(out, "\n");
        }
        assert_int_equal(buf_error(out), 0);
}

static void test_batch_round_trip(void **state)
{
        static const size_t counts[] = {1, 2, 50, BATCH_RECORDS_MAX};

        for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
                _cleanup_buf_ struct buf text = {0};
                _cleanup_(batch_done) struct batch b = {0};
                struct diag diag;

                make_batch(&text, 1, counts[i], "{\"a\":1}");
                assert_int_equal(batch_parse((char *)text.data, text.size, public_key, &b, &diag), 0);
                assert_int_equal(b.seal.n, counts[i]);
                assert_int_equal(b.seal.first, 1);
                assert_string_equal(b.device, device);
                assert_int_equal(b.sizes[counts[i] - 1], 7);
                assert_memory_equal(b.records[counts[i] - 1], "{\"a\":1}", 7);
        }
}

/* One byte changed anywhere is noticed, and nothing is written then. */
static void test_batch_every_byte(void **state)
{
        _cleanup_buf_ struct buf text = {0};

        make_batch(&text, 1, 2, "{\"a\":1}");
        for (size_t i = 0; i < text.size; i++) {
                struct batch b = {0};
                uint8_t was = text.data[i];
                int r;

                text.data[i] ^= 1;
                r = batch_parse((char *)text.data, text.size, public_key, &b, NULL);
                /* "boot" says what the seal does not cover; upper-case hex is the same number */
                if (r == 0) {
                        assert_string_not_equal(b.boot, "0b1c2d3e-0000-4000-8000-000000000001");
                        batch_done(&b);
                } else
                        assert_null(b.salts);
                text.data[i] = was;
                /* cut there */
                assert_true(batch_parse((char *)text.data, i, public_key, &b, NULL) < 0);
        }
}

static void test_batch_refused(void **state)
{
        static const struct {
                const char *from, *to;
                int r;
                unsigned line;
        } cases[] = {
                {"\"v\":1", "\"v\":2", -EBADMSG, 1},
                {"\"n\":2", "\"n\":0", -EBADMSG, 1},
                {"\"n\":2", "\"n\":1001", -EBADMSG, 1},
                {"\"n\":2", "\"n\":-1", -EBADMSG, 1},
                {"\"n\":2", "\"n\":3", -EBADMSG, 1},
                {"\"n\":2", "\"n\":1e3", -EBADMSG, 1},
                {"\"n\":2", "\"n\":2,\"n\":2", -EBADMSG, 1},
                {"\"n\":2", "\"n\":2,\"x\":2", -EBADMSG, 1},
                {"\"first\":1", "\"first\":0", -EBADMSG, 1},
                {"\"first\":1", "\"first\":9223372036854775807", -EBADMSG, 1},
                {"\"first\":1", "\"first\":99999999999999999999", -EBADMSG, 1},
                {"\"first\":1", "\"first\":2", -EKEYREJECTED, 1},
                {"\"device\":\"d-", "\"device\":\"D-", -EBADMSG, 1},
                {"\"device\":\"d-", "\"device\":\"d-a", -EBADMSG, 1},
                {"\"boot\":\"", "\"boot\":\"\\u0000", -EBADMSG, 1},
                {"{\"a\":1}\n{", "{\"a\":2}\n{", -EILSEQ, 1},
                {"{\"a\":1}\n{", "\n{", -EBADMSG, 2},
                {"{\"a\":1}\n{", "{\"a\":1}\n\n{", -EBADMSG, 3},
                {"{\"v\"", "\n{\"v\"", -EBADMSG, 1},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ struct buf good = {0}, bad = {0};
                struct batch b = {0};
                struct diag diag = {0};
                const char *at;

                make_batch(&good, 1, 2, "{\"a\":1}");
                at = strstr((char *)good.data, cases[i].from);
                assert_non_null(at);
                buf_add(&bad, good.data, (size_t)(at - (char *)good.data));
                buf_add_string(&bad, cases[i].to);
                buf_add_string(&bad, at + strlen(cases[i].from));
                int r = batch_parse((char *)bad.data, bad.size, public_key, &b, &diag);
                if (r != cases[i].r || diag.line != cases[i].line)
                        print_error("case %zu '%s': %d line %u: %s\n", i, cases[i].to, r, diag.line, diag.text);
                assert_int_equal(r, cases[i].r);
                assert_int_equal(diag.line, cases[i].line);
        }
}

static void test_batch_sizes(void **state)
{
        _cleanup_free_ char *record = malloc(RECORD_MAX_BYTES + 2);
        _cleanup_free_ char *huge = NULL;
        struct diag diag;

        memset(record, 'x', RECORD_MAX_BYTES + 1);
        for (size_t size = RECORD_MAX_BYTES; size <= RECORD_MAX_BYTES + 1; size++) {
                _cleanup_buf_ struct buf text = {0};
                _cleanup_(batch_done) struct batch b = {0};

                record[size] = '\0';
                make_batch(&text, 1, 1, record);
                assert_int_equal(batch_parse((char *)text.data, text.size, public_key, &b, &diag),
                                 size > RECORD_MAX_BYTES ? -E2BIG : 0);
                record[size] = 'x';
        }

        _cleanup_buf_ struct buf longer = {0};
        struct batch b = {0};
        make_batch(&longer, 1, 1, "{}");
        buf_add_string(&longer, "{}\n");
        assert_int_equal(batch_parse((char *)longer.data, longer.size, public_key, &b, &diag), -EBADMSG);
        assert_int_equal(diag.line, 3);

        huge = calloc(1, BATCH_MAX_BYTES + 1);
        assert_int_equal(batch_parse(huge, BATCH_MAX_BYTES + 1, NULL, &b, &diag), -E2BIG);
        assert_int_equal(batch_parse(huge, BATCH_MAX_BYTES, NULL, &b, &diag), -EBADMSG);
        assert_int_equal(batch_parse(huge, 0, NULL, &b, &diag), -EBADMSG);
}

/* A chain must begin at its device's start; a seal by another key does not pass. */
static void test_batch_identity(void **state)
{
        _cleanup_buf_ struct buf text = {0};
        uint8_t other_public[DEVICE_KEY_SIZE], other_secret[DEVICE_SECRET_SIZE];
        _cleanup_(batch_done) struct batch b = {0};
        struct diag diag;

        make_batch(&text, 1, 1, "{}");
        device_key_new(other_public, other_secret);
        assert_int_equal(batch_parse((char *)text.data, text.size, other_public, &b, &diag), -EKEYREJECTED);
        assert_int_equal(batch_parse((char *)text.data, text.size, NULL, &b, &diag), 0);

        struct chain_seal seal = b.seal;
        seal.n++;
        assert_int_equal(chain_seal_verify(&seal, device, public_key), -EKEYREJECTED);
        assert_int_equal(chain_seal_verify(&b.seal, device, public_key), 0);
        assert_int_equal(chain_seal_verify(&b.seal, "d-other", public_key), -EKEYREJECTED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_vectors),          cmocka_unit_test(test_key_new),
                cmocka_unit_test(test_branch),           cmocka_unit_test(test_batch_round_trip),
                cmocka_unit_test(test_batch_every_byte), cmocka_unit_test(test_batch_refused),
                cmocka_unit_test(test_batch_sizes),      cmocka_unit_test(test_batch_identity),
        };
        return cmocka_run_group_tests(tests, setup, NULL);
}
