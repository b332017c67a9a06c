/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Everything that the eBPF programs and the agent agree on: event records, map keys and
 * values, the hash of a name. Included by both compilers; __u* types, host byte order
 * unless the name says _be, explicit padding, no `packed`. */
#include <linux/types.h>

#define EVENT_LAYOUT(type, size) _Static_assert(sizeof(struct type) == (size), #type " has moved")

#define OC_COMM_SIZE 16
#define OC_PATH_SIZE 192 /* tail of a longer path is cut */
#define OC_NAME_MAX  253 /* RFC 1035 2.3.4 */
#define OC_CHANNELS  1024 /* channel numbers 0..1023, ten bits of the mark */

enum event_type {
        EVENT_EXEC = 1, /* struct event_exec */
        EVENT_DNS, /* struct event_name: a query */
        EVENT_TLS, /* struct event_name: a server name */
        EVENT_CONNECT, /* struct event_connect */
        EVENT_HTTP, /* struct event_name: the host of a request, in clear text */
        EVENT_QUERY, /* struct event_packet: a dropped query, to be answered */
        EVENT_DATAGRAM, /* struct event_packet: an Initial of QUIC, to be read and sent on */
        EVENT_SEGMENT, /* struct event_packet: from the header of TCP on, the same */
        EVENT_QUIC, /* struct event_name: a connection whose name is known */
        _EVENT_TYPE_MAX,
};

/* What the kernel side did; user space never infers it. */
enum event_action {
        ACTION_PASSED, /* verdict watch, or not decided yet (exec) */
        ACTION_DENIED, /* execve or connect failed with EPERM */
        ACTION_KILLED, /* SIGKILL */
        ACTION_DROPPED, /* packet dropped */
        ACTION_MARKED, /* socket marked: nftables rejects it */
        _ACTION_MAX,
};

/* How the channel is known; the same numbers as enum tier. */
#define OC_TIER_PROGRAM 0
#define OC_TIER_NAME    1
#define OC_TIER_ADDRESS 2

/* Verdicts as the maps hold them; the same numbers as enum verdict. */
#define OC_ALLOW 0
#define OC_WATCH 1
#define OC_BLOCK 2

struct event_head {
        __u16 type; /* enum event_type */
        __u16 size; /* of the whole record */
        __u16 cpu;
        __u16 action; /* enum event_action */
        __u32 sequence; /* per CPU, from 1: a gap is a loss */
        __u32 generation; /* of the rule set that decided */
        __u64 ktime_ns; /* CLOCK_BOOTTIME */
        __u32 tgid;
        __u32 uid;
        __u32 entry; /* index of the rule set's entry that matched, 0 none */
        __u16 channel; /* 0: none (exec to classify) */
        __u16 tier; /* OC_TIER_* */
        char comm[OC_COMM_SIZE];
};
EVENT_LAYOUT(event_head, 56);

/* Identity of an executable's content. */
#define OC_EXE_FOREIGN (1ull << 63) /* in `dev`: its file system is its user's, who may change it from below */

struct oc_exe {
        __u64 dev;
        __u64 ino;
        __u64 ctime_ns;
};
EVENT_LAYOUT(oc_exe, 24);

struct event_exec {
        struct event_head head;
        struct oc_exe exe;
        char path[OC_PATH_SIZE]; /* as given to execve, may be relative */
};
EVENT_LAYOUT(event_exec, 272);

struct event_flow {
        __u8 local[16]; /* IPv4 in the first four bytes */
        __u8 remote[16];
        __u16 local_port;
        __u16 remote_port;
        __u8 family; /* AF_INET, AF_INET6 */
        __u8 protocol; /* IPPROTO_* */
        __u16 flags; /* OC_FLOW_* */
        __u64 cookie; /* of the socket, for SOCK_DESTROY; 0 unknown */
        __u64 netns; /* cookie of its network namespace */
};
EVENT_LAYOUT(event_flow, 56);
#define OC_FLOW_CONNECTED 1 /* the socket has this peer only */
#define OC_FLOW_MPTCP     2 /* this is a part of an MPTCP connection (RFC 8684); the application holds another socket */

struct event_connect {
        struct event_head head;
        struct event_flow flow; /* local side zero */
        char path[OC_PATH_SIZE]; /* of the process, "" unknown */
};
EVENT_LAYOUT(event_connect, 304);

