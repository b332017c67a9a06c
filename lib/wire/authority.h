/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The host of [userinfo@]host[:port] (RFC 3986 3.2), byte by byte, and the address that it may
 * be the text of. */
#include "load.h"

#define AUTHORITY_HOST_MAX 254 /* a name of 253 and a trailing dot */
#define LITERAL_TEXT_MAX   48 /* the longest IPv6 address has 45 characters */
#define LITERAL_DIGITS_MAX 12 /* 32 bits in octal, with its 0 */

enum authority_end {
        AUTHORITY_NONE,
        AUTHORITY_NEW,
        AUTHORITY_SAME, /* as the host before */
};

enum authority_part {
        AUTHORITY_HOST,
        AUTHORITY_LITERAL, /* an IPv6 address in brackets */
        AUTHORITY_PORT, /* or what was userinfo, if an @ comes */
        AUTHORITY_OVER,
};

/* The text of an address on its way: the same digits as of IPv6 (hexadecimal) and as of IPv4. */
struct literal {
        __u64 number; /* of this part as IPv4 */
        __u32 ipv4; /* of the parts before */
        __u32 dots;
        __u32 base; /* of `number` */
        __u32 odd; /* a digit beyond the base */
        __u32 digits; /* of this part */
        __u32 hex; /* this part as IPv6 */
        __u32 words; /* of IPv6 that are complete */
        __u32 gap; /* behind which word the zeros are left out, and 1; 0: nowhere */
        __u32 state; /* 1: still the text of an address */
        __u16 word[16]; /* eight, and room for what is too much */
        __u8 address[16]; /* the result, IPv4 as IPv4-mapped IPv6 (RFC 4291 2.5.5.2) */
};

/* All zero in the beginning. */
struct authority {
        __u32 size; /* of the host */
        __u32 before; /* of the host before */
        __u32 differs; /* from that, as far as it goes */
        __u32 part; /* enum authority_part */
        struct wire_name name; /* the result */
        struct literal literal;
};

/* Adds to the host whatever the byte is. */
static inline void authority_add(struct authority *a, __u8 c)
{
        __u32 at = a->size;

        a->differs = at ? a->differs : 0;
        if (at <= AUTHORITY_HOST_MAX)
                a->size = ++at;
        wire_forget(at);
        at %= WIRE_NAME_SIZE;
        a->differs |= a->name.text[at] != (char)c;
        a->name.text[at] = (char)c;
}

static inline void authority_byte(struct authority *a, __u8 c)
{
        if (a->part == AUTHORITY_OVER)
                return;
        if (c == '@') {
                a->size = 0;
                a->part = AUTHORITY_HOST;
        } else if (c == '/' || c == '?' || c == '#' || c == '\\') { /* the URL standard's \ is / */
                a->part = AUTHORITY_OVER;
        } else if (a->part == AUTHORITY_HOST && c == '[' && a->size == 0) {
                a->part = AUTHORITY_LITERAL; /* tinyproxy takes a name in brackets, too */
        } else if (a->part == AUTHORITY_HOST && c == ':') {
                a->part = AUTHORITY_PORT;
        } else if (a->part == AUTHORITY_HOST || a->part == AUTHORITY_LITERAL) {
                if (c == ']' && a->part == AUTHORITY_LITERAL)
                        a->part = AUTHORITY_PORT;
                else
                        authority_add(a, c);
        }
}

/* Unless there was none the host is in a->name; the next one may follow. */
static inline enum authority_end authority_end(struct authority *a)
{
        __u32 size = a->size, same = size == a->before && !a->differs;

        a->size = a->part = 0;
        if (size == 0 || size > AUTHORITY_HOST_MAX)
                return AUTHORITY_NONE;
        a->before = size;
        wire_forget(size);
        a->name.text[0] = '.';
        a->name.size = size + (a->name.text[size % WIRE_NAME_SIZE] != '.');
        return same ? AUTHORITY_SAME : AUTHORITY_NEW;
}

static inline void literal_word(struct literal *l, __u32 word)
{
        __u32 at = l->words++;

        wire_forget(at);
        l->word[at % 16] = (__u16)word;
}

static inline void literal_begin_part(struct literal *l)
{
        l->number = 0;
        l->digits = l->hex = l->odd = 0;
        l->base = 10;
}

