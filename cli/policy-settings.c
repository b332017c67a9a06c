/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "cli/policy-diff.h"
#include "policy/keys.h"

struct sections { /* one section before and after; NULL: it is not there */
        const char *kind; /* "group" */
        const char *name;
        const void *old, *new;
};

static bool has(char *const *list, const char *value)
{
        for (; list && *list; list++)
                if (strcmp(*list, value) == 0)
                        return true;
        return false;
}

static bool adds(char *const *before, char *const *now)
{
        for (; now && *now; now++)
                if (!has(before, *now))
                        return true;
        return false;
}

const struct policy_group *policy_group_find(const struct policy *p, const char *name)
{
        for (size_t i = 0; i < p->n_groups; i++)
                if (strcmp(p->groups[i].name, name) == 0)
                        return &p->groups[i];
        return NULL;
}

bool policy_group_gains(const struct policy_group *before, const struct policy_group *now)
{
        if (!before)
                return true;
        /* devices and tags, users and unixgroups: who is of either is in; without both everybody is */
        if ((before->devices || before->tags) &&
            ((!now->devices && !now->tags) || adds(before->devices, now->devices) || adds(before->tags, now->tags)))
                return true;
        return (before->users || before->unixgroups) &&
               ((!now->users && !now->unixgroups) || adds(before->users, now->users) ||
                adds(before->unixgroups, now->unixgroups));
}

static void add(json_t *list, const struct sections *s, const char *key, const char *values[static 2])
{
        char section[64];

        snprintf(section, sizeof(section), s->name ? "[%s %s]" : "[%s]", s->kind, s->name);
        json_array_append_new(list, json_pack("{s:s,s:s,s:s?,s:s?}", "section", section, "key", key, "old", values[0],
                                              "new", values[1]));
}

static void diff_list(json_t *list, const struct sections *s, const struct policy_key *k)
{
        char *const *old = s->old ? *(char ***)((const char *)s->old + k->offset) : NULL;
        char *const *new = s->new ? *(char ***)((const char *)s->new + k->offset) : NULL;

        for (char *const *v = old; v && *v; v++)
                if (!has(new, *v))
                        add(list, s, k->name, (const char *[]){*v, NULL});
        for (char *const *v = new; v &&*v; v++)
                if (!has(old, *v))
                        add(list, s, k->name, (const char *[]){NULL, *v});
}

static void diff_value(json_t *list, const struct sections *s, const struct policy_key *k)
{
        char old[POLICY_VALUE_MAX], new[POLICY_VALUE_MAX];
        const char *values[2] = {s->old ? policy_key_format(k, s->old, old) : NULL,
                                 s->new ? policy_key_format(k, s->new, new) : NULL};

        if (values[0] && values[1] ? strcmp(values[0], values[1]) != 0 : values[0] != values[1])
                add(list, s, k->name, values);
}

static void diff_section(json_t *list, enum policy_section section, const struct sections *s)
{
        for (const struct policy_key *k = policy_keys; k->name; k++) {
                if (k->section != section)
                        continue;
                if (k->flags & POLICY_KEY_REPEATED)
                        diff_list(list, s, k);
                else
                        diff_value(list, s, k);
        }
}

static const struct policy_channel *find_channel(const struct policy *p, const char *id)
{
        for (size_t i = 0; i < p->n_channels; i++)
                if (strcmp(p->channels[i].id, id) == 0)
                        return &p->channels[i];
        return NULL;
}

static void diff_groups(const struct policy *old, const struct policy *new, json_t *list)
{
        for (size_t i = 0; i < old->n_groups; i++) {
                const char *name = old->groups[i].name;
                const struct sections s = {"group", name, &old->groups[i], policy_group_find(new, name)};

                diff_section(list, POLICY_SECTION_GROUP, &s);
        }
        for (size_t i = 0; i < new->n_groups; i++) {
                const struct sections s = {"group", new->groups[i].name, NULL, &new->groups[i]};

                if (!policy_group_find(old, s.name))
                        diff_section(list, POLICY_SECTION_GROUP, &s);
        }
}

static void diff_channels(const struct policy *old, const struct policy *new, json_t *list)
{
        for (size_t i = 0; i < old->n_channels; i++) {
                const char *id = old->channels[i].id;
                const struct sections s = {"channel", id, &old->channels[i], find_channel(new, id)};

                diff_section(list, POLICY_SECTION_CHANNEL, &s);
        }
        for (size_t i = 0; i < new->n_channels; i++) {
                const struct sections s = {"channel", new->channels[i].id, NULL, &new->channels[i]};

                if (!find_channel(old, s.name))
                        diff_section(list, POLICY_SECTION_CHANNEL, &s);
        }
}

void policy_settings_diff(const struct policy *old, const struct policy *new, json_t *list)
{
        diff_section(list, POLICY_SECTION_POLICY, &(struct sections){"policy", NULL, old, new});
        diff_section(list, POLICY_SECTION_TRUST, &(struct sections){"trust", NULL, old, new});
        diff_groups(old, new, list);
        diff_channels(old, new, list);
}

void policy_settings_print(const json_t *list)
{
        const json_t *o;
        size_t i;

        if (json_array_size(list) > 0)
                print_line("keys:");
        json_array_foreach(list, i, o)
        {
                const char *section = json_text(o, "section"), *key = json_text(o, "key");
                const char *old = json_text(o, "old"), *new = json_text(o, "new");

                if (!*old)
                        print_line("  %s %s = %s is added", section, key, new);
                else if (!*new)
                        print_line("  %s %s = %s is taken out", section, key, old);
                else
                        print_line("  %s %s = %s, so far %s", section, key, new, old);
        }
}