/* Never holds the name itself, only the entry it matched. */
struct event_name {
        struct event_head head;
        struct event_flow flow;
        char path[OC_PATH_SIZE];
};
EVENT_LAYOUT(event_name, 304);

/* A copy of the payload of a datagram, in oc_packets. For the agent's eyes only: it is in no
 * record and in no log. */
#define OC_PACKET_MAX 4096
struct event_packet {
        struct event_head head; /* without `sequence` */
        struct event_flow flow;
        char path[OC_PATH_SIZE];
        __u32 sequence; /* TCP: of the payload, which the sender takes for unsent as long as it is dropped */
        __u32 acknowledged; /* TCP: of the next byte of the other side */
        __u32 size;
        __u32 open; /* TCP: 1: the kernel side does not wait for requests behind it */
        __u8 bytes[OC_PACKET_MAX];
};
EVENT_LAYOUT(event_packet, 4416);

struct oc_proc {
        __u64 exec_ns; /* CLOCK_BOOTTIME */
        char path[OC_PATH_SIZE];
};

/* Why an event or a decision was lost; index of oc_drops. */
enum drop_reason {
        DROP_RING_FULL,
        DROP_TASK_MAP_FULL,
        DROP_FLOW_MAP_FULL,
        _DROP_REASON_MAX,
};

/* A name in the rule set: key of oc_names. Two independent 64-bit lanes make a chance
 * collision (a false accusation) practically impossible; OC_KEY_* keeps the kinds apart.
 * Domain names: see oc_key_label(). The others: byte by byte as they stand. */
struct oc_name_key {
        __u64 a;
        __u64 b;
};

enum oc_key_kind {
        OC_KEY_SUFFIX, /* this domain name and all below it */
        OC_KEY_EXACT, /* this domain name */
        OC_KEY_PROGRAM, /* base name of an executable */
        OC_KEY_FLATPAK,
        OC_KEY_SNAP,
        OC_KEY_PORT, /* protocol, port in two bytes */
};

/* Value of oc_names, oc_prefixes, oc_exes. */
struct oc_match {
        __u32 entry;
        __u16 channel;
        __u16 flags; /* OC_MATCH_* */
};
EVENT_LAYOUT(oc_match, 8);
#define OC_MATCH_ARGV 1 /* exe: innocent by itself, look at its arguments at each start */

/* Key of oc_prefixes; an IPv4 address as IPv4-mapped IPv6 (RFC 4291 2.5.5.2). */
struct oc_prefix_key {
        __u32 length; /* bits */
        __u8 address[16];
};
EVENT_LAYOUT(oc_prefix_key, 20);

/* Key of oc_verdicts: an exemption's user, or OC_EVERYONE. */
struct oc_verdict_key {
        __u32 channel;
        __u32 uid;
};
#define OC_EVERYONE 0xffffffffU /* (uid_t)-1 is no user */

struct oc_verdict {
        __u32 verdict; /* OC_ALLOW, OC_WATCH, OC_BLOCK */
        __u32 programs; /* the same for starting a program */
};

/* A rule set, and where its maps are: another policy keeps the slot of the catalogue's. */
struct oc_rules {
        __u32 generation;
        __u16 verdicts; /* slot of oc_verdicts */
        __u16 names; /* slot of oc_names and oc_prefixes */
        __u64 catalogue; /* tells whether channel and entry numbers mean the same */
        __u64 ports; /* bit n: a port n modulo 64 is a key of oc_names */
        __u16 watches; /* a channel is watched */
        __u16 enforces; /* 0: mode monitor, in which nothing is blocked */
        __u32 filter; /* words of the slot's oc_filter, less one; they are a power of two */
        __u64 tops; /* bit oc_tail_top(): a domain name of one label is a key of oc_names */
};
EVENT_LAYOUT(oc_rules, 40);

/* Value of oc_active, mapped by user space: `slot` changes in one store. */
struct oc_active {
        __u32 slot;
        __u32 inspect; /* bit n: the rule set in slot n wants QUIC to be read */
        struct oc_rules rules[2];
};
EVENT_LAYOUT(oc_active, 88);

