/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/authoring.h"

#include <string.h>

#include "base/text.h"
#include "cli/catalogue.h"

#define DEVICES_MAX_BYTES (16u << 20)

void draft_done(struct draft *d)
{
        policy_free(d->policy);
        catalogue_free(d->own);
        free(d->text);
        *d = (struct draft){0};
}

int draft_parse(const struct cli *c, struct draft *d)
{
        struct diag diag = {0};
        int r;

        r = policy_parse(d->text, d->size, d->file, &d->policy, &diag);
        if (r >= 0)
                r = catalogue_parse_own(d->text, d->size, d->file, &d->own, &diag);
        return r < 0 ? cli_fail_diag(c, &diag, r) : STATUS_OK;
}

int draft_read(const struct cli *c, const char *path, struct draft *ret)
{
        int r = read_input(c, path, POLICY_MAX_BYTES, &ret->text, &ret->size);

        ret->file = path;
        return r == STATUS_OK ? draft_parse(c, ret) : r;
}

int draft_check_own(const struct cli *c, const struct draft *d)
{
        json_auto_t *list = c->json ? json_array() : NULL;
        unsigned warnings;
        int r, errors = 0;

        r = d->own ? check_catalogue(c, d->own, list, &errors, &warnings) : STATUS_OK;
        if (r == STATUS_OK && errors > 0 && c->json)
                print_json(json_pack("{s:b,s:s,s:O}", "ok", 0, "error", "the policy's own channels are refused",
                                     "findings", list));
        return r == STATUS_OK && errors > 0 ? STATUS_FAILED : r;
}

void devices_done(struct devices *d)
{
        free(d->list);
        free(d->words);
        free(d->text);
        *d = (struct devices){0};
}

int devices_read(const struct cli *c, const char *path, struct devices *ret)
{
        size_t size, n_lines = 1, n_words = 0;
        char *rest = NULL, *save;
        int r;

        r = read_input(c, path, DEVICES_MAX_BYTES, &ret->text, &size);
        if (r != STATUS_OK)
                return r;
        for (size_t i = 0; i < size; i++)
                n_lines += ret->text[i] == '\n';
        ret->list = calloc(n_lines, sizeof(*ret->list));
        ret->words = calloc(size / 2 + n_lines + 1, sizeof(*ret->words)); /* a word and what parts it are two bytes */
        if (!ret->list || !ret->words)
                return cli_fail(c, STATUS_FAILED, "out of memory");
        for (char *line = strtok_r(ret->text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
                struct review_device *d = &ret->list[ret->n];

                line[strcspn(line, "#")] = '\0';
                d->name = strtok_r(line, " \t\r", &save);
                if (!d->name)
                        continue;
                ret->n++;
                d->tags = (const char *const *)&ret->words[n_words];
                while ((ret->words[n_words] = strtok_r(NULL, " \t\r", &save)))
                        n_words++;
                n_words++;
        }
        return ret->n ? STATUS_OK : cli_fail(c, STATUS_FAILED, "'%s' names no device", path);
}

int time_read(const struct cli *c, const char *text, time_t *ret)
{
        if (!text)
                *ret = time(NULL);
        else if (time_parse(text, ret) < 0)
                return cli_fail(c, STATUS_FAILED, "'%s' is no time like 2027-02-21T00:00:00Z", text);
        return STATUS_OK;
}

/* Cuts "NAME:WORD:WORD" into its words; the name, NULL for "-". */
static const char *split(char *text, char *words[static AUDIENCE_WORDS_MAX + 1])
{
        char *rest = text ? strchr(text, ':') : NULL;

        for (size_t n = 0; rest && n < AUDIENCE_WORDS_MAX; n++) {
                *rest++ = '\0';
                words[n] = rest;
                rest = strchr(rest, ':');
        }
        return text && *text && strcmp(text, "-") != 0 ? text : NULL;
}

int draft_compile(const struct cli *c, const struct draft *d, const struct catalogue *catalogue,
                  const struct audience *a, struct ruleset **ret)
{
        _cleanup_free_ char *device = a->device ? strdup(a->device) : NULL, *login = a->user ? strdup(a->user) : NULL;
        char *tags[AUDIENCE_WORDS_MAX + 1] = {0}, *groups[AUDIENCE_WORDS_MAX + 1] = {0};
        struct rules_member members[AUDIENCE_WORDS_MAX];
        const struct rules_user user = {split(login, groups), AUDIENCE_UID};
        struct rules_input in = {.catalogue = catalogue,
                                 .own = d->own,
                                 .policy = d->policy,
                                 .policy_file = d->file,
                                 .device = split(device, tags),
                                 .tags = tags,
                                 .now = a->now,
                                 .users = &user,
                                 .n_users = user.name ? 1 : 0,
                                 .members = members};
        struct diag diag = {0};
        int r;

        if ((a->device && !device) || (a->user && !login))
                return cli_fail(c, STATUS_FAILED, "out of memory");
        for (; groups[in.n_members]; in.n_members++)
                members[in.n_members] = (struct rules_member){groups[in.n_members], AUDIENCE_UID};
        r = rules_compile(&in, ret, &diag);
        return r < 0 ? cli_fail_diag(c, &diag, r) : STATUS_OK;
}
