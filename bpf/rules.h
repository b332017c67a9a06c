/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The rule set in force, and the making of events. */
#include "bpf/maps.h"

const volatile __u64 oc_netns_cookie __weak; /* the agent's network namespace, where its table is */

/* Taken once by each program, so that one decision sees one rule set. */
static __always_inline struct oc_rules rules_active(void)
{
        __u32 zero = 0;
        struct oc_active *a = bpf_map_lookup_elem(&oc_active, &zero);
        struct oc_rules r = {};

        if (a)
                r = a->rules[*(volatile __u32 *)&a->slot & 1];
        return r;
}

/* Where it stands. It stays what it is while a program runs: the agent waits for RCU before it fills a
 * slot again. NULL: never. */
static __always_inline const struct oc_rules *rules_now(void)
{
        __u32 zero = 0;
        struct oc_active *a = bpf_map_lookup_elem(&oc_active, &zero);

        return a ? &a->rules[*(volatile __u32 *)&a->slot & 1] : NULL;
}

/* False: certainly not; `sum` is that of a key or an address. Nearly everything that leaves is
 * nobody's, and one bit tells, where a look-up would hash anew or walk a tree. */
static __always_inline bool rules_may_have(const struct oc_rules *r, __u32 sum)
{
        __u32 slot = r->names, at = sum >> 6 & r->filter;
        void *filter = bpf_map_lookup_elem(&oc_filter, &slot);
        __u64 *word = filter ? bpf_map_lookup_elem(filter, &at) : NULL;

        return word && *word >> (sum & 63) & 1;
}

static __always_inline const struct oc_match *rules_find_key(const struct oc_rules *r, const struct oc_name_key *k,
                                                             enum oc_key_kind kind)
{
        struct oc_name_key key = oc_key_of_kind(k, kind);
        __u32 slot = r->names;
        void *names = bpf_map_lookup_elem(&oc_names, &slot);
        return names ? bpf_map_lookup_elem(names, &key) : NULL;
}

static __always_inline const struct oc_match *rules_find_prefix(const struct oc_rules *r,
                                                                const struct oc_prefix_key *address)
{
        __u32 slot = r->names;

        if (!rules_may_have(r, oc_address_sum(address)))
                return NULL;
        void *prefixes = bpf_map_lookup_elem(&oc_prefixes, &slot);
        return prefixes ? bpf_map_lookup_elem(prefixes, address) : NULL;
}

static __always_inline struct oc_verdict rules_verdict(const struct oc_rules *r, __u32 channel, __u32 uid)
{
        struct oc_verdict_key key = {.channel = channel, .uid = uid};
        __u32 slot = r->verdicts;
        void *verdicts = bpf_map_lookup_elem(&oc_verdicts, &slot);
        struct oc_verdict *v = NULL;

        if (verdicts) {
                v = bpf_map_lookup_elem(verdicts, &key);
                if (!v) {
                        key.uid = OC_EVERYONE;
                        v = bpf_map_lookup_elem(verdicts, &key);
                }
        }
        return v ? *v : (struct oc_verdict){OC_ALLOW, OC_ALLOW};
}

/* NULL: a process of no channel, as nearly all that connect. */
static __always_inline struct oc_task *task_find(__u32 tgid)
{
        __u32 zero = 0;
        struct oc_tasks_seen *seen = bpf_map_lookup_elem(&oc_tasks_seen, &zero);

        if (seen && !seen->of[tgid % OC_TASKS_SEEN])
                return NULL;
        return bpf_map_lookup_elem(&oc_tasks, &tgid);
}

static __always_inline void drops_add(enum drop_reason reason)
{
        __u32 key = reason;
        __u64 *n = bpf_map_lookup_elem(&oc_drops, &key);
        if (n)
                __sync_fetch_and_add(n, 1);
}

static __always_inline void task_put(__u32 tgid, const struct oc_task *t)
{
        __u32 zero = 0;
        struct oc_tasks_seen *seen = bpf_map_lookup_elem(&oc_tasks_seen, &zero);

        if (seen)
                seen->of[tgid % OC_TASKS_SEEN] = 1;
        if (bpf_map_update_elem(&oc_tasks, &tgid, t, BPF_ANY) < 0)
                drops_add(DROP_TASK_MAP_FULL);
}

/* Whoever is refused again and again leaves room for what started, which is to be looked at at once. */
#define EVENTS_FOR_ALL (OC_EVENTS_SIZE / 4 * 3)

/* A zeroed record with the part of its head that is always the same; NULL: lost and counted. */
static __always_inline void *event_reserve(enum event_type type, __u32 size, __u32 generation)
{
        __u32 zero = 0;
        __u32 *last = bpf_map_lookup_elem(&oc_sequence, &zero);
        __u32 sequence = last ? __sync_fetch_and_add(last, 1) + 1 : 0;
        struct event_head *e = NULL;

        if (type == EVENT_EXEC || bpf_ringbuf_query(&oc_events, BPF_RB_AVAIL_DATA) < EVENTS_FOR_ALL)
                e = bpf_ringbuf_reserve(&oc_events, size, 0);
        if (!e) {
                drops_add(DROP_RING_FULL);
                return NULL;
        }
        __builtin_memset(e, 0, size);
        e->type = type;
        e->size = size;
        e->cpu = bpf_get_smp_processor_id();
        e->sequence = sequence;
        e->generation = generation;
        e->ktime_ns = bpf_ktime_get_boot_ns();
        return e;
}

static __always_inline void event_set_match(struct event_head *e, const struct oc_match *m, __u16 tier)
{
        e->entry = m->entry;
        e->channel = m->channel;
        e->tier = tier;
}

static __always_inline void event_set_path(char *path, __u32 tgid)
{
        struct oc_proc *p = bpf_map_lookup_elem(&oc_procs, &tgid);
        if (p)
                __builtin_memcpy(path, p->path, OC_PATH_SIZE);
}
