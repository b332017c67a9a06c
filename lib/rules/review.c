/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rules/review.h"
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>
#include "base/text.h"
#include "rules/internal.h"

#define DAY_SECONDS 86400

#define WARN(v, line, ...)                                                                                           \
        do {                                                                                                         \
                struct diag _d = {0};                                                                                \
                diag_set(&_d, 0, (v)->file, (line), __VA_ARGS__);                                                    \
                (v)->warn(&_d, (v)->userdata);                                                                       \
        } while (0)

static void review_head(const struct rules_review *v)
{
        const struct policy *p = v->policy;
        const int64_t left = (int64_t)p->expires - v->now;

        if (left <= 0)
                WARN(v, p->line, "expired %" PRId64 " days ago", -left / DAY_SECONDS);
        else if (left < POLICY_EXPIRY_NEAR_DAYS * DAY_SECONDS)
                WARN(v, p->line, "expires in %" PRId64 " days", left / DAY_SECONDS);
        if (p->unlisted == VERDICT_ALLOW)
                WARN(v, p->line, "unlisted = allow: whatever no section names is neither stopped nor reported");
        if (p->bypass == VERDICT_ALLOW)
                WARN(v, p->line, "bypass = allow: tunnels and encrypted DNS lead around every other verdict");
        if (v->strict && p->mode == POLICY_MODE_ENFORCE && p->serial == 1)
                WARN(v, p->line, "mode = enforce with serial 1: was it never tried in monitor?");
}

/* fnmatch(3) takes a bracket that never closes for itself, and a final '\' for no match at all. */
static const char *find_fault(const char *pattern)
{
        for (const char *p = pattern; *p; p++) {
                if (*p == '\\') {
                        if (!*++p)
                                return "ends in '\\'";
                        continue;
                }
                if (*p != '[')
                        continue;
                p += p[1] == '!' || p[1] == '^';
                p = p[1] ? strchr(p + 2, ']') : NULL; /* POSIX 2.13.1: a ']' that comes first is a member */
                if (!p)
                        return "has a '[' without its ']'";
        }
        return NULL;
}

static bool matches_any(char *const *patterns, const char *word)
{
        for (; patterns && *patterns; patterns++)
                if (fnmatch(*patterns, word, 0) == 0)
                        return true;
        return false;
}

static bool is_of_group(const struct review_device *d, const struct policy_group *g)
{
        bool found = (!g->devices && !g->tags) || matches_any(g->devices, d->name);

        for (const char *const *t = d->tags; !found && t && *t; t++)
                found = matches_any(g->tags, *t);
        return found;
}

static void review_members(const struct rules_review *v, const struct policy_group *g)
{
        for (size_t i = 0; i < v->n_devices; i++)
                if (is_of_group(&v->devices[i], g))
                        return;
        if (v->devices_file)
                WARN(v, g->line, "no device of '%s' is in group '%s'", v->devices_file, g->name);
}

static void review_group(const struct rules_review *v, const struct policy_group *g)
{
        bool used = false;

        for (size_t i = 0; i < v->policy->n_channels && !used; i++)
                used = v->policy->channels[i].group && strcmp(v->policy->channels[i].group, g->name) == 0;
        if (!used)
                WARN(v, g->line, "group '%s' is not used by any channel", g->name);
        for (char **d = g->devices; d && *d; d++) {
                const char *fault = find_fault(*d);

                if (fault)
                        WARN(v, g->line, "device pattern '%s' of group '%s' %s", *d, g->name, fault);
        }
        review_members(v, g);
}

static void review_channel(const struct rules_review *v, const struct policy_channel *s)
{
        const struct channel *c = v->catalogue ? catalogue_find(v->catalogue, s->id) : NULL;
        char ended[TIME_TEXT_MAX];

        if (!rules_section_is_in_force(s, v->now)) {
                WARN(v, s->line, "[channel %s] ended at %s and counts as absent", s->id,
                     time_format(s->until, ended));
                return;
        }
        if (s->verdict != VERDICT_ALLOW)
                return;
        if (c && category_is_bypass(c->category))
                WARN(v, s->line, "'%s' is allowed and leads around the policy (%s)", s->id,
                     category_to_string(c->category));
        else if (!s->archive)
                WARN(v, s->line, "'%s' is allowed without 'archive': nothing says who keeps its messages", s->id);
}

void rules_review(const struct rules_review *v)
{
        review_head(v);
        for (size_t i = 0; i < v->policy->n_groups; i++)
                review_group(v, &v->policy->groups[i]);
        for (size_t i = 0; i < v->policy->n_channels; i++)
                review_channel(v, &v->policy->channels[i]);
}
