/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whatever a collector answers: a number, a sentence that fits and is printable, files, certificates. No certificate that
 * it makes up is for this device. */
#include <stdlib.h>
#include <string.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct uplink_config nowhere = {.state = (char *)"/nonexistent"};
        struct response r = {.status = 400};
        char error[UPLINK_ERROR_MAX];
        uint64_t next;

        buf_add(&r.body, data, size);
        buf_add(&r.body, "", 1);
        if (buf_error(&r.body) < 0)
                return 0;
        r.body.size = size;
        (void)response_number(&r, "next", &next);
        for (const char *p = response_error(&r, CURLE_OK, error); *p; p++)
                if ((unsigned char)*p < ' ' || *p == 127)
                        abort();
        (void)policy_store(&nowhere, (const char *)r.body.data, size);
        if (certificate_check((const char *)r.body.data, (const char *)r.body.data, (const char *)r.body.data,
                              "d-fuzz") == 0)
                abort();
        buf_done(&r.body);
        return 0;
}
