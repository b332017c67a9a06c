/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <zstd.h>
#include "base/cleanup.h"
#include "collector/api/filter.h"
#include "collector/api/ingest.h"
#include "record/record.h"

#define DEVICE "d-abcdefghijklmnopqrstuvwx"
#define META   "\"metadata\":{\"uid\":\"" DEVICE ":7\",\"sequence\":7},\"time\":1700000000000"
#define OURS                                                                                                         \
        "\"unmapped\":{\"onchannel\":{\"kind\":\"violation\",\"class\":\"use\",\"tier\":\"name\","                   \
        "\"layer\":\"tls\",\"outcome\":\"reset\",\"verdict\":\"block\",\"channel\":\"whatsapp\"}}"

static void test_record(void **state)
{
        static const struct {
                const char *text;
                const char *wrong; /* part of the reason; NULL: taken */
        } cases[] = {
                {"{" META "," OURS "}", NULL},
                {"{" META ",\"unmapped\":{\"onchannel\":{\"kind\":\"coverage\"}}}", NULL},
                {"", "expected"},
                {"[]", "not a JSON object"},
                {"{" META "," OURS, "expected"},
                {"{" META "," OURS "} x", "end of file"},
                {"{" META "," META "," OURS "}", "duplicate"},
                {"{\"time\":1," OURS "}", "metadata.uid"},
                {"{\"time\":1,\"metadata\":{\"uid\":\"" DEVICE ":8\",\"sequence\":7}," OURS "}", "metadata.uid"},
                {"{\"time\":1,\"metadata\":{\"uid\":\"" DEVICE ":7\",\"sequence\":8}," OURS "}", "metadata.sequence"},
                {"{\"time\":1,\"metadata\":{\"uid\":\"" DEVICE ":7\"}," OURS "}", "metadata.sequence"},
                {"{\"time\":0,\"metadata\":{\"uid\":\"" DEVICE ":7\",\"sequence\":7}," OURS "}", "time"},
                {"{" META ",\"count\":-1," OURS "}", "count"},
                {"{" META ",\"count\":\"1\"," OURS "}", "count"},
                {"{" META ",\"actor\":{\"user\":{\"uid\":\"x\"}}," OURS "}", "actor.user.uid"},
                {"{" META ",\"actor\":{\"user\":{\"uid\":\"99999999999999999999\"}}," OURS "}", "actor.user.uid"},
                {"{" META ",\"dst_endpoint\":{\"ip\":[]}," OURS "}", "dst_endpoint.ip"},
                {"{" META "}", "kind"},
                {"{" META ",\"unmapped\":{\"onchannel\":{\"kind\":\"violation\"}}}", "class"},
                {"{" META "," OURS ",\"x\":\"\\u0000\"}", "u0000"},
                {"{" META "," OURS ",\"x\":\"\xff\"}", "decode"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                json_t *document = NULL;
                struct store_row row;
                struct diag d = {0};
                int r = ingest_record(cases[i].text, strlen(cases[i].text), DEVICE, 7, &document, &row, &d);

                assert_int_equal(r, cases[i].wrong ? -EBADMSG : 0);
                if (cases[i].wrong && !strstr(d.text, cases[i].wrong))
                        fail_msg("case %zu: '%s' does not say '%s'", i, d.text, cases[i].wrong);
                json_decref(document);
        }
}

/* Every column from a record as the agent writes it. */
static void test_columns(void **state)
{
        static const enum layer layers[] = {LAYER_EXEC, LAYER_CONNECT};
        const struct record_context context = {.device_uid = DEVICE,
                                               .device_name = "ws",
                                               .boot_id = "b",
                                               .agent_version = "1",
                                               .policy_serial = 42,
                                               .policy_organisation = "Bank"};
        const uint8_t prev[CHAIN_HASH_SIZE] = {0};

        for (size_t i = 0; i < ELEMENTSOF(layers); i++) {
                const struct violation v = {.id = "x",
                                            .channel = "whatsapp",
                                            .channel_name = "WhatsApp",
                                            .category = "messenger",
                                            .class = "use",
                                            .verdict = "block",
                                            .layer = layers[i],
                                            .tier = TIER_PROGRAM,
                                            .outcome = OUTCOME_KILLED,
                                            .entry = "name x",
                                            .uid = 1000,
                                            .user = "anna",
                                            .program = "/opt/x",
                                            .program_name = "x",
                                            .remote_address = "192.0.2.1",
                                            .remote_port = 443,
                                            .count = 3,
                                            .first_ms = 5,
                                            .last_ms = 6};
                _cleanup_free_ char *text = NULL;
                json_t *document = NULL;
                struct store_row row;
                struct diag d = {0};
                size_t size;

                assert_int_equal(
                        record_violation_encode(&context, &v, &(struct record_place){7, prev, 5, 1}, &text, &size),
                        0);
                assert_int_equal(ingest_record(text, size, DEVICE, 7, &document, &row, &d), 0);
                assert_int_equal(row.seq, 7);
                assert_int_equal(row.time_ms, 5);
                assert_string_equal(row.kind, "violation");
                assert_string_equal(row.channel, "whatsapp");
                assert_string_equal(row.channel_name, "WhatsApp");
                assert_string_equal(row.class, "use");
                assert_string_equal(row.tier, "program");
                assert_string_equal(row.layer, layer_to_string(layers[i]));
                assert_string_equal(row.outcome, "killed");
                assert_string_equal(row.verdict, "block");
                assert_string_equal(row.user, "anna");
                assert_int_equal(row.uid, 1000);
                assert_string_equal(row.program, "/opt/x");
                assert_int_equal(row.count, 3);
                assert_int_equal(row.policy_serial, 42);
                assert_string_equal(row.entry, "name x");
                if (layers[i] == LAYER_CONNECT) {
                        assert_string_equal(row.remote, "192.0.2.1");
                        assert_int_equal(row.port, 443);
                }
                json_decref(document);
        }
}

/* Many records, so that what one of them was read into serves the next; the last one is nothing but brackets. */
static void test_batch(void **state)
{
        enum { N = 200, BRACKETS = RECORD_MAX_BYTES - 16 };
        static char texts[N][512], brackets[RECORD_MAX_BYTES];
        static const uint8_t salts[(N + 1) * CHAIN_SALT_SIZE], hashes[(N + 1) * CHAIN_HASH_SIZE];
        const char *records[N + 1];
        size_t sizes[N + 1];
        struct batch b = {.seal = {.first = 1, .n = N},
                          .device = DEVICE,
                          .salts = (uint8_t *)salts,
                          .hashes = (uint8_t *)hashes,
                          .records = records,
                          .sizes = sizes};
        struct ingest rows;
        struct diag d = {0};
        char program[32];

        for (unsigned i = 0; i < N; i++) {
                sizes[i] = (size_t)snprintf(texts[i], sizeof(texts[i]),
                                            "{\"metadata\":{\"uid\":\"" DEVICE ":%u\",\"sequence\":%u},\"time\":5,"
                                            "\"process\":{\"file\":{\"path\":\"/bin/%u\"}}," OURS "}",
                                            i + 1, i + 1, i);
                records[i] = texts[i];
        }
        assert_int_equal(ingest_batch(&b, &rows, &d), 0);
        for (unsigned i = 0; i < N; i++) {
                snprintf(program, sizeof(program), "/bin/%u", i);
                assert_string_equal(rows.rows[i].program, program);
                assert_string_equal(rows.rows[i].channel, "whatsapp");
                assert_null(rows.rows[i].user);
                assert_int_equal(rows.rows[i].seq, i + 1);
                assert_ptr_equal(rows.rows[i].salt, salts + i * CHAIN_SALT_SIZE);
        }
        assert_true(rows.texts.size < N * 512);
        ingest_done(&rows);

        for (size_t i = 0; i + 3 <= BRACKETS; i += 3)
                memcpy(brackets + 1 + i, "[],", 3);
        brackets[0] = '[';
        records[N] = brackets;
        sizes[N] = BRACKETS;
        b.seal.n++;
        assert_int_equal(ingest_batch(&b, &rows, &d), -EBADMSG);
        assert_int_equal(d.line, N + 2);
}

static void test_decompress(void **state)
{
        static const size_t sizes[] = {0, 1, 128 << 10, BATCH_MAX_BYTES, BATCH_MAX_BYTES + 1};
        static char plain[BATCH_MAX_BYTES + 1], packed[1 << 20];
        struct diag d = {0};

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_buf_ struct buf out = {0};
                size_t n = ZSTD_compress(packed, sizeof(packed), plain, sizes[i], 1);
                int r = ingest_decompress(packed, n, &out, &d);

                assert_int_equal(r, sizes[i] > BATCH_MAX_BYTES ? -E2BIG : 0);
                if (r < 0)
                        continue;
                assert_int_equal(out.size, sizes[i]);
                assert_int_equal(ingest_decompress(packed, n - 1, &(struct buf){0}, &d), -EBADMSG);
        }
        assert_int_equal(ingest_decompress("hello", 5, &(struct buf){0}, &d), -EBADMSG);
        assert_int_equal(ingest_decompress(NULL, 0, &(struct buf){0}, &d), -EBADMSG);
}

