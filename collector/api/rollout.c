/* SPDX-License-Identifier: GPL-3.0-or-later */
/* GET /api/v1/rollout: how a policy gets on in the ring, and everyone else's. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/api/offer.h"
#include "collector/api/private.h"

struct stage {
        uint64_t serial;
        unsigned devices, applied, waiting, silent;
        json_t *refused; /* reason → names */
};

struct count {
        const struct rollout *rollout; /* NULL: none */
        uint64_t now_ms;
        struct stage ring, others;
};

static int on_device(const struct store_device *d, void *userdata)
{
        struct count *c = userdata;
        struct stage *s = c->rollout && rollout_has(c->rollout, d->id, d->name) ? &c->ring : &c->others;
        json_auto_t *status = d->status ? json_loads(d->status, 0, NULL) : NULL;
        const json_t *policy = json_object_get(status, "policy");
        const char *reason = json_string_value(json_object_get(json_object_get(policy, "refused"), "reason"));

        if (d->retired_ms)
                return 0;
        s->devices++;
        if (s->serial && (uint64_t)json_integer_value(json_object_get(policy, "serial")) == s->serial) {
                s->applied++;
        } else if (reason) {
                if (!json_object_get(s->refused, reason))
                        json_object_set_new(s->refused, reason, json_array());
                json_array_append_new(json_object_get(s->refused, reason), json_string(d->name));
        } else if (c->now_ms > d->last_seen_ms + SILENT_MS) {
                s->silent++;
        } else {
                s->waiting++;
        }
        return 0;
}

static json_t *refused_list(const json_t *by_reason)
{
        json_t *list = json_array(), *names;
        const char *reason;

        json_object_foreach((json_t *)by_reason, reason, names)
                json_array_append_new(list, json_pack("{s:s,s:O}", "reason", reason, "devices", names));
        return list;
}

/* What its policy stopped and let through since then, or NULL. */
static int violations_count(struct store *store, const struct stage *s, uint64_t since_ms, json_t **ret)
{
        struct store_serial_count n = {0};
        int r = store_serial_count(store, s->serial, since_ms, &n);

        if (r == 0)
                *ret = json_pack("{s:I,s:I}", "blocked", (json_int_t)n.stopped, "would_block", (json_int_t)n.passed);
        return r == -ETIME ? 0 : r;
}

static json_t *stage_json(const struct stage *s, json_t *violations)
{
        return json_pack("{s:I,s:i,s:i,s:i,s:i,s:o,s:o?}", "serial", (json_int_t)s->serial, "devices",
                         (int)s->devices, "applied", (int)s->applied, "waiting", (int)s->waiting, "silent",
                         (int)s->silent, "refused", refused_list(s->refused), "violations", violations);
}

static int report_add(struct store *store, struct count *c, uint64_t since_ms, json_t *o)
{
        json_t *ring = NULL, *others = NULL;
        int r = store_devices(store, on_device, c);

        if (r == 0 && c->rollout)
                r = violations_count(store, &c->ring, since_ms, &ring);
        if (r == 0 && c->rollout)
                r = violations_count(store, &c->others, since_ms, &others);
        if (c->rollout && json_object_set_new(o, "ring", stage_json(&c->ring, ring)) < 0 && r == 0)
                r = -ENOMEM;
        if (json_object_set_new(o, "others", stage_json(&c->others, others)) < 0 && r == 0)
                r = -ENOMEM;
        return r;
}

int rollout_report(struct store *s, const struct rollout_kept *kept, json_t **ret)
{
        _cleanup_(rollout_done) struct rollout x = {0};
        struct count c = {.now_ms = clock_utc_ms(), .others.serial = kept->serial};
        json_t *o;
        int r = kept->json ? rollout_parse(kept->json, &x) : 0;

        if (r < 0)
                return r;
        if (kept->json) {
                c.rollout = &x;
                c.ring.serial = x.serial;
                c.others.serial = x.base;
        }
        c.ring.refused = json_object();
        c.others.refused = json_object();
        o = kept->json ? rollout_json(&x) : json_object();
        r = o && c.ring.refused && c.others.refused ? report_add(s, &c, x.since_ms, o) : -ENOMEM;
        json_decref(c.ring.refused);
        json_decref(c.others.refused);
        if (r < 0)
                json_decref(o);
        else
                *ret = o;
        return r;
}

/* ---- the page ---- */

struct rollout_later {
        struct later later;
        char *json;
        uint64_t serial;
};

static json_t *page_run_report(struct later *l)
{
        const struct rollout_later *p = (const struct rollout_later *)l;
        json_t *o = NULL;

        l->r = rollout_report(l->api->store, &(struct rollout_kept){p->json, p->serial}, &o);
        return o;
}

static void page_ended(struct later *l)
{
        free(((struct rollout_later *)l)->json);
}

void page_rollout(struct http_request *req)
{
        _cleanup_free_ struct rollout_later *p = calloc(1, sizeof(*p));
        _cleanup_free_ char *policy = NULL;
        struct store *s = api_of(req)->store;
        struct store_session session;
        int r;

        if (!page_authorised(req, &session))
                return;
        r = p ? store_bundle_get(s, OFFER_ROLLOUT, &p->json) : -ENOMEM;
        if (r == 0 || r == -ENOENT)
                r = offer_kept(s, OFFER_POLICY, &policy, &p->serial);
        if (r < 0 && r != -ENOENT) {
                if (p)
                        free(p->json);
                reply_errno(req, r, NULL);
                return;
        }
        p->later.run = page_run_report;
        p->later.ended = page_ended;
        reply_later(req, &TAKE_PTR(p)->later);
}
