/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the collector itself concludes: OCSF Detection Findings (2004), each once for its kind, device and place. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "collector/api/private.h"

#define SILENT_MS        (15 * 60 * 1000ull) /* agents wait at most five minutes for a policy, then ask again */
#define OCSF_VERSION     "1.8.0"
#define CLASS_FINDING    2004
#define CATEGORY_FINDING 2
#define ACTIVITY_CREATE  1
#define STATUS_NEW       1
#define SEVERITY_MEDIUM  3
#define SEVERITY_HIGH    4
#define DEVICE_LAPTOP    3

static const struct {
        const char *kind, *title;
        int severity;
} kinds[] = {
        [FINDING_CHAIN_GAP] = {"chain-gap", "Records of a device are missing", SEVERITY_HIGH},
        [FINDING_CHAIN_FORK] = {"chain-fork", "Two histories of one device", SEVERITY_HIGH},
        [FINDING_LOG_FORK] = {"log-fork", "A device saw another history of the evidence log", SEVERITY_HIGH},
        [FINDING_CLONE] = {"clone", "One device key is used on two machines", SEVERITY_HIGH},
        [FINDING_SILENT] = {"silent", "A device has gone silent", SEVERITY_MEDIUM},
};
_Static_assert(ELEMENTSOF(kinds) == _FINDING_MAX, "enum finding");

const char *finding_kind(enum finding which)
{
        return kinds[which].kind;
}

static char *body_new(enum finding which, const struct store_device *d, uint64_t now_ms, const char *text)
{
        char uid[DEVICE_ID_MAX + 48];
        json_auto_t *o = NULL;

        snprintf(uid, sizeof(uid), "%s:%s:%llu", kinds[which].kind, d->id, (unsigned long long)now_ms);
        o = json_pack(
                "{s:i,s:i,s:i,s:i,s:I,s:i,s:i,s:s,s:{s:s,s:s,s:I},s:{s:s,s:s,s:[s],s:{s:s,s:s,s:s}},s:{s:s,s:s,s:i}}",
                "class_uid", CLASS_FINDING, "category_uid", CATEGORY_FINDING, "activity_id", ACTIVITY_CREATE,
                "type_uid", CLASS_FINDING * 100 + ACTIVITY_CREATE, "time", (json_int_t)now_ms, "severity_id",
                kinds[which].severity, "status_id", STATUS_NEW, "message", text, "finding_info", "uid", uid, "title",
                kinds[which].title, "created_time", (json_int_t)now_ms, "metadata", "version", OCSF_VERSION, "uid",
                uid, "profiles", "host", "product", "name", "onchannel", "vendor_name", "onchannel", "version",
                onchannel_version, "device", "uid", d->id, "hostname", d->name, "type_id", DEVICE_LAPTOP);
        return o ? json_dumps(o, JSON_COMPACT) : NULL;
}

void finding_add(struct api *a, enum finding which, const struct store_device *d, uint64_t place, const char *text)
{
        uint64_t now_ms = clock_utc_ms();
        _cleanup_free_ char *body = body_new(which, d, now_ms, text);
        int r = body ? store_finding_add(a->store, &(struct store_finding){.time_ms = now_ms,
                                                                           .kind = kinds[which].kind,
                                                                           .device = d->id,
                                                                           .place = place,
                                                                           .body = body})
                     : -ENOMEM;

        if (r < 0)
                log_errno(LOG_ERR, r, "a finding about %s cannot be kept: %s", d->id, text);
        else if (r > 0)
                log_line(LOG_WARNING, "finding %s about %s: %s", kinds[which].kind, d->id, text);
}

struct silent {
        struct store_device d;
        struct silent *next;
};

static int silent_found(const struct store_device *d, void *userdata)
{
        struct silent **list = userdata, *found = calloc(1, sizeof(*found));

        if (!found)
                return -ENOMEM;
        *found = (struct silent){*d, *list};
        *list = found;
        return 0;
}

void findings_silence(struct api *a)
{
        const char *kind = kinds[FINDING_SILENT].kind;
        uint64_t now_ms = clock_utc_ms();
        struct silent *list = NULL;
        char text[160], when[TIME_TEXT_MAX];
        int r = store_silent(a->store, kind, now_ms - SILENT_MS, silent_found, &list);

        while (list) {
                struct silent *next = list->next;

                snprintf(text, sizeof(text), "'%s' was heard of last at %s", list->d.name,
                         time_format((time_t)(list->d.last_seen_ms / 1000), when));
                finding_add(a, FINDING_SILENT, &list->d, list->d.last_seen_ms, text);
                free(list);
                list = next;
        }
        if (r == 0)
                r = store_finding_end(a->store, kind, now_ms - SILENT_MS, now_ms);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot look for silent devices, ignoring");
}
