/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* QUIC: its names are encrypted, so each Initial is held back and copied for the agent, which reads
 * it, says whose the flow is, and sends the datagram on unless it is blocked. What nobody could
 * read is dropped: clients fall back to TCP. */
#include "bpf/copy.h"

#define QUIC_V1                0x00000001
#define QUIC_V2                0x6b3343cf /* RFC 9369 3.1 */
#define QUIC_PORT              443
#define QUIC_INITIAL_MIN       1200 /* RFC 9000 14.1 */
#define QUIC_COALESCED_MAX     4 /* packets before the Initial */
#define QUIC_COPIES_PER_SECOND 64 /* of one flow; a client sends two to ten for a connection */
#define QUIC_DATAGRAMS_MAX     128 /* in one packet: UDP_MAX_SEGMENTS (Linux 6.9) */

enum quic_kind {
        QUIC_OTHER,
        QUIC_INITIAL,
        QUIC_UNKNOWN, /* an Initial, perhaps, of a version that nobody here can read */
        QUIC_SHORT, /* of a connection that stands, perhaps */
};

/* Where the next packet of the datagram begins, behind a 0-RTT or Handshake packet at `at` (RFC 9000 17.2): they may
 * stand in any order. 0: there is none. */
static __always_inline __u32 quic_behind(struct __sk_buff *skb, __u32 at, __u32 end)
{
        __u64 size;
        __u32 bytes;
        __u8 cid;

        at += 5;
        for (int i = 0; i < 2; i++) { /* destination and source */
                if (bpf_skb_load_bytes(skb, at, &cid, 1) < 0)
                        return 0;
                at += 1 + cid;
        }
        /* RFC 9000 16: its first two bits say how many bytes a number has; any number may have eight */
        if (bpf_skb_load_bytes(skb, at, &size, sizeof(size)) < 0)
                return 0; /* the packet itself is longer */
        size = __builtin_bswap64(size);
        bytes = 1u << (size >> 62);
        size = size << 2 >> 2 >> ((64 - 8 * bytes) & 63);
        return size < end && at + bytes + size < end ? at + bytes + (__u32)size : 0;
}

/* Global, with `at` and the end of the datagram in one number: see packet_parse(). */
__noinline int quic_kind_at(struct __sk_buff *skb, __u64 at_end)
{
        __u32 at = at_end >> 32, end = (__u32)at_end;
        __u8 h[5];

#pragma clang loop unroll(disable)
        for (int i = 0; i < QUIC_COALESCED_MAX; i++) {
                if (at >= end || bpf_skb_load_bytes(skb, at, h, sizeof(h)) < 0 || !(h[0] & 0x80))
                        return QUIC_OTHER;
                __u32 version = (__u32)h[1] << 24 | h[2] << 16 | h[3] << 8 | h[4], type = h[0] >> 4 & 3;
                if (version != QUIC_V1 && version != QUIC_V2)
                        return QUIC_OTHER;
                type = (type - (version == QUIC_V2)) & 3; /* RFC 9369 3.2 */
                if (type == 0)
                        return QUIC_INITIAL;
                at = type == 3 ? 0 : quic_behind(skb, at, end); /* nothing stands behind a Retry */
                if (!at)
                        return QUIC_OTHER;
        }
        return QUIC_UNKNOWN;
}

/* Global: see packet_parse(). */
__noinline int quic_kind(struct __sk_buff *skb, const struct packet *p)
{
        __u8 h[5];

        if (!p || bpf_skb_load_bytes(skb, p->start, h, sizeof(h)) < 0)
                return QUIC_OTHER;
        __u32 version = (__u32)h[1] << 24 | h[2] << 16 | h[3] << 8 | h[4];
        bool is_web = p->remote_port == QUIC_PORT && h[0] & 0x40; /* RFC 9000 17.2: the fixed bit */

        if (!(h[0] & 0x80)) /* RFC 9000 17.3: short header */
                return is_web ? QUIC_SHORT : QUIC_OTHER;
        bool is_small = p->end - p->start < QUIC_INITIAL_MIN;
        if (version != QUIC_V1 && version != QUIC_V2)
                return is_web && !is_small ? QUIC_UNKNOWN : QUIC_OTHER;
        int kind = quic_kind_at(skb, (__u64)p->start << 32 | p->end);
        if (kind == QUIC_INITIAL && is_small) /* RFC 9000 14.1: servers discard it, but for some */
                return p->remote_port == QUIC_PORT ? QUIC_UNKNOWN : QUIC_OTHER;
        return kind;
}

