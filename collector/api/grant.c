/* SPDX-License-Identifier: GPL-3.0-or-later */
/* POST /api/v1/exemptions: an admin grants or revokes. The text is made here; it is signed here as well where the firm lets the
 * collector hold an exemption key, else on another machine between …/text and …/signed.
 *
 * The key's password is asked each time. It and the secret key are in locked memory that no core dump has, while the worker
 * signs, and are wiped then. */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "collector/api/offer.h"
#include "collector/api/private.h"
#include "trust/trust.h"

#define FAILURES_PER_USER 5 /* in LIMITER_WINDOW_MS */
#define FAILURES_OVERALL  20
#define ALL_KEY           "x:"
#define USER_KEY_MAX      (STORE_NAME_MAX + 2)
#define PASSWORD_MAX      256
#define DETAIL_MAX        1024

static const char *user_key_format(const char *user, char ret[static USER_KEY_MAX])
{
        snprintf(ret, USER_KEY_MAX, ALL_KEY "%s", user);
        return ret;
}

/* ---- the text ---- */

static int list_set(char ***ret, const json_t *v)
{
        size_t n = json_array_size(v), i;
        const json_t *one;

        if (!json_is_array(v) || n > EXEMPTION_LINES_MAX)
                return -EINVAL;
        if (n == 0)
                return 0;
        *ret = calloc(n + 1, sizeof(**ret));
        if (!*ret)
                return -ENOMEM;
        json_array_foreach(v, i, one)
        {
                if (!json_is_string(one))
                        return -EINVAL;
                (*ret)[i] = strdup(json_string_value(one));
                if (!(*ret)[i])
                        return -ENOMEM;
        }
        return 0;
}

/* 1: not a key of such a file, or not one that is for others to set. */
static int member_set(struct exemption *e, const char *name, const json_t *v)
{
        for (const struct exemption_key *k = exemption_keys; k->name; k++) {
                void *at = (char *)e + k->offset;

                if (strcmp(k->name, name) != 0 || k->type == EXEMPTION_ID || strcmp(name, "approver") == 0 ||
                    !(k->kinds & 1u << e->kind))
                        continue;
                if (k->type == EXEMPTION_LIST)
                        return list_set(at, v);
                if (k->type == EXEMPTION_TIME) {
                        *(time_t *)at = (time_t)(json_integer_value(v) / 1000);
                        return json_is_integer(v) ? 0 : -EINVAL;
                }
                *(char **)at = strdup(json_string_value(v) ?: "");
                return !json_is_string(v) ? -EINVAL : *(char **)at ? 0 : -ENOMEM;
        }
        return 1;
}

static int refused(struct diag *reterr, const char *why)
{
        return diag_set(reterr, -EBADMSG, NULL, 0, "%s", why);
}

static int sense(const struct exemption *e, struct diag *reterr)
{
        if (!e->reason || !*e->reason)
                return refused(reterr, "a reason is needed");
        if (e->kind == EXEMPTION_REVOCATION)
                return e->revokes ? 0 : refused(reterr, "what is revoked?");
        if (!e->channels)
                return refused(reterr, "which channel?");
        if (!e->users && !e->unixgroups && !e->devices)
                return refused(reterr, "for whom? a user, a group or a device is needed");
        if (e->until <= e->from || e->until <= (time_t)(clock_utc_ms() / 1000))
                return refused(reterr, "it would be over already");
        return 0;
}

struct draft {
        struct exemption *exemption;
        char *text, *comment;
};

static void draft_done(struct draft *d)
{
        exemption_free(d->exemption);
        free(d->text);
        free(d->comment);
}

static int draft_format(struct draft *d, struct diag *reterr)
{
        int r = exemption_format(d->exemption, &d->text);

        if (r == -EINVAL)
                return diag_set(
                        reterr, -EBADMSG, NULL, 0,
                        "agents would refuse that: at most %d days, ids and names without blanks, texts of one "
                        "line without ' ;'",
                        EXEMPTION_DAYS_MAX);
        return r < 0 ? r : exemption_comment_new(d->exemption, &d->comment);
}

