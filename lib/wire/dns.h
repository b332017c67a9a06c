/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The names that DNS queries ask for, byte by byte: over TCP (RFC 1035 4.2.2) a stream of
 * messages, each behind its size and in any number of segments; over UDP one message. */
#include "wire/load.h"

#define DNS_SIZE_BYTES    2
#define DNS_HEADER_SIZE   12
#define DNS_NAME_WIRE_MAX 255 /* RFC 1035 2.3.4, with lengths and root */
#define DNS_LABEL_MAX     63
#define DNS_DOT_IN_LABEL  '\xff' /* a dot that is no boundary must not look like one */
#define DNS_CHUNK         32

/* All zero in the beginning. */
struct dns_stream {
        __u32 at; /* bytes of the size and the header that are there */
        __u32 left; /* bytes of the message that are still to come */
        __u32 questions; /* the same */
        __u32 read; /* questions so far */
        __u32 behind; /* bytes of type and class that are still to come */
        __u32 label; /* the same of the label */
        __u32 datagram; /* 1: the message is not one of a stream */
        struct wire_name name;
};

struct dns_walk {
        wire_packet *packet;
        struct dns_stream *stream;
        __u32 pos;
        __u32 end;
        __u32 base; /* position of the chunk */
        enum wire_result result;
        __u8 chunk[DNS_CHUNK];
};

/* The next bytes are a message without its size before it. */
static inline void dns_begin(struct dns_stream *s, __u32 size)
{
        s->at = DNS_SIZE_BYTES;
        s->left = size;
        s->datagram = 1;
}

/* RFC 1035 4.1.4: nothing stands before the first question that a pointer could point to. */
static inline int dns_is_length(__u8 c)
{
        return c > 0 && c <= DNS_LABEL_MAX;
}

static inline void dns_header_byte(struct dns_stream *s, __u8 c)
{
        __u32 at = s->at++ - DNS_SIZE_BYTES;

        /* RFC 1035 4.1.1: QR 0 is a query; QDCOUNT is the third 16-bit word */
        if (at == 2)
                s->read = c & 0x80 ? 1 : 0;
        else if (at == 4)
                s->questions = (__u32)c << 8;
        else if (at == 5)
                s->questions = s->read ? 0 : s->questions | c;
        else if (at == DNS_HEADER_SIZE - 1)
                s->read = s->name.size = s->label = s->behind = 0;
}

static inline void dns_name_add(struct dns_stream *s, __u8 c)
{
        __u32 at = s->name.size++;

        wire_forget(at);
        s->name.text[at % WIRE_NAME_SIZE] = c;
}

static inline long dns_name_byte(struct dns_walk *w, struct dns_stream *s, __u8 c)
{
        if (s->label) {
                s->label--;
                dns_name_add(s, c == '.' ? DNS_DOT_IN_LABEL : c);
                return 0;
        }
        if (c == 0) {
                s->questions--;
                s->read++;
                s->behind = 4;
                w->result = s->name.size ? WIRE_FOUND : WIRE_CUT;
                return s->name.size ? 1 : 0;
        }
        if (!dns_is_length(c) || s->name.size + c + 2 > DNS_NAME_WIRE_MAX) {
                /* dnsmasq takes a pointer to what follows, and answers from its cache */
                __u32 odd = s->read || (s->datagram && s->questions == 1 && c >= 0xc0);

                s->questions = 0;
                w->result = odd ? WIRE_NONE : WIRE_CUT;
                return odd;
        }
        s->label = c;
        dns_name_add(s, '.');
        return 0;
}

static inline long dns_byte(struct dns_walk *w, struct dns_stream *s, __u8 c)
{
        s->left--;
        if (s->at < DNS_SIZE_BYTES + DNS_HEADER_SIZE) {
                dns_header_byte(s, c);
        } else if (s->behind) {
                s->behind--;
                s->name.size = 0;
        } else {
                return dns_name_byte(w, s, c);
        }
        return 0;
}

