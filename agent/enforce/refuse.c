/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include "agent/enforce/elsewhere.h"
#include "agent/enforce/refusal.h"
#include "base/cleanup.h"

#define HOPS           64
#define TCP_HEADER_MAX 60 /* RFC 9293 3.1 */

struct refuse {
        int fd4, fd6; /* raw sockets: the source is not ours, and may be somebody's here */
        uint64_t netns; /* cookie of their network namespace; 0 unknown */
};

DEFINE_CLEANUP(struct refuse, refuse_free)

struct refuse *refuse_free(struct refuse *r)
{
        if (!r)
                return NULL;
        fd_close(&r->fd4);
        fd_close(&r->fd6);
        free(r);
        return NULL;
}

int refuse_new(struct refuse **ret)
{
        _cleanup_(refuse_freep) struct refuse *r = calloc(1, sizeof(*r));

        if (!r)
                return -ENOMEM;
        /* raw(7): IPPROTO_RAW implies that we write the IP header; for IPv6 since Linux 4.5 */
        r->fd4 = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
        r->fd6 = -1;
        if (r->fd4 < 0)
                return -errno;
        r->fd6 = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW); /* may be absent */
        r->netns = elsewhere_cookie(r->fd4);
        *ret = TAKE_PTR(r);
        return 0;
}

static uint32_t sum(uint32_t n, const void *data, size_t size)
{
        const uint8_t *b = data;

        for (size_t i = 0; i < size; i++)
                n += i % 2 ? b[i] : (uint32_t)b[i] << 8;
        return n;
}

/* One packet on its way in or out. */
struct letter {
        uint8_t family;
        uint8_t protocol;
        uint8_t from[16], to[16];
        uint16_t from_port, to_port;
        uint16_t ip_flags; /* IPv4's */
        uint32_t sequence, acknowledged; /* TCP */
        const struct tcphdr *header; /* its sender's, with options; NULL: one is made */
        const uint8_t *data;
        size_t size;
};

/* RFC 768, RFC 9293 3.1, RFC 8200 8.1 */
static uint16_t checksum(const struct letter *l, const uint8_t *segment, size_t size)
{
        size_t address = l->family == AF_INET ? 4 : 16;
        uint32_t n = l->protocol + (uint32_t)size;

        n = sum(n, l->from, address);
        n = sum(n, l->to, address);
        n = sum(n, segment, size);
        while (n >> 16)
                n = (n & 0xffff) + (n >> 16);
        return n == 0xffff ? 0xffff : (uint16_t)~n;
}

