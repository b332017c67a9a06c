/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "wire/dns.h"

static void check(const struct wire_name *n)
{
        if (n->size < 2 || n->size >= DNS_NAME_WIRE_MAX || n->text[0] != '.')
                abort();
        for (__u32 i = 1; i < n->size; i++)
                if (n->text[i] == '.' && (i + 1 == n->size || n->text[i - 1] == '.'))
                        abort(); /* an empty label */
}

/* A datagram read at once says the same as one read byte by byte. */
static void check_query(const struct wire_bytes *p)
{
        struct dns_stream whole = {};
        struct wire_name name;
        __u32 pos = 0;

        if (dns_query_name(p, 0, p->size, &name) != WIRE_FOUND)
                return;
        dns_begin(&whole, p->size);
        if (dns_feed(&whole, p, &pos, p->size) != WIRE_FOUND || whole.name.size != name.size ||
            memcmp(whole.name.text, name.text, name.size) != 0)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct wire_bytes p = {data, (__u32)size};
        struct dns_stream whole = {}, bytes = {};
        __u32 pos = 0, at = 0;

        check_query(&p);
        while (dns_feed(&whole, &p, &pos, p.size) == WIRE_FOUND) {
                check(&whole.name);
                while (dns_feed(&bytes, &p, &at, at + 1) != WIRE_FOUND)
                        if (at >= p.size)
                                abort(); /* depends on where it is cut */
                if (at != pos || bytes.name.size != whole.name.size ||
                    memcmp(bytes.name.text, whole.name.text, whole.name.size))
                        abort();
        }
        return 0;
}
