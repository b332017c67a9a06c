/* SPDX-License-Identifier: GPL-3.0-or-later */
/* No policy may cut the device off from what its administrator protects. */
#include <errno.h>
#include <string.h>
#include "rules/internal.h"

struct protector {
        const struct rules_input *in;
        const struct ruleset *rules;
        const struct rules_protected *protect; /* at hand */
};

/* For anyone, now or as soon as the verdict of a section with an end ends. */
static bool would_block(const struct protector *p, uint16_t channel)
{
        const struct rule_channel *c = &p->rules->channels[channel];
        const struct policy_channel *s = rules_find_section(p->in->policy, c->id);

        if (c->verdict == VERDICT_BLOCK)
                return true;
        if (s && s->until && rules_default_verdict(p->in->policy, c->category) == VERDICT_BLOCK)
                return true;
        for (size_t i = 0; i < p->rules->n_exemptions; i++) {
                const struct rule_exemption *e = &p->rules->exemptions[i];
                if (e->channel == channel && e->verdict == VERDICT_BLOCK)
                        return true;
        }
        return false;
}

static bool may_not_start(const struct protector *p, uint16_t channel)
{
        return would_block(p, channel) && p->in->policy->programs == VERDICT_BLOCK;
}

static uint32_t find_blocked_name(const struct protector *p)
{
        uint32_t entry = rules_match_name(p->rules, p->protect->name);
        return entry && would_block(p, p->rules->entries[entry].channel) ? entry : 0;
}

static uint32_t find_blocked_prefix(const struct protector *p)
{
        const struct prefix *a = &p->protect->prefix;

        for (uint32_t i = 1; i < p->rules->n_entries; i++) {
                const struct rule_entry *e = &p->rules->entries[i];
                if (e->kind == ENTRY_PREFIX && (prefix_contains(&e->prefix, a) || prefix_contains(a, &e->prefix)) &&
                    would_block(p, e->channel))
                        return i;
        }
        return 0;
}

static uint32_t find_blocked_program(const struct protector *p)
{
        const struct rules_program q = {.path = p->protect->program};
        uint32_t entry = rules_match_program(p->rules, &q);
        return entry && may_not_start(p, p->rules->entries[entry].channel) ? entry : 0;
}

static uint32_t find_blocked(const struct protector *p)
{
        return p->protect->name      ? find_blocked_name(p)
               : p->protect->program ? find_blocked_program(p)
                                     : find_blocked_prefix(p);
}

static int refuse(const struct protector *p, uint32_t entry, struct diag *reterr)
{
        const struct rule_entry *e = &p->rules->entries[entry];
        const struct rule_channel *c = &p->rules->channels[e->channel];
        const struct policy_channel *s = rules_find_section(p->in->policy, c->id);
        const char *name = p->protect->name ? p->protect->name : p->protect->program;
        char address[PREFIX_TEXT_MAX];

        if (!name)
                name = prefix_format(&p->protect->prefix, address);
        return diag_set(
                reterr, -EPERM, p->in->policy_file, s ? s->line : 0,
                "channel '%s' may not be blocked: its %s '%s' (%s:%u) would hit '%s', which is protected by %s",
                c->id, entry_kind_to_string(e->kind), e->value, c->file, e->line, name, p->protect->why);
}

int rules_check_protected(const struct rules_input *in, const struct ruleset *r, struct diag *reterr)
{
        struct protector p = {.in = in, .rules = r};

        for (size_t i = 0; in->policy && i < in->n_protect; i++) {
                p.protect = &in->protect[i];
                uint32_t entry = find_blocked(&p);
                if (entry)
                        return refuse(&p, entry, reterr);
        }
        return 0;
}
