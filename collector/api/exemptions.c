/* SPDX-License-Identifier: GPL-3.0-or-later */
/* GET /api/v1/exemptions: what was granted, what became of it, and who asked; POST /api/v1/requests: a request is declined. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/api/offer.h"
#include "collector/api/private.h"

#define REQUEST_DAYS 30
#define REQUESTS_MAX 500
#define DAY_MS       86400000ull
#define REASON_MAX   256

static json_t *names_json(char *const *list)
{
        json_t *names = json_array();

        for (; list && *list; list++)
                json_array_append_new(names, json_string(*list));
        return names;
}

static json_t *time_json(time_t t)
{
        return t ? json_integer((json_int_t)t * 1000) : json_null();
}

/* ---- granted ---- */

struct list {
        json_t *rows; /* of exemptions and tokens */
        json_t *revoked; /* id → id of the revocation */
        json_t *holders; /* id → devices where it is in force */
        json_t *requests, *answers; /* "device.seq" → answer */
};

static json_t *exemption_json(const struct exemption *e)
{
        json_t *o = json_object();

        for (const struct exemption_key *k = exemption_keys; k->name; k++) {
                const void *at = (const char *)e + k->offset;

                if (k->type == EXEMPTION_LIST)
                        json_object_set_new(o, k->name, names_json(*(char *const *const *)at));
                else if (k->type == EXEMPTION_TIME)
                        json_object_set_new(o, k->name, time_json(*(const time_t *)at));
                else
                        json_object_set_new(o, k->name, json_string(*(const char *const *)at));
        }
        json_object_set_new(o, "kind", json_string(exemption_kind_to_string(e->kind)));
        return o;
}

static int on_part(const char *part, const char *json, void *userdata)
{
        struct list *l = userdata;
        json_auto_t *pair = json_loads(json, 0, NULL);
        const char *text = json_string_value(json_object_get(pair, "file"));
        _cleanup_exemption_ struct exemption *e = NULL;

        if (!text || exemption_parse(text, strlen(text), part, &e, NULL) < 0)
                return 0; /* the log has told of it when it was loaded for agents */
        for (char **r = e->revokes; r && *r; r++)
                json_object_set_new(l->revoked, *r, json_string(e->id));
        return json_array_append_new(l->rows, exemption_json(e)) < 0 ? -ENOMEM : 0;
}

/* Where it is in force says each device's own status. */
static int on_device(const struct store_device *d, void *userdata)
{
        struct list *l = userdata;
        json_auto_t *status = d->status && strstr(d->status, "\"in force\"") ? json_loads(d->status, 0, NULL) : NULL;
        const json_t *e;
        size_t i;

        json_array_foreach(json_object_get(status, "exemptions"), i, e)
        {
                const char *id = json_string_value(json_object_get(e, "id"));
                const char *state = json_string_value(json_object_get(e, "state"));

                if (id && state && strcmp(state, "in force") == 0)
                        json_object_set_new(l->holders, id,
                                            json_integer(json_integer_value(json_object_get(l->holders, id)) + 1));
        }
        return 0;
}

static void states_add(struct list *l, uint64_t now_ms)
{
        json_t *o;
        size_t i;

        json_array_foreach(l->rows, i, o)
        {
                const char *id = json_string_value(json_object_get(o, "id"));
                const json_t *until = json_object_get(o, "until");
                const char *state = "current";

                if (json_object_get(l->revoked, id))
                        state = "revoked";
                else if (json_is_integer(until) && (uint64_t)json_integer_value(until) <= now_ms)
                        state = "ended";
                else if ((uint64_t)json_integer_value(json_object_get(o, "from")) > now_ms)
                        state = "future";
                json_object_set_new(o, "state", json_string(state));
                json_object_set(o, "revoked_by", json_object_get(l->revoked, id) ?: json_null());
                json_object_set_new(o, "devices_in_force",
                                    json_integer(json_integer_value(json_object_get(l->holders, id))));
        }
}

/* ---- asked for ---- */

static void place_format(int64_t device, uint64_t seq, char ret[static 48])
{
        snprintf(ret, 48, "%lld.%llu", (long long)device, (unsigned long long)seq);
}

static int on_answer(const struct store_answer *a, void *userdata)
{
        struct list *l = userdata;
        char place[48];

        place_format(a->device, a->seq, place);
        return json_object_set_new(l->answers, place,
                                   json_pack("{s:I,s:s,s:s?,s:s}", "time", (json_int_t)a->time_ms, "who", a->who,
                                             "exemption", a->exemption, "reason", a->reason)) < 0
                       ? -ENOMEM
                       : 0;
}

