/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* A name that a packet speaks: which channel's it is, and the verdict. */
#include "bpf/owner.h"
#include "bpf/packet.h"

#define PASS    1
#define DROP    0
#define SWALLOW 2 /* drop and tell nobody (BPF_RET_SET_CN), unless with IP_RECVERR */

/* A socket's owner may fill what the kernel grants a socket for options (net.core.optmem_max): it is not read, so it
 * does not leave. */
static __always_inline int storage_full(void)
{
        drops_add(DROP_FLOW_MAP_FULL);
        return DROP;
}

#define NAME_STEPS (WIRE_NAME_SIZE / 2 + WIRE_NAME_SIZE / 8) /* each label, each eight bytes */

struct name_walk {
        const struct oc_rules *rules;
        struct wire_name *name;
        struct oc_name_key key;
        struct oc_match match; /* channel 0: none */
        __u16 action; /* enum event_action */
        __u32 at; /* bytes of the name that are left */
};

/* Eight bytes or what is left of a label, from its end. At each dot the bytes so far are a suffix; the
 * longest comes last and wins, at the first byte of the name `exact` before `suffix`. */
static long name_step(__u32 i, struct name_walk *w)
{
        struct oc_name_key key = w->key;
        __u32 at = w->at, last = at - 1, n;

        wire_forget(last); /* or the compiler compares `at`, and the verifier learns nothing */
        if (last >= WIRE_NAME_SIZE)
                return 1;
        n = oc_key_label(&key, *(__u64 *)(w->name->before + (sizeof(w->name->before) - 7) + last));
        if (n == 8) {
                w->at = at - 8;
                w->key = key;
                return 0;
        }
        at -= n + 1;
        w->at = at;
        w->key = key;
        oc_key_dot(&w->key);
        if (!rules_may_have(w->rules, oc_key_sum(&key)))
                return at == 0;
        const struct oc_match *m = rules_find_key(w->rules, &key, OC_KEY_SUFFIX);
        if (m)
                w->match = *m;
        if (at == 0)
                m = rules_find_key(w->rules, &key, OC_KEY_EXACT);
        if (at == 0 && m)
                w->match = *m;
        return at == 0;
}

static __always_inline void match_report(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock,
                                         const struct name_walk *w, enum event_type type, __u16 tier)
{
        struct event_name *e = event_reserve(type, sizeof(*e), w->rules->generation);

        if (!e)
                return;
        event_set_match(&e->head, &w->match, tier);
        e->head.action = w->action;
        packet_flow(skb, p, &e->flow);
        e->flow.cookie = bpf_get_socket_cookie(skb);
        e->flow.flags = skb->sk && skb->sk->dst_port ? OC_FLOW_CONNECTED : 0;
        if (mptcp_of(skb->sk))
                e->flow.flags |= OC_FLOW_MPTCP;
        if (sock) {
                e->head.tgid = sock->tgid;
                e->head.uid = sock->uid;
                e->flow.netns = sock->netns;
                __builtin_memcpy(e->head.comm, sock->comm, sizeof(e->head.comm));
                event_set_path(e->path, sock->tgid);
        }
        if (!e->head.tgid)
                e->head.uid = socket_uid(skb);
        bpf_ringbuf_submit(e, 0);
}

/* Whom it talks to, at the socket that the application holds: see walk.bpf.c. */
static __noinline void mptcp_remember(struct __sk_buff *skb, const struct name_walk *w)
{
        struct mptcp_sock *whole = mptcp_of(skb->sk);
        struct oc_sock *sock = whole ? bpf_sk_storage_get(&oc_socks, whole, NULL, BPF_SK_STORAGE_GET_F_CREATE) : NULL;

        if (sock) {
                sock->judged = w->match;
                sock->catalogue = w->rules->catalogue;
        }
}

static __always_inline int match_judge(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock,
                                       struct name_walk *w, enum event_type type, __u16 tier)
{
        struct oc_scratch *s = NULL;

        if (!w->match.channel)
                return PASS;
        if (!sock && (s = scratch_take()))
                sock = sock_find(skb, s);
        if (sock && type != EVENT_DNS) { /* a later policy may turn against this connection */
                sock->judged = w->match;
                sock->catalogue = w->rules->catalogue;
                mptcp_remember(skb, w);
        }
        __u32 uid = sock && sock->tgid ? sock->uid : socket_uid(skb);
        __u32 verdict = rules_verdict(w->rules, w->match.channel, uid).verdict;
        w->action = verdict == OC_BLOCK ? ACTION_DROPPED : ACTION_PASSED;
        if (verdict != OC_ALLOW)
                match_report(skb, p, sock, w, type, tier);
        if (s)
                scratch_give(s);
        return verdict == OC_BLOCK ? DROP : PASS;
}

/* Which channel's a name is. Global: see packet_parse(). */
__noinline __weak int name_find(struct wire_name *name, struct oc_match *ret)
{
        if (!name || !ret)
                return 0;
        struct name_walk w = {.rules = rules_now(), .name = name, .at = name->size};

        if (!w.rules)
                return 0;
        oc_key_init(&w.key);
        bpf_loop(NAME_STEPS, name_step, &w, 0);
        *ret = w.match;
        return 0;
}

/* Global: see packet_parse(). `sock` may be NULL. */
__noinline __weak int name_judge(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock,
                                 struct wire_name *name, __u32 type)
{
        if (!p || !name)
                return PASS;
        struct name_walk w = {.rules = rules_now(), .name = name, .at = name->size};

        if (!w.rules)
                return PASS;
        oc_key_init(&w.key);
        bpf_loop(NAME_STEPS, name_step, &w, 0);
        return match_judge(skb, p, sock, &w, type, OC_TIER_NAME);
}

/* The text of an address, or one of SOCKS: where a proxy is asked to connect. */
__noinline __weak int address_judge(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock,
                                    const struct literal *to)
{
        if (!p || !to)
                return PASS;
        struct name_walk w = {.rules = rules_now()};
        struct oc_prefix_key key = {.length = 128};

        if (!w.rules)
                return PASS;
        __builtin_memcpy(key.address, to->address, sizeof(key.address));
        const struct oc_match *m = rules_find_prefix(w.rules, &key);
        if (!m)
                return PASS;
        w.match = *m;
        return match_judge(skb, p, sock, &w, EVENT_HTTP, OC_TIER_ADDRESS);
}
