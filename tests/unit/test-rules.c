/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "tests/unit/rules-fixture.h"

static void test_no_policy(void **state)
{
        _cleanup_ruleset_ struct ruleset *r = compile(NULL, NOW);

        assert_int_equal(r->n_channels, 4);
        assert_int_equal(r->mode, POLICY_MODE_MONITOR);
        assert_int_equal(r->policy_serial, 0);
        assert_null(r->organisation);
        for (uint16_t i = 1; i < r->n_channels; i++) {
                assert_int_equal(r->channels[i].verdict, VERDICT_WATCH);
                assert_int_equal(r->channels[i].programs, VERDICT_WATCH);
                assert_string_equal(r->channels[i].decided_by, "no policy");
        }
        assert_int_equal(r->channels[CHAT].class, CLASS_USE);
        assert_int_equal(r->channels[DNS].class, CLASS_BYPASS);
        assert_int_equal(rules_verdict(r, 0, 0), VERDICT_ALLOW);
        assert_int_equal(rules_verdict(r, 4, 0), VERDICT_ALLOW);
}

static void test_outlives_inputs(void **state)
{
        _cleanup_ruleset_ struct ruleset *r = compile(POLICY("enforce", "help = https://example.com\n"), NOW);

        policy = policy_free(policy);
        assert_string_equal(r->organisation, "Example");
        assert_string_equal(r->notice, "No.");
        assert_string_equal(r->help, "https://example.com");
        assert_int_equal(r->policy_serial, 42);
        assert_int_equal(r->quic, QUIC_BLOCK);
        assert_string_equal(r->channels[WORK].id, "work");
        assert_string_equal(r->channels[WORK].name, "Name of work");
        assert_string_equal(r->channels[WORK].file, "work.ini");
        assert_int_equal(r->n_entries, 1 + 14 + 1 + 6);
        assert_string_equal(r->entries[1].value, "chat.example");
        assert_int_equal(r->entries[1].channel, CHAT);
        assert_int_equal(r->entries[1].line, 9);
}

#define GROUP_USER       "[group desk]\ndevice = ws-03*\nuser = anna\nuser = anna2\nuser = gone\n"
#define GROUP_DEVICE     "[group desk]\ndevice = ws-03*\n"
#define GROUP_OTHER      "[group desk]\ndevice = ws-04*\nuser = anna\n"
#define SECTION(verdict) "[channel chat]\nverdict = " verdict "\n"
#define MEMBERS          "group = desk\n"
#define TIMED            "until = " UNTIL "\n"