static __always_inline struct oc_flow *quic_flow(struct __sk_buff *skb, const struct packet *p, __u64 whose,
                                                 bool create)
{
        struct oc_flow_key key = {.cookie = whose, .port = p->remote_port};
        static const struct oc_flow fresh;
        __u32 r;

        if (p->family == AF_INET)
                r = bpf_skb_load_bytes(skb, 16, key.remote, 4);
        else
                r = bpf_skb_load_bytes(skb, 24, key.remote, 16);
        struct oc_flow *f = r ? NULL : bpf_map_lookup_elem(&oc_flows, &key);
        if (f || r || !create)
                return f;
        bpf_map_update_elem(&oc_flows, &key, &fresh, BPF_NOEXIST);
        return bpf_map_lookup_elem(&oc_flows, &key);
}

static __always_inline bool quic_may_copy(struct oc_flow *f)
{
        __u64 now = bpf_ktime_get_boot_ns();

        if (now - f->since_ns > 1000000000) {
                f->since_ns = now;
                f->copies = 0;
        }
        return f->copies++ < QUIC_COPIES_PER_SECOND;
}

/* The agent's own raw socket sends on what was held back. */
static __always_inline bool quic_is_sent_on(struct __sk_buff *skb)
{
        struct bpf_sock *sk = skb->sk;

        sk = sk ? bpf_sk_fullsock(sk) : NULL;
        return sk && sk->protocol == IPPROTO_RAW;
}

/* One datagram, [p->start, p->end); `held`: so were others of its packet. Global: see packet_parse(). */
__noinline int quic_datagram(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock, __u32 held)
{
        if (!p || !sock)
                return PASS;
        int kind = quic_kind(skb, p);

        if (kind == QUIC_UNKNOWN)
                return DROP;
        if (kind != QUIC_INITIAL && !held)
                return PASS;
        if (kind == QUIC_INITIAL) {
                if (quic_is_sent_on(skb))
                        return PASS;
                sock->talk = TALK_QUIC;
                struct oc_flow *f = quic_flow(skb, p, bpf_get_socket_cookie(skb), true);
                if (!f || !quic_may_copy(f))
                        return DROP;
        }
        return packet_copy(skb, p, sock, EVENT_DATAGRAM) == 0 ? SWALLOW : DROP;
}

/* A policy may turn against an open connection, and back. Global: see packet_parse(). */
__noinline int flow_judge(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock, struct oc_flow *f)
{
        if (!p || !sock || !f)
                return PASS;
        struct name_walk w = {.rules = rules_now(), .match = f->match, .action = ACTION_DROPPED};
        __u32 uid = sock->tgid ? sock->uid : socket_uid(skb);

        if (f->refused)
                return DROP;
        if (!w.rules || !w.match.channel || f->catalogue != w.rules->catalogue)
                return PASS;
        sock->judged = w.match;
        sock->catalogue = f->catalogue;
        if (rules_verdict(w.rules, w.match.channel, uid).verdict != OC_BLOCK)
                return PASS;
        if (f->told != w.rules->generation)
                match_report(skb, p, sock, &w, EVENT_QUIC, OC_TIER_NAME);
        f->told = w.rules->generation;
        return DROP;
}

/* A connection may move to another socket (RFC 9000 9), which then begins in its middle. */
static __always_inline struct oc_flow *quic_known(struct __sk_buff *skb, const struct packet *p,
                                                  const struct oc_sock *sock)
{
        if (sock->talk == TALK_QUIC)
                return quic_flow(skb, p, bpf_get_socket_cookie(skb), false);
        return sock->tgid ? quic_flow(skb, p, OC_FLOW_PROCESS | sock->tgid, false) : NULL;
}

#define QUIC_OVER 4 /* beside PASS, DROP and SWALLOW */

/* The next datagram of the packet, which ends at rest >> 1; the lowest bit: others of it were held. */
__noinline int quic_next(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock, __u64 rest)
{
        if (!p || !sock)
                return PASS | QUIC_OVER;
        __u32 end = rest >> 1, size = skb->gso_size;

        p->end = size && end - p->start > size ? p->start + size : end;
        int verdict = quic_datagram(skb, p, sock, rest & 1);
        p->start = p->end;
        return verdict == DROP || p->start >= end ? verdict | QUIC_OVER : verdict;
}

/* Without a branch but for the end: the verifier walks each round. */
__noinline int quic_datagrams(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock)
{
        if (!p || !sock)
                return PASS;
        __u32 end = p->end, n = 0, held = 0;
        int r;

        do {
                r = quic_next(skb, p, sock, (__u64)end << 1 | held >> 1);
                held |= r & SWALLOW;
        } while (!(r & QUIC_OVER) && ++n < QUIC_DATAGRAMS_MAX);
        return (r & ~QUIC_OVER) == DROP ? DROP : held ? SWALLOW : PASS;
}

__noinline int quic_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock)
{
        if (!p || !sock)
                return PASS;
        struct oc_flow *f = quic_known(skb, p, sock);

        return f && flow_judge(skb, p, sock, f) == DROP ? DROP : quic_datagrams(skb, p, sock);
}
