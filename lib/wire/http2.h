/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The hosts of the requests on an HTTP/2 connection in clear text (RFC 9113 3.3), byte by byte.
 * Of the header compression (RFC 7541) only what says a host is read: whatever a later request
 * takes from the dynamic table was said literally before, and was judged then. */
#include "authority.h"

#define HTTP2_FRAME_SIZE   9
#define HTTP2_HEADERS      1
#define HTTP2_CONTINUATION 9
#define HTTP2_PADDED       0x08
#define HTTP2_PRIORITY     0x20
#define HPACK_AUTHORITY    1
#define HPACK_HOST         38
#define HPACK_STATIC       61
#define HPACK_INT_BITS     63 /* of an integer as it is written: some begin with zeros, and 28 make sense */

enum http_result {
        HTTP_CUT, /* all is read; the next bytes go on */
        HTTP_NONE, /* something else */
        HTTP_NAME, /* the host of a request */
        HTTP_TUNNEL, /* CONNECT is complete: another protocol begins */
        HTTP_STREAMS, /* http2_feed() goes on */
        HTTP_ODD, /* servers differ in what it says, so nobody sends it who wants to be understood */
};

/* What the next byte of a header block is. */
enum hpack_part {
        HPACK_FIELD, /* its kind, and its index or the start of that */
        HPACK_NAME_SIZE,
        HPACK_NAME,
        HPACK_VALUE_SIZE,
        HPACK_VALUE,
};

/* All zero in the beginning. */
struct http2_stream {
        __u32 head; /* bytes of the frame's header that are there */
        __u32 size; /* of the frame, then what is still to come of it */
        __u32 type;
        __u32 flags;
        __u32 pad; /* bytes at the frame's end */
        __u32 skip;
        __u32 part; /* enum hpack_part */
        __u32 shift; /* of an integer that goes on; 0: none does */
        __u32 number; /* the integer, then the bytes of the string that are still to come */
        __u32 whole; /* what is read is a field of the table, or the table's size: no value follows */
        __u32 is_host; /* the field that is read */
        __u32 indexed; /* it goes into the dynamic table */
        __u32 entries; /* that went there so far */
        __u32 host_entry; /* the last of them that is a host, from 1 */
        __u32 huffman;
        __u32 window; /* bits that no code was made of yet */
        __u32 bits; /* how many */
        __u32 length; /* of the field's name, and its last four bytes: */
        __u32 last;
        __u32 result; /* enum http_result */
        struct authority host;
};

struct http2_walk {
        wire_packet *packet;
        struct http2_stream *stream;
        __u32 pos;
        __u32 end;
};

/* RFC 7541 B: the bytes with codes of 5, 6, 7 and 8 bits, in order. Longer codes are of no byte
 * of a host. Without a NUL: the loader of eBPF knows no section of strings. */
static const char hpack_codes[10 + 26 + 32 + 6] = "012aceiost"
                                                  " %-./3456789=A_bdfghlmnpru"
                                                  ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"
                                                  "&*,;XZ";

/* The code that `window` begins with: its size in bits and in *ret its byte; 0 for a longer one. */
static inline __u32 hpack_code(__u32 window, char *ret)
{
        __u32 at, bits;

        window &= 0xff;
        if (window < 0x0a << 3) {
                at = window >> 3;
                bits = 5;
        } else if (window < 0x2e << 2) {
                at = 10 - 0x14 + (window >> 2);
                bits = 6;
        } else if (window < 0x7c << 1) {
                at = 10 + 26 - 0x5c + (window >> 1);
                bits = 7;
        } else if (window < 0xfe) {
                at = 10 + 26 + 32 - 0xf8 + window;
                bits = 8;
        } else {
                return 0;
        }
        wire_forget(at);
        *ret = at < sizeof(hpack_codes) ? hpack_codes[at] : 0;
        return bits;
}

/* A byte of the name of a field, or of a host. */
static inline void hpack_char(struct http2_stream *s, __u8 c)
{
        if (s->part == HPACK_NAME) {
                s->length++;
                s->last = s->last << 8 | c;
        } else if (s->is_host) {
                authority_byte(&s->host, c);
        }
}

/* The code at the head of the window, when it is whole. */
static inline void hpack_take(struct http2_stream *s)
{
        __u32 bits = s->bits, used;
        char c = 0;

        if (bits < 5)
                return;
        /* what is not there yet is taken for ones; a code that needs them is not whole */
        used = hpack_code((s->window << 8 | 0xff) >> bits, &c);
        if (used == 0 && bits >= 8) {
                s->huffman = 2; /* a code longer than eight bits: not to be read */
                return;
        }
        if (used == 0 || used > bits)
                return;
        s->bits = bits - used;
        s->window &= (1u << s->bits) - 1;
        hpack_char(s, (__u8)c);
}

static inline void hpack_string_byte(struct http2_stream *s, __u8 c)
{
        if (!s->huffman) {
                hpack_char(s, c);
                return;
        }
        if (s->huffman != 1)
                return;
        s->window = (s->window << 8 | c) & 0xffff;
        s->bits += 8;
        hpack_take(s);
        hpack_take(s);
        hpack_take(s);
}

/* The name is known by its number. */
static inline void hpack_named(struct http2_stream *s, __u32 index)
{
        __u32 entry = s->entries + HPACK_STATIC + 1 - index; /* RFC 7541 2.3.3: the newest comes first */

        s->is_host = index == HPACK_AUTHORITY || index == HPACK_HOST;
        if (index > HPACK_STATIC && s->host_entry && entry == s->host_entry)
                s->is_host = 1;
        s->part = HPACK_VALUE_SIZE;
}

