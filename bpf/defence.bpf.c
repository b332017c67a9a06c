// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent against root: while it runs, or was ended without an order, nobody but itself signals, traces or
 * throttles it, or takes its links and maps apart. */
#include "bpf/guard.h"

#define TRACE_ATTACH  2 /* linux/ptrace.h, PTRACE_MODE_ATTACH */
#define SIGNAL_HUP    1
#define SIGNAL_CHLD   17
#define SIGNAL_CONT   18
#define USED_MAPS_MAX 64 /* linux/bpf_verifier.h, MAX_USED_MAPS */

/* HUP: `systemctl reload` sends it from a process of its own. */
SEC("lsm/task_kill")
int BPF_PROG(oc_guard_kill, struct task_struct *task, void *info, int sig, void *cred, int ret)
{
        struct oc_guard *g = guard();

        if (ret || !g || !g->armed || !g->tgid || (__u32)task->tgid != g->tgid)
                return ret;
        if (sig == 0 || sig == SIGNAL_HUP || sig == SIGNAL_CHLD || sig == SIGNAL_CONT)
                return 0;
        return allow_or_deny(is_order(g));
}

SEC("lsm/ptrace_access_check")
int BPF_PROG(oc_guard_trace, struct task_struct *child, unsigned int mode, int ret)
{
        struct oc_guard *g = guard();

        if (ret || !g || !g->tgid || (__u32)child->tgid != g->tgid || !(mode & TRACE_ATTACH))
                return ret;
        return allow_or_deny(is_trusted(g));
}

/* prlimit(2): a limit of processor time or of open files ends it, too. */
SEC("lsm/task_setrlimit")
int BPF_PROG(oc_guard_limit, struct task_struct *task, unsigned int resource, void *limit, int ret)
{
        struct oc_guard *g = guard();

        if (ret || !g || !g->tgid || (__u32)task->tgid != g->tgid)
                return ret;
        return allow_or_deny(is_order(g));
}

/* The id of the object behind a descriptor; of one that is no such object, of no consequence. */
static bool is_guarded_fd(__u64 kind, __u32 fd)
{
        struct task_struct *task = bpf_get_current_task_btf();
        struct fdtable *table = BPF_CORE_READ(task, files, fdt);
        struct file **files = BPF_CORE_READ(table, fd), *file = NULL;
        __u32 id = 0;

        if (fd >= BPF_CORE_READ(table, max_fds) || bpf_probe_read_kernel(&file, sizeof(file), files + fd) || !file)
                return false;
        void *object = BPF_CORE_READ(file, private_data);
        if (kind == OC_GUARDED_LINK)
                bpf_core_read(&id, sizeof(id), &((struct bpf_link___kernel *)object)->id);
        else
                bpf_core_read(&id, sizeof(id), &((struct bpf_map___kernel *)object)->id);
        return is_guarded(kind, id);
}

static bool reaches_for_ours(int cmd, union bpf_attr *attr)
{
        __u32 first = 0, batch = 0;

        bpf_probe_read_kernel(&first, sizeof(first), attr); /* link_fd, map_fd: the first member */
        bpf_probe_read_kernel(&batch, sizeof(batch), (char *)attr + offsetof(union bpf_attr, batch.map_fd));
        switch (cmd) {
        case BPF_LINK_DETACH:
        case BPF_LINK_UPDATE:
                return is_guarded_fd(OC_GUARDED_LINK, first);
        case BPF_MAP_UPDATE_ELEM:
        case BPF_MAP_DELETE_ELEM:
        case BPF_MAP_LOOKUP_AND_DELETE_ELEM:
        case BPF_MAP_FREEZE:
                return is_guarded_fd(OC_GUARDED_MAP, first);
        case BPF_MAP_UPDATE_BATCH:
        case BPF_MAP_DELETE_BATCH:
        case BPF_MAP_LOOKUP_AND_DELETE_BATCH:
                return is_guarded_fd(OC_GUARDED_MAP, batch);
        default: /* not an enum that this file owns */
                return false;
        }
}

/* Also learns what the agent's executable is, from the agent's first call. */
SEC("lsm/bpf")
int BPF_PROG(oc_guard_bpf, int cmd, union bpf_attr *attr, unsigned int size)
{
        struct oc_guard *g = guard();

        if (!g || !g->armed)
                return 0;
        if (g->tgid == current_tgid()) {
                struct inode *exe = g->exe_ino ? NULL : current_exe();
                if (exe) {
                        g->exe_dev = BPF_CORE_READ(exe, i_sb, s_dev);
                        g->exe_ino = BPF_CORE_READ(exe, i_ino);
                }
                return 0;
        }
        return allow_or_deny(is_trusted(g) || !reaches_for_ours(cmd, attr));
}

/* Somebody else's program that would write our maps; ours may be looked at. */
SEC("lsm/bpf_prog")
int BPF_PROG(oc_guard_prog, struct bpf_prog *prog, int ret)
{
        struct bpf_prog_aux *aux = BPF_CORE_READ(prog, aux);
        struct bpf_map___kernel **maps = BPF_CORE_READ(aux, used_maps);
        __u32 n = BPF_CORE_READ(aux, used_map_cnt);
        struct oc_guard *g = guard();

        if (ret || is_trusted(g) || is_guarded(OC_GUARDED_PROGRAM, BPF_CORE_READ(aux, id)))
                return ret;
        for (__u32 i = 0; i < USED_MAPS_MAX && i < n; i++) {
                struct bpf_map___kernel *map = NULL;

                bpf_probe_read_kernel(&map, sizeof(map), maps + i);
                if (is_guarded(OC_GUARDED_MAP, BPF_CORE_READ(map, id)))
                        return -EPERM;
        }
        return 0;
}

char LICENSE[] SEC("license") = "GPL";