static const struct {
        const char *policy;
        const char *now;
        enum verdict all;
        enum verdict programs;
        enum verdict anna;
        const char *decided_by;
        unsigned decided_line;
        size_t n_exemptions;
        bool changes; /* at UNTIL */
} decisions[] = {
        {POLICY("enforce", ""), NOW, VERDICT_BLOCK, VERDICT_WATCH, VERDICT_BLOCK, "unlisted", 8, 0, false},
        {POLICY("monitor", ""), NOW, VERDICT_WATCH, VERDICT_WATCH, VERDICT_WATCH, "unlisted", 8, 0, false},
        {POLICY("enforce", SECTION("allow")), NOW, VERDICT_ALLOW, VERDICT_ALLOW, VERDICT_ALLOW, "[channel chat]", 13,
         0, false},
        {POLICY("monitor", SECTION("block")), NOW, VERDICT_WATCH, VERDICT_WATCH, VERDICT_WATCH, "[channel chat]", 13,
         0, false},
        {POLICY("enforce", SECTION("allow") TIMED), NOW, VERDICT_ALLOW, VERDICT_ALLOW, VERDICT_ALLOW,
         "[channel chat]", 13, 0, true},
        {POLICY("enforce", SECTION("block") TIMED), NOW, VERDICT_BLOCK, VERDICT_WATCH, VERDICT_BLOCK,
         "[channel chat]", 13, 0, false},
        {POLICY("enforce", SECTION("allow") TIMED), UNTIL, VERDICT_BLOCK, VERDICT_WATCH, VERDICT_BLOCK, "unlisted", 8,
         0, false},
        {POLICY("enforce", SECTION("allow") TIMED), "2026-12-30T23:59:59Z", VERDICT_ALLOW, VERDICT_ALLOW,
         VERDICT_ALLOW, "[channel chat]", 13, 0, true},
        {POLICY("enforce", SECTION("allow") MEMBERS TIMED GROUP_USER), NOW, VERDICT_BLOCK, VERDICT_WATCH,
         VERDICT_ALLOW, "unlisted", 8, 1, true},
        {POLICY("enforce", SECTION("allow") MEMBERS TIMED GROUP_USER), UNTIL, VERDICT_BLOCK, VERDICT_WATCH,
         VERDICT_BLOCK, "unlisted", 8, 0, false},
        {POLICY("enforce", SECTION("block") MEMBERS TIMED GROUP_USER), NOW, VERDICT_BLOCK, VERDICT_WATCH,
         VERDICT_BLOCK, "unlisted", 8, 0, false},
        {POLICY("enforce", SECTION("allow") MEMBERS TIMED "[group desk]\nuser = gone\n"), NOW, VERDICT_BLOCK,
         VERDICT_WATCH, VERDICT_BLOCK, "unlisted", 8, 0, false},
        {POLICY("enforce", SECTION("allow") MEMBERS GROUP_DEVICE), NOW, VERDICT_ALLOW, VERDICT_ALLOW, VERDICT_ALLOW,
         "[channel chat]", 13, 0, false},
        {POLICY("enforce", SECTION("allow") MEMBERS TIMED GROUP_OTHER), NOW, VERDICT_BLOCK, VERDICT_WATCH,
         VERDICT_BLOCK, "unlisted", 8, 0, false},
};

static void test_decisions(void **state)
{
        for (size_t i = 0; i < ELEMENTSOF(decisions); i++) {
                _cleanup_ruleset_ struct ruleset *r = compile(decisions[i].policy, decisions[i].now);
                const struct rule_channel *c = &r->channels[CHAT];
                time_t until;

                assert_int_equal(time_parse(UNTIL, &until), 0);
                if (c->verdict != decisions[i].all || c->programs != decisions[i].programs ||
                    rules_verdict(r, CHAT, 1000) != decisions[i].anna ||
                    rules_verdict(r, CHAT, 999) != decisions[i].all ||
                    strcmp(c->decided_by, decisions[i].decided_by) != 0 ||
                    c->decided_line != decisions[i].decided_line || r->n_exemptions != decisions[i].n_exemptions ||
                    r->next_change != (decisions[i].changes ? until : 0))
                        fail_msg("case %zu: %s, %zu exemptions, line %u, change %ld", i,
                                 verdict_to_string(c->verdict), r->n_exemptions, c->decided_line,
                                 (long)r->next_change);
                assert_int_equal(r->channels[DNS].verdict, VERDICT_WATCH);
                assert_string_equal(r->channels[DNS].decided_by, "bypass");
                assert_int_equal(r->channels[DNS].decided_line, 9);
        }
}

