/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the kernel side tells, before everything else; in a flood of it the rest of the agent has its turns. */
#include "agent/runtime.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"

#define RECORDS_PER_TURN 256
#define RECORDS_AT_END   262144
#define RECORDS_US       20000 /* one may take long: it has to be answered where its namespace must be found first */
#define END_US           10000000 /* what is left then waits for the next agent */
#define TURN_US          20000 /* after so long all others are to have had a turn, */
#define STARVING_US      50000 /* and where they have not, they have */
#define PAUSE_US         50000 /* at most */

static int read_on(struct runtime *rt)
{
        rt->ring_since_us = 0;
        return sd_event_source_set_enabled(rt->on_ring, SD_EVENT_ON);
}

static int on_pause_over(sd_event_source *s, uint64_t usec, void *userdata)
{
        return read_on(userdata);
}

/* Nobody waits. */
static int on_turn(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct runtime *rt = userdata;

        sd_event_source_set_enabled(rt->on_ring_pause, SD_EVENT_OFF);
        return read_on(rt);
}

static int arm(sd_event_source *timer, uint64_t after_us)
{
        int r = sd_event_source_set_time_relative(timer, after_us);

        return r < 0 ? r : sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

/* What a full ring has no room for is counted, and looked at by the walk. */
static int let_others(struct runtime *rt)
{
        uint64_t now = clock_ns(CLOCK_MONOTONIC) / 1000;
        int r;

        if (!rt->ring_since_us) {
                rt->ring_since_us = now;
                return arm(rt->on_ring_turn, TURN_US);
        }
        if (now < rt->ring_since_us + STARVING_US)
                return 0;
        r = arm(rt->on_ring_pause, PAUSE_US);
        return r < 0 ? r : sd_event_source_set_enabled(rt->on_ring, SD_EVENT_OFF);
}

static int on_ring(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct runtime *rt = userdata;
        int r = watch_dispatch(rt->watch, RECORDS_PER_TURN, RECORDS_US);

        if (r < 0 && r != -EAGAIN && r != -EINTR)
                log_errno(LOG_ERR, r, "cannot read the ring buffer");
        return let_others(rt);
}

static int add_timer(struct runtime *rt, sd_event_time_handler_t handler, int64_t priority, sd_event_source **ret)
{
        int r = sd_event_add_time_relative(rt->event, ret, CLOCK_MONOTONIC, 0, 1, handler, rt);

        if (r >= 0)
                r = sd_event_source_set_priority(*ret, priority);
        return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

int ring_start(struct runtime *rt)
{
        int r = sd_event_add_io(rt->event, &rt->on_ring, watch_fd(rt->watch), EPOLLIN, on_ring, rt);

        if (r >= 0)
                r = sd_event_source_set_priority(rt->on_ring, PRIORITY_ENFORCEMENT);
        if (r >= 0)
                r = add_timer(rt, on_pause_over, PRIORITY_ENFORCEMENT, &rt->on_ring_pause);
        return r < 0 ? r : add_timer(rt, on_turn, PRIORITY_TELEMETRY, &rt->on_ring_turn);
}

void ring_end(struct runtime *rt)
{
        sd_event_source_disable_unref(rt->on_ring);
        sd_event_source_disable_unref(rt->on_ring_pause);
        sd_event_source_disable_unref(rt->on_ring_turn);
}

void ring_drain(struct runtime *rt)
{
        (void)watch_dispatch(rt->watch, RECORDS_AT_END, END_US);
}
