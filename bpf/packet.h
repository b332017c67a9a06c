/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Steps over the headers of a packet that begins at its network header. Each hdr_*() checks
 * one header and moves behind it; a negative result means: not for us, let it pass. */
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/if_ether.h>
#include "bpf/kernel.h"
#include "bpf/event.h"
#include "wire/load.h"

#define IPV6_EXTENSIONS_MAX 8

struct packet {
        __u32 pos; /* behind the headers parsed so far */
        __u32 end;
        __u32 start; /* of the message that is looked at */
        __u16 local_port;
        __u16 remote_port;
        __u8 family;
        __u8 protocol; /* IPPROTO_* of the header at pos */
        __u16 incoming; /* 1: our side is the destination */
        __u32 sequence; /* TCP: of the first byte of payload */
        __u32 acknowledged; /* TCP: what the other side sends next */
        __u32 urgent; /* TCP: behind the urgent byte; 0: there is none */
        __u32 transport; /* where its header is */
};

static __always_inline int hdr_ipv4(struct __sk_buff *skb, struct packet *p)
{
        __u8 h[20];

        if (bpf_skb_load_bytes(skb, 0, h, sizeof(h)) < 0)
                return -1;
        /* RFC 791 3.1: at least five words; a later fragment has no transport header */
        if ((h[0] & 15) < 5 || (h[6] & 0x1f) || h[7])
                return -1;
        p->family = AF_INET;
        p->protocol = h[9];
        p->pos = (h[0] & 15) * 4;
        return 0;
}

/* RFC 8200 4.1 */
static __always_inline int hdr_ipv6(struct __sk_buff *skb, struct packet *p)
{
        __u8 h[8];

        if (bpf_skb_load_bytes(skb, 0, h, sizeof(h)) < 0)
                return -1;
        p->family = AF_INET6;
        p->protocol = h[6];
        p->pos = 40;
#pragma clang loop unroll(disable)
        for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
                __u8 at = p->protocol;
                if (at == IPPROTO_TCP || at == IPPROTO_UDP)
                        return 0;
                if (at != IPPROTO_HOPOPTS && at != IPPROTO_ROUTING && at != IPPROTO_DSTOPTS && at != IPPROTO_FRAGMENT)
                        return -1;
                if (bpf_skb_load_bytes(skb, p->pos, h, sizeof(h)) < 0)
                        return -1;
                /* RFC 8200 4.5: the offset is the upper 13 bits */
                if (at == IPPROTO_FRAGMENT && (h[2] || h[3] & 0xf8))
                        return -1;
                p->protocol = h[0];
                p->pos += at == IPPROTO_FRAGMENT ? 8 : (h[1] + 1) * 8;
        }
        return -1;
}

static __always_inline int hdr_udp(struct __sk_buff *skb, struct packet *p)
{
        __be16 port[2];

        if (bpf_skb_load_bytes(skb, p->pos, port, sizeof(port)) < 0)
                return -1;
        p->local_port = bpf_ntohs(port[0]);
        p->remote_port = bpf_ntohs(port[1]);
        p->pos += 8;
        return 0;
}

static __always_inline int hdr_tcp(struct __sk_buff *skb, struct packet *p)
{
        __u8 h[20];

        if (bpf_skb_load_bytes(skb, p->pos, h, sizeof(h)) < 0)
                return -1;
        /* RFC 9293 3.1: at least five words */
        if (h[12] >> 4 < 5)
                return -1;
        p->local_port = h[0] << 8 | h[1];
        p->remote_port = h[2] << 8 | h[3];
        p->sequence = (__u32)h[4] << 24 | h[5] << 16 | h[6] << 8 | h[7];
        p->acknowledged = (__u32)h[8] << 24 | h[9] << 16 | h[10] << 8 | h[11];
        /* RFC 9293 3.4: a SYN takes the first number; RFC 7413: data may follow it at once */
        if (h[13] & 2)
                p->sequence++;
        p->transport = p->pos;
        p->pos += (h[12] >> 4) * 4;
        /* RFC 9293 3.1: URG; the pointer is taken as everybody takes it, RFC 6093 2.1 */
        if (h[13] & 0x20)
                p->urgent = p->pos + (h[18] << 8 | h[19]);
        return 0;
}

/* A TCP segment without payload: half of all packets, and none of them of interest. */
static __always_inline bool packet_is_bare(struct __sk_buff *skb)
{
        const __u8 *h = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

        if (h + 40 > end)
                return false;
        if (h[0] == 0x45)
                return h[9] == IPPROTO_TCP && skb->len == 20 + (h[32] >> 4) * 4u;
        return h[0] >> 4 == 6 && h[6] == IPPROTO_TCP && h + 60 <= end && skb->len == 40 + (h[52] >> 4) * 4u;
}

/* What nearly every datagram is: of IPv4 without options, whole, its headers at hand. */
static __always_inline bool packet_is_plain(struct __sk_buff *skb, struct packet *p)
{
        const __u8 *h = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

        if (h + 28 > end || h[0] != 0x45 || h[9] != IPPROTO_UDP || (h[6] & 0x1f) || h[7])
                return false;
        __u16 source = h[20] << 8 | h[21], destination = h[22] << 8 | h[23];
        p->end = skb->len;
        p->pos = 28;
        p->family = AF_INET;
        p->protocol = IPPROTO_UDP;
        p->local_port = p->incoming ? destination : source;
        p->remote_port = p->incoming ? source : destination;
        return true;
}

#define PLAIN_LABELS 8
#define PLAIN_SIZE   1024

/* The bytes at an offset of a packet that begins at `b`, as far as the verifier has to know; NULL: they are not at hand. */
static __always_inline const __u8 *bytes_between(const __u8 *b, const __u8 *end, __u32 at, __u32 size)
{
        wire_forget(at);
        if (at > PLAIN_SIZE)
                return NULL;
        b += at;
        return b + size <= end ? b : NULL;
}

/* Global, so that it is verified once and not again on each path of its caller; the verifier
 * then takes p for a pointer that may be NULL. */
__noinline __weak int packet_parse(struct __sk_buff *skb, struct packet *p)
{
        int r = -1;

        if (!p)
                return -1;
        p->end = skb->len;
        if (skb->protocol == bpf_htons(ETH_P_IP))
                r = hdr_ipv4(skb, p);
        else if (skb->protocol == bpf_htons(ETH_P_IPV6))
                r = hdr_ipv6(skb, p);
        if (r < 0)
                return r;
        r = -1;
        if (p->protocol == IPPROTO_UDP)
                r = hdr_udp(skb, p);
        else if (p->protocol == IPPROTO_TCP)
                r = hdr_tcp(skb, p);
        if (p->incoming) {
                __u16 port = p->local_port;
                p->local_port = p->remote_port;
                p->remote_port = port;
        }
        return r;
}

/* Addresses and ports for an event. */
static __always_inline void packet_flow(struct __sk_buff *skb, const struct packet *p, struct event_flow *ret)
{
        ret->family = p->family;
        ret->protocol = p->protocol;
        ret->local_port = p->local_port;
        ret->remote_port = p->remote_port;
        if (p->family == AF_INET) {
                bpf_skb_load_bytes(skb, p->incoming ? 16 : 12, ret->local, 4);
                bpf_skb_load_bytes(skb, p->incoming ? 12 : 16, ret->remote, 4);
        } else {
                bpf_skb_load_bytes(skb, p->incoming ? 24 : 8, ret->local, 16);
                bpf_skb_load_bytes(skb, p->incoming ? 8 : 24, ret->remote, 16);
        }
}
