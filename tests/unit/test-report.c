/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>
#include <systemd/sd-event.h>

#include "agent/report/internal.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/io.h"
#include "base/text.h"
#include "spool/spool.h"

#define BOOT        "0b1c2d3e-0000-4000-8000-000000000001"
#define DEADLINE_MS 10000

static char dir[64];
static sd_event *event;

static struct rule_channel channels[] = {
        {0},
        {.id = "teams",
         .name = "Teams",
         .file = "teams.ini",
         .category = CATEGORY_WORKPLACE,
         .verdict = VERDICT_ALLOW,
         .programs = VERDICT_ALLOW},
        {.id = "whatsapp",
         .name = "WhatsApp",
         .file = "whatsapp.ini",
         .category = CATEGORY_MESSENGER,
         .class = CLASS_USE,
         .verdict = VERDICT_BLOCK,
         .programs = VERDICT_WATCH},
        {.id = "tor",
         .name = "Tor",
         .file = "tor.ini",
         .category = CATEGORY_ANONYMISER,
         .class = CLASS_BYPASS,
         .verdict = VERDICT_WATCH,
         .programs = VERDICT_WATCH},
};
static struct rule_entry entries[] = {
        {0},
        {.kind = ENTRY_SUFFIX, .channel = 2, .line = 12, .value = "whatsapp.com"},
};
static const struct ruleset rules = {
        .channels = channels,
        .n_channels = 4,
        .entries = entries,
        .n_entries = 2,
        .policy_serial = 42,
        .organisation = "Example Bank plc",
        .notice = "Use Teams.",
        .help = "https://intranet.example/",
};
static const struct record_context policy = {
        .policy_serial = 42,
        .policy_organisation = "Example Bank plc",
        .policy_hash = "aa",
        .policy_signer = "0123456789ABCDEF",
        .catalogue_version = "1",
};

static struct fact fact(enum layer layer, uint16_t channel, enum outcome outcome)
{
        struct fact f = {.layer = layer,
                         .tier = TIER_NAME,
                         .outcome = outcome,
                         .channel = channel,
                         .entry = 1,
                         .uid = 0,
                         .tgid = 77,
                         .comm = "curl",
                         .path = "/usr/bin/curl"};

        f.boottime_ns = clock_boottime_ms() * 1000000;
        f.flow = (struct fact_flow){
                .family = AF_INET, .protocol = IPPROTO_UDP, .remote_port = 53, .remote = {10, 0, 0, 53}};
        return f;
}

static int setup(void **state)
{
        strcpy(dir, "/tmp/test-report-XXXXXX");
        assert_non_null(mkdtemp(dir));
        assert_int_equal(sd_event_new(&event), 0);
        return 0;
}

static int teardown(void **state)
{
        _cleanup_free_ char *command = format_new("rm -rf %s", dir);

        event = sd_event_unref(event);
        return system(command);
}

static struct report_options options(void)
{
        return (struct report_options){.state_dir = dir,
                                       .device_name = "ws-0301",
                                       .boot_id = BOOT,
                                       .group = -1,
                                       .settle_ms = 20,
                                       .window_ms = 500};
}

static struct report *start(void)
{
        struct report_options o = options();
        struct report *r = NULL;

        assert_int_equal(report_new(&o, event, &r), 0);
        assert_int_equal(report_set_policy(r, &policy), 0);
        return r;
}

/* Runs the loop until `n` records are sealed. */
static void wait_records(struct report *r, uint64_t n)
{
        uint64_t end = clock_boottime_ms() + DEADLINE_MS;
        struct report_state state;

        do {
                assert_true(sd_event_run(event, 50000) >= 0);
                report_get_state(r, &state);
        } while (state.next_seq - 1 < n && clock_boottime_ms() < end);
        while (sd_event_run(event, 0) > 0)
                ;
        assert_int_equal(state.next_seq - 1, n);
}

