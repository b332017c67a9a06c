/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The last word of a device's chain: enforcement was taken off. */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "agent/daemon.h"
#include "agent/report/report.h"
#include "agent/state/lastrun.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

/* STATE/chain-end, for whoever removes the state folder: "DEVICE SEQUENCE HEAD TIME". */
static int write_end(const struct config *c, const struct report *report)
{
        _cleanup_free_ char *path = format_new("%s/chain-end", c->state), *line = NULL;
        char head[2 * CHAIN_HASH_SIZE + 1], now[TIME_TEXT_MAX];
        struct report_state s = {0};

        report_get_state(report, &s);
        hex_encode(s.head, CHAIN_HASH_SIZE, head);
        line = format_new("%s %" PRIu64 " %s %s\n", s.device_id, s.next_seq - 1, head,
                          time_format((time_t)(clock_utc_ms() / 1000), now));
        return path && line ? file_write_atomic(path, line, strlen(line), 0644) : -ENOMEM;
}

static int write_record(const struct config *c, struct report *report)
{
        struct coverage last = {.event = COVERAGE_STOP, .mode = "none", .detail = "enforcement taken off"};
        int r = report_coverage(report, &last);

        return r < 0 ? r : write_end(c, report);
}

int release_record(const struct config *c)
{
        _cleanup_free_ char *key = format_new("%s/device.key", c->state);
        const struct group *g = getgrnam(c->uplink_group);
        struct report_options o = {.state_dir = c->state,
                                   .runtime_dir = c->runtime,
                                   .device_name = c->device,
                                   .group = g ? (int)g->gr_gid : -1};
        struct report *report = NULL;
        sd_event *event = NULL;
        struct lastrun now = {0};
        int r;

        if (!key || access(key, F_OK) < 0)
                return 0; /* no agent has been here */
        lastrun_stamp(&now);
        o.boot_id = now.boot_id;
        r = sd_event_new(&event);
        if (r >= 0)
                r = report_new(&o, event, &report);
        if (r >= 0)
                r = write_record(c, report);
        report_free(report);
        sd_event_unref(event);
        return r < 0 ? log_errno(LOG_ERR, r, "cannot record in '%s/spool' that enforcement was taken off", c->state)
                     : 0;
}

void release_forget(const struct config *c)
{
        _cleanup_free_ char *path = format_new("%s/chain-end", c->state);

        if (path)
                unlink(path);
}
