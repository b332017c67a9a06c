/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/api/bundle.h"
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"

#define ETAG_MAX 80

/* What most devices are sent, whole; those with exemptions get it with these in it. */
struct variant {
        struct http_blob *body; /* ends in '}' */
        char hash[2 * 16 + 1];
};

struct granted {
        struct exemption *exemption;
        char *json;
        const struct granted *revoked; /* REVOCATION: the first one of what it ends that is kept here */
};

struct bundle {
        struct store *store;
        int64_t version;
        struct variant everyone, ring;
        bool has_rollout;
        struct rollout rollout;
        struct granted *granted;
        size_t n_granted;
        struct poll *polls;
};

struct poll {
        struct bundle *bundle;
        struct poll *prev, *next;
        struct http_request *req;
        unsigned spread_s;
        char id[DEVICE_ID_MAX], name[STORE_NAME_MAX];
};

/* ---- the parts ---- */

struct parts {
        char *policy, *ring, *catalogue, *rollout;
        struct buf links;
        struct granted *granted;
        size_t n_granted;
};

static void granted_done(struct granted *g, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                exemption_free(g[i].exemption);
                free(g[i].json);
        }
        free(g);
}

static void parts_done(struct parts *p)
{
        free(p->policy);
        free(p->ring);
        free(p->catalogue);
        free(p->rollout);
        buf_done(&p->links);
        granted_done(p->granted, p->n_granted);
}

static int granted_add(struct parts *p, const char *part, const char *json)
{
        json_auto_t *pair = json_loads(json, 0, NULL);
        const char *text = json_string_value(json_object_get(pair, "file"));
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct granted *more, g = {0};
        struct diag d = {0};

        if (!text || exemption_parse(text, strlen(text), part, &g.exemption, &d) < 0) {
                log_line(LOG_ERR, "%s: %s, ignoring", part,
                         *d.text ? diag_format_log(&d, where, sizeof(where)) : "damaged");
                return 0;
        }
        if (g.exemption->kind != EXEMPTION_REVOCATION && g.exemption->until <= time(NULL)) {
                exemption_free(g.exemption);
                return 0;
        }
        g.json = strdup(json);
        more = g.json ? reallocarray(p->granted, p->n_granted + 1, sizeof(*more)) : NULL;
        if (!more) {
                exemption_free(g.exemption);
                free(g.json);
                return -ENOMEM;
        }
        p->granted = more;
        p->granted[p->n_granted++] = g;
        return 0;
}

static int on_part(const char *part, const char *json, void *userdata)
{
        struct parts *p = userdata;
        const struct {
                const char *name;
                char **text;
        } single[] = {
                {OFFER_POLICY, &p->policy},
                {OFFER_RING, &p->ring},
                {OFFER_CATALOGUE, &p->catalogue},
                {OFFER_ROLLOUT, &p->rollout},
        };

        for (size_t i = 0; i < ELEMENTSOF(single); i++)
                if (strcmp(single[i].name, part) == 0)
                        return (*single[i].text = strdup(json)) ? 0 : -ENOMEM;
        if (text_starts_with(part, OFFER_LINK)) {
                buf_addf(&p->links, "%s", p->links.size > 0 ? "," : "");
                buf_add_string(&p->links, json);
        } else if (text_starts_with(part, OFFER_EXEMPTION)) {
                return granted_add(p, part, json);
        }
        return 0;
}

static void member_add(struct buf *body, const char *name, const char *text)
{
        if (text)
                buf_addf(body, "%s\"%s\":%s", body->size > 1 ? "," : "", name, text);
}

static int variant_make(const struct parts *p, const char *policy, struct variant *ret)
{
        _cleanup_buf_ struct buf body = {0};
        _cleanup_free_ char *links = NULL;
        struct variant v = {0};
        uint8_t hash[16];

        if (p->links.size > 0 && asprintf(&links, "[%s]", (const char *)p->links.data) < 0)
                return -ENOMEM;
        buf_add_string(&body, "{");
        member_add(&body, "policy", policy);
        member_add(&body, "catalogue", p->catalogue);
        member_add(&body, "links", links);
        buf_add_string(&body, "}");
        if (buf_error(&body) < 0 || !(v.body = http_blob_new(body.data, body.size)))
                return -ENOMEM;
        crypto_generichash(hash, sizeof(hash), body.data, body.size, NULL, 0);
        hex_encode(hash, sizeof(hash), v.hash);
        http_blob_unref(ret->body);
        *ret = v;
        return 0;
}

