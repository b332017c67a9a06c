/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A policy to start from: every key with its meaning, harmless until somebody decides otherwise. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"
#include "cli/authoring.h"
#include "policy/keys.h"

#define LIFE_MONTHS 3

static const char usage[] =
        "Usage: onchannel policy new FILE [--organisation NAME] [--force]\n"
        "Writes a commented policy to start from: serial 1, mode monitor, every channel of the catalogue\n"
        "to be blocked, over in three months.\n"
        "  --organisation NAME   whose policy it is\n"
        "  --force               replace FILE\n";

static const char intro[] =
        "; A policy of onchannel: onchannel-policy(5) and 'onchannel policy keys' explain every key.\n"
        ";   onchannel policy check FILE --catalogue CATALOGUE    before it is signed\n"
        ";   onchannel policy sign FILE --key SECRET              after each change\n"
        "; In monitor nothing is stopped; read what would have been, then write mode = enforce\n"
        "; and raise the serial.\n\n";

struct start {
        const char *organisation;
        char not_before[TIME_TEXT_MAX];
        char expires[TIME_TEXT_MAX];
};

/* Three months on; of a day that the month has not, the month's last day. */
static time_t add_months(time_t from, int months)
{
        struct tm tm, then;
        time_t t;
        int day;

        gmtime_r(&from, &tm);
        day = tm.tm_mday;
        tm.tm_mon += months;
        then = tm;
        t = timegm(&then);
        if (then.tm_mday != day) {
                tm.tm_mon++;
                tm.tm_mday = 0;
                t = timegm(&tm);
        }
        return t;
}

static const char *value_of(const struct start *s, const struct policy_key *k)
{
        const struct {
                const char *key;
                const char *value;
        } own[] = {
                {"format", "1"},         {"organisation", s->organisation},
                {"serial", "1"},         {"not_before", s->not_before},
                {"expires", s->expires}, {"mode", policy_mode_to_string(POLICY_MODE_MONITOR)},
        };

        for (size_t i = 0; k->section == POLICY_SECTION_POLICY && i < ELEMENTSOF(own); i++)
                if (strcmp(own[i].key, k->name) == 0)
                        return own[i].value;
        return k->standard;
}

static void add_key(struct buf *b, const struct start *s, const struct policy_key *k)
{
        const bool live = k->section == POLICY_SECTION_POLICY && value_of(s, k);
        char words[POLICY_VALUE_MAX];

        buf_addf(b, "; %s", k->meaning);
        if (k->choice)
                buf_addf(b, " One of: %s.", policy_choice_format(k->choice, words));
        buf_addf(b, "\n%s%-12s = %s\n", live ? "" : ";", k->name, live ? value_of(s, k) : k->example);
}

static const char *section_heading(enum policy_section s)
{
        switch (s) {
        case POLICY_SECTION_POLICY:
                return "[policy]\n";
        case POLICY_SECTION_GROUP:
                return "\n; Users and devices that match all kinds of keys given.\n;[group client-desk]\n";
        case POLICY_SECTION_CHANNEL:
                return "\n; One for each channel with a verdict of its own: 'onchannel catalogue show' lists them.\n"
                       ";[channel teams]\n";
        case POLICY_SECTION_TRUST:
                return "\n; Who may sign what comes after this policy. Absent: nothing changes.\n;[trust]\n";
        case _POLICY_SECTION_MAX:
                break;
        }
        return "";
}

static int write_start(const struct cli *c, const char *path, const struct start *s)
{
        _cleanup_policy_ struct policy *p = NULL;
        _cleanup_buf_ struct buf b = {0};
        struct diag d = {0};
        int r;

        buf_add_string(&b, intro);
        for (const struct policy_key *k = policy_keys; k->name; k++) {
                if (k == policy_keys || k->section != k[-1].section)
                        buf_add_string(&b, section_heading(k->section));
                add_key(&b, s, k);
        }
        r = buf_error(&b);
        if (r >= 0)
                r = policy_parse((const char *)b.data, b.size, path, &p, &d);
        if (r < 0)
                return cli_fail_diag(c, &d, r);
        if (strcmp(p->organisation, s->organisation) != 0)
                return cli_fail(c, STATUS_FAILED, "a policy would read '%s' as '%s'", s->organisation,
                                p->organisation);
        return write_output(c, path, b.data, b.size, 0644);
}

int command_policy_new(struct cli *c, int argc, char **argv)
{
        struct start s = {.organisation = "Example Bank plc"};
        const time_t now = time(NULL), today = now - now % 86400;
        bool force = false;
        const struct cli_option options[] = {
                {"organisation", 0, &s.organisation, NULL}, {"force", 0, NULL, &force}, {0}};
        int r;

        c->usage = usage;
        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1)
                return cli_usage(c, r);
        if (!force && access(argv[0], F_OK) == 0)
                return cli_fail(c, STATUS_FAILED, "'%s' exists; --force replaces it", argv[0]);
        time_format(today, s.not_before);
        time_format(add_months(today, LIFE_MONTHS), s.expires);
        r = write_start(c, argv[0], &s);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_pack("{s:b,s:s,s:s}", "ok", 1, "file", argv[0], "expires", s.expires));
        printf("%s: serial 1, mode monitor, expires %s\n", argv[0], s.expires);
        return STATUS_OK;
}