static void test_exemptions(void **state)
{
        _cleanup_ruleset_ struct ruleset *r = compile(
                POLICY("enforce",
                       "[group all]\nuser = bob\nuser = anna\n"
                       "[channel work]\nverdict = watch\ngroup = all\n[channel dns]\nverdict = block\ngroup = all\n"),
                NOW);
        static const struct rule_exemption expected[] = {
                {DNS, 999, VERDICT_BLOCK, VERDICT_WATCH, TOP_LINES + 7, NULL},
                {DNS, 1000, VERDICT_BLOCK, VERDICT_WATCH, TOP_LINES + 7, NULL},
                {WORK, 999, VERDICT_WATCH, VERDICT_WATCH, TOP_LINES + 4, NULL},
                {WORK, 1000, VERDICT_WATCH, VERDICT_WATCH, TOP_LINES + 4, NULL},
        };

        assert_int_equal(r->n_exemptions, ELEMENTSOF(expected));
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                assert_int_equal(r->exemptions[i].channel, expected[i].channel);
                assert_int_equal(r->exemptions[i].uid, expected[i].uid);
                assert_int_equal(r->exemptions[i].verdict, expected[i].verdict);
                assert_int_equal(r->exemptions[i].programs, expected[i].programs);
                assert_int_equal(r->exemptions[i].decided_line, expected[i].decided_line);
                assert_int_equal(rules_verdict(r, expected[i].channel, expected[i].uid), expected[i].verdict);
        }
        assert_int_equal(rules_verdict(r, WORK, 0), VERDICT_BLOCK);
}

static const char *matched(const struct ruleset *r, uint32_t entry)
{
        assert_true(entry < r->n_entries);
        return entry ? r->entries[entry].value : "";
}

static void test_match_name(void **state)
{
        static const struct {
                const char *name;
                const char *value;
        } cases[] = {
                {"chat.example", "chat.example"},
                {"a.b.Chat.EXAMPLE.", "chat.example"},
                {"notchat.example", ""},
                {"chat.example.org", ""},
                {"example", ""},
                {"work.chat.example", "work.chat.example"},
                {"x.work.chat.example", "work.chat.example"},
                {"network.chat.example", "chat.example"},
                {"tag.work.chat.example", ""},
                {"x.tag.work.chat.example", ""},
                {"tagged.work.chat.example", "work.chat.example"},
                {"tag.chat.example", "chat.example"},
                {"edge.shared.example", "edge.shared.example"},
                {"x.edge.shared.example", ""},
                {"shared.example", ""},
                {"x.www.shared.example", "www.shared.example"},
                {"x.www.shared.example.com", ""},
                {"", ""},
                {".chat.example", ""},
                {"a b.chat.example", ""},
        };
        _cleanup_ruleset_ struct ruleset *r = compile(NULL, NOW);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_string_equal(matched(r, rules_match_name(r, cases[i].name)), cases[i].value);
}

static void test_match_address(void **state)
{
        static const struct {
                const char *address;
                const char *value;
        } cases[] = {
                {"91.108.4.0", "91.108.4.0/22"},
                {"91.108.7.255", "91.108.4.0/22"},
                {"91.108.8.0", ""},
                {"91.108.3.255", ""},
                {"91.108.5.9", "91.108.5.0/24"},
                {"2001:db8:ffff::1", "2001:db8::/32"},
                {"2001:db9::1", ""},
                {"::ffff:91.108.4.1", "91.108.4.0/22"},
                {"::ffff:91.108.8.1", ""},
                {"0.0.0.0", ""},
        };
        _cleanup_ruleset_ struct ruleset *r = compile(NULL, NOW);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct prefix p;

                assert_int_equal(prefix_parse(cases[i].address, &p), 0);
                assert_string_equal(matched(r, rules_match_address(r, &p)), cases[i].value);
        }
}

#define ARGV(...)                                                                                                    \
        (const char *const[])                                                                                        \
        {                                                                                                            \
                __VA_ARGS__, NULL                                                                                    \
        }

