/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a new policy changes, in words: the verdicts that the compiler comes to, then the keys. */
#include <errno.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "cli/authoring.h"
#include "cli/policy-diff.h"

#define NAMES_SHOWN 12 /* of one kind of change; --json has all */

static const char usage[] =
        "Usage: onchannel policy diff OLD NEW --catalogue FILE [--device NAME] [--user NAME] [--at TIME] [--json]\n"
        "What changes for everyone, for the members of each group, and for who joins or leaves one; then the keys.\n"
        "  --device NAME, --user NAME   for these only, with the groups that they are in; tags of the device\n"
        "                               and groups of the machine behind it: ws-0301:trading-floor, anna:traders\n"
        "  --at TIME                    as it will be then: 2027-02-21T00:00:00Z\n"
        "Exit status as diff(1): 0 nothing changes, 1 something does, 2 trouble.\n";

enum { DIFF_SAME, DIFF_DIFFERENT, DIFF_TROUBLE };

struct state {
        enum verdict verdict, programs;
};

struct view { /* what an audience has before and after */
        struct ruleset *old, *new;
};

static void view_done(struct view *v)
{
        ruleset_free(v->old);
        ruleset_free(v->new);
        *v = (struct view){0};
}
#define _cleanup_view_ _cleanup_(view_done)

struct comparison {
        const struct cli *cli;
        struct draft old, new;
        struct catalogue *catalogue;
        struct audience who; /* with --device or --user */
        json_t *changes, *settings;
};

static void comparison_done(struct comparison *k)
{
        draft_done(&k->old);
        draft_done(&k->new);
        catalogue_free(k->catalogue);
        json_decref(k->changes);
        json_decref(k->settings);
}

static struct state state_of(const struct ruleset *r, uint16_t channel)
{
        const struct rule_exemption *own = rules_find_exemption(r, channel, AUDIENCE_UID);

        return own ? (struct state){own->verdict, own->programs}
                   : (struct state){r->channels[channel].verdict, r->channels[channel].programs};
}

static bool is_equal(struct state a, struct state b)
{
        return a.verdict == b.verdict && a.programs == b.programs;
}

/* ---- who ---- */

/* As it is for one who is in `group` and in no other; NULL: in none. */
static int compile_member(const struct comparison *k, const struct draft *d, const char *group, struct ruleset **ret)
{
        static char stranger[] = "stranger", *strangers[] = {stranger, NULL};
        const struct audience a = {.device = "member", .now = k->who.now};
        struct policy p = *d->policy;
        _cleanup_free_ struct policy_group *groups = calloc(p.n_groups + 1, sizeof(*groups));
        const struct draft only = {.policy = &p, .own = d->own, .file = d->file};

        if (!groups)
                return cli_fail(k->cli, STATUS_FAILED, "out of memory");
        for (size_t i = 0; i < p.n_groups; i++) {
                const bool in = group && strcmp(p.groups[i].name, group) == 0;

                groups[i] = p.groups[i];
                groups[i].devices = in ? NULL : strangers;
                groups[i].tags = groups[i].users = groups[i].unixgroups = NULL;
        }
        p.groups = groups;
        return draft_compile(k->cli, &only, k->catalogue, &a, ret);
}

static int view_of_members(const struct comparison *k, const char *old_group, const char *new_group, struct view *ret)
{
        int r = compile_member(k, &k->old, old_group, &ret->old);

        return r == STATUS_OK ? compile_member(k, &k->new, new_group, &ret->new) : r;
}

static int view_of_somebody(const struct comparison *k, struct view *ret)
{
        int r = draft_compile(k->cli, &k->old, k->catalogue, &k->who, &ret->old);

        return r == STATUS_OK ? draft_compile(k->cli, &k->new, k->catalogue, &k->who, &ret->new) : r;
}

/* ---- what ---- */

static const char *state_format(struct state s, char buf[static 64])
{
        if (s.programs == s.verdict)
                return verdict_to_string(s.verdict);
        snprintf(buf, 64, "%s (programs: %s)", verdict_to_string(s.verdict), verdict_to_string(s.programs));
        return buf;
}

