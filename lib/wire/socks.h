/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Where a client asks a SOCKS proxy to connect: version 4 and 4A, version 5 (RFC 1928) with
 * no login or a password (RFC 1929). Version 5 begins with a greeting; the request comes in a
 * later payload, so the caller remembers SOCKS_GREETING of the flow. */
#include "authority.h"

#define SOCKS4_SCAN_MAX 512 /* bytes of user id and name, each with its end */
#define SOCKS_NAME_MAX  254
#define SOCKS_IPV4      1
#define SOCKS_DOMAIN    3
#define SOCKS_IPV6      4

enum socks_result {
        SOCKS_NONE, /* something else */
        SOCKS_GREETING, /* socks_request() for the next payload */
        SOCKS_NAME, /* *ret is the name; the next payload begins another protocol */
        SOCKS_ADDRESS, /* ret->text begins with 16 bytes of IPv6 or IPv4-mapped address; the same */
        SOCKS_CUT, /* begins well, ends too early */
};

struct socks_walk {
        wire_packet *packet;
        struct wire_name *name;
        __u32 pos;
        __u32 end;
        __u64 size; /* of the name */
        __u64 strings; /* ended */
        __u64 want; /* 1: the user id alone, 2: a name behind it */
};

/* `text` has size bytes behind its first. */
static inline enum socks_result socks_name(struct wire_name *ret, __u32 size)
{
        ret->text[0] = '.';
        wire_forget(size);
        ret->size = size + (ret->text[size % WIRE_NAME_SIZE] != '.');
        return SOCKS_NAME;
}

/* RFC 4291 2.5.5.2 */
static inline enum socks_result socks_ipv4(struct wire_name *ret, const __u8 *address)
{
        __builtin_memset(ret->text, 0, 10);
        ret->text[10] = ret->text[11] = '\xff';
        __builtin_memcpy(ret->text + 12, address, 4);
        return SOCKS_ADDRESS;
}

static long socks4_step(__u32 i, struct socks_walk *w)
{
        __u8 c;

        if (w->pos + i >= w->end || wire_load(w->packet, w->pos + i, &c, 1) < 0)
                return 1;
        if (c == 0)
                return ++w->strings == w->want;
        if (w->strings == 0)
                return 0;
        w->size++;
        if (w->size > SOCKS_NAME_MAX)
                return 1;
        w->name->text[w->size % WIRE_NAME_SIZE] = c;
        return 0;
}

/* 4, command, port 2, address 4, user id NUL; 4A: address 0.0.0.x, and a name and NUL behind */
static inline enum socks_result socks4_request(wire_packet *p, __u32 pos, __u32 end, struct wire_name *ret)
{
        struct socks_walk w = {.packet = p, .name = ret, .pos = pos + 8, .end = end, .want = 1};
        __u8 h[8];

        if (end - pos < sizeof(h) || wire_load(p, pos, h, sizeof(h)) < 0)
                return SOCKS_CUT;
        if (h[1] != 1 && h[1] != 2)
                return SOCKS_NONE;
        if (!h[4] && !h[5] && !h[6] && h[7])
                w.want = 2;
        w.size = w.strings = wire_zero(end);
        wire_loop(SOCKS4_SCAN_MAX, socks4_step, &w);
        if (w.strings < w.want)
                return w.size > SOCKS_NAME_MAX ? SOCKS_NONE : SOCKS_CUT;
        if (w.want == 1)
                return socks_ipv4(ret, h + 4);
        return w.size ? socks_name(ret, w.size) : SOCKS_NONE;
}

/* 5, command, 0, kind of address, address, port */
static inline enum socks_result socks5_request(wire_packet *p, __u32 pos, __u32 end, struct wire_name *ret)
{
        __u8 h[8];
        __u32 size;

        if (end - pos < sizeof(h) || wire_load(p, pos, h, sizeof(h)) < 0)
                return SOCKS_CUT;
        if (h[0] != 5 || h[2] != 0)
                return SOCKS_NONE;
        if (h[3] == SOCKS_IPV4)
                return socks_ipv4(ret, h + 4);
        if (h[3] == SOCKS_IPV6)
                return end - pos < 20 || wire_load(p, pos + 4, ret->text, 16) < 0 ? SOCKS_CUT : SOCKS_ADDRESS;
        size = h[4];
        if (h[3] != SOCKS_DOMAIN || size == 0 || size > SOCKS_NAME_MAX)
                return SOCKS_NONE;
        if (end - pos < 5 + size || wire_load_some(p, pos + 5, ret->text + 1, size, SOCKS_NAME_MAX) < 0)
                return SOCKS_CUT;
        return socks_name(ret, size);
}

/* Behind the login with a password at pos; 0 when it is cut. RFC 1929 2 */
static inline __u32 socks_login(wire_packet *p, __u32 pos, __u32 end)
{
        __u8 h[2], size;

        if (end - pos < sizeof(h) || wire_load(p, pos, h, sizeof(h)) < 0)
                return 0;
        pos += sizeof(h) + h[1];
        if (pos >= end || wire_load(p, pos, &size, 1) < 0)
                return 0;
        pos += 1 + size;
        return pos > end ? 0 : pos;
}

/* A payload behind SOCKS_GREETING: a login, a request, or both. */
static inline enum socks_result socks_request(wire_packet *p, __u32 pos, __u32 end, struct wire_name *ret)
{
        __u8 version;

        if (end <= pos || wire_load(p, pos, &version, 1) < 0)
                return SOCKS_CUT;
        if (version == 1) {
                pos = socks_login(p, pos, end);
                if (pos == 0)
                        return SOCKS_CUT;
                if (pos == end)
                        return SOCKS_GREETING;
        } else if (version != 5) {
                return SOCKS_NONE;
        }
        return socks5_request(p, pos, end, ret);
}

/* A flow's first payload: a version 4 request, or a version 5 greeting and what follows in the
 * same payload. */
static inline enum socks_result socks_first(wire_packet *p, __u32 pos, __u32 end, struct wire_name *ret)
{
        __u8 h[2];

        if (end <= pos || wire_load(p, pos, h, 1) < 0 || (h[0] != 4 && h[0] != 5))
                return SOCKS_NONE;
        if (end - pos < sizeof(h) || wire_load(p, pos, h, sizeof(h)) < 0)
                return SOCKS_CUT;
        if (h[0] == 4)
                return socks4_request(p, pos, end, ret);
        if (h[1] == 0)
                return SOCKS_NONE;
        pos += sizeof(h) + h[1];
        if (pos > end)
                return SOCKS_CUT;
        return pos == end ? SOCKS_GREETING : socks_request(p, pos, end, ret);
}
