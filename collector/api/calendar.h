/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What a device's coverage records prove of each day (UTC), by the definition in ARCHITECTURE.md, "Coverage calendar".
 * Pure: no I/O, no clock. Times are UTC milliseconds since 1970, as the device had them. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALENDAR_DAYS_MAX  92
#define CALENDAR_HOLES_MAX 200
#define CALENDAR_DAY_MS    86400000ull
#define CALENDAR_LATE_MS   60000 /* that much later than promised is no hole */
#define CALENDAR_TEXT_MAX  160

/* From the best to the worst: of a moment that is claimed twice the worse counts, of a day its worst moment. */
enum cover {
        COVER_NONE, /* before the first record */
        COVER_OFF, /* the machine was shut down in order, or slept */
        COVER_FULL, /* enforced, and the next record came when it was due */
        COVER_MONITOR, /* reported, not blocked: mode monitor, a break-glass token, no policy */
        COVER_EXPLAINED, /* nobody watched, and a record says for how long and why */
        COVER_DOUBT, /* watched, but events were lost or the self-test failed */
        COVER_SILENT, /* since the last record: it is overdue, and may still come */
        COVER_GAP, /* nothing explains it */
        _COVER_MAX,
};
const char *cover_to_string(enum cover c);

struct cover_record {
        uint64_t seq, time_ms;
        uint64_t boottime_ms, gap_ms, heartbeat_ms, lost;
        char boot[40]; /* the boot's id */
        char detail[CALENDAR_TEXT_MAX]; /* "" */
        bool is_gap, is_sleep, is_stop, is_start, in_force, in_doubt;
        bool is_known; /* false: erased */
};
/* The bytes of a coverage record. -EBADMSG when they are none. */
int cover_record_parse(const char *text, size_t size, struct cover_record *ret);

struct calendar {
        uint64_t from_ms, now_ms; /* from: the beginning of a day */
        unsigned n_days;
        struct cover_record *records; /* in any order; heap */
        size_t n_records, n_allocated;
};
/* -ENOMEM */
int calendar_add(struct calendar *c, const struct cover_record *r);
void calendar_done(struct calendar *c);
/* {"days":[{"day":"2026-11-21","state":"covered","minutes":{"covered":1440}}],"counts":{state:days},
 * "holes":[{"from","to","state","why"}],"holes_left_out":n}; NULL without memory. Sorts the records. */
json_t *calendar_json(struct calendar *c);
