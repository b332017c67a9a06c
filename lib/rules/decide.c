/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The policy's word on each channel: for everyone, and for the members of a group. */
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include "base/cleanup.h"
#include "rules/internal.h"

const struct policy_channel *rules_find_section(const struct policy *p, const char *id)
{
        for (size_t i = 0; i < p->n_channels; i++)
                if (strcmp(p->channels[i].id, id) == 0)
                        return &p->channels[i];
        return NULL;
}

static enum verdict verdict_in_mode(const struct policy *p, enum verdict v)
{
        return v == VERDICT_BLOCK && p->mode == POLICY_MODE_MONITOR ? VERDICT_WATCH : v;
}

enum verdict rules_default_verdict(const struct policy *p, enum category category)
{
        return verdict_in_mode(p, category_is_bypass(category) ? p->bypass : p->unlisted);
}

static enum verdict verdict_of_programs(const struct policy *p, enum verdict v)
{
        return v == VERDICT_BLOCK ? verdict_in_mode(p, p->programs) : v;
}

static const struct policy_group *find_group(const struct policy *p, const char *name)
{
        for (size_t i = 0; name && i < p->n_groups; i++)
                if (strcmp(p->groups[i].name, name) == 0)
                        return &p->groups[i];
        return NULL;
}

static bool has_tag(const struct rules_input *in, const char *pattern)
{
        for (char *const *t = in->tags; t && *t; t++)
                if (fnmatch(pattern, *t, 0) == 0)
                        return true;
        return false;
}

static bool group_has_device(const struct rules_input *in, const struct policy_group *g)
{
        if (!g || (!g->devices && !g->tags))
                return true;
        for (char **d = g->devices; d && *d; d++)
                if (in->device && fnmatch(*d, in->device, 0) == 0)
                        return true;
        for (char **t = g->tags; t && *t; t++)
                if (has_tag(in, *t))
                        return true;
        return false;
}

bool rules_list_has(char *const *list, const char *name)
{
        for (; list && *list; list++)
                if (strcmp(*list, name) == 0)
                        return true;
        return false;
}

static int compare_uids(const void *a, const void *b)
{
        const struct rule_exemption *x = a, *y = b;
        return x->uid < y->uid ? -1 : x->uid > y->uid;
}

/* Append one exemption for each uid of the group; r->exemptions has room. */
static size_t add_exemptions(const struct rules_input *in, struct ruleset *r, const struct policy_group *g,
                             const struct rule_exemption *model)
{
        struct rule_exemption *first = &r->exemptions[r->n_exemptions];
        size_t n = 0, kept = 0;

        for (size_t i = 0; i < in->n_users; i++)
                if (rules_list_has(g->users, in->users[i].name)) {
                        first[n] = *model;
                        first[n++].uid = in->users[i].uid;
                }
        for (size_t i = 0; i < in->n_members; i++)
                if (rules_list_has(g->unixgroups, in->members[i].unixgroup)) {
                        first[n] = *model;
                        first[n++].uid = in->members[i].uid;
                }
        qsort(first, n, sizeof(*first), compare_uids);
        for (size_t i = 0; i < n; i++) /* two login names may share a uid */
                if (kept == 0 || first[kept - 1].uid != first[i].uid)
                        first[kept++] = first[i];
        r->n_exemptions += kept;
        return kept;
}

int rules_reserve_exemptions(struct ruleset *r, size_t n)
{
        struct rule_exemption *e = reallocarray(r->exemptions, r->n_exemptions + n + 1, sizeof(*e));
        if (!e)
                return -ENOMEM;
        r->exemptions = e;
        return 0;
}

static int decide_section(const struct rules_input *in, struct ruleset *r, uint16_t number,
                          const struct policy_channel *s)
{
        struct rule_channel *c = &r->channels[number];
        const struct policy_group *g = find_group(in->policy, s->group);
        enum verdict v = verdict_in_mode(in->policy, s->verdict);
        bool differs = v != c->verdict, has_members = true;

        if (!rules_section_is_in_force(s, in->now) || !group_has_device(in, g))
                return 0;
        if (!g || (!g->users && !g->unixgroups)) {
                char text[sizeof("[channel ]") + CHANNEL_ID_MAX];
                snprintf(text, sizeof(text), "[channel %s]", s->id);
                c->verdict = v;
                c->programs = verdict_of_programs(in->policy, v);
                c->decided_line = s->line;
                c->decided_by = rules_storage_add(r->storage, text);
                if (!c->decided_by)
                        return -ENOMEM;
        } else if (differs) {
                struct rule_exemption model = {.channel = number,
                                               .verdict = v,
                                               .decided_line = s->line,
                                               .programs = verdict_of_programs(in->policy, v)};
                char id[sizeof("[channel ] line ") + CHANNEL_ID_MAX + 10];
                snprintf(id, sizeof(id), "[channel %s] line %u", s->id, s->line);
                if (v == VERDICT_ALLOW && c->verdict == VERDICT_BLOCK)
                        model.id = rules_storage_add(r->storage, id);
                int q = rules_reserve_exemptions(r, in->n_users + in->n_members);
                if (q < 0)
                        return q;
                has_members = add_exemptions(in, r, g, &model) > 0;
        }
        if (s->until && differs && has_members && (r->next_change == 0 || s->until < r->next_change))
                r->next_change = s->until;
        return 0;
}

static int check_sections(const struct rules_input *in, struct diag *reterr)
{
        for (size_t i = 0; i < in->policy->n_channels; i++) {
                const struct policy_channel *s = &in->policy->channels[i];
                if (!catalogue_find(in->catalogue, s->id))
                        return diag_set(reterr, -ENOENT, in->policy_file, s->line,
                                        "the catalogue knows no channel '%s'", s->id);
                if (s->group && !find_group(in->policy, s->group))
                        return diag_set(reterr, -ENOENT, in->policy_file, s->line, "group '%s' is not defined",
                                        s->group);
        }
        return 0;
}

int rules_decide(const struct rules_input *in, struct ruleset *r, struct diag *reterr)
{
        const struct policy *p = in->policy;

        int q = p ? check_sections(in, reterr) : 0;
        if (q < 0)
                return q;
        for (uint16_t n = 1; n < r->n_channels; n++) {
                struct rule_channel *c = &r->channels[n];

                if (n == r->canary) {
                        *c = (struct rule_channel){c->id,
                                                   c->name,
                                                   c->file,
                                                   .verdict = VERDICT_BLOCK,
                                                   .programs = VERDICT_BLOCK,
                                                   .decided_by = RULES_CANARY_ID};
                        continue;
                }
                c->class = category_is_bypass(c->category) ? CLASS_BYPASS : CLASS_USE;
                c->verdict = p ? rules_default_verdict(p, c->category) : VERDICT_WATCH;
                c->programs = p ? verdict_of_programs(p, c->verdict) : VERDICT_WATCH;
                c->decided_by = !p ? "no policy" : category_is_bypass(c->category) ? "bypass" : "unlisted";
                if (p)
                        c->decided_line = category_is_bypass(c->category) ? p->bypass_line : p->unlisted_line;
                const struct policy_channel *s = p ? rules_find_section(p, c->id) : NULL;
                q = s ? decide_section(in, r, n, s) : 0;
                if (q < 0)
                        return q;
        }
        return 0;
}
