/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who asks to be enrolled, before any token was looked at: a device by its own key, under a name that is one, or a reason. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "collector/api/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        json_auto_t *o = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
        struct enrolment e = {0};
        char id[DEVICE_ID_MAX];

        if (sodium_init() < 0)
                abort();
        if (!json_is_object(o) || enrolment_parse(o, &e))
                return 0;
        device_id_format(e.key, id);
        if (!e.csr || !*e.name || strlen(e.name) >= STORE_NAME_MAX || strpbrk(e.name, " '/\"<\n") ||
            strcmp(id, e.id) != 0)
                abort();
        return 0;
}
