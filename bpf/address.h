/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Where a socket goes to. */
#include "bpf/event.h"
#include "bpf/kernel.h"

#define PORT_DNS 53

static __always_inline bool is_ipv4(const struct oc_prefix_key *k)
{
        const __u32 *a = (const __u32 *)k->address;
        return !a[0] && !a[1] && a[2] == bpf_htonl(0xffff);
}

/* RFC 6052 2.1: through a translator (NAT64) that is an IPv4 address. */
static __always_inline void address_translate(struct oc_prefix_key *k)
{
        __u32 *a = (__u32 *)k->address;

        if (__builtin_expect(a[0] == bpf_htonl(0x0064ff9b) && !a[1] && !a[2], 0)) {
                a[0] = 0;
                a[2] = bpf_htonl(0xffff);
        }
}

/* A service on this machine is no channel, but its resolver may ask for one. */
static __always_inline bool is_local_service(const struct oc_prefix_key *to, __u16 port)
{
        const __u32 *a = (const __u32 *)to->address;
        bool loopback = is_ipv4(to) ? to->address[12] == 127 : !a[0] && !a[1] && !a[2] && a[3] == bpf_htonl(1);

        return loopback && port != PORT_DNS;
}