/* What the body asks for, approved by whoever is signed in. */
static int draft_make(const json_t *body, const char *user, struct draft *ret, struct diag *reterr)
{
        const char *kind = json_string_value(json_object_get(body, "kind")) ?: "", *name;
        char id[EXEMPTION_ID_MAX + 1];
        struct exemption *e;
        json_t *v;
        int r;

        ret->exemption = e = calloc(1, sizeof(*e));
        if (!e)
                return -ENOMEM;
        e->kind = strcmp(kind, "revocation") == 0 ? EXEMPTION_REVOCATION : EXEMPTION_GRANT;
        if (strcmp(kind, exemption_kind_to_string(e->kind)) != 0)
                return diag_set(reterr, -EBADMSG, NULL, 0, "kind is exemption or revocation");
        json_object_foreach((json_t *)body, name, v)
        {
                if (strcmp(name, "kind") == 0 || strcmp(name, "password") == 0 || strcmp(name, "request") == 0)
                        continue;
                r = member_set(e, name, v);
                if (r == -ENOMEM)
                        return r;
                if (r != 0)
                        return diag_set(reterr, -EBADMSG, NULL, 0, "%.40s is not known or not valid", name);
        }
        if (e->kind == EXEMPTION_GRANT && !e->from)
                e->from = (time_t)(clock_utc_ms() / 1000);
        exemption_id_make(e->kind, time(NULL), randombytes_random(), id);
        e->id = strdup(id);
        e->approver = strdup(user);
        if (!e->id || !e->approver)
                return -ENOMEM;
        r = sense(e, reterr);
        return r < 0 ? r : draft_format(ret, reterr);
}

void page_grant_text(struct http_request *req)
{
        _cleanup_(draft_done) struct draft draft = {0};
        struct store_session session;
        json_auto_t *o = NULL;
        struct diag d = {0};
        int r;

        if (!page_may_change(req, &session) || !(o = request_json(req)))
                return;
        r = draft_make(o, session.user, &draft, &d);
        if (r < 0)
                reply_errno(req, r, &d);
        else
                reply_json(req, 200,
                           json_pack("{s:s,s:s,s:s}", "id", draft.exemption->id, "text", draft.text, "comment",
                                     draft.comment));
}

/* ---- handing out ---- */

struct handed {
        const struct offer *offer;
        const char *user;
        struct store_answer answer; /* device 0: to no request */
};

/* Who, when, why: an entry of the audit trail; the file itself names the people. */
static int hand_out(struct api *a, struct handed *h)
{
        const struct exemption *e = h->offer->exemption;
        _cleanup_free_ char *part = format_new(OFFER_EXEMPTION "%s", e->id);
        char detail[DETAIL_MAX], until[TIME_TEXT_MAX];
        int r = part ? store_bundle_put(a->store, part, h->offer->json) : -ENOMEM;

        if (e->kind == EXEMPTION_REVOCATION)
                snprintf(detail, sizeof(detail), "%s revokes %s%s: %s", e->id, e->revokes[0],
                         e->revokes[1] ? ", …" : "", e->reason);
        else
                snprintf(detail, sizeof(detail), "%s until %s: %s", e->id, time_format(e->until, until), e->reason);
        if (r == 0)
                r = store_audit_add(a->store, &(struct store_audit){
                                                      clock_utc_ms(), h->user,
                                                      e->kind == EXEMPTION_REVOCATION ? "revoke" : "grant", detail});
        if (r == 0 && h->answer.device) {
                h->answer.time_ms = clock_utc_ms();
                h->answer.who = h->user;
                h->answer.exemption = e->id;
                h->answer.reason = e->reason;
                r = store_answer_add(a->store, &h->answer);
        }
        return r;
}

static void hand_out_reply(struct http_request *req, struct handed *h, const struct diag *d)
{
        int r = hand_out(api_of(req), h);

        if (r < 0)
                reply_errno(req, r, d);
        else
                reply_after_commit(req, 200, json_pack("{s:s}", "id", h->offer->exemption->id));
}

