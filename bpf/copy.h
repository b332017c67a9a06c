/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Copies of payload for the agent, as long as it reads them. */
#include "bpf/name.h"

/* How much may lie unread, and how long, before the agent counts as gone: more than one flow may send
 * (QUIC_COPIES_PER_SECOND), else that would take it from all others while the agent waits for a processor. */
#define UNREAD_MAX    (96 * sizeof(struct event_packet))
#define UNREAD_MAX_NS 1000000000ULL

__u64 oc_read_ns __weak; /* when copies were last found read */

__u64 oc_read_pos __weak; /* how far they were read then */

/* In a flood of refused queries the rest is for what goes on its way when it was read. */
static __always_inline bool agent_reads(__u32 type)
{
        __u64 now = bpf_ktime_get_boot_ns(), unread = bpf_ringbuf_query(&oc_packets, BPF_RB_AVAIL_DATA);

        if (unread == 0 || now - oc_read_ns >= UNREAD_MAX_NS) {
                __u64 pos = bpf_ringbuf_query(&oc_packets, BPF_RB_CONS_POS);

                if (unread && pos == oc_read_pos)
                        return false;
                oc_read_pos = pos;
                oc_read_ns = now;
        }
        return unread < (type == EVENT_QUERY ? UNREAD_MAX / 2 : UNREAD_MAX);
}

/* Bytes [start, end) of the packet. 0, or -1: they are too many, or nobody would read them.
 * Global: see packet_parse(). */
__noinline __weak int packet_copy(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock, __u32 type)
{
        struct bpf_sock *sk = skb->sk;

        if (!p || !sock || !sk || p->end - p->start > OC_PACKET_MAX || !agent_reads(type))
                return -1;
        struct oc_rules rules = rules_active();
        struct event_packet *e = bpf_ringbuf_reserve(&oc_packets, sizeof(*e), 0);
        if (!e)
                return -1;
        __builtin_memset(e, 0, offsetof(struct event_packet, bytes));
        e->head.type = type;
        e->head.size = sizeof(*e);
        e->head.generation = rules.generation;
        e->head.ktime_ns = bpf_ktime_get_boot_ns();
        e->head.tgid = sock->tgid;
        e->head.uid = sock->tgid ? sock->uid : socket_uid(skb);
        __builtin_memcpy(e->head.comm, sock->comm, sizeof(e->head.comm));
        event_set_path(e->path, sock->tgid);
        packet_flow(skb, p, &e->flow);
        e->flow.cookie = bpf_get_socket_cookie(skb);
        e->flow.netns = sock->netns;
        e->flow.flags = sk->dst_port ? OC_FLOW_CONNECTED : 0;
        e->sequence = p->sequence;
        e->acknowledged = p->acknowledged;
        e->size = p->end - p->start;
        e->open = sock->open;
        if (wire_load_some(skb, p->start, e->bytes, e->size, OC_PACKET_MAX) < 0) {
                bpf_ringbuf_discard(e, 0);
                return -1;
        }
        bpf_ringbuf_submit(e, 0);
        return 0;
}
