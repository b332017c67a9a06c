/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Room for what the stack has no room for. A program may be interrupted by another of its kind
 * on the same CPU, so a place is taken and given back. */
#include "bpf/maps.h"

#define SCRATCH_PLACES 64
#define SCRATCH_TRIES  4

struct oc_scratch {
        __u32 taken;
        __u32 reserved;
        struct dns_stream dns;
        struct oc_sock sock; /* of a socket that has no storage of its own */
        struct oc_match match; /* of the names in an answer */
};

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, SCRATCH_PLACES);
        __type(key, __u32);
        __type(value, struct oc_scratch);
} oc_scratch SEC(".maps") __weak;

/* With everything zero but the text of the name. NULL: everybody is at it. */
static __always_inline struct oc_scratch *scratch_take(void)
{
        __u32 cpu = bpf_get_smp_processor_id();

#pragma clang loop unroll(full)
        for (__u32 i = 0; i < SCRATCH_TRIES; i++) {
                __u32 place = (cpu + i * (SCRATCH_PLACES / SCRATCH_TRIES)) % SCRATCH_PLACES;
                struct oc_scratch *s = bpf_map_lookup_elem(&oc_scratch, &place);
                if (s && !__sync_lock_test_and_set(&s->taken, 1)) {
                        __builtin_memset(&s->dns, 0, offsetof(struct dns_stream, name));
                        s->dns.name.size = 0;
                        return s;
                }
        }
        return NULL;
}

static __always_inline void scratch_give(struct oc_scratch *s)
{
        __sync_lock_test_and_set(&s->taken, 0);
}
