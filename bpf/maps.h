/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* All maps. Weak: every object defines them, the linker keeps one. */
#include "bpf/event.h"
#include "bpf/kernel.h"
#include "wire/dns.h"
#include "wire/http.h"
#include "wire/socks.h"
#include "wire/tls.h"

/* Sizes, not types: the linker of libbpf 1.1 does not see the types of an inner map. */
struct oc_names_slot {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 1);
        __uint(key_size, sizeof(struct oc_name_key));
        __uint(value_size, sizeof(struct oc_match));
};

struct oc_prefixes_slot {
        __uint(type, BPF_MAP_TYPE_LPM_TRIE);
        __uint(max_entries, 1);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __uint(key_size, sizeof(struct oc_prefix_key));
        __uint(value_size, sizeof(struct oc_match));
};

/* Bits by oc_key_sum(), oc_address_sum() and oc_tail_sum(): a name or an address whose bit is 0 is nobody's. */
struct oc_filter_slot {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __uint(map_flags, BPF_F_INNER_MAP);
        __uint(key_size, sizeof(__u32));
        __uint(value_size, sizeof(__u64));
};

struct oc_verdicts_slot {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 1);
        __uint(key_size, sizeof(struct oc_verdict_key));
        __uint(value_size, sizeof(struct oc_verdict));
};

/* Domain names, program names and application ids of the rule set. */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
        __uint(max_entries, 2);
        __type(key, __u32);
        __array(values, struct oc_names_slot);
} oc_names SEC(".maps") __weak;

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
        __uint(max_entries, 2);
        __type(key, __u32);
        __array(values, struct oc_prefixes_slot);
} oc_prefixes SEC(".maps") __weak;

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
        __uint(max_entries, 2);
        __type(key, __u32);
        __array(values, struct oc_filter_slot);
} oc_filter SEC(".maps") __weak;

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
        __uint(max_entries, 2);
        __type(key, __u32);
        __array(values, struct oc_verdicts_slot);
} oc_verdicts SEC(".maps") __weak;

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, __u32);
        __type(value, struct oc_active);
} oc_active SEC(".maps") __weak;

/* The cgroup that is watched; exec and fork hooks see the whole machine. */
struct {
        __uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, __u32);
} oc_scope SEC(".maps") __weak;

/* Processes of a channel; load.c makes it as large as the machine may have processes. */
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 16384);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u32); /* tgid */
        __type(value, struct oc_task);
} oc_tasks SEC(".maps") __weak;

/* Which processes may be in oc_tasks; pinned like it, mapped by user space. */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, __u32);
        __type(value, struct oc_tasks_seen);
} oc_tasks_seen SEC(".maps") __weak;

/* What a process was started from, for attribution after it is gone. */
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 4096);
        __type(key, __u32); /* tgid */
        __type(value, struct oc_proc);
} oc_procs SEC(".maps") __weak;

/* Executables that user space has classified. */
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 8192);
        __type(key, struct oc_exe);
        __type(value, struct oc_match);
} oc_exes SEC(".maps") __weak;

enum sock_state {
        SOCK_NEW, /* its payload is looked at */
        SOCK_JUDGED, /* passes */
        SOCK_BLOCKED, /* payload is dropped */
};

/* What a TCP stream is in the middle of. */
enum sock_talk {
        TALK_START, /* nothing: the next payload is its first, or the first in a tunnel */
        TALK_OPEN, /* something; the next payload may begin another */
        TALK_TLS, /* a hello; oc_tls has the rest */
        TALK_TLS_AGAIN, /* behind a hello; oc_tls knows where another may begin */
        TALK_HTTP, /* requests; oc_requests has the rest, also of the next two */
        TALK_HTTP2,
        TALK_SOCKS,
        TALK_QUIC, /* UDP: oc_flows may know flows of it */
};

/* What is known about a socket: who connects or sends (no process is known at the packet
 * hook) and whether its packets still need a look. */