/* Key of oc_flows: datagrams of one socket to one peer, or of a process to it. */
struct oc_flow_key {
        __u64 cookie; /* of the socket, or OC_FLOW_PROCESS | tgid */
        __u8 remote[16]; /* as in struct event_flow */
        __u16 port;
        __u16 reserved[3];
};
EVENT_LAYOUT(oc_flow_key, 32);
#define OC_FLOW_PROCESS (1ULL << 63)

struct oc_flow {
        __u64 since_ns; /* start of the second that `copies` counts */
        __u64 catalogue; /* the numbers in `match` are of this catalogue */
        struct oc_match match; /* the name of the connection; channel 0: none */
        __u32 copies;
        __u32 refused; /* nobody could read it */
        __u32 told; /* generation of the rule set by which it was reported */
        __u32 reserved;
};
EVENT_LAYOUT(oc_flow, 40);

/* Value of oc_tasks: a process of a channel. */
struct oc_task {
        struct oc_match match;
        __u64 catalogue; /* the numbers are of this catalogue */
};
EVENT_LAYOUT(oc_task, 16);

/* Value of oc_tasks_seen: not 0 when a process of that number, modulo OC_TASKS_SEEN, was ever put
 * into oc_tasks. */
#define OC_TASKS_SEEN 65536
struct oc_tasks_seen {
        __u8 of[OC_TASKS_SEEN];
};

/* Value of oc_guard: what BPF LSM keeps from everybody but the agent. */
struct oc_guard {
        __u32 tgid; /* of the agent; 0 it has ended */
        __u32 supervisor; /* tgid of its parent, may signal it like process 1 */
        __u32 armed;
        __u32 learning; /* enum oc_learn: what the folders are that the agent opens now */
        __u64 exe_dev; /* the executable that may take over while no agent runs; 0 0 not known yet */
        __u64 exe_ino;
};
EVENT_LAYOUT(oc_guard, 32);

enum oc_learn {
        OC_LEARN_NOTHING,
        OC_LEARN_FOLDER, /* the agent's own */
        OC_LEARN_ABOVE, /* those above them */
        OC_LEARN_CGROUP, /* its cgroup and those above it */
};

/* Key of oc_guarded. */
#define OC_GUARDED_LINK    (1ULL << 32)
#define OC_GUARDED_MAP     (2ULL << 32)
#define OC_GUARDED_PROGRAM (3ULL << 32)
#define OC_GUARDED_FOLDER  (4ULL << 32) /* | device, as the following ones */
#define OC_GUARDED_ABOVE   (5ULL << 32)
#define OC_GUARDED_CGROUP  (6ULL << 32)
#define OC_GUARDED_POINT   (7ULL << 32) /* on which a file system is mounted that has one of them */
#define OC_GUARDED_MOUNT   (8ULL << 32) /* such a mount */
struct oc_guarded_key {
        __u64 kind;
        __u64 id; /* of the link, map, program or mount; the folder's inode number */
};

#define OC_HASH_A       0xcbf29ce484222325ULL /* FNV-1a offset basis and prime */
#define OC_HASH_PRIME_A 0x100000001b3ULL
#define OC_HASH_B       0x9ae16a3b2f90404fULL
#define OC_HASH_PRIME_B 0x9e3779b97f4a7c15ULL
#define OC_HASH_WORD    0x9fb21c651e98df25ULL

static inline __attribute__((always_inline)) void oc_key_init(struct oc_name_key *k)
{
        k->a = OC_HASH_A;
        k->b = OC_HASH_B;
}

static inline __attribute__((always_inline)) void oc_key_byte(struct oc_name_key *k, __u8 c)
{
        k->a = (k->a ^ c) * OC_HASH_PRIME_A;
        k->b = (k->b ^ c) * OC_HASH_PRIME_B;
        k->b ^= k->b >> 29;
}

#define OC_BYTES(c) (0x0101010101010101ULL * (c))

/* How many bytes of a word, the topmost and those below it, stand before a dot; 8: it has none. */
static inline __attribute__((always_inline)) __u32 oc_word_label(__u64 word)
{
        __u64 x = word ^ OC_BYTES('.');
        __u64 dots = ~(((x & OC_BYTES(0x7f)) + OC_BYTES(0x7f)) | x | OC_BYTES(0x7f)); /* 0x80 in each */
        __u32 n = 0;

        if (!dots)
                return 8;
        if (!(dots >> 32)) {
                n = 4;
                dots <<= 32;
        }
        if (!(dots >> 48)) {
                n += 2;
                dots <<= 16;
        }
        return n + !(dots >> 56);
}

