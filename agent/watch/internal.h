/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the files of this folder share. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "agent/watch/watch.h"
#include "base/cleanup.h"
#include "bpf/event.h"

#define WATCH_PROGRAMS_MAX 64
#define WATCH_TEXT_MAX     256
#define WATCH_SLOT_MAPS    4
#define WATCH_PATH_MAX     4096

struct onchannel_bpf;

struct watch_sequence { /* of one CPU */
        uint32_t first;
        uint32_t last;
        uint64_t received;
};

/* Each has its share of a turn. First what awaits an answer: over TCP its event ends the connection. */
enum watch_ring { WATCH_PACKETS, WATCH_EVENTS, _WATCH_RING_MAX };

struct watch {
        struct onchannel_bpf *bpf;
        struct bpf_link *links[WATCH_PROGRAMS_MAX]; /* in the order of the object's programs */
        struct ring_buffer *rings[_WATCH_RING_MAX];
        int rings_fd; /* an epoll of theirs */
        struct oc_active *active; /* the map's only element, shared with the kernel */
        struct oc_tasks_seen *seen; /* the same */
        struct oc_active applied; /* what *active must say, and which maps its slot must hold */
        uint32_t applied_maps[WATCH_SLOT_MAPS];
        int cgroup_fd;
        int lock_fd; /* the pins' folder: one agent each */
        char *bpffs;
        watch_handler handler;
        void *userdata;
        watch_packet_handler packet_handler;
        void *packet_userdata;
        enum exec_path exec_path;
        bool defence; /* BPF LSM keeps others from the agent */
        char exec_reason[WATCH_TEXT_MAX]; /* why not LSM */
        char sensors[2 * WATCH_TEXT_MAX];
        struct watch_sequence *sequences; /* by CPU */
        int n_cpus;
        uint64_t received;
        int budget; /* records left in this turn, */
        uint64_t until_ns; /* which ends then (CLOCK_MONOTONIC) */
};

/* check.c: the cgroup v2 folder to attach to, from the options or /proc/self/mountinfo; -ENOENT. */
int watch_cgroup_path(const struct watch_options *o, char *ret, size_t size);
/* load.c: open, size, reuse pins, load; fills bpf, exec_path, exec_reason. */
int watch_load(struct watch *w, const struct watch_options *o);
/* What libbpf complained about in the last attempt to load, "" nothing. */
const char *watch_libbpf_error(void);
/* attach.c: stop watching at once, remove every pin and the folder. */
void watch_detach(struct watch *w);
bool watch_has_pins(const char *bpffs);
/* NAME in the folder of pins; -ENAMETOOLONG. */
int watch_pin_path(const char *bpffs, const char *name, char ret[static WATCH_PATH_MAX]);
/* defence.c: those that are attached now. */
int watch_guard_links(const struct watch *w);
/* apply.c */
bool watch_rules_in_place(const struct watch *w);
/* watch.c: exec and fork hooks look at the watched cgroup alone. */
int watch_set_scope(const struct watch *w);
/* events.c */
int watch_on_record(void *userdata, void *data, size_t size);
int watch_on_packet(void *userdata, void *data, size_t size);
/* learn.c: what an earlier agent has left in oc_tasks, also without oc_tasks_seen. */
void watch_see_tasks(struct watch *w);
/* Forget processes of another catalogue. */
void watch_forget_tasks(struct watch *w, uint64_t catalogue);
int watch_map_clear(int fd, size_t key_size);
/* keys.c: how the maps name what an entry says; false: not in oc_names. */
bool watch_entry_key(const struct ruleset *r, const struct rule_entry *e, struct oc_name_key *ret);
bool watch_port_key(const struct ruleset *r, const struct rule_entry *e, struct oc_name_key *ret);
struct oc_prefix_key watch_prefix_key(const struct prefix *p);
/* What stands for a domain name's last two labels, and for its last one; false: it has one only. */
bool watch_tail(const char *name, uint32_t *ret_sum, uint32_t *ret_top);
/* `tops` of struct oc_rules. */
uint64_t watch_tops(const struct ruleset *r);
/* The filter of a rule set; the number of its words is a power of two. */
uint32_t watch_filter_words(const struct ruleset *r);
void watch_filter_fill(const struct ruleset *r, uint64_t *words, uint32_t n);