/* The same id only with the same text: with another signature to it. */
static int is_other(struct api *a, const struct offer *o)
{
        _cleanup_free_ char *part = format_new(OFFER_EXEMPTION "%s", o->exemption->id), *kept = NULL;
        json_auto_t *before = NULL, *after = NULL;
        int r = part ? store_bundle_get(a->store, part, &kept) : -ENOMEM;

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        before = json_loads(kept, 0, NULL);
        after = json_loads(o->json, 0, NULL);
        return !json_equal(json_object_get(before, "file"), json_object_get(after, "file"));
}

void page_grant_signed(struct http_request *req)
{
        _cleanup_(offer_done) struct offer offer = {0};
        struct store_session session;
        struct handed h = {&offer, session.user, {0}};
        struct offer_texts t = {.name = "the file"};
        json_auto_t *o = NULL;
        struct diag d = {0};
        int r;

        if (!page_may_change(req, &session) || !(o = request_json(req)))
                return;
        if (json_unpack_ex(o, NULL, JSON_STRICT, "{s:s%,s:s%}", "file", &t.text, &t.size, "minisig", &t.signature,
                           &t.signature_size) < 0) {
                reply_error(req, 400, "exactly file and minisig are needed");
                return;
        }
        r = offer_make(OFFER_EXEMPTION, &t, &offer, &d);
        if (r == 0)
                r = is_other(api_of(req), &offer);
        if (r > 0)
                reply_error(req, 409, "another exemption has that id");
        else if (r < 0)
                reply_errno(req, r, &d);
        else
                hand_out_reply(req, &h, &d);
}

/* ---- signing ---- */

struct secrets { /* sodium_malloc(): locked, guarded, not in core dumps, wiped by sodium_free() */
        char password[PASSWORD_MAX + 1];
        struct trust_secret key;
};

struct grant {
        struct later later;
        struct draft draft;
        struct secrets *secrets;
        char user[STORE_NAME_MAX];
        struct store_answer answer;
        int failed; /* what trust_secret_parse() said */
        char *signature;
        struct diag why;
};

static json_t *grant_run(struct later *l)
{
        struct grant *g = (struct grant *)l;
        _cleanup_free_ char *text = NULL, *comment = NULL;
        size_t size;
        int r = file_read(l->api->exemption_key, TRUST_KEY_MAX_BYTES, &text, &size);

        if (r == 0)
                r = trust_secret_parse(text, size, NULL, g->secrets->password, &g->secrets->key, &g->why);
        sodium_memzero(g->secrets->password, sizeof(g->secrets->password));
        if (r == 0) {
                comment = trust_comment_new(g->draft.comment, time(NULL));
                r = comment ? trust_sign(&g->secrets->key, g->draft.text, strlen(g->draft.text), comment,
                                         &g->signature)
                            : -ENOMEM;
        }
        sodium_free(g->secrets);
        g->secrets = NULL;
        g->failed = r;
        return json_object();
}

static void grant_reply(struct later *l)
{
        struct grant *g = (struct grant *)l;
        _cleanup_(offer_done) struct offer offer = {0};
        struct handed h = {&offer, g->user, g->answer};
        struct offer_texts t = {.name = g->draft.exemption->id, .text = g->draft.text, .signature = g->signature};
        int r = g->failed;

        if (r == -EKEYREJECTED) {
                reply_error(l->req, 403, "the password of the exemption key is wrong");
                return;
        }
        if (r == 0) {
                t.size = strlen(t.text);
                t.signature_size = strlen(t.signature);
                r = offer_make(OFFER_EXEMPTION, &t, &offer, &g->why);
        }
        if (r < 0)
                reply_errno(l->req, r, &g->why);
        else
                hand_out_reply(l->req, &h, &g->why);
}