static inline long hpack_string_end(struct http2_stream *s)
{
        __u32 unreadable = s->huffman == 2;

        if (s->part == HPACK_NAME) {
                /* ":authority", "host" */
                s->is_host = !unreadable && ((s->length == 4 && s->last == 0x686f7374) ||
                                             (s->length == 10 && s->last == 0x72697479));
                s->part = HPACK_VALUE_SIZE;
                return 0;
        }
        s->part = HPACK_FIELD;
        if (s->indexed) {
                s->entries++;
                if (s->is_host)
                        s->host_entry = s->entries;
        }
        if (!s->is_host || unreadable || !authority_end(&s->host)) {
                s->host.size = s->host.part = 0;
                return 0;
        }
        s->result = HTTP_NAME;
        return 1;
}

/* An integer is complete: RFC 7541 6. */
static inline long hpack_number(struct http2_stream *s)
{
        if (s->part == HPACK_FIELD) {
                if (s->whole)
                        return 0;
                if (s->number) {
                        hpack_named(s, s->number);
                } else {
                        s->part = HPACK_NAME_SIZE;
                        s->length = 0;
                }
                return 0;
        }
        s->part = s->part == HPACK_NAME_SIZE ? HPACK_NAME : HPACK_VALUE;
        s->window = s->bits = 0;
        return s->number ? 0 : hpack_string_end(s);
}

/* RFC 7541 5.1 */
static inline long hpack_int(struct http2_stream *s, __u8 c, __u32 mask)
{
        s->number = c & mask;
        s->shift = s->number == mask;
        return s->shift ? 0 : hpack_number(s);
}

static inline long hpack_int_more(struct http2_stream *s, __u8 c)
{
        __u32 shift = s->shift - 1;

        if (shift > HPACK_INT_BITS - 7 || (shift > 21 && c & 0x7f)) {
                s->result = HTTP_ODD;
                return 1;
        }
        s->number += (__u32)(c & 0x7f) << (shift & 31);
        s->shift = c & 0x80 ? s->shift + 7 : 0;
        return s->shift ? 0 : hpack_number(s);
}

static inline long hpack_field(struct http2_stream *s, __u8 c)
{
        s->whole = c & 0x80 || (c & 0xe0) == 0x20;
        s->indexed = !s->whole && c & 0x40;
        return hpack_int(s, c, c & 0x80 ? 0x7f : c & 0x40 ? 0x3f : c & 0x20 ? 0x1f : 0x0f);
}

static inline long hpack_byte(struct http2_stream *s, __u8 c)
{
        if (s->shift)
                return hpack_int_more(s, c);
        if (s->part == HPACK_FIELD)
                return hpack_field(s, c);
        if (s->part == HPACK_NAME_SIZE || s->part == HPACK_VALUE_SIZE) {
                s->huffman = c >> 7;
                return hpack_int(s, c, 0x7f);
        }
        hpack_string_byte(s, c);
        return --s->number ? 0 : hpack_string_end(s);
}

/* RFC 9113 4.1, 6.2 */
static inline void http2_head_byte(struct http2_stream *s, __u8 c)
{
        __u32 at = s->head++, is_headers;

        if (at < 3)
                s->size = (at ? s->size << 8 : 0) | c;
        else if (at == 3)
                s->type = c;
        else if (at == 4)
                s->flags = c;
        if (at != HTTP2_FRAME_SIZE - 1)
                return;
        is_headers = s->type == HTTP2_HEADERS;
        s->pad = 0;
        s->skip = s->size;
        if (is_headers && s->flags & HTTP2_PADDED)
                s->pad = 1; /* and then as many as its first byte says */
        if (is_headers || s->type == HTTP2_CONTINUATION)
                s->skip = is_headers && s->flags & HTTP2_PRIORITY ? 5 : 0;
        if (is_headers)
                s->part = s->shift = s->host.size = s->host.part = 0;
        if (s->size == 0)
                s->head = 0;
}

static inline long http2_step_over(struct http2_stream *s, __u32 *pos, __u32 end)
{
        __u32 n = end - *pos, most = s->skip ? s->skip : s->size;

        if (most > s->size)
                most = s->size;
        if (n > most)
                n = most;
        *pos += n;
        s->size -= n;
        s->skip -= s->skip ? n : 0;
        if (s->size == 0)
                s->head = s->skip = 0;
        return 0;
}

static long http2_step(__u32 i, struct http2_walk *w)
{
        struct http2_stream *s = w->stream;
        __u32 in_frame = s->head == HTTP2_FRAME_SIZE, padded = in_frame && s->flags & HTTP2_PADDED && s->pad == 1;
        long over = 0;
        __u8 c;

        (void)i;
        if (w->pos >= w->end)
                return 1;
        if (in_frame && !padded && (s->skip || s->size <= s->pad >> 1))
                return http2_step_over(s, &w->pos, w->end);
        if (wire_load(w->packet, w->pos, &c, 1) < 0)
                return 1;
        w->pos++;
        if (!in_frame) {
                http2_head_byte(s, c);
                return 0;
        }
        s->size--;
        if (padded)
                s->pad = (__u32)c << 1;
        else
                over = hpack_byte(s, c);
        if (s->size == 0)
                s->head = 0;
        return over;
}

/* Goes on from *pos. For HTTP_NAME the host is in s->host, and there may be more. */
static inline enum http_result http2_feed(struct http2_stream *s, wire_packet *p, __u32 *pos, __u32 end)
{
        struct http2_walk w = {.packet = p, .stream = s, .pos = *pos, .end = end};

        s->result = HTTP_CUT;
        if (end <= w.pos)
                return HTTP_CUT;
        wire_loop(end - w.pos, http2_step, &w);
        *pos = w.pos;
        return (enum http_result)s->result;
}
