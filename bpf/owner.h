/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Whose a socket is: written where a process is known, read where a packet is. */
#include "bpf/rules.h"
#include "bpf/scratch.h"

static __always_inline struct oc_owner *owner_place(__u64 cookie)
{
        __u32 place = cookie % OWNERS;
        return bpf_map_lookup_elem(&oc_owners, &place);
}

static __always_inline void owner_set(struct bpf_sock_addr *ctx, __u32 tgid, __u32 uid)
{
        __u64 cookie = bpf_get_socket_cookie(ctx), netns;
        struct oc_owner *o = owner_place(cookie);
        char comm[OC_COMM_SIZE];

        if (!o || (o->cookie == cookie && o->tgid == tgid && o->uid == uid))
                return;
        netns = bpf_get_netns_cookie(ctx);
        bpf_get_current_comm(comm, sizeof(comm));
        bpf_spin_lock(&o->lock);
        o->cookie = cookie;
        o->netns = netns;
        o->tgid = tgid;
        o->uid = uid;
        __builtin_memcpy(o->comm, comm, sizeof(o->comm));
        bpf_spin_unlock(&o->lock);
}

/* Leaves *ret alone when nobody is known. */
static __always_inline void owner_get(struct __sk_buff *skb, struct oc_sock *ret)
{
        __u64 cookie = bpf_get_socket_cookie(skb);
        struct oc_owner *o = owner_place(cookie);

        if (!o)
                return;
        bpf_spin_lock(&o->lock);
        if (o->cookie == cookie) {
                ret->netns = o->netns;
                ret->tgid = o->tgid;
                ret->uid = o->uid;
                __builtin_memcpy(ret->comm, o->comm, sizeof(ret->comm));
        }
        bpf_spin_unlock(&o->lock);
}

/* NULL: memory is short. */
static __always_inline struct oc_sock *sock_new(struct __sk_buff *skb, struct bpf_sock *sk)
{
        struct oc_sock *s = bpf_sk_storage_get(&oc_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

        if (s)
                owner_get(skb, s);
        else
                drops_add(DROP_FLOW_MAP_FULL);
        return s;
}

/* The same for this packet alone. */
static __always_inline struct oc_sock *scratch_sock(struct __sk_buff *skb, struct oc_scratch *s)
{
        __builtin_memset(&s->sock, 0, sizeof(s->sock));
        owner_get(skb, &s->sock);
        return &s->sock;
}
