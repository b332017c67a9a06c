/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "catalogue/check.h"
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "catalogue/guard.h"

#define DAY_SECONDS 86400

struct checker {
        const struct catalogue *catalogue;
        const struct channel *channel;
        time_t now;
        catalogue_finding_handler handler;
        void *userdata;
        int n_errors;
        struct prefix *guards; /* guard_prefixes, parsed */
        size_t n_guards;
        const char **suffixes; /* of the channel, sorted */
        size_t n_suffixes;
};

#define REPORT(k, error, line, ...)                                                                                  \
        do {                                                                                                         \
                struct catalogue_finding _f = {.is_error = (error)};                                                 \
                diag_set(&_f.where, 0, (k)->channel->file, (line), __VA_ARGS__);                                     \
                (k)->n_errors += _f.is_error;                                                                        \
                (k)->handler(&_f, (k)->userdata);                                                                    \
        } while (0)

static bool is_at_or_below(const char *name, const char *suffix)
{
        size_t n = strlen(name), m = strlen(suffix);
        return n >= m && strcmp(name + n - m, suffix) == 0 && (n == m || name[n - m - 1] == '.');
}

static bool is_listed(const char *const *list, const char *value)
{
        for (; *list; list++)
                if (strcmp(*list, value) == 0)
                        return true;
        return false;
}

