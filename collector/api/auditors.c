/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Devices, and the values that filters may take. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "collector/api/offer.h"
#include "collector/api/private.h"
#include "collector/net/message.h"

static json_t *copy_of(json_t *v)
{
        return v ? json_incref(v) : json_null();
}

/* One sentence on why this device's coverage is in doubt, or null. */
static json_t *refusal_of(const char *what, json_t *refused)
{
        return json_sprintf("%s refused: %s", what, json_string_value(json_object_get(refused, "reason")) ?: "");
}

static json_t *problem_of(const struct store_device *d, json_t *status, json_t *policy)
{
        json_t *refused = json_object_get(policy, "refused");
        json_t *config_refused = json_object_get(json_object_get(status, "config"), "refused");
        json_t *catalogue_refused = json_object_get(json_object_get(status, "catalogue"), "refused");
        const char *mode = json_string_value(json_object_get(policy, "mode"));

        if (d->retired_ms)
                return json_string("another device has taken its place");
        if (!status)
                return json_string("has sent no status yet");
        if (clock_utc_ms() > d->last_seen_ms + SILENT_MS)
                return json_string("silent for more than 15 minutes");
        if (config_refused)
                return refusal_of("agent.ini", config_refused);
        if (refused)
                return refusal_of("policy", refused);
        if (catalogue_refused)
                return refusal_of("catalogue", catalogue_refused);
        if (!mode || strcmp(mode, "none") == 0)
                return json_string("has no policy");
        if (json_is_true(json_object_get(policy, "expired")))
                return json_string("policy has expired");
        if (json_is_false(json_object_get(status, "self_test_passed")))
                return json_string("self-test failed");
        if (json_integer_value(json_object_get(json_object_get(status, "spool"), "refused")) > 0)
                return json_string("records could not be written on the device");
        return json_null();
}

/* What a device wrote there is its own word: only elements of the kind that is expected. */
static json_t *list_of(json_t *status, const char *key, json_type kind)
{
        json_t *list = json_array(), *one;
        size_t i;

        json_array_foreach(json_object_get(status, key), i, one) if (json_typeof(one) == kind)
                json_array_append(list, one);
        return list;
}

/* What may be empty, and mostly is. */
static json_t *of_exemptions(json_t *status, json_t *policy)
{
        return json_pack("{s:o,s:o,s:o,s:s?}", "tags", list_of(status, "tags", JSON_STRING), "exemptions",
                         list_of(status, "exemptions", JSON_OBJECT), "exemptions_refused",
                         list_of(status, "exemptions_refused", JSON_OBJECT), "refused",
                         json_string_value(json_object_get(json_object_get(policy, "refused"), "reason")));
}

static int device_add(const struct store_device *d, void *userdata)
{
        json_auto_t *status = d->status ? json_loads(d->status, 0, NULL) : NULL;
        json_t *policy = json_object_get(status, "policy"), *spool = json_object_get(status, "spool");
        char head[2 * CHAIN_HASH_SIZE + 1];
        json_t *o, *told;

        hex_encode(d->head, sizeof(d->head), head);
        o = json_pack("{s:s,s:s,s:I,s:I,s:I,s:s}", "device", d->id, "name", d->name, "enrolled",
                      (json_int_t)d->enrolled_ms, "last_seen", (json_int_t)d->last_seen_ms, "next_seq",
                      (json_int_t)d->next_seq, "head", head);
        told = json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "policy_serial", copy_of(json_object_get(policy, "serial")),
                         "mode", copy_of(json_object_get(policy, "mode")), "sensors",
                         copy_of(json_object_get(status, "sensors")), "queue",
                         copy_of(json_object_get(spool, "queue")), "lost",
                         copy_of(json_object_get(json_object_get(status, "counters"), "lost")), "agent_version",
                         copy_of(json_object_get(status, "version")), "problem", problem_of(d, status, policy));
        json_object_update_new(o, of_exemptions(status, policy));
        if (!o || json_object_update_new(o, told) < 0 || json_array_append_new(userdata, o) < 0)
                return -ENOMEM;
        return 0;
}

static json_t *devices_run(struct later *l)
{
        json_auto_t *rows = json_array();

        l->r = store_devices(l->api->store, device_add, rows);
        if (l->r == 0)
                l->r = store_devices_replaced(l->api->store, device_add, rows);
        return l->r < 0 ? NULL : json_pack("{s:O}", "rows", rows);
}

static int facet_add(const char *value, void *userdata)
{
        return json_array_append_new(userdata, json_string(value)) < 0 ? -ENOMEM : 0;
}

struct facets {
        struct later later; /* first */
        struct http_query query;
        const char *from[_FACET_MAX]; /* in the query */
};

static json_t *facets_run(struct later *l)
{
        const struct facets *f = (const struct facets *)l;
        static const char *const names[] = {
                [FACET_CHANNEL] = "channels", [FACET_DEVICE] = "devices", [FACET_USER] = "users"};
        _Static_assert(ELEMENTSOF(names) == _FACET_MAX, "enum store_facet");
        json_auto_t *o = json_object();

        for (enum store_facet i = 0; i < _FACET_MAX && l->r == 0; i++) {
                json_t *values = json_array();

                l->r = store_facet(l->api->store, i, f->from[i], facet_add, values);
                if (json_object_set_new(o, names[i], values) < 0 && l->r == 0)
                        l->r = -ENOMEM;
        }
        return l->r < 0 ? NULL : json_incref(o);
}

void reply_search(struct http_request *req, json_t *(*run)(struct later *l))
{
        struct later *l = calloc(1, sizeof(*l));

        if (!l) {
                reply_errno(req, -ENOMEM, NULL);
                return;
        }
        l->run = run;
        reply_later(req, l);
}

static void devices_begin(struct http_request *req)
{
        reply_search(req, devices_run);
}

void page_devices(struct http_request *req)
{
        struct store_session session;

        if (page_authorised(req, &session)) /* the worker sees when a device was seen last */
                turn_after(req, TURN_SEEN, devices_begin);
}

static void facets_ended(struct later *l)
{
        http_query_done(&((struct facets *)l)->query);
}

static int facets_parse(const char *query, struct facets *ret, struct diag *reterr)
{
        int r = http_query_parse(query, &ret->query, reterr);

        for (size_t i = 0; i < _FACET_MAX; i++)
                ret->from[i] = "";
        for (size_t i = 0; r == 0 && i < ret->query.n; i++)
                if (strcmp(ret->query.pairs[i].name, "device") == 0)
                        ret->from[FACET_DEVICE] = ret->query.pairs[i].value;
                else if (strcmp(ret->query.pairs[i].name, "user") == 0)
                        ret->from[FACET_USER] = ret->query.pairs[i].value;
                else
                        r = diag_set(reterr, -EBADMSG, NULL, 0, "there is no parameter '%s'",
                                     ret->query.pairs[i].name);
        return r;
}

static void facets_begin(struct http_request *req)
{
        struct facets *f = calloc(1, sizeof(*f));
        struct diag d = {0};
        int r = f ? facets_parse(req->query, f, &d) : -ENOMEM;

        if (r < 0) {
                if (f)
                        facets_ended(&f->later);
                free(f);
                reply_errno(req, r, &d);
                return;
        }
        f->later.run = facets_run;
        f->later.ended = facets_ended;
        reply_later(req, &f->later);
}

void page_facets(struct http_request *req)
{
        struct store_session session;

        if (page_authorised(req, &session))
                facets_begin(req);
}
