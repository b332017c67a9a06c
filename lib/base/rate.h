/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* How much of something there may be in a time: `room` at once, and as much again when that long has passed. In whatever
 * unit its owner's clock has. All zero but `room` is a fresh one. */
#include <stdbool.h>
#include <stdint.h>

struct rate {
        uint64_t room;
        uint64_t until; /* what was taken is paid for then */
};

static inline bool rate_has_room(struct rate *r, uint64_t now)
{
        if (r->until < now)
                r->until = now;
        return r->until - now < r->room;
}

/* May go beyond the room once there is some: what something costs may be known behind it only. */
static inline void rate_take(struct rate *r, uint64_t cost)
{
        r->until += cost;
}
