// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent's folders against root: nobody else removes, makes, renames, writes or changes what lies in them, mounts
 * over them or takes their file systems away, or writes the files of /proc and of cgroups that end or throttle the agent. */
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include "bpf/guard.h"

#define FMODE_WRITE    2 /* linux/fs.h of the kernel */
#define MNT_SHARED     0x1000 /* linux/mount.h of the kernel */
#define MS_PROPAGATION (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)

/* The folder, or what lies in the folder. */
static __always_inline bool is_ours(struct inode *dir, struct dentry *entry)
{
        return is_guarded_inode(OC_GUARDED_FOLDER, dir) ||
               is_guarded_inode(OC_GUARDED_FOLDER, BPF_CORE_READ(entry, d_inode));
}

static __always_inline int judge(struct inode *dir, struct dentry *entry, int ret)
{
        struct oc_guard *g = guard();

        if (ret || !g || !g->armed || !is_ours(dir, entry))
                return ret;
        return allow_or_deny(is_trusted(g));
}

SEC("lsm/inode_unlink")
int BPF_PROG(oc_guard_unlink, struct inode *dir, struct dentry *entry, int ret)
{
        return judge(dir, entry, ret);
}

SEC("lsm/inode_rmdir")
int BPF_PROG(oc_guard_rmdir, struct inode *dir, struct dentry *entry, int ret)
{
        return judge(dir, entry, ret);
}

SEC("lsm/inode_create")
int BPF_PROG(oc_guard_create, struct inode *dir, struct dentry *entry, __u16 mode, int ret)
{
        return judge(dir, entry, ret);
}

SEC("lsm/inode_mkdir")
int BPF_PROG(oc_guard_mkdir, struct inode *dir, struct dentry *entry, __u16 mode, int ret)
{
        return judge(dir, entry, ret);
}

SEC("lsm/inode_mknod")
int BPF_PROG(oc_guard_mknod, struct inode *dir, struct dentry *entry, __u16 mode, __u32 dev, int ret)
{
        return judge(dir, entry, ret);
}

SEC("lsm/inode_symlink")
int BPF_PROG(oc_guard_symlnk, struct inode *dir, struct dentry *entry, const char *to, int ret)
{
        return judge(dir, entry, ret);
}

/* A second name would be one by which the file can be written. */
SEC("lsm/inode_link")
int BPF_PROG(oc_guard_link, struct dentry *old, struct inode *dir, struct dentry *entry, int ret)
{
        return judge(BPF_CORE_READ(old, d_parent, d_inode), old, judge(dir, entry, ret));
}

SEC("lsm/inode_rename")
int BPF_PROG(oc_guard_rename, struct inode *dir, struct dentry *entry, struct inode *to_dir, struct dentry *to,
             int ret)
{
        return judge(to_dir, to, judge(dir, entry, ret));
}

/* Mode, owner, size, times. The dentry is the last argument but one: Linux 6.10 put the mount's idmap before it. */
SEC("lsm/inode_setattr")
int oc_guard_attr(void *ctx)
{
        __u64 entry = 0;

        bpf_get_func_arg(ctx, bpf_get_func_arg_cnt(ctx) - 2, &entry);
        struct dentry *d = (struct dentry *)entry;
        return judge(BPF_CORE_READ(d, d_parent, d_inode), d, 0);
}

/* chattr(1): what is immutable cannot be written by the agent either. */
SEC("lsm/file_ioctl")
int BPF_PROG(oc_guard_ioctl, struct file *file, unsigned int cmd, unsigned long arg, int ret)
{
        struct dentry *d = BPF_CORE_READ(file, f_path.dentry);

        if (cmd != FS_IOC_SETFLAGS && cmd != FS_IOC32_SETFLAGS && cmd != FS_IOC_FSSETXATTR)
                return ret;
        return judge(BPF_CORE_READ(d, d_parent, d_inode), d, ret);
}

static __always_inline struct mount *real_mount(struct vfsmount *mnt)
{
        return (void *)((char *)mnt - bpf_core_field_offset(struct mount, mnt));
}

/* Which no other mount gets, ever: numbers of Linux before 6.8 are given out again, those of namespaces are not. */
static __always_inline __u64 mount_identity(struct mount *m)
{
        if (bpf_core_field_exists(m->mnt_id_unique))
                return BPF_CORE_READ(m, mnt_id_unique);
        return BPF_CORE_READ(m, mnt_ns, seq) << 32 | (__u32)BPF_CORE_READ(m, mnt_id);
}

static void learn(__u64 kind, __u64 id)
{
        struct oc_guarded_key k = {.kind = kind, .id = id};
        __u8 one = 1;

        bpf_map_update_elem(&oc_guarded, &k, &one, BPF_ANY);
}

/* A folder that the agent opens while it tells what is its own, and where that is mounted. */
static void learn_folder(struct file *file, __u32 learning)
{
        struct inode *dir = BPF_CORE_READ(file, f_inode);
        struct mount *m = real_mount(BPF_CORE_READ(file, f_path.mnt));
        struct inode *point = BPF_CORE_READ(m, mnt_mountpoint, d_inode);
        __u64 kind = learning == OC_LEARN_FOLDER   ? OC_GUARDED_FOLDER
                     : learning == OC_LEARN_CGROUP ? OC_GUARDED_CGROUP
                                                   : OC_GUARDED_ABOVE;

        learn(kind | BPF_CORE_READ(dir, i_sb, s_dev), BPF_CORE_READ(dir, i_ino));
        if (learning == OC_LEARN_CGROUP)
                return;
        learn(OC_GUARDED_MOUNT, mount_identity(m));
        if (point)
                learn(OC_GUARDED_POINT | BPF_CORE_READ(point, i_sb, s_dev), BPF_CORE_READ(point, i_ino));
}

