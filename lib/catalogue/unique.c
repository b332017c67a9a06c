/* SPDX-License-Identifier: GPL-3.0-or-later */
/* No two entries of a catalogue may say the same: which channel would it be? */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "catalogue/internal.h"

struct reference {
        const struct channel *channel;
        const struct entry *entry;
};

static int group_of(enum entry_kind kind)
{
        return entry_is_domain(kind) ? ENTRY_SUFFIX : (int)kind;
}

static int compare_values(const struct entry *a, const struct entry *b)
{
        if (group_of(a->kind) != group_of(b->kind))
                return group_of(a->kind) - group_of(b->kind);
        if (a->kind == ENTRY_PREFIX)
                return memcmp(&a->prefix, &b->prefix, sizeof(a->prefix));
        if (a->port != b->port)
                return a->port < b->port ? -1 : 1;
        return a->port ? 0 : strcmp(a->value, b->value);
}

static int compare_references(const void *x, const void *y)
{
        const struct reference *a = x, *b = y;

        int r = compare_values(a->entry, b->entry);
        if (r == 0 && a->channel != b->channel)
                return a->channel < b->channel ? -1 : 1;
        return r ? r : a->entry->line < b->entry->line ? -1 : a->entry->line > b->entry->line;
}

static bool is_conflict(const struct reference *a, const struct reference *b)
{
        /* many services share a port: a hint in several channels is no contradiction */
        return compare_values(a->entry, b->entry) == 0 && (a->channel == b->channel || a->entry->port == 0);
}

static int check_channels(const struct catalogue *c, struct diag *reterr)
{
        for (size_t i = 1; i < c->n_channels; i++)
                if (strcmp(c->channels[i - 1].id, c->channels[i].id) == 0)
                        return diag_set(reterr, -ENOTUNIQ, c->channels[i].file, c->channels[i].line,
                                        "channel '%s' is given twice", c->channels[i].id);
        return 0;
}

int catalogue_check_unique(const struct catalogue *c, struct diag *reterr)
{
        size_t n = 0, count = 0;

        int r = check_channels(c, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < c->n_channels; i++)
                count += c->channels[i].n_entries;
        _cleanup_free_ struct reference *all = calloc(count ? count : 1, sizeof(*all));
        if (!all)
                return -ENOMEM;
        for (size_t i = 0; i < c->n_channels; i++)
                for (size_t k = 0; k < c->channels[i].n_entries; k++)
                        all[n++] = (struct reference){&c->channels[i], &c->channels[i].entries[k]};
        qsort(all, n, sizeof(*all), compare_references);
        for (size_t i = 1; i < n; i++) {
                const struct reference *a = &all[i - 1], *b = &all[i];
                if (!is_conflict(a, b))
                        continue;
                if (a->channel == b->channel)
                        return diag_set(reterr, -ENOTUNIQ, b->channel->file, b->entry->line,
                                        "%s '%s' is given twice, first in line %u",
                                        entry_kind_to_string(b->entry->kind), b->entry->value, a->entry->line);
                return diag_set(reterr, -ENOTUNIQ, b->channel->file, b->entry->line,
                                "%s '%s' of channel '%s' is in channel '%s' too (%s:%u)",
                                entry_kind_to_string(b->entry->kind), b->entry->value, b->channel->id, a->channel->id,
                                a->channel->file, a->entry->line);
        }
        return 0;
}
