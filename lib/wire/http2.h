/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The :authority of the first request on an HTTP/2 connection in clear text (RFC 9113 3.3). Its
 * header compression has no state yet: what it names stands in the static table (RFC 7541 A). */
#include "authority.h"

#define HTTP_PREFACE     24 /* "PRI * HTTP/2.0", and so on */
#define HTTP2_FRAMES_MAX 16 /* before the first HEADERS */
#define HTTP2_FIELDS_MAX 32 /* of a header, before the host */
#define HTTP2_FRAME_SIZE 9
#define HTTP2_HEADERS    1
#define HTTP2_PADDED     0x08
#define HTTP2_PRIORITY   0x20
#define HPACK_AUTHORITY  1
#define HPACK_HOST       38
#define HPACK_INT_BYTES  4 /* behind the prefix */

enum http_result {
        HTTP_NONE, /* something else */
        HTTP_REQUEST, /* named; later payloads may hold requests for other hosts */
        HTTP_TUNNEL, /* named by CONNECT; the next payload begins another protocol */
        HTTP_UNNAMED, /* a request without a host, or whose host cannot be read */
        HTTP_STREAMS, /* HTTP/2 without a request yet; the next payload begins with a frame */
        HTTP_CUT, /* begins well, ends before its host or has it behind a limit above */
};

struct http2_walk {
        wire_packet *packet;
        struct authority host;
        __u64 limit; /* of the payload */
        __u64 pos;
        __u64 end; /* of the frame's part in the payload */
        __u64 bits; /* of the string that are not read yet */
        __u64 huffman;
        __u64 over; /* enum http_result: what the end of the header means */
        __u64 state; /* enum http_result */
};

static inline int http2_byte(struct http2_walk *w)
{
        __u8 c;

        if (w->pos >= w->end || wire_load(w->packet, w->pos, &c, 1) < 0)
                return -1;
        w->pos++;
        return c;
}

/* RFC 7541 5.1; `first` is its first byte. Negative when cut or absurd. */
static inline int hpack_int(struct http2_walk *w, __u32 first, __u32 mask)
{
        __u32 n = first & mask, shift = 0;

        if (n < mask)
                return n;
#ifdef __bpf__
#pragma clang loop unroll(disable)
#endif
        for (int i = 0; i < HPACK_INT_BYTES; i++) {
                int c = http2_byte(w);
                if (c < 0)
                        return -1;
                n += (c & 0x7f) << shift;
                shift += 7;
                if (!(c & 0x80))
                        return n & 0x7fffffff;
        }
        return -1;
}

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

static inline long hpack_string(struct http2_walk *w)
{
        __u32 used = 8, window;
        __u8 b[2] = {0, 0xff};
        char c;

        /* RFC 7541 5.2: what is left of the last byte is ones, the start of a long code */
        if (w->bits == 0) {
                w->state = HTTP_REQUEST;
                return 1;
        }
        if (wire_load(w->packet, w->pos, b, 1) < 0 || (w->bits > 8 && wire_load(w->packet, w->pos + 1, b + 1, 1) < 0))
                return 1;
        c = b[0];
        if (w->huffman) {
                __u32 gone = -w->bits % 8; /* bits of the first byte */
                window = ((__u32)b[0] << 8 | b[1]) >> (8 - gone);
                used = hpack_code(window, &c);
                if (used == 0 || used > w->bits) {
                        w->state = w->bits < 8 ? HTTP_REQUEST : HTTP_UNNAMED;
                        return 1;
                }
                w->pos += (gone + used) / 8;
        } else {
                w->pos++;
        }
        w->bits -= used;
        authority_byte(&w->host, c);
        return 0;
}

/* The value of a field: read when it is the host, else stepped over. */
static inline long hpack_value(struct http2_walk *w, int is_host)
{
        int first = http2_byte(w), size = first < 0 ? -1 : hpack_int(w, first, 0x7f);

        if (size < 0)
                return 1;
        if (!is_host) {
                w->pos += size;
                return 0;
        }
        w->state = HTTP_UNNAMED;
        w->huffman = first & 0x80;
        w->bits = (__u64)size * 8;
        return 1;
}