static int send4(const struct refuse *r, const struct letter *l, uint8_t *packet, size_t size)
{
        struct sockaddr_in to = {.sin_family = AF_INET};
        struct iphdr ip = {.version = 4,
                           .ihl = 5,
                           .ttl = HOPS,
                           .protocol = l->protocol,
                           .frag_off = htons(l->ip_flags),
                           .tot_len = htons((uint16_t)(sizeof(ip) + size))};

        memcpy(&ip.saddr, l->from, 4);
        memcpy(&ip.daddr, l->to, 4);
        memcpy(&to.sin_addr, l->to, 4);
        packet -= sizeof(ip);
        memcpy(packet, &ip, sizeof(ip)); /* the kernel adds the checksum */
        return sendto(r->fd4, packet, sizeof(ip) + size, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int send6(const struct refuse *r, const struct letter *l, uint8_t *packet, size_t size)
{
        struct sockaddr_in6 to = {.sin6_family = AF_INET6};
        struct ip6_hdr ip = {.ip6_flow = htonl(6u << 28),
                             .ip6_plen = htons((uint16_t)size),
                             .ip6_nxt = l->protocol,
                             .ip6_hlim = HOPS};

        if (r->fd6 < 0)
                return -EAFNOSUPPORT;
        memcpy(&ip.ip6_src, l->from, 16);
        memcpy(&ip.ip6_dst, l->to, 16);
        memcpy(&to.sin6_addr, l->to, 16);
        packet -= sizeof(ip);
        memcpy(packet, &ip, sizeof(ip));
        return sendto(r->fd6, packet, sizeof(ip) + size, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

/* The header before the data, which has room for either; its checksum is still to come. Returns its size. */
static size_t put_header(const struct letter *l, uint8_t *ret)
{
        struct udphdr udp = {.source = htons(l->from_port),
                             .dest = htons(l->to_port),
                             .len = htons((uint16_t)(sizeof(udp) + l->size))};
        struct tcphdr tcp = {.source = htons(l->from_port),
                             .dest = htons(l->to_port),
                             .seq = htonl(l->sequence),
                             .ack_seq = htonl(l->acknowledged),
                             .doff = sizeof(tcp) / 4,
                             .ack = 1,
                             .psh = 1,
                             .window = UINT16_MAX};

        if (l->protocol == IPPROTO_UDP)
                memcpy(ret, &udp, sizeof(udp));
        else if (!l->header)
                memcpy(ret, &tcp, sizeof(tcp));
        else
                memcpy(ret, l->header, l->header->doff * 4u);
        return l->protocol == IPPROTO_UDP ? sizeof(udp) : l->header ? l->header->doff * 4u : sizeof(tcp);
}

static int send_here(const struct refuse *r, const struct letter *l)
{
        uint8_t packet[sizeof(struct ip6_hdr) + TCP_HEADER_MAX + REFUSE_FORWARD_MAX];
        uint8_t *start = packet + sizeof(struct ip6_hdr);
        size_t head = put_header(l, start), size = head + l->size;
        size_t at = l->protocol == IPPROTO_UDP ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check);
        uint16_t check;

        memcpy(start + head, l->data, l->size);
        check = htons(checksum(l, start, size));
        memcpy(start + at, &check, sizeof(check));
        if (l->family == AF_INET)
                return send4(r, l, start, size);
        return l->family == AF_INET6 ? send6(r, l, start, size) : -EAFNOSUPPORT;
}

static int send_elsewhere(void *userdata)
{
        _cleanup_(refuse_freep) struct refuse *r = NULL;
        int n = refuse_new(&r);

        return n < 0 ? n : send_here(r, userdata);
}

static int send_in(const struct refuse *r, const struct fact *f, struct letter *l)
{
        l->family = f->flow.family;
        l->protocol = f->flow.protocol;
        if (l->size > REFUSE_FORWARD_MAX || (l->protocol != IPPROTO_UDP && l->protocol != IPPROTO_TCP))
                return -EINVAL;
        if (r->netns && f->flow.netns && r->netns != f->flow.netns)
                return elsewhere_run(f->flow.netns, f->tgid, send_elsewhere, l);
        return send_here(r, l);
}

int refuse_send(struct refuse *r, const struct fact *f, const uint8_t *data, size_t size)
{
        uint8_t message[2 + REFUSAL_MAX] = {(uint8_t)(size >> 8), (uint8_t)size}; /* RFC 1035 4.2.2 */
        bool tcp = f->flow.protocol == IPPROTO_TCP;
        struct letter l = {.from_port = f->flow.remote_port,
                           .to_port = f->flow.local_port,
                           .sequence = f->flow.tcp_remote,
                           .acknowledged = f->flow.tcp_local,
                           .data = tcp ? message : data,
                           .size = tcp ? 2 + size : size};

        if (size > REFUSAL_MAX)
                return -EINVAL;
        memcpy(message + 2, data, size);
        memcpy(l.from, f->flow.remote, sizeof(l.from));
        memcpy(l.to, f->flow.local, sizeof(l.to));
        return send_in(r, f, &l);
}

static void letter_of(const struct fact *f, struct letter *ret)
{
        *ret = (struct letter){
                .from_port = f->flow.local_port, .to_port = f->flow.remote_port, .ip_flags = IP_DF /* RFC 9000 14 */};
        memcpy(ret->from, f->flow.local, sizeof(ret->from));
        memcpy(ret->to, f->flow.remote, sizeof(ret->to));
}

int refuse_forward(struct refuse *r, const struct fact *f, const uint8_t *data, size_t size)
{
        struct letter l;

        letter_of(f, &l);
        l.data = data;
        l.size = size;
        return send_in(r, f, &l);
}

int refuse_forward_tcp(struct refuse *r, const struct fact *f, const uint8_t *data, size_t size)
{
        union {
                struct tcphdr tcp;
                uint8_t bytes[TCP_HEADER_MAX];
        } header;
        size_t head = size < sizeof(struct tcphdr) ? 0 : (data[12] >> 4) * 4u;
        struct letter l;

        if (head < sizeof(struct tcphdr) || head > size)
                return -EINVAL;
        letter_of(f, &l);
        memcpy(header.bytes, data, head);
        header.tcp.check = 0;
        l.header = &header.tcp;
        l.data = data + head;
        l.size = size - head;
        return send_in(r, f, &l);
}
