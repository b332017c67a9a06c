/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Exemptions beside the policy: they allow what it stops or watches, and their use is recorded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "rules/internal.h"

static uint16_t find_channel(const struct ruleset *r, const char *id)
{
        for (uint16_t n = 1; n < r->n_channels; n++)
                if (n != r->canary && !strcmp(r->channels[n].id, id))
                        return n;
        return 0;
}

static void allow(struct rule_exemption *e, const char *id)
{
        if (e->verdict == VERDICT_ALLOW && e->programs == VERDICT_ALLOW)
                return;
        e->verdict = e->programs = VERDICT_ALLOW;
        e->decided_line = 0;
        e->id = id;
}

static void allow_everyone(struct ruleset *r, uint16_t channel, const char *id)
{
        struct rule_channel *c = &r->channels[channel];

        for (size_t i = 0; i < r->n_exemptions; i++)
                if (r->exemptions[i].channel == channel)
                        allow(&r->exemptions[i], id);
        if (c->verdict == VERDICT_ALLOW && c->programs == VERDICT_ALLOW)
                return;
        c->verdict = c->programs = VERDICT_ALLOW;
        c->decided_by = "exemption";
        c->decided_line = 0;
        c->exemption = id;
}

static void allow_user(struct ruleset *r, uint16_t channel, uid_t uid, const char *id)
{
        const struct rule_channel *c = &r->channels[channel];
        struct rule_exemption *e;

        for (e = r->exemptions; e < r->exemptions + r->n_exemptions; e++)
                if (e->channel == channel && e->uid == uid) {
                        allow(e, id);
                        return;
                }
        if (c->verdict == VERDICT_ALLOW && c->programs == VERDICT_ALLOW)
                return;
        r->exemptions[r->n_exemptions++] =
                (struct rule_exemption){.channel = channel, .uid = uid, .verdict = VERDICT_ALLOW, .id = id};
}

static int grant_one(const struct rules_input *in, struct ruleset *r, const struct rules_grant *g, uint16_t channel)
{
        const char *id = rules_storage_add(r->storage, g->id);
        int q = rules_reserve_exemptions(r, in->n_users + in->n_members);

        if (q < 0 || !id)
                return -ENOMEM;
        if (!g->users && !g->unixgroups)
                allow_everyone(r, channel, id);
        for (size_t i = 0; i < in->n_users; i++)
                if (rules_list_has(g->users, in->users[i].name))
                        allow_user(r, channel, in->users[i].uid, id);
        for (size_t i = 0; i < in->n_members; i++)
                if (rules_list_has(g->unixgroups, in->members[i].unixgroup))
                        allow_user(r, channel, in->members[i].uid, id);
        return 0;
}

static int compare(const void *a, const void *b)
{
        const struct rule_exemption *x = a, *y = b;

        if (x->channel != y->channel)
                return x->channel < y->channel ? -1 : 1;
        return x->uid < y->uid ? -1 : x->uid > y->uid;
}

int rules_grant(const struct rules_input *in, struct ruleset *r)
{
        for (size_t i = 0; i < in->n_grants; i++)
                for (char *const *c = in->grants[i].channels; *c; c++) {
                        const uint16_t channel = find_channel(r, *c);
                        int q = channel ? grant_one(in, r, &in->grants[i], channel) : 0;

                        if (q < 0)
                                return q;
                }
        if (r->n_exemptions > 0)
                qsort(r->exemptions, r->n_exemptions, sizeof(*r->exemptions), compare);
        return 0;
}