/* One field of a header (RFC 7541 6). */
static inline long hpack_field(struct http2_walk *w)
{
        int first, index;

        first = http2_byte(w);
        if (first < 0)
                return 1;
        if (first & 0x80) /* a field of the table */
                return hpack_int(w, first, 0x7f) < 0;
        if ((first & 0xe0) == 0x20) /* a size of the table */
                return hpack_int(w, first, 0x1f) < 0;
        index = hpack_int(w, first, first & 0x40 ? 0x3f : 0x0f);
        if (index < 0 || (index == 0 && hpack_value(w, 0)))
                return 1;
        return hpack_value(w, index == HPACK_AUTHORITY || index == HPACK_HOST);
}

/* Up to the first HEADERS, and into it. */
static inline long http2_frame(struct http2_walk *w)
{
        __u8 h[HTTP2_FRAME_SIZE + 1];

        if (w->pos == w->limit) {
                w->state = HTTP_STREAMS;
                return 1;
        }
        if (w->pos > w->limit || w->limit - w->pos < HTTP2_FRAME_SIZE ||
            wire_load(w->packet, w->pos, h, HTTP2_FRAME_SIZE) < 0)
                return 1;
        w->pos += HTTP2_FRAME_SIZE;
        w->end = w->pos + ((__u32)h[0] << 16 | (__u32)h[1] << 8 | h[2]);
        if (h[3] != HTTP2_HEADERS) {
                w->pos = w->end;
                return 0;
        }
        w->pos += (h[4] & HTTP2_PADDED ? 1 : 0) + (h[4] & HTTP2_PRIORITY ? 5 : 0);
        w->state = HTTP_UNNAMED;
        return 1;
}

static inline void http2_blur(struct http2_walk *w, __u32 any)
{
        __u64 zero = wire_zero(any);

        w->host.size += zero;
        w->host.part += zero;
        w->pos += zero;
        w->end += zero;
        w->bits += zero;
        w->huffman += zero;
        w->state += zero;
}

static long http2_frame_step(__u32 i, struct http2_walk *w)
{
        long r = http2_frame(w);

        http2_blur(w, i);
        return r;
}

static long hpack_field_step(__u32 i, struct http2_walk *w)
{
        long r = hpack_field(w);

        http2_blur(w, i);
        return r;
}

static long hpack_string_step(__u32 i, struct http2_walk *w)
{
        long r = hpack_string(w);

        http2_blur(w, i);
        return r;
}

/* Reads the frames in [pos, end), which begin with one. */
static inline enum http_result http2_authority(wire_packet *p, __u32 pos, __u32 end, struct wire_name *ret)
{
        struct http2_walk w = {.packet = p, .host = {.name = ret}, .limit = end, .pos = pos, .state = HTTP_CUT};

        http2_blur(&w, end);
        wire_name_begin(ret, end);
        wire_loop(HTTP2_FRAMES_MAX, http2_frame_step, &w);
        if (w.state != HTTP_UNNAMED)
                return (enum http_result)w.state;
        w.over = w.end > w.limit ? HTTP_CUT : HTTP_UNNAMED;
        if (w.end > w.limit)
                w.end = w.limit;
        w.state = w.over;
        wire_loop(HTTP2_FIELDS_MAX, hpack_field_step, &w);
        if (w.bits == 0)
                return (enum http_result)w.state;
        if (w.pos > w.end || w.end - w.pos < w.bits / 8)
                return (enum http_result)w.over;
        wire_loop(2 * WIRE_NAME_SIZE, hpack_string_step, &w);
        return w.state == HTTP_REQUEST && !authority_end(&w.host) ? HTTP_UNNAMED : (enum http_result)w.state;
}
