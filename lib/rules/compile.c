/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "rules/internal.h"

/* Copy a string of the inputs; an absent one stays absent. */
static int copy(struct ruleset *r, const char *text, const char **ret)
{
        *ret = rules_storage_add(r->storage, text);
        return text && !*ret ? -ENOMEM : 0;
}

static int copy_channel(struct ruleset *r, const struct channel *from, struct rule_channel *to)
{
        int q = copy(r, from->id, &to->id);
        if (q == 0)
                q = copy(r, from->name, &to->name);
        if (q == 0)
                q = copy(r, from->file, &to->file);
        to->category = from->category;
        return q;
}

static int copy_entries(struct ruleset *r, const struct channel *from, uint16_t number)
{
        for (size_t i = 0; i < from->n_entries; i++) {
                const struct entry *e = &from->entries[i];
                struct rule_entry *to = &r->entries[r->n_entries++];

                *to = (struct rule_entry){.kind = e->kind, .channel = number, .line = e->line, .prefix = e->prefix};
                if (e->kind == ENTRY_EXCEPT)
                        to->channel = 0;
                int q = copy(r, e->value, &to->value);
                if (q < 0)
                        return q;
        }
        return 0;
}

/* Behind all others, whose numbers stay as they are. */
static int add_canary(struct ruleset *r)
{
        struct rule_channel *c = &r->channels[r->n_channels];
        struct rule_entry *e = &r->entries[r->n_entries];

        *e = (struct rule_entry){.kind = ENTRY_EXACT, .channel = (uint16_t)r->n_channels, .line = 1};
        int q = copy(r, RULES_CANARY_ID, &c->id);
        if (q == 0)
                q = copy(r, RULES_CANARY_ID, &c->name);
        if (q == 0)
                q = copy(r, RULES_CANARY_ID, &c->file);
        if (q == 0)
                q = copy(r, RULES_CANARY_NAME, &e->value);
        if (q < 0)
                return q;
        r->canary = (uint16_t)r->n_channels++;
        r->n_entries++;
        return 0;
}

static int copy_catalogue(struct ruleset *r, const struct catalogue *c, bool canary)
{
        size_t n_entries = 2;

        for (size_t i = 0; i < c->n_channels; i++)
                n_entries += c->channels[i].n_entries;
        if (n_entries > UINT32_MAX)
                return -E2BIG;
        r->channels = calloc(c->n_channels + 2, sizeof(*r->channels));
        r->entries = calloc(n_entries, sizeof(*r->entries));
        if (!r->channels || !r->entries)
                return -ENOMEM;
        r->n_channels = c->n_channels + 1;
        r->n_entries = 1;
        for (uint16_t i = 0; i < c->n_channels; i++) {
                int q = copy_channel(r, &c->channels[i], &r->channels[i + 1]);
                if (q == 0)
                        q = copy_entries(r, &c->channels[i], i + 1);
                if (q < 0)
                        return q;
        }
        if (canary) {
                int q = add_canary(r);
                if (q < 0)
                        return q;
        }
        return copy(r, c->version, &r->catalogue_version);
}

static int copy_policy(struct ruleset *r, const struct policy *p)
{
        r->mode = p ? p->mode : POLICY_MODE_MONITOR;
        r->quic = p ? p->quic : QUIC_INSPECT;
        if (!p)
                return 0;
        r->policy_serial = p->serial;
        int q = copy(r, p->organisation, &r->organisation);
        if (q == 0)
                q = copy(r, p->notice, &r->notice);
        if (q == 0)
                q = copy(r, p->help, &r->help);
        return q;
}

static int compile(const struct rules_input *in, struct ruleset **ret, struct diag *reterr)
{
        if (in->catalogue->n_channels > CATALOGUE_CHANNELS_MAX)
                return diag_set(reterr, -E2BIG, NULL, 0, "more than %d channels", CATALOGUE_CHANNELS_MAX);
        _cleanup_ruleset_ struct ruleset *r = calloc(1, sizeof(*r));
        if (!r)
                return -ENOMEM;
        r->storage = calloc(1, sizeof(struct rules_storage));
        if (!r->storage)
                return -ENOMEM;
        int q = copy_catalogue(r, in->catalogue, in->canary);
        if (q == 0)
                q = copy_policy(r, in->policy);
        if (q == 0)
                q = rules_index(r);
        if (q == 0)
                q = rules_decide(in, r, reterr);
        if (q == 0)
                q = rules_check_protected(in, r, reterr);
        if (q == 0)
                q = rules_grant(in, r);
        if (q < 0)
                return q;
        *ret = TAKE_PTR(r);
        return 0;
}

int rules_compile(const struct rules_input *in, struct ruleset **ret, struct diag *reterr)
{
        struct rules_input whole = *in;
        struct catalogue joined;

        if (!in->own)
                return compile(in, ret, reterr);
        int r = catalogue_join(in->catalogue, in->own, &joined, reterr);
        if (r < 0)
                return r;
        whole.catalogue = &joined;
        r = compile(&whole, ret, reterr);
        free(joined.channels);
        return r;
}
