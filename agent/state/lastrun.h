/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the agent before this one left in the state folder: whether it ended in order, when it
 * was last alive, and how its rule set was numbered (the ring buffer outlives it). */
#include <stdbool.h>
#include <stdint.h>

#define LASTRUN_BOOT_ID 37
#define LASTRUN_VERSION 64

struct lastrun {
        char boot_id[LASTRUN_BOOT_ID];
        bool stopped; /* in order */
        uint64_t utc_ms; /* last sign of life */
        uint64_t boottime_ms;
        uint32_t generation;
        uint32_t same_numbers_since; /* see runtime.h */
        char catalogue_hash[65];
        char version[LASTRUN_VERSION]; /* of the agent; "" before there was one here */
};

/* Why an agent that finds `last` starts: "first" (NULL), "boot", "upgrade", "restart". */
const char *lastrun_cause(const struct lastrun *last, const struct lastrun *now);

/* -ENOENT first run, -EBADMSG unreadable. */
int lastrun_read(const char *state_dir, struct lastrun *ret);
int lastrun_write(const char *state_dir, const struct lastrun *l);
/* Stamp with the clocks, this boot and this version. */
void lastrun_stamp(struct lastrun *l);
/* How long nobody ran, 0 when the last run ended in order. `now` is a stamped one. */
uint64_t lastrun_gap_ms(const struct lastrun *last, const struct lastrun *now);
