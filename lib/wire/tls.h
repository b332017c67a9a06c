/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The server name in a TLS ClientHello that begins a TCP payload (RFC 8446 4.1.2, RFC 6066 3).
 * Reads the headers of the extensions only, wherever the name stands. */
#include "wire/load.h"

#define TLS_EXTENSIONS_MAX 64
/* Record header 5, handshake header 4, version 2, random 32, length of the session id 1. */
#define TLS_HELLO_FIXED 44
#define TLS_SNI_MAX     254 /* a name of 253 and a trailing dot */

struct tls_walk {
        wire_packet *packet;
        struct wire_name *name;
        __u32 pos;
        __u32 end; /* of the extensions */
        __u32 limit; /* of what this packet holds of the record */
        enum wire_result result;
};

static inline __u32 tls_u16(const __u8 *b)
{
        return (__u32)b[0] << 8 | b[1];
}

static inline enum wire_result tls_host_name(struct tls_walk *w, __u32 pos)
{
        __u8 h[5]; /* list length 2, name type 1, name length 2 */

        if (pos + sizeof(h) > w->limit || wire_load(w->packet, pos, h, sizeof(h)) < 0)
                return WIRE_CUT;
        __u32 size = tls_u16(h + 3);
        if (h[2] != 0 || size == 0 || size > TLS_SNI_MAX)
                return WIRE_NONE;
        pos += sizeof(h);
        if (pos + size > w->limit || wire_load_some(w->packet, pos, w->name->text + 1, size, TLS_SNI_MAX) < 0)
                return WIRE_CUT;
        w->name->text[0] = '.';
        wire_forget(size);
        w->name->size = size + (w->name->text[size % WIRE_NAME_SIZE] != '.');
        return WIRE_FOUND;
}

static long tls_step(__u32 i, struct tls_walk *w)
{
        __u8 h[4]; /* type 2, length 2 */

        (void)i;
        if (w->pos + sizeof(h) > w->end) {
                w->result = WIRE_NONE;
                return 1;
        }
        if (w->pos + sizeof(h) > w->limit || wire_load(w->packet, w->pos, h, sizeof(h)) < 0)
                return 1;
        if (tls_u16(h) == 0) {
                w->result = tls_host_name(w, w->pos + sizeof(h));
                return 1;
        }
        w->pos += sizeof(h) + tls_u16(h + 2);
        return 0;
}

/* Step over a vector whose length stands in `bytes` (1 or 2) bytes; 0 when it is cut. */
static inline __u32 tls_skip(struct tls_walk *w, __u32 pos, __u32 bytes)
{
        __u8 h[2] = {};

        if (pos + bytes > w->limit || wire_load(w->packet, pos, h, 2) < 0)
                return 0;
        return pos + bytes + (bytes == 1 ? h[0] : tls_u16(h));
}

/* WIRE_CUT: a hello that goes on in a later segment or record, or has more than
 * TLS_EXTENSIONS_MAX extensions before its name. */
static inline enum wire_result tls_server_name(wire_packet *p, __u32 pos, __u32 end, struct wire_name *ret)
{
        struct tls_walk w = {.packet = p, .name = ret, .result = WIRE_CUT};
        __u8 h[6];

        if (end <= pos || wire_load(p, pos, h, 1) < 0 || h[0] != 22)
                return WIRE_NONE;
        if (end - pos < TLS_HELLO_FIXED || wire_load(p, pos, h, sizeof(h)) < 0)
                return WIRE_CUT;
        if (h[1] != 3 || h[5] != 1)
                return WIRE_NONE;
        w.limit = pos + 5 + tls_u16(h + 3);
        if (w.limit > end)
                w.limit = end;
        w.pos = tls_skip(&w, pos + TLS_HELLO_FIXED - 1, 1); /* session id */
        if (w.pos)
                w.pos = tls_skip(&w, w.pos, 2); /* cipher suites */
        if (w.pos)
                w.pos = tls_skip(&w, w.pos, 1); /* compression methods */
        if (w.pos)
                w.end = tls_skip(&w, w.pos, 2);
        if (!w.pos || !w.end)
                return WIRE_CUT;
        w.pos += 2;
        wire_loop(TLS_EXTENSIONS_MAX, tls_step, &w);
        return w.result;
}