/* Upper-case letters are folded, and nothing else. */
static inline __attribute__((always_inline)) __u64 oc_word_fold(__u64 word)
{
        __u64 low = word & OC_BYTES(0x7f);
        __u64 upper = (low + OC_BYTES(0x80 - 'A')) & ~(low + OC_BYTES(0x7f - 'Z')) & ~word & OC_BYTES(0x80);

        return word | upper >> 2;
}

/* A domain name is fed from its end, label by label, a label in words of eight bytes from its end:
 * so every label boundary is the key of a suffix, and a look-up costs O(labels). Takes the topmost
 * bytes of a little-endian word up to a dot and returns how many they are; below 8 the label is over. */
static inline __attribute__((always_inline)) __u32 oc_key_label(struct oc_name_key *k, __u64 word)
{
        __u32 n = oc_word_label(word);

        if (n == 0)
                return 0;
        word = oc_word_fold(word) >> (64 - 8 * n);
        k->a = (k->a ^ word) * OC_HASH_WORD;
        k->a ^= k->a >> 32;
        k->b = (k->b ^ word) * OC_HASH_PRIME_B + n;
        k->b ^= k->b >> 29;
        return n;
}

static inline __attribute__((always_inline)) void oc_key_dot(struct oc_name_key *k)
{
        k->a += OC_HASH_A;
        k->b += OC_HASH_B;
}

/* A whole name, as user space has it: "web.example.org". */
static inline void oc_key_name(struct oc_name_key *k, const char *name, __u32 size)
{
        for (;;) {
                __u64 word = 0;

                for (__u32 i = 1; i <= 8; i++)
                        word = word << 8 | (__u8)(i <= size ? name[size - i] : '.');
                __u32 n = oc_key_label(k, word);
                size -= n;
                if (n == 8)
                        continue;
                if (size == 0)
                        return;
                oc_key_dot(k);
                size--;
        }
}

/* What stands for a key, of any kind, in the filter. */
static inline __attribute__((always_inline)) __u32 oc_key_sum(const struct oc_name_key *k)
{
        return (__u32)(k->b >> 16);
}

/* The end of a domain name, for the filter: its last two labels as they stand on the wire, lengths and all, in words
 * of eight bytes from their end; in front of a word of `n` bytes, less than eight, may stand anything. */
#define OC_TAIL_WORDS 6 /* whoever has longer ones is looked up label by label */
static inline __attribute__((always_inline)) __u64 oc_tail_add(__u64 h, __u64 word, __u32 n)
{
        h = (h ^ oc_word_fold(n < 8 ? word >> (64 - 8 * n) : word)) * OC_HASH_WORD;
        return h ^ h >> 32;
}

static inline __attribute__((always_inline)) __u32 oc_tail_sum(__u64 h)
{
        return (__u32)h;
}

/* The last word and the size of the last label with its length. */
static inline __attribute__((always_inline)) __u32 oc_tail_top(__u64 word, __u32 n)
{
        return oc_tail_add(0, word, n) & 63;
}

static inline __attribute__((always_inline)) int oc_is_ipv4(const struct oc_prefix_key *k)
{
        const __u32 *a = (const __u32 *)(const void *)k->address;

        return !a[0] && !a[1] && a[2] == __builtin_bswap32(0xffff);
}

/* The same for an address: by its leading OC_TOP4_BITS or OC_TOP6_BITS. */
#define OC_TOP4_BITS 16
#define OC_TOP6_BITS 32
static inline __attribute__((always_inline)) __u32 oc_address_sum(const struct oc_prefix_key *k)
{
        const void *b = k->address;
        __u64 top = oc_is_ipv4(k) ? 1ULL << 32 | ((const __u16 *)b)[6] : *(const __u32 *)b;

        return (__u32)(top * OC_HASH_WORD >> 32);
}

static inline __attribute__((always_inline)) struct oc_name_key oc_key_of_kind(const struct oc_name_key *k,
                                                                               enum oc_key_kind kind)
{
        return (struct oc_name_key){k->a ^ kind, k->b};
}
