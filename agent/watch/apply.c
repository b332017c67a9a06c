/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A rule set into the idle slot of the maps, then one store that switches to it. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "agent/watch/internal.h"
#include "bpf/onchannel.skel.h"

#define FEED_ELEMENTS 1024
#define SLOT_MAPS     WATCH_SLOT_MAPS

_Static_assert(OC_ALLOW == VERDICT_ALLOW && OC_WATCH == VERDICT_WATCH && OC_BLOCK == VERDICT_BLOCK,
               "verdicts in the maps have the policy's numbers");

/* Collects elements of a map and hands them over many at a time. Sticky error. */
struct feed {
        int fd;
        int error;
        uint32_t n;
        size_t key_size;
        size_t value_size;
        uint8_t keys[FEED_ELEMENTS * sizeof(struct oc_prefix_key)];
        uint8_t values[FEED_ELEMENTS * sizeof(struct oc_match)];
};
_Static_assert(sizeof(struct oc_verdict) <= sizeof(struct oc_match) &&
                       sizeof(struct oc_name_key) <= sizeof(struct oc_prefix_key),
               "every element fits");

static void feed_flush(struct feed *f)
{
        LIBBPF_OPTS(bpf_map_batch_opts, opts);

        if (f->error == 0 && f->n > 0 && bpf_map_update_batch(f->fd, f->keys, f->values, &f->n, &opts) < 0)
                f->error = -errno;
        f->n = 0;
}

static void feed_add(struct feed *f, const void *key, const void *value)
{
        memcpy(f->keys + f->n * f->key_size, key, f->key_size);
        memcpy(f->values + f->n * f->value_size, value, f->value_size);
        if (++f->n == FEED_ELEMENTS)
                feed_flush(f);
}

static bool is_watching(const struct ruleset *r)
{
        for (size_t i = 1; i < r->n_channels; i++)
                if (r->channels[i].verdict == VERDICT_WATCH)
                        return true;
        return false;
}

static uint64_t ports_of(const struct ruleset *r)
{
        struct oc_name_key k;
        uint64_t ports = 0;

        for (size_t i = 1; i < r->n_entries; i++) {
                const struct rule_entry *e = &r->entries[i];

                oc_key_init(&k);
                if ((e->kind == ENTRY_PORT_TCP || e->kind == ENTRY_PORT_UDP) && watch_port_key(r, e, &k))
                        ports |= 1ull << (strtoul(e->value, NULL, 10) & 63);
        }
        return ports;
}

static void add_names(struct feed *f, const struct ruleset *r)
{
        for (uint32_t i = 1; i < r->n_entries; i++) {
                struct oc_match m = {.entry = i, .channel = r->entries[i].channel};
                struct oc_name_key k;

                if (watch_entry_key(r, &r->entries[i], &k))
                        feed_add(f, &k, &m);
        }
}

static void add_prefixes(struct feed *f, const struct ruleset *r)
{
        for (uint32_t i = 1; i < r->n_entries; i++) {
                struct oc_match m = {.entry = i, .channel = r->entries[i].channel};
                struct oc_prefix_key k = watch_prefix_key(&r->entries[i].prefix);

                if (r->entries[i].kind == ENTRY_PREFIX)
                        feed_add(f, &k, &m);
        }
}

static void add_filter(struct feed *f, const struct ruleset *r)
{
        uint32_t n = watch_filter_words(r);
        _cleanup_free_ uint64_t *words = calloc(n, sizeof(*words));

        if (!words) {
                f->error = -ENOMEM;
                return;
        }
        watch_filter_fill(r, words, n);
        for (uint32_t i = 0; i < n; i++)
                feed_add(f, &i, &words[i]);
}

static void add_verdicts(struct feed *f, const struct ruleset *r)
{
        for (uint32_t i = 1; i < r->n_channels; i++) {
                struct oc_verdict_key k = {.channel = i, .uid = OC_EVERYONE};
                struct oc_verdict v = {r->channels[i].verdict, r->channels[i].programs};
                if (r->channels[i].exemption) /* let through, and told */
                        v = (struct oc_verdict){OC_WATCH, OC_WATCH};
                feed_add(f, &k, &v);
        }
        for (size_t i = 0; i < r->n_exemptions; i++) {
                const struct rule_exemption *e = &r->exemptions[i];
                struct oc_verdict_key k = {.channel = e->channel, .uid = e->uid};
                struct oc_verdict v = {e->verdict, e->programs};
                if (e->id)
                        v = (struct oc_verdict){OC_WATCH, OC_WATCH};
                feed_add(f, &k, &v);
        }
}

