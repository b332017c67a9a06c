/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/cli.h"

static const char usage[] = "Usage: onchannel status [--json]\n"
                            "Shows what the agent on this machine does. Exit status 3: it is not running.\n";

static void print_refused(const struct cli *c, const json_t *o)
{
        const json_t *r = json_object_get(o, "refused");

        if (!r)
                return;
        if (json_number(r, "line"))
                print_field(c, "  refused", COLOUR_BAD, "%s:%" PRId64 ": %s", json_text(r, "file"),
                            (int64_t)json_number(r, "line"), json_text(r, "reason"));
        else
                print_field(c, "  refused", COLOUR_BAD, "%s: %s", json_text(r, "file"), json_text(r, "reason"));
}

static void print_config(const struct cli *c, const json_t *o)
{
        if (!o)
                return;
        print_field(c, "agent.ini", COLOUR_BAD, "that of the last start is in force");
        print_refused(c, o);
}

static void print_policy(const struct cli *c, const json_t *p)
{
        const char *mode = json_text(p, "mode");
        bool expired = json_is_true(json_object_get(p, "expired"));

        if (!strcmp(mode, "none"))
                print_field(c, "policy", COLOUR_WARN, "none: everything is only watched");
        else {
                print_field(c, "policy", COLOUR_NONE, "%" PRId64 " of %s, signed by %s",
                            (int64_t)json_number(p, "serial"), json_text(p, "organisation"), json_text(p, "signer"));
                print_field(c, "  mode", !strcmp(mode, "enforce") ? COLOUR_GOOD : COLOUR_WARN, "%s", mode);
                print_field(c, "  expires", expired ? COLOUR_BAD : COLOUR_NONE, "%s%s", json_text(p, "expires"),
                            expired ? " (expired; it stays in force)" : "");
        }
        print_refused(c, p);
}

static void print_counters(const struct cli *c, const json_t *o)
{
        int64_t lost = (int64_t)json_number(o, "lost"), restored = (int64_t)json_number(o, "restored");

        print_field(c, "seen", COLOUR_NONE,
                    "%" PRId64 " events, %" PRId64 " programs ended, %" PRId64 " connections reset",
                    (int64_t)json_number(o, "facts"), (int64_t)json_number(o, "killed"),
                    (int64_t)json_number(o, "reset"));
        if (lost)
                print_field(c, "lost", COLOUR_BAD, "%" PRId64 " events", lost);
        if (restored)
                print_field(c, "restored", COLOUR_BAD, "the nftables table, %" PRId64 " times", restored);
}

static void print_browsers(const struct cli *c, const json_t *o)
{
        int64_t restored = (int64_t)json_number(o, "restored"), left_out = (int64_t)json_number(o, "left_out");

        if (!json_is_true(json_object_get(o, "managed")))
                print_field(c, "browsers", COLOUR_NONE, "not managed");
        else
                print_field(c, "browsers", COLOUR_NONE, "%" PRId64 " policy files, %" PRId64 " addresses blocked",
                            (int64_t)json_number(o, "files"), (int64_t)json_number(o, "patterns"));
        if (left_out)
                print_field(c, "", COLOUR_DIM, "%" PRId64 " more than a browser takes: blocked by name only",
                            left_out);
        if (restored)
                print_field(c, "restored", COLOUR_BAD, "a browser's policy, %" PRId64 " times", restored);
        if (*json_text(o, "problem"))
                print_field(c, "  problem", COLOUR_BAD, "%s", json_text(o, "problem"));
}

static void print_collector(const struct cli *c, const json_t *o)
{
        const char *reached = json_text(o, "reached"), *failing = json_text(o, "failing");

        if (*failing)
                print_field(c, "collector", COLOUR_WARN, "not reached%s%s: %s", *reached ? " since " : "", reached,
                            failing);
        else if (*reached)
                print_field(c, "collector", COLOUR_NONE, "reached %s", reached);
}

static void print_agent(const struct cli *c, const json_t *s)
{
        const char *before = json_text(json_object_get(s, "started"), "version_before");
        char up[32], slept[32];

        print_field(c, "agent", COLOUR_NONE, "%s, up %s%s%s%s%s", json_text(s, "version"),
                    duration_format((uint64_t)json_number(s, "uptime"), up),
                    json_number(s, "slept") ? ", asleep for " : "",
                    json_number(s, "slept") ? duration_format((uint64_t)json_number(s, "slept"), slept) : "",
                    *before ? ", before: " : "", before);
}

static void print_status(const struct cli *c, const json_t *s)
{
        const json_t *catalogue = json_object_get(s, "catalogue"), *spool = json_object_get(s, "spool");
        bool passed = json_is_true(json_object_get(s, "self_test_passed"));

        print_agent(c, s);
        print_config(c, json_object_get(s, "config"));
        print_field(c, "device", COLOUR_NONE, "%s (%s)", json_text(s, "name"), json_text(s, "device"));
        print_policy(c, json_object_get(s, "policy"));
        print_field(c, "catalogue", COLOUR_NONE, "%s (serial %" PRId64 "), %" PRId64 " channels, %" PRId64 " entries",
                    json_text(catalogue, "version"), (int64_t)json_number(catalogue, "serial"),
                    (int64_t)json_number(catalogue, "channels"), (int64_t)json_number(catalogue, "entries"));
        print_refused(c, catalogue);
        print_field(c, "sensors", COLOUR_NONE, "%s", json_text(s, "sensors"));
        print_field(c, "self-test", passed ? COLOUR_GOOD : COLOUR_BAD, passed ? "passed" : "failed");
        print_browsers(c, json_object_get(s, "browsers"));
        print_counters(c, json_object_get(s, "counters"));
        print_field(c, "spool", COLOUR_NONE,
                    "%" PRId64 " records not yet at the collector, %" PRId64 " written so far",
                    (int64_t)json_number(spool, "queue"), (int64_t)json_number(spool, "next_seq") - 1);
        if (json_number(spool, "refused"))
                print_field(c, "  refused", COLOUR_BAD,
                            "%" PRId64 " records could not be written: is the disk full or read-only?",
                            (int64_t)json_number(spool, "refused"));
        print_collector(c, json_object_get(s, "collector"));
        if (*json_text(s, "uplink_problem"))
                print_field(c, "uplink", COLOUR_BAD, "%s", json_text(s, "uplink_problem"));
}

int command_status(struct cli *c, int argc, char **argv)
{
        json_auto_t *s = NULL;
        int r;

        c->usage = usage;
        r = cli_options(c, NULL, &argc, &argv);
        if (r < 0 || argc != 0)
                return cli_usage(c, r);
        r = agent_ask_status(c, &s);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_incref(s));
        print_status(c, s);
        return STATUS_OK;
}