static void test_filter(void **state)
{
        static const struct {
                const char *query;
                const char *wrong;
        } cases[] = {
                {"", NULL},
                {"from=1&to=2&device=a&user=b&channel=c&class=use&tier=name&layer=dns&outcome=reset&program=%2Fbin%"
                 "2Fx",
                 NULL},
                {"before=5.1.7&limit=500", NULL},
                {"class=exemption-use&layer=agent&tier=none&outcome=passed", NULL},
                {"limit=501", "limit cannot be '501'"},
                {"limit=0", "limit cannot be '0'"},
                {"limit=-1", "limit cannot be '-1'"},
                {"from=1x", "from cannot be '1x'"},
                {"to=99999999999999999999", "to cannot be"},
                {"before=5.1", "before cannot be '5.1'"},
                {"before=5.1.7.8", "before cannot be"},
                {"before=5..7", "before cannot be"},
                {"class=bad", "class cannot be 'bad'"},
                {"layer=", "layer is empty"},
                {"colour=red", "parameter 'colour' is not known"},
                {"user=a&user=b", "'user' is given twice"},
                {"user=%zz", "not well-formed"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(http_query_done) struct http_query q = {0};
                struct store_filter f;
                struct diag d = {0};
                int r = http_query_parse(cases[i].query, &q, &d);

                if (r == 0)
                        r = filter_parse(&q, &f, &d);
                assert_int_equal(r, cases[i].wrong ? -EBADMSG : 0);
                if (cases[i].wrong && !strstr(d.text, cases[i].wrong))
                        fail_msg("case %zu: '%s' does not say '%s'", i, d.text, cases[i].wrong);
        }
}

static void test_cursor(void **state)
{
        _cleanup_(http_query_done) struct http_query q = {0};
        const struct store_cursor c = {1700000000000, 12, 345};
        char query[FILTER_CURSOR_MAX + 8] = "before=", text[FILTER_CURSOR_MAX];
        struct store_filter f;

        cursor_format(&c, text);
        strcat(query, text);
        assert_int_equal(http_query_parse(query, &q, NULL), 0);
        assert_int_equal(filter_parse(&q, &f, NULL), 0);
        assert_true(f.has_before && f.before.time_ms == c.time_ms && f.before.device == c.device &&
                    f.before.seq == c.seq);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_record),     cmocka_unit_test(test_columns), cmocka_unit_test(test_batch),
                cmocka_unit_test(test_decompress), cmocka_unit_test(test_filter),  cmocka_unit_test(test_cursor),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