/* NULL where a device wrote something else. */
static const char *text_of(const json_t *o, const char *key)
{
        return json_string_value(json_object_get(o, key));
}

static int on_request(const struct store_row *row, void *userdata)
{
        struct list *l = userdata;
        json_auto_t *record = row->body ? json_loadb(row->body, row->body_size, 0, NULL) : NULL;
        const json_t *own = json_object_get(json_object_get(record, "unmapped"), "onchannel");
        char place[48];
        json_t *o;

        if (!record) /* erased */
                return 0;
        place_format(row->device_number, row->seq, place);
        o = json_pack("{s:s,s:s,s:I,s:I,s:I,s:O?}", "device", row->device, "device_name", row->device_name, "seq",
                      (json_int_t)row->seq, "time", (json_int_t)row->time_ms, "uid", (json_int_t)row->uid, "answer",
                      json_object_get(l->answers, place));
        json_object_update_new(o, json_pack("{s:s?,s:s?,s:s?,s:s?,s:I}", "channel", text_of(own, "channel"),
                                            "channel_name", text_of(own, "channel_name"), "reason",
                                            text_of(own, "reason"), "user",
                                            text_of(json_object_get(record, "user"), "name"), "hours",
                                            json_integer_value(json_object_get(own, "hours"))));
        return json_array_append_new(l->requests, o) < 0 ? -ENOMEM : 0;
}

static json_t *exemptions_run(struct later *later)
{
        json_auto_t *rows = json_array(), *revoked = json_object(), *holders = json_object();
        json_auto_t *requests = json_array(), *answers = json_object();
        struct list l = {rows, revoked, holders, requests, answers};
        struct store *s = later->api->store;
        uint64_t now_ms = clock_utc_ms(), since_ms = now_ms - REQUEST_DAYS * DAY_MS;
        int r = store_bundle_read(s, OFFER_EXEMPTION, on_part, &l);

        if (r == 0)
                r = store_devices(s, on_device, &l);
        if (r == 0)
                r = store_answers(s, since_ms, REQUESTS_MAX, on_answer, &l);
        if (r == 0)
                r = store_requests(s, since_ms, REQUESTS_MAX, on_request, &l);
        if (r < 0) {
                later->r = r;
                return NULL;
        }
        states_add(&l, now_ms);
        return json_pack("{s:b,s:O,s:O}", "key",
                         later->api->exemption_key && access(later->api->exemption_key, F_OK) == 0, "rows", rows,
                         "requests", requests);
}

void page_exemptions(struct http_request *req)
{
        struct store_session session;

        if (page_authorised(req, &session))
                reply_search(req, exemptions_run);
}

/* ---- declined ---- */

int request_find(struct api *a, const json_t *o, struct store_answer *ret, struct diag *reterr)
{
        const char *id = json_string_value(json_object_get(o, "device"));
        const json_t *seq = json_object_get(o, "seq");
        struct store_device device;
        int r;

        if (!id || !json_is_integer(seq) || json_integer_value(seq) < 1)
                return diag_set(reterr, -EBADMSG, NULL, 0, "a request is named by device and seq");
        r = store_device_get(a->store, id, &device);
        if (r < 0)
                return r;
        ret->device = device.number;
        ret->seq = (uint64_t)json_integer_value(seq);
        return ret->seq < device.next_seq ? 0 : -ENOENT;
}

void page_request_answer(struct http_request *req)
{
        struct api *a = api_of(req);
        struct store_session session;
        struct store_answer answer = {.time_ms = clock_utc_ms(), .who = session.user};
        json_auto_t *o = NULL;
        struct diag d = {0};
        char detail[DEVICE_ID_MAX + REASON_MAX + 32];
        int r;

        if (!page_may_change(req, &session) || !(o = request_json(req)))
                return;
        answer.reason = json_string_value(json_object_get(o, "reason"));
        if (!answer.reason || !*answer.reason || strlen(answer.reason) > REASON_MAX) {
                reply_error(req, 400, "a reason of at most 256 bytes is needed");
                return;
        }
        r = request_find(a, o, &answer, &d);
        if (r == 0)
                r = store_answer_add(a->store, &answer);
        if (r == 0) {
                snprintf(detail, sizeof(detail), "%s/%llu: %s", json_string_value(json_object_get(o, "device")),
                         (unsigned long long)answer.seq, answer.reason);
                r = store_audit_add(a->store, &(struct store_audit){answer.time_ms, session.user, "decline", detail});
        }
        if (r < 0)
                reply_errno(req, r, &d);
        else
                reply_after_commit(req, 200, json_object());
}
