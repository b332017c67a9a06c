// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent against root: while it runs, or was ended without an order, nobody but itself signals or
 * traces it, takes its links and maps apart, or removes or writes what lies in its folders. */
#include <stddef.h>
#include "bpf/rules.h"

#define S_IFMT       0170000
#define S_IFDIR      0040000
#define FMODE_WRITE  2 /* linux/fs.h */
#define TRACE_ATTACH 2 /* linux/ptrace.h, PTRACE_MODE_ATTACH */
#define SIGNAL_HUP   1
#define SIGNAL_CHLD  17
#define SIGNAL_CONT  18

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

static struct inode *current_exe(void)
{
        struct task_struct *task = bpf_get_current_task_btf();
        return BPF_CORE_READ(task, mm, exe_file, f_inode);
}

/* The agent itself; while there is none, the program that it was. */
static bool is_trusted(const struct oc_guard *g)
{
        if (!g || !g->armed || g->tgid == current_tgid())
                return true;
        if (g->tgid != 0)
                return false;
        struct inode *exe = current_exe();
        return exe && BPF_CORE_READ(exe, i_ino) == g->exe_ino && BPF_CORE_READ(exe, i_sb, s_dev) == g->exe_dev;
}

static bool is_guarded(__u64 kind, __u64 id)
{
        struct oc_guarded_key k = {.kind = kind, .id = id};
        return bpf_map_lookup_elem(&oc_guarded, &k);
}

static bool is_guarded_folder(struct inode *dir)
{
        return dir && is_guarded(OC_GUARDED_FOLDER | BPF_CORE_READ(dir, i_sb, s_dev), BPF_CORE_READ(dir, i_ino));
}

/* HUP: `systemctl reload` sends it from a process of its own. */
SEC("lsm/task_kill")
int BPF_PROG(oc_guard_kill, struct task_struct *task, void *info, int sig, void *cred, int ret)
{
        struct oc_guard *g = guard();
        __u32 sender = current_tgid();

        if (ret || !g || !g->armed || !g->tgid || (__u32)task->tgid != g->tgid)
                return ret;
        if (sig == 0 || sig == SIGNAL_HUP || sig == SIGNAL_CHLD || sig == SIGNAL_CONT)
                return 0;
        return allow_or_deny(sender == g->tgid || sender == 1 || sender == g->supervisor);
}

SEC("lsm/ptrace_access_check")
int BPF_PROG(oc_guard_trace, struct task_struct *child, unsigned int mode, int ret)
{
        struct oc_guard *g = guard();

        if (ret || !g || !g->tgid || (__u32)child->tgid != g->tgid || !(mode & TRACE_ATTACH))
                return ret;
        return allow_or_deny(is_trusted(g));
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

static __always_inline int judge_removal(struct inode *dir, struct dentry *entry)
{
        struct oc_guard *g = guard();

        if (!g || !g->armed || (!is_guarded_folder(dir) && !is_guarded_folder(BPF_CORE_READ(entry, d_inode))))
                return 0;
        return allow_or_deny(is_trusted(g));
}

SEC("lsm/inode_unlink")
int BPF_PROG(oc_guard_unlink, struct inode *dir, struct dentry *entry, int ret)
{
        return ret ? ret : judge_removal(dir, entry);
}

SEC("lsm/inode_rmdir")
int BPF_PROG(oc_guard_rmdir, struct inode *dir, struct dentry *entry, int ret)
{
        return ret ? ret : judge_removal(dir, entry);
}

SEC("lsm/inode_rename")
int BPF_PROG(oc_guard_rename, struct inode *dir, struct dentry *entry, struct inode *to_dir, struct dentry *to,
             int ret)
{
        if (!ret)
                ret = judge_removal(dir, entry);
        return ret ? ret : judge_removal(to_dir, to);
}

SEC("lsm/path_truncate")
int BPF_PROG(oc_guard_trunc, const struct path *path, int ret)
{
        struct inode *dir = BPF_CORE_READ(path, dentry, d_parent, d_inode);
        struct oc_guard *g = guard();

        if (ret || !g || !g->armed || !is_guarded_folder(dir))
                return ret;
        return allow_or_deny(is_trusted(g));
}

static void learn_folder(struct inode *dir)
{
        struct oc_guarded_key k = {.kind = OC_GUARDED_FOLDER | dir->i_sb->s_dev, .id = dir->i_ino};
        __u8 one = 1;

        bpf_map_update_elem(&oc_guarded, &k, &one, BPF_ANY);
}

SEC("lsm/file_open")
int BPF_PROG(oc_guard_open, struct file *file, int ret)
{
        struct oc_guard *g = guard();

        if (ret || !g)
                return ret;
        if (g->learning && g->tgid == current_tgid() && (file->f_inode->i_mode & S_IFMT) == S_IFDIR)
                learn_folder(file->f_inode);
        if (!(file->f_mode & FMODE_WRITE) || !g->armed ||
            !is_guarded_folder(BPF_CORE_READ(file, f_path.dentry, d_parent, d_inode)))
                return 0;
        return allow_or_deny(is_trusted(g));
}

char LICENSE[] SEC("license") = "GPL";
