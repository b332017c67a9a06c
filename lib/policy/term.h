/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* How long an exemption holds. It ends when the wall clock says so, or when it has been in force for as long as
 * it lasts by CLOCK_BOOTTIME, whichever comes first: setting the clock back prolongs nothing, and what has ended
 * never comes back. What is left is kept on disk, so that a restart gives no time back either. Pure. */
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum term_state {
        TERM_FUTURE,
        TERM_IN_FORCE,
        TERM_ENDED,
        _TERM_STATE_MAX,
};
const char *term_state_to_string(enum term_state s); /* "future", "in force", "ended" */

struct term {
        time_t from, until; /* as the signed file has them */
        enum term_state state;
        uint64_t left_s; /* TERM_IN_FORCE: at the most */
        uint64_t seen_s; /* CLOCK_BOOTTIME when left_s was worked out; 0: before this boot */
};

struct term_clock {
        time_t now; /* trust_time() */
        uint64_t boottime_s; /* CLOCK_BOOTTIME, from 1 */
};

/* Bring it up to date; true when its state changed. */
bool term_update(struct term *t, const struct term_clock *c);
/* Ended before its time: revoked. */
void term_end(struct term *t);
