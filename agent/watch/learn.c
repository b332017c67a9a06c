/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What user space found out, kept where the kernel decides. */
#include <errno.h>
#include <string.h>
#include "agent/watch/internal.h"
#include "base/clock.h"
#include "bpf/onchannel.skel.h"

/* A file rewritten within one tick of the clock (before Linux 6.13), or on FAT within two seconds, keeps
 * its change time, so the identity of a file this young proves nothing. */
#define EXE_SETTLED_NS 3000000000LL

static bool is_settled(uint64_t ctime_ns)
{
        return (int64_t)(clock_ns(CLOCK_REALTIME) - ctime_ns) > EXE_SETTLED_NS;
}

int watch_learn_program(struct watch *w, const struct fact *exec, uint16_t channel, uint32_t entry, bool look_at_argv)
{
        struct oc_exe key = {.dev = exec->exe_dev, .ino = exec->exe_ino, .ctime_ns = exec->exe_ctime_ns};
        struct oc_match m = {.channel = channel, .entry = entry, .flags = look_at_argv ? OC_MATCH_ARGV : 0};

        if (key.ino == 0 || exec->exe_may_differ || (channel == 0 && !is_settled(key.ctime_ns)))
                return 0;
        return bpf_map_update_elem(bpf_map__fd(w->bpf->maps.oc_exes), &key, &m, BPF_ANY) < 0 ? -errno : 0;
}

int watch_learn_process(struct watch *w, uint32_t tgid, uint16_t channel, uint32_t entry)
{
        struct oc_task t = {.match = {.channel = channel, .entry = entry},
                            .catalogue = w->active->rules[w->active->slot & 1].catalogue};

        w->seen->of[tgid % OC_TASKS_SEEN] = 1;
        return bpf_map_update_elem(bpf_map__fd(w->bpf->maps.oc_tasks), &tgid, &t, BPF_ANY) < 0 ? -errno : 0;
}

bool watch_find_process(const struct watch *w, uint32_t tgid, uint16_t *ret_channel, uint32_t *ret_entry)
{
        struct oc_task t;

        if (bpf_map_lookup_elem(bpf_map__fd(w->bpf->maps.oc_tasks), &tgid, &t) < 0 ||
            t.catalogue != w->active->rules[w->active->slot & 1].catalogue)
                return false;
        *ret_channel = t.match.channel;
        *ret_entry = t.match.entry;
        return true;
}

bool watch_has_executed(const struct watch *w, uint32_t tgid, uint64_t since_ns)
{
        struct oc_proc p;

        return bpf_map_lookup_elem(bpf_map__fd(w->bpf->maps.oc_procs), &tgid, &p) == 0 && p.exec_ns > since_ns;
}

static int flow_put(struct watch *w, const struct fact *f, uint64_t whose, const struct oc_flow *flow)
{
        struct oc_flow_key key = {.cookie = whose, .port = f->flow.remote_port};

        memcpy(key.remote, f->flow.remote, sizeof(key.remote));
        return bpf_map_update_elem(bpf_map__fd(w->bpf->maps.oc_flows), &key, flow, BPF_ANY) < 0 ? -errno : 0;
}

int watch_learn_flow(struct watch *w, const struct fact *f)
{
        struct oc_flow flow = {.match = {.channel = f->channel, .entry = f->entry},
                               .catalogue = w->active->rules[w->active->slot & 1].catalogue,
                               .told = f->generation};
        int r;

        r = flow_put(w, f, f->flow.cookie, &flow);
        if (r >= 0 && f->tgid)
                r = flow_put(w, f, OC_FLOW_PROCESS | f->tgid, &flow);
        return r;
}

int watch_refuse_flow(struct watch *w, const struct fact *f)
{
        return flow_put(w, f, f->flow.cookie, &(struct oc_flow){.refused = 1});
}

int watch_map_clear(int fd, size_t key_size)
{
        uint8_t key[sizeof(struct oc_exe)];

        if (key_size > sizeof(key))
                return -EINVAL;
        while (bpf_map_get_next_key(fd, NULL, key) == 0)
                if (bpf_map_delete_elem(fd, key) < 0 && errno != ENOENT)
                        return -errno;
        return errno == ENOENT ? 0 : -errno;
}

void watch_see_tasks(struct watch *w)
{
        int fd = bpf_map__fd(w->bpf->maps.oc_tasks);
        uint32_t key;

        for (uint32_t *last = NULL; bpf_map_get_next_key(fd, last, &key) == 0; last = &key)
                w->seen->of[key % OC_TASKS_SEEN] = 1;
}

/* The kernel ignores them already; this only frees their room. */
void watch_forget_tasks(struct watch *w, uint64_t catalogue)
{
        int fd = bpf_map__fd(w->bpf->maps.oc_tasks);
        uint32_t key, next;
        struct oc_task t;

        for (int r = bpf_map_get_next_key(fd, NULL, &next); r == 0;) {
                key = next;
                r = bpf_map_get_next_key(fd, &key, &next);
                if (bpf_map_lookup_elem(fd, &key, &t) == 0 && t.catalogue != catalogue)
                        bpf_map_delete_elem(fd, &key);
        }
}

int watch_forget_programs(struct watch *w)
{
        return watch_map_clear(bpf_map__fd(w->bpf->maps.oc_exes), sizeof(struct oc_exe));
}