static json_t *record(struct report *r, uint64_t seq)
{
        _cleanup_free_ char *path = format_new("%s/spool", dir), *public_path = format_new("%s/device.pub", dir);
        _cleanup_free_ char *hex = NULL;
        uint8_t public_key[DEVICE_KEY_SIZE];
        struct report_state state;
        uint64_t after = 0, first, last;
        size_t size;

        report_get_state(r, &state);
        assert_int_equal(file_read(public_path, 128, &hex, &size), 0);
        hex[64] = '\0';
        assert_int_equal(hex_decode(hex, public_key, sizeof(public_key)), 0);
        for (;; after = last) {
                _cleanup_(batch_done) struct batch b = {0};
                _cleanup_free_ char *text = NULL;

                assert_int_equal(spool_read_batch(path, state.device_id, after, &text, &size, &first, &last), 0);
                assert_int_equal(batch_parse(text, size, public_key, &b, NULL), 0);
                if (seq <= last) {
                        json_t *root = json_loadb(b.records[seq - first], b.sizes[seq - first], 0, NULL);

                        assert_non_null(root);
                        return root;
                }
        }
}

static const char *extra(json_t *root, const char *key)
{
        return json_string_value(
                json_object_get(json_object_get(json_object_get(root, "unmapped"), "onchannel"), key));
}

static json_int_t count(json_t *root)
{
        return json_integer_value(json_object_get(root, "count"));
}

/* A and AAAA are one record at once; what follows within the window is one more, same id. */
static void test_collapse(void **state)
{
        struct report *r = start();
        struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED);

        assert_int_equal(report_fact(r, &f, &rules), 0);
        assert_int_equal(report_fact(r, &f, &rules), 0);
        wait_records(r, 1);
        for (int i = 0; i < 3; i++)
                assert_int_equal(report_fact(r, &f, &rules), 0);
        wait_records(r, 2);

        json_auto_t *one = record(r, 1), *two = record(r, 2);
        assert_int_equal(count(one), 2);
        assert_int_equal(count(two), 3);
        assert_string_equal(extra(one, "id"), extra(two, "id"));
        assert_string_equal(extra(one, "channel"), "whatsapp");
        assert_string_equal(extra(one, "class"), "use");
        assert_string_equal(extra(one, "verdict"), "block");
        assert_string_equal(extra(one, "entry"), "suffix whatsapp.com");
        assert_string_equal(extra(one, "entry_source"), "whatsapp.ini:12");
        assert_string_equal(extra(one, "policy_hash"), "aa");
        const char *user = NULL, *program = NULL, *ip = NULL;
        assert_int_equal(json_unpack(one, "{s:{s:{s:s}, s:{s:{s:s}}}, s:{s:s}}", "actor", "user", "name", &user,
                                     "process", "file", "path", &program, "dst_endpoint", "ip", &ip),
                         0);
        assert_string_equal(user, "root");
        assert_string_equal(program, "/usr/bin/curl");
        assert_string_equal(ip, "10.0.0.53");

        /* the window is closed: a new violation */
        assert_int_equal(report_fact(r, &f, &rules), 0);
        wait_records(r, 3);
        json_auto_t *three = record(r, 3);
        assert_string_not_equal(extra(one, "id"), extra(three, "id"));
        report_free(r);
}

static void test_what_is_one(void **state)
{
        struct report *r = start();
        struct fact base = fact(LAYER_DNS, 2, OUTCOME_DROPPED);

        assert_int_equal(report_fact(r, &base, &rules), 0);
        for (int i = 0; i < 6; i++) {
                struct fact f = base;

                switch (i) {
                case 0:
                        f.uid = 1;
                        break;
                case 1:
                        strcpy(f.path, "/usr/bin/wget");
                        break;
                case 2:
                        f.layer = LAYER_TLS;
                        break;
                case 3:
                        f.tier = TIER_ADDRESS;
                        break;
                case 4:
                        f.outcome = OUTCOME_PASSED;
                        break;
                case 5:
                        f.channel = 3;
                        break;
                }
                assert_int_equal(report_fact(r, &f, &rules), 0);
        }
        base.tgid = 78; /* the same violation, another process */
        assert_int_equal(report_fact(r, &base, &rules), 0);
        wait_records(r, 7);
        json_auto_t *one = record(r, 1);
        assert_int_equal(count(one), 2);
        report_free(r);
}