/* Files of a cgroup above the agent by which it is ended, stopped or starved. */
static bool is_lever(struct dentry *d)
{
        char name[16] = {};

        bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(d, d_name.name));
        return !bpf_strncmp(name, sizeof(name), "cgroup.kill") || !bpf_strncmp(name, sizeof(name), "cgroup.freeze") ||
               !bpf_strncmp(name, sizeof(name), "memory.max") || !bpf_strncmp(name, sizeof(name), "memory.high") ||
               !bpf_strncmp(name, sizeof(name), "pids.max") || !bpf_strncmp(name, sizeof(name), "cpu.max");
}

/* A file below /proc/PID of the agent, or of one of its threads. */
static bool is_its_proc(struct inode *inode, const struct oc_guard *g)
{
        if (BPF_CORE_READ(inode, i_sb, s_magic) != PROC_SUPER_MAGIC)
                return false;
        struct proc_inode *p = (void *)((char *)inode - bpf_core_field_offset(struct proc_inode, vfs_inode));
        struct pid *pid = BPF_CORE_READ(p, pid);
        struct hlist_node *node = pid ? BPF_CORE_READ(pid, tasks[0].first) : NULL;
        struct task_struct *task = (void *)((char *)node - bpf_core_field_offset(struct task_struct, pid_links));

        return node && (__u32)BPF_CORE_READ(task, tgid) == g->tgid;
}

SEC("lsm/file_open")
int BPF_PROG(oc_guard_open, struct file *file, int ret)
{
        struct oc_guard *g = guard();

        if (ret || !g)
                return ret;
        if (g->learning && g->tgid == current_tgid() && (file->f_inode->i_mode & S_IFMT) == S_IFDIR)
                learn_folder(file, g->learning);
        if (!(file->f_mode & FMODE_WRITE) || !g->armed)
                return 0;
        struct dentry *d = BPF_CORE_READ(file, f_path.dentry);
        struct inode *dir = BPF_CORE_READ(d, d_parent, d_inode);
        if (is_guarded_inode(OC_GUARDED_FOLDER, dir))
                return allow_or_deny(is_trusted(g));
        if ((is_guarded_inode(OC_GUARDED_CGROUP, dir) && is_lever(d)) || is_its_proc(file->f_inode, g))
                return allow_or_deny(is_order(g));
        return 0;
}

/* Neither over a folder nor over what is above it: in a mount through which the agent, or its parent, reaches the folder, or
 * one from which mounts come there. Elsewhere, a container say, everybody mounts what they like. */
static __always_inline int judge_mount(const struct path *path, unsigned long flags)
{
        struct oc_guard *g = guard();
        struct dentry *d = BPF_CORE_READ(path, dentry);
        struct inode *inode = BPF_CORE_READ(d, d_inode);
        struct mount *m = real_mount(BPF_CORE_READ(path, mnt));

        if (!g || !g->armed || is_order(g))
                return 0;
        if (!is_ours(BPF_CORE_READ(d, d_parent, d_inode), d) && !is_guarded_inode(OC_GUARDED_ABOVE, inode))
                return 0;
        bool known = is_guarded(OC_GUARDED_MOUNT, mount_identity(m));
        if (flags & MS_REMOUNT)
                return allow_or_deny(!(flags & MS_RDONLY) || (!known && (flags & MS_BIND)));
        if (flags & MS_PROPAGATION)
                return allow_or_deny(!known);
        return allow_or_deny(!known && !(BPF_CORE_READ(m, mnt.mnt_flags) & MNT_SHARED));
}

SEC("lsm/sb_mount")
int BPF_PROG(oc_guard_mount, const char *what, const struct path *path, const char *type, unsigned long flags,
             void *data, int ret)
{
        return ret ? ret : judge_mount(path, flags);
}

SEC("lsm/move_mount")
int BPF_PROG(oc_guard_move, const struct path *from, const struct path *to, int ret)
{
        struct oc_guard *g = guard();
        struct mount *m = real_mount(BPF_CORE_READ(from, mnt));

        if (ret || !g || !g->armed)
                return ret;
        if (is_guarded(OC_GUARDED_MOUNT, mount_identity(m)) && !is_order(g))
                return -EPERM;
        return judge_mount(to, 0);
}

SEC("lsm/sb_umount")
int BPF_PROG(oc_guard_umount, struct vfsmount *mnt, int flags, int ret)
{
        struct oc_guard *g = guard();
        struct mount *m = real_mount(mnt);

        if (ret || !g || !g->armed || !is_guarded_inode(OC_GUARDED_POINT, BPF_CORE_READ(m, mnt_mountpoint, d_inode)))
                return ret;
        if (!is_guarded(OC_GUARDED_MOUNT, mount_identity(m)) &&
            !(BPF_CORE_READ(m, mnt_parent, mnt.mnt_flags) & MNT_SHARED))
                return 0;
        return allow_or_deny(is_order(g));
}

char LICENSE[] SEC("license") = "GPL";