static void test_match_program(void **state)
{
        const struct {
                struct rules_program program;
                const char *value;
        } cases[] = {
                {{}, ""},
                {{.path = "/home/anna/bin/chatter"}, "chatter"},
                {{.path = "chatter"}, "chatter"},
                {{.path = "/usr/bin/chatter2"}, ""},
                {{.path = "/chatter/x"}, ""},
                {{.path = "/opt/x/chat"}, "/opt/*/chat*"},
                {{.path = "/opt/x/y/chat"}, ""},
                {{.path = "/opt/chat/chat-beta"}, "/opt/chat/chat-beta"},
                {{.path = "/usr/bin/x", .flatpak = "org.chat.App"}, "org.chat.App"},
                {{.path = "/usr/bin/chatter", .flatpak = "org.work.App"}, "org.work.App"},
                {{.flatpak = "org.chat.App2"}, ""},
                {{.snap = "chatsnap"}, "chatsnap"},
                {{.snap = "chatter"}, ""},
                {{.package = "chat-desktop"}, "chat-desktop"},
                {{.path = "/usr/bin/chromium",
                  .argv = ARGV("chromium", "-x", "--app=https://chat.example/a/b"),
                  .is_browser = true},
                 "--app=https://chat.example/*"},
                {{.argv = ARGV("x", "--app=https://chat.example/a/b"), .is_interpreter = true}, ""},
                {{.argv = ARGV("--app=https://chat.example/"), .is_browser = true}, ""},
                {{.argv = ARGV("chromium", "--app-id=hnpfjngllnobngcgfapefoaidbinmjnm"), .is_browser = true},
                 "hnpfjngllnobngcgfapefoaidbinmjnm"},
                {{.argv = ARGV("chromium", "hnpfjngllnobngcgfapefoaidbinmjnm"),
                  .is_browser = true,
                  .is_interpreter = true},
                 ""},
                {{.path = "/usr/bin/less", .argv = ARGV("less", "/usr/bin/chatter")}, ""},
        };
        _cleanup_ruleset_ struct ruleset *r = compile(NULL, NOW);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (strcmp(matched(r, rules_match_program(r, &cases[i].program)), cases[i].value) != 0)
                        fail_msg("case %zu: not '%s'", i, cases[i].value);
}

static void test_protected(void **state)
{
        static const struct {
                const char *policy;
                const char *name;
                const char *prefix;
                const char *why; /* NULL: accepted */
                unsigned line;
        } cases[] = {
                {POLICY("enforce", ""), "vpn.chat.example", NULL,
                 "suffix 'chat.example' (chat.ini:9) would hit 'vpn.chat.example'", 0},
                {POLICY("enforce", ""), "chat.example", NULL, "channel 'chat'", 0},
                {POLICY("enforce", ""), "example", NULL, NULL, 0},
                {POLICY("enforce", ""), "vpn.notchat.example", NULL, NULL, 0},
                {POLICY("enforce", ""), "vpn.dns.example", NULL, NULL, 0},
                {POLICY("enforce", "[channel dns]\nverdict = block\n"), "vpn.dns.example", NULL, "channel 'dns'", 13},
                {POLICY("monitor", ""), "vpn.chat.example", NULL, NULL, 0},
                {POLICY("enforce", SECTION("allow")), "vpn.chat.example", NULL, NULL, 0},
                {POLICY("enforce", SECTION("allow") TIMED), "vpn.chat.example", NULL, "channel 'chat'", 13},
                {POLICY("enforce", SECTION("allow") MEMBERS GROUP_USER), "vpn.chat.example", NULL, "channel 'chat'",
                 13},
                {POLICY("enforce", "[group g]\nuser = bob\n[channel dns]\nverdict = block\ngroup = g\n"),
                 "dns.example", NULL, "channel 'dns'", 15},
                {POLICY("enforce", "[channel work]\nverdict = allow\n"), "vpn.work.chat.example", NULL, NULL, 0},
                {POLICY("enforce", ""), NULL, "91.108.4.1/32", "'91.108.4.0/22'", 0},
                {POLICY("enforce", ""), NULL, "91.0.0.0/8",
                 "'91.0.0.0/8', which is protected by agent.ini: [protect]", 0},
                {POLICY("enforce", ""), NULL, "91.108.8.0/24", NULL, 0},
                {NULL, "vpn.chat.example", NULL, NULL, 0},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct rules_protected protect = {.name = cases[i].name, .why = "agent.ini: [protect]"};
                struct rules_input in = input_of(cases[i].policy, NOW);
                struct ruleset *r = NULL;
                struct diag d = {};

                if (cases[i].prefix)
                        assert_int_equal(prefix_parse(cases[i].prefix, &protect.prefix), 0);
                in.protect = &protect;
                in.n_protect = 1;
                int q = rules_compile(&in, &r, &d);
                if (q != (cases[i].why ? -EPERM : 0) || (cases[i].why && !strstr(d.text, cases[i].why)) ||
                    d.line != cases[i].line)
                        fail_msg("case %zu: %d, line %u '%s'", i, q, d.line, d.text);
                assert_true(cases[i].why ? r == NULL : r != NULL);
                ruleset_free(r);
        }
}

