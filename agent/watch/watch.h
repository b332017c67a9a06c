/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Owns the eBPF objects: probes what this kernel can, loads, pins, feeds their maps from a
 * rule set, turns ring-buffer records into facts. Runs as root. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/fact.h"
#include "rules/rules.h"

struct watch_options {
        const char *bpffs; /* folder on a bpf file system for the pins, "/sys/fs/bpf/onchannel" */
        const char *cgroup; /* cgroup v2 folder to attach to; NULL: the root of the hierarchy */
        uint32_t mark_mask;
        bool no_lsm; /* take the fallback although BPF LSM works (tests, benchmarks) */
};

/* Sensors with their declared fallbacks, best first. */
enum exec_path {
        EXEC_PATH_LSM, /* lsm/bprm_check_security: execve fails with EPERM */
        EXEC_PATH_SIGNAL, /* tp_btf/sched_process_exec: SIGKILL before the first instruction */
        EXEC_PATH_NONE,
        _EXEC_PATH_MAX,
};

struct watch;

typedef void (*watch_handler)(const struct fact *f, void *userdata);

/* What is missing on this machine, before anything is loaded: one sentence each, "" none.
 * E.g. "no cgroup v2 hierarchy is mounted: boot with systemd.unified_cgroup_hierarchy=1". */
int watch_check(const struct watch_options *o, char *ret_reason, size_t size);

/* Load everything next to what may be pinned from an earlier run, reuse compatible maps, so
 * that enforcement has no gap. Does not attach yet. *ret_pinned: an earlier run was found. */
int watch_new(const struct watch_options *o, watch_handler handler, void *userdata, struct watch **ret,
              bool *ret_pinned);
/* Close; with `detach` also detach and unpin everything, else enforcement goes on. */
struct watch *watch_free(struct watch *w, bool detach);

/* Fill the inactive half of the maps from r and switch to it in one step.
 * `generation` appears in the facts that this rule set produces. */
int watch_apply(struct watch *w, const struct ruleset *r, uint32_t generation);
/* Attach and pin; after the first watch_apply(). Old links are dropped only then. */
int watch_attach(struct watch *w);

/* Where BPF LSM works: from now on only this process, its parent and process 1 signal and throttle it or
 * mount over `folders` (NULL at the end), and only it takes links and maps apart, or changes what lies in
 * the folders. That holds on when it is killed, for everybody but the same executable; watch_disarm() ends it. */
int watch_arm(struct watch *w, const char *const *folders);
void watch_disarm(struct watch *w);

/* Ring buffer: poll this descriptor, then dispatch: at most `max` records of each of two rings, none after max_us; returns how many. */
int watch_fd(const struct watch *w);
int watch_dispatch(struct watch *w, int max, uint64_t max_us);

/* Remember what a program is, so that the kernel decides alone next time: channel 0 is
 * innocent. look_at_argv: ask again at each start. What may be another file under the same identity is not remembered (0), nor
 * an innocent file that changed within the last seconds: it might still change unseen. */
int watch_learn_program(struct watch *w, const struct fact *exec, uint16_t channel, uint32_t entry,
                        bool look_at_argv);
/* The running process belongs to a channel (found by classify/ after it started). */
int watch_learn_process(struct watch *w, uint32_t tgid, uint16_t channel, uint32_t entry);
/* What a process is known as in the rule set in force; false: nothing. */
bool watch_find_process(const struct watch *w, uint32_t tgid, uint16_t *ret_channel, uint32_t *ret_entry);

/* Has it become another program since then (CLOCK_BOOTTIME)? False of one that the kernel side has forgotten. */
bool watch_has_executed(const struct watch *w, uint32_t tgid, uint64_t since_ns);

/* Each process of the watched cgroup, as it is now. */
typedef void (*watch_process_handler)(uint32_t tgid, void *userdata);
int watch_each_process(const struct watch *w, watch_process_handler handler, void *userdata);
/* Judge every connected socket of these processes by the rule set in force, in all network namespaces.
 * One of a blocked channel sends nothing more; its fact says DROPPED and which socket to end. */
int watch_walk_sockets(struct watch *w);

/* Ask about every program again: more is known than when it was remembered. */
int watch_forget_programs(struct watch *w);

/* The payload of a datagram. layer dns: a query that was dropped and awaits an answer; layer
 * quic: an Initial that was held back and awaits refuse_forward(), of which the fact names no channel yet. Layer tls: the
 * head of a stream that its sender can still change, from the header of TCP on, which awaits refuse_forward_tcp(). Borrowed, and meant for nobody else. */
struct watch_packet {
        struct fact fact;
        const uint8_t *bytes;
        size_t size;
        bool open; /* layer tls: the kernel side waits for no request behind it */
};
typedef void (*watch_packet_handler)(const struct watch_packet *p, void *userdata);
void watch_set_packet_handler(struct watch *w, watch_packet_handler handler, void *userdata);
/* The UDP flow is a connection of the fact's channel: from now on the rule set in force says whether its packets
 * pass, also when the process sends them from another socket. */
int watch_learn_flow(struct watch *w, const struct fact *f);
/* From now on drop what this UDP flow sends. */
int watch_refuse_flow(struct watch *w, const struct fact *f);

struct watch_counters {
        uint64_t lost; /* all reasons and sequence gaps */
        uint64_t drops[8]; /* by enum drop_reason of bpf/event.h */
        uint64_t received;
};
int watch_counters(struct watch *w, struct watch_counters *ret);
enum exec_path watch_exec_path(const struct watch *w);
/* "exec=signal dns=cgroup_skb connect=cgroup_sock_addr tls=cgroup_skb": what is in force, and
 * for a fallback why, for status and coverage. */
const char *watch_sensors(const struct watch *w);
/* Every program and link is still loaded, attached and pinned: else -ESTALE and which one. The maps
 * hold the rule set that was applied last: else -EUCLEAN. */
int watch_verify(struct watch *w, char *ret_what, size_t size);
