/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "policy/keys.h"

static const char sample[] = "[policy]\n"
                             "format       = 1\n"
                             "organisation = Example Bank plc\n"
                             "serial       = 42                     ; an older serial is refused: no rollback\n"
                             "not_before   = 2026-11-21T00:00:00Z\n"
                             "expires      = 2027-02-21T00:00:00Z\n"
                             "mode         = monitor\n"
                             "unlisted     = watch\n"
                             "bypass       = allow\n"
                             "quic         = block\n"
                             "programs     = watch\n"
                             "notice       = This channel is not approved. Use Teams or Symphony.\n"
                             "help         = https://intranet.example/channels\n"
                             "\n"
                             "[channel whatsapp]\n"
                             "verdict = allow\n"
                             "group   = client-desk\n"
                             "until   = 2026-12-31T00:00:00Z\n"
                             "reason  = CHG-4711\n"
                             "\n"
                             "[group client-desk]\n"
                             "device = ws-03*\n"
                             "user   = anna\n"
                             "device = ws-04*\n"
                             "\n"
                             "[channel teams]\n"
                             "verdict = block\n"
                             "archive = Global Relay                ; the archive\n";

static void test_sample(void **state)
{
        _cleanup_policy_ struct policy *p = NULL;
        struct diag d = {0};

        assert_int_equal(policy_parse(sample, strlen(sample), "p.ini", &p, &d), 0);
        assert_string_equal(p->organisation, "Example Bank plc");
        assert_int_equal(p->serial, 42);
        assert_int_equal(p->not_before, 1795219200);
        assert_int_equal(p->expires, 1803168000);
        assert_int_equal(p->mode, POLICY_MODE_MONITOR);
        assert_int_equal(p->unlisted, VERDICT_WATCH);
        assert_int_equal(p->bypass, VERDICT_ALLOW);
        assert_int_equal(p->quic, QUIC_BLOCK);
        assert_int_equal(p->programs, VERDICT_WATCH);
        assert_string_equal(p->notice, "This channel is not approved. Use Teams or Symphony.");
        assert_string_equal(p->help, "https://intranet.example/channels");
        assert_int_equal(p->n_groups, 1);
        assert_string_equal(p->groups[0].name, "client-desk");
        assert_string_equal(p->groups[0].devices[0], "ws-03*");
        assert_string_equal(p->groups[0].devices[1], "ws-04*");
        assert_null(p->groups[0].devices[2]);
        assert_string_equal(p->groups[0].users[0], "anna");
        assert_null(p->groups[0].users[1]);
        assert_int_equal(p->groups[0].line, 21);
        assert_int_equal(p->n_channels, 2);
        assert_string_equal(p->channels[0].id, "whatsapp");
        assert_int_equal(p->channels[0].verdict, VERDICT_ALLOW);
        assert_string_equal(p->channels[0].group, "client-desk");
        assert_int_equal(p->channels[0].until, 1798675200);
        assert_string_equal(p->channels[0].reason, "CHG-4711");
        assert_int_equal(p->channels[0].line, 15);
        assert_int_equal(p->channels[1].verdict, VERDICT_BLOCK);
        assert_string_equal(p->channels[1].archive, "Global Relay");
        assert_null(p->channels[1].group);
        assert_int_equal(p->channels[1].until, 0);
}

#define REQUIRED                                                                                                     \
        "[policy]\n"                                                                                                 \
        "format = 1\n"                                                                                               \
        "organisation = O\n"                                                                                         \
        "serial = 1\n"                                                                                               \
        "not_before = 2026-11-21T00:00:00Z\n"                                                                        \
        "expires = 2027-02-21T00:00:00Z\n"