static void test_refused(void **state)
{
        struct rules_input in = input_of(POLICY("enforce", "[channel talk]\nverdict = allow\n"), NOW);
        struct catalogue huge = {.n_channels = CATALOGUE_CHANNELS_MAX + 1};
        struct ruleset *r = NULL;
        struct diag d = {};

        assert_int_equal(rules_compile(&in, &r, &d), -ENOENT);
        assert_string_equal(d.file, "policy.ini");
        assert_int_equal(d.line, 13);
        assert_non_null(strstr(d.text, "'talk'"));
        in.catalogue = &huge;
        assert_int_equal(rules_compile(&in, &r, &d), -E2BIG);
        assert_null(r);
        assert_string_equal(violation_class_to_string(CLASS_EXEMPTION_USE), "exemption-use");
}

/* Channels that the policy brings along stand beside the catalogue's; none can be redefined. */
static void test_own_channels(void **state)
{
        static const char first[] = HEAD("bank-chat", "workplace") "[names]\nsuffix = chat.bank.example\n",
                          again[] = HEAD("chat", "messenger") "[names]\nsuffix = chat.bank.example\n",
                          steals[] = HEAD("bank-chat", "workplace") "[names]\nexact = chat.example\n";
        static const struct {
                const char *file, *text;
                int r;
        } cases[] = {
                {"bank-chat.ini", first, 0}, {"chat.ini", again, -ENOTUNIQ}, {"bank-chat.ini", steals, -ENOTUNIQ}};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const struct catalogue_source source = {cases[i].file, cases[i].text, strlen(cases[i].text)};
                struct rules_input in = input_of(
                        POLICY("enforce", "[channel bank-chat]\nverdict = allow\n[channel work]\nverdict = allow\n"),
                        NOW);
                _cleanup_catalogue_ struct catalogue *own = NULL;
                _cleanup_ruleset_ struct ruleset *r = NULL;
                struct diag d = {};

                assert_int_equal(catalogue_parse_files(&source, 1, &own, &d), 0);
                in.own = own;
                assert_int_equal(rules_compile(&in, &r, &d), cases[i].r);
                if (cases[i].r < 0) {
                        assert_string_equal(d.file, cases[i].file);
                        continue;
                }
                own = catalogue_free(own);
                assert_int_equal(r->n_channels, 5);
                const struct rule_channel *c =
                        &r->channels[r->entries[rules_match_name(r, "a.chat.bank.example")].channel];
                assert_string_equal(c->id, "bank-chat");
                assert_int_equal(c->verdict, VERDICT_ALLOW);
                assert_string_equal(r->channels[r->entries[rules_match_name(r, "chat.example")].channel].id, "chat");
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_no_policy),     cmocka_unit_test(test_outlives_inputs),
                cmocka_unit_test(test_decisions),     cmocka_unit_test(test_exemptions),
                cmocka_unit_test(test_match_name),    cmocka_unit_test(test_match_address),
                cmocka_unit_test(test_match_program), cmocka_unit_test(test_protected),
                cmocka_unit_test(test_refused),       cmocka_unit_test(test_own_channels),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