static void test_verdicts(void **state)
{
        static const struct {
                enum layer layer;
                uint16_t channel;
                enum outcome outcome;
                const char *verdict; /* NULL: nothing recorded */
        } cases[] = {
                {LAYER_DNS, 1, OUTCOME_PASSED, NULL},     {LAYER_EXEC, 1, OUTCOME_PASSED, NULL},
                {LAYER_DNS, 2, OUTCOME_DROPPED, "block"}, {LAYER_EXEC, 2, OUTCOME_PASSED, "watch"},
                {LAYER_TLS, 3, OUTCOME_PASSED, "watch"},  {LAYER_TLS, 1, OUTCOME_RESET, "block"},
        };
        struct report *r = start();
        uint64_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct fact f = fact(cases[i].layer, cases[i].channel, cases[i].outcome);

                assert_int_equal(report_fact(r, &f, &rules), 0);
                n += cases[i].verdict != NULL;
        }
        wait_records(r, n);
        n = 0;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (cases[i].verdict) {
                        json_auto_t *root = record(r, ++n);

                        assert_string_equal(extra(root, "verdict"), cases[i].verdict);
                        assert_string_equal(extra(root, "layer"), layer_to_string(cases[i].layer));
                }
        report_free(r);
}

static unsigned notices;
static void on_notice(const struct report_notice *n, void *userdata)
{
        assert_string_equal(n->text, "Use Teams.");
        assert_string_equal(n->channel_name, "WhatsApp");
        assert_string_equal(n->program, "/usr/bin/curl");
        assert_int_equal(strlen(n->violation_id), 36);
        notices++;
}

/* At the first attempt, not after the settling time, once a window, and only when stopped. */
/* What only this user may do is recorded as that, and is no use of a blocked channel. */
static void test_exemption(void **state)
{
        static struct rule_exemption own[] = {
                {.channel = 2, .uid = 0, .verdict = VERDICT_ALLOW, .decided_line = 9, .id = "EX-1"}};
        struct ruleset exempting = rules;
        struct report *r = start();
        struct fact mine = fact(LAYER_DNS, 2, OUTCOME_PASSED), other = fact(LAYER_DNS, 2, OUTCOME_DROPPED);

        exempting.exemptions = own;
        exempting.n_exemptions = 1;
        other.uid = 1;
        assert_int_equal(report_fact(r, &mine, &exempting), 0);
        assert_int_equal(report_fact(r, &other, &exempting), 0);
        wait_records(r, 2);
        json_auto_t *one = record(r, 1), *two = record(r, 2);
        assert_string_equal(extra(one, "class"), "exemption-use");
        assert_string_equal(extra(one, "outcome"), "allowed");
        assert_string_equal(extra(one, "verdict"), "allow");
        assert_string_equal(extra(one, "exemption"), "EX-1");
        assert_string_equal(extra(two, "class"), "use");
        report_free(r);
}

static void test_notice(void **state)
{
        struct report *r = start();
        struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED), watched = fact(LAYER_DNS, 3, OUTCOME_PASSED);

        notices = 0;
        report_set_notice_handler(r, on_notice, NULL);
        assert_int_equal(report_fact(r, &f, &rules), 0);
        assert_int_equal(notices, 1);
        assert_int_equal(report_fact(r, &f, &rules), 0);
        assert_int_equal(report_fact(r, &watched, &rules), 0);
        assert_int_equal(notices, 1);
        wait_records(r, 2);
        json_auto_t *one = record(r, 1);
        assert_true(json_is_true(
                json_object_get(json_object_get(json_object_get(one, "unmapped"), "onchannel"), "notified")));
        report_free(r);
}

