// SPDX-License-Identifier: GPL-2.0-or-later
/* Destinations: connect() and sendto() by a process of a channel, or to an address of a
 * channel alone. A blocked connect marks its socket, and nftables rejects what it sends. */
#include <linux/in.h>
#include "bpf/address.h"
#include "bpf/owner.h"

const volatile __u32 oc_mark_mask = 0x3ff00000;
const volatile __u32 oc_mark_shift = 20;

struct attempt {
        struct oc_prefix_key to;
        const struct oc_rules *rules;
        struct oc_match match;
        __u32 generation; /* of the rules */
        __u32 verdict;
        __u32 tgid;
        __u32 uid;
        __u16 port;
        __u16 tier;
        __u8 protocol;
        bool sending; /* sendto() on an unconnected socket */
        bool is_other; /* the socket has another uid than the person */
};

/* A socket may be connected anew, and by another process. */
static __always_inline struct oc_sock *sock_attribute(struct bpf_sock_addr *ctx, const struct attempt *a)
{
        __u64 flags = a->verdict == OC_WATCH ? BPF_SK_STORAGE_GET_F_CREATE : 0;
        struct oc_sock *s = bpf_sk_storage_get(&oc_socks, ctx->sk, NULL, flags);

        if (!s) {
                if (flags)
                        drops_add(DROP_FLOW_MAP_FULL);
                return NULL;
        }
        if (s->tgid != a->tgid || !a->sending) {
                s->tgid = a->tgid;
                s->uid = a->uid;
                s->netns = bpf_get_netns_cookie(ctx);
                bpf_get_current_comm(s->comm, sizeof(s->comm));
        }
        if (a->protocol == IPPROTO_TCP) {
                s->state = SOCK_NEW;
                s->talk = TALK_START;
                s->watched = s->open = s->lent = 0;
                s->judged = (struct oc_match){};
                bpf_sk_storage_delete(&oc_dns, ctx->sk);
        }
        return s;
}

/* Port 853 is encrypted DNS and nothing else (RFC 7858, RFC 9250): channels of that category
 * are known by their ports. Every other [ports] entry is but a hint. */
static __always_inline const struct oc_match *port_match(const struct attempt *a)
{
        struct oc_name_key k;

        if (!(a->rules->ports >> (a->port & 63) & 1))
                return NULL;
        oc_key_init(&k);
        oc_key_byte(&k, a->protocol);
        oc_key_byte(&k, a->port >> 8);
        oc_key_byte(&k, a->port & 0xff);
        return rules_find_key(a->rules, &k, OC_KEY_PORT);
}

/* What the process was told to be the address of a watched channel. */
static __always_inline void told_decide(struct attempt *a)
{
        struct oc_told_key key = {.tgid = a->tgid};

        __builtin_memcpy(key.address, a->to.address, sizeof(key.address));
        struct oc_told *t = bpf_map_lookup_elem(&oc_addresses, &key);
        if (!t || t->catalogue != a->rules->catalogue || t->until_ns < bpf_ktime_get_boot_ns() ||
            rules_verdict(a->rules, t->match.channel, a->uid).verdict != OC_WATCH)
                return;
        a->match = t->match;
        a->verdict = OC_WATCH;
        a->tier = OC_TIER_NAME;
}

/* The stricter of what the process and what the address says; the process first. */
static __always_inline void attempt_decide(struct attempt *a)
{
        struct oc_task *t = task_find(a->tgid);
        const struct oc_match *m = rules_find_prefix(a->rules, &a->to);

        if (t && t->catalogue == a->rules->catalogue) {
                a->match = t->match;
                a->verdict = rules_verdict(a->rules, t->match.channel, a->uid).verdict;
        }
        if (!m)
                m = port_match(a);
        /* getaddrinfo(3) connects datagram sockets to sort addresses, and sends nothing */
        if (!m && !a->match.channel && a->rules->watches && (a->protocol == IPPROTO_TCP || a->sending))
                told_decide(a);
        if (!m)
                return;
        __u32 verdict = rules_verdict(a->rules, m->channel, a->uid).verdict;
        if (verdict > a->verdict) {
                a->match = *m;
                a->verdict = verdict;
                a->tier = OC_TIER_ADDRESS;
        }
}

/* Global: see packet_parse(). */
__noinline int attempt_report(struct bpf_sock_addr *ctx, const struct attempt *a, enum event_action action)
{
        if (!a)
                return 0;
        struct event_connect *e = event_reserve(EVENT_CONNECT, sizeof(*e), a->generation);

        if (!e)
                return 0;
        event_set_match(&e->head, &a->match, a->tier);
        e->head.action = action;
        e->head.tgid = a->tgid;
        e->head.uid = a->uid;
        bpf_get_current_comm(e->head.comm, sizeof(e->head.comm));
        e->flow.family = is_ipv4(&a->to) ? AF_INET : AF_INET6;
        e->flow.protocol = ctx->protocol;
        e->flow.remote_port = a->port;
        if (is_ipv4(&a->to))
                __builtin_memcpy(e->flow.remote, a->to.address + 12, 4);
        else
                __builtin_memcpy(e->flow.remote, a->to.address, 16);
        e->flow.cookie = bpf_get_socket_cookie(ctx);
        e->flow.netns = bpf_get_netns_cookie(ctx);
        event_set_path(e->path, a->tgid);
        bpf_ringbuf_submit(e, 0);
        return 0;
}

