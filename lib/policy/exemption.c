/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy/exemption.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "base/buf.h"
#include "base/ini.h"
#include "base/io.h"
#include "base/text.h"

static const char *const kind_names[] = {
        [EXEMPTION_GRANT] = "exemption",
        [EXEMPTION_BREAK_GLASS] = "break-glass",
        [EXEMPTION_REVOCATION] = "revocation",
};
_Static_assert(ELEMENTSOF(kind_names) == _EXEMPTION_KIND_MAX, "a kind without a name");

#define GRANT  (1u << EXEMPTION_GRANT)
#define GLASS  (1u << EXEMPTION_BREAK_GLASS)
#define REVOKE (1u << EXEMPTION_REVOCATION)
#define EVERY  (GRANT | GLASS | REVOKE)
#define AT(f)  offsetof(struct exemption, f)

const struct exemption_key exemption_keys[] = {
        {"id", AT(id), EXEMPTION_ID, EVERY, EVERY},
        {"channel", AT(channels), EXEMPTION_LIST, GRANT, GRANT},
        {"device", AT(devices), EXEMPTION_LIST, GRANT | GLASS, GLASS},
        {"user", AT(users), EXEMPTION_LIST, GRANT, 0},
        {"unixgroup", AT(unixgroups), EXEMPTION_LIST, GRANT, 0},
        {"revokes", AT(revokes), EXEMPTION_LIST, REVOKE, REVOKE},
        {"from", AT(from), EXEMPTION_TIME, GRANT | GLASS, GRANT | GLASS},
        {"until", AT(until), EXEMPTION_TIME, GRANT | GLASS, GRANT | GLASS},
        {"reason", AT(reason), EXEMPTION_TEXT, EVERY, EVERY},
        {"approver", AT(approver), EXEMPTION_TEXT, EVERY, EVERY},
        {0},
};

const char *exemption_kind_to_string(enum exemption_kind k)
{
        return kind_names[k];
}

static void *field(struct exemption *e, const struct exemption_key *k)
{
        return (char *)e + k->offset;
}

static const void *field_of(const struct exemption *e, const struct exemption_key *k)
{
        return (const char *)e + k->offset;
}

struct exemption *exemption_free(struct exemption *e)
{
        for (const struct exemption_key *k = exemption_keys; e && k->name; k++) {
                if (k->type == EXEMPTION_LIST)
                        for (char **s = *(char ***)field(e, k); s && *s; s++)
                                free(*s);
                if (k->type != EXEMPTION_TIME)
                        free(*(void **)field(e, k));
        }
        free(e);
        return NULL;
}

bool exemption_id_is_valid(const char *id)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

        return *id && !strchr("-_.", *id) && !id[strspn(id, letters)] && strlen(id) <= EXEMPTION_ID_MAX;
}

void exemption_id_make(enum exemption_kind kind, time_t now, uint32_t random, char ret[static EXEMPTION_ID_MAX + 1])
{
        static const char *const prefixes[] = {
                [EXEMPTION_GRANT] = "EX", [EXEMPTION_BREAK_GLASS] = "BG", [EXEMPTION_REVOCATION] = "RV"};
        char day[TIME_TEXT_MAX];

        _Static_assert(ELEMENTSOF(prefixes) == _EXEMPTION_KIND_MAX, "a kind without a prefix");
        time_format(now, day);
        snprintf(ret, EXEMPTION_ID_MAX + 1, "%s-%.4s%.2s%.2s-%08x", prefixes[kind], day, day + 5, day + 8, random);
}

struct parser {
        struct exemption *exemption;
        const char *file;
        struct diag *reterr;
        unsigned section_line; /* 0 before it */
        unsigned line;
        bool has_format;
};

#define REFUSE(t, r, ...) diag_set((t)->reterr, r, (t)->file, (t)->line, __VA_ARGS__)

static int section_open(struct parser *t, const char *name)
{
        if (t->section_line)
                return REFUSE(t, -ENOTUNIQ, "a second section: one file, one exemption");
        t->section_line = t->line;
        for (enum exemption_kind k = 0; k < _EXEMPTION_KIND_MAX; k++)
                if (!strcmp(name, kind_names[k])) {
                        t->exemption->kind = k;
                        return 0;
                }
        return REFUSE(t, -EBADMSG, "unknown section '[%s]'", name);
}

