// SPDX-License-Identifier: GPL-2.0-or-later
/* Names in packets that leave: DNS queries and the server name of a TLS hello. A packet of
 * a blocked name is dropped; the sender sees EPERM (UDP) or the agent ends the flow (TCP). */
#include "bpf/packet.h"
#include "bpf/rules.h"
#include "wire/dns.h"
#include "wire/tls.h"

#define PASS     1
#define DROP     0
#define PORT_DNS 53

struct name_walk {
        struct oc_rules rules;
        struct wire_name *name;
        struct oc_name_key key;
        struct oc_match match; /* channel 0: none */
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

static __always_inline void name_report(struct __sk_buff *skb, const struct packet *p, const struct oc_sock *sock,
                                        const struct name_walk *w, enum event_action action)
{
        enum event_type type = p->remote_port == PORT_DNS ? EVENT_DNS : EVENT_TLS;
        struct event_name *e = event_reserve(type, sizeof(*e), &w->rules);

        if (!e)
                return;
        event_set_match(&e->head, &w->match, OC_TIER_NAME);
        e->head.action = action;
        packet_flow(skb, p, &e->flow);
        e->flow.cookie = bpf_get_socket_cookie(skb);
        if (sock) {
                e->head.tgid = sock->tgid;
                e->head.uid = sock->uid;
                e->flow.netns = sock->netns;
                __builtin_memcpy(e->head.comm, sock->comm, sizeof(e->head.comm));
                event_set_path(e->path, sock->tgid);
        } else {
                e->head.uid = bpf_get_socket_uid(skb);
        }
        bpf_ringbuf_submit(e, 0);
}

static __noinline int name_judge(struct __sk_buff *skb, const struct packet *p, const struct oc_sock *sock,
                                 struct wire_name *name)
{
        struct name_walk w = {.rules = rules_active(), .name = name};

        oc_key_init(&w.key);
        bpf_loop(WIRE_NAME_SIZE, name_step, &w, 0);
        if (!w.match.channel)
                return PASS;
        __u32 uid = sock ? sock->uid : bpf_get_socket_uid(skb);
        struct oc_verdict v = rules_verdict(&w.rules, w.match.channel, uid);
        if (v.verdict == OC_ALLOW)
                return PASS;
        name_report(skb, p, sock, &w, v.verdict == OC_BLOCK ? ACTION_DROPPED : ACTION_PASSED);
        return v.verdict == OC_BLOCK ? DROP : PASS;
}

/* Global: see packet_parse(). */
__noinline int payload_judge(struct __sk_buff *skb, const struct packet *p, const struct oc_sock *sock)
{
        struct wire_name name = {};
        enum wire_result r;

        if (!p)
                return PASS;
        if (p->remote_port == PORT_DNS) /* RFC 1035 4.2.2: over TCP the length comes first */
                r = dns_query_name(skb, p->pos + (p->protocol == IPPROTO_TCP ? 2 : 0), p->end, &name);
        else
                r = tls_server_name(skb, p->pos, p->end, &name);
        if (r == WIRE_CUT && p->protocol == IPPROTO_TCP)
                drops_add(DROP_PARSE_BOUND);
        return r == WIRE_FOUND ? name_judge(skb, p, sock, &name) : PASS;
}

/* A TCP flow is judged by its first payload, once; queries to port 53 one by one. A blocked
 * flow says nothing more: what it sends again is no new attempt. */
SEC("cgroup_skb/egress")
int oc_egress(struct __sk_buff *skb)
{
        struct bpf_sock *sk = skb->sk;
        struct packet p = {};

        if (!sk)
                return PASS;
        struct oc_sock *sock = bpf_sk_storage_get(&oc_socks, sk, NULL, 0);
        if (sock && sock->state != SOCK_NEW)
                return sock->state == SOCK_JUDGED ? PASS : DROP;
        if (packet_parse(skb, &p) < 0 || p.pos >= p.end)
                return PASS;
        bool dns = p.remote_port == PORT_DNS, tcp = p.protocol == IPPROTO_TCP;
        if (!dns && !tcp)
                return PASS;
        int verdict = payload_judge(skb, &p, sock) == DROP ? DROP : PASS;
        if (!tcp || (dns && verdict == PASS))
                return verdict;
        if (!sock)
                sock = bpf_sk_storage_get(&oc_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
        if (sock)
                sock->state = verdict == PASS ? SOCK_JUDGED : SOCK_BLOCKED;
        else
                drops_add(DROP_FLOW_MAP_FULL);
        return verdict;
}

char LICENSE[] SEC("license") = "GPL";
