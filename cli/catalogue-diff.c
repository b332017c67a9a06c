/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `onchannel catalogue diff`: what changes from one catalogue to another, and for whom. */
#include <errno.h>
#include <string.h>

#include "cli/authoring.h"
#include "cli/catalogue.h"

struct side {
        struct catalogue *catalogue;
        struct ruleset *rules; /* with a policy */
};

struct diff {
        const struct cli *cli;
        struct side a, b;
        const char *policy_file, *device, *user;
        struct draft draft;
        struct rules_user *users;
        size_t n_users;
        json_t *channels, *entries, *verdicts; /* what changed */
};

static void diff_done(struct diff *d)
{
        catalogue_free(d->a.catalogue);
        catalogue_free(d->b.catalogue);
        ruleset_free(d->a.rules);
        ruleset_free(d->b.rules);
        draft_done(&d->draft);
        free(d->users);
        json_decref(d->channels);
        json_decref(d->entries);
        json_decref(d->verdicts);
}

/* ---- channels and entries ---- */
static bool same_entry(const struct entry *a, const struct entry *b)
{
        return a->kind == b->kind && !strcmp(a->value, b->value);
}

static bool has_entry(const struct channel *c, const struct entry *e)
{
        for (size_t i = 0; c && i < c->n_entries; i++)
                if (same_entry(&c->entries[i], e))
                        return true;
        return false;
}

static const struct channel *owner_of(const struct catalogue *c, const struct entry *e)
{
        for (size_t i = 0; i < c->n_channels; i++)
                if (has_entry(&c->channels[i], e))
                        return &c->channels[i];
        return NULL;
}

static void add_entry(struct diff *d, const char *change, const struct channel *ch, const struct entry *e,
                      const char *from)
{
        /* a port is a hint and has no verdict; a whole channel that comes or goes is judged as one */
        bool whole = e->port ||
                     (!from && (!catalogue_find(d->a.catalogue, ch->id) || !catalogue_find(d->b.catalogue, ch->id)));

        json_array_append_new(d->entries, json_pack("{s:s,s:s,s:s,s:s,s:s*,s:b}", "change", change, "channel", ch->id,
                                                    "kind", entry_kind_to_string(e->kind), "value", e->value, "from",
                                                    from, "whole", whole));
}

/* Entries of `ch` that the channel of the same id in `there` has not. */
static void compare_entries(struct diff *d, const struct channel *ch, const struct side *there, bool is_new)
{
        const struct channel *other = catalogue_find(there->catalogue, ch->id);

        for (size_t i = 0; i < ch->n_entries; i++) {
                const struct entry *e = &ch->entries[i];
                const struct channel *owner;

                if (has_entry(other, e))
                        continue;
                /* a port is a hint that many channels share */
                owner = e->port ? NULL : owner_of(there->catalogue, e);
                if (owner && is_new)
                        add_entry(d, "moved", ch, e, owner->id);
                else if (!owner)
                        add_entry(d, is_new ? "added" : "removed", ch, e, NULL);
        }
}

static void add_channel(struct diff *d, const char *change, const struct channel *ch, const struct channel *before)
{
        json_array_append_new(d->channels, json_pack("{s:s,s:s,s:s,s:s,s:s*}", "change", change, "channel", ch->id,
                                                     "name", ch->name, "category", category_to_string(ch->category),
                                                     "from", before ? category_to_string(before->category) : NULL));
}

static void compare_catalogues(struct diff *d)
{
        const struct catalogue *a = d->a.catalogue, *b = d->b.catalogue;

        for (size_t i = 0; i < a->n_channels; i++) {
                if (!catalogue_find(b, a->channels[i].id))
                        add_channel(d, "removed", &a->channels[i], NULL);
                compare_entries(d, &a->channels[i], &d->b, false);
        }
        for (size_t i = 0; i < b->n_channels; i++) {
                const struct channel *before = catalogue_find(a, b->channels[i].id);

                if (!before)
                        add_channel(d, "added", &b->channels[i], NULL);
                else if (before->category != b->channels[i].category)
                        add_channel(d, "recategorised", &b->channels[i], before);
                compare_entries(d, &b->channels[i], &d->a, true);
        }
}

