/* SPDX-License-Identifier: GPL-3.0-or-later */
/* GET /api/v1/coverage/DEVICE: what its coverage records prove of each day. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "collector/api/calendar.h"
#include "collector/api/private.h"
#include "collector/net/message.h"

#define PATH_PREFIX  "/api/v1/coverage/"
#define DAYS_DEFAULT 35

struct coverage_later {
        struct later later;
        struct store_device device;
        struct calendar calendar;
};

static int record_add(const struct store_row *row, void *userdata)
{
        struct cover_record r = {.seq = row->seq, .time_ms = row->time_ms};

        if (row->body && cover_record_parse(row->body, row->body_size, &r) < 0)
                r.is_known = false;
        return calendar_add(userdata, &r);
}

static json_t *coverage_run(struct later *l)
{
        struct coverage_later *c = (struct coverage_later *)l;
        struct calendar *k = &c->calendar;
        const struct store_span span = {k->from_ms, k->from_ms + k->n_days * CALENDAR_DAY_MS};
        json_t *o;

        l->r = store_coverage(l->api->store, c->device.number, &span, record_add, k);
        o = l->r < 0 ? NULL : calendar_json(k);
        if (o)
                json_object_update_new(o, json_pack("{s:s,s:s,s:I}", "device", c->device.id, "name", c->device.name,
                                                    "enrolled", (json_int_t)c->device.enrolled_ms));
        return o;
}

static void coverage_ended(struct later *l)
{
        calendar_done(&((struct coverage_later *)l)->calendar);
}

/* "days" up to and with the day of "to", which is today when it is not given. */
static int span_parse(const char *query, struct calendar *ret, struct diag *reterr)
{
        _cleanup_(http_query_done) struct http_query q = {0};
        uint64_t days = DAYS_DEFAULT, last = clock_utc_ms();
        int r = http_query_parse(query, &q, reterr);

        for (size_t i = 0; r == 0 && i < q.n; i++) {
                if (strcmp(q.pairs[i].name, "days") == 0)
                        r = parse_u64(q.pairs[i].value, CALENDAR_DAYS_MAX, &days);
                else if (strcmp(q.pairs[i].name, "to") == 0)
                        r = parse_u64(q.pairs[i].value, INT64_MAX / 2, &last);
                else
                        r = -EINVAL;
                if (r < 0 || days == 0)
                        return diag_set(reterr, -EBADMSG, NULL, 0, "%.100s cannot be '%.100s'", q.pairs[i].name,
                                        q.pairs[i].value);
        }
        if (r < 0)
                return r;
        ret->now_ms = clock_utc_ms();
        ret->n_days = (unsigned)days;
        last -= last % CALENDAR_DAY_MS;
        ret->from_ms = last > (days - 1) * CALENDAR_DAY_MS ? last - (days - 1) * CALENDAR_DAY_MS : 0;
        return 0;
}

void page_coverage(struct http_request *req)
{
        _cleanup_free_ struct coverage_later *c = calloc(1, sizeof(*c));
        struct store_session session;
        struct diag d = {0};
        int r;

        if (!page_authorised(req, &session))
                return;
        r = c ? store_device_get(api_of(req)->store, req->path + strlen(PATH_PREFIX), &c->device) : -ENOMEM;
        if (r == 0)
                r = span_parse(req->query, &c->calendar, &d);
        if (r < 0) {
                reply_errno(req, r, &d);
                return;
        }
        c->later.run = coverage_run;
        c->later.ended = coverage_ended;
        reply_later(req, &TAKE_PTR(c)->later);
}
