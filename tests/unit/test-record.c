/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "record/record.h"

static const struct record_context context = {
        .device_uid = "d-aaaaaaaaaaaaaaaaaaaaaaaa",
        .device_name = "ws-0301",
        .boot_id = "0b1c2d3e-0000-4000-8000-000000000001",
        .agent_version = "0.1.0",
        .os_name = "Debian GNU/Linux",
        .os_version = "12",
        .policy_serial = 42,
        .policy_organisation = "Example Bank plc",
        .policy_hash = "abcd",
        .policy_signer = "6FF1B1F9F0D4B0E3",
        .catalogue_version = "2026.11.1",
};

static struct violation violation(enum layer layer)
{
        return (struct violation){
                .id = "019aa6f4-0000-7000-8000-000000000000",
                .channel = "whatsapp",
                .channel_name = "WhatsApp",
                .category = "messenger",
                .class = "use",
                .verdict = "block",
                .layer = layer,
                .tier = TIER_NAME,
                .outcome = OUTCOME_DROPPED,
                .entry = "suffix whatsapp.com",
                .entry_source = "whatsapp.ini:12",
                .uid = 1000,
                .user = "anna",
                .pid = 4711,
                .program = "/usr/bin/curl",
                .program_name = "curl",
                .remote_address = "10.0.0.53",
                .remote_port = 53,
                .protocol = "udp",
                .count = 2,
                .first_ms = 1763740000123,
                .last_ms = 1763740000125,
                .notified = true,
        };
}

static json_t *encode(const struct violation *v)
{
        static const uint8_t prev[CHAIN_HASH_SIZE] = {0xab};
        _cleanup_free_ char *line = NULL;
        size_t size = 0;
        json_error_t e;
        json_t *root;

        assert_int_equal(record_violation_encode(&context, v, &(struct record_place){7, prev, 1763740000200, 5000},
                                                 &line, &size),
                         0);
        assert_int_equal(size, strlen(line));
        assert_null(strchr(line, '\n'));
        root = json_loads(line, 0, &e);
        assert_non_null(root);
        return root;
}

static void test_golden(void **state)
{
        static const uint8_t prev[CHAIN_HASH_SIZE] = {0xab};
        struct violation v = violation(LAYER_DNS);
        _cleanup_free_ char *line = NULL;
        size_t size;

        assert_int_equal(record_violation_encode(&context, &v, &(struct record_place){7, prev, 1763740000200, 5000},
                                                 &line, &size),
                         0);
        assert_string_equal(
                line,
                "{\"class_uid\":4003,\"category_uid\":4,\"activity_id\":1,\"type_uid\":400301,\"severity_id\":3,"
                "\"time\":1763740000123,\"start_time\":1763740000123,\"end_time\":1763740000125,\"count\":2,"
                "\"status_id\":2,\"action_id\":2,\"disposition_id\":6,\"is_alert\":true,"
                "\"metadata\":{\"version\":\"1.8.0\",\"uid\":\"d-aaaaaaaaaaaaaaaaaaaaaaaa:7\",\"sequence\":7,"
                "\"profiles\":[\"host\",\"security_control\"],\"product\":{\"name\":\"onchannel\","
                "\"vendor_name\":\"onchannel\",\"version\":\"0.1.0\"}},"
                "\"device\":{\"uid\":\"d-aaaaaaaaaaaaaaaaaaaaaaaa\",\"hostname\":\"ws-0301\",\"type_id\":3,"
                "\"boot_uid\":\"0b1c2d3e-0000-4000-8000-000000000001\",\"os\":{\"name\":\"Debian GNU/Linux\","
                "\"version\":\"12\",\"type_id\":200}},"
                "\"actor\":{\"user\":{\"name\":\"anna\",\"uid\":\"1000\"},\"process\":{\"pid\":4711,"
                "\"name\":\"curl\",\"file\":{\"name\":\"curl\",\"path\":\"/usr/bin/curl\",\"type_id\":1}}},"
                "\"app_name\":\"WhatsApp\",\"dst_endpoint\":{\"ip\":\"10.0.0.53\",\"port\":53},"
                "\"connection_info\":{\"protocol_name\":\"udp\",\"direction_id\":2},"
                "\"policy\":{\"uid\":\"Example Bank plc\",\"version\":\"42\",\"is_applied\":true},"
                "\"firewall_rule\":{\"uid\":\"whatsapp.ini:12\",\"name\":\"suffix whatsapp.com\","
                "\"version\":\"2026.11.1\"},"
                "\"unmapped\":{\"onchannel\":{\"kind\":\"violation\","
                "\"id\":\"019aa6f4-0000-7000-8000-000000000000\",\"class\":\"use\",\"tier\":\"name\","
                "\"layer\":\"dns\",\"outcome\":\"dropped\",\"verdict\":\"block\",\"channel\":\"whatsapp\","
                "\"channel_name\":\"WhatsApp\",\"category\":\"messenger\",\"entry\":\"suffix whatsapp.com\","
                "\"entry_source\":\"whatsapp.ini:12\",\"prev\":\"ab00000000000000000000000000000000000000000000"
                "000000000000000000\",\"boottime_ms\":5000,\"policy_hash\":\"abcd\","
                "\"policy_signer\":\"6FF1B1F9F0D4B0E3\",\"catalogue\":\"2026.11.1\",\"notified\":true}}}");
}

