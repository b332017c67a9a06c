/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"

static const char usage[] = "Usage: onchannel why SUBJECT [--user NAME] [--json]\n"
                            "Which rule decides about a domain name, an address, a path or a program's name.\n"
                            "  --user NAME   for that user (root only)\n";

static enum colour colour_of(const char *verdict)
{
        return !strcmp(verdict, "block") ? COLOUR_BAD : !strcmp(verdict, "watch") ? COLOUR_WARN : COLOUR_GOOD;
}

static void print_why(const struct cli *c, const json_t *w)
{
        const char *verdict = json_text(w, "verdict");
        int64_t decided = (int64_t)json_number(w, "decided_line");

        if (!*json_text(w, "channel")) {
                print_field(c, "verdict", COLOUR_GOOD, "allow");
                print_field(c, "because", COLOUR_NONE, "no channel of the catalogue is known by '%s'",
                            json_text(w, "subject"));
                return;
        }
        print_field(c, "channel", COLOUR_NONE, "%s (%s, %s)", json_text(w, "name"), json_text(w, "channel"),
                    json_text(w, "category"));
        print_field(c, "verdict", colour_of(verdict), "%s", verdict);
        if (strcmp(verdict, json_text(w, "programs")))
                print_field(c, "  programs", colour_of(json_text(w, "programs")), "%s", json_text(w, "programs"));
        print_field(c, "because", COLOUR_NONE, "%s, %s:%" PRId64, json_text(w, "entry"), json_text(w, "file"),
                    (int64_t)json_number(w, "line"));
        if (decided)
                print_field(c, "decided by", COLOUR_NONE, "%s, line %" PRId64 " of the policy",
                            json_text(w, "decided_by"), decided);
        else
                print_field(c, "decided by", COLOUR_NONE, "%s", json_text(w, "decided_by"));
        if (*json_text(w, "help"))
                print_field(c, "help", COLOUR_NONE, "%s", json_text(w, "help"));
}

int command_why(struct cli *c, int argc, char **argv)
{
        const char *user = NULL;
        const struct cli_option options[] = {{"user", 0, &user, NULL}, {0}};
        json_auto_t *w = NULL;
        int r;

        c->usage = usage;
        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1)
                return cli_usage(c, r);
        r = agent_ask(c, json_pack("{s:s,s:s,s:s*}", "verb", "why", "subject", argv[0], "user", user), &w);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_incref(w));
        print_why(c, w);
        return STATUS_OK;
}
