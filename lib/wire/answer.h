/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The names that a DNS answer stands for: of the question, and of each alias on the way; and its
 * addresses. Only of a message that is whole. */
#include "wire/dns.h"

#define ANSWER_RECORDS_MAX 32
#define ANSWER_RECORD_SIZE 10 /* behind the owner: type 2, class 2, TTL 4, size 2 */
#define DNS_TYPE_A         1
#define DNS_TYPE_CNAME     5
#define DNS_TYPE_AAAA      28
#define DNS_TYPE_DNAME     39
#define DNS_TYPE_SVCB      64
#define DNS_TYPE_HTTPS     65

struct answer {
        __u32 base; /* of the message */
        __u32 end;
        __u32 pos; /* of the next record */
        __u32 records; /* to come, with the question as the first */
        __u32 asked; /* 1: the question was read */
        __u32 aliases; /* 1: of the names, those that other names stand for are all that is wanted */
        __u32 address; /* where the record's address is; 0: it has none */
        __u32 address_size; /* 4 or 16 */
        __u32 ttl; /* seconds */
        /* of a name that is being read: */
        __u32 at;
        __u32 label; /* bytes of it that are still to come */
        __u32 behind; /* position behind the name; 0 while no pointer was met */
        __u32 whole;
};

struct answer_walk {
        wire_packet *packet;
        struct answer *answer;
        struct wire_name *name;
};

static inline long answer_label(struct answer *a, struct wire_name *n, __u8 c)
{
        __u32 size = n->size;

        if (size >= DNS_NAME_WIRE_MAX - 1 || (a->label == 0 && !dns_is_length(c)))
                return 1;
        wire_forget(size);
        if (a->label == 0) {
                a->label = c;
                n->text[size % WIRE_NAME_SIZE] = '.';
        } else {
                a->label--;
                n->text[size % WIRE_NAME_SIZE] = c == '.' ? DNS_DOT_IN_LABEL : (char)c;
        }
        n->size++;
        return 0;
}

/* One byte, or one pointer: RFC 1035 4.1.4. The number of steps bounds loops. */
static long answer_step(__u32 i, struct answer_walk *w)
{
        struct answer *a = w->answer;
        __u8 b[2] = {};

        (void)i;
        if (a->at >= a->end || wire_load(w->packet, a->at, b, 1) < 0)
                return 1;
        if (a->label == 0 && (b[0] & 0xc0) == 0xc0) {
                if (a->end - a->at < 2 || wire_load(w->packet, a->at, b, 2) < 0)
                        return 1;
                if (!a->behind)
                        a->behind = a->at + 2;
                a->at = a->base + ((__u32)(b[0] & 0x3f) << 8 | b[1]);
                return 0;
        }
        a->at++;
        if (a->label == 0 && b[0] == 0) {
                a->whole = 1;
                return 1;
        }
        return answer_label(a, w->name, b[0]);
}

/* Reads the name at `pos`; the position behind it, 0 when it is malformed. */
static inline __u32 answer_name(wire_packet *p, struct answer *a, __u32 pos, struct wire_name *ret)
{
        struct answer_walk w = {.packet = p, .answer = a, .name = ret};

        a->at = pos;
        a->label = a->behind = a->whole = 0;
        ret->size = 0;
        wire_loop(2 * DNS_NAME_WIRE_MAX, answer_step, &w);
        if (!a->whole)
                return 0;
        return a->behind ? a->behind : a->at;
}

/* The position behind the name at `pos`, which is not read; 0 when it is malformed. */
wire_apart __u32 answer_skip(wire_packet *p, __u32 pos, __u32 end)
{
        __u8 c;

        for (__u32 label = 0; label <= DNS_NAME_WIRE_MAX / 2; label++) {
                if (pos >= end || wire_load(p, pos, &c, 1) < 0)
                        return 0;
                if ((c & 0xc0) == 0xc0)
                        return pos + 2;
                if (c == 0)
                        return pos + 1;
                if (!dns_is_length(c))
                        return 0;
                pos += c + 1;
        }
        return 0;
}

/* An answer without an error to one question, that has records. */
static inline int answer_begin(wire_packet *p, __u32 pos, __u32 end, struct answer *ret)
{
        __u8 h[DNS_HEADER_SIZE];

        if (end <= pos || end - pos < sizeof(h) || wire_load(p, pos, h, sizeof(h)) < 0)
                return -1;
        if (!(h[2] & 0x80) || h[3] & 15 || h[4] || h[5] != 1)
                return -1;
        ret->base = pos;
        ret->end = end;
        ret->pos = pos + DNS_HEADER_SIZE;
        ret->asked = ret->address = ret->aliases = 0;
        ret->records = ((__u32)h[6] << 8 | h[7]) + 1;
        return ret->records > 1 ? 0 : -1;
}

/* The next name. WIRE_CUT: a record that has none, but perhaps an address; go on. WIRE_NONE: no more
 * records. */
static inline enum wire_result answer_next(wire_packet *p, struct answer *a, struct wire_name *ret)
{
        __u8 h[ANSWER_RECORD_SIZE];
        __u32 pos, type;

        a->address = 0;
        if (a->records == 0)
                return WIRE_NONE;
        a->records--;
        pos = a->aliases ? answer_skip(p, a->pos, a->end) : answer_name(p, a, a->pos, ret);
        if (pos == 0)
                return WIRE_NONE;
        if (!a->asked) {
                a->asked = 1;
                a->pos = pos + 4;
                return ret->size && !a->aliases ? WIRE_FOUND : WIRE_CUT;
        }
        if (pos >= a->end || a->end - pos < sizeof(h) || wire_load(p, pos, h, sizeof(h)) < 0)
                return WIRE_NONE;
        pos += sizeof(h);
        a->pos = pos + ((__u32)h[8] << 8 | h[9]);
        type = (__u32)h[0] << 8 | h[1];
        a->address_size = type == DNS_TYPE_A ? 4 : 16;
        a->ttl = (__u32)h[4] << 24 | (__u32)h[5] << 16 | (__u32)h[6] << 8 | h[7];
        if ((type == DNS_TYPE_A || type == DNS_TYPE_AAAA) && a->pos == pos + a->address_size && a->pos <= a->end)
                a->address = pos;
        if (type == DNS_TYPE_SVCB || type == DNS_TYPE_HTTPS)
                pos += 2; /* RFC 9460 2.2: the priority, then the target */
        else if (type != DNS_TYPE_CNAME && type != DNS_TYPE_DNAME)
                return WIRE_CUT;
        if (answer_name(p, a, pos, ret) == 0)
                return WIRE_NONE;
        return ret->size ? WIRE_FOUND : WIRE_CUT;
}
