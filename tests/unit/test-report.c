/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/report-fixture.h"

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

/* What a program asks by itself is nobody's attempt: it neither makes a record nor adds to one. */
static void test_probe(void **state)
{
        struct report *r = start();
        struct fact probe = fact(LAYER_DNS, 2, OUTCOME_DROPPED), attempt = probe;

        probe.entry = 2;
        assert_int_equal(report_fact(r, &probe, &rules), 0);
        assert_int_equal(report_fact(r, &attempt, &rules), 0);
        assert_int_equal(report_fact(r, &probe, &rules), 0);
        wait_records(r, 1);
        json_auto_t *one = record(r, 1);
        assert_int_equal(count(one), 1);
        assert_string_equal(extra(one, "entry"), "suffix whatsapp.com");
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
                {"", -EBADMSG, 0},
                {"x\n", -EBADMSG, 0},
                {"3\n", -ERANGE, 0},
                {"-1\n", -EBADMSG, 0},
                {"99999999999999999999\n", -EBADMSG, 0},
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

/* One person under more names of programs than are kept apart: each attempt is counted, and others have their room. */
static void test_one_person_fills_no_table(void **state)
{
        struct report *r = start();
        struct fact f = fact(LAYER_DNS, 2, OUTCOME_DROPPED);
        struct report_state s;

        for (uint32_t i = 0; i < REPORT_OPEN_MAX + 10; i++) {
                snprintf(f.path, sizeof(f.path), "/home/a/%" PRIu32, i);
                assert_int_equal(report_fact(r, &f, &rules), 0);
        }
        f.uid++;
        assert_int_equal(report_fact(r, &f, &rules), 0);
        report_free(r);
        r = start();
        report_get_state(r, &s);
        assert_int_equal(s.next_seq - 1, REPORT_OPEN_USER + 2);
        json_auto_t *nameless = record(r, REPORT_OPEN_USER + 1);
        const char *path = NULL;
        (void)json_unpack(nameless, "{s:{s:{s:{s:s}}}}", "actor", "process", "file", "path", &path);
        assert_null(path);
        assert_int_equal(count(nameless), REPORT_OPEN_MAX + 10 - REPORT_OPEN_USER);
        report_free(r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                REPORT_TEST(test_collapse),
                REPORT_TEST(test_what_is_one),
                REPORT_TEST(test_verdicts),
                REPORT_TEST(test_probe),
                REPORT_TEST(test_exemption),
                REPORT_TEST(test_restart),
                REPORT_TEST(test_coverage_and_tamper),
                REPORT_TEST(test_notice),
                REPORT_TEST(test_ack),
                REPORT_TEST(test_policy_change),
                REPORT_TEST(test_table_full),
                REPORT_TEST(test_one_person_fills_no_table),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
