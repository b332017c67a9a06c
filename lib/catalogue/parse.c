/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One channel file, and many of them as a catalogue. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/ini.h"
#include "base/text.h"
#include "catalogue/internal.h"

enum section {
        SECTION_CHANNEL,
        SECTION_NAMES,
        SECTION_ADDRESSES,
        SECTION_PROGRAMS,
        SECTION_WEB,
        SECTION_PORTS,
        _SECTION_MAX,
};

static const char *const section_names[] = {
        [SECTION_CHANNEL] = "channel",   [SECTION_NAMES] = "names", [SECTION_ADDRESSES] = "addresses",
        [SECTION_PROGRAMS] = "programs", [SECTION_WEB] = "web",     [SECTION_PORTS] = "ports",
};
_Static_assert(ELEMENTSOF(section_names) == _SECTION_MAX, "a section has no name");

static const enum section kind_sections[] = {
        [ENTRY_SUFFIX] = SECTION_NAMES,          [ENTRY_EXACT] = SECTION_NAMES,
        [ENTRY_EXCEPT] = SECTION_NAMES,          [ENTRY_PROBE] = SECTION_NAMES,
        [ENTRY_PREFIX] = SECTION_ADDRESSES,      [ENTRY_PROGRAM_NAME] = SECTION_PROGRAMS,
        [ENTRY_PROGRAM_PATH] = SECTION_PROGRAMS, [ENTRY_PROGRAM_ARGV] = SECTION_PROGRAMS,
        [ENTRY_FLATPAK] = SECTION_PROGRAMS,      [ENTRY_SNAP] = SECTION_PROGRAMS,
        [ENTRY_PACKAGE] = SECTION_PROGRAMS,      [ENTRY_BUILD_ID] = SECTION_PROGRAMS,
        [ENTRY_SHA256] = SECTION_PROGRAMS,       [ENTRY_WEB_URL] = SECTION_WEB,
        [ENTRY_WEB_PWA] = SECTION_WEB,           [ENTRY_PORT_TCP] = SECTION_PORTS,
        [ENTRY_PORT_UDP] = SECTION_PORTS,
};
_Static_assert(ELEMENTSOF(kind_sections) == _ENTRY_KIND_MAX, "an entry kind has no section");

#define SEEN_CATEGORY (1u << 0)
#define SEEN_CHECKED  (1u << 1)

struct parser {
        const char *file;
        struct channel *channel;
        size_t allocated; /* of channel->entries */
        unsigned sections; /* bits by enum section */
        unsigned seen; /* SEEN_* */
        unsigned line; /* at hand */
        struct diag *reterr;
};

static int parse_section(struct parser *p, const char *section)
{
        for (unsigned i = 0; i < _SECTION_MAX; i++) {
                if (strcmp(section, section_names[i]) != 0)
                        continue;
                if (p->sections & 1u << i)
                        return diag_set(p->reterr, -ENOTUNIQ, p->file, p->line, "section [%s] is given twice",
                                        section);
                if (p->sections == 0 && i != SECTION_CHANNEL)
                        return diag_set(p->reterr, -EBADMSG, p->file, p->line, "section [channel] must come first");
                if (i == SECTION_CHANNEL)
                        p->channel->line = p->line;
                p->sections |= 1u << i;
                return 0;
        }
        return diag_set(p->reterr, -EBADMSG, p->file, p->line, "unknown section [%s]", section);
}

static int parse_text_key(struct parser *p, const char *key, const char *value)
{
        static const struct {
                const char *key;
                size_t offset;
                bool is_url;
        } keys[] = {
                {"id", offsetof(struct channel, id), false},
                {"name", offsetof(struct channel, name), false},
                {"vendor", offsetof(struct channel, vendor), false},
                {"homepage", offsetof(struct channel, homepage), true},
                {"source", offsetof(struct channel, source), true},
        };

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                if (strcmp(key, keys[i].key) != 0)
                        continue;
                char **field = (char **)((char *)p->channel + keys[i].offset);
                if (*field)
                        return diag_set(p->reterr, -ENOTUNIQ, p->file, p->line, "key '%s' is given twice", key);
                if (value[0] == '\0')
                        return diag_set(p->reterr, -EBADMSG, p->file, p->line, "key '%s' is empty", key);
                if (keys[i].is_url && !text_starts_with(value, "https://") && !text_starts_with(value, "http://"))
                        return diag_set(p->reterr, -EBADMSG, p->file, p->line, "key '%s': '%s' is not a URL", key,
                                        value);
                *field = strdup(value);
                return *field ? 0 : -ENOMEM;
        }
        return diag_set(p->reterr, -EBADMSG, p->file, p->line, "unknown key '%s' in section [channel]", key);
}

static int parse_channel_key(struct parser *p, const char *key, const char *value)
{
        unsigned bit = strcmp(key, "category") == 0 ? SEEN_CATEGORY : strcmp(key, "checked") == 0 ? SEEN_CHECKED : 0;

        if (bit == 0)
                return parse_text_key(p, key, value);
        if (p->seen & bit)
                return diag_set(p->reterr, -ENOTUNIQ, p->file, p->line, "key '%s' is given twice", key);
        p->seen |= bit;
        if (bit == SEEN_CATEGORY && category_from_string(value, &p->channel->category) < 0)
                return diag_set(p->reterr, -EBADMSG, p->file, p->line, "unknown category '%s'", value);
        if (bit == SEEN_CHECKED && date_parse(value, &p->channel->checked) < 0)
                return diag_set(p->reterr, -EBADMSG, p->file, p->line, "'%s' is not a date such as 2026-11-21",
                                value);
        return 0;
}