static bool revokes(const struct exemption *e, const char *id)
{
        for (char **r = e->revokes; r && *r; r++)
                if (strcmp(*r, id) == 0)
                        return true;
        return false;
}

static void revocations_link(struct bundle *b)
{
        for (size_t i = 0; i < b->n_granted; i++)
                for (size_t k = 0; k < b->n_granted && !b->granted[i].revoked; k++)
                        if (revokes(b->granted[i].exemption, b->granted[k].exemption->id))
                                b->granted[i].revoked = &b->granted[k];
}

static int bundle_load(struct bundle *b)
{
        _cleanup_(parts_done) struct parts p = {0};
        int r = store_bundle_each(b->store, on_part, &p);

        if (r == 0)
                r = buf_error(&p.links);
        if (r == 0)
                r = variant_make(&p, p.policy, &b->everyone);
        if (r == 0)
                r = variant_make(&p, p.ring ? p.ring : p.policy, &b->ring);
        if (r < 0)
                return r;
        rollout_done(&b->rollout);
        b->has_rollout = p.ring && p.rollout && rollout_parse(p.rollout, &b->rollout) == 0;
        granted_done(b->granted, b->n_granted);
        b->granted = TAKE_PTR(p.granted);
        b->n_granted = p.n_granted;
        p.n_granted = 0;
        revocations_link(b);
        return 0;
}

/* ---- one device's ---- */

struct own {
        const struct variant *variant;
        struct buf exemptions; /* "" or the list's inside */
        char etag[ETAG_MAX];
};

static bool is_for(const struct granted *g, const char *name, const char *id)
{
        if (g->exemption->kind != EXEMPTION_REVOCATION)
                return g->exemption->until > time(NULL) && exemption_has_device(g->exemption, name, id);
        return !g->revoked || exemption_has_device(g->revoked->exemption, name, id);
}

static int own_make(const struct bundle *b, const char *name, const char *id, struct own *ret)
{
        uint8_t hash[16];
        char hex[2 * sizeof(hash) + 1] = "";
        size_t n = 0;

        *ret = (struct own){.variant =
                                    b->has_rollout && rollout_has(&b->rollout, id, name) ? &b->ring : &b->everyone};
        for (size_t i = b->n_granted; i-- > 0 && n < EXEMPTIONS_MAX;) {
                if (!is_for(&b->granted[i], name, id))
                        continue;
                buf_addf(&ret->exemptions, "%s", n++ > 0 ? "," : "");
                buf_add_string(&ret->exemptions, b->granted[i].json);
        }
        if (n > 0 && buf_error(&ret->exemptions) == 0) {
                crypto_generichash(hash, sizeof(hash), ret->exemptions.data, ret->exemptions.size, NULL, 0);
                hex_encode(hash, sizeof(hash), hex);
        }
        snprintf(ret->etag, sizeof(ret->etag), "\"%s%s%s\"", ret->variant->hash, n > 0 ? "-" : "", hex);
        return buf_error(&ret->exemptions);
}

static struct http_blob *own_body(const struct own *o)
{
        const struct http_blob *common = o->variant->body;
        _cleanup_buf_ struct buf body = {0};

        if (o->exemptions.size == 0)
                return http_blob_ref(o->variant->body);
        buf_add(&body, common->data, common->size - 1);
        buf_addf(&body, "%s\"exemptions\":[", body.size > 1 ? "," : "");
        buf_add(&body, o->exemptions.data, o->exemptions.size);
        buf_add_string(&body, "]}");
        return buf_error(&body) < 0 ? NULL : http_blob_new(body.data, body.size);
}

