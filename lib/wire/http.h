/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The hosts that HTTP requests in clear text are for, byte by byte: of CONNECT, of a request to a
 * proxy (RFC 9112 3.2.2, 3.2.3), else of the Host field (3.2). Requests may come in any number of
 * segments, and one behind the other; what they carry is stepped over (6.3). */
#include "http2.h"

#define HTTP_METHOD_MAX   32
#define HTTP_LINE_MAX     65536 /* bytes of what may be the first line of a request */
#define HTTP_PREFACE_LINE 15 /* "PRI * HTTP/2.0" and CR */
#define HTTP_FIELD_MAX    32 /* bytes of a row of http_fields */
#define HTTP_PREFACE      8 /* what follows it */

/* What the next bytes are. */
enum http_part {
        HTTP_METHOD,
        HTTP_TARGET, /* that may yet turn out to begin with a scheme */
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
        __u64 size; /* by an earlier Content-Length, and 1 */
        __u32 length; /* of the word */
        __u32 line; /* bytes of the first line */
        __u32 method; /* enum http_method */
        __u32 named; /* the target has said the host */
        __u32 request; /* the first line has a version of HTTP, or a scheme (Squid: HTTP/0.9) */
        __u32 parted; /* 1: the host ended with a blank, 2: and something else than a version followed */
        __u32 field; /* enum http_row that begins like this name, then of the line before */
        __u32 chunked;
        __u32 result; /* enum http_result */
        __u32 skipped; /* bytes at the end of what was fed that were stepped over */
        struct authority host;
};

enum http_method {
        HTTP_ANY,
        HTTP_CONNECT,
        HTTP_PRI, /* of HTTP/2's preface */
};

enum http_row {
        HTTP_ROW_NONE,
        HTTP_ROW_HOST,
        HTTP_ROW_LENGTH,
        HTTP_ROW_CODING,
};

/* Fields that are read, each in its row. A field that only ends like one of these says nothing of what follows. */
static const char http_fields[4][HTTP_FIELD_MAX] = {
        [HTTP_ROW_HOST] = "host",
        [HTTP_ROW_LENGTH] = "content-length",
        [HTTP_ROW_CODING] = "transfer-encoding",
};

static inline char http_field_char(__u32 row, __u32 at)
{
        at += row * HTTP_FIELD_MAX;
        wire_forget(at);
        return ((const char *)http_fields)[at % sizeof(http_fields)];
}

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
        s->length = s->line = s->method = s->named = s->request = s->parted = s->field = s->chunked = 0;
        s->left = s->last = s->size = 0;
        return 0;
}

/* The Host field as well as the target: servers differ in which they go by. */
static inline long http_host(struct http_stream *s)
{
        enum authority_end r = authority_end(&s->host);

        return r == AUTHORITY_NEW || (r == AUTHORITY_SAME && !s->named) ? http_end(s, HTTP_NAME) : 0;
}

/* Which version it says is no matter to proxies, nor to some whether the line of CONNECT has any. */
static inline long http_request_end(struct http_stream *s)
{
        long r;

        /* RFC 9112 2.2: empty lines before a request are ignored */
        if (s->part == HTTP_METHOD)
                return s->length ? http_end(s, HTTP_NONE) : http_begin(s);
        if (s->method == HTTP_PRI && s->last == 0x485454502f322e30 && s->line == HTTP_PREFACE_LINE) { /* HTTP/2.0 */
                s->part = HTTP_PREFACE_REST;
                s->left = HTTP_PREFACE;
                return 0;
        }
        if (s->request && s->parted == 2)
                return http_end(s, HTTP_ODD);
        if (!s->request && (s->method != HTTP_CONNECT || !s->host.size))
                return http_end(s, HTTP_NONE);
        s->part = HTTP_FIELD;
        s->length = 0;
        r = http_host(s);
        s->named = 1;
        return r;
}

static inline long http_head_end(struct http_stream *s)
{
        if (s->method == HTTP_CONNECT)
                return http_end(s, HTTP_TUNNEL);
        if (s->chunked)
                s->left = 0;
        else if (!s->left)
                return http_begin(s);
        s->part = s->chunked ? HTTP_CHUNK_SIZE : HTTP_BODY;
        return 0;
}

