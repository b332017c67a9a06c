/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* How the parsers read: they copy from a position of a packet and repeat a step a bounded
 * number of times. In the kernel a packet is an __sk_buff and a loop is bpf_loop() (Linux 5.17);
 * elsewhere a packet is a struct wire_bytes. So one source serves both, and fuzzing the one
 * finds the bugs of the other.
 *
 * Before ab5cfac139ab (Linux 6.7) the verifier follows a step once, with the values that stood
 * before the loop, and removes what it then takes for unreachable. What a step branches on
 * must therefore not be a constant before the loop. */
#include <linux/types.h>

#define WIRE_NAME_SIZE 256

/* A domain name behind one dot, ".web.example.org", as it was written: no terminator, case
 * unfolded. The leading dot makes every label boundary a dot. The caller zeroes it. */
struct wire_name {
        __u32 size; /* with the leading dot */
        __u8 before[12]; /* so that eight bytes can be read that end anywhere in the text */
        char text[WIRE_NAME_SIZE];
};

enum wire_result {
        WIRE_FOUND,
        WIRE_NONE, /* something else, or malformed */
        WIRE_CUT, /* begins well and ends before its name */
};

#ifdef __bpf__
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define wire_packet                       struct __sk_buff
#define wire_loop(n, step, context)       bpf_loop(n, step, context, 0)
#define wire_load(packet, pos, ret, size) bpf_skb_load_bytes(packet, pos, ret, size)
#define wire_forget(n)                    asm volatile("" : "+r"(n)) /* what the compiler knows about n */
/* A global function is verified once, not again on each path of its callers; its pointers may be NULL. */
#define wire_apart __attribute__((noinline, weak))

#else
#include <string.h>

struct wire_bytes {
        const void *data;
        __u32 size;
};
#define wire_packet    const struct wire_bytes
#define wire_forget(n) (void)(n)
#define wire_apart     static inline

#define wire_loop(n, step, context)                                                                                  \
        do {                                                                                                         \
                for (__u32 _i = 0, _n = (n); _i < _n && !step(_i, context); _i++)                                    \
                        ;                                                                                            \
        } while (0)

static inline int wire_load(wire_packet *p, __u32 pos, void *ret, __u32 size)
{
        if (pos > p->size || size > p->size - pos)
                return -1;
        memcpy(ret, (const __u8 *)p->data + pos, size);
        return 0;
}
#endif

/* Copies `size` bytes, at most `max`; none is a failure. Written as one and some more, since
 * the verifier of Linux 6.1 learns no minimum from a comparison with 0. */
static inline int wire_load_some(wire_packet *p, __u32 pos, void *ret, __u32 size, __u32 max)
{
        __u32 more = size - 1;

        if (size == 0)
                return -1;
        wire_forget(more);
        if (more > max - 1)
                more = max - 1;
        return wire_load(p, pos, ret, more + 1);
}
