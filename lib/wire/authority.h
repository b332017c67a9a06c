/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The host of [userinfo@]host[:port] (RFC 3986 3.2), byte by byte. */
#include "load.h"

#define AUTHORITY_HOST_MAX 254 /* a name of 253 and a trailing dot */

/* A zero of which the verifier knows nothing: a loop that starts from it is verified for any
 * state at once, not for one after the other (Linux 6.7). */
static inline __u32 wire_zero(__u32 any)
{
        __u32 same = any;

        wire_forget(same);
        return any ^ same;
}

enum authority_part {
        AUTHORITY_HOST,
        AUTHORITY_LITERAL, /* an IPv6 address in brackets */
        AUTHORITY_PORT, /* or what was userinfo, if an @ comes */
        AUTHORITY_OVER,
};

struct authority {
        struct wire_name *name;
        __u32 size; /* of the host */
        __u32 part;
};

static inline void authority_byte(struct authority *a, __u8 c)
{
        if (c == '@') {
                a->size = 0;
                a->part = AUTHORITY_HOST;
        } else if (c == '/' || c == '?' || c == '#') {
                a->part = AUTHORITY_OVER;
        } else if (a->part == AUTHORITY_HOST && c == ':') {
                a->part = AUTHORITY_PORT;
        } else if (a->part == AUTHORITY_HOST || a->part == AUTHORITY_LITERAL) {
                if (a->size <= AUTHORITY_HOST_MAX)
                        a->size++;
                wire_forget(a->size);
                a->name->text[a->size % WIRE_NAME_SIZE] = c;
                if (c == '[' && a->size == 1)
                        a->part = AUTHORITY_LITERAL;
                if (c == ']' && a->part == AUTHORITY_LITERAL)
                        a->part = AUTHORITY_PORT;
        }
}

/* Whether there was a host, and then it is in a->name. */
static inline int authority_end(struct authority *a)
{
        __u32 size = a->size;

        if (size == 0 || size > AUTHORITY_HOST_MAX)
                return 0;
        wire_forget(size);
        a->name->text[0] = '.';
        a->name->size = size + (a->name->text[size % WIRE_NAME_SIZE] != '.');
        return 1;
}