/* Other bits of a mark are somebody else's. */
static __always_inline int mark_set(struct bpf_sock_addr *ctx, __u32 channel)
{
        __u32 old = ctx->sk->mark;
        __u32 mark = (old & ~oc_mark_mask) | ((channel << oc_mark_shift) & oc_mark_mask);

        return mark == old ? 0 : bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

/* Another path of a connection (MPTCP) begins in the middle of its stream, so it is for streams that are not looked at any
 * more. Others do without. */
static __always_inline bool path_is_early(struct bpf_sock_addr *ctx)
{
        struct mptcp_sock *m = mptcp_of(ctx->sk);
        struct sock *first = m ? m->first : NULL;

        if (!first || (void *)first == (void *)ctx->sk)
                return false;
        struct oc_sock *s = bpf_sk_storage_get(&oc_socks, first, NULL, 0);
        return !s || s->state != SOCK_JUDGED;
}

static __noinline int attempt_judge(struct bpf_sock_addr *ctx, struct attempt *a)
{
        a->rules = rules_now();
        if (!a->rules)
                return 1;
        a->generation = a->rules->generation;
        struct task_struct *t = bpf_get_current_task_btf();
        a->tgid = t->tgid; /* the helpers take ten times as long */
        a->uid = person_of(t);
        a->is_other = a->uid != t->cred->uid.val;
        a->port = bpf_ntohs(ctx->user_port);
        a->protocol = ctx->protocol;
        a->to.length = 128;
        if (a->protocol == IPPROTO_TCP && path_is_early(ctx))
                return 0;

        if (!is_local_service(&a->to, a->port))
                attempt_decide(a);
        owner_set(ctx, a->tgid, a->uid);
        struct oc_sock *sock = sock_attribute(ctx, a);
        if (a->verdict != OC_BLOCK) {
                __u64 told = a->to.address[15] | (__u64)a->port << 8 | (__u64)a->match.entry << 32;
                mark_set(ctx, 0);
                /* each datagram passes here */
                if (a->verdict == OC_WATCH && !(a->sending && sock && sock->told == told))
                        attempt_report(ctx, a, ACTION_PASSED);
                if (sock && a->verdict == OC_WATCH)
                        sock->told = told;
                return 1;
        }
        /* The mark of a datagram was read before sendmsg hooks run, and what connects a socket of datagrams does not hold it: another
         * connect() of a second thread may take the mark away in between. nftables of another network namespace does not know
         * our marks, and ours not who somebody is. */
        if (a->sending || a->protocol != IPPROTO_TCP || a->is_other || bpf_get_netns_cookie(ctx) != oc_netns_cookie ||
            mark_set(ctx, a->match.channel) < 0) {
                attempt_report(ctx, a, ACTION_DENIED);
                return 0;
        }
        attempt_report(ctx, a, ACTION_MARKED);
        return 1;
}

static __always_inline void address_set4(struct oc_prefix_key *k, __u32 address_be)
{
        __u32 *a = (__u32 *)k->address;

        a[2] = bpf_htonl(0xffff);
        a[3] = address_be;
}

static __always_inline void address_set6(struct oc_prefix_key *k, struct bpf_sock_addr *ctx)
{
        __u32 *a = (__u32 *)k->address;

        a[0] = ctx->user_ip6[0];
        a[1] = ctx->user_ip6[1];
        a[2] = ctx->user_ip6[2];
        a[3] = ctx->user_ip6[3];
        address_translate(k);
}

SEC("cgroup/connect4")
int oc_connect4(struct bpf_sock_addr *ctx)
{
        struct attempt a = {};

        address_set4(&a.to, ctx->user_ip4);
        return attempt_judge(ctx, &a);
}

SEC("cgroup/connect6")
int oc_connect6(struct bpf_sock_addr *ctx)
{
        struct attempt a = {};

        address_set6(&a.to, ctx);
        return attempt_judge(ctx, &a);
}

SEC("cgroup/sendmsg4")
int oc_sendmsg4(struct bpf_sock_addr *ctx)
{
        struct attempt a = {.sending = true};

        address_set4(&a.to, ctx->user_ip4);
        return attempt_judge(ctx, &a);
}

SEC("cgroup/sendmsg6")
int oc_sendmsg6(struct bpf_sock_addr *ctx)
{
        struct attempt a = {.sending = true};

        address_set6(&a.to, ctx);
        return attempt_judge(ctx, &a);
}

char LICENSE[] SEC("license") = "GPL";
