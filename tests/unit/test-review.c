/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "rules/review.h"

#define HEAD                                                                                                         \
        "[policy]\nformat = 1\norganisation = x\nserial = 1\nnot_before = 2026-01-01T00:00:00Z\n"                    \
        "expires = 2027-02-21T00:00:00Z\n"
#define TEAMS   "[channel teams]\nverdict = allow\n"
#define ARCHIVE "archive = Relay\n"
#define TOR     "[channel tor]\nverdict = allow\n"

static const char *const channel_files[] = {
        "[channel]\nid = teams\nname = Teams\ncategory = workplace\nhomepage = https://t.example\n"
        "source = https://t.example\nchecked = 2026-11-21\n[names]\nsuffix = t.example\n",
        "[channel]\nid = tor\nname = Tor\ncategory = anonymiser\nhomepage = https://o.example\n"
        "source = https://o.example\nchecked = 2026-11-21\n[names]\nsuffix = o.example\n",
};

static void collect(const struct diag *d, void *buf)
{
        buf_addf(buf, "%u:%s\n", d->line, d->text);
}

struct review_case {
        const char *text;
        const char *now;
        bool strict;
        const char *warnings[3]; /* the beginnings of all there are */
};

static void check(const struct review_case *k, const struct catalogue *catalogue)
{
        _cleanup_policy_ struct policy *p = NULL;
        _cleanup_buf_ struct buf got = {0};
        struct diag d = {0};
        time_t now;
        const char *line;

        assert_int_equal(time_parse(k->now, &now), 0);
        if (policy_parse(k->text, strlen(k->text), "p.ini", &p, &d) < 0)
                fail_msg("%u: %s", d.line, d.text);
        buf_add_string(&got, "");
        rules_review(&(struct rules_review){.policy = p,
                                            .file = "p.ini",
                                            .catalogue = catalogue,
                                            .now = now,
                                            .strict = k->strict,
                                            .warn = collect,
                                            .userdata = &got});
        line = (char *)got.data;
        for (size_t i = 0; i < 3 && k->warnings[i]; i++) {
                if (!text_starts_with(line, k->warnings[i]))
                        fail_msg("'%s' is not in '%s' of '%s'", k->warnings[i], line, k->text);
                line = strchr(line, '\n') + 1;
        }
        if (*line)
                fail_msg("more than expected: '%s' of '%s'", line, k->text);
}

#define NOW "2026-11-21T12:00:00Z"

static const struct review_case cases[] = {
        {HEAD, NOW, false, {NULL}},
        {HEAD, "2027-02-07T00:00:00Z", false, {NULL}},
        {HEAD, "2027-02-07T00:00:01Z", false, {"1:expires in 13 days"}},
        {HEAD, "2027-02-20T12:00:00Z", false, {"1:expires in 0 days"}},
        {HEAD, "2027-02-21T00:00:00Z", false, {"1:expired 0 days ago"}},
        {HEAD, "2027-02-24T00:00:00Z", false, {"1:expired 3 days ago"}},
        {HEAD, NOW, true, {"1:mode = enforce with serial 1"}},
        {HEAD "mode = monitor\n", NOW, true, {NULL}},
        {HEAD "unlisted = allow\nbypass = allow\n", NOW, false, {"1:unlisted = allow", "1:bypass = allow"}},
        {HEAD "unlisted = watch\nbypass = watch\n", NOW, false, {NULL}},
        {HEAD TEAMS, NOW, false, {"7:'teams' is allowed without 'archive'"}},
        {HEAD TEAMS ARCHIVE, NOW, false, {NULL}},
        {HEAD "[channel teams]\nverdict = watch\n", NOW, false, {NULL}},
        {HEAD TEAMS "until = 2026-11-22T00:00:00Z\n", NOW, false, {"7:'teams' is allowed without"}},
        {HEAD TEAMS "until = 2026-11-21T00:00:00Z\n",
         NOW,
         false,
         {"7:[channel teams] ended at 2026-11-21T00:00:00Z and counts as absent"}},
        {HEAD TOR ARCHIVE, NOW, false, {"7:'tor' is allowed and leads around the policy (anonymiser)"}},
        {HEAD "[group a]\nuser = x\n", NOW, false, {"7:group 'a' is not used by any channel"}},
        {HEAD "[group a]\nuser = x\n" TEAMS ARCHIVE "group = a\n", NOW, false, {NULL}},
        {HEAD "[group a]\ndevice = ws-[0\ndevice = ws\\\n" TEAMS ARCHIVE "group = a\n",
         NOW,
         false,
         {"7:device pattern 'ws-[0' of group 'a' has a '['", "7:device pattern 'ws\\' of group 'a' ends in"}},
        {HEAD "[group a]\ndevice = [!]a]b\ndevice = [[]\ndevice = \\[\ndevice = w[0-9]*?\n" TEAMS ARCHIVE
              "group = a\n",
         NOW,
         false,
         {NULL}},
        {HEAD "[group a]\ndevice = []\n" TEAMS ARCHIVE "group = a\n", NOW, false, {"7:device pattern '[]'"}},
};

static void test_cases(void **state)
{
        const struct catalogue_source sources[] = {{"teams.ini", channel_files[0], strlen(channel_files[0])},
                                                   {"tor.ini", channel_files[1], strlen(channel_files[1])}};
        _cleanup_catalogue_ struct catalogue *catalogue = NULL;
        struct diag d = {0};

        if (catalogue_parse_files(sources, 2, &catalogue, &d) < 0)
                fail_msg("%s:%u: %s", d.file, d.line, d.text);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                check(&cases[i], catalogue);
}

/* Without a catalogue nobody knows what Tor is. */
static void test_no_catalogue(void **state)
{
        check(&(struct review_case){HEAD TOR, NOW, false, {"7:'tor' is allowed without 'archive'"}}, NULL);
}

static void test_devices(void **state)
{
        static const char *const tags[] = {"trading", "london", NULL};
        const struct review_device devices[] = {{"ws-0301", NULL}, {"lt-7", tags}};
        const struct {
                const char *group;
                const char *warning;
        } groups[] = {
                {"device = ws-03*\n", ""},
                {"device = ws-04*\n", "7:no device of 'd.txt' is in group 'a'\n"},
                {"device = ws-04*\ntag = lon*\n", ""},
                {"tag = paris\n", "7:no device of 'd.txt' is in group 'a'\n"},
                {"user = anna\n", ""},
        };
        time_t now;

        assert_int_equal(time_parse(NOW, &now), 0);
        for (size_t i = 0; i < ELEMENTSOF(groups); i++) {
                _cleanup_free_ char *text =
                        format_new(HEAD "[group a]\n%s" TEAMS ARCHIVE "group = a\n", groups[i].group);
                _cleanup_policy_ struct policy *p = NULL;
                _cleanup_buf_ struct buf got = {0};

                assert_int_equal(policy_parse(text, strlen(text), "p.ini", &p, NULL), 0);
                buf_add_string(&got, "");
                rules_review(&(struct rules_review){.policy = p,
                                                    .file = "p.ini",
                                                    .devices_file = "d.txt",
                                                    .devices = devices,
                                                    .n_devices = ELEMENTSOF(devices),
                                                    .now = now,
                                                    .warn = collect,
                                                    .userdata = &got});
                assert_string_equal((char *)got.data, groups[i].warning);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_no_catalogue),
                                           cmocka_unit_test(test_devices)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
