// SPDX-License-Identifier: GPL-2.0-or-later
/* Names in packets that leave: DNS queries and the server name of a TLS hello. A packet of
 * a blocked name is dropped; the sender sees EPERM (UDP) or the agent ends the flow (TCP).
 *
 * A TCP stream is followed from its first payload on, by sequence numbers. What a hello needs
 * to be read lets its earlier segments pass: no server answers before it has the last. */
#include "bpf/lent.h"
#include "bpf/owner.h"
#include "bpf/quic.h"
#include "bpf/request.h"

#define PORT_DNS 53
/* How much of a TCP stream is looked at for the start of a hello: it may stand behind the
 * clear text of STARTTLS. A hello itself is read to its end, whatever its size. */
#define WATCHED_MAX 16384
/* Behind a hello there may be a second one, after early data that the server skips: 16 kB and its records (OpenSSL,
 * BoringSSL), or any amount (fizz) as long as the server has said no more than that it wants a second one. */
#define WATCHED_HELLO 20480
#define HELLO_RETRY_MAX                                                                                              \
        512 /* its record and a change_cipher_spec; what accepts a hello is longer, or the answers are */
#define QUESTIONS_MAX    512 /* in one packet; nobody asks more at once */
#define REQUESTS_MAX     512 /* the same */
#define AT_ONCE          8 /* of either: the verifier goes through a loop step by step, so one stands within the other */
#define QUESTION_GOES_ON 2 /* beside PASS and DROP */

/* Global, also the following: see packet_parse(). */
__noinline int dns_next(struct __sk_buff *skb, struct packet *p, struct dns_stream *s)
{
        return p && s ? dns_feed(s, skb, &p->pos, p->end) : WIRE_CUT;
}

__noinline int tls_next(struct __sk_buff *skb, struct packet *p, struct tls_stream *s)
{
        return p && s ? tls_feed(s, skb, &p->pos, p->end) : WIRE_CUT;
}

/* Of segments that the network card or the driver will part (UDP_SEGMENT), each is a message;
 * `datagram` is their size, 0: the packet is a piece of a stream. */
static __always_inline bool next_datagram(struct packet *p, struct dns_stream *s, __u32 end, __u32 datagram)
{
        if (!datagram || p->end >= end)
                return false;
        p->pos = p->start = p->end;
        p->end = end - p->end > datagram ? p->end + datagram : end;
        dns_begin(s, p->end - p->pos);
        return true;
}

/* The next questions that are there. PASS: no more; DROP; QUESTION_GOES_ON */
__noinline int question_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock, struct dns_stream *s,
                              __u64 rest)
{
        if (!p || !s)
                return PASS;
        for (int n = 0; n < AT_ONCE; n++) {
                int r = dns_next(skb, p, s);

                if (r == WIRE_FOUND)
                        r = name_judge(skb, p, sock, &s->name, EVENT_DNS) == DROP ? WIRE_NONE : WIRE_FOUND;
                if (r == WIRE_CUT && !next_datagram(p, s, rest >> 32, (__u32)rest))
                        return PASS;
                if (r != WIRE_FOUND && r != WIRE_CUT)
                        return DROP;
        }
        return QUESTION_GOES_ON;
}

__noinline int questions_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock, struct dns_stream *s,
                               __u32 datagram)
{
        if (!p || !s)
                return PASS;
        __u32 end = p->end, n = 0;
        int r;

        if (datagram) {
                p->end = p->pos;
                next_datagram(p, s, end, datagram);
        }
        /* a callback of bpf_loop() would need a frame more than the stack has */
        do
                r = question_judge(skb, p, sock, s, (__u64)end << 32 | datagram);
        while (r == QUESTION_GOES_ON && ++n < QUESTIONS_MAX / AT_ONCE);
        return r == PASS ? PASS : DROP;
}

/* Global: see packet_parse(). */
__noinline int query_next(struct __sk_buff *skb, struct packet *p, struct wire_name *name)
{
        return p && name ? dns_query_name(skb, p->pos, p->end, name) : WIRE_NONE;
}

/* False: whose name is asked for must be looked at label by label. True: of a whole query for one name, of which
 * neither the last two labels nor the last one end any name of the rule set. Global: see packet_parse(). */
