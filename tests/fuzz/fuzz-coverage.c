/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A coverage record on its way into a calendar: whatever a device wrote, its days add up. */
#include <stdlib.h>
#include "collector/api/calendar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct calendar c = {.n_days = 2};
        struct cover_record r;
        json_t *o;

        if (cover_record_parse((const char *)data, size, &r) < 0)
                return 0;
        c.from_ms = r.time_ms - r.time_ms % CALENDAR_DAY_MS;
        c.now_ms = r.time_ms + CALENDAR_DAY_MS;
        if (calendar_add(&c, &r) < 0 || calendar_add(&c, &r) < 0)
                abort();
        c.records[1].seq++;
        c.records[1].time_ms += 7200000;
        o = calendar_json(&c);
        if (json_array_size(json_object_get(o, "days")) != 2)
                abort();
        json_decref(o);
        calendar_done(&c);
        return 0;
}
