/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Requests in clear text that say where a connection is to go: HTTP, also to a proxy, SOCKS. */
#include "bpf/name.h"
#include "wire/http.h"
#include "wire/socks.h"

/* Global, also the following: see packet_parse(). */
__noinline int http_next(struct __sk_buff *skb, const struct packet *p, struct wire_name *name)
{
        return p && name ? http_host(skb, p->pos, p->end, name) : HTTP_NONE;
}

__noinline int http2_next(struct __sk_buff *skb, const struct packet *p, struct wire_name *name)
{
        return p && name ? http2_authority(skb, p->pos, p->end, name) : HTTP_NONE;
}

__noinline int socks_next(struct __sk_buff *skb, const struct packet *p, struct wire_name *name, __u32 greeted)
{
        if (!p || !name)
                return SOCKS_NONE;
        return greeted ? socks_request(skb, p->pos, p->end, name) : socks_first(skb, p->pos, p->end, name);
}

static __always_inline int http_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock,
                                      struct wire_name *name)
{
        int r = sock->talk == TALK_HTTP2 ? http2_next(skb, p, name) : http_next(skb, p, name);

        if (r == HTTP_STREAMS) {
                if (sock->talk != TALK_HTTP2)
                        p->pos += HTTP_PREFACE;
                sock->talk = TALK_HTTP2;
                if (p->pos < p->end)
                        r = http2_next(skb, p, name);
        }
        if (r == HTTP_CUT)
                drops_add(DROP_PARSE_BOUND);
        if (r != HTTP_REQUEST && r != HTTP_TUNNEL)
                return PASS;
        /* another request may follow on HTTP/1; behind CONNECT anything begins */
        if (r == HTTP_TUNNEL)
                sock->watched = 1;
        sock->talk = r == HTTP_TUNNEL || sock->talk == TALK_HTTP2 ? TALK_OPEN : TALK_HTTP;
        return name_judge(skb, p, sock, name, EVENT_HTTP);
}

static __always_inline int socks_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock,
                                       struct wire_name *name)
{
        int r = socks_next(skb, p, name, sock->talk == TALK_SOCKS);

        sock->talk = r == SOCKS_GREETING ? TALK_SOCKS : TALK_OPEN;
        if (r == SOCKS_CUT)
                drops_add(DROP_PARSE_BOUND);
        if (r != SOCKS_NAME && r != SOCKS_ADDRESS)
                return PASS;
        sock->watched = 1;
        return r == SOCKS_NAME ? name_judge(skb, p, sock, name, EVENT_HTTP) : address_judge(skb, p, sock, name);
}

/* `first` is the payload's first byte; `fresh`: the stream's. */
__noinline int request_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock, __u32 first, __u32 fresh)
{
        if (!p || !sock)
                return PASS;
        bool socks = sock->talk == TALK_SOCKS || (fresh && (first == 4 || first == 5));
        if (!socks && sock->talk != TALK_HTTP2 && !(first >= 'A' && first <= 'Z') && first != '\r' && first != '\n')
                return PASS;
        struct oc_scratch *s = scratch_take();
        if (!s) {
                drops_add(DROP_FLOW_MAP_FULL);
                return PASS;
        }
        int verdict = socks ? socks_judge(skb, p, sock, &s->dns.name) : http_judge(skb, p, sock, &s->dns.name);
        scratch_give(s);
        return verdict == DROP ? DROP : PASS;
}
