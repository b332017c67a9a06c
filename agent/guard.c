/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The agent looks after itself: pins and files that somebody removes are put back at once, programs
 * and maps are looked at every few seconds (no event tells of a detached link), and the clocks say
 * when nobody was looking. */
#include "agent/runtime.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

#define USEC_PER_SEC  1000000ull
#define LATE_US       (5 * USEC_PER_SEC) /* later than this, the agent was stopped or starved */
#define CLOCK_STEP_MS 1000

#define REMOVED (IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF)
#define CHANGED (REMOVED | IN_MOVED_TO | IN_CLOSE_WRITE)

/* ---- files ---- */

static int on_file(sd_event_source *s, const struct inotify_event *e, void *userdata);
static int on_pin(sd_event_source *s, const struct inotify_event *e, void *userdata);

/* Root's containers may have used up fs.inotify.max_user_instances, which Debian sets to 128. */
int guard_poll(struct runtime *rt, const char *folder, int r)
{
        if (!rt->is_polling)
                log_errno(LOG_WARNING, r, "cannot watch '%s'; the agent's folders are looked at every %u s instead",
                          folder, (unsigned)rt->config->check);
        rt->is_polling = true;
        return 0;
}

void guard_watch_incoming(struct runtime *rt, const char *folder, sd_event_inotify_handler_t handler)
{
        sd_event_source *s;
        int r = sd_event_add_inotify(rt->event, &s, folder, IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW, handler, rt);

        if (r < 0) {
                guard_poll(rt, folder, r);
                return;
        }
        sd_event_source_set_priority(s, PRIORITY_CONTROL);
        sd_event_source_set_floating(s, true);
        sd_event_source_unref(s);
}

static void poll_folders(struct runtime *rt)
{
        sd_event_source_set_enabled(rt->on_state, SD_EVENT_ONESHOT);
        if (report_read_ack(rt->report) >= 0)
                status_dirty(rt);
        aside_look(rt);
        reload_look(rt);
        exempt_look(rt);
}

/* Watched again as soon as it is back, when somebody removed it. */
static void watch_folder(struct runtime *rt, enum guarded g)
{
        static const char *const names[_GUARDED_MAX] = {
                [GUARDED_STATE] = "", [GUARDED_POLICY] = "/policy", [GUARDED_SPOOL] = "/spool", [GUARDED_PINS] = ""};
        bool pins = g == GUARDED_PINS;
        _cleanup_free_ char *path = format_new("%s%s", pins ? rt->config->bpffs : rt->config->state, names[g]);
        int r;

        if (rt->on_folder[g])
                return;
        r = !path ? -ENOMEM
                  : sd_event_add_inotify(rt->event, &rt->on_folder[g], path,
                                         (pins ? REMOVED : CHANGED) | IN_ONLYDIR | IN_DONT_FOLLOW,
                                         pins ? on_pin : on_file, rt);
        if (r < 0)
                guard_poll(rt, path ? path : "", r);
        else
                sd_event_source_set_priority(rt->on_folder[g], PRIORITY_CONTROL);
}

static void forget_folder(struct runtime *rt, sd_event_source *s)
{
        for (enum guarded g = 0; g < _GUARDED_MAX; g++)
                if (rt->on_folder[g] == s)
                        rt->on_folder[g] = sd_event_source_disable_unref(s);
}

static void tell_state(struct runtime *rt, const char *what, int r)
{
        char text[256];

        snprintf(text, sizeof(text), "somebody removed or changed %s; %s", what,
                 r < 0 ? strerror(-r) : "it was put back");
        health_tamper(rt, TAMPER_STATE, text, r < 0 ? OUTCOME_PASSED : OUTCOME_DENIED);
}

static void mend_report(struct runtime *rt)
{
        char text[128];
        uint64_t lost;
        int r;

        r = report_mend(rt->report, rt->state_bytes, &lost);
        rt->state_bytes = false;
        if (lost == 0) {
                if (r != 0)
                        tell_state(rt, "the device key or records in the spool", r);
                return;
        }
        snprintf(text, sizeof(text), "somebody removed or changed the spool; %" PRIu64 " records are lost", lost);
        health_tamper(rt, TAMPER_SPOOL, text, OUTCOME_PASSED);
}

static int on_state(sd_event_source *s, void *userdata)
{
        struct runtime *rt = userdata;
        _cleanup_free_ char *last_run = format_new("%s/last-run", rt->config->state);
        int r;

        dir_make(rt->config->state, 0750);
        r = store_mend(rt->store);
        if (r != 0)
                tell_state(rt, "the policy in force", r);
        mend_report(rt);
        if (last_run && access(last_run, F_OK) < 0) {
                r = lastrun_write(rt->config->state, &rt->lastrun);
                tell_state(rt, "the note of the last run", r);
        }
        r = rt->is_config_kept ? config_keep(rt->config) : 0;
        if (r != 0)
                tell_state(rt, "the configuration of this start", r);
        for (enum guarded g = 0; g < _GUARDED_MAX; g++)
                watch_folder(rt, g);
        status_dirty(rt);
        return 0;
}

