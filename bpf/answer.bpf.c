// SPDX-License-Identifier: GPL-2.0-or-later
/* DNS answers that arrive: an innocent name may be the alias of a channel's. */
#include "bpf/copy.h"
#include "bpf/owner.h"
#include "wire/answer.h"

#define PORT_DNS 53

/* Global, also the following: see packet_parse(). */
__noinline int answer_open(struct __sk_buff *skb, const struct packet *p, struct answer *a)
{
        return p && a ? answer_begin(skb, p->start, p->end, a) : -1;
}

__noinline int answer_read(struct __sk_buff *skb, struct answer *a, struct wire_name *name)
{
        return a && name ? answer_next(skb, a, name) : WIRE_NONE;
}

/* The name asked was judged when it was asked. */
static __always_inline int names_judge(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock,
                                       struct wire_name *name)
{
        struct answer a = {};
        int n = 0, r, verdict = PASS;

        if (answer_open(skb, p, &a) < 0 || answer_read(skb, &a, name) == WIRE_NONE)
                return PASS;
        do {
                r = answer_read(skb, &a, name);
                if (r == WIRE_FOUND)
                        verdict = name_judge(skb, p, sock, name, EVENT_DNS);
        } while (verdict != DROP && r != WIRE_NONE && ++n < ANSWER_RECORDS_MAX);
        return verdict;
}

static __always_inline int answer_judge(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock)
{
        struct oc_scratch *s = scratch_take();

        if (!s)
                return PASS;
        int verdict = names_judge(skb, p, sock, &s->dns.name) == DROP ? DROP : PASS;
        if (verdict == DROP && p->protocol == IPPROTO_UDP) {
                if (!sock)
                        sock = scratch_sock(skb, s);
                if (sock->netns)
                        packet_copy(skb, p, sock, EVENT_QUERY);
        }
        scratch_give(s);
        return verdict;
}

/* Most packets end at the first comparison: their socket's peer is another port. */
SEC("cgroup_skb/ingress")
int oc_ingress(struct __sk_buff *skb)
{
        struct bpf_sock *sk = skb->sk;
        struct packet p = {.incoming = 1};

        if (!sk || (sk->dst_port && sk->dst_port != bpf_htons(PORT_DNS)))
                return PASS;
        if (packet_parse(skb, &p) < 0 || p.remote_port != PORT_DNS || p.pos >= p.end)
                return PASS;
        /* RFC 1035 4.2.2: the size; an answer in pieces is not read */
        p.start = p.pos + (p.protocol == IPPROTO_TCP ? DNS_SIZE_BYTES : 0);
        return answer_judge(skb, &p, bpf_sk_storage_get(&oc_socks, sk, NULL, 0));
}

char LICENSE[] SEC("license") = "GPL";