/* Of a channel that changes for nobody, or for these people as for everyone, nothing is said. */
static bool is_news(const struct view *v, const struct view *everyone, uint16_t channel)
{
        const struct state old = state_of(v->old, channel), new = state_of(v->new, channel);

        if (!everyone)
                return !is_equal(old, new);
        const struct state old_all = state_of(everyone->old, channel), new_all = state_of(everyone->new, channel);
        if (is_equal(old, old_all) && is_equal(new, new_all))
                return false;
        return !is_equal(old, new) || !is_equal(old_all, new_all);
}

static json_t *change_json(const char *who, const struct view *v, uint16_t channel)
{
        const struct state old = state_of(v->old, channel), new = state_of(v->new, channel);

        return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:b}", "who", who, "channel", v->new->channels[channel].id, "old",
                         verdict_to_string(old.verdict), "new", verdict_to_string(new.verdict), "old_programs",
                         verdict_to_string(old.programs), "new_programs", verdict_to_string(new.programs), "changed",
                         !is_equal(old, new));
}

/* One line for all channels that go the way that `first` goes. */
static void print_way(const struct view *v, const struct view *everyone, uint16_t first)
{
        const struct state old = state_of(v->old, first), new = state_of(v->new, first);
        char before[64], after[64], names[1024] = "";
        size_t n = 0, used = 0;

        for (uint16_t i = first; i < v->new->n_channels; i++) {
                if (!is_news(v, everyone, i) || !is_equal(state_of(v->old, i), old) ||
                    !is_equal(state_of(v->new, i), new))
                        continue;
                if (n++ < NAMES_SHOWN)
                        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", n > 1 ? ", " : "",
                                                 v->new->channels[i].id);
        }
        if (n > NAMES_SHOWN)
                snprintf(names + used, sizeof(names) - used, " and %zu more", n - NAMES_SHOWN);
        if (is_equal(old, new))
                print_line("  still %s: %s", state_format(new, after), names);
        else
                print_line("  now %s, so far %s: %s", state_format(new, after), state_format(old, before), names);
}

static bool is_first_of_its_way(const struct view *v, const struct view *everyone, uint16_t channel)
{
        for (uint16_t i = 1; i < channel; i++)
                if (is_news(v, everyone, i) && is_equal(state_of(v->old, i), state_of(v->old, channel)) &&
                    is_equal(state_of(v->new, i), state_of(v->new, channel)))
                        return false;
        return true;
}

static void tell(const struct comparison *k, const char *who, const struct view *v, const struct view *everyone)
{
        bool headed = false;

        for (uint16_t i = 1; i < v->new->n_channels; i++) {
                if (!is_news(v, everyone, i))
                        continue;
                json_array_append_new(k->changes, change_json(who, v, i));
                if (k->cli->json || !is_first_of_its_way(v, everyone, i))
                        continue;
                if (!headed)
                        print_line("%s:", who);
                headed = true;
                print_way(v, everyone, i);
        }
}

/* ---- all of it ---- */

static int tell_somebody(const struct comparison *k)
{
        _cleanup_free_ char *who = format_new(
                "%s%s%s%s%s", k->who.device ? "device " : "", k->who.device ? k->who.device : "",
                k->who.device && k->who.user ? ", " : "", k->who.user ? "user " : "", k->who.user ? k->who.user : "");
        _cleanup_view_ struct view v = {0};
        int r = view_of_somebody(k, &v);

        if (r == STATUS_OK)
                tell(k, who ? who : "", &v, NULL);
        return r;
}

/* Those who are in `old_group` before and in `new_group` after. */
static int tell_members(const struct comparison *k, const char *old_group, const char *new_group,
                        const struct view *everyone)
{
        const char *what = !old_group ? "who joins" : !new_group ? "who leaves" : "members of";
        _cleanup_free_ char *who = format_new("%s group %s", what, new_group ? new_group : old_group);
        _cleanup_view_ struct view v = {0};
        int r = view_of_members(k, old_group, new_group, &v);

        if (r == STATUS_OK)
                tell(k, who ? who : "", &v, everyone);
        return r;
}

