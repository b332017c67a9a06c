/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/api/calendar.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"

#define MINUTE_MS         60000ull
#define DAY_MINUTES       1440
#define HEARTBEAT_DEFAULT 300 /* seconds: of agents that do not say it */
#define HEARTBEAT_MAX     86400
#define TIME_MAX_MS       (1ull << 53)

static const char *const cover_names[] = {
        [COVER_NONE] = "none",           [COVER_OFF] = "off",
        [COVER_FULL] = "covered",        [COVER_MONITOR] = "monitor",
        [COVER_EXPLAINED] = "explained", [COVER_DOUBT] = "doubt",
        [COVER_SILENT] = "silent",       [COVER_GAP] = "gap",
};
_Static_assert(ELEMENTSOF(cover_names) == _COVER_MAX, "a state without a name");

const char *cover_to_string(enum cover c)
{
        return cover_names[c];
}

/* ---- one record ---- */

static uint64_t number_of(const json_t *o, const char *key)
{
        json_int_t n = json_integer_value(json_object_get(o, key));

        return n < 0 || (uint64_t)n > TIME_MAX_MS ? 0 : (uint64_t)n;
}

static const char *text_of(const json_t *o, const char *key)
{
        return json_string_value(json_object_get(o, key)) ?: "";
}

int cover_record_parse(const char *text, size_t size, struct cover_record *ret)
{
        json_auto_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        const json_t *own = json_object_get(json_object_get(root, "unmapped"), "onchannel");
        const json_t *c = json_object_get(own, "coverage");
        const char *event = text_of(c, "event");
        uint64_t heartbeat_s = number_of(c, "heartbeat");
        struct cover_record r = {
                .seq = number_of(json_object_get(root, "metadata"), "sequence"),
                .time_ms = number_of(root, "time"),
                .boottime_ms = number_of(own, "boottime_ms"),
                .gap_ms = number_of(c, "gap_ms"),
                .lost = number_of(c, "lost"),
                .is_gap = number_of(c, "gap_ms") > 0,
                .is_sleep = strcmp(event, "sleep") == 0,
                .is_stop = strcmp(event, "stop") == 0,
                .is_start = strcmp(event, "start") == 0,
                .in_force = strcmp(text_of(c, "mode"), "enforce") == 0,
                .is_known = true,
        };

        if (!json_is_object(c) || !*event || r.time_ms == 0)
                return -EBADMSG;
        r.heartbeat_ms = 1000 * (heartbeat_s == 0 || heartbeat_s > HEARTBEAT_MAX ? HEARTBEAT_DEFAULT : heartbeat_s);
        r.in_doubt = !json_is_true(json_object_get(c, "self_test_passed")) ||
                     strcmp(text_of(c, "canary"), "passed") == 0 || number_of(c, "refused") > 0 ||
                     number_of(c, "unresolved") > 0;
        snprintf(r.boot, sizeof(r.boot), "%s", text_of(json_object_get(root, "device"), "boot_uid"));
        text_escape(text_of(c, "detail"), r.detail, sizeof(r.detail));
        *ret = r;
        return 0;
}

int calendar_add(struct calendar *c, const struct cover_record *r)
{
        if (c->n_records == c->n_allocated) {
                size_t n = c->n_allocated ? 2 * c->n_allocated : 512;
                struct cover_record *more = reallocarray(c->records, n, sizeof(*more));

                if (!more)
                        return -ENOMEM;
                c->records = more;
                c->n_allocated = n;
        }
        c->records[c->n_records++] = *r;
        return 0;
}

void calendar_done(struct calendar *c)
{
        free(c->records);
        *c = (struct calendar){0};
}

/* ---- days ---- */

struct painter {
        const struct calendar *calendar;
        uint8_t *minutes; /* of all days */
        json_t *holes;
        size_t n_left_out;
};

static void hole_add(struct painter *p, uint64_t from, uint64_t to, enum cover state, const char *why)
{
        if (json_array_size(p->holes) == CALENDAR_HOLES_MAX)
                p->n_left_out++;
        else
                json_array_append_new(p->holes, json_pack("{s:I,s:I,s:s,s:s}", "from", (json_int_t)from, "to",
                                                          (json_int_t)to, "state", cover_names[state], "why", why));
}

/* Each minute that the span touches; of what was claimed before the worse stays. */
static void paint(struct painter *p, uint64_t from, uint64_t to, enum cover state, const char *why)
{
        const struct calendar *c = p->calendar;
        uint64_t end = c->from_ms + c->n_days * CALENDAR_DAY_MS;

        if (to > c->now_ms)
                to = c->now_ms;
        if (to > end)
                to = end;
        if (from < c->from_ms)
                from = c->from_ms;
        if (from >= to)
                return;
        if (state >= COVER_EXPLAINED)
                hole_add(p, from, to, state, why);
        for (uint64_t m = (from - c->from_ms) / MINUTE_MS; m * MINUTE_MS < to - c->from_ms; m++)
                if (p->minutes[m] < state)
                        p->minutes[m] = (uint8_t)state;
}

/* What holds after a record, if the next one comes when it is due. */
static enum cover state_after(const struct cover_record *a, const struct cover_record *b)
{
        bool lost = b && (b->in_doubt || (!b->is_start && b->lost > a->lost));

