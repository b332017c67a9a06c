/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The host of [userinfo@]host[:port] (RFC 3986 3.2), byte by byte. */
#include "load.h"

#define AUTHORITY_HOST_MAX 254 /* a name of 253 and a trailing dot */

/* A zero that the verifier takes for any number; `any` is a number that it does not know. It
 * follows what a loop keeps on the stack and would verify the loop for one state after another
 * (Linux 6.7): a walk that adds this to each of its 64-bit words after each step has one state. */
static inline __u64 wire_zero(__u32 any)
{
        __u32 a = any, b = any;

        wire_forget(a);
        wire_forget(b);
        return (__u64)(a ^ any) << 32 | (b ^ any);
}

/* The same for a name that is written byte by byte. */
static inline void wire_name_begin(struct wire_name *name, __u32 any)
{
        name->text[wire_zero(any) % WIRE_NAME_SIZE] = '.';
        name->size = 0;
}

enum authority_part {
        AUTHORITY_HOST,
        AUTHORITY_LITERAL, /* an IPv6 address in brackets */
        AUTHORITY_PORT, /* or what was userinfo, if an @ comes */
        AUTHORITY_OVER,
};

struct authority {
        struct wire_name *name;
        __u64 size; /* of the host */
        __u64 part; /* enum authority_part */
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
        __u64 size = a->size;

        if (size == 0 || size > AUTHORITY_HOST_MAX)
                return 0;
        wire_forget(size);
        a->name->size = (__u32)size + (a->name->text[size % WIRE_NAME_SIZE] != '.');
        return 1;
}