static int channel_add_entry(struct parser *p, const struct entry *e)
{
        struct channel *c = p->channel;

        if (c->n_entries == p->allocated) {
                size_t n = p->allocated ? 2 * p->allocated : 16;
                struct entry *entries = reallocarray(c->entries, n, sizeof(*entries));
                if (!entries)
                        return -ENOMEM;
                c->entries = entries;
                p->allocated = n;
        }
        c->entries[c->n_entries++] = *e;
        return 0;
}

static int parse_entry(struct parser *p, enum entry_kind kind, const char *value)
{
        const char *why = NULL;
        struct entry e;

        int r = entry_parse(kind, value, &e, &why);
        if (r < 0)
                return why ? diag_set(p->reterr, r, p->file, p->line, "%s: '%s' %s", entry_kind_to_string(kind),
                                      value, why)
                           : r;
        e.line = p->line;
        r = channel_add_entry(p, &e);
        if (r < 0)
                free(e.value);
        return r;
}

static int parse_key(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                     struct diag *reterr)
{
        struct parser *p = userdata;

        p->line = line;
        p->reterr = reterr;
        if (!name)
                return parse_section(p, section);
        if (strcmp(section, section_names[SECTION_CHANNEL]) == 0)
                return parse_channel_key(p, name, value);
        for (unsigned k = 0; k < _ENTRY_KIND_MAX; k++)
                if (strcmp(name, entry_kind_to_string(k)) == 0 &&
                    strcmp(section, section_names[kind_sections[k]]) == 0)
                        return parse_entry(p, k, value);
        return diag_set(reterr, -EBADMSG, p->file, line, "unknown key '%s' in section [%s]", name, section);
}

static int check_required(const struct parser *p, struct diag *reterr)
{
        const struct channel *c = p->channel;
        const struct {
                const char *key;
                bool given;
        } required[] = {
                {"id", c->id},
                {"name", c->name},
                {"category", p->seen & SEEN_CATEGORY},
                {"homepage", c->homepage},
                {"checked", p->seen & SEEN_CHECKED},
                {"source", c->source},
        };

        for (size_t i = 0; i < ELEMENTSOF(required); i++)
                if (!required[i].given)
                        return diag_set(reterr, -EBADMSG, p->file, c->line,
                                        "key '%s' is missing from section [channel]", required[i].key);
        if (!channel_id_is_valid(c->id))
                return diag_set(reterr, -EBADMSG, p->file, c->line,
                                "id '%s' must be 1 to %d of a-z, 0-9 and '-', not '-' first", c->id, CHANNEL_ID_MAX);
        size_t n = strlen(c->id);
        if (strncmp(p->file, c->id, n) != 0 || strcmp(p->file + n, CHANNEL_FILE_SUFFIX) != 0)
                return diag_set(reterr, -EBADMSG, p->file, c->line, "id '%s' must be the file's base name", c->id);
        return 0;
}

static bool is_below_suffix(const struct channel *c, const struct entry *e)
{
        for (size_t i = 0; i < c->n_entries; i++) {
                const struct entry *s = &c->entries[i];
                size_t n = strlen(e->value), m = strlen(s->value);

                if (s->kind == ENTRY_SUFFIX && n > m && e->value[n - m - 1] == '.' &&
                    text_ends_with(e->value, s->value))
                        return true;
        }
        return false;
}

/* Else a file could take names from other channels. */
static int check_exceptions(const struct channel *c, const char *file, struct diag *reterr)
{
        for (size_t i = 0; i < c->n_entries; i++)
                if (c->entries[i].kind == ENTRY_EXCEPT && !is_below_suffix(c, &c->entries[i]))
                        return diag_set(reterr, -EBADMSG, file, c->entries[i].line,
                                        "except: '%s' is below no suffix of this channel", c->entries[i].value);
        return 0;
}

int channel_parse(const struct catalogue_source *source, struct channel *ret, struct diag *reterr)
{
        _cleanup_channel_ struct channel c = {};
        struct parser p = {.file = source->file, .channel = &c};

        int r = ini_parse_text(source->text, source->size, source->file, parse_key, &p, reterr);
        if (r < 0)
                return r;
        r = check_required(&p, reterr);
        if (r == 0)
                r = check_exceptions(&c, source->file, reterr);
        if (r < 0)
                return r;
        c.file = strdup(source->file);
        if (!c.file)
                return -ENOMEM;
        *ret = c;
        c = (struct channel){};
        return 0;
}

int channel_compare(const void *a, const void *b)
{
        return strcmp(((const struct channel *)a)->id, ((const struct channel *)b)->id);
}

int catalogue_parse_files(const struct catalogue_source *sources, size_t n_sources, struct catalogue **ret,
                          struct diag *reterr)
{
        size_t total = 0;

        if (n_sources > CATALOGUE_CHANNELS_MAX)
                return diag_set(reterr, -E2BIG, NULL, 0, "more than %d channels", CATALOGUE_CHANNELS_MAX);
        for (size_t i = 0; i < n_sources; i++)
                if (__builtin_add_overflow(total, sources[i].size, &total) || total > CATALOGUE_MAX_BYTES)
                        return diag_set(reterr, -E2BIG, sources[i].file, 0, "the catalogue is larger than %u bytes",
                                        CATALOGUE_MAX_BYTES);

        _cleanup_catalogue_ struct catalogue *c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->channels = calloc(n_sources ? n_sources : 1, sizeof(*c->channels));
        if (!c->channels)
                return -ENOMEM;
        for (size_t i = 0; i < n_sources; i++) {
                int r = channel_parse(&sources[i], &c->channels[i], reterr);
                if (r < 0)
                        return r;
                c->n_channels++;
        }
        qsort(c->channels, c->n_channels, sizeof(*c->channels), channel_compare);
        int r = catalogue_check_unique(c, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}