        if (a->in_doubt || lost)
                return COVER_DOUBT;
        return a->in_force ? COVER_FULL : COVER_MONITOR;
}

#define DOUBT "the self-test failed, or events were lost"

static uint64_t due(const struct cover_record *a)
{
        return a->heartbeat_ms + CALENDAR_LATE_MS;
}

/* Between two records of one boot the machine's own clock says how long it was, whatever the time of day was set to. */
static bool clock_was_set(const struct cover_record *a, const struct cover_record *b)
{
        return strcmp(a->boot, b->boot) == 0 && b->boottime_ms >= a->boottime_ms &&
               b->boottime_ms - a->boottime_ms <= due(a);
}

static void paint_between(struct painter *p, const struct cover_record *a, const struct cover_record *b)
{
        uint64_t from = a->time_ms, to = b->time_ms, told;
        bool same_boot = strcmp(a->boot, b->boot) == 0;
        char why[CALENDAR_TEXT_MAX + 40];

        if (!a->is_known || !b->is_known) {
                paint(p, from, to, COVER_GAP, "the records were erased");
        } else if (a->is_stop) {
                snprintf(why, sizeof(why), "the agent was stopped in order%s%s", *a->detail ? ": " : "", a->detail);
                paint(p, from, to, same_boot ? COVER_EXPLAINED : COVER_OFF, why);
        } else if (b->is_gap) {
                told = to > b->gap_ms ? to - b->gap_ms : 0;
                if (told > from + due(a))
                        paint(p, from, told, COVER_GAP, "longer than the record after it says");
                else
                        paint(p, from, told, state_after(a, b), DOUBT);
                paint(p, told > from ? told : from, to, b->is_sleep ? COVER_OFF : COVER_EXPLAINED,
                      *b->detail ? b->detail : "the agent did not run");
        } else if (to <= from + due(a)) {
                paint(p, from, to, state_after(a, b), DOUBT);
        } else if (clock_was_set(a, b)) {
                paint(p, from, from + b->boottime_ms - a->boottime_ms, state_after(a, b), DOUBT);
                paint(p, from + b->boottime_ms - a->boottime_ms, to, COVER_EXPLAINED,
                      "the clock was set: this time did not pass");
        } else {
                paint(p, from, to, COVER_GAP, "no record, and none that says why");
        }
}

static void paint_end(struct painter *p, const struct cover_record *last)
{
        uint64_t end = last->time_ms + due(last), now = p->calendar->now_ms;

        if (!last->is_known) {
                paint(p, last->time_ms, now, COVER_GAP, "the records were erased");
        } else if (last->is_stop) {
                paint(p, last->time_ms, now, COVER_OFF, NULL);
        } else {
                paint(p, last->time_ms, end, state_after(last, NULL), DOUBT);
                paint(p, end, now, COVER_SILENT, "nothing has come since; records may wait on the device");
        }
}

static int by_seq(const void *a, const void *b)
{
        uint64_t x = ((const struct cover_record *)a)->seq, y = ((const struct cover_record *)b)->seq;

        return x < y ? -1 : x > y;
}

static json_t *day_json(const struct painter *p, unsigned day, unsigned counts[static _COVER_MAX])
{
        unsigned minutes[_COVER_MAX] = {0};
        enum cover worst = COVER_NONE;
        char date[TIME_TEXT_MAX];
        json_t *o = json_object();

        for (size_t m = 0; m < DAY_MINUTES; m++)
                minutes[p->minutes[(size_t)day * DAY_MINUTES + m]]++;
        for (enum cover s = COVER_NONE + 1; s < _COVER_MAX; s++)
                if (minutes[s] > 0) {
                        worst = s;
                        json_object_set_new(o, cover_names[s], json_integer(minutes[s]));
                }
        counts[worst]++;
        time_format((time_t)((p->calendar->from_ms + day * CALENDAR_DAY_MS) / 1000), date);
        return json_pack("{s:s%,s:s,s:o}", "day", date, (size_t)10, "state", cover_names[worst], "minutes", o);
}

static json_t *days_json(const struct painter *p, json_t *counts_json)
{
        unsigned counts[_COVER_MAX] = {0};
        json_t *days = json_array();

        for (unsigned d = 0; d < p->calendar->n_days; d++)
                json_array_append_new(days, day_json(p, d, counts));
        for (enum cover s = 0; s < _COVER_MAX; s++)
                json_object_set_new(counts_json, cover_names[s], json_integer(counts[s]));
        return days;
}

json_t *calendar_json(struct calendar *c)
{
        _cleanup_free_ uint8_t *minutes = calloc(c->n_days, DAY_MINUTES);
        struct painter p = {.calendar = c, .minutes = minutes, .holes = json_array()};
        json_t *counts = json_object();

        if (!minutes || !p.holes || !counts) {
                json_decref(p.holes);
                json_decref(counts);
                return NULL;
        }
        if (c->n_records > 0)
                qsort(c->records, c->n_records, sizeof(*c->records), by_seq);
        for (size_t i = 1; i < c->n_records; i++)
                paint_between(&p, &c->records[i - 1], &c->records[i]);
        if (c->n_records > 0)
                paint_end(&p, &c->records[c->n_records - 1]);
        return json_pack("{s:o,s:o,s:o,s:I}", "days", days_json(&p, counts), "counts", counts, "holes", p.holes,
                         "holes_left_out", (json_int_t)p.n_left_out);
}