struct oc_sock {
        __u64 netns;
        __u32 tgid;
        __u32 uid;
        char comm[OC_COMM_SIZE];
        __u64 told; /* the watched destination already reported */
        __u32 state; /* enum sock_state */
        __u32 talk; /* enum sock_talk */
        __u32 expect; /* TCP: sequence number behind the payload that was looked at */
        __u32 watched; /* TCP: bytes of payload that were looked at */
        __u32 open; /* TCP: 1: it has been TALK_OPEN */
        __u32 lent; /* TCP: 1: its head is in pages that its sender can write, from `head` to `head_end` */
        __u32 head;
        __u32 head_end;
        __u32 head_arrived; /* so far the other side has it */
        __u32 text; /* TCP: 1: it began with text, so TLS may begin at any time */
        struct oc_match judged; /* the name it spoke to, also when that is approved; channel 0: none */
        __u64 catalogue; /* the numbers in `judged` are of this catalogue */
};

struct {
        __uint(type, BPF_MAP_TYPE_SK_STORAGE);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, int);
        __type(value, struct oc_sock);
} oc_socks SEC(".maps") __weak;

#define OWNERS 16384

/* Who connected or sent last. Written and read without a lock: what two writers have mixed up fails its check. */
struct oc_owner {
        __u64 cookie; /* of the socket */
        __u64 netns;
        __u32 tgid;
        __u32 uid;
        __u64 comm[OC_COMM_SIZE / 8];
        __u64 check; /* see owner_check() */
        __u64 reserved[2]; /* one line of the cache each */
};
EVENT_LAYOUT(oc_owner, 64);

/* By the socket's cookie modulo OWNERS: a later socket takes the place. Storage of its own costs
 * a connect() four times as much, so a socket gets it with its first payload, and one that asks a
 * resolver never. */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, OWNERS);
        __type(key, __u32);
        __type(value, struct oc_owner);
} oc_owners SEC(".maps") __weak;

/* People who have lent memory by vmsplice(2) since the machine started. */
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 1024);
        __type(key, __u32); /* see person_of() */
        __type(value, __u8);
} oc_lenders SEC(".maps") __weak;

/* A TLS hello that is not complete yet. */
struct {
        __uint(type, BPF_MAP_TYPE_SK_STORAGE);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, int);
        __type(value, struct tls_stream);
} oc_tls SEC(".maps") __weak;

/* A request in clear text. */
struct oc_request {
        union {
                struct http_stream http;
                struct http2_stream http2;
                struct socks_stream socks;
        };
};

struct {
        __uint(type, BPF_MAP_TYPE_SK_STORAGE);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, int);
        __type(value, struct oc_request);
} oc_requests SEC(".maps") __weak;

/* Where a TCP connection to a resolver stands. */
struct {
        __uint(type, BPF_MAP_TYPE_SK_STORAGE);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, int);
        __type(value, struct dns_stream);
} oc_dns SEC(".maps") __weak;

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct oc_guard);
} oc_guard SEC(".maps") __weak;

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 256);
        __type(key, struct oc_guarded_key);
        __type(value, __u8);
} oc_guarded SEC(".maps") __weak;

#define OC_EVENTS_SIZE (1 << 20)

struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, OC_EVENTS_SIZE);
} oc_events SEC(".maps") __weak;

/* Payload that user space has to see; apart, so that it costs no event. */
struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, 1 << 19);
} oc_packets SEC(".maps") __weak;

struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 4096);
        __type(key, struct oc_flow_key);
        __type(value, struct oc_flow);
} oc_flows SEC(".maps") __weak;

/* What a process was told to be the address of a channel that is watched: says whose a connection
 * is, and never blocks one, since others may share the address. */
struct oc_told_key {
        __u32 tgid;
        __u8 address[16]; /* IPv4 as IPv4-mapped IPv6 */
};

struct oc_told {
        struct oc_match match;
        __u64 catalogue; /* the numbers in `match` are of this catalogue */
        __u64 until_ns;
};

struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 8192);
        __type(key, struct oc_told_key);
        __type(value, struct oc_told);
} oc_addresses SEC(".maps") __weak;

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, __u32);
} oc_sequence SEC(".maps") __weak;

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, _DROP_REASON_MAX);
        __type(key, __u32);
        __type(value, __u64);
} oc_drops SEC(".maps") __weak;
