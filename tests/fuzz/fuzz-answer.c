/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include "agent/enforce/refusal.h"
#include "wire/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct wire_bytes p = {data, (__u32)size};
        uint8_t refusal[REFUSAL_MAX];
        struct wire_name n = {};
        enum wire_result r;
        struct answer a = {};

        for (__u32 aliases = 0; aliases < 2 && answer_begin(&p, 0, p.size, &a) == 0; aliases++) {
                a.aliases = aliases;
                while ((r = answer_next(&p, &a, &n)) != WIRE_NONE)
                        if (r == WIRE_FOUND && (n.size < 2 || n.size >= DNS_NAME_WIRE_MAX || n.text[0] != '.'))
                                abort();
        }
        int m = refusal_build(data, size, "Use Teams.", refusal);
        if (m >= 0 && (m < DNS_HEADER_SIZE || refusal[0] != data[0] || !(refusal[2] & 0x80)))
                abort();
        return 0;
}