static void test_defaults(void **state)
{
        _cleanup_policy_ struct policy *p = NULL;

        assert_int_equal(policy_parse(REQUIRED, strlen(REQUIRED), "p.ini", &p, NULL), 0);
        assert_int_equal(p->mode, POLICY_MODE_ENFORCE);
        assert_int_equal(p->unlisted, VERDICT_BLOCK);
        assert_int_equal(p->bypass, VERDICT_BLOCK);
        assert_int_equal(p->quic, QUIC_INSPECT);
        assert_int_equal(p->programs, VERDICT_BLOCK);
        assert_null(p->notice);
        assert_null(p->help);
        assert_int_equal(p->n_groups + p->n_channels, 0);
}

/* REQUIRED with the line of `key` replaced (or taken out when `line` is ""). */
static void required_with(struct buf *b, const char *key, const char *line)
{
        const char *at = strstr(REQUIRED, key);
        const char *next = strchr(at, '\n') + 1;

        buf_add(b, REQUIRED, (size_t)(at - REQUIRED));
        buf_add_string(b, line);
        buf_add_string(b, next);
}

static void refused(const char *text, size_t size, int expected, unsigned line, const char *reason)
{
        struct policy *p = NULL;
        struct diag d = {0};
        int r = policy_parse(text, size, "p.ini", &p, &d);

        if (r != expected || !strstr(d.text, reason) || d.line != line)
                fail_msg("%.*s\n%d line %u: '%s' instead of line %u: '%s'", (int)(size < 900 ? size : 900), text, r,
                         d.line, d.text, line, reason);
        assert_null(p);
        assert_string_equal(d.file, "p.ini");
}

