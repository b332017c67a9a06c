/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "rules/internal.h"

static int compare_values(const struct rule_entry *a, const struct rule_entry *b)
{
        return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcmp(a->value, b->value);
}

static bool is_exact(const struct rule_entry *e)
{
        return e->kind == ENTRY_EXACT || e->kind == ENTRY_PROBE;
}

static int compare_names(const struct rule_entry *a, const struct rule_entry *b)
{
        int r = strcmp(a->value, b->value);
        return r ? r : (int)is_exact(b) - (int)is_exact(a);
}

static int compare_prefixes(const struct prefix *a, const struct prefix *b)
{
        int r = a->family - b->family;
        if (r == 0)
                r = memcmp(a->address, b->address, sizeof(a->address));
        return r ? r : a->length - b->length;
}

/* Equal values keep the order of their entries, so that a rule set is the same each time. */
static int order(int r, uint32_t a, uint32_t b)
{
        return r ? r : a < b ? -1 : a > b;
}

static int sort_names(const void *x, const void *y, void *entries)
{
        const struct rule_entry *e = entries;
        uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
        return order(compare_names(&e[a], &e[b]), a, b);
}

static int sort_prefixes(const void *x, const void *y, void *entries)
{
        const struct rule_entry *e = entries;
        uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
        return order(compare_prefixes(&e[a].prefix, &e[b].prefix), a, b);
}

static int sort_programs(const void *x, const void *y, void *entries)
{
        const struct rule_entry *e = entries;
        uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
        return order(compare_values(&e[a], &e[b]), a, b);
}

static void index_entry(struct rules_storage *s, enum entry_kind kind, uint32_t i)
{
        switch (kind) {
        case ENTRY_SUFFIX:
        case ENTRY_EXACT:
        case ENTRY_EXCEPT:
        case ENTRY_PROBE:
                s->names[s->n_names++] = i;
                return;
        case ENTRY_PREFIX:
                s->prefixes[s->n_prefixes++] = i;
                return;
        case ENTRY_PROGRAM_NAME:
        case ENTRY_FLATPAK:
        case ENTRY_SNAP:
        case ENTRY_PACKAGE:
        case ENTRY_BUILD_ID:
        case ENTRY_SHA256:
        case ENTRY_WEB_PWA:
                s->programs[s->n_programs++] = i;
                return;
        case ENTRY_PROGRAM_PATH:
        case ENTRY_PROGRAM_ARGV:
                s->patterns[s->n_patterns++] = i;
                return;
        case ENTRY_WEB_URL:
        case ENTRY_PORT_TCP:
        case ENTRY_PORT_UDP:
        case _ENTRY_KIND_MAX:
                return;
        }
}

int rules_index(struct ruleset *r)
{
        struct rules_storage *s = r->storage;

        s->names = calloc(r->n_entries, sizeof(uint32_t));
        s->prefixes = calloc(r->n_entries, sizeof(uint32_t));
        s->programs = calloc(r->n_entries, sizeof(uint32_t));
        s->patterns = calloc(r->n_entries, sizeof(uint32_t));
        if (!s->names || !s->prefixes || !s->programs || !s->patterns)
                return -ENOMEM;
        for (uint32_t i = 1; i < r->n_entries; i++)
                index_entry(s, r->entries[i].kind, i);
        qsort_r(s->names, s->n_names, sizeof(uint32_t), sort_names, r->entries);
        qsort_r(s->prefixes, s->n_prefixes, sizeof(uint32_t), sort_prefixes, r->entries);
        qsort_r(s->programs, s->n_programs, sizeof(uint32_t), sort_programs, r->entries);
        return 0;
}

struct list {
        const uint32_t *index;
        size_t n;
};

