/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Where a client asks a SOCKS proxy to connect, byte by byte: version 4 and 4A, version 5
 * (RFC 1928) with no login or a password (RFC 1929). */
#include "authority.h"

#define SOCKS_USER_MAX 8192 /* version 4: bytes of a user id; OpenSSH takes 4096 */
#define SOCKS_IPV4     1
#define SOCKS_DOMAIN   3
#define SOCKS_IPV6     4

enum socks_result {
        SOCKS_CUT, /* all is read; the next bytes go on */
        SOCKS_NONE, /* something else */
        SOCKS_NAME, /* the request is over, its name is in s->host; another protocol begins */
        SOCKS_ADDRESS, /* the same; s->host.literal.address is IPv6 or IPv4-mapped */
};

/* What the next bytes are. */
enum socks_part {
        SOCKS_VERSION,
        SOCKS_METHODS_SIZE, /* version 5, the greeting */
        SOCKS_METHODS,
        SOCKS_NEXT, /* behind the greeting: a login or a request */
        SOCKS_LOGIN_SIZE, /* of the user's name */
        SOCKS_LOGIN,
        SOCKS_PASSWORD_SIZE,
        SOCKS_PASSWORD,
        SOCKS_REQUEST, /* command, 0 */
        SOCKS_KIND, /* of address */
        SOCKS_NAME_SIZE,
        SOCKS_HOST, /* name or address */
        SOCKS_PORT,
        SOCKS4_COMMAND,
        SOCKS4_PORT,
        SOCKS4_ADDRESS,
        SOCKS4_USER,
        SOCKS4_HOST,
};

/* All zero in the beginning. */
struct socks_stream {
        __u32 part; /* enum socks_part */
        __u32 left; /* bytes of the part that are still to come */
        __u32 kind; /* of address */
        __u32 at; /* bytes of the address that are there */
        __u32 result; /* enum socks_result */
        struct authority host;
};

struct socks_walk {
        wire_packet *packet;
        struct socks_stream *stream;
        __u32 pos;
        __u32 end;
};

static inline long socks_end(struct socks_stream *s, enum socks_result result)
{
        s->result = result;
        return 1;
}

static inline long socks_expect(struct socks_stream *s, enum socks_part part, __u32 left)
{
        s->part = part;
        s->left = left;
        return 0;
}

/* The request is complete. */
static inline long socks_done(struct socks_stream *s)
{
        if (s->kind != SOCKS_DOMAIN)
                return socks_end(s, SOCKS_ADDRESS);
        return socks_end(s, authority_end(&s->host) ? SOCKS_NAME : SOCKS_NONE);
}

/* RFC 4291 2.5.5.2 */
static inline void socks_address_byte(struct socks_stream *s, __u8 c)
{
        __u8 *address = s->host.literal.address;
        __u32 at = s->at++ + (s->kind == SOCKS_IPV6 ? 0 : 12);

        if (at == 12 && s->kind != SOCKS_IPV6) {
                __builtin_memset(address, 0, 10);
                address[10] = address[11] = 0xff;
        }
        wire_forget(at);
        address[at % 16] = c;
}

static inline long socks_kind(struct socks_stream *s, __u8 c)
{
        s->kind = c;
        if (c == SOCKS_DOMAIN)
                return socks_expect(s, SOCKS_NAME_SIZE, 1);
        if (c != SOCKS_IPV4 && c != SOCKS_IPV6)
                return socks_end(s, SOCKS_NONE);
        return socks_expect(s, SOCKS_HOST, c == SOCKS_IPV4 ? 4 : 16);
}

