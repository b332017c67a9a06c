/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The hosts that HTTP requests in clear text are for, byte by byte: of CONNECT, of a request to a
 * proxy (RFC 9112 3.2.2, 3.2.3), else of the Host field (3.2). Requests may come in any number of
 * segments, and one behind the other; what they carry is stepped over (6.3). */
#include "http2.h"

#define HTTP_METHOD_MAX   32
#define HTTP_LINE_MAX     65536 /* bytes of what may be the first line of a request */
#define HTTP_PREFACE_LINE 16 /* "PRI * HTTP/2.0" and its end */
#define HTTP_PREFACE      8 /* what follows it */

/* What the next bytes are. */
enum http_part {
        HTTP_METHOD,
        HTTP_TARGET, /* whose form is not known yet */
        HTTP_AUTHORITY, /* of the target */
        HTTP_VERSION, /* or before it */
        HTTP_FIELD, /* at the start of a field line, or in its name */
        HTTP_FOLD, /* the same, behind a Host field without a value */
        HTTP_VALUE, /* of a Host field */
        HTTP_LENGTH, /* of Content-Length */
        HTTP_CODING, /* of Transfer-Encoding */
        HTTP_OTHER, /* the rest of a field line */
        HTTP_BODY, /* `left` bytes */
        HTTP_CHUNK_SIZE,
        HTTP_CHUNK_REST, /* of the line with the size */
        HTTP_CHUNK, /* `left` bytes */
        HTTP_CHUNK_END,
        HTTP_TRAILER,
        HTTP_PREFACE_REST, /* `left` bytes of HTTP/2's */
};

/* All zero in the beginning. */
struct http_stream {
        __u64 last; /* eight bytes of the line or word */
        __u64 left;
        __u32 part; /* enum http_part */
        __u32 length; /* of the word */
        __u32 line; /* bytes of the first line */
        __u32 connect;
        __u32 named; /* the target has said the host */
        __u32 chunked;
        __u32 result; /* enum http_result */
        __u32 skipped; /* bytes at the end of what was fed that were stepped over */
        struct authority host;
};

struct http_walk {
        wire_packet *packet;
        struct http_stream *stream;
        __u32 pos;
        __u32 end;
};

static inline long http_end(struct http_stream *s, enum http_result result)
{
        s->result = result;
        return 1;
}

/* The head or the body is over. */
static inline long http_begin(struct http_stream *s)
{
        s->part = HTTP_METHOD;
        s->length = s->line = s->connect = s->named = s->chunked = 0;
        s->left = s->last = 0;
        return 0;
}

static inline long http_host(struct http_stream *s)
{
        return authority_end(&s->host) ? http_end(s, HTTP_NAME) : 0;
}

static inline long http_request_end(struct http_stream *s)
{
        /* RFC 9112 2.2: empty lines before a request are ignored */
        if (s->part == HTTP_METHOD)
                return s->length ? http_end(s, HTTP_NONE) : http_begin(s);
        if (s->last == 0x485454502f322e30 && s->line == HTTP_PREFACE_LINE) { /* HTTP/2.0 */
                s->part = HTTP_PREFACE_REST;
                s->left = HTTP_PREFACE;
                return 0;
        }
        if (s->last >> 8 != 0x485454502f312e) /* HTTP/1. */
                return http_end(s, HTTP_NONE);
        s->part = HTTP_FIELD;
        s->length = 0;
        s->named = s->connect || s->host.size;
        return http_host(s);
}

static inline long http_head_end(struct http_stream *s)
{
        if (s->connect)
                return http_end(s, HTTP_TUNNEL);
        if (s->chunked)
                s->left = 0;
        else if (!s->left)
                return http_begin(s);
        s->part = s->chunked ? HTTP_CHUNK_SIZE : HTTP_BODY;
        return 0;
}

static inline long http_field_end(struct http_stream *s)
{
        __u32 part = s->part, empty = part == HTTP_VALUE && s->host.size == 0;

        if (part <= HTTP_FOLD && s->length == 0)
                return http_head_end(s);
        if (part == HTTP_CODING) /* RFC 9112 6.3: "chunked", if it is the last */
                s->chunked = ((s->last | 0x20202020202020) & 0xffffffffffffff) == 0x6368756e6b6564;
        s->part = empty ? HTTP_FOLD : HTTP_FIELD;
        s->length = 0;
        if (s->host.size && s->named)
                s->host.size = 0;
        return http_host(s);
}

static inline long http_line_end(struct http_stream *s)
{
        __u32 part = s->part;

        if (part < HTTP_FIELD)
                return http_request_end(s);
        if (part < HTTP_BODY)
                return http_field_end(s);
        if (part == HTTP_CHUNK_SIZE || part == HTTP_CHUNK_REST) {
                s->part = s->left ? HTTP_CHUNK : HTTP_TRAILER;
        } else if (part == HTTP_CHUNK_END) {
                s->part = HTTP_CHUNK_SIZE;
                s->left = 0;
        } else if (part == HTTP_TRAILER && s->length == 0) {
                return http_begin(s);
        }
        s->length = 0;
        return 0;
}

static inline long http_method(struct http_stream *s, __u8 c)
{
        if (c > ' ' && c < 0x7f && s->length < HTTP_METHOD_MAX) {
                s->length++;
                return 0;
        }
        if ((c != ' ' && c != '\t') || s->length == 0)
                return http_end(s, HTTP_NONE);
        /* "connect": Squid takes it in lower case, and blanks before and behind the host */
        s->connect = s->length == 7 && ((s->last | 0x20202020202020) & 0xffffffffffffff) == 0x636f6e6e656374;
        s->part = s->connect ? HTTP_AUTHORITY : HTTP_TARGET;
        s->length = 0;
        return 0;
}

