/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* What BPF LSM keeps from everybody, and who may all the same. */
#include <stddef.h>
#include "bpf/rules.h"

#define S_IFMT  0170000
#define S_IFDIR 0040000

/* By a branch of its own: clang would negate a flag, and the verifier sees no bound of that. */
static __always_inline int allow_or_deny(bool allow)
{
        if (allow)
                return 0;
        barrier();
        return -EPERM;
}

static __always_inline struct oc_guard *guard(void)
{
        __u32 zero = 0;
        return bpf_map_lookup_elem(&oc_guard, &zero);
}

static __always_inline __u32 current_tgid(void)
{
        return bpf_get_current_pid_tgid() >> 32;
}

static __always_inline struct inode *current_exe(void)
{
        struct task_struct *task = bpf_get_current_task_btf();
        return BPF_CORE_READ(task, mm, exe_file, f_inode);
}

/* The agent itself; while there is none, the program that it was. */
static __always_inline bool is_trusted(const struct oc_guard *g)
{
        if (!g || !g->armed || g->tgid == current_tgid())
                return true;
        if (g->tgid != 0)
                return false;
        struct inode *exe = current_exe();
        return exe && BPF_CORE_READ(exe, i_ino) == g->exe_ino && BPF_CORE_READ(exe, i_sb, s_dev) == g->exe_dev;
}

/* Process 1 and the agent's parent may do what an order to the service manager amounts to. */
static __always_inline bool is_order(const struct oc_guard *g)
{
        __u32 sender = current_tgid();
        return is_trusted(g) || sender == 1 || sender == g->supervisor;
}

static __always_inline bool is_guarded(__u64 kind, __u64 id)
{
        struct oc_guarded_key k = {.kind = kind, .id = id};
        return bpf_map_lookup_elem(&oc_guarded, &k);
}

/* Folders only: overlayfs gives a file the number of the file below, which a folder may have as well. */
static __always_inline bool is_guarded_inode(__u64 kind, struct inode *inode)
{
        return inode && (BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFDIR &&
               is_guarded(kind | BPF_CORE_READ(inode, i_sb, s_dev), BPF_CORE_READ(inode, i_ino));
}