static void test_required_keys(void **state)
{
        static const struct {
                const char *key, *line;
                unsigned at;
                const char *reason;
        } table[] = {
                {"[policy]", "", 1, "key 'format' before the first section"},
                {"[policy]", "[Policy]\n", 1, "unknown section '[Policy]'"},
                {"[policy]", "[policy ]\n", 1, "unknown section '[policy ]'"},
                {"format", "", 1, "[policy] without 'format'"},
                {"organisation", "", 1, "[policy] without 'organisation'"},
                {"serial", "", 1, "[policy] without 'serial'"},
                {"not_before", "", 1, "[policy] without 'not_before'"},
                {"expires", "", 1, "[policy] without 'expires'"},
                {"format", "format = 2\n", 2, "unknown format '2'"},
                {"format", "format = 01\n", 2, "unknown format '01'"},
                {"format", "format =\n", 2, "'format' without a value"},
                {"format", "Format = 1\n", 2, "unknown key 'Format' in [policy]"},
                {"organisation", "organisation = ; none\n", 3, "'organisation' without a value"},
                {"serial", "serial = 0\n", 4, "'0' is no serial number"},
                {"serial", "serial = -1\n", 4, "'-1' is no serial number"},
                {"serial", "serial = 1.0\n", 4, "'1.0' is no serial number"},
                {"serial", "serial = 0x10\n", 4, "'0x10' is no serial number"},
                {"serial", "serial = 9007199254740992\n", 4, "is no serial number"},
                {"serial", "serial = 18446744073709551617\n", 4, "is no serial number"},
                {"not_before", "not_before = 2026-02-30T00:00:00Z\n", 5, "'2026-02-30T00:00:00Z' is no time"},
                {"not_before", "not_before = 2026-11-21\n", 5, "is no time"},
                {"not_before", "not_before = 2026-11-21T00:00:00+01:00\n", 5, "is no time"},
                {"expires", "expires = never\n", 6, "'never' is no time"},
                {"expires", "expires = 2027-02-29T00:00:00Z\n", 6, "is no time"},
                {"expires", "expires = 2026-11-21T00:00:00Z\n", 1, "expires before it begins"},
                {"expires", "expires = 2025-11-21T00:00:00Z\n", 1, "expires before it begins"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                _cleanup_buf_ struct buf b = {0};

                required_with(&b, table[i].key, table[i].line);
                refused((char *)b.data, b.size, -EBADMSG, table[i].at, table[i].reason);
        }
}

#define TEXT(s) s, sizeof(s) - 1
#define CHANNEL "[channel x]\nverdict = allow\n"
#define FOREVER "verdict = allow\nuntil = "
#define NAME_33 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_hostile(void **state)
{
        /* Behind the six lines of REQUIRED. */
        static const struct {
                const char *text;
                size_t size;
                int r;
                unsigned line;
                const char *reason;
        } table[] = {
                {TEXT("serial = 2\n"), -ENOTUNIQ, 7, "'serial' given twice"},
                {TEXT("mode = enforce\nmode = monitor\n"), -ENOTUNIQ, 8, "'mode' given twice"},
                {TEXT("[policy]\nmode = monitor\n"), -ENOTUNIQ, 7, "[policy] given twice, first in line 1"},
                {TEXT("mode = off\n"), -EBADMSG, 7, "unknown mode 'off'"},
                {TEXT("mode = Monitor\n"), -EBADMSG, 7, "unknown mode 'Monitor'"},
                {TEXT("unlisted = deny\n"), -EBADMSG, 7, "unknown verdict 'deny'"},
                {TEXT("bypass = blocked\n"), -EBADMSG, 7, "unknown verdict 'blocked'"},
                {TEXT("bypass = block;x\n"), -EBADMSG, 7, "unknown verdict 'block;x'"},
                {TEXT("quic = watch\n"), -EBADMSG, 7, "unknown treatment of QUIC 'watch'"},
                {TEXT("programs = allow\n"), -EBADMSG, 7, "unknown treatment of programs 'allow'"},
                {TEXT("help = ftp://x\n"), -EBADMSG, 7, "'ftp://x' is no http or https address"},
                {TEXT("help = javascript:alert(1)\n"), -EBADMSG, 7, "is no http or https address"},
                {TEXT("help = https://\n"), -EBADMSG, 7, "is no http or https address"},
                {TEXT("help = https:///x\n"), -EBADMSG, 7, "is no http or https address"},
                {TEXT("help = https://a b\n"), -EBADMSG, 7, "is no http or https address"},
                {TEXT("help = https://a/\"><script>\n"), -EBADMSG, 7, "is no http or https address"},
                {TEXT("help = HTTPS://a\n"), -EBADMSG, 7, "is no http or https address"},
                {TEXT("colour = red\n"), -EBADMSG, 7, "unknown key 'colour' in [policy]"},
                {TEXT("device = x\n"), -EBADMSG, 7, "unknown key 'device' in [policy]"},
                {TEXT("x\xe2\x80\xaey = 1\n"), -EBADMSG, 7, "unknown key 'x\\xe2\\x80\\xaey'"},
                {TEXT("[other]\n"), -EBADMSG, 7, "unknown section '[other]'"},
                {TEXT("[group]\nuser = a\n"), -EBADMSG, 7, "unknown section '[group]'"},
                {TEXT("[group ]\nuser = a\n"), -EBADMSG, 7, "'' is no name"},
                {TEXT("[group  a]\nuser = a\n"), -EBADMSG, 7, "' a' is no name"},
                {TEXT("[group a/b]\nuser = a\n"), -EBADMSG, 7, "'a/b' is no name"},
                {TEXT("[group -a]\nuser = a\n"), -EBADMSG, 7, "'-a' is no name"},
                {TEXT("[group " NAME_33 "]\n"), -EBADMSG, 7, "longer than 32 bytes"},
                {TEXT("[group a]\n"), -EBADMSG, 7, "group without 'device', 'tag', 'user' or 'unixgroup'"},
                {TEXT("[group a]\n" CHANNEL), -EBADMSG, 7, "group without 'device', 'tag', 'user' or 'unixgroup'"},
                {TEXT("[group a]\nuser = a b\n"), -EBADMSG, 8, "'a b' holds a blank"},
                {TEXT("[group a]\nuser =\n"), -EBADMSG, 8, "'user' without a value"},
                {TEXT("[group a]\nverdict = allow\n"), -EBADMSG, 8, "unknown key 'verdict' in group"},
                {TEXT("[group a]\nuser = a\n[group a]\n"), -ENOTUNIQ, 9, "[group a] given twice, first in line 7"},
                {TEXT("[channel]\n"), -EBADMSG, 7, "unknown section '[channel]'"},
                {TEXT("[channel WhatsApp]\n"), -EBADMSG, 7, "'WhatsApp' is no name"},
                {TEXT("[channel w\xd0\xb0tsapp]\n"), -EBADMSG, 7, "is no name"},
                {TEXT("[channel ../x]\n"), -EBADMSG, 7, "'../x' is no name"},
                {TEXT("[channel x]\n"), -EBADMSG, 7, "channel without 'verdict'"},
                {TEXT("[channel x]\nreason = y\n"
                      "[channel y]\n"),
                 -EBADMSG, 7, "channel without 'verdict'"},
                {TEXT("[channel x]\nverdict = permit\n"), -EBADMSG, 8, "unknown verdict 'permit'"},
                {TEXT("[channel x]\nverdict = allow block\n"), -EBADMSG, 8, "unknown verdict 'allow block'"},
                {TEXT(CHANNEL "verdict = block\n"), -ENOTUNIQ, 9, "'verdict' given twice"},
                {TEXT(CHANNEL CHANNEL), -ENOTUNIQ, 9, "[channel x] given twice, first in line 7"},
                {TEXT(CHANNEL "group = desk\n"), -ENOENT, 9, "group 'desk' is not defined"},
                {TEXT("[group a]\nuser = a\n" CHANNEL "group = A\n"), -ENOENT, 11, "group 'A' is not defined"},
                {TEXT("[channel x]\n" FOREVER "2026-02-30T00:00:00Z\n"), -EBADMSG, 9, "'2026-02-30T00:00:00Z' is no"},
                {TEXT("[channel x]\n" FOREVER "2026-12-31\n"), -EBADMSG, 9, "is no time"},
                {TEXT("[channel x]\n" FOREVER "0\n"), -EBADMSG, 9, "is no time"},
                {TEXT(CHANNEL "serial = 43\n"), -EBADMSG, 9, "unknown key 'serial' in channel"},
                {TEXT(CHANNEL "user = anna\n"), -EBADMSG, 9, "unknown key 'user' in channel"},
                {TEXT("[channel x] verdict = allow\n"), -EBADMSG, 7, "text behind the section name"},
                {TEXT(CHANNEL "\0"), -EBADMSG, 9, "control character"},
                {TEXT("notice = \xff\n"), -EBADMSG, 7, "not UTF-8"},
                {TEXT("notice = a\n more\n"), -EBADMSG, 8, "line starts with a blank"},
                {TEXT("\n\nno key\n"), -EBADMSG, 9, "expected 'key = value', not 'no key'"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                _cleanup_buf_ struct buf b = {0};

                buf_add_string(&b, REQUIRED);
                buf_add(&b, table[i].text, table[i].size);
                refused((char *)b.data, b.size, table[i].r, table[i].line, table[i].reason);
        }
        refused("", 0, -EBADMSG, 0, "no [policy] section");
        refused(CHANNEL, strlen(CHANNEL), -EBADMSG, 0, "no [policy] section");
}

/* libinih alone would read a key behind byte 200 of a comment and let messengers through. */
static void test_hidden_verdict(void **state)
{
        for (size_t pad = 150; pad < 230; pad++) {
                _cleanup_buf_ struct buf b = {0};

                buf_add_string(&b, REQUIRED "; ");
                while (b.size < strlen(REQUIRED) + pad)
                        buf_add_string(&b, "p");
                buf_add_string(&b, "\n");
                if (pad > 180) {
                        b.size--;
                        buf_add_string(&b, "unlisted = allow\n");
                        refused((char *)b.data, b.size, -EBADMSG, 7, "line longer than 180 bytes");
                } else {
                        _cleanup_policy_ struct policy *p = NULL;

                        assert_int_equal(policy_parse((char *)b.data, b.size, "p.ini", &p, NULL), 0);
                        assert_int_equal(p->unlisted, VERDICT_BLOCK);
                }
        }
}

static void many(const char *const around[2], unsigned n, const char *before, unsigned line, const char *reason)
{
        for (unsigned extra = 0; extra < 2; extra++) {
                _cleanup_buf_ struct buf b = {0};
                _cleanup_policy_ struct policy *p = NULL;

                buf_add_string(&b, before);
                for (unsigned i = 0; i < n + extra; i++)
                        buf_addf(&b, "%s%u%s", around[0], i, around[1]);
                if (extra)
                        refused((char *)b.data, b.size, -E2BIG, line, reason);
                else
                        assert_int_equal(policy_parse((char *)b.data, b.size, "p.ini", &p, NULL), 0);
        }
}

static void test_limits(void **state)
{
        static char large[POLICY_MAX_BYTES + 1];

        static const char *const channel[] = {"[channel c", "]\nverdict = allow\n"};
        static const char *const group[] = {"[group g", "]\nuser = a\n"};
        static const char *const device[] = {"device = d", "\n"};

        many(channel, 1000, REQUIRED, 7 + 2 * 1000, "more than 1000 channels");
        many(group, 256, REQUIRED, 7 + 2 * 256, "more than 256 groups");
        many(device, 4096, REQUIRED "[group g]\n", 8 + 4096, "more than 4096 in one group");
        memset(large, '\n', sizeof(large));
        refused(large, sizeof(large), -E2BIG, 0, "policy larger than 1048576 bytes");
        refused(large, sizeof(large) - 1, -EBADMSG, 0, "no [policy] section");
}

static void test_comment(void **state)
{
        static const char *const wrong[] = {
                "",
                "onchannel policy serial=43 expires=2027-02-21T00:00:00Z",
                "onchannel policy serial=42 expires=2027-02-22T00:00:00Z",
                "onchannel policy serial=42 expires=2027-02-21T00:00:00Z ",
                "onchannel catalogue version=1 serial=42",
                "timestamp:1795286310\tfile:policy.ini\thashed",
        };
        static const char right[] = "onchannel policy serial=42 expires=2027-02-21T00:00:00Z";
        _cleanup_policy_ struct policy *p = NULL;
        _cleanup_free_ char *comment = NULL;
        struct diag d = {0};

        assert_int_equal(policy_parse(sample, strlen(sample), "p.ini", &p, NULL), 0);
        assert_int_equal(policy_comment_new(p, &comment), 0);
        assert_string_equal(comment, right);
        assert_int_equal(policy_comment_check(p, right, "p.minisig", &d), 0);
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                assert_int_equal(policy_comment_check(p, wrong[i], "p.minisig", &d), -EBADMSG);
        assert_string_equal(d.file, "p.minisig");
}

static void test_names(void **state)
{
        for (int i = 0; i < _VERDICT_MAX; i++) {
                enum verdict v = _VERDICT_MAX;

                assert_int_equal(verdict_from_string(verdict_to_string((enum verdict)i), &v), 0);
                assert_int_equal(v, i);
        }
        assert_string_equal(policy_mode_to_string(POLICY_MODE_MONITOR), "monitor");
        assert_string_equal(quic_mode_to_string(QUIC_INSPECT), "inspect");
        assert_null(policy_free(NULL));
}

/* A policy that holds `key = value` and else only what is required. */
static void policy_with(struct buf *b, const struct policy_key *key, const char *value)
{
        static const char *const headings[] = {
                [POLICY_SECTION_POLICY] = "[policy]\n",
                [POLICY_SECTION_GROUP] = "[group client-desk]\nuser = somebody\n",
                [POLICY_SECTION_CHANNEL] = "[channel x]\n",
                [POLICY_SECTION_TRUST] = "[trust]\n",
        };

        for (int s = 0; s < _POLICY_SECTION_MAX; s++) {
                buf_add_string(b, headings[s]);
                for (const struct policy_key *k = policy_keys; k->name; k++)
                        if ((int)k->section == s && (k == key || (k->flags & POLICY_KEY_REQUIRED)))
                                buf_addf(b, "%s = %s\n", k->name, k == key ? value : k->example);
        }
}

static const void *section_of(const struct policy *p, enum policy_section s)
{
        return s == POLICY_SECTION_GROUP     ? (const void *)&p->groups[0]
               : s == POLICY_SECTION_CHANNEL ? (const void *)&p->channels[0]
                                             : (const void *)p;
}

/* The value that a policy has which says `key = value`. */
static void reads_as(const struct policy_key *k, const char *value)
{
        _cleanup_policy_ struct policy *p = NULL;
        _cleanup_buf_ struct buf b = {0};
        char text[POLICY_VALUE_MAX];
        struct diag d = {0};

        policy_with(&b, k, value);
        if (policy_parse((char *)b.data, b.size, "p.ini", &p, &d) < 0)
                fail_msg("%s = %s: %s", k->name, value, d.text);
        if (!(k->flags & POLICY_KEY_REPEATED))
                assert_string_equal(policy_key_format(k, section_of(p, k->section), text), value);
}

static void test_keys(void **state)
{
        for (const struct policy_key *k = policy_keys; k->name; k++) {
                reads_as(k, k->example);
                for (unsigned i = 0; k->choice && i < k->choice->n; i++)
                        reads_as(k, k->choice->words[i]);
                assert_non_null(k->meaning);
                assert_int_equal(!k->choice, k->type != POLICY_TYPE_CHOICE);
                assert_ptr_equal(policy_key_find(k->section, k->name), k);
        }
        assert_null(policy_key_find(POLICY_SECTION_GROUP, "verdict"));
}

static void test_key_defaults(void **state)
{
        _cleanup_policy_ struct policy *p = NULL;
        _cleanup_buf_ struct buf b = {0};
        char text[POLICY_VALUE_MAX];

        policy_with(&b, NULL, NULL);
        assert_int_equal(policy_parse((char *)b.data, b.size, "p.ini", &p, NULL), 0);
        for (const struct policy_key *k = policy_keys; k->name; k++) {
                if (k->flags)
                        continue;
                const char *value = policy_key_format(k, section_of(p, k->section), text);

                if (k->standard)
                        assert_string_equal(value, k->standard);
                else
                        assert_null(value);
        }
}

/* Channel files behind a line "[file]" are the catalogue parser's business. */
static void test_own_channels(void **state)
{
        static const struct {
                const char *rest;
                int r;
        } cases[] = {
                {"[file]\nname = a.ini\n[channel]\nid = a\n", 0},
                {"[file]", 0},
                {"[file] \n", -EBADMSG},
                {" [file]\n", -EBADMSG},
                {"[files]\n", -EBADMSG},
                {"[channel]\nid = a\n", -EBADMSG},
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                _cleanup_policy_ struct policy *p = NULL;
                struct diag d = {0};
                char text[2048];

                snprintf(text, sizeof(text), "%s%s", sample, cases[i].rest);
                int r = policy_parse(text, strlen(text), "p.ini", &p, &d);
                if (r != cases[i].r)
                        fail_msg("'%s': %d %s", cases[i].rest, r, d.text);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sample),       cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_hostile),      cmocka_unit_test(test_required_keys),
                cmocka_unit_test(test_limits),       cmocka_unit_test(test_hidden_verdict),
                cmocka_unit_test(test_comment),      cmocka_unit_test(test_names),
                cmocka_unit_test(test_keys),         cmocka_unit_test(test_key_defaults),
                cmocka_unit_test(test_own_channels),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
