/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/state/lastrun.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "base/version.h"

#define LASTRUN_MAX_BYTES 512

#define LASTRUN_PRINT                                                                                                \
        "boot %s stopped %u utc_ms %" PRIu64 " boottime_ms %" PRIu64 " generation %" PRIu32 " since %" PRIu32        \
        " catalogue %s version %s\n"
#define LASTRUN_SCAN                                                                                                 \
        "boot %36[0-9a-f-] stopped %u utc_ms %" SCNu64 " boottime_ms %" SCNu64 " generation %" SCNu32                \
        " since %" SCNu32 " catalogue %64[0-9a-f] version %63s"

int lastrun_read(const char *state_dir, struct lastrun *ret)
{
        _cleanup_free_ char *path = format_new("%s/last-run", state_dir), *text = NULL;
        struct lastrun l = {0};
        unsigned stopped;
        int r;

        if (!path)
                return -ENOMEM;
        r = file_read(path, LASTRUN_MAX_BYTES, &text, NULL);
        if (r < 0)
                return r;
        if (sscanf(text, LASTRUN_SCAN, l.boot_id, &stopped, &l.utc_ms, &l.boottime_ms, &l.generation,
                   &l.same_numbers_since, l.catalogue_hash, l.version) < 7)
                return -EBADMSG;
        l.stopped = stopped != 0;
        *ret = l;
        return 0;
}

int lastrun_write(const char *state_dir, const struct lastrun *l)
{
        _cleanup_free_ char *path = format_new("%s/last-run", state_dir);
        char text[LASTRUN_MAX_BYTES];
        int n;

        n = snprintf(text, sizeof(text), LASTRUN_PRINT, l->boot_id, l->stopped, l->utc_ms, l->boottime_ms,
                     l->generation, l->same_numbers_since, l->catalogue_hash, l->version);
        return path ? file_write_atomic(path, text, (size_t)n, 0600) : -ENOMEM;
}

void lastrun_stamp(struct lastrun *l)
{
        _cleanup_free_ char *boot = NULL;

        l->utc_ms = clock_utc_ms();
        l->boottime_ms = clock_boottime_ms();
        snprintf(l->version, sizeof(l->version), "%s", onchannel_version);
        if (!*l->boot_id && file_read("/proc/sys/kernel/random/boot_id", LASTRUN_BOOT_ID, &boot, NULL) >= 0)
                snprintf(l->boot_id, sizeof(l->boot_id), "%.36s", boot);
}

uint64_t lastrun_gap_ms(const struct lastrun *last, const struct lastrun *now)
{
        bool same_boot = !strcmp(last->boot_id, now->boot_id);
        uint64_t from = same_boot ? last->boottime_ms : last->utc_ms;
        uint64_t to = same_boot ? now->boottime_ms : now->utc_ms;

        if (last->stopped)
                return 0;
        return to > from ? to - from : 1; /* the clock was set back: some gap all the same */
}

const char *lastrun_cause(const struct lastrun *last, const struct lastrun *now)
{
        if (!last)
                return "first";
        if (strcmp(last->boot_id, now->boot_id) != 0)
                return "boot";
        return strcmp(last->version, now->version) != 0 ? "upgrade" : "restart";
}
