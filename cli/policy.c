/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "cli/authoring.h"
#include "rules/review.h"

static const char usage[] =
        "Usage: onchannel policy new FILE [--organisation NAME] [--force]\n"
        "       onchannel policy check FILE [--catalogue FILE] [--devices FILE] [--strict] [--json]\n"
        "       onchannel policy diff OLD NEW --catalogue FILE [--device NAME] [--user NAME] [--at TIME]\n"
        "       onchannel policy test FILE EXPECTATIONS --catalogue FILE [--at TIME]\n"
        "       onchannel policy keys\n"
        "       onchannel policy sign FILE --key SECRET [--add] [--channels DIR --output FILE [--catalogue FILE]]\n"
        "       onchannel policy install FILE [--incoming DIR]\n"
        "new      writes a commented policy to start from\n"
        "check    reads a policy; with a built catalogue also whether it knows the channels; warns of what\n"
        "         would be regretted, with --devices (a name and tags a line) also of groups that are\n"
        "         nowhere, with --strict also of enforcement that was perhaps never tried, and fails for a\n"
        "         warning\n"
        "diff     tells in words what a new policy changes, and for whom\n"
        "test     compares a policy with a table of expectations\n"
        "keys     describes every key\n"
        "sign     writes FILE.minisig, as 'minisign -S' would, or with --add one more signature behind those that "
        "are\n"
        "         there; with --channels first puts the organisation's\n"
        "         own channel files into a copy of the policy, checked as those of the catalogue are\n"
        "install  hands FILE and FILE.minisig to the agent on this machine, and waits for its answer\n";

static void on_warning(const struct diag *d, void *list)
{
        json_array_append_new(
                list, json_pack("{s:s,s:I,s:s}", "file", d->file, "line", (json_int_t)d->line, "text", d->text));
}

static int print_check(const struct cli *c, const struct draft *d, json_t *warnings, bool with_catalogue, bool failed)
{
        const struct policy *p = d->policy;
        char expires[TIME_TEXT_MAX];
        const json_t *w;
        size_t i;

        time_format(p->expires, expires);
        if (c->json)
                return print_json(json_pack("{s:b,s:I,s:s,s:s,s:s,s:I,s:b,s:O}", "ok", !failed, "serial",
                                            (json_int_t)p->serial, "organisation", p->organisation, "mode",
                                            policy_mode_to_string(p->mode), "expires", expires, "own_channels",
                                            (json_int_t)(d->own ? d->own->n_channels : 0), "catalogue_checked",
                                            with_catalogue, "warnings", warnings));
        json_array_foreach(warnings, i, w) print_line("warning: %s:%d: %s", json_text(w, "file"),
                                                      (int)json_number(w, "line"), json_text(w, "text"));
        print_line("%s: %s, serial %" PRIu64 ", mode %s, expires %s", d->file,
                   failed ? "refused for its warnings" : "OK", p->serial, policy_mode_to_string(p->mode), expires);
        return STATUS_OK;
}

static int command_check(struct cli *c, int argc, char **argv)
{
        const char *catalogue_file = NULL, *devices_file = NULL;
        bool strict = false, failed;
        const struct cli_option options[] = {{"catalogue", 0, &catalogue_file, NULL},
                                             {"devices", 0, &devices_file, NULL},
                                             {"strict", 0, NULL, &strict},
                                             {0}};
        const struct audience everyone = {.now = time(NULL)};
        _cleanup_catalogue_ struct catalogue *catalogue = NULL;
        _cleanup_ruleset_ struct ruleset *rules = NULL;
        _cleanup_draft_ struct draft d = {0};
        _cleanup_devices_ struct devices devices = {0};
        json_auto_t *warnings = json_array();
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1)
                return cli_usage(c, r);
        r = draft_read(c, argv[0], &d);
        if (r == STATUS_OK)
                r = draft_check_own(c, &d);
        if (r == STATUS_OK && catalogue_file)
                r = catalogue_read(c, catalogue_file, &catalogue);
        if (r == STATUS_OK && catalogue)
                r = draft_compile(c, &d, catalogue, &everyone, &rules);
        if (r == STATUS_OK && devices_file)
                r = devices_read(c, devices_file, &devices);
        if (r != STATUS_OK)
                return r;
        rules_review(&(struct rules_review){.policy = d.policy,
                                            .file = d.file,
                                            .catalogue = catalogue,
                                            .devices_file = devices_file,
                                            .devices = devices.list,
                                            .n_devices = devices.n,
                                            .now = everyone.now,
                                            .strict = strict,
                                            .warn = on_warning,
                                            .userdata = warnings});
        failed = strict && json_array_size(warnings) > 0;
        r = print_check(c, &d, warnings, catalogue != NULL, failed);
        return failed ? STATUS_FAILED : r;
}

int command_policy(struct cli *c, int argc, char **argv)
{
        static const struct cli_verb verbs[] = {
                {"new", command_policy_new},         {"check", command_check},
                {"diff", command_policy_diff},       {"test", command_policy_test},
                {"keys", command_policy_keys},       {"sign", command_policy_sign},
                {"install", command_policy_install}, {0},
        };

        c->usage = usage;
        return cli_dispatch(c, verbs, argc, argv);
}
