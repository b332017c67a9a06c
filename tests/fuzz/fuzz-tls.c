/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "wire/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct wire_bytes p = {data, (__u32)size};
        struct tls_stream whole = {}, bytes = {};
        enum wire_result r = tls_feed(&whole, &p, 0, p.size), q = WIRE_CUT;

        for (__u32 i = 0; i < p.size && q == WIRE_CUT; i++)
                q = tls_feed(&bytes, &p, i, i + 1);
        if (q != r || bytes.name.size != whole.name.size || memcmp(bytes.name.text, whole.name.text, whole.name.size))
                abort(); /* depends on where it is cut */
        if (r == WIRE_FOUND &&
            (whole.name.size < 1 || whole.name.size > TLS_SNI_MAX + 1 || whole.name.text[0] != '.'))
                abort();
        return 0;
}
