/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What runs and what is connected already when a rule set comes into force. */
#include "agent/runtime.h"

#include <inttypes.h>
#include <string.h>

#include "agent/classify/proc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define AGAIN_US 200000

/* The person, as in bpf/person.h. proc(5): "Uid:\tREAL\tEFFECTIVE\t…" */
static bool read_uid(uint32_t tgid, uint64_t boottime_ns, uint32_t *ret)
{
        char text[PROC_FILE_MAX];
        _cleanup_fd_ int fd = -1;
        const char *line;

        if (proc_open(tgid, boottime_ns, &fd) < 0 || proc_text(fd, "status", text) < 0)
                return false;
        if (proc_namespace_owner(fd, ret) == 0 && *ret)
                return true;
        line = strstr(text, "\nUid:\t");
        return line && sscanf(line + strlen("\nUid:\t"), "%" SCNu32, ret) == 1;
}

static void look_at(uint32_t tgid, void *userdata)
{
        struct fact f = {.layer = LAYER_EXEC, .tier = TIER_PROGRAM, .outcome = OUTCOME_PASSED, .tgid = tgid};
        struct runtime *rt = userdata;

        if (rt->missed.is_full || tgid < rt->missed.from)
                return;
        f.boottime_ns = clock_ns(CLOCK_BOOTTIME);
        if (read_uid(tgid, f.boottime_ns, &f.uid))
                facts_handle_running(rt, &f);
        if (rt->missed.is_full)
                rt->missed.from = tgid;
}

static void schedule(struct runtime *rt);

static int on_again(sd_event_source *s, uint64_t usec, void *userdata)
{
        schedule(userdata);
        return 0;
}

static void arm(struct runtime *rt)
{
        int r = 0, enabled = SD_EVENT_OFF;

        if (!rt->on_running_again)
                r = sd_event_add_time_relative(rt->event, &rt->on_running_again, CLOCK_MONOTONIC, AGAIN_US, 0,
                                               on_again, rt);
        else if (sd_event_source_get_enabled(rt->on_running_again, &enabled) >= 0 && enabled == SD_EVENT_OFF) {
                sd_event_source_set_time_relative(rt->on_running_again, AGAIN_US);
                r = sd_event_source_set_enabled(rt->on_running_again, SD_EVENT_ONESHOT);
        }
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot schedule the look at what was missed");
}

static int on_running(sd_event_source *s, void *userdata)
{
        struct runtime *rt = userdata;
        struct missed *m = &rt->missed;
        int r;

        m->is_walking = true;
        m->is_full = false;
        if (m->from == 0)
                m->is_another = false;
        /* programs first: what is learnt about them decides about their sockets */
        r = watch_each_process(rt->watch, look_at, rt);
        if (r >= 0)
                r = watch_walk_sockets(rt->watch);
        m->is_walking = false;
        if (!m->is_full)
                m->from = 0;
        if (m->is_full || m->is_another)
                arm(rt);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot look at what is running; new connections are judged all the same");
        return 0;
}

static void schedule(struct runtime *rt)
{
        int r;

        if (rt->on_running) {
                sd_event_source_set_enabled(rt->on_running, SD_EVENT_ONESHOT);
                return;
        }
        r = sd_event_add_defer(rt->event, &rt->on_running, on_running, rt);
        if (r >= 0)
                r = sd_event_source_set_priority(rt->on_running, PRIORITY_ENFORCEMENT);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot schedule the look at what is running");
}

void running_schedule(struct runtime *rt)
{
        rt->missed.from = 0;
        schedule(rt);
}

void running_again(struct runtime *rt)
{
        if (rt->missed.is_walking) {
                rt->missed.is_full = true;
                return;
        }
        rt->missed.is_another = true;
        arm(rt);
}

void running_check_losses(struct runtime *rt)
{
        struct watch_counters c;

        if (watch_counters(rt->watch, &c) < 0 || c.lost == rt->missed.lost)
                return;
        rt->missed.lost = c.lost;
        running_again(rt);
}
