/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The server name in a TLS ClientHello (RFC 8446 4.1.2, RFC 6066 3), byte by byte: the hello
 * may come in any number of records, segments and writes, and be of any size. */
#include "wire/load.h"

#define TLS_SNI_MAX     254 /* a name of 253 and a trailing dot */
#define TLS_NO_RECORDS  0xffffffffU /* `record` of a stream without a record layer: QUIC's */
#define TLS_CCS         20
#define TLS_ALERT       21
#define TLS_ASIDE_MAX   2 /* bytes of these, as long as nothing is encrypted */
#define TLS_HANDSHAKE   22
#define TLS_EARLY       23 /* application data */
#define TLS_RECORD_HEAD 5

/* What the next bytes of the hello are; in the order in which they come. */
enum tls_part {
        TLS_MESSAGE, /* its type and size */
        TLS_SESSION, /* version, random and the size of the session id */
        TLS_CIPHERS,
        TLS_COMPRESSION,
        TLS_EXTENSIONS,
        TLS_EXTENSION, /* type and size */
        TLS_NAMES, /* size of the list */
        TLS_ENTRY, /* type and size of a name */
        TLS_NAME,
};

/* All zero in the beginning. */
struct tls_stream {
        __u32 head; /* bytes of the record's header that are there */
        __u32 type; /* of the record, and above it half of its size */
        __u32 record; /* its bytes that are still to come */
        __u32 message; /* the same of the message, when its header is there */
        __u32 part; /* enum tls_part */
        __u32 want; /* bytes of the part's number that are still to come */
        __u32 number;
        __u32 skip; /* bytes before that */
        __u32 left; /* bytes of the extensions, then of the list, then of the name */
        __u32 again; /* 1: a hello was read, see tls_go_on() */
        struct wire_name name;
};

struct tls_walk {
        wire_packet *packet;
        struct tls_stream *stream;
        __u32 pos;
        __u32 end;
        enum wire_result result;
};

static inline long tls_end(struct tls_walk *w, enum wire_result result)
{
        w->result = result;
        return 1;
}

/* `want` bytes of a number behind `skip` bytes. */
static inline long tls_expect(struct tls_stream *s, enum tls_part part, __u32 skip, __u32 want)
{
        s->part = part;
        s->skip = skip;
        s->want = want;
        s->number = 0;
        return 0;
}

/* Records that a server steps over: a change_cipher_spec before a second hello (RFC 8446 D.4); warnings, by BoringSSL also
 * between the records of one. */
static inline int tls_is_aside(__u32 type)
{
        return type == TLS_CCS || type == TLS_ALERT;
}

/* Behind a hello, and nothing of another is there yet. */
static inline int tls_is_between(const struct tls_stream *s)
{
        return s->again && s->part == TLS_MESSAGE && !s->skip && !s->want;
}

/* Early data behind the first hello, which a server that has asked for a second one skips (RFC 8446 4.2.10). */
static inline int tls_is_early(const struct tls_stream *s, __u32 type)
{
        return type == TLS_EARLY && tls_is_between(s);
}

/* After WIRE_FOUND or WIRE_NONE: what follows the hello is read on, for its client may have been asked for a second
 * one (RFC 8446 4.1.2), or know that it will be. 0: it was none. */
static inline int tls_go_on(struct tls_stream *s)
{
        if (s->part == TLS_MESSAGE)
                return 0;
        s->part = TLS_MESSAGE;
        s->skip = s->message;
        s->want = s->number = s->name.size = 0;
        s->again = 1;
        return 1;
}

/* No hello at all. */
static inline long tls_over(struct tls_walk *w, struct tls_stream *s)
{
        s->part = TLS_MESSAGE;
        return tls_end(w, WIRE_NONE);
}

/* RFC 8446 5.1: the version must be ignored. */
static inline long tls_record_byte(struct tls_walk *w, struct tls_stream *s, __u8 c)
{
        __u32 at = s->head++;

        if (at == 0) {
                s->type = c;
                if (c != TLS_HANDSHAKE && !tls_is_aside(c) && !tls_is_early(s, c))
                        return tls_over(w, s);
        } else if (at == 3) {
                s->type |= (__u32)c << 8;
        } else if (at == TLS_RECORD_HEAD - 1) {
                s->record = (s->type & 0xff00) | c;
                s->type &= 0xff;
                if (tls_is_aside(s->type) && s->record > TLS_ASIDE_MAX)
                        return tls_over(w, s);
                s->head = s->record ? TLS_RECORD_HEAD : 0;
        }
        return 0;
}

