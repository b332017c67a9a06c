/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include "wire/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct wire_bytes p = {data, (__u32)size};
        struct wire_name n = {};

        if (dns_query_name(&p, 0, p.size, &n) != WIRE_FOUND)
                return 0;
        /* as many bytes as on the wire without the root, dots where lengths were */
        if (n.size >= DNS_NAME_WIRE_MAX || n.text[0] != '.')
                abort();
        for (__u32 i = 0, label = 0; i < n.size; i++)
                if (n.text[i] == '.') {
                        label = data[DNS_HEADER_SIZE + i];
                        if (label == 0 || label > DNS_LABEL_MAX || i + label >= n.size)
                                abort();
                }
        return 0;
}