__noinline int query_is_nobodys(struct __sk_buff *skb, __u32 at)
{
        const struct oc_rules *rules = rules_now();
        const __u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
        const __u8 *b = bytes_between(data, end, at, DNS_HEADER_SIZE);
        __u32 last = 0, tail = 0, size;
        __u64 h = 0;

        if (!rules || !b || b[2] & 0x80 || b[4] || b[5] != 1)
                return false;
        at += DNS_HEADER_SIZE;
        for (__u32 i = 0;; i++) {
                b = bytes_between(data, end, at, 1);
                if (!b || i == PLAIN_LABELS || *b > DNS_LABEL_MAX)
                        return false;
                if (*b == 0)
                        break;
                tail = last;
                last = at;
                at += *b + 1;
        }
        if (!tail)
                return false;
        if (rules->tops) {
                b = bytes_between(data, end, at - 8, 8);
                if (!b || rules->tops >> oc_tail_top(*(const __u64 *)b, at - last) & 1)
                        return false;
        }
        size = at - tail;
        for (__u32 i = 0; i < OC_TAIL_WORDS; i++) {
                b = bytes_between(data, end, at - 8, 8);
                if (!b)
                        return false;
                h = oc_tail_add(h, *(const __u64 *)b, size);
                if (size <= 8)
                        return !rules_may_have(rules, oc_tail_sum(h));
                size -= 8;
                at -= 8;
        }
        return false;
}

/* The agent answers a dropped query in the resolver's place, where it can. Else, as for a
 * packet that has other queries as well, sending fails. */
static __always_inline int query_judge(struct __sk_buff *skb, struct packet *p)
{
        __u32 size = skb->gso_size;
        int verdict;

        if (!size && query_is_nobodys(skb, p->pos))
                return PASS;
        struct oc_scratch *s = scratch_take();
        if (!s)
                return DROP; /* unread; who asks will ask again */
        p->start = p->pos;
        if (!size && query_next(skb, p, &s->dns.name) == WIRE_FOUND)
                verdict = name_judge(skb, p, NULL, &s->dns.name, EVENT_DNS);
        else
                verdict = questions_judge(skb, p, NULL, &s->dns, size ? size : p->end - p->pos);
        verdict = verdict == DROP ? DROP : PASS;
        if (verdict == DROP && !size) {
                struct oc_sock *sock = sock_find(skb, s);
                if (sock->netns && packet_copy(skb, p, sock, EVENT_QUERY) == 0)
                        verdict = SWALLOW;
        }
        scratch_give(s);
        return verdict;
}

static __always_inline int datagram_judge(struct __sk_buff *skb, struct packet *p, struct bpf_sock *sk)
{
        __u32 zero = 0;

        if (p->remote_port == PORT_DNS)
                return is_lent(skb, IPPROTO_UDP) ? DROP : query_judge(skb, p);
        struct oc_sock *sock = bpf_sk_storage_get(&oc_socks, sk, NULL, 0);
        struct oc_active *a = bpf_map_lookup_elem(&oc_active, &zero);
        if (!a || !(a->inspect >> (a->slot & 1) & 1))
                return PASS;
        if (is_lent(skb, IPPROTO_UDP))
                return DROP;
        p->start = p->pos;
        if ((!sock || sock->talk != TALK_QUIC) && !skb->gso_size && quic_kind(skb, p) == QUIC_OTHER)
                return PASS;
        if (!sock)
                sock = sock_new(skb, sk);
        if (!sock)
                return DROP; /* unread: TCP is left */
        int verdict = quic_judge(skb, p, sock);
        return verdict == DROP || verdict == SWALLOW ? verdict : PASS;
}

/* Where payload that was not seen before begins; false: there is none, or nowhere. */
static __always_inline bool segment_is_news(struct packet *p, struct oc_sock *sock)
{
        __u32 next = p->sequence + (p->end - p->pos), known = sock->expect - p->sequence;

        if (sock->watched && (__s32)known > 0) {
                if ((__s32)(next - sock->expect) <= 0)
                        return false;
                p->pos += known;
        } else if (sock->watched && known != 0) {
                sock->talk = TALK_OPEN; /* something left unseen */
        }
        sock->watched += next - p->sequence - (sock->watched && (__s32)known > 0 ? known : 0);
        sock->expect = next;
        return true;
}

static __always_inline bool server_has_answered(struct bpf_sock *sk)
{
        struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);

        return !tcp || tcp->bytes_received > HELLO_RETRY_MAX;
}

static __always_inline int hello_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock,
                                       struct bpf_sock *sk)
{
        int verdict = PASS;

