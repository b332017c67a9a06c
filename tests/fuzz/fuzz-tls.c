/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include "wire/tls.h"

/* All hellos of [pos, end); false: nothing follows. *sum is of their names. */
static int feed(struct tls_stream *s, const struct wire_bytes *p, __u32 pos, __u32 end, uint64_t *sum)
{
        enum wire_result r;

        while ((r = tls_feed(s, p, &pos, end)) != WIRE_CUT) {
                if (r == WIRE_FOUND && (s->name.size < 1 || s->name.size > TLS_SNI_MAX + 1 || s->name.text[0] != '.'))
                        abort();
                for (__u32 i = 0; r == WIRE_FOUND && i < s->name.size; i++)
                        *sum = *sum * 31 + s->name.text[i];
                if (!tls_go_on(s))
                        return 0;
        }
        return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct wire_bytes p = {data, (__u32)size};
        struct tls_stream whole = {}, bytes = {};
        uint64_t sum = 0, sums = 0;
        int more = feed(&whole, &p, 0, p.size, &sum), goes_on = 1;

        for (__u32 i = 0; i < p.size && goes_on; i++)
                goes_on = feed(&bytes, &p, i, i + 1, &sums);
        if (more != goes_on || sum != sums)
                abort(); /* depends on where it is cut */
        return 0;
}
