/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The host that an HTTP request in clear text is for: of CONNECT, of a request to a proxy
 * (RFC 9112 3.2.2, 3.2.3), else of the Host field (3.2). */
#include "http2.h"

#define HTTP_SCAN_MAX     8192 /* bytes of a request that are read for its host */
#define HTTP_METHOD_MAX   32
#define HTTP_CHUNK        32
#define HTTP_PREFACE_LINE 15 /* "PRI * HTTP/2.0\\r" */
#define HTTP_PREFACE      24 /* RFC 9113 3.4 */

enum http_result {
        HTTP_NONE, /* something else */
        HTTP_REQUEST, /* named; later payloads may hold requests for other hosts */
        HTTP_TUNNEL, /* named by CONNECT; the next payload begins another protocol */
        HTTP_UNNAMED, /* a request without a host, or one that cannot be read */
        HTTP_STREAMS, /* HTTP/2 without a request yet: http2_authority() for the next payload */
        HTTP_CUT, /* begins well, ends before its host or has it behind HTTP_SCAN_MAX */
};

enum http_part {
        HTTP_METHOD,
        HTTP_TARGET, /* whose form is not known yet */
        HTTP_HOST, /* of the target, or the value of a Host field */
        HTTP_FIELD, /* at the start of a line of the header, or in a field's name */
        HTTP_REST, /* of a line */
};

struct http_walk {
        wire_packet *packet;
        struct authority host;
        __u32 pos;
        __u32 end;
        __u64 last; /* eight bytes of the line or word */
        __u32 length; /* of the word so far */
        __u32 part; /* enum http_part */
        __u32 result; /* enum http_result */
        __u32 header; /* behind the first line */
        __u32 connect;
        __u32 empty; /* the line before was a Host field without a value */
        __u8 chunk[HTTP_CHUNK];
};

static inline long http_end(struct http_walk *w, enum http_result result)
{
        w->result = result;
        return 1;
}

/* The first line; RFC 9112 2.2: empty ones before it are ignored. */
static inline long http_request_end(struct http_walk *w, __u32 i)
{
        if (w->part == HTTP_METHOD)
                return w->length ? http_end(w, HTTP_NONE) : 0;
        if (w->last == 0x485454502f322e30 && i == HTTP_PREFACE_LINE) /* HTTP/2.0 */
                return http_end(w, HTTP_STREAMS);
        if (w->last >> 8 != 0x485454502f312e) /* HTTP/1. */
                return http_end(w, HTTP_NONE);
        if (w->connect)
                return http_end(w, HTTP_TUNNEL);
        w->header = 1;
        return 0;
}

static inline long http_line_end(struct http_walk *w, __u32 i)
{
        if (!w->header) {
                if (http_request_end(w, i))
                        return 1;
                if (!w->header)
                        return 0;
        } else if (w->part == HTTP_FIELD && w->length == 0) {
                return http_end(w, HTTP_UNNAMED);
        }
        if (w->host.size)
                return http_end(w, HTTP_REQUEST);
        w->empty = w->part == HTTP_HOST;
        w->part = HTTP_FIELD;
        w->host.part = AUTHORITY_HOST;
        w->length = 0;
        w->last = 0;
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
        w->connect = (w->last & 0xffffffffffffff) == 0x434f4e4e454354 && w->length == 7; /* CONNECT */
        w->part = w->connect ? HTTP_HOST : HTTP_TARGET;
        w->length = 0;
        return 0;
}

static inline void http_target(struct http_walk *w, __u8 c)
{
        if (w->length++ == 0 && (c == '/' || c == '*'))
                w->part = HTTP_REST;
        else if (c == '/' && (w->last & 0xffff) == 0x3a2f) /* :// */
                w->part = HTTP_HOST;
}

static inline void http_field(struct http_walk *w, __u8 c)
{
        if (c == ':') {
                /* "host", in either case */
                w->part = w->length == 4 && ((__u32)w->last | 0x20202020) == 0x686f7374 ? HTTP_HOST : HTTP_REST;
        } else if (c != ' ' && c != '\t') {
                w->last = w->last << 8 | c;
                w->length++;
        } else if (w->length == 0) {
                /* RFC 9112 5.2: the line before goes on */
                w->part = w->empty ? HTTP_HOST : HTTP_REST;
        }
}

static inline void http_host_byte(struct http_walk *w, __u8 c)
{
        int blank = c == ' ' || c == '\t';

        if (!blank)
                authority_byte(&w->host, c);
        if (w->host.part == AUTHORITY_OVER || (blank && (w->host.size || !w->header)))
                w->part = HTTP_REST;
}

static long http_step(__u32 i, struct http_walk *w)
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
        if (w->part == HTTP_FIELD) {
                http_field(w, c);
                return 0;
        }
        if (w->part == HTTP_METHOD && http_method(w, c))
                return 1;
        else if (w->part == HTTP_TARGET)
                http_target(w, c);
        else if (w->part == HTTP_HOST)
                http_host_byte(w, c);
        w->last = w->last << 8 | c;
        return 0;
}

/* May return HTTP_CUT for what is no HTTP, as long as it looks like a method. */
static inline enum http_result http_host(wire_packet *p, __u32 pos, __u32 end, struct wire_name *ret)
{
        struct http_walk w = {.packet = p, .host = {.name = ret}, .pos = pos, .end = end};

        w.host.size = wire_zero(end);
        w.host.part = wire_zero(end);
        w.length = wire_zero(end);
        w.part = wire_zero(end);
        w.header = wire_zero(end);
        w.connect = wire_zero(end);
        w.empty = wire_zero(end);
        w.result = HTTP_CUT + wire_zero(end);
        w.last = (__u64)wire_zero(end) << 32 | wire_zero(end);
        ret->text[wire_zero(end) % WIRE_NAME_SIZE] = '.';
        if (wire_load_some(p, pos, w.chunk, end - pos, HTTP_CHUNK) < 0)
                return HTTP_NONE;
        wire_loop(HTTP_SCAN_MAX, http_step, &w);
        if (w.result == HTTP_REQUEST || w.result == HTTP_TUNNEL)
                return authority_end(&w.host) ? w.result : HTTP_UNNAMED;
        if (w.result != HTTP_STREAMS)
                return w.result;
        if (end - pos < HTTP_PREFACE)
                return HTTP_CUT;
        switch (http2_authority(p, pos + HTTP_PREFACE, end, ret)) {
        case HTTP2_NAMED:
                return HTTP_REQUEST;
        case HTTP2_UNNAMED:
                return HTTP_UNNAMED;
        case HTTP2_NEXT:
                return HTTP_STREAMS;
        case HTTP2_CUT:
                break;
        }
        return HTTP_CUT;
}
