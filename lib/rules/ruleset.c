/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "rules/internal.h"

static const char *const class_names[] = {
        [CLASS_USE] = "use",
        [CLASS_BYPASS] = "bypass",
        [CLASS_TAMPER] = "tamper",
        [CLASS_EXEMPTION_USE] = "exemption-use",
};
_Static_assert(ELEMENTSOF(class_names) == _VIOLATION_CLASS_MAX, "a violation class has no name");

const char *violation_class_to_string(enum violation_class c)
{
        return c < _VIOLATION_CLASS_MAX ? class_names[c] : NULL;
}

const char *rules_storage_add(struct rules_storage *s, const char *text)
{
        if (!text)
                return NULL;
        size_t size = strlen(text) + 1;
        struct rules_string *string = malloc(sizeof(*string) + size);
        if (!string)
                return NULL;
        string->next = s->strings;
        memcpy(string->text, text, size);
        s->strings = string;
        return string->text;
}

void rules_storage_free(struct rules_storage *s)
{
        if (!s)
                return;
        while (s->strings) {
                struct rules_string *next = s->strings->next;
                free(s->strings);
                s->strings = next;
        }
        free(s->names);
        free(s->prefixes);
        free(s->programs);
        free(s->patterns);
        free(s);
}

struct ruleset *ruleset_free(struct ruleset *r)
{
        if (!r)
                return NULL;
        rules_storage_free(r->storage);
        free(r->channels);
        free(r->entries);
        free(r->exemptions);
        free(r);
        return NULL;
}

static int compare_exemption(const void *key, const void *element)
{
        const struct rule_exemption *a = key, *b = element;
        if (a->channel != b->channel)
                return a->channel < b->channel ? -1 : 1;
        return a->uid < b->uid ? -1 : a->uid > b->uid;
}

const struct rule_exemption *rules_find_exemption(const struct ruleset *r, uint16_t channel, uid_t uid)
{
        const struct rule_exemption key = {.channel = channel, .uid = uid};

        return r->n_exemptions ? bsearch(&key, r->exemptions, r->n_exemptions, sizeof(key), compare_exemption) : NULL;
}

const char *rules_exempted_by(const struct ruleset *r, uint16_t channel, uid_t uid)
{
        const struct rule_exemption *e = rules_find_exemption(r, channel, uid);

        return e ? e->id : r->channels[channel].exemption;
}

enum verdict rules_verdict(const struct ruleset *r, uint16_t channel, uid_t uid)
{
        if (channel == 0 || channel >= r->n_channels)
                return VERDICT_ALLOW;
        const struct rule_exemption *e = rules_find_exemption(r, channel, uid);
        return e ? e->verdict : r->channels[channel].verdict;
}
