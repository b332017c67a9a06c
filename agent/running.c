/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What runs and what is connected already when a rule set comes into force. */
#include "agent/runtime.h"

#include <inttypes.h>
#include <string.h>

#include "agent/classify/proc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define AGAIN_US  200000
#define PIECE_NS  20000000 /* then others have their turn */
#define UNREAD_US 5000000 /* at most */

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

static void add_process(uint32_t tgid, void *userdata)
{
        buf_add(userdata, &tgid, sizeof(tgid));
}

static bool is_under_way(const struct walk *w)
{
        return w->tgids.size > 0;
}

static void clear(struct walk *w)
{
        buf_done(&w->tgids);
        w->next = 0;
}

static int begin(struct runtime *rt)
{
        struct walk *w = &rt->walk;
        int r;

        clear(w);
        w->unread_us = !w->is_unread ? AGAIN_US : 2 * w->unread_us < UNREAD_US ? 2 * w->unread_us : UNREAD_US;
        w->is_unread = false;
        r = watch_each_process(rt->watch, add_process, &w->tgids);
        w->is_another = buf_error(&w->tgids) < 0; /* some found no room */
        return r;
}

static void look_at(struct runtime *rt, uint32_t tgid)
{
        struct fact f = {.layer = LAYER_EXEC,
                         .tier = TIER_PROGRAM,
                         .outcome = OUTCOME_PASSED,
                         .tgid = tgid,
                         .boottime_ns = clock_ns(CLOCK_BOOTTIME)};

        rt->walk.is_full = false;
        rt->walk.is_looking = true;
        if (read_uid(tgid, f.boottime_ns, &f.uid))
                facts_handle_running(rt, &f);
        rt->walk.is_looking = false;
}

/* True: there is more. */
static bool look_at_some(struct runtime *rt)
{
        uint64_t end = clock_ns(CLOCK_MONOTONIC) + PIECE_NS;
        struct walk *w = &rt->walk;
        const uint32_t *tgids = (const uint32_t *)w->tgids.data;
        size_t n = w->tgids.size / sizeof(*tgids);

        for (; w->next < n && clock_ns(CLOCK_MONOTONIC) < end; w->next++) {
                look_at(rt, tgids[w->next]);
                if (w->is_full)
                        return true;
        }
        return w->next < n;
}

static void go_on(struct runtime *rt, int64_t priority);

static int on_again(sd_event_source *s, uint64_t usec, void *userdata)
{
        go_on(userdata, PRIORITY_ENFORCEMENT);
        return 0;
}

/* The walk begins, or goes on, then at the latest. */
static void arm(struct runtime *rt, uint64_t after_us)
{
        uint64_t when = clock_ns(CLOCK_MONOTONIC) / 1000 + after_us, due;
        int r;

        if (!rt->on_running_again)
                r = sd_event_add_time(rt->event, &rt->on_running_again, CLOCK_MONOTONIC, when, 0, on_again, rt);
        else {
                if (sd_event_source_get_enabled(rt->on_running_again, NULL) > 0 &&
                    sd_event_source_get_time(rt->on_running_again, &due) >= 0 && due <= when)
                        return;
                sd_event_source_set_time(rt->on_running_again, when);
                r = sd_event_source_set_enabled(rt->on_running_again, SD_EVENT_ONESHOT);
        }
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot schedule the look at what was missed");
}

static int on_running(sd_event_source *s, void *userdata)
{
        struct runtime *rt = userdata;
        struct walk *w = &rt->walk;
        bool is_first = !is_under_way(w), is_more;
        int r;

        r = is_first ? begin(rt) : 0;
        is_more = look_at_some(rt);
        /* after the programs: what is learnt about them decides about their sockets */
        if (r >= 0 && (is_first || !is_more))
                r = watch_walk_sockets(rt->watch);
        if (is_more) {
                if (w->is_full)
                        arm(rt, AGAIN_US);
                else
                        go_on(rt, PRIORITY_CONTROL);
        } else {
                clear(w);
                if (w->is_another)
                        arm(rt, AGAIN_US);
                if (w->is_unread)
                        arm(rt, w->unread_us);
        }
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot look at what is running; new connections are judged all the same");
        return 0;
}

static void go_on(struct runtime *rt, int64_t priority)
{
        int r = 0;

        if (!rt->on_running)
                r = sd_event_add_defer(rt->event, &rt->on_running, on_running, rt);
        if (r >= 0)
                r = sd_event_source_set_priority(rt->on_running, priority);
        if (r >= 0)
                r = sd_event_source_set_enabled(rt->on_running, SD_EVENT_ONESHOT);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot schedule the look at what is running");
}

void running_schedule(struct runtime *rt)
{
        clear(&rt->walk); /* of the rule set before */
        go_on(rt, PRIORITY_ENFORCEMENT);
}

void running_again(struct runtime *rt)
{
        if (rt->walk.is_looking) {
                rt->walk.is_full = true;
                return;
        }
        rt->walk.is_another = true;
        if (!is_under_way(&rt->walk))
                arm(rt, AGAIN_US);
}

void running_unread(struct runtime *rt)
{
        struct walk *w = &rt->walk;

        if (w->is_unread)
                return;
        w->is_unread = true;
        if (!is_under_way(w))
                arm(rt, w->unread_us);
}

void running_check_losses(struct runtime *rt)
{
        struct watch_counters c;

        if (watch_counters(rt->watch, &c) < 0 || c.lost == rt->walk.lost)
                return;
        rt->walk.lost = c.lost;
        running_again(rt);
}

void running_end(struct runtime *rt)
{
        clear(&rt->walk);
        sd_event_source_disable_unref(rt->on_running);
        sd_event_source_disable_unref(rt->on_running_again);
}
