/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A payload as the first of a flow and as a later one. A name has its dot and fits; more of
 * the same payload never takes a name back. */
#include <stdint.h>
#include <stdlib.h>
#include "wire/socks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum socks_result parse(const uint8_t *data, size_t size, int first)
{
        struct wire_bytes p = {data, (uint32_t)size};
        struct wire_name name = {0};
        enum socks_result r = first ? socks_first(&p, 0, p.size, &name) : socks_request(&p, 0, p.size, &name);

        if (r == SOCKS_NAME && (name.size == 0 || name.size > SOCKS_NAME_MAX + 1 || name.text[0] != '.'))
                abort();
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        for (int first = 0; first < 2; first++) {
                enum socks_result whole = parse(data, size, first), half = parse(data, size / 2, first);
                if (size > 1 && half != SOCKS_CUT && half != SOCKS_GREETING && half != whole)
                        abort();
        }
        return 0;
}
