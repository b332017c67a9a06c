/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What records say of themselves and of the time that they cover: zero violations mean something only where
 * coverage has no hole. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/text.h"
#include "evidence/verify.h"

#define SLACK_MS 60000

static uint64_t number(json_t *o, const char *key)
{
        json_int_t n = json_integer_value(json_object_get(o, key));

        return n > 0 ? (uint64_t)n : 0;
}

static uint64_t limit_ms(const struct verify *v)
{
        return v->options.heartbeat_s * 2000 + SLACK_MS;
}

static void hole(struct verify *v, struct verify_device *d, struct verify_hole h)
{
        struct verify_hole *list;

        if (v->from_ms > h.from_ms)
                h.from_ms = v->from_ms;
        if (h.to_ms <= h.from_ms)
                return;
        d->uncovered_ms += h.to_ms - h.from_ms;
        if (d->n_holes == VERIFY_HOLES_MAX)
                return;
        list = reallocarray(d->holes, d->n_holes + 1, sizeof(*list));
        if (!list) {
                v->no_memory = true;
                return;
        }
        d->holes = list;
        list[d->n_holes++] = h;
}

static void echo(struct verify *v, struct verify_device *d, uint64_t seq, json_t *seen)
{
        struct verify_echo *list,
                e = {.line = v->line, .byte = v->byte, .seq = seq, .device = (size_t)(d - v->devices)};
        const char *log = json_string_value(json_object_get(seen, "log"));
        const char *root = json_string_value(json_object_get(seen, "root"));

        if (!log || !root || strlen(log) >= sizeof(e.log) || hex_decode(root, e.head.root, sizeof(e.head.root)) < 0)
                return;
        strcpy(e.log, log);
        e.head.size = number(seen, "size");
        for (size_t i = v->n_echoes; i-- > 0;) /* heartbeats mostly repeat themselves */
                if (strcmp(v->echoes[i].log, e.log) == 0 && memcmp(&v->echoes[i].head, &e.head, sizeof(e.head)) == 0)
                        return;
        list = reallocarray(v->echoes, v->n_echoes + 1, sizeof(*list));
        if (!list) {
                v->no_memory = true;
                return;
        }
        v->echoes = list;
        list[v->n_echoes++] = e;
}

/* What the agent that starts again says of the time since another one stopped. */
static const char *why_stopped(const char *event, const char *cause)
{
        if (!event || strcmp(event, "start") != 0 || !cause)
                return "the agent was stopped";
        if (strcmp(cause, "boot") == 0)
                return "the agent was stopped, the machine was started anew";
        return strcmp(cause, "upgrade") == 0 ? "the agent was upgraded" : "the agent was restarted";
}

static void coverage(struct verify *v, struct verify_device *d, uint64_t time_ms, json_t *c)
{
        const char *event = json_string_value(json_object_get(c, "event"));
        const char *mode = json_string_value(json_object_get(c, "mode"));
        uint64_t gap_ms = number(c, "gap_ms"), last = d->last_coverage_ms, lost = number(c, "lost");
        uint64_t asleep_ms = event && strcmp(event, "sleep") == 0 ? gap_ms : 0;

        d->coverage++;
        d->asleep_ms += asleep_ms;
        /* the device counts since it started; what it lost before the first record of the bundle is not of this bundle */
        if (d->coverage > 1 || d->first == 1)
                d->lost += lost >= d->lost_before ? lost - d->lost_before : lost;
        d->lost_before = lost;
        d->refused += number(c, "refused");
        if (d->first_coverage_ms == 0) {
                uint64_t from = v->from_ms > d->d.enrolled_ms ? v->from_ms : d->d.enrolled_ms;

                d->first_coverage_ms = time_ms;
                if (from > 0 && d->first > 1 && time_ms > from + limit_ms(v))
                        hole(v, d, (struct verify_hole){from, time_ms, "no coverage record in the bundle"});
        } else if (d->stopped) {
                hole(v, d,
                     (struct verify_hole){last, time_ms,
                                          why_stopped(event, json_string_value(json_object_get(c, "cause")))});
        } else if (event && strcmp(event, "gap") == 0 && gap_ms > 0) {
                hole(v, d,
                     (struct verify_hole){time_ms > last + gap_ms ? time_ms - gap_ms : last, time_ms,
                                          "the agent did not run"});
        } else if (time_ms > last && time_ms - last > asleep_ms && time_ms - last - asleep_ms > limit_ms(v)) {
                hole(v, d, (struct verify_hole){last, time_ms - asleep_ms, "no coverage record"});
        } else if (time_ms > last && !d->enforced) {
                d->monitor_ms += time_ms - last > asleep_ms ? time_ms - last - asleep_ms : 0;
        }
        d->stopped = event && strcmp(event, "stop") == 0;
        d->enforced = mode && strcmp(mode, "enforce") == 0;
        if (time_ms > d->last_coverage_ms)
                d->last_coverage_ms = time_ms;
}

void verify_record(struct verify *v, struct verify_device *d, uint64_t seq, const uint8_t *prev, const char *text,
                   size_t size)
{
        json_auto_t *o = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        json_t *own = json_object_get(json_object_get(o, "unmapped"), "onchannel");
        const char *uid = json_string_value(json_object_get(json_object_get(o, "metadata"), "uid"));
        const char *kind = json_string_value(json_object_get(own, "kind"));
        const char *says = json_string_value(json_object_get(own, "prev"));
        char expected[DEVICE_ID_MAX + 24], hex[2 * CHAIN_HASH_SIZE + 1];

        snprintf(expected, sizeof(expected), "%.*s:%" PRIu64, (int)device_id_size(d->d.id), d->d.id, seq);
        hex_encode(prev, CHAIN_HASH_SIZE, hex);
        if (!kind || !uid || strcmp(uid, expected) != 0)
                verify_problem(v, d, seq, "the device sealed something that is not its record %" PRIu64, seq);
        else if (says && strcmp(says, hex) != 0)
                verify_problem(v, d, seq, "record %" PRIu64 " was written to follow another one", seq);
        else if (strcmp(kind, "violation") == 0)
                d->violations++;
        else if (strcmp(kind, "coverage") == 0) {
                json_t *c = json_object_get(own, "coverage");

                coverage(v, d, number(o, "time"), c);
                echo(v, d, seq, json_object_get(c, "checkpoint"));
        }
}

void verify_coverage_end(struct verify *v, struct verify_device *d)
{
        uint64_t to = v->to_ms > 0 && v->to_ms < v->created_ms ? v->to_ms : v->created_ms;

        if (d->coverage == 0)
                hole(v, d, (struct verify_hole){d->d.enrolled_ms, to, "not one coverage record in the bundle"});
        else if (to > d->last_coverage_ms + limit_ms(v))
                hole(v, d,
                     (struct verify_hole){d->last_coverage_ms, to,
                                          d->stopped ? "the agent was stopped" : "silent since then"});
}