/* The number that is complete now: a size, with a type before it or without. */
static inline long tls_number(struct tls_walk *w, struct tls_stream *s)
{
        __u32 n = s->number, size = n & 0xffff;

        switch ((enum tls_part)s->part) {
        case TLS_MESSAGE:
                s->message = n & 0xffffff;
                if (n >> 24 != 1 || !s->message) /* client_hello */
                        return tls_end(w, WIRE_NONE);
                return tls_expect(s, TLS_SESSION, 2 + 32, 1);
        case TLS_SESSION:
                return tls_expect(s, TLS_CIPHERS, size, 2);
        case TLS_CIPHERS:
                return tls_expect(s, TLS_COMPRESSION, size, 1);
        case TLS_COMPRESSION:
                return tls_expect(s, TLS_EXTENSIONS, size, 2);
        case TLS_EXTENSIONS:
                s->left = size;
                break;
        case TLS_EXTENSION:
                if (s->left < 4 + size)
                        return tls_end(w, WIRE_NONE);
                if (n >> 16 == 0) { /* server_name */
                        s->left = size;
                        return tls_expect(s, TLS_NAMES, 0, 2);
                }
                s->left -= 4 + size;
                tls_expect(s, TLS_EXTENSION, size, 4);
                return s->left < 4 ? tls_end(w, WIRE_NONE) : 0;
        case TLS_NAMES:
                if (s->left < 2 + 3)
                        return tls_end(w, WIRE_NONE);
                s->left -= 2;
                return tls_expect(s, TLS_ENTRY, 0, 3);
        case TLS_ENTRY:
                if (s->left < 3 + size)
                        return tls_end(w, WIRE_NONE);
                if (n >> 16 == 0) { /* host_name */
                        s->left = size;
                        tls_expect(s, TLS_NAME, 0, 0);
                        s->name.size = 0;
                        return size == 0 || size > TLS_SNI_MAX ? tls_end(w, WIRE_NONE) : 0;
                }
                s->left -= 3 + size;
                tls_expect(s, TLS_ENTRY, size, 3);
                return s->left < 3 ? tls_end(w, WIRE_NONE) : 0;
        case TLS_NAME:
                break;
        }
        tls_expect(s, TLS_EXTENSION, 0, 4);
        return s->left < 4 ? tls_end(w, WIRE_NONE) : 0;
}

static inline long tls_name_byte(struct tls_walk *w, struct tls_stream *s, __u8 c)
{
        __u32 at = ++s->name.size;

        wire_forget(at);
        s->name.text[at % WIRE_NAME_SIZE] = c;
        if (--s->left)
                return 0;
        s->name.text[0] = '.';
        if (c != '.')
                s->name.size++;
        return tls_end(w, WIRE_FOUND);
}

/* One byte, or all of what is stepped over. */
static long tls_step(__u32 i, struct tls_walk *w)
{
        struct tls_stream *s = w->stream;
        __u32 n = w->end - w->pos;
        __u8 c;

        (void)i;
        if (w->pos >= w->end)
                return 1;
        if (s->record && (s->skip || tls_is_aside(s->type) || s->type == TLS_EARLY)) {
                if (n > s->record)
                        n = s->record;
                if (!tls_is_aside(s->type) && s->type != TLS_EARLY) {
                        if (n > s->skip)
                                n = s->skip;
                        if (s->part != TLS_MESSAGE && n > s->message)
                                return tls_over(w, s);
                        s->skip -= n;
                        s->message -= n;
                }
                s->record -= n;
                s->head = s->record ? s->head : 0;
                w->pos += n;
                return 0;
        }
        if (wire_load(w->packet, w->pos, &c, 1) < 0)
                return 1;
        w->pos++;
        if (!s->record)
                return tls_record_byte(w, s, c);
        s->record--;
        s->head = s->record ? s->head : 0;
        if (s->part != TLS_MESSAGE && s->message-- == 0)
                return tls_over(w, s);
        if (s->part == TLS_NAME)
                return tls_name_byte(w, s, c);
        if (s->part == TLS_MESSAGE && s->want == 0)
                s->want = 4;
        s->number = s->number << 8 | c;
        if (s->want > 1) {
                s->want--;
                return 0;
        }
        return tls_number(w, s);
}

/* WIRE_CUT: the name is not there yet; go on with the bytes that follow these. Otherwise *pos is behind what was read
 * (for WIRE_FOUND the stream has the name), and tls_go_on() says whether there may be more. */
static inline enum wire_result tls_feed(struct tls_stream *s, wire_packet *p, __u32 *pos, __u32 end)
{
        struct tls_walk w = {.packet = p, .stream = s, .pos = *pos, .end = end, .result = WIRE_CUT};

        if (end <= *pos)
                return WIRE_CUT;
        wire_loop(end - *pos, tls_step, &w);
        *pos = w.pos;
        return w.result;
}
