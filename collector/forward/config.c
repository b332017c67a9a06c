/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "collector/forward/forward.h"
#include "collector/forward/private.h"

static const char *const forms[_FORWARD_FORM_MAX] = {
        [FORWARD_HEC] = "hec",       [FORWARD_ELASTIC] = "elastic", [FORWARD_NDJSON] = "ndjson",
        [FORWARD_SYSLOG] = "syslog", [FORWARD_CEF] = "cef",
};

void forward_configs_done(struct forward_configs *c)
{
        for (size_t i = 0; i < c->n; i++) {
                free(c->items[i].url);
                free(c->items[i].ca);
                free(c->items[i].certificate);
                free(c->items[i].key);
                free(c->items[i].token);
        }
        *c = (struct forward_configs){0};
}

static int section_begin(struct forward_configs *c, const struct forward_key *k, struct diag *reterr)
{
        struct forward_config *f;

        if (strlen(k->section) >= FORWARD_NAME_MAX || !*k->section)
                return diag_set(reterr, -EBADMSG, k->file, k->line, "a destination's name has 1 to %d letters",
                                FORWARD_NAME_MAX - 1);
        for (const char *p = k->section; *p; p++)
                if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
                        return diag_set(reterr, -EBADMSG, k->file, k->line,
                                        "a destination's name has letters, digits, '-' and '_' only");
        for (size_t i = 0; i < c->n; i++)
                if (strcmp(c->items[i].name, k->section) == 0)
                        return diag_set(reterr, -ENOTUNIQ, k->file, k->line,
                                        "[forward %s] is there twice, see line %u", k->section, c->items[i].line);
        if (c->n == FORWARD_MAX)
                return diag_set(reterr, -E2BIG, k->file, k->line, "more than %d destinations", FORWARD_MAX);
        f = &c->items[c->n++];
        *f = (struct forward_config){.line = k->line};
        strcpy(f->name, k->section);
        return 0;
}

static int set_form(struct forward_config *f, const struct forward_key *k, struct diag *reterr)
{
        if (f->has_form)
                return diag_set(reterr, -ENOTUNIQ, k->file, k->line, "'form' is given twice");
        for (size_t i = 0; i < _FORWARD_FORM_MAX; i++)
                if (strcmp(forms[i], k->value) == 0) {
                        f->form = (enum forward_form)i;
                        f->has_form = true;
                        return 0;
                }
        return diag_set(reterr, -EBADMSG, k->file, k->line, "form is hec, elastic, ndjson, syslog or cef, not '%s'",
                        k->value);
}

static int set_coverage(struct forward_config *f, const struct forward_key *k, struct diag *reterr)
{
        if (f->has_coverage)
                return diag_set(reterr, -ENOTUNIQ, k->file, k->line, "'coverage' is given twice");
        if (strcmp(k->value, "yes") != 0 && strcmp(k->value, "no") != 0)
                return diag_set(reterr, -EBADMSG, k->file, k->line, "coverage is yes or no, not '%s'", k->value);
        f->coverage = *k->value == 'y';
        f->has_coverage = true;
        return 0;
}

static int set_since(struct forward_config *f, const struct forward_key *k, struct diag *reterr)
{
        time_t t;

        if (f->since_ms)
                return diag_set(reterr, -ENOTUNIQ, k->file, k->line, "'since' is given twice");
        if (time_or_date_parse(k->value, &t) < 0)
                return diag_set(reterr, -EBADMSG, k->file, k->line,
                                "since is a date or time such as 2026-11-21 or 2026-11-21T00:00:00Z, not '%s'",
                                k->value);
        f->since_ms = (uint64_t)t * 1000;
        return 0;
}

int forward_config_set(struct forward_configs *c, const struct forward_key *k, struct diag *reterr)
{
        struct forward_config *f = c->n > 0 ? &c->items[c->n - 1] : NULL;
        const struct {
                const char *name;
                char **text;
                int (*set)(struct forward_config *f, const struct forward_key *k, struct diag *reterr);
        } keys[] = {
                {"form", NULL, set_form},          {"url", f ? &f->url : NULL, NULL},
                {"ca", f ? &f->ca : NULL, NULL},   {"certificate", f ? &f->certificate : NULL, NULL},
                {"key", f ? &f->key : NULL, NULL}, {"token", f ? &f->token : NULL, NULL},
                {"coverage", NULL, set_coverage},  {"since", NULL, set_since},
        };

        if (!k->key)
                return section_begin(c, k, reterr);
        for (size_t i = 0; f && i < ELEMENTSOF(keys); i++) {
                if (strcmp(keys[i].name, k->key) != 0)
                        continue;
                if (keys[i].set)
                        return keys[i].set(f, k, reterr);
                if (*keys[i].text)
                        return diag_set(reterr, -ENOTUNIQ, k->file, k->line, "'%s' is given twice", k->key);
                return (*keys[i].text = strdup(k->value)) ? 0 : -ENOMEM;
        }
        return diag_set(reterr, -EBADMSG, k->file, k->line, "unknown key '%s' in [forward %s]", k->key, k->section);
}

static int file_check(const char *path, bool secret, const char *what, struct diag *d)
{
        struct stat st;

        if (!path)
                return 0;
        if (stat(path, &st) < 0)
                return diag_set(d, -EBADMSG, d->file, d->line, "%s '%s': %s", what, path, strerror(errno));
        if (secret && (st.st_mode & 077) != 0)
                return diag_set(d, -EBADMSG, d->file, d->line, "%s '%s' can be read by others: chmod 600", what,
                                path);
        return 0;
}

static int config_check(const struct forward_config *f, struct diag *d)
{
        const char *scheme = form_is_http(f->form) ? "https://" : "tls://";
        int r;

        if (!f->has_form || !f->url)
                return diag_set(d, -EBADMSG, d->file, d->line, "[forward %s] has no '%s'", f->name,
                                f->has_form ? "url" : "form");
        if (!text_starts_with(f->url, scheme) || strlen(f->url) == strlen(scheme))
                return diag_set(d, -EBADMSG, d->file, d->line, "[forward %s]: the url of form %s begins with %s",
                                f->name, forms[f->form], scheme);
        if (f->token && !form_is_http(f->form))
                return diag_set(d, -EBADMSG, d->file, d->line, "[forward %s]: form %s has no token", f->name,
                                forms[f->form]);
        if (!f->certificate != !f->key)
                return diag_set(d, -EBADMSG, d->file, d->line, "[forward %s]: certificate and key go together",
                                f->name);
        r = file_check(f->ca, false, "ca", d);
        if (r == 0)
                r = file_check(f->certificate, false, "certificate", d);
        if (r == 0)
                r = file_check(f->key, true, "key", d);
        return r < 0 ? r : file_check(f->token, true, "token", d);
}

int forward_configs_check(const struct forward_configs *c, const char *file, struct diag *reterr)
{
        for (size_t i = 0; i < c->n; i++) {
                struct diag d = {.line = c->items[i].line};
                int r;

                snprintf(d.file, sizeof(d.file), "%s", file);
                r = config_check(&c->items[i], &d);
                if (r < 0) {
                        if (reterr)
                                *reterr = d;
                        return r;
                }
        }
        return 0;
}
