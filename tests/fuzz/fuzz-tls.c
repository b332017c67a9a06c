/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "wire/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct wire_bytes p = {data, (__u32)size};
        struct wire_name n = {};

        if (tls_server_name(&p, 0, p.size, &n) != WIRE_FOUND)
                return 0;
        /* the name stands in the packet as it was read */
        if (n.size < 1 || n.size > TLS_SNI_MAX + 1 || n.text[0] != '.' || !memmem(data, size, n.text + 1, n.size - 1))
                abort();
        return 0;
}