static json_int_t integer(json_t *root, const char *key)
{
        return json_integer_value(json_object_get(root, key));
}

static void test_layers(void **state)
{
        static const struct {
                enum layer layer;
                int class, category;
                const char *name, *has, *has_not;
        } cases[] = {
                {LAYER_EXEC, 1007, 1, "exec", "process", "app_name"},
                {LAYER_DNS, 4003, 4, "dns", "dst_endpoint", "process"},
                {LAYER_CONNECT, 4001, 4, "connect", "dst_endpoint", "src_endpoint"},
                {LAYER_TLS, 4001, 4, "tls", "app_name", "process"},
                {LAYER_QUIC, 4001, 4, "quic", "app_name", "process"},
                {LAYER_HTTP, 4001, 4, "http", "app_name", "process"},
                {LAYER_BROWSER, 4001, 4, "browser", "app_name", "process"},
                {LAYER_AGENT, 2004, 2, "agent", "finding_info", "actor"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct violation v = violation(cases[i].layer);
                json_auto_t *root = encode(&v);
                const char *layer = NULL;

                assert_int_equal(integer(root, "class_uid"), cases[i].class);
                assert_int_equal(integer(root, "category_uid"), cases[i].category);
                assert_int_equal(integer(root, "type_uid"), cases[i].class * 100 + 1);
                assert_non_null(json_object_get(root, cases[i].has));
                assert_null(json_object_get(root, cases[i].has_not));
                assert_int_equal(json_unpack(root, "{s:{s:{s:s}}}", "unmapped", "onchannel", "layer", &layer), 0);
                assert_string_equal(layer, cases[i].name);
        }
}

static void test_outcomes(void **state)
{
        static const struct {
                enum outcome outcome;
                const char *class;
                int action, disposition, status, severity;
                bool is_alert;
        } cases[] = {
                {OUTCOME_PASSED, "use", 3, 15, 1, 3, true},   {OUTCOME_DENIED, "use", 2, 2, 2, 3, true},
                {OUTCOME_KILLED, "bypass", 2, 2, 2, 4, true}, {OUTCOME_DROPPED, "bypass", 2, 6, 2, 4, true},
                {OUTCOME_RESET, "use", 2, 21, 2, 3, true},    {OUTCOME_ALLOWED, "exemption-use", 1, 1, 1, 1, false},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct violation v = violation(LAYER_TLS);
                v.outcome = cases[i].outcome;
                v.class = cases[i].class;
                json_auto_t *root = encode(&v);

                assert_int_equal(integer(root, "action_id"), cases[i].action);
                assert_int_equal(integer(root, "disposition_id"), cases[i].disposition);
                assert_int_equal(integer(root, "status_id"), cases[i].status);
                assert_int_equal(integer(root, "severity_id"), cases[i].severity);
                assert_int_equal(json_is_true(json_object_get(root, "is_alert")), cases[i].is_alert);
        }
}

/* Names chosen by the employee are bytes, not text: the record stays UTF-8 on one line. */
static void test_hostile_names(void **state)
{
        struct violation v = violation(LAYER_EXEC);
        _cleanup_free_ char *path = malloc(5000);

        v.program = "/home/\xff\n\"\\/\x1b[2Jx";
        v.program_name = "\xc3\x28";
        v.user = NULL;
        v.remote_address = NULL;
        json_auto_t *root = encode(&v);
        const char *name = NULL;
        assert_int_equal(json_unpack(root, "{s:{s:s}}", "process", "name", &name), 0);
        assert_string_equal(name, "\\xc3(");

        memset(path, 0xff, 4999);
        path[4999] = '\0';
        v.program = path;
        json_auto_t *longest = encode(&v);
        assert_non_null(longest);
}

static void test_too_big(void **state)
{
        static const uint8_t prev[CHAIN_HASH_SIZE];
        struct violation v = violation(LAYER_EXEC);
        _cleanup_free_ char *quotes = malloc(4097);
        char *line = NULL;
        size_t size = 0;

        memset(quotes, '"', 4096);
        quotes[4096] = '\0';
        v.program = v.user = v.detail = quotes;
        assert_int_equal(record_violation_encode(&context, &v, &(struct record_place){7, prev, 1, 1}, &line, &size),
                         -E2BIG);
        assert_null(line);
}

/* Without an address a network event still names one endpoint; with nothing known about
 * the program there is no empty process. */
static void test_sparse(void **state)
{
        struct violation v = violation(LAYER_CONNECT);

        v.remote_address = v.protocol = v.user = v.program = v.program_name = v.entry = v.entry_source = NULL;
        v.pid = 0;
        json_auto_t *root = encode(&v);
        assert_null(json_object_get(root, "dst_endpoint"));
        assert_non_null(json_object_get(root, "src_endpoint"));
        assert_null(json_object_get(json_object_get(root, "actor"), "process"));
        assert_null(json_object_get(root, "firewall_rule"));
}

/* The privacy property: no member of a record can carry these. */
static bool has_key(json_t *node, const char *key)
{
        const char *name;
        json_t *value;

        json_object_foreach(node, name, value) if (strcmp(name, key) == 0 || has_key(value, key)) return true;
        return false;
}

static void test_privacy(void **state)
{
        static const char *const never[] = {
                "cmd_line", "environment_variables", "working_directory", "url", "query", "hostname_queried",
                "sni",      "http_request"};

        for (enum layer l = 0; l < _LAYER_MAX; l++) {
                struct violation v = violation(l);
                json_auto_t *root = encode(&v);

                for (size_t i = 0; i < ELEMENTSOF(never); i++)
                        assert_false(has_key(root, never[i]));
        }
}

static void test_coverage(void **state)
{
        static const uint8_t prev[CHAIN_HASH_SIZE];

        for (enum coverage_event e = 0; e < _COVERAGE_EVENT_MAX; e++) {
                struct coverage c = {.event = e,
                                     .mode = "enforce",
                                     .sensors = "exec=signal",
                                     .lost = 3,
                                     .refused = 2,
                                     .self_test_passed = true,
                                     .clock_synchronised = true,
                                     .cause = "boot"};
                _cleanup_free_ char *line = NULL;
                const char *event = NULL, *kind = NULL, *cause = NULL;
                json_int_t lost = 0, refused = 0;
                size_t size;

                assert_int_equal(
                        record_coverage_encode(&context, &c, &(struct record_place){1, prev, 99, 5}, &line, &size),
                        0);
                json_auto_t *root = json_loads(line, 0, NULL);
                assert_int_equal(json_unpack(root, "{s:{s:{s:s, s:{s:s, s:I, s:I, s:s}}}}", "unmapped", "onchannel",
                                             "kind", &kind, "coverage", "event", &event, "lost", &lost, "refused",
                                             &refused, "cause", &cause),
                                 0);
                assert_string_equal(kind, "coverage");
                assert_string_equal(event, coverage_event_to_string(e));
                assert_string_equal(cause, "boot");
                assert_int_equal(lost, 3);
                assert_int_equal(refused, 2);
                assert_int_equal(integer(root, "class_uid"), 5019);
                assert_int_equal(integer(root, "time"), 99);
                assert_int_equal(integer(root, "state_id"), e == COVERAGE_STOP ? 1 : 2);
                assert_int_equal(integer(root, "security_level_id"), e == COVERAGE_STOP ? 2 : 1);
        }
}

static void test_uuid(void **state)
{
        char a[UUID_TEXT_MAX], b[UUID_TEXT_MAX];

        uuid_v7(0x0123456789ab, a);
        uuid_v7(0x0123456789ab, b);
        assert_int_equal(strlen(a), 36);
        assert_memory_equal(a, "01234567-89ab-7", 15);
        assert_non_null(strchr("89ab", a[19]));
        assert_string_not_equal(a, b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),   cmocka_unit_test(test_layers),
                cmocka_unit_test(test_outcomes), cmocka_unit_test(test_hostile_names),
                cmocka_unit_test(test_too_big),  cmocka_unit_test(test_sparse),
                cmocka_unit_test(test_privacy),  cmocka_unit_test(test_coverage),
                cmocka_unit_test(test_uuid),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
