/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Requests in clear text that say where a connection is to go: HTTP, also to a proxy, SOCKS. */
#include "bpf/name.h"

/* Beside PASS and DROP: */
#define MORE    4 /* passes so far; something else begins at p->pos */
#define NOTHING 5 /* passes; what looked like a request was none */

/* Global, also the following: see packet_parse(). */
__noinline int http_next(struct __sk_buff *skb, struct packet *p, struct http_stream *s)
{
        return p && s ? http_feed(s, skb, &p->pos, p->end) : HTTP_NONE;
}

__noinline int http2_next(struct __sk_buff *skb, struct packet *p, struct http2_stream *s)
{
        return p && s ? http2_feed(s, skb, &p->pos, p->end) : HTTP_NONE;
}

__noinline int socks_next(struct __sk_buff *skb, struct packet *p, struct socks_stream *s)
{
        return p && s ? socks_feed(s, skb, &p->pos, p->end) : SOCKS_NONE;
}

__noinline int host_is_address(struct authority *a)
{
        return a ? authority_address(a) : 0;
}

__noinline int host_judge(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock, struct authority *a)
{
        if (!p || !a)
                return PASS;
        if (host_is_address(a))
                return address_judge(skb, p, sock, &a->literal);
        return name_judge(skb, p, sock, &a->name, EVENT_HTTP);
}

/* What was begun is over; `talk` is next. */
static __always_inline void request_over(struct oc_sock *sock, struct bpf_sock *sk, enum sock_talk talk)
{
        sock->talk = talk;
        if (talk == TALK_START)
                sock->watched = 1; /* a stream of its own; 0: its place is not known */
        bpf_sk_storage_delete(&oc_requests, sk);
}

/* A head that two servers read differently: the agent ends the socket that sends it, so that its owner hears at once. There is
 * nothing to record, for nobody knows whom it asks for; and nothing to end in mode monitor. */
static __always_inline int odd_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock)
{
        const struct oc_rules *rules = rules_now();

        if (!rules || !rules->enforces)
                return NOTHING;
        p->start = p->end - 1; /* no whole head */
        packet_copy(skb, p, sock, EVENT_SEGMENT);
        return DROP;
}

static __always_inline int http_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock,
                                      struct oc_request *q)
{
        struct bpf_sock *sk = skb->sk;
        int r;

        if (!sk)
                return PASS;
        if (sock->talk == TALK_HTTP2)
                r = http2_next(skb, p, &q->http2);
        else
                r = http_next(skb, p, &q->http);
        switch ((enum http_result)r) {
        case HTTP_CUT:
                return PASS;
        case HTTP_NAME:
                r = host_judge(skb, p, sock, sock->talk == TALK_HTTP2 ? &q->http2.host : &q->http.host);
                return r == DROP ? DROP : MORE;
        case HTTP_TUNNEL:
                request_over(sock, sk, TALK_START);
                return MORE;
        case HTTP_STREAMS:
                request_over(sock, sk, TALK_HTTP2);
                return MORE;
        case HTTP_ODD:
                r = odd_judge(skb, p, sock);
                break;
        case HTTP_NONE:
                r = NOTHING;
                break;
        }
        request_over(sock, sk, TALK_OPEN);
        return r;
}

static __always_inline int socks_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock,
                                       struct oc_request *q)
{
        int r = socks_next(skb, p, &q->socks), verdict = PASS;
        struct bpf_sock *sk = skb->sk;

        if (r == SOCKS_CUT || !sk)
                return PASS;
        if (r == SOCKS_NAME)
                verdict = host_judge(skb, p, sock, &q->socks.host);
        else if (r == SOCKS_ADDRESS)
                verdict = address_judge(skb, p, sock, &q->socks.host.literal);
        request_over(sock, sk, r == SOCKS_NONE ? TALK_OPEN : TALK_START);
        if (verdict == DROP)
                return DROP;
        return r == SOCKS_NONE ? NOTHING : MORE;
}

/* A dialogue in lines or XML, which STARTTLS may end; SSH has lines, too, and then much to carry. */
static __always_inline bool begins_text(struct __sk_buff *skb, const struct packet *p, __u32 first)
{
        __u32 four = 0;

        if (first == 'S' && bpf_skb_load_bytes(skb, p->pos, &four, sizeof(four)) == 0 &&
            four == bpf_htonl(0x5353482d))
                return false;
        return (first >= ' ' && first < 0x7f) || (first >= '\t' && first <= '\r');
}

/* `first` is the byte at p->pos. */
__noinline int request_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock, __u32 first)
{
        struct bpf_sock *sk = skb->sk;

        if (!p || !sock || !sk)
                return PASS;
        bool goes_on = sock->talk > TALK_OPEN && p->pos == p->start;
        if (sock->talk <= TALK_OPEN) {
                bool socks = sock->talk == TALK_START && (first == 4 || first == 5);

                if (sock->talk == TALK_START)
                        sock->text = begins_text(skb, p, first);
                sock->talk = TALK_OPEN;
                if (!socks && !http_may_begin(first))
                        return PASS;
                bpf_sk_storage_delete(&oc_requests, sk);
                sock->talk = socks ? TALK_SOCKS : TALK_HTTP;
        }
        struct oc_request *q = bpf_sk_storage_get(&oc_requests, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
        if (!q)
                return storage_full();
        int verdict = sock->talk == TALK_SOCKS ? socks_judge(skb, p, sock, q) : http_judge(skb, p, sock, q);
        /* what began in an earlier segment: this one may begin something else, as the hello does
         * behind the clear text of STARTTLS */
        if (verdict == NOTHING && goes_on) {
                p->pos = p->start;
                return MORE;
        }
        return verdict == DROP || verdict == MORE ? verdict : PASS;
}
