/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/api/offer.h"
#include <errno.h>
#include <fnmatch.h>
#include <sodium.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "trust/trust.h"

#define TRUSTED "\ntrusted comment: "

void offer_done(struct offer *o)
{
        free(o->json);
        exemption_free(o->exemption);
        *o = (struct offer){0};
}

static int file_error(struct diag *reterr, int r, const char *file)
{
        return diag_set(reterr, r, file, 0, "cannot read it: %s", strerror(-r));
}

/* The first trusted comment, without its line's end; NULL. */
static char *comment_new(const char *minisig)
{
        const char *at = strstr(minisig, TRUSTED);

        return at ? strndup(at + strlen(TRUSTED), strcspn(at + strlen(TRUSTED), "\r\n")) : NULL;
}

static int serial_parse(const char *comment, const char *kind, uint64_t *ret)
{
        const char *at = strstr(comment, " serial=");
        char number[24];

        if (!text_starts_with(comment, kind) || !at)
                return -EBADMSG;
        at += strlen(" serial=");
        snprintf(number, sizeof(number), "%.*s", (int)strspn(at, "0123456789"), at);
        return parse_u64(number, UINT64_MAX, ret);
}

/* A section of that name in the text of a policy, before an organisation's own channels. */
static bool has_trust(const char *text)
{
        const char *end = strstr(text, "\n[file]");

        for (const char *at = text; (at = strstr(at, "[trust]")) && (!end || at < end); at++)
                if (at == text || at[-1] == '\n')
                        return true;
        return false;
}

static int judge(const char *part, const char *file, const char *text, const char *comment, struct offer *o,
                 struct diag *reterr)
{
        int r;

        if (strcmp(part, OFFER_EXEMPTION) == 0) {
                r = exemption_parse(text, strlen(text), file, &o->exemption, reterr);
                return r < 0 ? r : exemption_comment_check(o->exemption, comment, file, reterr);
        }
        r = serial_parse(comment, strcmp(part, OFFER_POLICY) == 0 ? "onchannel policy " : "onchannel catalogue ",
                         &o->serial);
        if (r < 0)
                return diag_set(reterr, -EBADMSG, file, 0, "its signature is not that of a %s", part);
        o->has_trust = strcmp(part, OFFER_POLICY) == 0 && has_trust(text);
        return 0;
}

int offer_make(const char *part, const struct offer_texts *t, struct offer *ret, struct diag *reterr)
{
        _cleanup_free_ char *comment = NULL, *path = format_new("%s.minisig", t->name);
        _cleanup_(offer_done) struct offer o = {0};
        json_auto_t *pair = NULL;
        int r;

        if (!path)
                return -ENOMEM;
        if (!text_is_utf8(t->text, t->size) || memchr(t->text, 0, t->size))
                return diag_set(reterr, -EBADMSG, t->name, 0, "not UTF-8 text");
        if (!text_is_utf8(t->signature, t->signature_size) || memchr(t->signature, 0, t->signature_size) ||
            !text_starts_with(t->signature, "untrusted comment:") || !(comment = comment_new(t->signature)))
                return diag_set(reterr, -EBADMSG, path, 0, "not a signature of minisign");
        trust_comment_cut(comment);
        r = judge(part, t->name, t->text, comment, &o, reterr);
        if (r < 0)
                return r;
        pair = json_pack("{s:s%,s:s%}", "file", t->text, t->size, "minisig", t->signature, t->signature_size);
        o.json = pair ? json_dumps(pair, JSON_COMPACT) : NULL;
        if (!o.json)
                return -ENOMEM;
        *ret = o;
        o = (struct offer){0};
        return 0;
}