static void test_coverage_and_tamper(void **state)
{
        struct report *r = start();
        struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED);
        struct coverage c = {.event = COVERAGE_START, .mode = "enforce"};
        struct report_state s;
        json_int_t unresolved = 0, queue = 0;

        assert_int_equal(report_fact(r, &f, NULL), -ESTALE);
        f.channel = 4;
        assert_int_equal(report_fact(r, &f, &rules), -ESTALE);
        f.channel = 0;
        assert_int_equal(report_fact(r, &f, &rules), -ESTALE);
        assert_int_equal(report_tamper(r, "The table was removed.", OUTCOME_PASSED), 0);
        assert_int_equal(report_coverage(r, &c), 0);
        assert_int_equal(c.unresolved, 3);
        assert_int_equal(c.queue, 1);
        assert_int_equal(report_coverage(r, &c), 0);
        assert_int_equal(c.unresolved, 0);

        /* sealed at once: readable without the event loop */
        json_auto_t *one = record(r, 1), *two = record(r, 2);
        assert_string_equal(extra(one, "class"), "tamper");
        assert_string_equal(extra(one, "detail"), "The table was removed.");
        assert_int_equal(json_unpack(two, "{s:{s:{s:{s:I, s:I}}}}", "unmapped", "onchannel", "coverage", "unresolved",
                                     &unresolved, "queue", &queue),
                         0);
        assert_int_equal(unresolved, 3);
        assert_int_equal(queue, 1);
        report_get_state(r, &s);
        assert_int_equal(s.queue, 3);
        report_free(r);
}

/* What is collected is written at the end, and the chain goes on after a restart. */
static void test_restart(void **state)
{
        struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED);
        struct report *r = start();
        struct report_options o = options();
        struct report *other = NULL;
        struct report_state s;
        char id[DEVICE_ID_MAX];

        assert_int_equal(report_fact(r, &f, &rules), 0);
        assert_int_equal(report_new(&o, event, &other), -EBUSY);
        report_get_state(r, &s);
        strcpy(id, s.device_id);
        report_free(r);
        r = start();
        report_get_state(r, &s);
        assert_string_equal(s.device_id, id);
        assert_int_equal(s.next_seq, 2);
        json_auto_t *one = record(r, 1);
        assert_int_equal(count(one), 1);
        report_free(r);
}

static void attempts(struct report *r, int n)
{
        struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED);

        while (n-- > 0)
                assert_int_equal(report_fact(r, &f, &rules), 0);
}

/* An agent that is killed before its first record, or in an open window. */
static void test_killed(void **state)
{
        static const struct {
                int before, after; /* attempts before the first record and after it */
                uint64_t written; /* records by the one that is killed */
        } cases[] = {{2, 0, 0}, {1, 3, 1}, {1, 0, 1}};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t records = (cases[i].before > 0) + (cases[i].after > 0);
                struct report *r;
                pid_t pid;
                int how;

                assert_int_equal(setup(NULL), 0);
                pid = fork();
                if (pid == 0) {
                        assert_int_equal(sd_event_new(&event), 0);
                        r = start();
                        attempts(r, cases[i].before);
                        if (cases[i].written)
                                wait_records(r, cases[i].written);
                        attempts(r, cases[i].after);
                        raise(SIGKILL);
                }
                assert_int_equal(waitpid(pid, &how, 0), pid);
                assert_true(WIFSIGNALED(how));
                r = start();
                wait_records(r, records);
                json_auto_t *one = record(r, 1), *two = records > 1 ? record(r, 2) : NULL;
                assert_int_equal(count(one), cases[i].before);
                assert_string_equal(extra(one, "policy_hash"), "aa");
                if (two) {
                        assert_int_equal(count(two), cases[i].after);
                        assert_string_equal(extra(one, "id"), extra(two, "id"));
                }
                report_free(r);
                r = start(); /* after an orderly end nothing is left over */
                assert_int_equal(sd_event_run(event, 100000) >= 0, 1);
                struct report_state s;
                report_get_state(r, &s);
                assert_int_equal(s.next_seq, records + 1);
                report_free(r);
                assert_int_equal(teardown(NULL), 0);
        }
}

/* A record names the policy that decided, also when another came in between. */
static void test_policy_change(void **state)
{
        struct report *r = start();
        struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED);
        struct record_context next = policy;
        const char *version = NULL;

        next.policy_serial = 43;
        next.policy_hash = "bb";
        assert_int_equal(report_fact(r, &f, &rules), 0);
        assert_int_equal(report_set_policy(r, &next), 0);
        assert_int_equal(report_fact(r, &f, &rules), 0); /* a late one of serial 42 */
        wait_records(r, 2);
        json_auto_t *one = record(r, 1), *two = record(r, 2);
        assert_int_equal(json_unpack(one, "{s:{s:s}}", "policy", "version", &version), 0);
        assert_string_equal(version, "42");
        assert_string_equal(extra(one, "policy_hash"), "aa");
        assert_int_equal(json_unpack(two, "{s:{s:s}}", "policy", "version", &version), 0);
        assert_string_equal(version, "42");
        assert_null(extra(two, "policy_hash"));
        report_free(r);
}