/* What the agent itself writes comes by here as well and is found to be right. */
static int on_file(sd_event_source *s, const struct inotify_event *e, void *userdata)
{
        struct runtime *rt = userdata;

        if (e->mask & IN_CLOSE_WRITE && e->len && text_ends_with(e->name, ".seg"))
                rt->state_bytes = true;
        if (e->mask & IN_IGNORED)
                forget_folder(rt, s);
        return sd_event_source_set_enabled(rt->on_state, SD_EVENT_ONESHOT);
}

static int on_pin(sd_event_source *s, const struct inotify_event *e, void *userdata)
{
        struct runtime *rt = userdata;

        health_check_sensors(rt);
        if (!(e->mask & IN_IGNORED))
                return 0;
        forget_folder(rt, s);
        watch_folder(rt, GUARDED_PINS);
        return 0;
}

/* ---- clocks ---- */

/* How long nobody looked. A machine that sleeps is no gap: CLOCK_MONOTONIC sleeps with it. */
static void check_stall(struct runtime *rt)
{
        uint64_t now = clock_ns(CLOCK_MONOTONIC) / 1000, due = rt->checked_us + rt->config->check * USEC_PER_SEC;
        char text[128];

        rt->checked_us = now;
        if (now < due + LATE_US)
                return;
        snprintf(text, sizeof(text), "the agent stood still for %" PRIu64 " s; what it had attached went on",
                 (uint64_t)((now - due) / USEC_PER_SEC));
        log_line(LOG_WARNING, "%s", text);
        health_coverage(rt, COVERAGE_GAP, (now - due) / 1000, text);
}

static int on_check(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct runtime *rt = userdata;

        check_stall(rt);
        health_check_sleep(rt);
        health_check_sensors(rt);
        running_check_losses(rt);
        status_tell_refused(rt);
        answer_log_rest(rt);
        if (!rt->control) /* /run was full */
                control_open(rt);
        if (rt->is_polling)
                poll_folders(rt);
        sd_event_source_set_time_relative(s, rt->config->check * USEC_PER_SEC);
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int64_t clock_offset_ms(void)
{
        return (int64_t)clock_utc_ms() - (int64_t)clock_boottime_ms();
}

static int on_clock(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct runtime *rt = userdata;
        int64_t offset = clock_offset_ms(), step = offset - rt->clock_offset_ms;
        char text[96];

        rt->clock_offset_ms = offset;
        health_check_sleep(rt);
        if (step >= CLOCK_STEP_MS || step <= -CLOCK_STEP_MS) {
                snprintf(text, sizeof(text), "the clock was set %s by %" PRIu64 ".%03" PRIu64 " s",
                         step < 0 ? "back" : "forward", (uint64_t)llabs(step) / 1000, (uint64_t)llabs(step) % 1000);
                log_line(LOG_WARNING, "%s", text);
                health_coverage(rt, COVERAGE_CLOCK, 0, text);
                exempt_tick(rt);
        }
        return clock_watch_again(fd);
}

static int watch_clock(struct runtime *rt)
{
        _cleanup_fd_ int fd = clock_watch_new();
        int r = fd < 0 ? fd : 0;

        rt->clock_offset_ms = clock_offset_ms();
        if (r >= 0)
                r = sd_event_add_io(rt->event, &rt->on_clock, fd, EPOLLIN, on_clock, rt);
        if (r >= 0) {
                sd_event_source_set_io_fd_own(rt->on_clock, true);
                TAKE_FD(fd);
        }
        return r;
}

int guard_start(struct runtime *rt)
{
        int r;

        rt->checked_us = clock_ns(CLOCK_MONOTONIC) / 1000;
        r = sd_event_add_defer(rt->event, &rt->on_state, on_state, rt); /* looks once at the start as well */
        if (r >= 0)
                r = sd_event_add_time_relative(rt->event, &rt->on_check, CLOCK_MONOTONIC,
                                               rt->config->check * USEC_PER_SEC, USEC_PER_SEC / 4, on_check, rt);
        if (r >= 0)
                r = watch_clock(rt);
        for (enum guarded g = 0; r >= 0 && g < _GUARDED_MAX; g++)
                watch_folder(rt, g);
        return r < 0 ? log_errno(LOG_ERR, r, "cannot guard the agent's own files") : 0;
}
