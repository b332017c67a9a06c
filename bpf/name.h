/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* A name that a packet speaks: which channel's it is, and the verdict. */
#include "bpf/packet.h"
#include "bpf/rules.h"
#include "bpf/scratch.h"

#define PASS 1
#define DROP 0

struct name_walk {
        struct oc_rules rules;
        struct wire_name *name;
        struct oc_name_key key;
        struct oc_match match; /* channel 0: none */
        __u16 action; /* enum event_action */
};

/* Byte i of the name from its end. At each dot the bytes so far are a suffix; the longest
 * comes last and wins, at the first byte of the name `exact` before `suffix`. */
static long name_step(__u32 i, struct name_walk *w)
{
        __u32 at = w->name->size - 1 - i;

        if (at >= WIRE_NAME_SIZE)
                return 1;
        __u8 c = w->name->text[at];
        if (c == '.') {
                const struct oc_match *m = rules_find_key(&w->rules, &w->key, OC_KEY_SUFFIX);
                if (m)
                        w->match = *m;
                if (at == 0)
                        m = rules_find_key(&w->rules, &w->key, OC_KEY_EXACT);
                if (at == 0 && m)
                        w->match = *m;
        }
        oc_key_name_byte(&w->key, c);
        return 0;
}

static __always_inline void match_report(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock,
                                         const struct name_walk *w, enum event_type type, __u16 tier)
{
        struct event_name *e = event_reserve(type, sizeof(*e), &w->rules);

        if (!e)
                return;
        event_set_match(&e->head, &w->match, tier);
        e->head.action = w->action;
        packet_flow(skb, p, &e->flow);
        e->flow.cookie = bpf_get_socket_cookie(skb);
        if (sock) {
                e->head.tgid = sock->tgid;
                e->head.uid = sock->uid;
                e->flow.netns = sock->netns;
                __builtin_memcpy(e->head.comm, sock->comm, sizeof(e->head.comm));
                event_set_path(e->path, sock->tgid);
        }
        if (!e->head.tgid)
                e->head.uid = bpf_get_socket_uid(skb);
        bpf_ringbuf_submit(e, 0);
}

static __always_inline int match_judge(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock,
                                       struct name_walk *w, enum event_type type, __u16 tier)
{
        if (!w->match.channel)
                return PASS;
        if (sock && type != EVENT_DNS) { /* a later policy may turn against this connection */
                sock->judged = w->match;
                sock->catalogue = w->rules.catalogue;
        }
        __u32 uid = sock && sock->tgid ? sock->uid : bpf_get_socket_uid(skb);
        __u32 verdict = rules_verdict(&w->rules, w->match.channel, uid).verdict;
        if (verdict == OC_ALLOW)
                return PASS;
        w->action = verdict == OC_BLOCK ? ACTION_DROPPED : ACTION_PASSED;
        match_report(skb, p, sock, w, type, tier);
        return verdict == OC_BLOCK ? DROP : PASS;
}

/* Global: see packet_parse(). `sock` may be NULL. */
__noinline __weak int name_judge(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock,
                                 struct wire_name *name, __u32 type)
{
        if (!p || !name)
                return PASS;
        struct name_walk w = {.rules = rules_active(), .name = name};

        oc_key_init(&w.key);
        bpf_loop(WIRE_NAME_SIZE, name_step, &w, 0);
        return match_judge(skb, p, sock, &w, type, OC_TIER_NAME);
}

/* The address in the first 16 bytes of the text: where a proxy is asked to connect. */
__noinline __weak int address_judge(struct __sk_buff *skb, const struct packet *p, struct oc_sock *sock,
                                    struct wire_name *name)
{
        if (!p || !name)
                return PASS;
        struct name_walk w = {.rules = rules_active()};
        struct oc_prefix_key key = {.length = 128};

        __builtin_memcpy(key.address, name->text, sizeof(key.address));
        const struct oc_match *m = rules_find_prefix(&w.rules, &key);
        if (!m)
                return PASS;
        w.match = *m;
        return match_judge(skb, p, sock, &w, EVENT_HTTP, OC_TIER_ADDRESS);
}
