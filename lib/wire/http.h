/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The host that an HTTP request in clear text is for: of CONNECT, of a request to a proxy
 * (RFC 9112 3.2.2, 3.2.3), else of the Host field (3.2). */
#include "http2.h"

#define HTTP_SCAN_MAX     8192 /* bytes of a request that are read for its host */
#define HTTP_METHOD_MAX   32
#define HTTP_CHUNK        16
#define HTTP_PREFACE_LINE 15 /* "PRI * HTTP/2.0\r" */

/* Where in the request the next byte is. */
enum http_part {
        HTTP_METHOD,
        HTTP_TARGET, /* whose form is not known yet */
        HTTP_AUTHORITY, /* of the target */
        HTTP_VERSION, /* or before it */
        HTTP_FIELD, /* at the start of a field line, or in its name */
        HTTP_FOLD, /* the same, behind a Host field without a value */
        HTTP_VALUE, /* of a Host field */
        HTTP_OTHER, /* the rest of a field line */
};

struct http_walk {
        wire_packet *packet;
        struct authority host;
        __u32 pos;
        __u32 end;
        __u64 part; /* enum http_part */
        __u64 last; /* eight bytes of the line or word */
        __u64 length; /* of the word */
        __u64 connect;
        __u64 result; /* enum http_result */
        __u8 chunk[HTTP_CHUNK];
};

static inline long http_end(struct http_walk *w, enum http_result result)
{
        w->result = result;
        return 1;
}

static inline long http_request_end(struct http_walk *w, __u32 i)
{
        /* RFC 9112 2.2: empty lines before a request are ignored */
        if (w->part == HTTP_METHOD)
                return w->length ? http_end(w, HTTP_NONE) : 0;
        if (w->last == 0x485454502f322e30 && i == HTTP_PREFACE_LINE) /* HTTP/2.0 */
                return http_end(w, HTTP_STREAMS);
        if (w->last >> 8 != 0x485454502f312e) /* HTTP/1. */
                return http_end(w, HTTP_NONE);
        if (w->connect)
                return http_end(w, HTTP_TUNNEL);
        if (w->host.size)
                return http_end(w, HTTP_REQUEST);
        w->part = HTTP_FIELD;
        w->host.part = AUTHORITY_HOST;
        w->length = 0;
        return 0;
}

static inline long http_line_end(struct http_walk *w, __u32 i)
{
        if (w->part < HTTP_FIELD)
                return http_request_end(w, i);
        if (w->part <= HTTP_FOLD && w->length == 0)
                return http_end(w, HTTP_UNNAMED);
        if (w->host.size)
                return http_end(w, HTTP_REQUEST);
        w->part = w->part == HTTP_VALUE ? HTTP_FOLD : HTTP_FIELD;
        w->length = 0;
        return 0;
}

static inline long http_method(struct http_walk *w, __u8 c)
{
        if (c > ' ' && c < 0x7f && w->length < HTTP_METHOD_MAX) {
                w->length++;
                return 0;
        }
        if (c != ' ' || w->length == 0)
                return http_end(w, HTTP_NONE);
        w->connect = w->length == 7 && (w->last & 0xffffffffffffff) == 0x434f4e4e454354; /* CONNECT */
        w->part = w->connect ? HTTP_AUTHORITY : HTTP_TARGET;
        w->length = 0;
        return 0;
}

static inline void http_target(struct http_walk *w, __u8 c)
{
        if (w->length++ == 0 && (c == '/' || c == '*'))
                w->part = HTTP_VERSION;
        else if (c == '/' && (w->last & 0xffff) == 0x3a2f) /* :// */
                w->part = HTTP_AUTHORITY;
}

static inline void http_authority(struct http_walk *w, __u8 c)
{
        if (c == ' ')
                w->part = HTTP_VERSION;
        else
                authority_byte(&w->host, c);
        if (w->host.part == AUTHORITY_OVER)
                w->part = HTTP_VERSION;
}

static inline void http_field(struct http_walk *w, __u8 c)
{
        if (c == ':') {
                /* "host", in either case */
                w->part = w->length == 4 && ((__u32)w->last | 0x20202020) == 0x686f7374 ? HTTP_VALUE : HTTP_OTHER;
        } else if (c != ' ' && c != '\t') {
                w->length++;
        } else if (w->length == 0) {
                /* RFC 9112 5.2: the line before goes on */
                w->part = w->part == HTTP_FOLD ? HTTP_VALUE : HTTP_OTHER;
        }
}

static inline void http_value(struct http_walk *w, __u8 c)
{
        if (c != ' ' && c != '\t')
                authority_byte(&w->host, c);
        else if (w->host.size)
                w->part = HTTP_OTHER;
}

static inline long http_byte(struct http_walk *w, __u32 i)
{
        __u32 pos = w->pos + i;
        __u8 c;

        if (pos >= w->end ||
            (i % HTTP_CHUNK == 0 && wire_load_some(w->packet, pos, w->chunk, w->end - pos, HTTP_CHUNK) < 0))
                return 1;
        c = w->chunk[i % HTTP_CHUNK];
        if (c == '\r')
                return 0;
        if (c == '\n')
                return http_line_end(w, i);
        if (w->part == HTTP_METHOD) {
                if (http_method(w, c))
                        return 1;
        } else if (w->part == HTTP_TARGET) {
                http_target(w, c);
        } else if (w->part == HTTP_AUTHORITY) {
                http_authority(w, c);
        } else if (w->part == HTTP_FIELD || w->part == HTTP_FOLD) {
                http_field(w, c);
        } else if (w->part == HTTP_VALUE) {
                http_value(w, c);
        }
        if (c > ' ')
                w->last = w->last << 8 | c;
        return 0;
}

static inline void http_blur(struct http_walk *w, __u32 any)
{
        __u64 zero = wire_zero(any);

        w->host.size += zero;
        w->host.part += zero;
        w->part += zero;
        w->last += zero;
        w->length += zero;
        w->connect += zero;
        w->result += zero;
}

static long http_step(__u32 i, struct http_walk *w)
{
        long r = http_byte(w, i);

        http_blur(w, i);
        return r;
}

/* A payload that begins a request. HTTP_CUT also for what is no HTTP, as long as it looks like a
 * method; HTTP_STREAMS: go on with http2_authority() at pos + HTTP_PREFACE. */
static inline enum http_result http_host(wire_packet *p, __u32 pos, __u32 end, struct wire_name *ret)
{
        struct http_walk w = {.packet = p, .host = {.name = ret}, .pos = pos, .end = end, .result = HTTP_CUT};

        http_blur(&w, end);
        wire_name_begin(ret, end);
        if (wire_load_some(p, pos, w.chunk, end - pos, HTTP_CHUNK) < 0)
                return HTTP_NONE;
        wire_loop(HTTP_SCAN_MAX, http_step, &w);
        if (w.result == HTTP_STREAMS && end - pos < HTTP_PREFACE)
                return HTTP_CUT;
        if ((w.result == HTTP_REQUEST || w.result == HTTP_TUNNEL) && !authority_end(&w.host))
                return HTTP_UNNAMED;
        return (enum http_result)w.result;
}