/* ---- verdicts ---- */
/* Logins get numbers of their own: nobody need exist on this machine. */
static int add_user(struct diff *d, const char *name)
{
        struct rules_user *list;

        for (size_t i = 0; i < d->n_users; i++)
                if (!strcmp(d->users[i].name, name))
                        return 0;
        list = reallocarray(d->users, d->n_users + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        d->users = list;
        list[d->n_users] = (struct rules_user){.name = name, .uid = (uid_t)(d->n_users + 1)};
        d->n_users++;
        return 0;
}

static int add_users(struct diff *d)
{
        const struct policy *p = d->draft.policy;
        int r = d->user ? add_user(d, d->user) : 0;

        for (size_t i = 0; i < p->n_groups; i++)
                for (char **u = p->groups[i].users; r >= 0 && u && *u; u++)
                        r = add_user(d, *u);
        return r;
}

static int compile_side(struct diff *d, struct side *s, time_t now)
{
        const struct rules_input in = {.catalogue = s->catalogue,
                                       .own = d->draft.own,
                                       .policy = d->draft.policy,
                                       .policy_file = d->policy_file,
                                       .device = d->device,
                                       .now = now,
                                       .users = d->users,
                                       .n_users = d->n_users};
        struct diag where = {0};
        int r = rules_compile(&in, &s->rules, &where);

        return r < 0 ? cli_fail_diag(d->cli, &where, r) : STATUS_OK;
}

static const char *verdict_of(const struct ruleset *r, const char *id, uid_t uid)
{
        for (size_t i = 1; i < r->n_channels; i++)
                if (!strcmp(r->channels[i].id, id))
                        return verdict_to_string(rules_verdict(r, (uint16_t)i, uid));
        return verdict_to_string(VERDICT_ALLOW); /* nobody knows it */
}

static void add_verdict(struct diff *d, const char *kind, const char *subject, const struct rules_user *u,
                        const char *before, const char *after)
{
        json_array_append_new(d->verdicts, json_pack("{s:s,s:s,s:s?,s:s,s:s}", "kind", kind, "subject", subject,
                                                     "user", u ? u->name : NULL, "before", before, "after", after));
}

struct change {
        const char *kind, *subject;
        const char *from, *to; /* channels before and after */
};

/* For everyone, and for the users for whom it is another change than for everyone. */
static void compare_verdicts(struct diff *d, const struct change *c)
{
        const char *before = verdict_of(d->a.rules, c->from, (uid_t)-1);
        const char *after = verdict_of(d->b.rules, c->to, (uid_t)-1);

        if (before != after && !d->user)
                add_verdict(d, c->kind, c->subject, NULL, before, after);
        for (size_t i = 0; i < d->n_users; i++) {
                const struct rules_user *u = &d->users[i];
                const char *x = verdict_of(d->a.rules, c->from, u->uid), *y = verdict_of(d->b.rules, c->to, u->uid);
                bool wanted = d->user ? !strcmp(d->user, u->name) : x != before || y != after;

                if (wanted && x != y)
                        add_verdict(d, c->kind, c->subject, u, x, y);
        }
}

/* Which channel a name or an address belongs to; `known` for what only its own channel knows. */
static const char *channel_of(const struct ruleset *r, const json_t *entry, const char *known)
{
        const char *kind = json_text(entry, "kind"), *value = json_text(entry, "value");
        struct prefix p;
        uint32_t e;

        if (!strcmp(kind, "suffix") || !strcmp(kind, "exact") || !strcmp(kind, "except") || !strcmp(kind, "probe"))
                e = rules_match_name(r, value);
        else if (!strcmp(kind, "prefix") && prefix_parse(value, &p) == 0)
                e = rules_match_address(r, &p);
        else
                return known;
        return e ? r->channels[r->entries[e].channel].id : "";
}

static void compare_rules(struct diff *d)
{
        const json_t *o;
        size_t i;

        json_array_foreach(d->channels, i, o)
        {
                const char *id = json_text(o, "channel");

                compare_verdicts(d, &(struct change){"channel", id, id, id});
        }
        json_array_foreach(d->entries, i, o)
        {
                const char *change = json_text(o, "change"), *id = json_text(o, "channel");
                const char *from = *change == 'm' ? json_text(o, "from") : *change == 'a' ? "" : id;

                if (json_is_true(json_object_get(o, "whole")))
                        continue;
                compare_verdicts(d, &(struct change){json_text(o, "kind"), json_text(o, "value"),
                                                     channel_of(d->a.rules, o, from),
                                                     channel_of(d->b.rules, o, *change == 'r' ? "" : id)});
        }
}

static int judge(struct diff *d)
{
        time_t now = time(NULL);
        int r;

        if (!d->policy_file)
                return STATUS_OK;
        r = draft_read(d->cli, d->policy_file, &d->draft);
        if (r != STATUS_OK)
                return r;
        if (add_users(d) < 0)
                return cli_fail(d->cli, STATUS_FAILED, "out of memory");
        r = compile_side(d, &d->a, now);
        if (r == STATUS_OK)
                r = compile_side(d, &d->b, now);
        if (r == STATUS_OK)
                compare_rules(d);
        return r;
}

/* ---- output ---- */
static void print_changes(const struct diff *d)
{
        const json_t *o;
        size_t i;

        json_array_foreach(d->channels, i, o)
        {
                const char *change = json_text(o, "change");
                char sign = *change == 'a' ? '+' : *change == 'r' && change[2] == 'm' ? '-' : '~';

                printf("%c channel %s (%s, %s)\n", sign, json_text(o, "channel"), json_text(o, "name"),
                       json_text(o, "category"));
                if (sign == '~')
                        printf("          was of category %s\n", json_text(o, "from"));
        }
        json_array_foreach(d->entries, i, o)
        {
                const char *change = json_text(o, "change");

                printf("%c %-24s %-9s %s",
                       *change == 'a'   ? '+'
                       : *change == 'r' ? '-'
                                        : '>',
                       json_text(o, "channel"), json_text(o, "kind"), json_text(o, "value"));
                if (*change == 'm')
                        printf("  (from %s)", json_text(o, "from"));
                putchar('\n');
        }
        json_array_foreach(d->verdicts, i, o)
        {
                const char *user = json_text(o, "user");

                printf("= %-9s %-40s %s -> %s  for %s\n", json_text(o, "kind"), json_text(o, "subject"),
                       json_text(o, "before"), json_text(o, "after"), *user ? user : "everyone");
        }
        printf("%zu channels and %zu entries differ", json_array_size(d->channels), json_array_size(d->entries));
        if (d->policy_file)
                printf(", %zu verdicts change", json_array_size(d->verdicts));
        putchar('\n');
}

static json_t *side_json(const struct side *s)
{
        return json_pack("{s:s?,s:I,s:I}", "version", s->catalogue->version, "serial",
                         (json_int_t)s->catalogue->serial, "channels", (json_int_t)s->catalogue->n_channels);
}

int catalogue_command_diff(struct cli *c, int argc, char **argv)
{
        _cleanup_(diff_done) struct diff d = {.cli = c, .device = ""};
        const struct cli_option options[] = {
                {"policy", 0, &d.policy_file, NULL}, {"device", 0, &d.device, NULL}, {"user", 0, &d.user, NULL}, {0}};
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 2 || (!d.policy_file && (d.user || *d.device)))
                return cli_usage(c, r);
        d.channels = json_array();
        d.entries = json_array();
        d.verdicts = json_array();
        r = catalogue_read(c, argv[0], &d.a.catalogue);
        if (r == STATUS_OK)
                r = catalogue_read(c, argv[1], &d.b.catalogue);
        if (r != STATUS_OK)
                return r;
        compare_catalogues(&d);
        r = judge(&d);
        if (r != STATUS_OK)
                return r;
        if (!c->json) {
                print_changes(&d);
                return STATUS_OK;
        }
        return print_json(json_pack("{s:b,s:o,s:o,s:O,s:O,s:O}", "ok", 1, "a", side_json(&d.a), "b", side_json(&d.b),
                                    "channels", d.channels, "entries", d.entries, "verdicts",
                                    d.policy_file ? d.verdicts : json_null()));
}