        if (sock->talk != TALK_TLS && sock->talk != TALK_TLS_AGAIN)
                bpf_sk_storage_delete(&oc_tls, sk);
        struct tls_stream *s = bpf_sk_storage_get(&oc_tls, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
        if (!s)
                return storage_full();
        int r = tls_next(skb, p, s);
        sock->talk = s->again ? TALK_TLS_AGAIN : TALK_TLS;
        sock->text = 0;
        if (r == WIRE_CUT && !(tls_is_between(s) && sock->watched > WATCHED_HELLO && server_has_answered(sk))) {
                p->pos = p->end;
                return PASS;
        }
        if (r == WIRE_FOUND)
                verdict = name_judge(skb, p, sock, &s->name, EVENT_TLS);
        if (r != WIRE_CUT && tls_go_on(s)) {
                sock->talk = TALK_TLS_AGAIN;
                sock->watched = 1; /* 0: its place is not known */
                return verdict == DROP ? DROP : MORE;
        }
        p->pos = p->end; /* perhaps */
        sock->talk = TALK_OPEN;
        bpf_sk_storage_delete(&oc_tls, sk);
        return verdict;
}

/* A query that is the segment's only one is answered before its connection ends. */
static __always_inline void query_copy(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock)
{
        __u8 size[DNS_SIZE_BYTES];

        if (!sock || !sock->netns || bpf_skb_load_bytes(skb, p->pos, size, sizeof(size)) < 0 ||
            ((__u32)size[0] << 8 | size[1]) != p->end - p->pos - sizeof(size))
                return;
        p->start = p->pos + sizeof(size);
        packet_copy(skb, p, sock, EVENT_QUERY);
}

/* Global: see packet_parse(). */
__noinline int stream_questions(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock)
{
        struct bpf_sock *sk = skb->sk;

        if (!p || !sk)
                return PASS;
        struct dns_stream *s = bpf_sk_storage_get(&oc_dns, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
        __u32 pos = p->pos;

        if (!s)
                return storage_full();
        int verdict = questions_judge(skb, p, sock, s, 0);

        p->pos = pos; /* a proxy may stand behind this port, too */
        if (verdict == DROP)
                query_copy(skb, p, sock);
        return verdict;
}

/* What stands at p->pos. */
static __always_inline int place_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock,
                                       struct bpf_sock *sk)
{
        __u8 first;

        if (bpf_skb_load_bytes(skb, p->pos, &first, 1) < 0)
                return PASS;
        if (sock->talk == TALK_TLS || sock->talk == TALK_TLS_AGAIN ||
            (sock->talk <= TALK_OPEN && (first == TLS_HANDSHAKE || tls_is_aside(first))))
                return hello_judge(skb, p, sock, sk);
        return request_judge(skb, p, sock, first);
}

/* Servers leave the urgent byte out of the stream, or they do not: whoever has one in the middle of what is
 * read here wants it misread. It may also stand before that, as it does in telnet and ftp. */
static __always_inline int urgent_judge(struct packet *p, struct oc_sock *sock, int verdict)
{
        if (verdict == MORE || sock->talk > TALK_OPEN || p->remote_port == PORT_DNS)
                return DROP;
        p->pos = p->start = p->urgent;
        p->urgent = 0;
        return MORE;
}

/* What stands there and behind it. Global: see packet_parse(). */
__noinline int stream_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock)
{
        struct bpf_sock *sk = skb->sk;
        int verdict, n = 0;

        if (!p || !sock || !sk)
                return PASS;
        do {
                verdict = place_judge(skb, p, sock, sk);
                if (p->urgent && verdict != DROP)
                        verdict = urgent_judge(p, sock, verdict);
        } while (verdict == MORE && p->pos < p->end && ++n < AT_ONCE);
        return verdict;
}

__noinline int segment_read(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock)
{
        int verdict, n = 0;

        if (!p || !sock)
                return PASS;
        if (!segment_is_news(p, sock))
                return PASS;
        p->start = p->pos;
        verdict = p->remote_port == PORT_DNS ? stream_questions(skb, p, sock) : PASS;
        if (verdict != DROP) {
                do
                        verdict = stream_judge(skb, p, sock);
                while (verdict == MORE && p->pos < p->end && ++n < REQUESTS_MAX / AT_ONCE);
                if (verdict == MORE && p->pos < p->end)
                        verdict = DROP;
        }
        if (verdict == DROP)
                sock->state = SOCK_BLOCKED;
        else if (sock->talk == TALK_OPEN && sock->watched > WATCHED_MAX && !sock->text && p->remote_port != PORT_DNS)
                sock->state = SOCK_JUDGED;
        return verdict == DROP ? DROP : PASS;
}

#define LOOPBACK 1 /* its ifindex, in each network namespace */

/* Behind a hello that the agent found whole in its copy. */
static __always_inline void hello_begins_anew(struct oc_sock *sock, struct bpf_sock *sk)
{
        struct tls_stream *s = sk ? bpf_sk_storage_get(&oc_tls, sk, NULL, 0) : NULL;

        if (sock->talk != TALK_TLS_AGAIN || !s)
                return;
        __builtin_memset(s, 0, sizeof(*s));
        s->again = 1;
}

/* A head in pages that its sender can write, whole in one packet: the agent reads a copy and sends that. What stands there
 * leaves when the other side has the copy, and then changes nothing any more; until then it counts as unsent. What the
 * card or the driver would part TCP tries again in such parts. What was read here may not be what was copied: requests
 * begin anew. */
