// SPDX-License-Identifier: GPL-2.0-or-later
/* Programs: which channel one belongs to, whether it may start, and which processes run it. */
#include "bpf/person.h"
#include "bpf/rules.h"

#define PATH_BYTES_MAX   4096
#define CGROUP_NAME_SIZE 128
#define PR_SET_MM        35 /* linux/prctl.h */

__u32 oc_probe_tgid; /* a child of the agent that only asks whether the LSM hook fires */

struct path_walk {
        const char *path;
        struct oc_name_key key; /* of what follows the last slash */
};

static long path_step(__u32 i, struct path_walk *w)
{
        __u8 c;

        if (bpf_probe_read_kernel(&c, 1, w->path + i) || !c)
                return 1;
        if (c == '/')
                oc_key_init(&w->key);
        else
                oc_key_byte(&w->key, c);
        return 0;
}

static bool find_base_name(const struct oc_rules *r, const char *path, struct oc_match *ret)
{
        struct path_walk w = {.path = path};

        oc_key_init(&w.key);
        bpf_loop(PATH_BYTES_MAX, path_step, &w, 0);
        const struct oc_match *m = rules_find_key(r, &w.key, OC_KEY_PROGRAM);
        if (m)
                *ret = *m;
        return m;
}

struct cgroup_walk {
        char name[CGROUP_NAME_SIZE];
        struct oc_name_key key;
        struct oc_name_key id; /* Flatpak: up to the last dash */
        __u32 flatpak;
};

/* "app-flatpak-ID-PID.scope", "snap.NAME.APP…": from behind the prefix. */
static long cgroup_step(__u32 i, struct cgroup_walk *w)
{
        __u32 at = i + (w->flatpak ? sizeof("app-flatpak-") : sizeof("snap.")) - 1;

        if (at >= CGROUP_NAME_SIZE)
                return 1;
        char c = w->name[at];
        if (!c || (!w->flatpak && c == '.'))
                return 1;
        if (c == '-')
                w->id = w->key;
        oc_key_byte(&w->key, c);
        return 0;
}

static bool find_application(const struct oc_rules *r, struct oc_match *ret)
{
        struct task_struct *task = (void *)bpf_get_current_task_btf();
        struct cgroup_walk w = {};

        if (bpf_probe_read_kernel_str(w.name, sizeof(w.name), task->cgroups->dfl_cgrp->kn->name) < 0)
                return false;
        /* word by word: clang calls no memcmp() then */
        w.flatpak = __builtin_memcmp(w.name, "app-flat", 8) == 0 && __builtin_memcmp(w.name + 8, "pak-", 4) == 0;
        if (!w.flatpak && !(__builtin_memcmp(w.name, "snap", 4) == 0 && w.name[4] == '.'))
                return false;
        oc_key_init(&w.key);
        bpf_loop(CGROUP_NAME_SIZE, cgroup_step, &w, 0);
        const struct oc_match *m =
                rules_find_key(r, w.flatpak ? &w.id : &w.key, w.flatpak ? OC_KEY_FLATPAK : OC_KEY_SNAP);
        if (m)
                *ret = *m;
        return m;
}

struct start {
        struct oc_rules rules;
        struct oc_exe exe;
        struct oc_match match; /* channel 0: none */
        struct oc_verdict verdict;
        __u32 uid;
        bool unknown; /* user space should look at it */
};

/* Its user may change what lies below it (the lower layer of an overlay, the image or the stick that a file system is on),
 * and another content has the same identity: mounted in a user namespace, or as desktops mount what people bring. */
static __always_inline bool is_foreign(struct linux_binprm *bprm)
{
        int flags = bprm->file->f_path.mnt->mnt_flags, by_user = MNT_NOSUID | MNT_NODEV;

        return (flags & by_user) == by_user || bprm->file->f_inode->i_sb->s_user_ns->level > 0;
}

static __always_inline struct oc_exe exe_of(struct linux_binprm *bprm)
{
        struct inode *inode = bprm->file->f_inode;
        struct oc_exe exe = {.dev = inode->i_sb->s_dev, .ino = inode->i_ino, .ctime_ns = inode_ctime_ns(inode)};
        __u64 address = 0;

        if (inode->i_sb->s_magic == FUSE_SUPER_MAGIC) /* it may show any content under any identity */
                return (struct oc_exe){};
        if (is_foreign(bprm))
                exe.dev |= OC_EXE_FOREIGN;
        /* its subvolumes have the same numbers */
        if (inode->i_sb->s_magic == BTRFS_SUPER_MAGIC &&
            bpf_core_read(&address, sizeof(address), &bprm->file->f_inode) == 0)
                exe.dev ^= address << 16 >> 1;
        return exe;
}