static void answer(struct http_request *req, const struct own *o, unsigned spread_s, bool changed)
{
        char spread[12];
        struct http_response response = {
                .status = changed ? 200 : 304,
                .headers = {{"etag", o->etag}, {"x-onchannel-spread", spread}, {"cache-control", "no-store"}},
        };

        snprintf(spread, sizeof(spread), "%u", spread_s);
        if (changed) {
                response.blob = own_body(o);
                if (!response.blob) {
                        http_respond_error(req, 503, "no memory");
                        return;
                }
                response.type = "application/json";
                response.body = response.blob->data;
                response.size = response.blob->size;
        }
        http_respond(req, &response);
}

static bool is_known(const struct http_request *req, const struct own *o)
{
        const char *known = req->field[HTTP_IF_NONE_MATCH];

        return known && strcmp(known, o->etag) == 0;
}

static void poll_free(struct poll *p)
{
        if (p->prev)
                p->prev->next = p->next;
        else
                p->bundle->polls = p->next;
        if (p->next)
                p->next->prev = p->prev;
        free(p);
}

/* Only when something has changed, unless `always`. */
static void poll_answer(struct poll *p, bool always)
{
        struct own o;

        if (own_make(p->bundle, p->name, p->id, &o) < 0) {
                http_respond_error(p->req, 503, "no memory");
                poll_free(p);
        } else if (always || !is_known(p->req, &o)) {
                answer(p->req, &o, p->spread_s, !is_known(p->req, &o));
                poll_free(p);
        }
        buf_done(&o.exemptions);
}

static void on_poll_deadline(struct http_request *req)
{
        poll_answer(req->held, true);
}

static void on_poll_gone(struct http_request *req)
{
        poll_free(req->held);
}

void bundle_answer(struct bundle *b, struct http_request *req, const struct store_device *device, unsigned wait_s,
                   unsigned spread_s)
{
        struct own o;
        struct poll *p = NULL;
        int r = own_make(b, device->name, device->id, &o);

        if (r == 0 && wait_s > 0 && is_known(req, &o))
                p = calloc(1, sizeof(*p));
        if (r < 0)
                http_respond_error(req, 503, "no memory");
        else if (!p)
                answer(req, &o, spread_s, !is_known(req, &o));
        buf_done(&o.exemptions);
        if (!p)
                return;
        *p = (struct poll){.bundle = b, .next = b->polls, .req = req, .spread_s = spread_s};
        strcpy(p->id, device->id);
        strcpy(p->name, device->name);
        if (p->next)
                p->next->prev = p;
        b->polls = p;
        req->held = p;
        http_hold(req, http_now_ms(req) + wait_s * 1000ull, on_poll_deadline, on_poll_gone);
}

void bundle_tick(struct bundle *b)
{
        int64_t version = 0;
        int r = store_bundle_version(b->store, &version);

        if (r == 0 && version == b->version)
                return;
        if (r == 0)
                r = bundle_load(b);
        if (r < 0) {
                if (r != -ENOTCONN)
                        log_errno(LOG_ERR, r, "what agents are sent cannot be read; what was in force stays");
                return;
        }
        b->version = version;
        log_line(LOG_INFO, "what agents are sent has changed (%s)", b->everyone.hash);
        for (struct poll *p = b->polls, *next; p; p = next) {
                next = p->next;
                poll_answer(p, false);
        }
}

int bundle_open(struct store *s, struct bundle **ret, struct diag *reterr)
{
        struct bundle *b = calloc(1, sizeof(*b));
        int r;

        if (!b)
                return -ENOMEM;
        b->store = s;
        r = store_bundle_version(s, &b->version);
        if (r == 0)
                r = bundle_load(b);
        if (r < 0) {
                bundle_free(b);
                return diag_set(reterr, r, NULL, 0, "what agents are sent cannot be read: %s", strerror(-r));
        }
        *ret = b;
        return 0;
}

void bundle_stop(struct bundle *b)
{
        while (b->polls)
                poll_answer(b->polls, true);
}

void bundle_free(struct bundle *b)
{
        if (!b)
                return;
        http_blob_unref(b->everyone.body);
        http_blob_unref(b->ring.body);
        rollout_done(&b->rollout);
        granted_done(b->granted, b->n_granted);
        free(b);
}
