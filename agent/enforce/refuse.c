/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include "agent/enforce/elsewhere.h"
#include "agent/enforce/refusal.h"
#include "base/cleanup.h"

#define HOPS 64

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

/* RFC 768, RFC 8200 8.1; `payload` follows the header in memory. */
static uint16_t checksum(const struct fact_flow *f, const struct udphdr *udp, size_t size)
{
        size_t address = f->family == AF_INET ? 4 : 16;
        uint32_t n = IPPROTO_UDP + (uint32_t)size;

        n = sum(n, f->remote, address);
        n = sum(n, f->local, address);
        n = sum(n, udp, size);
        while (n >> 16)
                n = (n & 0xffff) + (n >> 16);
        return n == 0xffff ? 0xffff : (uint16_t)~n;
}

static int send4(const struct refuse *r, const struct fact_flow *f, uint8_t *packet, size_t size)
{
        struct sockaddr_in to = {.sin_family = AF_INET};
        struct iphdr ip = {.version = 4,
                           .ihl = 5,
                           .ttl = HOPS,
                           .protocol = IPPROTO_UDP,
                           .tot_len = htons((uint16_t)(sizeof(ip) + size))};

        memcpy(&ip.saddr, f->remote, 4);
        memcpy(&ip.daddr, f->local, 4);
        memcpy(&to.sin_addr, f->local, 4);
        packet -= sizeof(ip);
        memcpy(packet, &ip, sizeof(ip)); /* the kernel adds the checksum */
        return sendto(r->fd4, packet, sizeof(ip) + size, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int send6(const struct refuse *r, const struct fact_flow *f, uint8_t *packet, size_t size)
{
        struct sockaddr_in6 to = {.sin6_family = AF_INET6};
        struct ip6_hdr ip = {.ip6_flow = htonl(6u << 28),
                             .ip6_plen = htons((uint16_t)size),
                             .ip6_nxt = IPPROTO_UDP,
                             .ip6_hlim = HOPS};

        if (r->fd6 < 0)
                return -EAFNOSUPPORT;
        memcpy(&ip.ip6_src, f->remote, 16);
        memcpy(&ip.ip6_dst, f->local, 16);
        memcpy(&to.sin6_addr, f->local, 16);
        packet -= sizeof(ip);
        memcpy(packet, &ip, sizeof(ip));
        return sendto(r->fd6, packet, sizeof(ip) + size, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int send_here(const struct refuse *r, const struct fact_flow *f, const uint8_t *data, size_t size)
{
        uint8_t packet[sizeof(struct ip6_hdr) + sizeof(struct udphdr) + REFUSAL_MAX];
        uint8_t *start = packet + sizeof(struct ip6_hdr);
        struct udphdr udp = {.source = htons(f->remote_port),
                             .dest = htons(f->local_port),
                             .len = htons((uint16_t)(sizeof(udp) + size))};

        memcpy(start, &udp, sizeof(udp));
        memcpy(start + sizeof(udp), data, size);
        udp.check = htons(checksum(f, (const struct udphdr *)start, sizeof(udp) + size));
        memcpy(start, &udp, sizeof(udp));
        if (f->family == AF_INET)
                return send4(r, f, start, sizeof(udp) + size);
        return f->family == AF_INET6 ? send6(r, f, start, sizeof(udp) + size) : -EAFNOSUPPORT;
}

struct letter {
        const struct fact_flow *flow;
        const uint8_t *data;
        size_t size;
};

static int send_elsewhere(void *userdata)
{
        _cleanup_(refuse_freep) struct refuse *r = NULL;
        const struct letter *l = userdata;
        int n = refuse_new(&r);

        return n < 0 ? n : send_here(r, l->flow, l->data, l->size);
}

int refuse_send(struct refuse *r, const struct fact *f, const uint8_t *data, size_t size)
{
        struct letter l = {&f->flow, data, size};

        if (size > REFUSAL_MAX || f->flow.protocol != IPPROTO_UDP)
                return -EINVAL;
        if (r->netns && f->flow.netns && r->netns != f->flow.netns)
                return elsewhere_run(f->flow.netns, f->tgid, send_elsewhere, &l);
        return send_here(r, &f->flow, data, size);
}