static int add_to_list(struct parser *t, const struct exemption_key *k, const char *value)
{
        char ***list = field(t->exemption, k), **larger;
        size_t n = 0;

        if (strpbrk(value, " \t"))
                return REFUSE(t, -EBADMSG, "'%s' holds a blank: one name a line", value);
        if (k->offset == AT(revokes) && !exemption_id_is_valid(value))
                return REFUSE(t, -EBADMSG, "'%s' is no id", value);
        while (*list && (*list)[n])
                n++;
        if (n == EXEMPTION_LINES_MAX)
                return REFUSE(t, -E2BIG, "more than %d lines '%s'", EXEMPTION_LINES_MAX, k->name);
        larger = reallocarray(*list, n + 2, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        *list = larger;
        larger[n + 1] = NULL;
        larger[n] = strdup(value);
        return larger[n] ? 0 : -ENOMEM;
}

static int set_text(struct parser *t, const struct exemption_key *k, const char *value)
{
        char **text = field(t->exemption, k);

        if (*text)
                return REFUSE(t, -ENOTUNIQ, "'%s' given twice", k->name);
        if (k->type == EXEMPTION_ID && !exemption_id_is_valid(value))
                return REFUSE(t, -EBADMSG, "'%s' is no id: at most %d letters, digits, '-', '_' and '.'", value,
                              EXEMPTION_ID_MAX);
        *text = strdup(value);
        return *text ? 0 : -ENOMEM;
}

static int set_time(struct parser *t, const struct exemption_key *k, const char *value)
{
        time_t *at = field(t->exemption, k);

        if (*at)
                return REFUSE(t, -ENOTUNIQ, "'%s' given twice", k->name);
        if (time_parse(value, at) < 0 || *at <= 0)
                return REFUSE(t, -EBADMSG, "'%s' is no time like 2027-02-21T00:00:00Z", value);
        return 0;
}

static int set_format(struct parser *t, const char *value)
{
        if (t->has_format)
                return REFUSE(t, -ENOTUNIQ, "'format' given twice");
        if (strcmp(value, "1"))
                return REFUSE(t, -EBADMSG, "unknown format '%s': this program reads format %d", value,
                              EXEMPTION_FORMAT);
        t->has_format = true;
        return 0;
}

static int take(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                struct diag *reterr)
{
        struct parser *t = userdata;

        t->line = line;
        if (!name)
                return section_open(t, section);
        if (!t->section_line)
                return REFUSE(t, -EBADMSG, "key '%s' before the section", name);
        if (!*value)
                return REFUSE(t, -EBADMSG, "'%s' without a value", name);
        if (!strcmp(name, "format"))
                return set_format(t, value);
        for (const struct exemption_key *k = exemption_keys; k->name; k++) {
                if (strcmp(k->name, name) || !(k->kinds & 1u << t->exemption->kind))
                        continue;
                switch (k->type) {
                case EXEMPTION_ID:
                case EXEMPTION_TEXT:
                        return set_text(t, k, value);
                case EXEMPTION_LIST:
                        return add_to_list(t, k, value);
                case EXEMPTION_TIME:
                        return set_time(t, k, value);
                }
        }
        return REFUSE(t, -EBADMSG, "unknown key '%s' in [%s]", name, kind_names[t->exemption->kind]);
}

static bool is_absent(const struct exemption *e, const struct exemption_key *k)
{
        const void *at = field_of(e, k);

        return k->type == EXEMPTION_TIME ? *(const time_t *)at == 0 : !*(void *const *)at;
}

static int check(const struct parser *t)
{
        const struct exemption *e = t->exemption;
        const unsigned bit = 1u << e->kind;
        const bool glass = e->kind == EXEMPTION_BREAK_GLASS;
        const time_t longest = glass ? BREAK_GLASS_HOURS_MAX * 3600 : EXEMPTION_DAYS_MAX * 86400;

        if (!t->section_line)
                return diag_set(t->reterr, -EBADMSG, t->file, 0,
                                "no section [exemption], [break-glass] or [revocation]");
        if (!t->has_format)
                return diag_set(t->reterr, -EBADMSG, t->file, t->section_line, "without 'format'");
        for (const struct exemption_key *k = exemption_keys; k->name; k++)
                if (k->required & bit && is_absent(e, k))
                        return diag_set(t->reterr, -EBADMSG, t->file, t->section_line, "[%s] without '%s'",
                                        kind_names[e->kind], k->name);
        if (e->kind == EXEMPTION_REVOCATION)
                return 0;
        if (e->until <= e->from)
                return diag_set(t->reterr, -EBADMSG, t->file, t->section_line, "ends before it begins");
        if (e->until - e->from > longest)
                return diag_set(t->reterr, -ERANGE, t->file, t->section_line, "lasts longer than %d %s",
                                glass ? BREAK_GLASS_HOURS_MAX : EXEMPTION_DAYS_MAX, glass ? "hours" : "days");
        if (glass && e->devices[1])
                return diag_set(t->reterr, -EBADMSG, t->file, t->section_line, "[break-glass] is for one device");
        if (!glass && !e->devices && !e->users && !e->unixgroups) /* everyone everywhere: that is a policy's to say */
                return diag_set(t->reterr, -EBADMSG, t->file, t->section_line,
                                "[exemption] without 'device', 'user' or 'unixgroup'");
        return 0;
}

int exemption_parse(const char *text, size_t size, const char *file, struct exemption **ret, struct diag *reterr)
{
        _cleanup_exemption_ struct exemption *e = NULL;
        struct parser t = {.file = file, .reterr = reterr};
        int r;

        if (size > EXEMPTION_MAX_BYTES)
                return diag_set(reterr, -E2BIG, file, 0, "larger than %u bytes", EXEMPTION_MAX_BYTES);
        t.exemption = e = calloc(1, sizeof(*e));
        if (!e)
                return -ENOMEM;
        r = ini_parse_text(text, size, file, take, &t, reterr);
        if (r >= 0)
                r = check(&t);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(e);
        return 0;
}

/* Behind a space a semicolon begins a comment. */
static void add_text(struct buf *b, const char *key, const char *text)
{
        buf_addf(b, *text == ';' ? "%s =%s\n" : "%s = %s\n", key, text);
}

static void format_key(struct buf *b, const struct exemption *e, const struct exemption_key *k)
{
        const void *at = field_of(e, k);
        char text[TIME_TEXT_MAX];

        if (is_absent(e, k))
                return;
        switch (k->type) {
        case EXEMPTION_ID:
        case EXEMPTION_TEXT:
                add_text(b, k->name, *(char *const *)at);
                return;
        case EXEMPTION_LIST:
                for (char *const *s = *(char **const *)at; *s; s++)
                        add_text(b, k->name, *s);
                return;
        case EXEMPTION_TIME:
                buf_addf(b, "%s = %s\n", k->name, time_format(*(const time_t *)at, text));
                return;
        }
}

static bool is_same(const struct exemption *a, const struct exemption *b)
{
        for (const struct exemption_key *k = exemption_keys; k->name; k++) {
                const void *x = field_of(a, k), *y = field_of(b, k);
                char *const *s, *const *t;

                if (is_absent(a, k) || is_absent(b, k)) {
                        if (is_absent(a, k) != is_absent(b, k))
                                return false;
                } else if (k->type == EXEMPTION_TIME) {
                        if (*(const time_t *)x != *(const time_t *)y)
                                return false;
                } else if (k->type != EXEMPTION_LIST) {
                        if (strcmp(*(char *const *)x, *(char *const *)y) != 0)
                                return false;
                } else {
                        for (s = *(char **const *)x, t = *(char **const *)y; *s && *t && !strcmp(*s, *t); s++, t++)
                                ;
                        if (*s || *t)
                                return false;
                }
        }
        return a->kind == b->kind;
}

int exemption_format(const struct exemption *e, char **ret)
{
        _cleanup_exemption_ struct exemption *again = NULL;
        _cleanup_buf_ struct buf b = {0};

        buf_addf(&b, "[%s]\nformat = %d\n", kind_names[e->kind], EXEMPTION_FORMAT);
        for (const struct exemption_key *k = exemption_keys; k->name; k++)
                format_key(&b, e, k);
        if (buf_error(&b) < 0)
                return -ENOMEM;
        if (exemption_parse((const char *)b.data, b.size, "", &again, NULL) < 0 || !is_same(e, again))
                return -EINVAL;
        *ret = buf_take(&b);
        return 0;
}

int exemption_comment_new(const struct exemption *e, char **ret)
{
        char until[TIME_TEXT_MAX];
        char *comment;

        if (e->kind == EXEMPTION_REVOCATION)
                comment = format_new("onchannel %s id=%s", kind_names[e->kind], e->id);
        else
                comment = format_new("onchannel %s id=%s until=%s", kind_names[e->kind], e->id,
                                     time_format(e->until, until));
        if (!comment)
                return -ENOMEM;
        *ret = comment;
        return 0;
}

int exemption_comment_check(const struct exemption *e, const char *comment, const char *file, struct diag *reterr)
{
        _cleanup_free_ char *expected = NULL;
        int r;

        r = exemption_comment_new(e, &expected);
        if (r < 0)
                return r;
        if (strcmp(comment, expected) != 0)
                return diag_set(
                        reterr, -EBADMSG, file, 0,
                        "trusted comment '%s' of the signature does not agree with the file, which needs '%s'",
                        comment, expected);
        return 0;
}

bool exemption_has_device(const struct exemption *e, const char *name, const char *id)
{
        if (!e->devices)
                return true;
        for (char **d = e->devices; *d; d++)
                if (!strcmp(*d, id) || (e->kind == EXEMPTION_GRANT && fnmatch(*d, name, 0) == 0))
                        return true;
        return false;
}

bool exemption_is_for_everyone(const struct exemption *e)
{
        return !e->users && !e->unixgroups;
}