/* A wrong password counts also when its sender has gone. */
static void grant_ended(struct later *l)
{
        struct grant *g = (struct grant *)l;
        struct api *a = l->api;
        char key[USER_KEY_MAX];

        if (g->failed == -EKEYREJECTED) {
                limiter_failed(&a->logins, user_key_format(g->user, key), loop_now_ms(a->loop));
                limiter_failed(&a->logins, ALL_KEY, loop_now_ms(a->loop));
                log_line(LOG_WARNING, "a wrong password of the exemption key was given");
        }
        a->signing = false;
        sodium_free(g->secrets);
        draft_done(&g->draft);
        free(g->signature);
}

/* 0, or an answer was sent. */
static int grant_wait(struct http_request *req, const char *user)
{
        struct api *a = api_of(req);
        char key[USER_KEY_MAX], retry[12];
        unsigned wait_s =
                limiter_wait(&a->logins, user_key_format(user, key), FAILURES_PER_USER, loop_now_ms(a->loop));

        if (!wait_s)
                wait_s = limiter_wait(&a->logins, ALL_KEY, FAILURES_OVERALL, loop_now_ms(a->loop));
        if (!wait_s && a->signing) /* one guess at a time: each is counted before the next */
                wait_s = 1;
        if (!wait_s)
                return 0;
        snprintf(retry, sizeof(retry), "%u", wait_s);
        reply_json_with(req, 429,
                        json_pack("{s:s}", "error",
                                  a->signing ? "another exemption is being signed: try again"
                                             : "too many wrong passwords: try again later"),
                        &(struct http_header){"retry-after", retry});
        return -EBUSY;
}

/* Out of the body and the document into locked memory. */
static int password_take(struct http_request *req, json_t *o, struct secrets **ret)
{
        const char *given = json_string_value(json_object_get(o, "password"));
        size_t n = given ? strlen(given) : 0;
        struct secrets *s = n > 0 && n <= PASSWORD_MAX ? sodium_malloc(sizeof(*s)) : NULL;
        int r = s ? 0 : n > 0 && n <= PASSWORD_MAX ? -ENOMEM : -EINVAL;

        if (s) {
                memset(s, 0, sizeof(*s));
                memcpy(s->password, given, n);
                r = sodium_mlock(s, sizeof(*s)) == 0 ? 0 : -ENOMEM; /* again: sodium_malloc() does not say */
        }
        sodium_memzero((char *)given, n);
        sodium_memzero(req->body.data, req->body.size);
        if (r < 0)
                sodium_free(s);
        else
                *ret = s;
        return r;
}

static void grant_begin(struct http_request *req, json_t *o, struct grant *g)
{
        const json_t *asked = json_object_get(o, "request");
        struct diag d = {0};
        int r = password_take(req, o, &g->secrets);

        if (r == -EINVAL)
                r = diag_set(&d, -EBADMSG, NULL, 0, "the password of the exemption key is needed");
        if (r == 0)
                r = draft_make(o, g->user, &g->draft, &d);
        if (r == 0 && asked && !json_is_null(asked))
                r = request_find(api_of(req), asked, &g->answer, &d);
        if (r < 0) {
                sodium_free(g->secrets);
                draft_done(&g->draft);
                free(g);
                reply_errno(req, r, &d);
                return;
        }
        g->later = (struct later){.run = grant_run, .reply = grant_reply, .ended = grant_ended};
        api_of(req)->signing = true;
        reply_later(req, &g->later);
}

void page_grant(struct http_request *req)
{
        struct api *a = api_of(req);
        struct store_session session;
        json_auto_t *o = NULL;
        struct grant *g;

        if (!page_may_change(req, &session) || !(o = request_json(req)))
                return;
        if (!a->exemption_key || access(a->exemption_key, R_OK) < 0) {
                reply_error(req, 409, "this collector holds no exemption key: download the text and have it signed");
                return;
        }
        if (grant_wait(req, session.user) < 0)
                return;
        g = calloc(1, sizeof(*g));
        if (!g) {
                reply_errno(req, -ENOMEM, NULL);
                return;
        }
        strcpy(g->user, session.user);
        grant_begin(req, o, g);
}