/* The application's id first, then what user space found out, then the names. */
static __noinline void start_identify(struct linux_binprm *bprm, struct start *s)
{
        struct task_struct *task = (void *)bpf_get_current_task_btf();

        s->rules = rules_active();
        s->exe = exe_of(bprm);
        s->uid = person_of(task);

        const struct oc_match *cached = bpf_map_lookup_elem(&oc_exes, &s->exe);
        if (find_application(&s->rules, &s->match))
                ;
        else if (cached && cached->channel)
                s->match = *cached;
        else if (!find_base_name(&s->rules, bprm->filename, &s->match) &&
                 !find_base_name(&s->rules, (const char *)bprm->file->f_path.dentry->d_name.name, &s->match))
                s->unknown = !cached || cached->flags & OC_MATCH_ARGV;
        if (s->match.channel)
                s->verdict = rules_verdict(&s->rules, s->match.channel, s->uid);
}

static __noinline void start_report(struct linux_binprm *bprm, const struct start *s, enum event_action action)
{
        struct event_exec *e = event_reserve(EVENT_EXEC, sizeof(*e), s->rules.generation);

        if (!e)
                return;
        event_set_match(&e->head, &s->match, OC_TIER_PROGRAM);
        e->head.action = action;
        e->head.tgid = bpf_get_current_pid_tgid() >> 32;
        e->head.uid = s->uid;
        bpf_get_current_comm(e->head.comm, sizeof(e->head.comm));
        e->exe = s->exe;
        bpf_probe_read_kernel_str(e->path, sizeof(e->path), bprm->filename);
        bpf_ringbuf_submit(e, 0);
}

/* Also called for each interpreter of a script; bprm->filename stays the script. */
SEC("lsm/bprm_check_security")
int BPF_PROG(oc_exec_check, struct linux_binprm *bprm, int ret)
{
        struct start s = {};

        if (ret)
                return ret;
        if (oc_probe_tgid && oc_probe_tgid == bpf_get_current_pid_tgid() >> 32)
                return -EPERM;
        if (bpf_current_task_under_cgroup(&oc_scope, 0) != 1)
                return 0;
        start_identify(bprm, &s);
        if (!s.match.channel || s.verdict.programs != OC_BLOCK)
                return 0;
        start_report(bprm, &s, ACTION_DENIED);
        return -EPERM;
}

static __noinline void process_remember(struct linux_binprm *bprm, const struct start *s, __u32 tgid)
{
        static const struct oc_proc none;
        struct oc_task task = {.match = s->match, .catalogue = s->rules.catalogue};

        if (bpf_map_update_elem(&oc_procs, &tgid, &none, BPF_ANY) == 0) {
                struct oc_proc *p = bpf_map_lookup_elem(&oc_procs, &tgid);
                if (p) {
                        p->exec_ns = bpf_ktime_get_boot_ns();
                        bpf_probe_read_kernel_str(p->path, sizeof(p->path), bprm->filename);
                }
        }
        if (!s->match.channel)
                bpf_map_delete_elem(&oc_tasks, &tgid);
        else
                task_put(tgid, &task);
}

/* Process 1 becomes another program, for shutdown say: what an agent that was killed has left must not be in its way. */
static void let_go_of_the_dead(void)
{
        __u32 zero = 0;
        struct oc_guard *g = bpf_map_lookup_elem(&oc_guard, &zero);

        if (g && !g->tgid)
                g->armed = 0;
}

/* The new image has not run an instruction yet: a SIGKILL now is in time. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(oc_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
        struct start s = {};

        if (task->tgid == 1)
                let_go_of_the_dead();
        if (bpf_current_task_under_cgroup(&oc_scope, 0) != 1)
                return 0;
        start_identify(bprm, &s);
        process_remember(bprm, &s, task->tgid);
        if (s.match.channel && s.verdict.programs == OC_BLOCK) {
                bpf_send_signal(9);
                start_report(bprm, &s, ACTION_KILLED);
        } else if (s.unknown || (s.match.channel && s.verdict.programs == OC_WATCH)) {
                start_report(bprm, &s, ACTION_PASSED);
        }
        return 0;
}

/* PR_SET_MM_MAP: in a user namespace of their own people choose what /proc/PID/exe says, and the agent, which looks there,
 * would find another program. What is asked for could be changed until the kernel looks, so nothing of it is had there.
 * The hook has its say where BPF LSM does not fire as well (Linux 5.7). */
SEC("fmod_ret/security_task_prctl")
int BPF_PROG(oc_keep_exe, int option)
{
        struct task_struct *task = bpf_get_current_task_btf();

        if (option != PR_SET_MM || task->cred->user_ns->level == 0 ||
            bpf_current_task_under_cgroup(&oc_scope, 0) != 1)
                return 0;
        return -EPERM;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(oc_fork, struct task_struct *parent, struct task_struct *child)
{
        __u32 from = parent->tgid, to = child->tgid;

        if (from == to)
                return 0;
        struct oc_task *t = task_find(from);
        if (t)
                task_put(to, t);
        return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(oc_exit, struct task_struct *task)
{
        __u32 tgid = task->tgid;

        if (task->signal->live.counter != 0)
                return 0;
        bpf_map_delete_elem(&oc_tasks, &tgid);
        __u32 zero = 0;
        struct oc_guard *g = bpf_map_lookup_elem(&oc_guard, &zero);
        if (g && g->tgid == tgid)
                g->tgid = 0;
        return 0;
}

char LICENSE[] SEC("license") = "GPL";