/* The first entry equal to key, or 0. */
static uint32_t find(const struct ruleset *r, struct list l, const struct rule_entry *key,
                     int (*compare)(const struct rule_entry *, const struct rule_entry *))
{
        size_t low = 0, high = l.n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (compare(&r->entries[l.index[middle]], key) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < l.n && compare(&r->entries[l.index[low]], key) == 0 ? l.index[low] : 0;
}

uint32_t rules_match_name(const struct ruleset *r, const char *name)
{
        const struct rules_storage *s = r->storage;
        const struct list names = {s->names, s->n_names};
        char normal[DOMAIN_NAME_MAX + 1];

        if (domain_normalise(name, strlen(name), normal) < 0)
                return 0;
        const struct rule_entry exact = {.kind = ENTRY_EXACT, .value = normal};
        uint32_t entry = find(r, names, &exact, compare_names);
        for (const char *p = normal; entry == 0 && p; p = strchr(p, '.')) {
                p += *p == '.';
                const struct rule_entry suffix = {.kind = ENTRY_SUFFIX, .value = p};
                entry = find(r, names, &suffix, compare_names);
        }
        return r->entries[entry].kind == ENTRY_EXCEPT ? 0 : entry;
}

static int compare_entry_prefixes(const struct rule_entry *a, const struct rule_entry *b)
{
        return compare_prefixes(&a->prefix, &b->prefix);
}

/* RFC 4291 2.5.5.2: ::ffff:a.b.c.d speaks IPv4. */
static struct prefix unmap(const struct prefix *p)
{
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        struct prefix q = {.family = AF_INET};

        if (p->family != AF_INET6 || p->length < 96 || memcmp(p->address, mapped, sizeof(mapped)) != 0)
                return *p;
        q.length = p->length - 96;
        memcpy(q.address, p->address + 12, 4);
        return q;
}

uint32_t rules_match_address(const struct ruleset *r, const struct prefix *address)
{
        const struct rules_storage *s = r->storage;
        struct rule_entry key = {.kind = ENTRY_PREFIX, .prefix = unmap(address)};

        for (;;) {
                uint32_t entry = find(r, (struct list){s->prefixes, s->n_prefixes}, &key, compare_entry_prefixes);
                if (entry || key.prefix.length == 0)
                        return entry;
                key.prefix.length--;
                key.prefix.address[key.prefix.length / 8] &= (uint8_t)(0xff00 >> (key.prefix.length % 8));
        }
}

static uint32_t match_whole(const struct ruleset *r, enum entry_kind kind, const char *value)
{
        const struct rules_storage *s = r->storage;
        const struct rule_entry key = {.kind = kind, .value = value};
        return value ? find(r, (struct list){s->programs, s->n_programs}, &key, compare_values) : 0;
}

/* The longest pattern that matches. */
static uint32_t match_pattern(const struct ruleset *r, enum entry_kind kind, const char *text)
{
        const struct rules_storage *s = r->storage;
        uint32_t best = 0;
        size_t best_size = 0;

        for (size_t i = 0; text && i < s->n_patterns; i++) {
                const struct rule_entry *e = &r->entries[s->patterns[i]];
                size_t size = strlen(e->value);
                if (e->kind != kind || size <= best_size)
                        continue;
                if (fnmatch(e->value, text, kind == ENTRY_PROGRAM_PATH ? FNM_PATHNAME : 0) == 0) {
                        best = s->patterns[i];
                        best_size = size;
                }
        }
        return best;
}

static uint32_t match_arguments(const struct ruleset *r, const struct rules_program *p)
{
        static const char web_app[] = "--app-id=";
        uint32_t entry = 0;

        if (!p->argv || !p->argv[0])
                return 0;
        for (const char *const *a = p->argv + 1; entry == 0 && *a; a++) {
                if (**a == '-' ? !p->is_browser : !p->is_interpreter)
                        continue;
                entry = match_pattern(r, ENTRY_PROGRAM_ARGV, *a);
                if (entry == 0 && text_starts_with(*a, web_app))
                        entry = match_whole(r, ENTRY_WEB_PWA, *a + strlen(web_app));
        }
        return entry;
}

uint32_t rules_match_program(const struct ruleset *r, const struct rules_program *p)
{
        const char *slash = p->path ? strrchr(p->path, '/') : NULL;

        uint32_t entry = match_whole(r, ENTRY_FLATPAK, p->flatpak);
        if (entry == 0)
                entry = match_whole(r, ENTRY_SNAP, p->snap);
        if (entry == 0)
                entry = match_whole(r, ENTRY_BUILD_ID, p->build_id);
        if (entry == 0)
                entry = match_whole(r, ENTRY_SHA256, p->sha256);
        if (entry == 0)
                entry = match_pattern(r, ENTRY_PROGRAM_PATH, p->path);
        if (entry == 0)
                entry = match_whole(r, ENTRY_PROGRAM_NAME, slash ? slash + 1 : p->path);
        if (entry == 0)
                entry = match_whole(r, ENTRY_PACKAGE, p->package);
        if (entry == 0)
                entry = match_arguments(r, p);
        return entry;
}

bool rules_has(const struct ruleset *r, enum entry_kind kind)
{
        for (size_t i = 1; i < r->n_entries; i++)
                if (r->entries[i].kind == kind)
                        return true;
        return false;
}
