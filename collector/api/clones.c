/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One device key on two machines, as a disk image that was copied with it has: each of these cannot be of one machine. A
 * chain that comes apart is told in reports.c; two copies that have recorded nothing yet are told here. */
#include <search.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "collector/api/private.h"

#define DAY_MS        (86400 * 1000ull)
#define HOUR_MS       (3600 * 1000ull)
#define RETURNS_CLONE 2 /* to an older connection, after a newer one was used: libcurl keeps to one */

enum evidence {
        EVIDENCE_BOOT,
        EVIDENCE_CERTIFICATE,
        EVIDENCE_CONNECTIONS,
        _EVIDENCE_MAX,
};

/* Once a day for each kind of evidence. */
static void clone_found(struct api *a, const struct store_device *d, enum evidence which, const char *text)
{
        finding_add(a, FINDING_CLONE, d, clock_utc_ms() / DAY_MS * _EVIDENCE_MAX + which, text);
}

void clone_check_certificate(struct http_request *req, const struct store_device *d)
{
        /* the one before counts until the next one is used; on a connection that is opened after that it is a copy */
        if (http_connection_since_ms(req) > d->certificate_ms)
                clone_found(api_of(req), d, EVIDENCE_CERTIFICATE,
                            "a certificate is in use whose successor was in use before: its key was copied");
}

void clone_check_boot(struct api *a, const struct store_device *d, const char *boot)
{
        int r = store_boot_note(a->store, d->number, boot, clock_utc_ms());

        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot note the boot of %s, ignoring", d->id);
        else if (r > 0)
                clone_found(a, d, EVIDENCE_BOOT,
                            "it runs in a boot from before another one began: two machines are on");
}

struct path {
        char id[DEVICE_ID_MAX];
        uint64_t latest; /* number of the newest connection that was used */
        unsigned returns;
        uint64_t returned_ms; /* loop_now_ms() */
};

static int path_compare(const void *a, const void *b)
{
        return strcmp(((const struct path *)a)->id, ((const struct path *)b)->id);
}

void clone_check_connection(struct http_request *req, const struct store_device *d)
{
        struct api *a = api_of(req);
        uint64_t number = http_connection_number(req);
        _cleanup_free_ struct path *new = calloc(1, sizeof(*new));
        struct path **found;

        if (!new)
                return;
        strcpy(new->id, d->id);
        found = tsearch(new, &a->paths, path_compare);
        if (!found)
                return;
        if (*found == new)
                TAKE_PTR(new);
        if (number >= (*found)->latest) {
                (*found)->latest = number;
                return;
        }
        (*found)->latest = number; /* the other one is newer: it returns with its next request */
        if (http_now_ms(req) > (*found)->returned_ms + HOUR_MS)
                (*found)->returns = 0;
        (*found)->returned_ms = http_now_ms(req);
        (*found)->returns++;
        if ((*found)->returns >= RETURNS_CLONE)
                clone_found(a, d, EVIDENCE_CONNECTIONS, "two connections are in use by turns, from two machines");
}