static inline void literal_digit(struct literal *l, __u8 c)
{
        __u32 digit = c >= 'a' ? c - 'a' + 10 : c - '0';

        /* inet_aton(3): 0x is hexadecimal, 0 octal; whoever connects by getaddrinfo(3) takes both */
        if (l->digits++ == 0 && digit == 0)
                l->base = 8;
        if (digit >= l->base)
                l->odd = 1;
        if (l->digits > LITERAL_DIGITS_MAX)
                l->state = 0;
        l->number = l->number * l->base + digit;
        l->hex = l->hex << 4 | digit;
}

static inline void literal_byte(struct literal *l, __u8 c)
{
        if (c >= 'A' && c <= 'F')
                c |= 0x20;
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) {
                literal_digit(l, c);
        } else if ((c | 0x20) == 'x' && l->base == 8 && l->digits == 1) {
                l->base = 16;
        } else if (c == '.' && l->digits && !l->odd && l->number < 256 && l->dots < 3) {
                l->ipv4 = l->ipv4 << 8 | (__u32)l->number;
                l->dots++;
                literal_begin_part(l);
        } else if (c == ':' && l->digits <= 4 && !l->dots && l->words < 8) {
                if (l->digits)
                        literal_word(l, l->hex);
                else /* the second of two colons */
                        l->gap = l->words + 1;
                literal_begin_part(l);
        } else {
                l->state = 0;
        }
}

struct literal_walk {
        struct authority *authority;
};

static long literal_step(__u32 i, struct literal_walk *w)
{
        struct authority *a = w->authority;
        __u32 at = i + 1;
        __u8 c;

        if (at >= a->name.size || !a->literal.state)
                return 1;
        wire_forget(at);
        c = (__u8)a->name.text[at % WIRE_NAME_SIZE];
        if (c != '[' && c != ']')
                literal_byte(&a->literal, c);
        return 0;
}

static inline void literal_set_word(struct literal *l, __u32 at, __u32 word)
{
        wire_forget(at);
        at %= 8;
        l->address[at * 2] = (__u8)(word >> 8);
        l->address[at * 2 + 1] = (__u8)word;
}

static inline int literal_end4(struct literal *l)
{
        __u32 rest = 4 - l->dots; /* bytes that the last part stands for */

        if (!l->digits || l->odd || l->number >> (8 * rest & 63))
                return 0;
        l->ipv4 = (__u32)((__u64)l->ipv4 << 8 * rest | l->number);
        return 1;
}

static inline int literal_end6(struct literal *l)
{
        __u32 n, behind;

        if (l->dots) { /* RFC 4291 2.2: the last 32 bits as IPv4 */
                if (l->dots != 3 || !literal_end4(l))
                        return 0;
                literal_word(l, l->ipv4 >> 16);
                literal_word(l, l->ipv4 & 0xffff);
        } else if (l->digits) {
                literal_word(l, l->hex);
        }
        n = l->words;
        if (n > 8 || (l->gap == 0 && n != 8))
                return 0;
        behind = l->gap ? l->gap - 1 : n; /* words before the gap */
        for (__u32 i = 0; i < 8; i++) {
                __u32 from = i + n - 8; /* of those that end with the last */

                wire_forget(from);
                if (i < behind)
                        literal_set_word(l, i, l->word[i]);
                else
                        literal_set_word(l, i, i + n >= 8 + behind ? l->word[from % 16] : 0);
        }
        return 1;
}

/* Whether the host is the text of an address, and then a->literal.address is that. */
static inline int authority_address(struct authority *a)
{
        struct literal_walk w = {a};
        struct literal *l = &a->literal;

        if (a->name.size > LITERAL_TEXT_MAX)
                return 0;
        l->ipv4 = l->dots = l->words = l->gap = 0;
        l->state = 1;
        literal_begin_part(l);
        wire_loop(LITERAL_TEXT_MAX, literal_step, &w);
        if (!l->state)
                return 0;
        if (l->words || l->gap)
                return literal_end6(l);
        if (!literal_end4(l))
                return 0;
        for (__u32 i = 0; i < 5; i++)
                literal_set_word(l, i, 0);
        literal_set_word(l, 5, 0xffff);
        literal_set_word(l, 6, l->ipv4 >> 16);
        literal_set_word(l, 7, l->ipv4 & 0xffff);
        return 1;
}
