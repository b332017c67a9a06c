/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "cli/evidence.h"
#include "cli/packed.h"

#define RECORDS 3 /* of a batch */
#define BATCHES 3

static uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];

/* Batches of a device's chain, as it sends them. */
static void make_chain(struct buf out[static BATCHES])
{
        uint8_t salts[RECORDS * CHAIN_SALT_SIZE] = {7}, head[CHAIN_HASH_SIZE];
        uint64_t seq = 1;

        chain_start(public_key, head);
        for (int i = 0; i < BATCHES; i++) {
                struct batch b = {.boot = "11111111-1111-4111-8111-111111111111", .salts = salts};
                _cleanup_buf_ struct buf lines = {0};
                _cleanup_free_ char *header = NULL;
                size_t size;

                device_id_format(public_key, b.device);
                b.seal.first = seq;
                b.seal.n = RECORDS;
                memcpy(b.seal.prev, head, sizeof(head));
                for (int k = 0; k < RECORDS; k++, seq++) {
                        char record[128];

                        snprintf(record, sizeof(record),
                                 "{\"n\":%d,\"unmapped\":{\"onchannel\":{\"coverage\":{\"event\":"
                                 "\"%s\",\"gap_ms\":%d}}}}",
                                 (int)seq, seq == 5 ? "gap" : "heartbeat", seq == 5 ? 4000 : 0);
                        chain_next(b.device, seq, head, salts + k * CHAIN_SALT_SIZE, record, strlen(record), head);
                        buf_addf(&lines, "%s\n", record);
                }
                memcpy(b.seal.head, head, sizeof(head));
                chain_seal_sign(&b.seal, b.device, secret);
                assert_int_equal(batch_header_encode(&b, &header, &size), 0);
                buf_add(&out[i], header, size);
                buf_add(&out[i], lines.data, lines.size);
        }
}

static void add(struct evidence *e, const struct buf *b)
{
        const struct evidence_input in = {.text = (const char *)b->data, .size = b->size, .file = "f", .line = 10};

        assert_int_equal(evidence_add(e, &in), 0);
}

enum change { NOTHING, RECORD_CHANGED, SIGNATURE_CHANGED, ONE_MISSING, FIRST_MISSING, OTHER_KEY, TWICE };

static void test_verify(void **state)
{
        static const struct {
                enum change change;
                size_t problems;
                unsigned line;
                const char *says;
        } table[] = {
                {NOTHING, 0, 0, NULL},
                {TWICE, 0, 0, NULL},
                {FIRST_MISSING, 0, 0, NULL},
                {RECORD_CHANGED, 2, 0, "chain is broken"},
                {SIGNATURE_CHANGED, 2, 0, "not this device's signature"},
                {ONE_MISSING, 1, 11, "records 4 to 6"},
                {OTHER_KEY, 3, 0, "not this device's signature"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(evidence_done) struct evidence e = {.has_key = true};
                struct buf chain[BATCHES] = {0};
                enum change change = table[i].change;

                make_chain(chain);
                memcpy(e.key, public_key, sizeof(e.key));
                if (change == OTHER_KEY)
                        e.key[0] ^= 1;
                if (change == RECORD_CHANGED)
                        chain[1].data[chain[1].size - 4] ^= 1;
                if (change == SIGNATURE_CHANGED) {
                        char *p = strstr((char *)chain[1].data, "\"sig\":\"") + 7;

                        *p = *p == '0' ? '1' : '0';
                }
                for (int k = BATCHES - 1; k >= 0; k--)
                        if (!(change == ONE_MISSING && k == 1) && !(change == FIRST_MISSING && k == 0))
                                add(&e, &chain[k]);
                if (change == TWICE)
                        add(&e, &chain[0]);
                evidence_link(&e);
                assert_int_equal(e.n_problems, table[i].problems);
                if (table[i].says)
                        assert_non_null(strstr(e.problems[0].text, table[i].says));
                if (table[i].line)
                        assert_int_equal(e.problems[0].line, table[i].line);
                assert_int_equal(e.starts_at_first, change != FIRST_MISSING);
                if (change == NOTHING) {
                        assert_int_equal(e.records, RECORDS * BATCHES);
                        assert_int_equal(e.n_uncovered, 1);
                        assert_int_equal(e.uncovered_ms, 4000);
                }
                for (int k = 0; k < BATCHES; k++)
                        buf_done(&chain[k]);
        }
}

/* However it comes in pieces, the sum behind it is told from what it is over. */
static void test_packed(void **state)
{
        static const size_t pieces[] = {1, 7, 39, 40, 41, 100, 1000}, sizes[] = {0, 1, 39, 40, 500};
        uint8_t data[500 + PACKED_SUM];

        randombytes_buf(data, sizeof(data));
        for (size_t k = 0; k < ELEMENTSOF(sizes) * ELEMENTSOF(pieces); k++) {
                size_t body = sizes[k / ELEMENTSOF(pieces)], piece = pieces[k % ELEMENTSOF(pieces)];

                memcpy(data + body, PACKED_SUM_BEGIN, PACKED_BEGIN);
                crypto_hash_sha256(data + body + PACKED_BEGIN, data, body);
                for (int changed = 0; changed < 3; changed++) {
                        struct packed p;

                        data[changed == 1 ? 0 : body + PACKED_SUM - 1] ^= changed > 0;
                        packed_init(&p);
                        for (size_t i = 0; i < body + PACKED_SUM; i += piece)
                                packed_add(&p, data + i,
                                           piece < body + PACKED_SUM - i ? piece : body + PACKED_SUM - i);
                        assert_int_equal(packed_holds(&p), !changed);
                        data[changed == 1 ? 0 : body + PACKED_SUM - 1] ^= changed > 0;
                }
                randombytes_buf(data + body, PACKED_SUM);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_verify),
                cmocka_unit_test(test_packed),
        };

        if (sodium_init() < 0)
                return 1;
        device_key_new(public_key, secret);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
