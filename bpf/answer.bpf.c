// SPDX-License-Identifier: GPL-2.0-or-later
/* DNS answers that arrive: an innocent name may be the alias of a channel's. */
#include "bpf/copy.h"
#include "bpf/lent.h"
#include "bpf/owner.h"
#include "wire/answer.h"

#define PORT_DNS 53
#define TOLD_MIN 60 /* seconds that an address is remembered: who asks keeps it longer than it should */
#define TOLD_MAX 86400

/* Global, also the following: see packet_parse(). */
__noinline int answer_open(struct __sk_buff *skb, const struct packet *p, struct answer *a)
{
        return p && a ? answer_begin(skb, p->start, p->end, a) : -1;
}

__noinline int answer_read(struct __sk_buff *skb, struct answer *a, struct wire_name *name)
{
        return a && name ? answer_next(skb, a, name) : WIRE_NONE;
}

/* The last answer says whose an address is. */
__noinline int address_remember(struct __sk_buff *skb, const struct answer *a, const struct oc_match *m, __u32 tgid)
{
        struct oc_told_key key = {.tgid = tgid};
        struct oc_rules rules = rules_active();

        if (!a || !m || a->address == 0)
                return 0;
        if (a->address_size == 4) {
                key.address[10] = key.address[11] = 0xff;
                if (bpf_skb_load_bytes(skb, a->address, key.address + 12, 4) < 0)
                        return 0;
        } else if (bpf_skb_load_bytes(skb, a->address, key.address, 16) < 0) {
                return 0;
        }
        __u64 seconds = a->ttl < TOLD_MIN ? TOLD_MIN : a->ttl > TOLD_MAX ? TOLD_MAX : a->ttl;
        struct oc_told told = {*m, rules.catalogue, bpf_ktime_get_boot_ns() + seconds * 1000000000};

        if (m->channel)
                bpf_map_update_elem(&oc_addresses, &key, &told, BPF_ANY);
        else
                bpf_map_delete_elem(&oc_addresses, &key);
        return 0;
}

#define PLAIN_RECORDS 16

/* What nearly every answer is: nothing, or records of no other name than the one asked for. True only of
 * what answer_next() finds no alias in. */
static __always_inline bool answer_is_plain(struct __sk_buff *skb, __u32 at)
{
        const __u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
        const __u8 *b = bytes_between(data, end, at, DNS_HEADER_SIZE);
        __u32 n;

        if (!b || b[4] || b[5] != 1)
                return false;
        n = (__u32)b[6] << 8 | b[7];
        at += DNS_HEADER_SIZE;
        for (__u32 i = 0; i <= PLAIN_LABELS; i++) {
                b = bytes_between(data, end, at, 1);
                if (!b || i == PLAIN_LABELS || *b > DNS_LABEL_MAX)
                        return false;
                at += *b + 1;
                if (*b == 0)
                        break;
        }
        at += 4;
        for (__u32 i = 0; i < PLAIN_RECORDS && i < n; i++) {
                b = bytes_between(data, end, at, 2 + ANSWER_RECORD_SIZE);
                if (!b || (b[0] & 0xc0) != 0xc0 || b[2] || (b[3] != DNS_TYPE_A && b[3] != DNS_TYPE_AAAA))
                        return false;
                at += 2 + ANSWER_RECORD_SIZE + ((__u32)b[10] << 8 | b[11]);
        }
        return n <= PLAIN_RECORDS;
}

#define AT_ONCE        8 /* records: see net.bpf.c */
#define ANSWER_GOES_ON 2 /* beside PASS and DROP */

/* The next records. */
__noinline int records_judge(struct __sk_buff *skb, const struct packet *p, struct answer *a, struct oc_scratch *s,
                             struct oc_sock *sock)
{
        if (!p || !a || !s)
                return PASS;
        struct wire_name *name = &s->dns.name;

        for (int n = 0; n < AT_ONCE; n++) {
                int r = answer_read(skb, a, name);

                if (r == WIRE_FOUND && name_judge(skb, p, sock, name, EVENT_DNS) == DROP)
                        return DROP;
                if (r == WIRE_FOUND && !a->aliases && !s->match.channel)
                        name_find(name, &s->match);
                if (!a->aliases && a->address && sock)
                        address_remember(skb, a, &s->match, sock->tgid);
                if (r == WIRE_NONE)
                        return PASS;
        }
        return ANSWER_GOES_ON;
}

/* The name asked was judged when it was asked. */
static __always_inline int names_judge(struct __sk_buff *skb, const struct packet *p, struct answer *a,
                                       struct oc_scratch *s, struct oc_sock *sock)
{
        int n = 0, verdict;

        s->match = (struct oc_match){};
        a->aliases = !sock || !sock->tgid;
        if (answer_read(skb, a, &s->dns.name) == WIRE_NONE)
                return PASS;
        if (!a->aliases)
                name_find(&s->dns.name, &s->match);
        do
                verdict = records_judge(skb, p, a, s, sock);
        while (verdict == ANSWER_GOES_ON && ++n < ANSWER_RECORDS_MAX / AT_ONCE);
        return verdict;
}

static __always_inline int answer_judge(struct __sk_buff *skb, const struct packet *p)
{
        const struct oc_rules *rules = rules_now();
        struct oc_sock *sock = NULL;
        struct answer a = {};

        if (!rules || (!rules->watches && p->protocol == IPPROTO_UDP && answer_is_plain(skb, p->start)))
                return PASS;
        if (answer_open(skb, p, &a) < 0)
                return PASS;
        struct oc_scratch *s = scratch_take();
        if (!s)
                return PASS;
        if (rules->watches)
                sock = sock_find(skb, s);
        wire_forget(sock); /* or `watches` is asked below, of which the verifier does not know what it says of sock */
        int verdict = names_judge(skb, p, &a, s, sock) == DROP ? DROP : PASS;
        if (verdict == DROP && p->protocol == IPPROTO_UDP) {
                if (!sock)
                        sock = sock_find(skb, s);
                if (sock->netns)
                        packet_copy(skb, p, sock, EVENT_QUERY);
        }
        scratch_give(s);
        return verdict;
}

/* Most packets end at the first comparison: their socket's peer is another port. */
SEC("cgroup_skb/ingress")
int oc_ingress(struct __sk_buff *skb)
{
        struct bpf_sock *sk = skb->sk;

        if (oc_lent_until)
                lent_arrived(skb);
        if (!sk || (sk->dst_port && sk->dst_port != bpf_htons(PORT_DNS)))
                return PASS;
        struct packet p = {.incoming = 1};
        if (!packet_is_plain(skb, &p) && packet_parse(skb, &p) < 0)
                return PASS;
        if (p.remote_port != PORT_DNS || p.pos >= p.end)
                return PASS;
        /* RFC 1035 4.2.2: the size; an answer in pieces is not read */
        p.start = p.pos + (p.protocol == IPPROTO_TCP ? DNS_SIZE_BYTES : 0);
        return answer_judge(skb, &p);
}

char LICENSE[] SEC("license") = "GPL";
