/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What runs and what is connected already when a rule set comes into force. */
#include "agent/runtime.h"

#include <inttypes.h>
#include <string.h>

#include "agent/classify/proc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

/* proc(5): "Uid:\tREAL\tEFFECTIVE\t…"; exec events carry the real one as well. */
static bool read_uid(uint32_t tgid, uint64_t boottime_ns, uint32_t *ret)
{
        char text[PROC_FILE_MAX];
        _cleanup_fd_ int fd = -1;
        const char *line;

        if (proc_open(tgid, boottime_ns, &fd) < 0 || proc_text(fd, "status", text) < 0)
                return false;
        line = strstr(text, "\nUid:\t");
        return line && sscanf(line + strlen("\nUid:\t"), "%" SCNu32, ret) == 1;
}

static void look_at(uint32_t tgid, void *userdata)
{
        struct fact f = {.layer = LAYER_EXEC, .tier = TIER_PROGRAM, .outcome = OUTCOME_PASSED, .tgid = tgid};
        f.boottime_ns = clock_ns(CLOCK_BOOTTIME);
        if (read_uid(tgid, f.boottime_ns, &f.uid))
                facts_handle_running(userdata, &f);
}

static int on_running(sd_event_source *s, void *userdata)
{
        struct runtime *rt = userdata;
        int r;

        /* programs first: what is learnt about them decides about their sockets */
        r = watch_each_process(rt->watch, look_at, rt);
        if (r >= 0)
                r = watch_walk_sockets(rt->watch);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot look at what is running; new connections are judged all the same");
        return 0;
}

void running_schedule(struct runtime *rt)
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