static void test_ack(void **state)
{
        _cleanup_free_ char *folder = format_new("%s/uplink", dir), *ack = format_new("%s/uplink/ack", dir);
        static const struct {
                const char *text;
                int r;
                uint64_t acknowledged;
        } cases[] = {
                {"", -EINVAL, 0},
                {"x\n", -EINVAL, 0},
                {"3\n", -ERANGE, 0},
                {"-1\n", -EINVAL, 0},
                {"99999999999999999999\n", -ERANGE, 0},
                {"1\n", 0, 1},
                {"2", 0, 2},
                {"1\n", 0, 2},
                {"00000000000000000000000000000000000000002\n", -EFBIG, 2},
        };
        struct report *r = start();
        struct report_state s;

        assert_int_equal(report_read_ack(r), -ENOENT);
        assert_int_equal(dir_make(folder, 0700), 0);
        for (int i = 0; i < 2; i++)
                assert_int_equal(report_tamper(r, "x", OUTCOME_PASSED), 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                assert_int_equal(file_write_atomic(ack, cases[i].text, strlen(cases[i].text), 0644), 0);
                assert_int_equal(report_read_ack(r), cases[i].r);
                report_get_state(r, &s);
                assert_int_equal(s.acknowledged, cases[i].acknowledged);
        }
        report_free(r);
}

/* Beyond the table's bound nothing is lost, only not collapsed. */
static void test_table_full(void **state)
{
        struct report *r = start();
        struct report_state s;

        for (uint32_t i = 0; i < REPORT_OPEN_MAX + 10; i++) {
                struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED);

                f.uid = i + 1;
                assert_int_equal(report_fact(r, &f, &rules), 0);
        }
        report_get_state(r, &s);
        assert_int_equal(s.next_seq - 1, 10);
        report_free(r);
        r = start();
        report_get_state(r, &s);
        assert_int_equal(s.next_seq - 1, REPORT_OPEN_MAX + 10);
        report_free(r);
}

static void test_spool_full(void **state)
{
        struct report_options o = options();
        struct coverage c = {.event = COVERAGE_HEARTBEAT, .mode = "enforce"};
        struct report *r = NULL;
        struct report_state s;
        uint64_t refused = 0;
        int k;

        o.spool_max_bytes = 16384;
        assert_int_equal(report_new(&o, event, &r), 0);
        while ((k = report_tamper(r, "x", OUTCOME_PASSED)) == 0)
                ;
        assert_int_equal(k, -ENOSPC);
        for (int i = 0; i < 4; i++)
                assert_int_equal(report_tamper(r, "x", OUTCOME_PASSED), -ENOSPC);
        report_get_state(r, &s);
        assert_int_equal(s.refused, 5);

        _cleanup_free_ char *folder = format_new("%s/uplink", dir), *ack = format_new("%s/uplink/ack", dir);
        char text[32];
        snprintf(text, sizeof(text), "%llu\n", (unsigned long long)s.next_seq - 1);
        assert_int_equal(dir_make(folder, 0700), 0);
        assert_int_equal(file_write_atomic(ack, text, strlen(text), 0644), 0);
        assert_int_equal(report_read_ack(r), 0);
        assert_int_equal(report_coverage(r, &c), 0);
        refused = c.refused;
        assert_int_equal(refused, 5);
        report_get_state(r, &s);
        assert_int_equal(s.refused, 0);
        report_free(r);
}

int main(void)
{
#define REPORT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                REPORT_TEST(test_collapse),
                REPORT_TEST(test_what_is_one),
                REPORT_TEST(test_verdicts),
                cmocka_unit_test(test_killed),
                REPORT_TEST(test_exemption),
                REPORT_TEST(test_restart),
                REPORT_TEST(test_coverage_and_tamper),
                REPORT_TEST(test_notice),
                REPORT_TEST(test_ack),
                REPORT_TEST(test_policy_change),
                REPORT_TEST(test_table_full),
                REPORT_TEST(test_spool_full),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