static __always_inline int lent_head_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock)
{
        __u32 next = p->sequence + (p->end - p->pos);

        if ((__s32)(sock->head_arrived - next) >= 0)
                return PASS;
        if (p->sequence != sock->head || p->remote_port == PORT_DNS || skb->gso_size)
                return DROP;
        if ((__s32)(next - sock->head_end) > 0)
                sock->head_end = next;
        if (segment_read(skb, p, sock) == DROP)
                return DROP;
        hello_begins_anew(sock, skb->sk);
        if (sock->talk == TALK_OPEN || sock->talk == TALK_TLS_AGAIN)
                sock->open = 1;
        else
                sock->talk = TALK_START;
        p->start = p->transport;
        oc_lent_until = bpf_ktime_get_boot_ns() + LENT_MAX_NS;
        packet_copy(skb, p, sock, EVENT_SEGMENT);
        return DROP;
}

/* Whether what was read of this segment, all before p->pos that was not stepped over, cannot change any more. Behind something
 * that is no head everything may be lent: files are sent like that. */
static __always_inline bool is_read_for_good(struct packet *p, struct oc_sock *sock, struct bpf_sock *sk, __u32 lent)
{
        struct oc_request *q = bpf_sk_storage_get(&oc_requests, sk, NULL, 0);
        __u32 read = p->pos > p->start ? p->pos : p->start + 1;

        if (!p->start) /* it was sent before */
                return true;
        if (sock->talk == TALK_HTTP && q)
                read -= q->http.skipped;
        return sock->open || lent >= read;
}

/* It was open before anybody looked. The SYN may count as a byte. */
static __always_inline bool stream_has_begun(struct bpf_sock *sk, const struct oc_sock *sock)
{
        struct bpf_tcp_sock *tcp = sock->watched ? NULL : bpf_tcp_sock(sk);

        return tcp && tcp->bytes_acked > 1;
}

__noinline int segment_judge(struct __sk_buff *skb, struct packet *p, struct oc_sock *sock)
{
        struct bpf_sock *sk = skb->sk;

        if (!p || !sock || !sk)
                return PASS;
        if (sock->state == SOCK_BLOCKED)
                return DROP;
        /* whoever listens on this machine has bytes of its own by the time it sends them on */
        __u32 lent = skb->ifindex == LOOPBACK ? p->end : packet_lent(skb, IPPROTO_TCP);
        if (lent < p->end && stream_has_begun(sk, sock))
                sock->open = 1;
        if (sock->talk == TALK_START && !sock->open && lent <= p->pos &&
            (!sock->lent || (__s32)(p->sequence - sock->head_end) >= 0)) {
                sock->lent = 1;
                sock->head = sock->head_end = sock->head_arrived = p->sequence;
        }
        if (sock->lent && (p->sequence == sock->head || (__s32)(p->sequence - sock->head_end) < 0))
                return lent_head_judge(skb, p, sock);
        int verdict = segment_read(skb, p, sock);
        if (verdict != DROP && lent < p->end && !is_read_for_good(p, sock, sk, lent)) {
                sock->state = SOCK_BLOCKED;
                return DROP;
        }
        sock->open |= sock->talk == TALK_OPEN || sock->talk == TALK_TLS_AGAIN;
        if (sock->state == SOCK_JUDGED && sock->lent && (__s32)(sock->head_arrived - sock->head_end) < 0)
                sock->state = SOCK_NEW;
        return verdict;
}

/* A blocked flow says nothing more: what it sends again is no new attempt. Packets without
 * payload pass, so that the other side hears of its end. */
SEC("cgroup_skb/egress")
int oc_egress(struct __sk_buff *skb)
{
        struct bpf_sock *sk = skb->sk;

        if (!sk || packet_is_bare(skb))
                return PASS;
        struct packet p = {};
        if (packet_is_plain(skb, &p))
                return p.pos < p.end ? datagram_judge(skb, &p, sk) : PASS;
        struct oc_sock *sock = bpf_sk_storage_get(&oc_socks, sk, NULL, 0);
        if (sock && sock->state == SOCK_JUDGED)
                return PASS;
        if (packet_parse(skb, &p) < 0 || p.pos >= p.end)
                return PASS;
        if (p.protocol == IPPROTO_UDP)
                return datagram_judge(skb, &p, sk);
        if (!sock && quic_is_sent_on(skb))
                return PASS;
        if (!sock)
                sock = sock_new(skb, sk);
        /* without storage it is unread, and will be sent again */
        return sock && segment_judge(skb, &p, sock) == PASS ? PASS : DROP;
}

char LICENSE[] SEC("license") = "GPL";