static inline void http_target(struct http_stream *s, __u8 c)
{
        if (s->length++ == 0 && (c == '/' || c == '*'))
                s->part = HTTP_VERSION;
        else if (c == '/' && (s->last & 0xffff) == 0x3a2f) /* :// */
                s->part = HTTP_AUTHORITY;
}

static inline void http_authority(struct http_stream *s, __u8 c)
{
        if ((c == ' ' || c == '\t') && s->host.size)
                s->part = HTTP_VERSION;
        else if (c != ' ' && c != '\t')
                authority_byte(&s->host, c);
        if (s->host.part == AUTHORITY_OVER)
                s->part = HTTP_VERSION;
}

/* Names of fields by their length and last bytes, in either case. */
static inline void http_field(struct http_stream *s, __u8 c)
{
        __u64 last = s->last | 0x2020202020202020;

        if (c == ':') {
                s->part = HTTP_OTHER;
                if (s->length == 4 && (__u32)last == 0x686f7374) /* host */
                        s->part = HTTP_VALUE;
                else if (s->length == 14 && last == 0x742d6c656e677468) /* content-length */
                        s->part = HTTP_LENGTH;
                else if (s->length == 17 && last == 0x656e636f64696e67) /* transfer-encoding */
                        s->part = HTTP_CODING;
                if (s->part == HTTP_LENGTH)
                        s->left = 0;
        } else if (c != ' ' && c != '\t') {
                s->length++;
        } else if (s->length == 0) {
                /* RFC 9112 5.2: the line before goes on */
                s->part = s->part == HTTP_FOLD ? HTTP_VALUE : HTTP_OTHER;
        }
}

static inline void http_value(struct http_stream *s, __u8 c)
{
        if (c != ' ' && c != '\t')
                authority_byte(&s->host, c);
        else if (s->host.size)
                s->part = HTTP_OTHER;
}

static inline void http_size(struct http_stream *s, __u8 c)
{
        if (s->part == HTTP_LENGTH) {
                if (c >= '0' && c <= '9')
                        s->left = s->left * 10 + c - '0';
                return;
        }
        if (c >= '0' && c <= '9')
                c -= '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
                c = (c | 0x20) - 'a' + 10;
        else
                s->part = HTTP_CHUNK_REST;
        if (s->part == HTTP_CHUNK_SIZE)
                s->left = s->left << 4 | c;
}

static inline long http_byte(struct http_stream *s, __u8 c)
{
        __u32 part = s->part;

        if (part < HTTP_FIELD && (++s->line > HTTP_LINE_MAX || (c < ' ' && c != '\r' && c != '\n' && c != '\t')))
                return http_end(s, HTTP_NONE);
        if (c == '\n')
                return http_line_end(s);
        if (c == '\r')
                return 0;
        if (part == HTTP_METHOD) {
                if (http_method(s, c))
                        return 1;
        } else if (part == HTTP_TARGET) {
                http_target(s, c);
        } else if (part == HTTP_AUTHORITY) {
                http_authority(s, c);
        } else if (part == HTTP_FIELD || part == HTTP_FOLD) {
                http_field(s, c);
        } else if (part == HTTP_VALUE) {
                http_value(s, c);
        } else if (part == HTTP_LENGTH || part == HTTP_CHUNK_SIZE) {
                http_size(s, c);
        } else if (part == HTTP_TRAILER) {
                s->length = 1;
        }
        if (c > ' ')
                s->last = s->last << 8 | c;
        return 0;
}

/* All of what is stepped over. */
static inline long http_skip(struct http_stream *s, __u32 *pos, __u32 end)
{
        __u32 n = end - *pos;

        if (n > s->left)
                n = (__u32)s->left;
        *pos += n;
        s->skipped += n;
        s->left -= n;
        if (s->left)
                return 0;
        if (s->part == HTTP_PREFACE_REST)
                return http_end(s, HTTP_STREAMS);
        if (s->part == HTTP_BODY)
                return http_begin(s);
        s->part = HTTP_CHUNK_END;
        return 0;
}

static long http_step(__u32 i, struct http_walk *w)
{
        struct http_stream *s = w->stream;
        __u32 part = s->part;
        __u8 c;

        (void)i;
        if (w->pos >= w->end)
                return 1;
        if (part == HTTP_BODY || part == HTTP_CHUNK || part == HTTP_PREFACE_REST)
                return http_skip(s, &w->pos, w->end);
        if (wire_load(w->packet, w->pos, &c, 1) < 0)
                return 1;
        w->pos++;
        s->skipped = 0;
        return http_byte(s, c);
}

/* Goes on from *pos. For HTTP_NAME the host is in s->host, and there may be more. HTTP_CUT: all
 * is read, the next bytes go on. */
static inline enum http_result http_feed(struct http_stream *s, wire_packet *p, __u32 *pos, __u32 end)
{
        struct http_walk w = {.packet = p, .stream = s, .pos = *pos, .end = end};

        s->result = HTTP_CUT;
        s->skipped = 0;
        if (end <= w.pos)
                return HTTP_CUT;
        wire_loop(end - w.pos, http_step, &w);
        *pos = w.pos;
        return (enum http_result)s->result;
}
