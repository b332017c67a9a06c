/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/ini.h"
#include "base/text.h"
#include "policy/exemption.h"
#include "policy/internal.h"
#include "policy/keys.h"

#define POLICY_GROUPS_MAX   256
#define POLICY_CHANNELS_MAX 1000 /* as many as a catalogue may hold */
#define POLICY_MEMBERS_MAX  4096 /* of one group, devices and users each */
#define POLICY_NAME_MAX     32 /* of a channel or group: [a-z0-9][a-z0-9-]* */
#define POLICY_SERIAL_MAX   ((UINT64_C(1) << 53) - 1) /* RFC 8259 6: what every JSON reader keeps exactly */

struct parser {
        struct policy *policy;
        const char *file;
        struct diag *reterr;
        unsigned line;
        enum policy_section section; /* that is open */
        const char *kind; /* its name for people; NULL before the first */
        unsigned section_line;
        unsigned policy_line; /* of [policy]; 0 before */
        uint64_t seen; /* keys of the section, by index in policy_keys */
        unsigned group_line[POLICY_CHANNELS_MAX]; /* where channel i names its group */
};

/* Says what is wrong with the value of the key at hand. */
#define REFUSE(t, r, ...) diag_set((t)->reterr, r, (t)->file, (t)->line, __VA_ARGS__)

static struct policy_group *last_group(struct parser *t)
{
        return &t->policy->groups[t->policy->n_groups - 1];
}

static struct policy_channel *last_channel(struct parser *t)
{
        return &t->policy->channels[t->policy->n_channels - 1];
}

static int set_string(char **field, const char *value)
{
        *field = strdup(value);
        return *field ? 0 : -ENOMEM;
}

static int set_format(struct parser *t, const char *value)
{
        if (strcmp(value, "1") != 0)
                return REFUSE(t, -EBADMSG, "unknown format '%s': this program reads format %d", value, POLICY_FORMAT);
        return 0;
}

static int set_serial(struct parser *t, uint64_t *field, const char *value)
{
        if (parse_u64(value, POLICY_SERIAL_MAX, field) < 0 || *field == 0)
                return REFUSE(t, -EBADMSG, "'%s' is no serial number from 1 to %llu", value,
                              (unsigned long long)POLICY_SERIAL_MAX);
        return 0;
}

static int set_time(struct parser *t, time_t *field, const char *value)
{
        if (time_parse(value, field) < 0)
                return REFUSE(t, -EBADMSG, "'%s' is no time like 2027-02-21T00:00:00Z", value);
        return 0;
}

static int set_choice(struct parser *t, const struct policy_choice *c, void *field, const char *value)
{
        char words[POLICY_VALUE_MAX];

        for (unsigned i = 0; i < c->n; i++)
                if (strcmp(value, c->words[i]) == 0) {
                        memcpy(field, &(unsigned){c->first + i}, sizeof(unsigned));
                        return 0;
                }
        return REFUSE(t, -EBADMSG, "unknown %s '%s': %s", c->what, value, policy_choice_format(c, words));
}

/* The address is shown to employees as a link: nothing but http(s), a host, printable ASCII. */
static bool is_web_address(const char *value)
{
        const char *host = text_starts_with(value, "https://")  ? value + 8
                           : text_starts_with(value, "http://") ? value + 7
                                                                : NULL;

        if (!host || !*host || strchr("/:?#@", *host))
                return false;
        for (const char *p = host; *p; p++)
                if (*p <= ' ' || *p > '~' || strchr("\"<>\\^`{|}", *p)) /* RFC 3986 2 */
                        return false;
        return true;
}

static int set_url(struct parser *t, char **field, const char *value)
{
        if (!is_web_address(value))
                return REFUSE(t, -EBADMSG, "'%s' is no http or https address", value);
        return set_string(field, value);
}

