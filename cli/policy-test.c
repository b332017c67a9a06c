/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Does a policy do what its author expects? Asked of the compiler and matcher that the agent uses. */
#include <string.h>

#include "cli/authoring.h"
#include "rules/expect.h"

static const char usage[] =
        "Usage: onchannel policy test FILE EXPECTATIONS --catalogue FILE [--at TIME] [--json]\n"
        "Compares a policy with a table of expectations, a line each: DEVICE USER SUBJECT VERDICT;\n"
        "'-' is a device or user of no group; ws-0301:trading-floor has a tag, anna:traders is in a group of the\n"
        "machine. See onchannel-policy(5).\n"
        "  --at TIME   as it will be then: 2027-02-21T00:00:00Z\n";

struct trial {
        const struct cli *cli;
        const struct draft *draft;
        const struct catalogue *catalogue;
        const char *file; /* of the expectations */
        time_t now;
        const struct expectation *last; /* whom `rules` is compiled for */
        struct ruleset *rules;
        json_t *failures;
};

static bool is_same(const char *a, const char *b)
{
        return a && b ? strcmp(a, b) == 0 : a == b;
}

static int compile_for(struct trial *t, const struct expectation *e)
{
        const struct audience a = {.device = e->device, .user = e->user, .now = t->now};

        if (t->last && is_same(t->last->device, e->device) && is_same(t->last->user, e->user))
                return STATUS_OK;
        t->rules = ruleset_free(t->rules);
        t->last = e;
        return draft_compile(t->cli, t->draft, t->catalogue, &a, &t->rules);
}

static json_t *failure_json(const struct trial *t, const struct expectation *e, uint32_t entry)
{
        const struct rule_channel *c = &t->rules->channels[t->rules->entries[entry].channel];
        const struct rule_exemption *own =
                rules_find_exemption(t->rules, t->rules->entries[entry].channel, AUDIENCE_UID);

        return json_pack("{s:s,s:I,s:s?,s:s?,s:s,s:s,s:s,s:s?,s:s?,s:I}", "file", t->file, "line",
                         (json_int_t)e->line, "device", e->device, "user", e->user, "subject", e->subject, "expected",
                         verdict_to_string(e->verdict), "verdict",
                         verdict_to_string(rules_entry_verdict(t->rules, entry, AUDIENCE_UID)), "channel",
                         entry ? c->id : NULL, "decided_by",
                         !entry ? NULL
                         : own  ? "the channel's section"
                                : c->decided_by,
                         "decided_line", (json_int_t)(own ? own->decided_line : c->decided_line));
}

static void print_failure(const json_t *f)
{
        print_line("%s:%d: device %s, user %s: '%s' is %s, expected %s", json_text(f, "file"),
                   (int)json_number(f, "line"), *json_text(f, "device") ? json_text(f, "device") : "-",
                   *json_text(f, "user") ? json_text(f, "user") : "-", json_text(f, "subject"),
                   json_text(f, "verdict"), json_text(f, "expected"));
        if (!*json_text(f, "channel"))
                print_line("    no channel of the catalogue is known by it");
        else if (json_number(f, "decided_line"))
                print_line("    channel %s, decided by %s, line %d of the policy", json_text(f, "channel"),
                           json_text(f, "decided_by"), (int)json_number(f, "decided_line"));
        else
                print_line("    channel %s, decided by '%s'", json_text(f, "channel"), json_text(f, "decided_by"));
}

static int try_one(struct trial *t, const struct expectation *e)
{
        uint32_t entry;
        json_t *f;
        int r;

        r = compile_for(t, e);
        if (r != STATUS_OK)
                return r;
        entry = rules_match_subject(t->rules, e->subject);
        if (rules_entry_verdict(t->rules, entry, AUDIENCE_UID) == e->verdict)
                return STATUS_OK;
        f = failure_json(t, e, entry);
        if (!t->cli->json)
                print_failure(f);
        return json_array_append_new(t->failures, f) < 0 ? cli_fail(t->cli, STATUS_FAILED, "out of memory")
                                                         : STATUS_OK;
}

static int try_all(struct trial *t, const struct expectations *e)
{
        size_t n_failed;
        int r = STATUS_OK;

        for (size_t i = 0; i < e->n && r == STATUS_OK; i++)
                r = try_one(t, &e->list[i]);
        if (r != STATUS_OK)
                return r;
        n_failed = json_array_size(t->failures);
        if (t->cli->json)
                print_json(json_pack("{s:b,s:I,s:I,s:O}", "ok", n_failed == 0, "passed",
                                     (json_int_t)(e->n - n_failed), "failed", (json_int_t)n_failed, "failures",
                                     t->failures));
        else
                print_line("%s: %zu of %zu expectations hold", t->draft->file, e->n - n_failed, e->n);
        return n_failed ? STATUS_FAILED : STATUS_OK;
}

static int parse_table(const char *text, size_t size, const char *file, void *ret, struct diag *reterr)
{
        return expectations_parse(text, size, file, ret, reterr);
}

int command_policy_test(struct cli *c, int argc, char **argv)
{
        const char *catalogue_file = NULL, *at = NULL;
        const struct cli_option options[] = {{"catalogue", 0, &catalogue_file, NULL}, {"at", 0, &at, NULL}, {0}};
        _cleanup_catalogue_ struct catalogue *catalogue = NULL;
        _cleanup_expectations_ struct expectations e = {0};
        _cleanup_draft_ struct draft draft = {0};
        struct trial t = {.cli = c, .draft = &draft};
        int r;

        c->usage = usage;
        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 2 || !catalogue_file)
                return cli_usage(c, r);
        r = draft_read(c, argv[0], &draft);
        if (r == STATUS_OK)
                r = read_parsed(c, &(struct input){argv[1], EXPECT_MAX_BYTES, parse_table}, &e);
        if (r == STATUS_OK)
                r = catalogue_read(c, catalogue_file, &catalogue);
        if (r == STATUS_OK)
                r = time_read(c, at, &t.now);
        if (r != STATUS_OK)
                return r;
        t.catalogue = catalogue;
        t.file = argv[1];
        t.failures = json_array();
        r = try_all(&t, &e);
        ruleset_free(t.rules);
        json_decref(t.failures);
        return r;
}
