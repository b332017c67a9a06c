/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The name that a DNS query asks for. */
#include "wire/load.h"

#define DNS_HEADER_SIZE   12
#define DNS_NAME_WIRE_MAX 255 /* RFC 1035 2.3.4, with lengths and root */
#define DNS_LABEL_MAX     63
#define DNS_DOT_IN_LABEL  '\xff' /* a dot that is no boundary must not look like one */

struct dns_walk {
        struct wire_name *name;
        __u32 left; /* bytes of the label */
        __u32 size; /* of the name, once its root was seen */
};

/* RFC 1035 4.1.4: nothing stands before the first question that a pointer could point to. */
static inline int dns_is_length(__u8 c)
{
        return c > 0 && c <= DNS_LABEL_MAX;
}

/* Turns a byte of the name on the wire, not its first, into text: a length becomes a dot. */
static long dns_step(__u32 i, struct dns_walk *w)
{
        __u32 at = i + 1;

        if (at >= DNS_NAME_WIRE_MAX)
                return 1;
        __u8 c = (__u8)w->name->text[at];
        if (w->left == 0) {
                if (c == 0)
                        w->size = at;
                if (!dns_is_length(c))
                        return 1;
                w->left = c;
                w->name->text[at] = '.';
        } else {
                w->left--;
                if (c == '.')
                        w->name->text[at] = DNS_DOT_IN_LABEL;
        }
        return 0;
}

/* The first question's name of the DNS message in [pos, end). The root's is WIRE_NONE. */
static inline enum wire_result dns_query_name(wire_packet *p, __u32 pos, __u32 end, struct wire_name *ret)
{
        __u8 header[DNS_HEADER_SIZE];
        struct dns_walk w = {.name = ret};

        if (end <= pos + DNS_HEADER_SIZE || wire_load(p, pos, header, sizeof(header)) < 0)
                return WIRE_CUT;
        /* RFC 1035 4.1.1: QR 0 is a query; QDCOUNT is the third 16-bit word */
        if (header[2] & 0x80 || (header[4] == 0 && header[5] == 0))
                return WIRE_NONE;
        pos += DNS_HEADER_SIZE;
        if (wire_load_some(p, pos, ret->text, end - pos, DNS_NAME_WIRE_MAX) < 0)
                return WIRE_CUT;
        w.left = (__u8)ret->text[0];
        if (!dns_is_length(ret->text[0]))
                return WIRE_NONE;
        ret->text[0] = '.';
        wire_loop(DNS_NAME_WIRE_MAX, dns_step, &w);
        if (w.size >= end - pos)
                return WIRE_CUT;
        ret->size = w.size;
        return w.size ? WIRE_FOUND : WIRE_NONE;
}
