/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/mydata.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "agent/control/control.h"
#include "base/cleanup.h"
#include "record/chain.h"
#include "spool/spool.h"

struct mydata {
        int fd;
        char uid[16];
        bool written; /* at least one record */
};

static bool is_about(const struct mydata *m, const char *record, size_t size)
{
        json_auto_t *o = json_loadb(record, size, 0, NULL);
        const json_t *user = json_object_get(json_object_get(json_object_get(o, "actor"), "user"), "uid");

        return json_is_string(user) && !strcmp(json_string_value(user), m->uid);
}

static int write_batch(struct mydata *m, const char *text, size_t size)
{
        _cleanup_(batch_done) struct batch b = {0};
        int r;

        r = batch_parse(text, size, NULL, &b, NULL);
        for (uint64_t i = 0; r >= 0 && i < b.seal.n; i++) {
                if (!is_about(m, b.records[i], b.sizes[i]))
                        continue;
                r = m->written ? control_write(m->fd, ",", 1) : 0;
                m->written = true;
                if (r >= 0)
                        r = control_write(m->fd, b.records[i], b.sizes[i]);
        }
        return r;
}

int mydata_write(int fd, uid_t uid, const char *spool_dir, const char *device_id)
{
        struct mydata m = {.fd = fd};
        uint64_t after = 0;
        int r;

        snprintf(m.uid, sizeof(m.uid), "%" PRIu32, (uint32_t)uid);
        r = control_write(fd, "[", 1);
        while (r >= 0) {
                _cleanup_free_ char *text = NULL;
                uint64_t first = 0, last = 0;
                size_t size;

                r = spool_read_batch(spool_dir, device_id, after, &text, &size, &first, &last);
                if (r == -ENOENT && first > after + 1) { /* older ones were acknowledged and deleted */
                        after = first - 1;
                        r = 0;
                        continue;
                }
                if (r < 0)
                        break;
                r = write_batch(&m, text, size);
                after = last;
        }
        return r == -ENODATA || r == -ENOENT ? control_write(fd, "]", 1) : r;
}
