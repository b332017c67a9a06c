// SPDX-License-Identifier: GPL-2.0-or-later
/* Sockets that are open already when a rule set comes into force: those of a blocked channel are
 * closed to packets and told to the agent, which ends them. Read once after each change. */
#include <linux/in.h>
#include "bpf/address.h"
#include "bpf/person.h"
#include "bpf/rules.h"

#define CGROUP_LEVELS_MAX 64
#define TCP_CLOSE         7 /* net/tcp_states.h; also an unconnected UDP socket */
#define TCP_LISTEN        10

__u64 oc_scope_id; /* of the watched cgroup */

struct open_sock {
        struct oc_prefix_key to;
        struct oc_rules rules;
        struct oc_match match;
        __u32 verdict;
        __u32 uid;
        __u32 tgid;
        __u16 port;
        __u16 tier;
        enum event_type type;
};

static bool is_in_scope(struct task_struct *task)
{
        struct cgroup *c = task->cgroups->dfl_cgrp;
        int level = c->level;

        for (int i = 0; i < CGROUP_LEVELS_MAX && i <= level; i++) {
                struct cgroup *a = NULL;

                if (bpf_core_read(&a, sizeof(a), &c->ancestors[i]) == 0 && BPF_CORE_READ(a, kn, id) == oc_scope_id)
                        return true;
        }
        return false;
}

static void address_of(struct sock *sk, struct oc_prefix_key *k)
{
        __u32 *a = (__u32 *)k->address;

        k->length = 128;
        if (sk->__sk_common.skc_family == AF_INET) {
                a[2] = bpf_htonl(0xffff);
                a[3] = sk->__sk_common.skc_daddr;
        } else {
                bpf_core_read(k->address, sizeof(k->address), &sk->__sk_common.skc_v6_daddr);
                address_translate(k);
        }
}

static __always_inline void take_stricter(struct open_sock *o, const struct oc_match *m, __u16 tier,
                                          enum event_type type)
{
        __u32 verdict = rules_verdict(&o->rules, m->channel, o->uid).verdict;

        if (verdict <= o->verdict)
                return;
        o->match = *m;
        o->verdict = verdict;
        o->tier = tier;
        o->type = type;
}

/* By its process, by its address, by the name that it asked for when it was opened. */
static __noinline void open_sock_judge(struct open_sock *o, const struct oc_sock *known, __u16 protocol)
{
        struct oc_task *t = bpf_map_lookup_elem(&oc_tasks, &o->tgid);
        const struct oc_match *m = rules_find_prefix(&o->rules, &o->to);

        if (t && t->catalogue == o->rules.catalogue)
                take_stricter(o, &t->match, OC_TIER_PROGRAM, EVENT_CONNECT);
        if (m)
                take_stricter(o, m, OC_TIER_ADDRESS, EVENT_CONNECT);
        if (known && known->judged.channel && known->catalogue == o->rules.catalogue)
                take_stricter(o, &known->judged, OC_TIER_NAME, protocol == IPPROTO_UDP ? EVENT_QUIC : EVENT_TLS);
}

static bool is_mptcp(struct sock *sk)
{
        return sk->sk_protocol == IPPROTO_MPTCP;
}

static void flow_of(struct sock *sk, const struct open_sock *o, struct event_flow *ret)
{
        bool v4 = is_ipv4(&o->to);

        ret->family = v4 ? AF_INET : AF_INET6;
        ret->protocol = is_mptcp(sk) ? IPPROTO_TCP : sk->sk_protocol;
        ret->local_port = sk->__sk_common.skc_num;
        ret->remote_port = o->port;
        if (v4) {
                __builtin_memcpy(ret->remote, o->to.address + 12, 4);
                bpf_core_read(ret->local, 4, &sk->__sk_common.skc_rcv_saddr);
        } else {
                __builtin_memcpy(ret->remote, o->to.address, 16);
                bpf_core_read(ret->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
        }
        ret->netns = sk->__sk_common.skc_net.net->net_cookie;
        ret->flags = OC_FLOW_CONNECTED | (is_mptcp(sk) ? OC_FLOW_MPTCP : 0);
}

static void open_sock_report(struct task_struct *task, struct sock *sk, const struct open_sock *o)
{
        struct event_name *e = event_reserve(o->type, sizeof(*e), o->rules.generation);

        if (!e)
                return;
        event_set_match(&e->head, &o->match, o->tier);
        e->head.action = ACTION_DROPPED;
        e->head.tgid = o->tgid;
        e->head.uid = o->uid;
        bpf_core_read_str(e->head.comm, sizeof(e->head.comm), &task->comm);
        flow_of(sk, o, &e->flow);
        e->flow.cookie = is_mptcp(sk) ? 0 : bpf_get_socket_cookie(sk); /* its packets are another socket's */
        event_set_path(e->path, o->tgid);
        bpf_ringbuf_submit(e, 0);
}

static bool is_connected(struct sock *sk)
{
        __u8 state = sk->__sk_common.skc_state;
        __u16 family = sk->__sk_common.skc_family;

        if (family != AF_INET && family != AF_INET6)
                return false;
        if (sk->sk_protocol != IPPROTO_TCP && sk->sk_protocol != IPPROTO_UDP && !is_mptcp(sk))
                return false;
        return sk->__sk_common.skc_dport && state != TCP_CLOSE && state != TCP_LISTEN;
}

SEC("iter/task_file")
int oc_walk_socks(struct bpf_iter__task_file *ctx)
{
        struct task_struct *task = ctx->task;
        struct file *file = ctx->file;
        struct open_sock o = {};

        if (!task || !file)
                return 0;
        struct socket *socket = bpf_sock_from_file(file);
        struct sock *sk = socket ? socket->sk : NULL;
        if (!sk || !is_connected(sk) || !is_in_scope(task))
                return 0;
        o.rules = rules_active();
        o.tgid = task->tgid;
        o.uid = person_of(task);
        o.port = bpf_ntohs(sk->__sk_common.skc_dport);
        address_of(sk, &o.to);
        if (is_local_service(&o.to, o.port))
                return 0;
        struct oc_sock *known = bpf_sk_storage_get(&oc_socks, sk, NULL, 0);
        if (known && known->state == SOCK_BLOCKED)
                return 0;
        open_sock_judge(&o, known, sk->sk_protocol);
        if (o.verdict != OC_BLOCK)
                return 0;
        if (!known)
                known = bpf_sk_storage_get(&oc_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
        if (known)
                known->state = SOCK_BLOCKED;
        else
                drops_add(DROP_FLOW_MAP_FULL);
        open_sock_report(task, sk, &o);
        return 0;
}

char LICENSE[] SEC("license") = "GPL";
