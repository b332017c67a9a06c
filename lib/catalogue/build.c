/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The built file: a [catalogue] head, then each channel file whole behind a [file] head. A
 * line "[file]" cannot stand in a channel file, whose parser knows no such section. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/ini.h"
#include "base/io.h"
#include "base/text.h"
#include "catalogue/internal.h"

#define VERSION_MAX    32
#define FILE_NAME_SIZE (CHANNEL_ID_MAX + sizeof(CHANNEL_FILE_SUFFIX))
#define FILE_MARK      "[file]"
#define NAME_MARK      "name = "
#define OWN_PREFIX     "policy/"

static bool version_is_valid(const char *s)
{
        size_t n = strspn(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.+~-");
        return n > 0 && n <= VERSION_MAX && s[n] == '\0';
}

static int compare_files(const void *a, const void *b)
{
        return strcmp((*(const struct catalogue_source *const *)a)->file,
                      (*(const struct catalogue_source *const *)b)->file);
}

/* Each channel file whole behind its head, in the order of names whatever the locale. */
static int add_files(struct buf *b, const struct catalogue_source *sources, size_t n)
{
        _cleanup_free_ const struct catalogue_source **order = calloc(n ? n : 1, sizeof(*order));

        if (!order)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                order[i] = &sources[i];
        qsort(order, n, sizeof(*order), compare_files);
        for (size_t i = 0; i < n; i++) {
                buf_addf(b, FILE_MARK "\n" NAME_MARK "%s\n", order[i]->file);
                buf_add(b, order[i]->text, order[i]->size);
                if (order[i]->size == 0 || order[i]->text[order[i]->size - 1] != '\n')
                        buf_add_string(b, "\n");
        }
        return buf_error(b);
}

int catalogue_build(const struct catalogue_source *sources, size_t n_sources, const char *version, uint64_t serial,
                    char **ret, size_t *ret_size, struct diag *reterr)
{
        _cleanup_catalogue_ struct catalogue *c = NULL;
        _cleanup_buf_ struct buf b = {};

        if (!version_is_valid(version) || serial == 0)
                return diag_set(reterr, -EBADMSG, NULL, 0,
                                "a catalogue needs a version such as 2026.11.21 and a serial from 1");
        int r = catalogue_parse_files(sources, n_sources, &c, reterr);
        if (r < 0)
                return r;
        buf_addf(&b, "[catalogue]\nformat = %d\nversion = %s\nserial = %" PRIu64 "\n", CATALOGUE_FORMAT, version,
                 serial);
        r = add_files(&b, sources, n_sources);
        if (r < 0)
                return r;
        if (b.size > CATALOGUE_MAX_BYTES)
                return diag_set(reterr, -E2BIG, NULL, 0, "the catalogue is larger than %u bytes",
                                CATALOGUE_MAX_BYTES);
        *ret_size = b.size;
        *ret = buf_take(&b);
        return 0;
}

struct head {
        const char *file;
        char version[VERSION_MAX + 1];
        uint64_t format;
        uint64_t serial;
};

static int parse_head_key(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                          struct diag *reterr)
{
        struct head *h = userdata;
        bool first = false;
        int r = 0;

        if (strcmp(section, "catalogue") != 0)
                return diag_set(reterr, -EBADMSG, h->file, line, "unknown section [%s]", section);
        if (!name)
                return 0;
        if (strcmp(name, "format") == 0) {
                first = h->format == 0;
                r = parse_u64(value, UINT32_MAX, &h->format);
                if (r == 0 && h->format != CATALOGUE_FORMAT)
                        return diag_set(reterr, -EBADMSG, h->file, line, "format %s is not known, %d is", value,
                                        CATALOGUE_FORMAT);
        } else if (strcmp(name, "version") == 0) {
                first = h->version[0] == '\0';
                r = version_is_valid(value) ? 0 : -EINVAL;
                if (r == 0)
                        strcpy(h->version, value);
        } else if (strcmp(name, "serial") == 0) {
                first = h->serial == 0;
                r = parse_u64(value, INT64_MAX, &h->serial);
        } else {
                return diag_set(reterr, -EBADMSG, h->file, line, "unknown key '%s' in section [catalogue]", name);
        }
        if (!first)
                return diag_set(reterr, -ENOTUNIQ, h->file, line, "key '%s' is given twice", name);
        return r < 0 ? diag_set(reterr, -EBADMSG, h->file, line, "%s: '%s' is malformed", name, value) : 0;
}

struct line {
        const char *text;
        size_t size; /* without the newline */
};

/* The line at *pos, which moves behind it; false at the end. */
static bool next_line(const char **pos, const char *end, struct line *ret)
{
        if (*pos == end)
                return false;
        const char *newline = memchr(*pos, '\n', (size_t)(end - *pos));
        *ret = (struct line){*pos, (size_t)((newline ? newline : end) - *pos)};
        *pos = newline ? newline + 1 : end;
        return true;
}

static bool line_is(const struct line *l, const char *s)
{
        return l->size == strlen(s) && memcmp(l->text, s, l->size) == 0;
}

struct split {
        const char *file;
        size_t head_size;
        size_t n_sources;
        char (*names)[FILE_NAME_SIZE];
        struct catalogue_source *sources;
};

static void split_done(struct split *s)
{
        free(s->names);
        free(s->sources);
}

static bool file_name_copy(const struct line *l, char ret[static FILE_NAME_SIZE])
{
        size_t mark = strlen(NAME_MARK), size = l->size - mark, suffix = strlen(CHANNEL_FILE_SUFFIX);

        if (l->size <= mark + suffix || size >= FILE_NAME_SIZE || memcmp(l->text, NAME_MARK, mark) != 0)
                return false;
        memcpy(ret, l->text + mark, size);
        ret[size] = '\0';
        if (!text_ends_with(ret, CHANNEL_FILE_SUFFIX))
                return false;
        ret[size - suffix] = '\0';
        bool valid = channel_id_is_valid(ret);
        ret[size - suffix] = '.';
        return valid;
}

/* Room for every [file] head of the text, at least one. */
static int split_allocate(struct split *s, const char *pos, const char *end, struct diag *reterr)
{
        struct line l;
        size_t n = 0;

        while (next_line(&pos, end, &l))
                n += line_is(&l, FILE_MARK);
        if (n > CATALOGUE_CHANNELS_MAX)
                return diag_set(reterr, -E2BIG, s->file, 0, "more than %d channels", CATALOGUE_CHANNELS_MAX);
        s->names = calloc(n ? n : 1, sizeof(*s->names));
        s->sources = calloc(n ? n : 1, sizeof(*s->sources));
        return s->names && s->sources ? 0 : -ENOMEM;
}

static int split_text(struct split *s, const char *text, const char *end, struct diag *reterr)
{
        const char *pos = text;
        struct line l;
        unsigned line = 0;

        int r = split_allocate(s, text, end, reterr);
        if (r < 0)
                return r;
        s->head_size = (size_t)(end - text);
        while (next_line(&pos, end, &l)) {
                line++;
                if (!line_is(&l, FILE_MARK)) {
                        if (s->n_sources > 0)
                                s->sources[s->n_sources - 1].size = (size_t)(pos - s->sources[s->n_sources - 1].text);
                        continue;
                }
                if (s->n_sources == 0)
                        s->head_size = (size_t)(l.text - text);
                size_t i = s->n_sources++;
                line++;
                if (!next_line(&pos, end, &l) || !file_name_copy(&l, s->names[i]))
                        return diag_set(reterr, -EBADMSG, s->file, line,
                                        "'" NAME_MARK "ID" CHANNEL_FILE_SUFFIX "' must follow " FILE_MARK);
                if (i > 0 && strcmp(s->names[i - 1], s->names[i]) >= 0)
                        return diag_set(reterr, -EBADMSG, s->file, line, "file '%s' is not in the order of names",
                                        s->names[i]);
                s->sources[i] = (struct catalogue_source){.file = s->names[i], .text = pos};
        }
        return 0;
}

int catalogue_parse_built(const char *text, size_t size, const char *file, struct catalogue **ret,
                          struct diag *reterr)
{
        _cleanup_(split_done) struct split s = {.file = file};
        struct head h = {.file = file};
        struct catalogue *c;

        if (size > CATALOGUE_MAX_BYTES)
                return diag_set(reterr, -E2BIG, file, 0, "larger than %u bytes", CATALOGUE_MAX_BYTES);
        int r = split_text(&s, text, text + size, reterr);
        if (r < 0)
                return r;
        r = ini_parse_text(text, s.head_size, file, parse_head_key, &h, reterr);
        if (r < 0)
                return r;
        if (h.format == 0 || h.version[0] == '\0' || h.serial == 0)
                return diag_set(reterr, -EBADMSG, file, 0, "section [catalogue] lacks its format, version or serial");
        r = catalogue_parse_files(s.sources, s.n_sources, &c, reterr);
        if (r < 0)
                return r;
        c->serial = h.serial;
        c->version = strdup(h.version);
        if (!c->version) {
                catalogue_free(c);
                return -ENOMEM;
        }
        *ret = c;
        return 0;
}

int catalogue_parse_own(const char *text, size_t size, const char *file, struct catalogue **ret, struct diag *reterr)
{
        _cleanup_(split_done) struct split s = {.file = file};
        _cleanup_catalogue_ struct catalogue *c = NULL;

        int r = split_text(&s, text, text + size, reterr);
        if (r < 0)
                return r;
        if (s.n_sources == 0) {
                *ret = NULL;
                return 0;
        }
        r = catalogue_parse_files(s.sources, s.n_sources, &c, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < c->n_channels; i++) {
                char *name = format_new(OWN_PREFIX "%s", c->channels[i].file);
                if (!name)
                        return -ENOMEM;
                free(c->channels[i].file);
                c->channels[i].file = name;
        }
        *ret = TAKE_PTR(c);
        return 0;
}

int catalogue_embed(const char *policy, size_t policy_size, const struct catalogue_source *sources, size_t n_sources,
                    char **ret, size_t *ret_size, struct diag *reterr)
{
        _cleanup_catalogue_ struct catalogue *c = NULL;
        _cleanup_buf_ struct buf b = {};
        const char *pos = policy;
        struct line l;

        while (next_line(&pos, policy + policy_size, &l))
                if (line_is(&l, FILE_MARK))
                        return diag_set(reterr, -EEXIST, NULL, 0, "the policy holds channel files already");
        int r = catalogue_parse_files(sources, n_sources, &c, reterr);
        if (r < 0)
                return r;
        buf_add(&b, policy, policy_size);
        if (policy_size > 0 && policy[policy_size - 1] != '\n')
                buf_add_string(&b, "\n");
        r = add_files(&b, sources, n_sources);
        if (r < 0)
                return r;
        *ret_size = b.size;
        *ret = buf_take(&b);
        return 0;
}