/* Fills one kind of map of a slot: its inner map must look like the template in bpf/maps.h, but
 * may have another size (Linux 5.10). */
struct slot_map {
        const struct ruleset *rules;
        uint32_t slot;
        int result;
        const struct bpf_map *outer;
        enum bpf_map_type type;
        uint32_t flags;
        uint32_t key_size;
        uint32_t value_size;
        size_t size;
        void (*add)(struct feed *f, const struct ruleset *r);
};

static int fill_slot(const struct slot_map *m)
{
        LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = m->flags);
        _cleanup_free_ struct feed *f = calloc(1, sizeof(*f));

        if (!f)
                return -ENOMEM;
        _cleanup_fd_ int fd = bpf_map_create(m->type, bpf_map__name(m->outer), m->key_size, m->value_size,
                                             m->size ? (uint32_t)m->size : 1, &opts);
        if (fd < 0)
                return -errno;
        f->fd = fd;
        f->key_size = m->key_size;
        f->value_size = m->value_size;
        m->add(f, m->rules);
        feed_flush(f);
        if (f->error < 0)
                return f->error;
        if (bpf_map_freeze(fd) < 0) /* nobody changes it any more, not even root */
                return -errno;
        return bpf_map_update_elem(bpf_map__fd(m->outer), &m->slot, &fd, BPF_ANY) < 0 ? -errno : 0;
}

static void *fill_slot_thread(void *userdata)
{
        struct slot_map *m = userdata;
        m->result = fill_slot(m);
        return NULL;
}

/* Side by side: each replacement of an inner map waits for an RCU grace period. */
static int fill_slots(struct slot_map *maps, size_t n)
{
        pthread_t threads[SLOT_MAPS];
        size_t started = 0;
        int r = 0;

        while (started < n && r == 0) {
                r = -pthread_create(&threads[started], NULL, fill_slot_thread, &maps[started]);
                started += r == 0;
        }
        for (size_t i = 0; i < started; i++) {
                pthread_join(threads[i], NULL);
                if (r == 0)
                        r = maps[i].result;
        }
        return r;
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t size)
{
        for (size_t i = 0; i < size; i++)
                h = (h ^ ((const uint8_t *)data)[i]) * OC_HASH_PRIME_A;
        return h;
}

/* Equal for rule sets whose channel and entry numbers mean the same. */
static uint64_t hash_catalogue(const struct ruleset *r)
{
        uint64_t h = OC_HASH_A;

        for (size_t i = 1; i < r->n_channels; i++)
                h = hash_bytes(hash_bytes(h, r->channels[i].id, strlen(r->channels[i].id) + 1),
                               &r->channels[i].category, sizeof(r->channels[i].category));
        for (size_t i = 1; i < r->n_entries; i++) {
                const struct rule_entry *e = &r->entries[i];
                h = hash_bytes(h, &e->kind, sizeof(e->kind));
                h = hash_bytes(h, &e->channel, sizeof(e->channel));
                h = hash_bytes(h, e->value, strlen(e->value) + 1);
        }
        return h;
}

static size_t count_entries(const struct ruleset *r, bool prefixes)
{
        struct oc_name_key k;
        size_t n = 0;

        for (size_t i = 1; i < r->n_entries; i++)
                n += prefixes ? r->entries[i].kind == ENTRY_PREFIX : watch_entry_key(r, &r->entries[i], &k);
        return n;
}

/* Ids of the maps that a rule set uses. */
static int read_maps(const struct watch *w, const struct oc_rules *r, uint32_t ret_ids[static SLOT_MAPS])
{
        const struct {
                const struct bpf_map *map;
                uint32_t slot;
        } maps[SLOT_MAPS] = {{w->bpf->maps.oc_names, r->names},
                             {w->bpf->maps.oc_prefixes, r->names},
                             {w->bpf->maps.oc_filter, r->names},
                             {w->bpf->maps.oc_verdicts, r->verdicts}};

        for (size_t i = 0; i < SLOT_MAPS; i++)
                if (bpf_map_lookup_elem(bpf_map__fd(maps[i].map), &maps[i].slot, &ret_ids[i]) < 0)
                        return -errno;
        return 0;
}