/* RFC 1928 3 to 5, RFC 1929 2. `last`: the part ends with this byte. */
static inline long socks5_byte(struct socks_stream *s, __u8 c, int last)
{
        switch ((enum socks_part)s->part) {
        case SOCKS_METHODS_SIZE:
                return c ? socks_expect(s, SOCKS_METHODS, c) : socks_end(s, SOCKS_NONE);
        case SOCKS_METHODS:
                return last ? socks_expect(s, SOCKS_NEXT, 1) : 0;
        case SOCKS_NEXT:
                if (c == 1)
                        return socks_expect(s, SOCKS_LOGIN_SIZE, 1);
                return c == 5 ? socks_expect(s, SOCKS_REQUEST, 2) : socks_end(s, SOCKS_NONE);
        case SOCKS_LOGIN_SIZE:
                return c ? socks_expect(s, SOCKS_LOGIN, c) : socks_expect(s, SOCKS_PASSWORD_SIZE, 1);
        case SOCKS_LOGIN:
                return last ? socks_expect(s, SOCKS_PASSWORD_SIZE, 1) : 0;
        case SOCKS_PASSWORD_SIZE:
                return c ? socks_expect(s, SOCKS_PASSWORD, c) : socks_expect(s, SOCKS_NEXT, 1);
        case SOCKS_PASSWORD:
                return last ? socks_expect(s, SOCKS_NEXT, 1) : 0;
        case SOCKS_REQUEST:
                return last ? socks_expect(s, SOCKS_KIND, 1) : 0;
        case SOCKS_KIND:
                return socks_kind(s, c);
        case SOCKS_NAME_SIZE:
                return c ? socks_expect(s, SOCKS_HOST, c) : socks_end(s, SOCKS_NONE);
        case SOCKS_HOST:
                if (s->kind == SOCKS_DOMAIN)
                        authority_add(&s->host, c);
                else
                        socks_address_byte(s, c);
                return last ? socks_expect(s, SOCKS_PORT, 2) : 0;
        case SOCKS_PORT:
                return last ? socks_done(s) : 0;
        case SOCKS_VERSION:
        case SOCKS4_COMMAND:
        case SOCKS4_PORT:
        case SOCKS4_ADDRESS:
        case SOCKS4_USER:
        case SOCKS4_HOST:
                break;
        }
        return socks_end(s, SOCKS_NONE);
}

/* Command, port 2, address 4, user id NUL; 4A: address 0.0.0.x, and a name and NUL behind. */
static inline long socks4_byte(struct socks_stream *s, __u8 c, int last)
{
        const __u8 *address = s->host.literal.address;

        if (s->part == SOCKS4_COMMAND)
                return c == 1 || c == 2 ? socks_expect(s, SOCKS4_PORT, 2) : socks_end(s, SOCKS_NONE);
        if (s->part == SOCKS4_PORT)
                return last ? socks_expect(s, SOCKS4_ADDRESS, 4) : 0;
        if (s->part == SOCKS4_ADDRESS) {
                socks_address_byte(s, c);
                if (last && !address[12] && !address[13] && !address[14] && c)
                        s->kind = SOCKS_DOMAIN;
                return last ? socks_expect(s, SOCKS4_USER, SOCKS_USER_MAX) : 0;
        }
        if (last)
                return socks_end(s, SOCKS_NONE);
        if (c == 0)
                return s->part == SOCKS4_USER && s->kind == SOCKS_DOMAIN
                               ? socks_expect(s, SOCKS4_HOST, AUTHORITY_HOST_MAX + 2)
                               : socks_done(s);
        if (s->part == SOCKS4_HOST)
                authority_add(&s->host, c);
        return 0;
}

static long socks_step(__u32 i, struct socks_walk *w)
{
        struct socks_stream *s = w->stream;
        int last;
        __u8 c;

        (void)i;
        if (w->pos >= w->end || wire_load(w->packet, w->pos, &c, 1) < 0)
                return 1;
        w->pos++;
        if (s->part == SOCKS_VERSION) {
                if (c == 4)
                        return socks_expect(s, SOCKS4_COMMAND, 1);
                return c == 5 ? socks_expect(s, SOCKS_METHODS_SIZE, 1) : socks_end(s, SOCKS_NONE);
        }
        last = --s->left == 0;
        return s->part >= SOCKS4_COMMAND ? socks4_byte(s, c, last) : socks5_byte(s, c, last);
}

/* Goes on from *pos. For SOCKS_NAME and SOCKS_ADDRESS that is behind the request then. */
static inline enum socks_result socks_feed(struct socks_stream *s, wire_packet *p, __u32 *pos, __u32 end)
{
        struct socks_walk w = {.packet = p, .stream = s, .pos = *pos, .end = end};

        s->result = SOCKS_CUT;
        if (end <= w.pos)
                return SOCKS_CUT;
        wire_loop(end - w.pos, socks_step, &w);
        *pos = w.pos;
        return (enum socks_result)s->result;
}
