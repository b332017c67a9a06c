/* SPDX-License-Identifier: GPL-3.0-or-later */
/* STATE/uplink/contact, for people on this machine: when the collector answered last, and why it does not now. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#define CONTACT_PERIOD_MS 60000 /* while nothing changes */

void contact_note(struct uplink *u, const struct response *response, CURLcode code)
{
        _cleanup_free_ char *path = format_new("%s/uplink/contact", u->config.state), *text = NULL;
        char reason[UPLINK_ERROR_MAX] = "";
        uint64_t now = clock_utc_ms();
        int r;

        if (code != CURLE_OK)
                response_error(response, code, reason);
        if (strcmp(reason, u->contact.failing) == 0 &&
            (*reason || (u->contact.reached_ms && now - u->contact.reached_ms < CONTACT_PERIOD_MS)))
                return;
        strcpy(u->contact.failing, reason);
        if (!*reason)
                u->contact.reached_ms = now;
        text = format_new("%" PRIu64 " %s\n", u->contact.reached_ms / 1000, reason);
        r = path && text ? file_write_atomic(path, text, strlen(text), 0644) : -ENOMEM;
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot write '%s', ignoring", path ? path : "contact");
}

void contact_recall(struct uplink *u)
{
        _cleanup_free_ char *path = format_new("%s/uplink/contact", u->config.state), *text = NULL;
        uint64_t seconds;

        if (path && file_read(path, UPLINK_ERROR_MAX + 32, &text, NULL) >= 0 &&
            sscanf(text, "%" SCNu64, &seconds) == 1)
                u->contact.reached_ms = seconds * 1000;
}
