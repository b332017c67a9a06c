/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A stream at once and byte by byte: the same result at the same place, and a name has its dot and fits. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "wire/socks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct wire_bytes p = {data, (uint32_t)size};
        struct socks_stream whole = {}, bytes = {};
        uint32_t end = 0, pos = 0;
        enum socks_result r = socks_feed(&whole, &p, &end, p.size), q = SOCKS_CUT;

        while (pos < p.size && q == SOCKS_CUT)
                q = socks_feed(&bytes, &p, &pos, pos + 1);
        if (q != r || pos != end || memcmp(&whole.host, &bytes.host, sizeof(whole.host)) != 0)
                abort();
        const struct wire_name *n = &whole.host.name;
        if (r == SOCKS_NAME && (n->size == 0 || n->size > AUTHORITY_HOST_MAX + 1 || n->text[0] != '.'))
                abort();
        return 0;
}