static int compare_strings(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_shadowed_name(struct checker *k, const struct entry *e)
{
        for (const char *p = strchr(e->value, '.'); p; p = strchr(p + 1, '.')) {
                const char *parent = p + 1;
                if (bsearch(&parent, k->suffixes, k->n_suffixes, sizeof(*k->suffixes), compare_strings)) {
                        REPORT(k, false, e->line, "'%s' decides nothing: suffix '%s' covers it", e->value, parent);
                        return;
                }
        }
}

static bool is_excepted(const struct channel *c, const char *name)
{
        for (size_t i = 0; i < c->n_entries; i++)
                if (c->entries[i].kind == ENTRY_EXCEPT && is_at_or_below(name, c->entries[i].value))
                        return true;
        return false;
}

static void check_name(struct checker *k, const struct entry *e)
{
        for (const char *const *g = guard_names; *g; g++)
                if ((e->kind != ENTRY_SUFFIX ? strcmp(*g, e->value) == 0 : is_at_or_below(*g, e->value)) &&
                    !is_excepted(k->channel, *g)) {
                        REPORT(k, true, e->line, "'%s' would hit '%s', which serves more than %s", e->value, *g,
                               k->channel->name);
                        return;
                }
        check_shadowed_name(k, e);
}

static void check_prefix(struct checker *k, const struct entry *e)
{
        for (size_t i = 0; i < k->n_guards; i++)
                if (prefix_contains(&k->guards[i], &e->prefix) || prefix_contains(&e->prefix, &k->guards[i])) {
                        REPORT(k, true, e->line, "'%s' overlaps %s, which serves more than %s", e->value,
                               guard_prefixes[i], k->channel->name);
                        return;
                }
}

static void check_pattern(struct checker *k, const struct entry *e)
{
        bool is_path = e->kind == ENTRY_PROGRAM_PATH;

        for (const char *const *g = is_path ? guard_paths : guard_arguments; *g; g++)
                if (fnmatch(e->value, *g, is_path ? FNM_PATHNAME : 0) == 0) {
                        REPORT(k, true, e->line, "'%s' would hit '%s'", e->value, *g);
                        return;
                }
}

/* The longest pattern decides: one that a pattern at least as long covers never does. */
static void check_shadowed_pattern(struct checker *k, const struct entry *e)
{
        for (size_t i = 0; i < k->catalogue->n_channels; i++) {
                const struct channel *c = &k->catalogue->channels[i];

                for (size_t n = 0; n < c->n_entries; n++) {
                        const struct entry *other = &c->entries[n];
                        bool covers = other != e && other->kind == e->kind &&
                                      (c == k->channel || strlen(other->value) >= strlen(e->value)) &&
                                      fnmatch(other->value, e->value,
                                              e->kind == ENTRY_PROGRAM_PATH ? FNM_PATHNAME : 0) == 0;
                        if (covers) {
                                REPORT(k, false, e->line, "'%s' decides nothing: %s '%s' (%s:%u) covers it", e->value,
                                       entry_kind_to_string(other->kind), other->value, c->file, other->line);
                                return;
                        }
                }
        }
}

/* Browsers match a host with all names below it. */
static void check_url(struct checker *k, const struct entry *e)
{
        const char *path = strchr(e->value, '/');
        char host[DOMAIN_NAME_MAX + 1];

        snprintf(host, sizeof(host), "%.*s", (int)strcspn(e->value, "/"), e->value);
        for (const char *const *g = guard_names; (!path || !path[1]) && *g; g++)
                if (is_at_or_below(*g, host) && !is_excepted(k->channel, *g)) {
                        REPORT(k, true, e->line, "'%s' would hit '%s', which serves more than %s: a path is needed",
                               e->value, *g, k->channel->name);
                        return;
                }
}

static void check_entry(struct checker *k, const struct entry *e)
{
        switch (e->kind) {
        case ENTRY_SUFFIX:
        case ENTRY_EXACT:
        case ENTRY_PROBE:
                check_name(k, e);
                return;
        case ENTRY_PREFIX:
                check_prefix(k, e);
                return;
        case ENTRY_PROGRAM_NAME:
                if (is_listed(guard_programs, e->value))
                        REPORT(k, true, e->line,
                               "other programs are called '%s' too: use path, package, flatpak or snap", e->value);
                return;
        case ENTRY_PROGRAM_PATH:
        case ENTRY_PROGRAM_ARGV:
                check_pattern(k, e);
                check_shadowed_pattern(k, e);
                return;
        case ENTRY_WEB_URL:
                check_url(k, e);
                return;
        case ENTRY_EXCEPT:
        case ENTRY_FLATPAK:
        case ENTRY_SNAP:
        case ENTRY_PACKAGE:
        case ENTRY_BUILD_ID:
        case ENTRY_SHA256:
        case ENTRY_WEB_PWA:
        case ENTRY_PORT_TCP:
        case ENTRY_PORT_UDP:
        case _ENTRY_KIND_MAX:
                return;
        }
}

static int compare_prefixes(const void *x, const void *y)
{
        const struct prefix *a = &(*(const struct entry *const *)x)->prefix,
                            *b = &(*(const struct entry *const *)y)->prefix;
        if (a->family != b->family)
                return a->family - b->family;
        int r = memcmp(a->address, b->address, sizeof(a->address));
        return r ? r : a->length - b->length;
}

/* Prefixes nest or are apart: sorted, one that covers others stands right before them. */
static int check_shadowed_prefixes(struct checker *k)
{
        size_t n = 0;

        _cleanup_free_ const struct entry **sorted = calloc(k->channel->n_entries + 1, sizeof(*sorted));
        if (!sorted)
                return -ENOMEM;
        for (size_t i = 0; i < k->channel->n_entries; i++)
                if (k->channel->entries[i].kind == ENTRY_PREFIX)
                        sorted[n++] = &k->channel->entries[i];
        qsort(sorted, n, sizeof(*sorted), compare_prefixes);
        const struct entry *outer = NULL;
        for (size_t i = 0; i < n; i++) {
                if (outer && prefix_contains(&outer->prefix, &sorted[i]->prefix))
                        REPORT(k, false, sorted[i]->line, "'%s' decides nothing: prefix '%s' covers it",
                               sorted[i]->value, outer->value);
                else
                        outer = sorted[i];
        }
        return 0;
}

static void check_date(struct checker *k)
{
        int64_t days = ((int64_t)k->now - k->channel->checked) / DAY_SECONDS;

        if (days > CATALOGUE_CHECKED_DAYS_MAX)
                REPORT(k, false, k->channel->line, "last checked %" PRId64 " days ago", days);
        if (k->channel->checked > k->now)
                REPORT(k, false, k->channel->line, "'checked' lies in the future");
        if (k->channel->n_entries == 0)
                REPORT(k, false, k->channel->line, "has no entry: it can never be recognised");
}

static int check_channel(struct checker *k)
{
        const struct channel *c = k->channel;

        _cleanup_free_ const char **suffixes = calloc(c->n_entries + 1, sizeof(*suffixes));
        if (!suffixes)
                return -ENOMEM;
        k->suffixes = suffixes;
        k->n_suffixes = 0;
        for (size_t i = 0; i < c->n_entries; i++)
                if (c->entries[i].kind == ENTRY_SUFFIX)
                        suffixes[k->n_suffixes++] = c->entries[i].value;
        qsort(suffixes, k->n_suffixes, sizeof(*suffixes), compare_strings);

        check_date(k);
        for (size_t i = 0; i < c->n_entries; i++)
                check_entry(k, &c->entries[i]);
        return check_shadowed_prefixes(k);
}

int catalogue_check(const struct catalogue *c, time_t now, catalogue_finding_handler handler, void *userdata)
{
        struct checker k = {.catalogue = c, .now = now, .handler = handler, .userdata = userdata};

        while (guard_prefixes[k.n_guards])
                k.n_guards++;
        _cleanup_free_ struct prefix *guards = calloc(k.n_guards, sizeof(*guards));
        if (!guards)
                return -ENOMEM;
        for (size_t i = 0; i < k.n_guards; i++) {
                int r = prefix_parse(guard_prefixes[i], &guards[i]);
                if (r < 0)
                        return r;
        }
        k.guards = guards;
        for (size_t i = 0; i < c->n_channels; i++) {
                k.channel = &c->channels[i];
                int r = check_channel(&k);
                if (r < 0)
                        return r;
        }
        return k.n_errors;
}