static int tell_group(const struct comparison *k, const struct policy_group *old, const struct policy_group *new,
                      const struct view *everyone)
{
        int r = STATUS_OK;

        if (old && new)
                r = tell_members(k, old->name, new->name, everyone);
        if (r == STATUS_OK && new &&policy_group_gains(old, new))
                r = tell_members(k, NULL, new->name, everyone);
        if (r == STATUS_OK && old && policy_group_gains(new, old))
                r = tell_members(k, old->name, NULL, everyone);
        return r;
}

static int tell_everyone(const struct comparison *k)
{
        const struct policy *old = k->old.policy, *new = k->new.policy;
        _cleanup_view_ struct view everyone = {0};
        int r;

        r = view_of_members(k, NULL, NULL, &everyone);
        if (r != STATUS_OK)
                return r;
        tell(k, old->n_groups || new->n_groups ? "everyone in no group" : "everyone", &everyone, NULL);
        for (size_t i = 0; i < new->n_groups &&r == STATUS_OK; i++)
                r = tell_group(k, policy_group_find(old, new->groups[i].name), &new->groups[i], &everyone);
        for (size_t i = 0; i < old->n_groups && r == STATUS_OK; i++)
                if (!policy_group_find(new, old->groups[i].name))
                        r = tell_group(k, &old->groups[i], NULL, &everyone);
        return r;
}

static json_t *json_keys(json_t *object)
{
        json_t *list = json_array(), *value;
        const char *key;

        json_object_foreach(object, key, value) json_array_append_new(list, json_string(key));
        return list;
}

/* Channels that somebody could use and cannot any more, without having been watched in between. */
static json_t *untried(const struct comparison *k)
{
        json_t *list = json_object();
        const json_t *c;
        size_t i;

        json_array_foreach(k->changes, i, c) if (strcmp(json_text(c, "old"), verdict_to_string(VERDICT_ALLOW)) == 0 &&
                                                 strcmp(json_text(c, "new"), verdict_to_string(VERDICT_BLOCK)) == 0)
                json_object_set_new(list, json_text(c, "channel"), json_true());
        return list;
}

static void print_untried(json_t *list)
{
        const char *channel;
        json_t *value;
        size_t n = 0;

        json_object_foreach(list, channel, value)
        {
                if (n++ < NAMES_SHOWN)
                        print_line("warning: '%s' was allowed and is blocked at once, never tried in monitor or with "
                                   "verdict = watch",
                                   channel);
        }
        if (n > NAMES_SHOWN)
                print_line("warning: and %zu channels more", n - NAMES_SHOWN);
}

static int compare(struct comparison *k)
{
        json_auto_t *list = NULL;
        bool same;
        int r;

        r = k->who.device || k->who.user ? tell_somebody(k) : tell_everyone(k);
        if (r != STATUS_OK)
                return DIFF_TROUBLE;
        policy_settings_diff(k->old.policy, k->new.policy, k->settings);
        if (!k->cli->json)
                policy_settings_print(k->settings);
        list = untried(k);
        if (!k->cli->json)
                print_untried(list);
        same = json_array_size(k->settings) == 0 && json_array_size(k->changes) == 0;
        if (k->cli->json)
                print_json(json_pack("{s:b,s:b,s:O,s:O,s:o}", "ok", 1, "same", same, "changes", k->changes,
                                     "settings", k->settings, "untried", json_keys(list)));
        return same ? DIFF_SAME : DIFF_DIFFERENT;
}

int command_policy_diff(struct cli *c, int argc, char **argv)
{
        const char *catalogue = NULL, *at = NULL;
        _cleanup_(comparison_done) struct comparison k = {
                .cli = c, .changes = json_array(), .settings = json_array()};
        const struct cli_option options[] = {{"catalogue", 0, &catalogue, NULL},
                                             {"device", 0, &k.who.device, NULL},
                                             {"user", 0, &k.who.user, NULL},
                                             {"at", 0, &at, NULL},
                                             {0}};
        int r;

        c->usage = usage;
        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 2 || !catalogue)
                return cli_usage(c, r);
        r = draft_read(c, argv[0], &k.old);
        if (r == STATUS_OK)
                r = draft_read(c, argv[1], &k.new);
        if (r == STATUS_OK)
                r = catalogue_read(c, catalogue, &k.catalogue);
        if (r == STATUS_OK)
                r = time_read(c, at, &k.who.now);
        return r == STATUS_OK ? compare(&k) : DIFF_TROUBLE;
}