int offer_read(const char *part, const char *file, struct offer *ret, struct diag *reterr)
{
        _cleanup_free_ char *text = NULL, *signature = NULL, *path = format_new("%s.minisig", file);
        size_t max = strcmp(part, OFFER_CATALOGUE) == 0 ? OFFER_FILE_MAX : OFFER_POLICY_MAX;
        struct offer_texts t = {.name = file};
        int r;

        if (!path)
                return -ENOMEM;
        r = file_read(file, max, &text, &t.size);
        if (r < 0)
                return file_error(reterr, r, file);
        r = file_read(path, OFFER_SIGNATURE_MAX, &signature, &t.signature_size);
        if (r < 0)
                return file_error(reterr, r, path);
        t.text = text;
        t.signature = signature;
        return offer_make(part, &t, ret, reterr);
}

int offer_kept(struct store *s, const char *part, char **ret_json, uint64_t *ret_serial)
{
        _cleanup_free_ char *json = NULL, *comment = NULL;
        json_auto_t *pair = NULL;
        int r = store_bundle_get(s, part, &json);

        if (r < 0)
                return r;
        pair = json_loads(json, 0, NULL);
        comment = comment_new(json_string_value(json_object_get(pair, "minisig")) ?: "");
        if (!comment || serial_parse(comment, "onchannel ", ret_serial) < 0)
                *ret_serial = 0;
        *ret_json = TAKE_PTR(json);
        return 0;
}

/* ---- who gets it ---- */

void rollout_done(struct rollout *r)
{
        for (size_t i = 0; i < r->n_patterns; i++)
                free(r->patterns[i]);
        *r = (struct rollout){0};
}

int rollout_parse(const char *json, struct rollout *ret)
{
        _cleanup_(rollout_done) struct rollout x = {0};
        json_auto_t *o = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
        json_int_t serial, back, base, share, since;
        json_t *patterns, *p;
        size_t i;

        if (!o || json_unpack(o, "{s:I,s:I,s:I,s:I,s:I,s:o}", "serial", &serial, "back", &back, "base", &base,
                              "per_mille", &share, "since", &since, "devices", &patterns) < 0)
                return -EBADMSG;
        x.serial = (uint64_t)serial;
        x.back = (uint64_t)back;
        x.base = (uint64_t)base;
        x.since_ms = (uint64_t)since;
        x.per_mille = (unsigned)share;
        json_array_foreach(patterns, i, p)
        {
                if (x.n_patterns == ROLLOUT_PATTERNS_MAX || !json_is_string(p))
                        return -EBADMSG;
                x.patterns[x.n_patterns] = strdup(json_string_value(p));
                if (!x.patterns[x.n_patterns])
                        return -ENOMEM;
                x.n_patterns++;
        }
        *ret = x;
        x = (struct rollout){0};
        return 0;
}

static json_t *patterns_json(const struct rollout *r)
{
        json_t *list = json_array();

        for (size_t i = 0; i < r->n_patterns; i++)
                json_array_append_new(list, json_string(r->patterns[i]));
        return list;
}

json_t *rollout_json(const struct rollout *r)
{
        return json_pack("{s:I,s:I,s:I,s:i,s:I,s:o}", "serial", (json_int_t)r->serial, "back", (json_int_t)r->back,
                         "base", (json_int_t)r->base, "per_mille", (int)r->per_mille, "since",
                         (json_int_t)r->since_ms, "devices", patterns_json(r));
}

char *rollout_format(const struct rollout *r)
{
        json_auto_t *o = rollout_json(r);

        return o ? json_dumps(o, JSON_COMPACT) : NULL;
}

bool rollout_has(const struct rollout *r, const char *id, const char *name)
{
        uint8_t hash[crypto_generichash_BYTES_MIN];
        uint32_t number;

        crypto_generichash(hash, sizeof(hash), (const uint8_t *)id, strlen(id), (const uint8_t *)"onchannel-rollout",
                           strlen("onchannel-rollout"));
        memcpy(&number, hash, sizeof(number));
        if (number % 1000 < r->per_mille)
                return true;
        for (size_t i = 0; i < r->n_patterns; i++)
                if (fnmatch(r->patterns[i], name, 0) == 0)
                        return true;
        return false;
}