static int add_to_list(struct parser *t, char ***list, const char *value)
{
        size_t n = 0;
        char **larger;

        while (*list && (*list)[n])
                n++;
        if (n >= POLICY_MEMBERS_MAX)
                return REFUSE(t, -E2BIG, "more than %d in one %s", POLICY_MEMBERS_MAX,
                              t->section == POLICY_SECTION_GROUP ? "group" : "section");
        larger = reallocarray(*list, n + 2, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        *list = larger;
        larger[n + 1] = NULL;
        return set_string(&larger[n], value);
}

static int add_member(struct parser *t, char ***list, const char *value)
{
        if (strpbrk(value, " \t"))
                return REFUSE(t, -EBADMSG, "'%s' holds a blank: one name a line", value);
        return add_to_list(t, list, value);
}

static int set_count(struct parser *t, uint64_t *field, const char *value)
{
        if (parse_u64(value, TRUST_SIGNATURES_MAX, field) < 0 || *field == 0)
                return REFUSE(t, -EBADMSG, "'%s' is no number from 1 to %d", value, TRUST_SIGNATURES_MAX);
        return 0;
}

static int add_key(struct parser *t, char ***list, const char *value)
{
        struct trust_key key;

        if (trust_key_from_base64(value, &key) < 0)
                return REFUSE(t, -EBADMSG, "'%s' is no public key: the second line of a .pub file", value);
        return add_member(t, list, value);
}

static int add_revoked(struct parser *t, char ***list, const char *value)
{
        struct trust_revoked v;

        if (policy_revoked_key_parse(value, &v) < 0)
                return REFUSE(t, -EBADMSG,
                              "'%s' is no key id like E7620F1842B4E81F, with or without a time behind it", value);
        return add_to_list(t, list, value);
}

static int add_id(struct parser *t, char ***list, const char *value)
{
        if (!exemption_id_is_valid(value))
                return REFUSE(t, -EBADMSG, "'%s' is no id of an exemption", value);
        return add_to_list(t, list, value);
}

static void *section_at(struct parser *t)
{
        switch (t->section) {
        case POLICY_SECTION_POLICY:
        case POLICY_SECTION_TRUST:
                return t->policy;
        case POLICY_SECTION_GROUP:
                return last_group(t);
        case POLICY_SECTION_CHANNEL:
                return last_channel(t);
        case _POLICY_SECTION_MAX:
                break;
        }
        return NULL;
}

static int set_key(struct parser *t, const struct policy_key *k, const char *value)
{
        void *field = (char *)section_at(t) + k->offset;

        switch (k->type) {
        case POLICY_TYPE_FORMAT:
                return set_format(t, value);
        case POLICY_TYPE_SERIAL:
                return set_serial(t, field, value);
        case POLICY_TYPE_TIME:
                return set_time(t, field, value);
        case POLICY_TYPE_CHOICE:
                return set_choice(t, k->choice, field, value);
        case POLICY_TYPE_URL:
                return set_url(t, field, value);
        case POLICY_TYPE_PATTERN:
        case POLICY_TYPE_LOGIN:
                return add_member(t, field, value);
        case POLICY_TYPE_GROUP:
                t->group_line[t->policy->n_channels - 1] = t->line;
                return set_string(field, value);
        case POLICY_TYPE_TEXT:
                return set_string(field, value);
        case POLICY_TYPE_KEY:
                return add_key(t, field, value);
        case POLICY_TYPE_KEY_ID:
                return add_revoked(t, field, value);
        case POLICY_TYPE_ID:
                return add_id(t, field, value);
        case POLICY_TYPE_COUNT:
                return set_count(t, field, value);
        case _POLICY_TYPE_MAX:
                break;
        }
        return -EINVAL;
}

/* Called when a section ends: at the next one, and at the end of the file. */
static int section_close(struct parser *t)
{
        int r = 0;

        for (unsigned i = 0; t->kind && r == 0 && policy_keys[i].name; i++) {
                const struct policy_key *k = &policy_keys[i];

                if (k->section != t->section || (t->seen & UINT64_C(1) << i))
                        continue;
                if (k->flags & POLICY_KEY_REQUIRED)
                        return diag_set(t->reterr, -EBADMSG, t->file, t->section_line, "%s without '%s'", t->kind,
                                        k->name);
                if (k->standard)
                        r = set_key(t, k, k->standard);
        }
        /* It would mean everyone, which hardly anyone means who writes a group. */
        if (t->kind && t->section == POLICY_SECTION_GROUP && !t->seen)
                return diag_set(t->reterr, -EBADMSG, t->file, t->section_line,
                                "group without 'device', 'tag', 'user' or 'unixgroup'");
        return r;
}

static int policy_open(struct parser *t)
{
        if (t->policy_line > 0)
                return REFUSE(t, -ENOTUNIQ, "[policy] given twice, first in line %u", t->policy_line);
        t->policy_line = t->policy->line = t->line;
        t->section = POLICY_SECTION_POLICY;
        t->kind = "[policy]";
        return 0;
}

static int trust_open(struct parser *t)
{
        if (t->policy->trust_line > 0)
                return REFUSE(t, -ENOTUNIQ, "[trust] given twice, first in line %u", t->policy->trust_line);
        t->policy->trust_line = t->line;
        t->section = POLICY_SECTION_TRUST;
        t->kind = "[trust]";
        return 0;
}

static int name_check(struct parser *t, const char *name)
{
        if (!*name || *name == '-' || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")])
                return REFUSE(t, -EBADMSG, "'%s' is no name: lower-case letters, digits and '-'", name);
        if (strlen(name) > POLICY_NAME_MAX)
                return REFUSE(t, -EBADMSG, "name '%s' longer than %d bytes", name, POLICY_NAME_MAX);
        return 0;
}

static int group_open(struct parser *t, const char *name)
{
        struct policy *p = t->policy;
        struct policy_group *larger;
        int r;

        r = name_check(t, name);
        if (r < 0)
                return r;
        for (size_t i = 0; i < p->n_groups; i++)
                if (strcmp(p->groups[i].name, name) == 0)
                        return REFUSE(t, -ENOTUNIQ, "[group %s] given twice, first in line %u", name,
                                      p->groups[i].line);
        if (p->n_groups >= POLICY_GROUPS_MAX)
                return REFUSE(t, -E2BIG, "more than %d groups", POLICY_GROUPS_MAX);
        larger = reallocarray(p->groups, p->n_groups + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        p->groups = larger;
        larger[p->n_groups++] = (struct policy_group){.line = t->line};
        t->section = POLICY_SECTION_GROUP;
        t->kind = "group";
        return set_string(&last_group(t)->name, name);
}

static int channel_open(struct parser *t, const char *id)
{
        struct policy *p = t->policy;
        struct policy_channel *larger;
        int r;

        r = name_check(t, id);
        if (r < 0)
                return r;
        for (size_t i = 0; i < p->n_channels; i++)
                if (strcmp(p->channels[i].id, id) == 0)
                        return REFUSE(t, -ENOTUNIQ, "[channel %s] given twice, first in line %u", id,
                                      p->channels[i].line);
        if (p->n_channels >= POLICY_CHANNELS_MAX)
                return REFUSE(t, -E2BIG, "more than %d channels", POLICY_CHANNELS_MAX);
        larger = reallocarray(p->channels, p->n_channels + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        p->channels = larger;
        larger[p->n_channels++] = (struct policy_channel){.line = t->line, .verdict = VERDICT_BLOCK};
        t->section = POLICY_SECTION_CHANNEL;
        t->kind = "channel";
        return set_string(&last_channel(t)->id, id);
}

static int section_open(struct parser *t, const char *section)
{
        int r;

        r = section_close(t);
        if (r < 0)
                return r;
        t->seen = 0;
        t->section_line = t->line;
        if (strcmp(section, "policy") == 0)
                return policy_open(t);
        if (strcmp(section, "trust") == 0)
                return trust_open(t);
        if (text_starts_with(section, "group "))
                return group_open(t, section + strlen("group "));
        if (text_starts_with(section, "channel "))
                return channel_open(t, section + strlen("channel "));
        return REFUSE(t, -EBADMSG, "unknown section '[%s]'", section);
}

/* The lines that decide about channels without a section of their own. */
static void remember_line(struct parser *t, const struct policy_key *k)
{
        if (t->section != POLICY_SECTION_POLICY)
                return;
        if (k->offset == offsetof(struct policy, unlisted))
                t->policy->unlisted_line = t->line;
        else if (k->offset == offsetof(struct policy, bypass))
                t->policy->bypass_line = t->line;
}

static int take(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                struct diag *reterr)
{
        struct parser *t = userdata;

        t->line = line;
        if (!name)
                return section_open(t, section);
        if (!t->kind)
                return REFUSE(t, -EBADMSG, "key '%s' before the first section", name);
        const struct policy_key *k = policy_key_find(t->section, name);
        if (!k)
                return REFUSE(t, -EBADMSG, "unknown key '%s' in %s", name, t->kind);
        const uint64_t bit = UINT64_C(1) << (k - policy_keys);
        if (!(k->flags & POLICY_KEY_REPEATED) && (t->seen & bit))
                return REFUSE(t, -ENOTUNIQ, "'%s' given twice", name);
        if (!*value)
                return REFUSE(t, -EBADMSG, "'%s' without a value", name);
        t->seen |= bit;
        remember_line(t, k);
        return set_key(t, k, value);
}

static bool is_group(const struct policy *p, const char *name)
{
        for (size_t i = 0; i < p->n_groups; i++)
                if (strcmp(p->groups[i].name, name) == 0)
                        return true;
        return false;
}

static int policy_check(struct parser *t)
{
        const struct policy *p = t->policy;
        int r;

        r = section_close(t);
        if (r < 0)
                return r;
        if (t->policy_line == 0)
                return diag_set(t->reterr, -EBADMSG, t->file, 0, "no [policy] section");
        if (p->expires <= p->not_before)
                return diag_set(t->reterr, -EBADMSG, t->file, t->policy_line, "expires before it begins");
        for (size_t i = 0; i < p->n_channels; i++)
                if (p->channels[i].group && !is_group(p, p->channels[i].group))
                        return diag_set(t->reterr, -ENOENT, t->file, t->group_line[i], "group '%s' is not defined",
                                        p->channels[i].group);
        return 0;
}

/* What comes before the first line POLICY_FILES_MARK. */
static size_t head_size(const char *text, size_t size)
{
        const size_t n = strlen(POLICY_FILES_MARK);
        const char *end = size ? text + size : text;

        for (const char *line = text, *newline; line < end; line = newline ? newline + 1 : end) {
                newline = memchr(line, '\n', (size_t)(end - line));
                if ((size_t)(end - line) >= n && memcmp(line, POLICY_FILES_MARK, n) == 0 &&
                    ((size_t)(end - line) == n || line[n] == '\n'))
                        return (size_t)(line - text);
        }
        return size;
}

int policy_parse(const char *text, size_t size, const char *file, struct policy **ret, struct diag *reterr)
{
        _cleanup_policy_ struct policy *p = NULL;
        struct parser t = {.file = file, .reterr = reterr};
        int r;

        if (size > POLICY_MAX_BYTES)
                return diag_set(reterr, -E2BIG, file, 0, "policy larger than %u bytes", POLICY_MAX_BYTES);
        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        t.policy = p;
        r = ini_parse_text(text, head_size(text, size), file, take, &t, reterr);
        if (r < 0)
                return r;
        r = policy_check(&t);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}