/* One byte, or what is left of a message behind its questions. */
static long dns_step(__u32 i, struct dns_walk *w)
{
        struct dns_stream *s = w->stream;
        __u32 n = w->end - w->pos, at;
        __u8 c;

        (void)i;
        if (w->pos >= w->end)
                return 1;
        if (s->at == DNS_SIZE_BYTES + DNS_HEADER_SIZE && !s->questions) {
                if (n > s->left)
                        n = s->left;
                w->pos += n;
                s->left -= n;
                if (s->left == 0)
                        s->at = 0;
                return 0;
        }
        at = w->pos - w->base;
        if (at >= DNS_CHUNK) {
                if (wire_load_some(w->packet, w->pos, w->chunk, n, DNS_CHUNK) < 0)
                        return 1;
                w->base = w->pos;
                at = 0;
        }
        wire_forget(at);
        c = w->chunk[at % DNS_CHUNK];
        w->pos++;
        if (s->at >= DNS_SIZE_BYTES) {
                long over = dns_byte(w, s, c);
                if (s->left == 0)
                        s->at = 0;
                return over;
        }
        s->left = s->at++ ? s->left << 8 | c : c;
        if (s->at == DNS_SIZE_BYTES && s->left == 0)
                s->at = 0;
        return 0;
}

/* How many of eight bytes are 0. */
static inline __u32 dns_zeros(__u64 w)
{
        const __u64 low = 0x7f7f7f7f7f7f7f7f;

        w = ~(((w & low) + low) | w | low); /* 0x80 where a byte is 0 */
        return (w >> 7) * 0x0101010101010101 >> 56;
}

/* How many of the first bytes of a name are dots, eight bytes at a time. */
wire_apart __u32 dns_dots(const struct wire_name *name, __u32 size)
{
        __u32 n = 0;

        if (!name || !size)
                return 0;
        for (__u32 i = 0; i < WIRE_NAME_SIZE; i += sizeof(__u64)) {
                __u64 w = *(const __u64 *)(const void *)(name->text + i) ^ 0x2e2e2e2e2e2e2e2e;

                if (size - i <= sizeof(w))
                        return n + dns_zeros(w | ~(~0ULL >> (64 - 8 * (size - i))));
                n += dns_zeros(w);
        }
        return n;
}

/* Turns labels on the wire into a name. How many they are; 0: there is none, or no root behind. */
wire_apart __u32 dns_labels(struct wire_name *name, __u32 size)
{
        __u32 at = 0;

        if (!name)
                return 0;
        for (__u32 label = 0; label <= DNS_NAME_WIRE_MAX / 2; label++) {
                if (at >= size || at >= DNS_NAME_WIRE_MAX)
                        return 0;
                __u8 c = (__u8)name->text[at];
                if (c == 0) {
                        name->size = at;
                        return label;
                }
                if (!dns_is_length(c))
                        return 0;
                name->text[at] = '.';
                at += c + 1;
        }
        return 0;
}

/* The only question of a datagram, at once: what nearly every query is. WIRE_NONE: it has to be
 * read byte by byte. */
static inline enum wire_result dns_query_name(wire_packet *p, __u32 pos, __u32 end, struct wire_name *ret)
{
        const __u8 *h = ret->before; /* the header, the text behind it */
        __u32 size;

        _Static_assert(sizeof(ret->before) == DNS_HEADER_SIZE, "the name begins at the text");
        ret->size = 0;
        if (end <= pos + DNS_HEADER_SIZE ||
            wire_load_some(p, pos, ret->before, end - pos, DNS_HEADER_SIZE + DNS_NAME_WIRE_MAX) < 0 || h[2] & 0x80 ||
            h[4] || h[5] != 1)
                return WIRE_NONE;
        size = end - pos - DNS_HEADER_SIZE;
        size = dns_labels(ret, size);
        if (size == 0 || dns_dots(ret, ret->size) != size) /* a dot within a label is no boundary */
                return WIRE_NONE;
        return WIRE_FOUND;
}

/* Goes on from *pos. WIRE_FOUND: the stream has a name, and there may be more. WIRE_NONE: a
 * message asks for more than one name and not all can be read; no honest client does that.
 * WIRE_CUT: all is read. */
static inline enum wire_result dns_feed(struct dns_stream *s, wire_packet *p, __u32 *pos, __u32 end)
{
        struct dns_walk w = {.packet = p, .stream = s, .pos = *pos, .end = end, .result = WIRE_CUT};

        w.base = w.pos - DNS_CHUNK;
        if (end <= w.pos)
                return WIRE_CUT;
        wire_loop(end - w.pos, dns_step, &w);
        *pos = w.pos;
        return w.result;
}
