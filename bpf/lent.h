/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Payload in pages that its sender can still write: of splice, vmsplice, sendfile, MSG_ZEROCOPY, io_uring's SEND_ZC.
 * What is read there may be something else by the time it leaves, and again when TCP sends it once more. */
#include "bpf/maps.h"
#include "bpf/owner.h"
#include "bpf/packet.h"

#define FRAGS_MAX     45 /* the largest CONFIG_MAX_SKB_FRAGS */
#define FRAGMENTS_MAX 64 /* of the largest datagram, down to an MTU of 1280 bytes */
#define FRAG_ZEROCOPY 1 /* SKBFL_ZEROCOPY_ENABLE: of a program's memory, if only a driver's that it maps */
#define FRAG_SHARED   2 /* SKBFL_SHARED_FRAG: TCP has it wherever a page may be somebody's, UDP has not */

#define LENT_MAX_NS 60000000000ULL

__u64 oc_lent_until __weak; /* till then, in CLOCK_BOOTTIME, a stream waits for its head to arrive; 0: none */

/* skb_frag_t, whose fields have had several names in one layout */
struct frag {
        __u64 page;
        __u32 size;
        __u32 offset;
};

/* Pages of programs and files have content that is up to date or are mapped; those of the kernel's own buffers,
 * received packets and what was written into a pipe, are neither. */
static __always_inline bool page_is_lent(__u64 page)
{
        struct page *p = (void *)page;
        __u64 flags = 0, head;

        if (page & 1) /* a device's memory, struct net_iov: nobody can read it here */
                return true;
        if (BPF_CORE_READ(p, _mapcount.counter) >= 0)
                return true;
        head = BPF_CORE_READ(p, compound_head);
        /* they stand first, as a struct since Linux 6.18 */
        bpf_probe_read_kernel(&flags, sizeof(flags), (void *)(head & 1 ? head - 1 : page));
        return flags >> bpf_core_enum_value(enum pageflags, PG_uptodate) & 1;
}

/* Bytes of the packet that are not in pages. */
static __always_inline __u32 linear_size(struct __sk_buff *skb)
{
        return (void *)(long)skb->data_end - (void *)(long)skb->data;
}

#define NOT_LENT     0x7fffffff
#define PERHAPS_LENT 0x7ffffffe /* the kernel's own, or a driver's while nobody maps it */

/* Where the first such byte is, of pages that a struct skb_shared_info lists and that begin at `at`. Global, also the
 * following: see packet_parse(). */
__noinline __weak int pages_lent(__u64 list, __u32 at, __u32 protocol)
{
        struct skb_shared_info *info = (void *)list;
        const void *frags = (const void *)info + bpf_core_field_offset(info->frags);
        __u32 n = BPF_CORE_READ(info, nr_frags), flags = BPF_CORE_READ(info, flags);

        if (!n || (protocol == IPPROTO_TCP && !(flags & FRAG_SHARED)))
                return NOT_LENT;
        if (flags & FRAG_ZEROCOPY)
                return at;
#pragma clang loop unroll(disable)
        for (__u32 i = 0; i < FRAGS_MAX && i < n; i++) {
                struct frag f = {};

                if (bpf_probe_read_kernel(&f, sizeof(f), frags + i * sizeof(f)) < 0 || page_is_lent(f.page))
                        return at;
                at += f.size;
        }
        return PERHAPS_LENT;
}

/* Whoever has lent memory may have lent a driver's. */
static __always_inline bool is_lender(struct __sk_buff *skb)
{
        __u32 uid = socket_uid(skb);

        return bpf_map_lookup_elem(&oc_lenders, &uid);
}

static __always_inline struct skb_shared_info *buffer_pages(struct sk_buff *b)
{
        return (void *)(BPF_CORE_READ(b, head) + BPF_CORE_READ(b, end));
}

/* Where in the packet the first such byte is; its size: there is none. A datagram that will be parted, being larger than
 * the link takes, has a buffer for each fragment: any of them counts as its beginning. */
__noinline __weak int packet_lent(struct __sk_buff *skb, __u32 protocol)
{
        __u32 size = linear_size(skb);

        if (size >= skb->len)
                return skb->len;
        struct skb_shared_info *info = buffer_pages((void *)skb);
        int at = pages_lent((__u64)info, size, protocol);
        struct sk_buff *b = protocol == IPPROTO_UDP ? BPF_CORE_READ(info, frag_list) : NULL;
#pragma clang loop unroll(disable)
        for (int i = 0; i < FRAGMENTS_MAX && b && at >= PERHAPS_LENT; i++) {
                int r = pages_lent((__u64)buffer_pages(b), size, protocol);

                at = r < at ? r : at;
                b = BPF_CORE_READ(b, next);
        }
        if (b || (at == PERHAPS_LENT && is_lender(skb)))
                at = size;
        return at < (int)skb->len ? at : (int)skb->len;
}

static __always_inline bool is_lent(struct __sk_buff *skb, __u32 protocol)
{
        return linear_size(skb) < skb->len && packet_lent(skb, protocol) < (int)skb->len;
}

/* What comes in: the other side may have the head of that stream. Global: see packet_parse(). */
__noinline __weak int lent_arrived(struct __sk_buff *skb)
{
        struct packet p = {.incoming = 1};
        struct bpf_sock *sk = skb->sk;

        if (bpf_ktime_get_boot_ns() > oc_lent_until)
                oc_lent_until = 0;
        if (!sk || packet_parse(skb, &p) < 0 || p.protocol != IPPROTO_TCP)
                return 0;
        struct oc_sock *sock = bpf_sk_storage_get(&oc_socks, sk, NULL, 0);
        if (sock && sock->lent && (__s32)(p.acknowledged - sock->head_arrived) > 0)
                sock->head_arrived = p.acknowledged;
        return 0;
}