/* RFC 9112 6.1: "chunked" is the last coding, and nobody sends another; 7.1: nor the old "identity" */
static inline long http_coding_end(struct http_stream *s)
{
        __u64 last = s->last | 0x2020202020202020, before = last >> 56;

        s->chunked = (before == ':' || before == ',') && (last & 0xffffffffffffff) == 0x6368756e6b6564;
        return s->chunked || last == 0x6964656e74697479 ? 0 : http_end(s, HTTP_ODD);
}

static inline long http_length_end(struct http_stream *s)
{
        __u64 size = s->left + 1;

        if (s->size && s->size != size)
                return http_end(s, HTTP_ODD);
        s->size = size;
        return 0;
}

static inline long http_field_end(struct http_stream *s)
{
        __u32 part = s->part, empty = part == HTTP_VALUE && s->host.size == 0;
        long r = 0;

        if (part <= HTTP_FOLD && s->length == 0)
                return http_head_end(s);
        if (part == HTTP_CODING)
                r = http_coding_end(s);
        else if (part == HTTP_LENGTH)
                r = http_length_end(s);
        s->part = empty ? HTTP_FOLD : HTTP_FIELD;
        s->length = 0;
        return r ? r : http_host(s);
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

/* Squid takes CONNECT in lower case, 3proxy with letters behind it, privoxy blanks before a method. */
static inline long http_method_byte(struct http_stream *s, __u8 c, __u32 blank)
{
        __u64 last = s->last << 8 | c;

        if (!blank && c < 0x7f && s->length < HTTP_METHOD_MAX) {
                if (++s->length == 7 && ((last | 0x20202020202020) & 0xffffffffffffff) == 0x636f6e6e656374)
                        s->method = HTTP_CONNECT;
                return 0;
        }
        if (!blank)
                return http_end(s, HTTP_NONE);
        if (s->length == 0)
                return 0;
        if (s->length == 3 && (s->last & 0xffffff) == 0x505249)
                s->method = HTTP_PRI;
        s->part = HTTP_TARGET;
        s->length = 0;
        return 0;
}

static inline long http_target_over(struct http_stream *s, __u32 length)
{
        s->part = HTTP_VERSION;
        s->length = length;
        return 0;
}

/* Squid joins what blanks part. */
static inline long http_host_over(struct http_stream *s)
{
        s->parted = 1;
        return http_target_over(s, 0);
}

/* Behind "scheme://" stands the host, and without that, behind CONNECT and as some proxies take it behind any method. */
static inline long http_target_byte(struct http_stream *s, __u8 c, __u32 blank)
{
        if (blank)
                return s->length ? http_host_over(s) : 0;
        if (s->length++ == 0 && (c == '/' || c == '*'))
                return http_target_over(s, 1);
        if (c == '/' && (s->last & 0xffff) == 0x3a2f) { /* :// */
                s->part = HTTP_AUTHORITY;
                s->request = 1;
                s->host.size = s->host.part = 0;
        } else {
                authority_byte(&s->host, c);
        }
        return 0;
}

/* Behind ? and # there is no host (RFC 3986 3.2), but for who looks for @ first (tinyproxy, privoxy). */
static inline long http_authority_byte(struct http_stream *s, __u8 c, __u32 blank)
{
        __u32 over = s->host.part == AUTHORITY_OVER;

        if (blank)
                return s->host.size || over ? http_host_over(s) : 0;
        if (c == '@' && over)
                return http_host(s);
        authority_byte(&s->host, c);
        return c == '/' ? http_target_over(s, 1) : 0;
}

/* `last`: five bytes. */
static inline void http_version_byte(struct http_stream *s, __u64 last, __u32 blank)
{
        if (blank) {
                if (s->parted == 1 && s->length)
                        s->parted = 2;
                s->length = 0;
        } else if (++s->length == 5 && (last | 0x2020202020) == 0x687474702f) { /* http/ */
                s->request = 1;
                s->parted = s->parted == 2 ? 2 : 0;
        }
}

static inline long http_line_byte(struct http_stream *s, __u8 c)
{
        /* RFC 9112 3: some servers take each of these between the words */
        __u32 part = s->part, blank = c == ' ' || (c >= '\t' && c <= '\r');
        __u64 last = s->last << 8 | c;
        long over = 0;

        if (++s->line > HTTP_LINE_MAX || (c < ' ' && !blank))
                return http_end(s, HTTP_NONE);
        if (part == HTTP_METHOD)
                over = http_method_byte(s, c, blank);
        else if (part == HTTP_TARGET)
                over = http_target_byte(s, c, blank);
        else if (part == HTTP_AUTHORITY)
                over = http_authority_byte(s, c, blank);
        else
                http_version_byte(s, last & 0xffffffffff, blank);
        if (!blank)
                s->last = last;
        return over;
}

/* A character of a field's name. */
static inline void http_name_byte(struct http_stream *s, __u8 c)
{
        __u32 row = s->field, length = s->length++;

        c |= 0x20;
        if (length == 0)
                row = c == 'h' ? HTTP_ROW_HOST : c == 'c' ? HTTP_ROW_LENGTH : c == 't' ? HTTP_ROW_CODING : 0;
        if (length >= HTTP_FIELD_MAX - 1 || (length && http_field_char(row, length) != c))
                row = 0;
        s->field = row;
}

/* The name of a field is over. */
static inline void http_name_end(struct http_stream *s)
{
        if (http_field_char(s->field, s->length))
                s->field = 0;
        s->part = s->field == HTTP_ROW_HOST     ? HTTP_VALUE
                  : s->field == HTTP_ROW_LENGTH ? HTTP_LENGTH
                  : s->field == HTTP_ROW_CODING ? HTTP_CODING
                                                : HTTP_OTHER;
        s->length = 0;
        if (s->part == HTTP_LENGTH)
                s->left = 0;
}

static inline long http_field(struct http_stream *s, __u8 c)
{
        if (c == ':') {
                http_name_end(s);
        } else if (c != ' ' && c != '\t') {
                http_name_byte(s, c);
        } else if (s->length == 0) {
                /* RFC 9112 5.2: the line before goes on */
                if (s->field > HTTP_ROW_HOST)
                        return http_end(s, HTTP_ODD);
                s->part = s->part == HTTP_FOLD ? HTTP_VALUE : HTTP_OTHER;
        } else if (s->field > HTTP_ROW_HOST) { /* RFC 9112 5.1: to be rejected, and others step over it */
                s->field = 0;
        }
        return 0;
}

static inline void http_value(struct http_stream *s, __u8 c)
{
        if (c != ' ' && c != '\t')
                authority_byte(&s->host, c);
        else if (s->host.size)
                s->part = HTTP_OTHER;
}

/* RFC 9110 8.6: digits alone. What else is there, one server reads so and another one otherwise. */
static inline long http_length_byte(struct http_stream *s, __u8 c)
{
        if (c == ' ' || c == '\t') {
                s->length = s->length ? 2 : 0;
                return 0;
        }
        if (c < '0' || c > '9' || s->length == 2)
                return http_end(s, HTTP_ODD);
        s->length = 1;
        s->left = s->left * 10 + c - '0';
        return 0;
}

static inline void http_chunk_byte(struct http_stream *s, __u8 c)
{
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
        long over = 0;

        if (c == '\n')
                return http_line_end(s);
        if (part < HTTP_FIELD)
                return http_line_byte(s, c);
        if (c == '\r')
                return 0;
        if (part <= HTTP_FOLD)
                over = http_field(s, c);
        else if (part == HTTP_VALUE)
                http_value(s, c);
        else if (part == HTTP_LENGTH)
                over = http_length_byte(s, c);
        else if (part == HTTP_CHUNK_SIZE)
                http_chunk_byte(s, c);
        else if (part == HTTP_TRAILER)
                s->length = 1;
        if (c > ' ')
                s->last = s->last << 8 | c;
        return over;
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

/* Methods are letters, any server takes them in its own case, and some behind blanks. */
static inline int http_may_begin(__u32 first)
{
        return ((first | 0x20) >= 'a' && (first | 0x20) <= 'z') || first == ' ' || (first >= '\t' && first <= '\r');
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
