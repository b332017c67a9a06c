/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* QUIC: its names are encrypted, so the agent reads a copy of each Initial and says which
 * flows are blocked. What it could not read is dropped: clients fall back to TCP. */
#include "bpf/copy.h"

#define QUIC_V1                0x00000001
#define QUIC_V2                0x6b3343cf /* RFC 9369 3.1 */
#define QUIC_INITIAL_MIN       1200 /* RFC 9000 14.1 */
#define QUIC_COPIES_PER_SECOND 64 /* of one flow; a client sends two to ten for a connection */
#define QUIC_DATAGRAMS_MAX     128 /* in one packet: UDP_MAX_SEGMENTS (Linux 6.9) */

static __always_inline bool quic_is_initial(struct __sk_buff *skb, const struct packet *p)
{
        __u8 h[5];

        if (p->end - p->start < QUIC_INITIAL_MIN || bpf_skb_load_bytes(skb, p->start, h, sizeof(h)) < 0)
                return false;
        __u32 version = (__u32)h[0] << 24, type = h[0] >> 4 & 3;
        version = (__u32)h[1] << 24 | h[2] << 16 | h[3] << 8 | h[4];
        if (!(h[0] & 0x80)) /* RFC 9000 17.2: long header */
                return false;
        return (version == QUIC_V1 && type == 0) || (version == QUIC_V2 && type == 1);
}

static __always_inline struct oc_flow *quic_flow(struct __sk_buff *skb, const struct packet *p, bool create)
{
        struct oc_flow_key key = {.cookie = bpf_get_socket_cookie(skb), .port = p->remote_port};
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

/* One datagram, [p->start, p->end). Global, also the next: see packet_parse(). */
__noinline int quic_datagram(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock)
{
        if (!p || !sock || !quic_is_initial(skb, p))
                return PASS;
        sock->talk = TALK_QUIC;
        struct oc_flow *f = quic_flow(skb, p, true);
        return f && quic_may_copy(f) && packet_copy(skb, p, sock, EVENT_DATAGRAM) == 0 ? PASS : DROP;
}

__noinline int quic_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock)
{
        if (!p || !sock)
                return PASS;
        struct oc_flow *f = sock->talk == TALK_QUIC ? quic_flow(skb, p, false) : NULL;
        __u32 end = p->end, size = skb->gso_size, n = 0;
        int verdict;

        if (f && f->blocked)
                return DROP;
        p->start = p->pos;
        do {
                p->end = size && end - p->start > size ? p->start + size : end;
                verdict = quic_datagram(skb, p, sock);
                p->start = p->end;
        } while (verdict != DROP && p->start < end && ++n < QUIC_DATAGRAMS_MAX);
        return verdict == DROP ? DROP : PASS;
}
