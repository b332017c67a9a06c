/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"

static const char notices_usage[] = "Usage: onchannel notices [--follow] [--json]\n"
                                    "The latest 100 notices for you (root: for everyone).\n"
                                    "  -f, --follow   go on printing them as they happen\n"
                                    "With --json, one object a line.\n";
static const char my_data_usage[] =
        "Usage: onchannel my-data [--json]\n"
        "The records about you that are still on this machine; with --json whole, as they are\n"
        "sent to the collector.\n";

static int print_notice(const struct cli *c, const json_t *n)
{
        const char *help = json_text(n, "help");
        char line[2048], safe[4096];
        int r = 0;

        if (c->json)
                r = json_dumpf(n, stdout, JSON_COMPACT);
        else {
                snprintf(line, sizeof(line), "%s  %-13s %-8s %s  %s%s%s", json_text(n, "time"),
                         json_text(n, "channel"), json_text(n, "outcome"), json_text(n, "program"),
                         json_text(n, "text"), *help ? " See " : "", help);
                text_escape(line, safe, sizeof(safe));
                r = fputs(safe, stdout);
        }
        return r < 0 || putchar('\n') == EOF || fflush(stdout) < 0 ? STATUS_FAILED : STATUS_OK;
}

static int follow(const struct cli *c, struct agent_reader *a)
{
        for (;;) {
                json_auto_t *o = NULL;
                int status = agent_next(c, a, &o);

                if (status == STATUS_OK)
                        status = print_notice(c, json_object_get(o, "notice"));
                if (status != STATUS_OK)
                        return status;
        }
}

int command_notices(struct cli *c, int argc, char **argv)
{
        _cleanup_(agent_closep) struct agent_reader *a = NULL;
        bool following = false;
        const struct cli_option options[] = {{"follow", 'f', NULL, &following}, {0}};
        json_auto_t *first = NULL;
        const json_t *n;
        size_t i;
        int r;

        c->usage = notices_usage;
        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 0)
                return cli_usage(c, r);
        r = agent_open(c, json_pack("{s:s,s:b}", "verb", "notices", "follow", following), &a);
        if (r == STATUS_OK)
                r = agent_next(c, a, &first);
        json_array_foreach(json_object_get(first, "notices"), i, n) if (r == STATUS_OK) r = print_notice(c, n);
        return r == STATUS_OK && following ? follow(c, a) : r;
}

static void print_record(const json_t *o)
{
        const json_t *own = json_object_get(json_object_get(o, "unmapped"), "onchannel");
        const json_t *started = json_object_get(o, "process"); /* of an exec record */
        const json_t *process = started ? started : json_object_get(json_object_get(o, "actor"), "process");
        char line[1024], safe[2048], when[TIME_TEXT_MAX];
        int64_t count = (int64_t)json_number(o, "count");

        snprintf(line, sizeof(line), "%s  %-13s %-8s %-7s %" PRId64 " %-5s  %s",
                 time_format((time_t)(json_number(o, "time") / 1000), when), json_text(own, "channel"),
                 json_text(own, "outcome"), json_text(own, "layer"), count, count == 1 ? "time" : "times",
                 json_text(json_object_get(process, "file"), "path"));
        text_escape(line, safe, sizeof(safe));
        puts(safe);
}

int command_my_data(struct cli *c, int argc, char **argv)
{
        json_auto_t *all = NULL;
        const json_t *records, *o;
        size_t i;
        int r;

        c->usage = my_data_usage;
        r = cli_options(c, NULL, &argc, &argv);
        if (r < 0 || argc != 0)
                return cli_usage(c, r);
        r = agent_ask(c, json_pack("{s:s}", "verb", "my-data"), &all);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_incref(all));
        records = json_object_get(all, "records");
        json_array_foreach(records, i, o) print_record(o);
        i = json_array_size(records);
        printf("%zu %s about you on this machine; '--json' shows them whole.\n", i, i == 1 ? "record" : "records");
        return STATUS_OK;
}