static int remember(struct watch *w)
{
        w->applied = *w->active;
        return read_maps(w, &w->applied.rules[w->applied.slot], w->applied_maps);
}

static int fill_catalogue(const struct watch *w, const struct ruleset *r, const struct slot_map *verdicts,
                          uint32_t slot)
{
        struct slot_map maps[SLOT_MAPS] = {
                *verdicts,
                {.rules = r,
                 .slot = slot,
                 .outer = w->bpf->maps.oc_names,
                 .type = BPF_MAP_TYPE_HASH,
                 .key_size = sizeof(struct oc_name_key),
                 .value_size = sizeof(struct oc_match),
                 .size = count_entries(r, false),
                 .add = add_names},
                {.rules = r,
                 .slot = slot,
                 .outer = w->bpf->maps.oc_prefixes,
                 .type = BPF_MAP_TYPE_LPM_TRIE,
                 .flags = BPF_F_NO_PREALLOC,
                 .key_size = sizeof(struct oc_prefix_key),
                 .value_size = sizeof(struct oc_match),
                 .size = count_entries(r, true),
                 .add = add_prefixes},
                {.rules = r,
                 .slot = slot,
                 .outer = w->bpf->maps.oc_filter,
                 .type = BPF_MAP_TYPE_ARRAY,
                 .flags = BPF_F_INNER_MAP,
                 .key_size = sizeof(uint32_t),
                 .value_size = sizeof(uint64_t),
                 .size = watch_filter_words(r),
                 .add = add_filter},
        };

        return fill_slots(maps, SLOT_MAPS);
}

int watch_apply(struct watch *w, const struct ruleset *r, uint32_t generation)
{
        uint32_t slot = !(w->active->slot & 1);
        const struct oc_rules *old = &w->active->rules[!slot];
        struct oc_rules next = {.generation = generation,
                                .verdicts = (uint16_t)slot,
                                .names = old->names & 1,
                                .catalogue = hash_catalogue(r),
                                .ports = ports_of(r),
                                .watches = is_watching(r),
                                .enforces = r->mode == POLICY_MODE_ENFORCE,
                                .filter = old->filter,
                                .tops = watch_tops(r)};
        struct slot_map verdicts = {.rules = r,
                                    .slot = slot,
                                    .outer = w->bpf->maps.oc_verdicts,
                                    .type = BPF_MAP_TYPE_HASH,
                                    .key_size = sizeof(struct oc_verdict_key),
                                    .value_size = sizeof(struct oc_verdict),
                                    .size = r->n_channels + r->n_exemptions,
                                    .add = add_verdicts};
        bool same = next.catalogue == old->catalogue;
        int q;

        if (same && watch_rules_in_place(w)) {
                q = fill_slot(&verdicts);
        } else {
                next.names = !next.names;
                next.filter = watch_filter_words(r) - 1;
                q = fill_catalogue(w, r, &verdicts, next.names);
        }
        if (q < 0)
                return q;
        if (!same)
                watch_map_clear(bpf_map__fd(w->bpf->maps.oc_exes), sizeof(struct oc_exe));
        if (r->quic == QUIC_INSPECT)
                w->active->inspect |= 1u << slot;
        else
                w->active->inspect &= ~(1u << slot);
        w->active->rules[slot] = next;
        __atomic_store_n(&w->active->slot, slot, __ATOMIC_RELEASE);
        if (!same)
                watch_forget_tasks(w, next.catalogue);
        return remember(w);
}

bool watch_rules_in_place(const struct watch *w)
{
        const struct oc_rules *r = &w->applied.rules[w->applied.slot];
        uint32_t ids[SLOT_MAPS];

        return r->generation != 0 && w->active->slot == w->applied.slot &&
               memcmp(&w->active->rules[w->applied.slot], r, sizeof(*r)) == 0 && read_maps(w, r, ids) == 0 &&
               memcmp(ids, w->applied_maps, sizeof(ids)) == 0;
}
