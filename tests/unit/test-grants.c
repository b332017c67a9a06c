/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "tests/unit/rules-fixture.h"

/* device and tag, user and unixgroup: either of a pair will do */
static void test_groups(void **state)
{
        static const struct {
                const char *group;
                bool everyone, anna, carl; /* carl is a trader, anna is anna */
        } table[] = {
                {"device = ws-*\n", true, true, true},
                {"device = pc-*\n", false, false, false},
                {"tag = floor\n", true, true, true},
                {"tag = f*\n", true, true, true},
                {"tag = roof\n", false, false, false},
                {"device = pc-*\ntag = floor\n", true, true, true},
                {"unixgroup = traders\n", false, false, true},
                {"unixgroup = nobodies\n", false, false, false},
                {"user = anna\nunixgroup = traders\n", false, true, true},
                {"user = anna\ntag = roof\n", false, false, false},
                {"unixgroup = traders\ndevice = ws-0301\n", false, false, true},
        };
        static const struct rules_member members[] = {{"traders", 1003}, {"others", 1004}, {"traders", 1003}};
        static char *tags[] = {(char *)"floor", (char *)"second", NULL};

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_free_ char *text =
                        format_new(POLICY("enforce", "[group g]\n%s[channel work]\nverdict = allow\ngroup = g\n"),
                                   table[i].group);
                struct rules_input in = input_of(text, NOW);
                _cleanup_ruleset_ struct ruleset *r = NULL;

                in.tags = tags;
                in.members = members;
                in.n_members = ELEMENTSOF(members);
                assert_int_equal(rules_compile(&in, &r, NULL), 0);
                if ((rules_verdict(r, WORK, 5) == VERDICT_ALLOW) != table[i].everyone ||
                    (rules_verdict(r, WORK, 1000) == VERDICT_ALLOW) != table[i].anna ||
                    (rules_verdict(r, WORK, 1003) == VERDICT_ALLOW) != table[i].carl)
                        fail_msg("case %zu", i);
        }
}

/* Grants open what the policy stops or watches, for those they name, and say by which. */
static void test_grants(void **state)
{
        static char *chat[] = {(char *)"chat", (char *)"unknown", NULL},
                    *both[] = {(char *)"chat", (char *)"dns", NULL}, *work[] = {(char *)"work", NULL},
                    *anna[] = {(char *)"anna", NULL}, *traders[] = {(char *)"traders", NULL};
        static const struct rules_grant grants[] = {{"EX-1", chat, anna, NULL},
                                                    {"EX-2", both, NULL, traders},
                                                    {"EX-3", work, NULL, NULL},
                                                    {"EX-4", chat, anna, NULL}};
        static const struct rules_member members[] = {{"traders", 1003}};
        static const struct {
                uint16_t channel;
                uid_t uid;
                enum verdict verdict;
                const char *id;
        } table[] = {
                {CHAT, 1000, VERDICT_ALLOW, "EX-1"}, {CHAT, 1003, VERDICT_ALLOW, "EX-2"},
                {CHAT, 5, VERDICT_BLOCK, NULL},      {DNS, 1003, VERDICT_ALLOW, "EX-2"},
                {DNS, 1000, VERDICT_WATCH, NULL},    {WORK, 5, VERDICT_ALLOW, "EX-3"},
                {WORK, 999, VERDICT_ALLOW, "EX-3"},  {WORK, 1003, VERDICT_ALLOW, "EX-3"},
        };
        struct rules_input in = input_of(
                POLICY("enforce", "[group g]\nuser = bob\n[channel work]\nverdict = watch\ngroup = g\n"), NOW);
        _cleanup_ruleset_ struct ruleset *r = NULL;

        in.members = members;
        in.n_members = ELEMENTSOF(members);
        in.grants = grants;
        in.n_grants = ELEMENTSOF(grants);
        in.canary = true;
        assert_int_equal(rules_compile(&in, &r, NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                const char *id = rules_exempted_by(r, table[i].channel, table[i].uid);

                if (rules_verdict(r, table[i].channel, table[i].uid) != table[i].verdict || !id != !table[i].id ||
                    (id && strcmp(id, table[i].id)))
                        fail_msg("case %zu: %s", i, id ? id : "none");
        }
        for (size_t i = 1; i < r->n_exemptions; i++)
                assert_true(r->exemptions[i - 1].channel < r->exemptions[i].channel ||
                            r->exemptions[i - 1].uid < r->exemptions[i].uid);
}

static void test_grant_of_what_is_allowed(void **state)
{
        static char *work[] = {(char *)"work", NULL}, *anna[] = {(char *)"anna", NULL};
        static const struct rules_grant grant = {"EX-1", work, anna, NULL};
        struct rules_input in = input_of(POLICY("enforce", "[channel work]\nverdict = allow\n"), NOW);
        _cleanup_ruleset_ struct ruleset *r = NULL;

        in.grants = &grant;
        in.n_grants = 1;
        assert_int_equal(rules_compile(&in, &r, NULL), 0);
        assert_int_equal(r->n_exemptions, 0);
        assert_null(rules_exempted_by(r, WORK, 1000));
}

/* Blocked in every mode and without a policy; the others' numbers do not move. */
static void test_canary(void **state)
{
        static const char *const policies[] = {NULL, POLICY("enforce", ""),
                                               POLICY("monitor", "[channel work]\nverdict = allow\n")};

        for (size_t i = 0; i < ELEMENTSOF(policies); i++) {
                struct rules_input in = input_of(policies[i], NOW);
                _cleanup_ruleset_ struct ruleset *r = NULL;
                uint32_t entry;

                in.canary = true;
                assert_int_equal(rules_compile(&in, &r, NULL), 0);
                assert_int_equal(r->canary, 4);
                assert_string_equal(r->channels[WORK].id, "work");
                entry = rules_match_name(r, RULES_CANARY_NAME);
                assert_int_equal(r->entries[entry].channel, r->canary);
                assert_int_equal(rules_verdict(r, r->canary, 0), VERDICT_BLOCK);
                assert_int_equal(rules_match_name(r, "x." RULES_CANARY_NAME), 0);
        }
}

static void test_protected_program(void **state)
{
        static const struct rules_protected protect[] = {
                {.program = "/opt/x/chatter", .why = "agent.ini:9: [protect] program"}};
        struct rules_input in = input_of(POLICY("enforce", ""), NOW);
        struct ruleset *r = NULL;
        struct diag d = {0};

        in.protect = protect;
        in.n_protect = 1;
        assert_int_equal(rules_compile(&in, &r, &d), 0); /* programs = watch */
        ruleset_free(r);
        policy->programs = VERDICT_BLOCK;
        assert_int_equal(rules_compile(&in, &r, &d), -EPERM);
        assert_non_null(strstr(d.text, "would hit '/opt/x/chatter', which is protected by agent.ini:9"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_groups),
                cmocka_unit_test(test_grants),
                cmocka_unit_test(test_grant_of_what_is_allowed),
                cmocka_unit_test(test_canary),
                cmocka_unit_test(test_protected_program),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
