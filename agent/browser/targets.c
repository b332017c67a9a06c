/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>

#include "agent/browser/document.h"
#include "base/cleanup.h"
#include "base/text.h"

#define HOST_MAX (DOMAIN_NAME_MAX + 1)

enum rank {
        RANK_PATH,
        RANK_USE,
        RANK_BYPASS,
        RANK_NONE, /* covered or left out */
};

struct candidate {
        struct browser_target target;
        uint32_t entry;
        enum rank rank;
        bool refused; /* is not blocked itself */
};

struct candidates {
        struct candidate *list;
        size_t n;
        struct candidate **hosts; /* without a path: sorted by host */
        size_t n_hosts;
};

static void candidates_done(struct candidates *c)
{
        free(c->list);
        free(c->hosts);
}

bool browser_blocks(const struct ruleset *rs, uint16_t channel)
{
        if (rs->channels[channel].verdict != VERDICT_BLOCK || channel == rs->canary)
                return false;
        for (size_t i = 0; i < rs->n_exemptions; i++)
                if (rs->exemptions[i].channel == channel && rs->exemptions[i].verdict != VERDICT_BLOCK)
                        return false;
        return true;
}

static bool is_host_kind(enum entry_kind k)
{
        return k == ENTRY_SUFFIX || k == ENTRY_EXACT || k == ENTRY_EXCEPT || k == ENTRY_WEB_URL;
}

/* "x.example/" hits as much as "x.example". */
static bool has_path(const struct candidate *c)
{
        return c->target.value[c->target.host_size] == '/' && c->target.value[c->target.host_size + 1] != '\0';
}

static int compare_host(const char *a, size_t n, const struct candidate *c)
{
        size_t m = c->target.host_size;
        int r = memcmp(a, c->target.value, n < m ? n : m);

        return r ? r : n < m ? -1 : n > m;
}

static int compare_hosts(const void *x, const void *y)
{
        const struct candidate *a = *(struct candidate *const *)x, *b = *(struct candidate *const *)y;
        int r = compare_host(a->target.value, a->target.host_size, b);

        if (r == 0)
                r = (int)a->target.exact - (int)b->target.exact; /* the wider one first */
        return r ? r : a->entry < b->entry ? -1 : a->entry > b->entry;
}

/* Where the candidates without a path that have this host begin, the widest first; NULL none. */
static struct candidate **find_host(const struct candidates *c, const char *host, size_t size)
{
        size_t low = 0, high = c->n_hosts;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (compare_host(host, size, c->hosts[middle]) > 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < c->n_hosts && compare_host(host, size, c->hosts[low]) == 0 ? &c->hosts[low] : NULL;
}

/* The name above: what follows the next dot, NULL none. */
static const char *parent_of(const char *p, const char *end)
{
        const char *dot = memchr(p, '.', (size_t)(end - p));

        return dot ? dot + 1 : NULL;
}

static int collect(const struct ruleset *rs, struct candidates *c)
{
        c->list = calloc(rs->n_entries, sizeof(*c->list));
        c->hosts = calloc(rs->n_entries, sizeof(*c->hosts));
        if (!c->list || !c->hosts)
                return -ENOMEM;
        for (uint32_t i = 1; i < rs->n_entries; i++) {
                const struct rule_entry *e = &rs->entries[i];
                struct candidate *k = &c->list[c->n];

                if (!is_host_kind(e->kind) || !browser_blocks(rs, e->channel))
                        continue;
                *k = (struct candidate){.target = {.value = e->value,
                                                   .host_size = strcspn(e->value, "/"),
                                                   .exact = e->kind == ENTRY_EXACT},
                                        .entry = i,
                                        .rank = rs->channels[e->channel].class == CLASS_BYPASS ? RANK_BYPASS
                                                                                               : RANK_USE};
                if (has_path(k))
                        k->rank = RANK_PATH;
                else
                        c->hosts[c->n_hosts++] = k;
                c->n++;
        }
        qsort(c->hosts, c->n_hosts, sizeof(*c->hosts), compare_hosts);
        return 0;
}

/* A name that is not blocked refuses its own candidates, and leaves to those above it their own host alone. */
static void refuse_above(const struct candidates *c, const struct rule_entry *e)
{
        const char *end = e->value + strcspn(e->value, "/");

        for (const char *p = e->value; p; p = parent_of(p, end)) {
                struct candidate **k = find_host(c, p, (size_t)(end - p));

                for (; k && k < c->hosts + c->n_hosts && compare_host(p, (size_t)(end - p), *k) == 0; k++)
                        if (p == e->value)
                                (*k)->refused = true;
                        else
                                (*k)->target.exact = true;
        }
}

static bool is_covered(const struct candidates *c, const struct candidate *k)
{
        const char *host = k->target.value, *end = host + k->target.host_size;

        for (const char *p = host; p; p = parent_of(p, end)) {
                struct candidate **other = find_host(c, p, (size_t)(end - p));

                if (other && *other != k && !(*other)->refused &&
                    (!(*other)->target.exact || (p == host && k->target.exact)))
                        return true;
        }
        return false;
}

static bool path_is_covered(const struct candidates *c, const struct candidate *k)
{
        size_t size = k->target.host_size;

        for (const struct candidate *o = c->list; has_path(k) && o < c->list + c->n; o++) {
                size_t n = o->target.host_size;

                if (o == k || !has_path(o) || n > size || memcmp(k->target.value + size - n, o->target.value, n) ||
                    (n < size && k->target.value[size - n - 1] != '.'))
                        continue;
                if (text_starts_with(k->target.value + size, o->target.value + n) &&
                    (strcmp(k->target.value, o->target.value) || o < k))
                        return true;
        }
        return false;
}

int browser_targets(const struct ruleset *rs, struct browser_target **ret, size_t *ret_n)
{
        _cleanup_(candidates_done) struct candidates c = {0};
        struct browser_target *list;
        size_t n = 0;
        int r;

        r = collect(rs, &c);
        if (r < 0)
                return r;
        for (uint32_t i = 1; i < rs->n_entries; i++)
                if (is_host_kind(rs->entries[i].kind) && !browser_blocks(rs, rs->entries[i].channel))
                        refuse_above(&c, &rs->entries[i]);
        for (size_t i = 0; i < c.n; i++)
                if (c.list[i].refused || is_covered(&c, &c.list[i]) || path_is_covered(&c, &c.list[i]))
                        c.list[i].rank = RANK_NONE;
        list = calloc(c.n ? c.n : 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        for (enum rank rank = RANK_PATH; rank < RANK_NONE; rank++)
                for (size_t i = 0; i < c.n; i++)
                        if (c.list[i].rank == rank)
                                list[n++] = c.list[i].target;
        *ret = list;
        *ret_n = n;
        return 0;
}
