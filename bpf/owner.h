/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Whose a socket is: written where a process is known, read where a packet is. */
#include <stddef.h>
#include "bpf/person.h"
#include "bpf/rules.h"
#include "bpf/scratch.h"

static __always_inline struct oc_owner *owner_place(__u64 cookie)
{
        __u32 place = cookie % OWNERS;
        return bpf_map_lookup_elem(&oc_owners, &place);
}

static __always_inline __u64 owner_check(const struct oc_owner *o)
{
        __u64 h = o->cookie * OC_HASH_PRIME_B;

        h = (h ^ h >> 32 ^ o->netns) * OC_HASH_PRIME_B;
        h = (h ^ h >> 32 ^ o->tgid ^ (__u64)o->uid << 32) * OC_HASH_PRIME_B;
        h = (h ^ h >> 32 ^ o->comm[0]) * OC_HASH_PRIME_B;
        return (h ^ h >> 32 ^ o->comm[1]) * OC_HASH_PRIME_B;
}

/* bpf_get_current_comm() takes longer than all of the rest. */
static __always_inline void current_comm(__u64 ret[static 2])
{
        struct task_struct *t = bpf_get_current_task_btf();

        const __u64 *comm = (const void *)t->comm;

        ret[0] = comm[0];
        ret[1] = comm[1];
}

static __always_inline void owner_set(struct bpf_sock_addr *ctx, __u32 tgid, __u32 uid)
{
        struct oc_owner fresh; /* but for `reserved` all of it is written */
        __u64 cookie = bpf_get_socket_cookie(ctx);
        struct oc_owner *o = owner_place(cookie);

        if (!o || (o->cookie == cookie && o->tgid == tgid && o->uid == uid))
                return;
        fresh.cookie = cookie;
        fresh.netns = bpf_get_netns_cookie(ctx);
        fresh.tgid = tgid;
        fresh.uid = uid;
        current_comm(fresh.comm);
        fresh.check = owner_check(&fresh);
        __builtin_memcpy(o, &fresh, offsetof(struct oc_owner, reserved));
}

/* Whose the socket of a packet that leaves is: of who opened it as person_of(). Whom bpf_get_socket_uid() names, its user
 * namespace says. Both global: see packet_parse(), and for the sake of the stack. */
__noinline __weak __u32 socket_uid(struct __sk_buff *skb)
{
        struct sk_buff *b = (void *)skb;
        struct user_namespace *ns = BPF_CORE_READ(b, sk, sk_socket, file, f_cred, user_ns);
        __u32 owner = ns && BPF_CORE_READ(ns, level) > 0 ? outermost_owner(ns) : 0;

        return owner ? owner : BPF_CORE_READ(b, sk, sk_uid.val);
}

__noinline __weak __u64 socket_netns(struct __sk_buff *skb)
{
        struct sk_buff *b = (void *)skb;

        return BPF_CORE_READ(b, sk, __sk_common.skc_net.net, net_cookie);
}

/* Of *ret only the network namespace is set when nobody is known. */
static __always_inline void owner_get(struct __sk_buff *skb, struct oc_sock *ret)
{
        __u64 cookie = bpf_get_socket_cookie(skb);
        struct oc_owner *o = owner_place(cookie);

        if (!o)
                return;
        struct oc_owner copy = *o;
        asm volatile("" ::: "memory"); /* what is checked is what was read */
        if (copy.cookie != cookie || copy.check != owner_check(&copy)) {
                ret->netns = socket_netns(skb);
                return;
        }
        ret->netns = copy.netns;
        ret->tgid = copy.tgid;
        ret->uid = copy.uid;
        __builtin_memcpy(ret->comm, copy.comm, sizeof(ret->comm));
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

/* The same, for this packet alone when nothing is stored. */
static __always_inline struct oc_sock *sock_find(struct __sk_buff *skb, struct oc_scratch *s)
{
        struct bpf_sock *sk = skb->sk;
        struct oc_sock *sock = sk ? bpf_sk_storage_get(&oc_socks, sk, NULL, 0) : NULL;

        if (sock)
                return sock;
        __builtin_memset(&s->sock, 0, sizeof(s->sock));
        owner_get(skb, &s->sock);
        return &s->sock;
}
