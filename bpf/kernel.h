/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The kernel's structs, each with only the fields read; the loader relocates them (CO-RE). */
#include <linux/types.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define EPERM             1
#define AF_INET           2
#define AF_INET6          10
#define SOL_SOCKET        1
#define SO_MARK           36
#define FUSE_SUPER_MAGIC  0x65735546
#define BTRFS_SUPER_MAGIC 0x9123683E
#define MNT_NOSUID        0x01
#define MNT_NODEV         0x02

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct kernfs_node {
        const char *name;
        __u64 id;
};
struct cgroup {
        struct kernfs_node *kn;
        int level;
        struct cgroup *ancestors[]; /* Linux 6.1 */
};
struct css_set {
        struct cgroup *dfl_cgrp; /* in the cgroup v2 hierarchy */
};
struct signal_struct {
        struct {
                int counter;
        } live; /* threads */
};
struct user_namespace {
        struct user_namespace *parent;
        int level; /* 0: the first one */
        struct {
                __u32 val;
        } owner;
};
struct cred {
        struct {
                __u32 val;
        } uid;
        struct user_namespace *user_ns;
};
struct file;
struct socket;
struct mm_struct {
        struct file *exe_file;
};
struct fdtable {
        unsigned int max_fds;
        struct file **fd;
};
struct files_struct {
        struct fdtable *fdt;
};
struct bpf_map___kernel {
        __u32 id;
};
struct bpf_link___kernel {
        __u32 id;
};
struct bpf_prog_aux {
        __u32 id;
        __u32 used_map_cnt;
        struct bpf_map___kernel **used_maps;
};
struct bpf_prog {
        struct bpf_prog_aux *aux;
};
struct hlist_node {
        struct hlist_node *next;
};
struct hlist_head {
        struct hlist_node *first;
};
struct pid {
        struct hlist_head tasks[1]; /* the first kind: the thread of that number */
};
struct task_struct {
        int tgid;
        struct mm_struct *mm;
        struct files_struct *files;
        char comm[16];
        const struct cred *cred;
        struct signal_struct *signal;
        struct css_set *cgroups;
        struct hlist_node pid_links[1];
};
struct super_block {
        __u32 s_dev;
        unsigned long s_magic;
        struct user_namespace *s_user_ns; /* of who mounted it first */
};
struct timespec64 {
        __s64 tv_sec;
        long tv_nsec;
};
struct inode {
        __u16 i_mode;
        struct super_block *i_sb;
        unsigned long i_ino;
        struct timespec64 i_ctime;
};
struct inode___v66 {
        struct timespec64 __i_ctime;
};
struct inode___v611 {
        __s64 i_ctime_sec;
        __u32 i_ctime_nsec;
};
struct qstr {
        const unsigned char *name;
};
struct dentry {
        struct dentry *d_parent;
        struct inode *d_inode;
        struct qstr d_name;
};
struct vfsmount {
        int mnt_flags;
};
struct mnt_namespace {
        __u64 seq; /* Linux before 6.18 */
};
struct mount {
        struct mount *mnt_parent;
        struct dentry *mnt_mountpoint;
        struct vfsmount mnt;
        struct mnt_namespace *mnt_ns;
        int mnt_id;
        __u64 mnt_id_unique; /* Linux 6.8 */
};
struct path {
        struct vfsmount *mnt;
        struct dentry *dentry;
};
struct proc_inode {
        struct pid *pid;
        struct inode vfs_inode;
};
struct file {
        __u32 f_mode;
        struct path f_path;
        struct inode *f_inode;
        const struct cred *f_cred; /* of who opened it */
        void *private_data;
};
struct net {
        __u64 net_cookie;
};
struct in6_addr___kernel { /* <linux/in6.h> has one without relocations */
        union {
                __u32 u6_addr32[4];
        } in6_u;
};
struct sock_common {
        __u32 skc_daddr;
        __u32 skc_rcv_saddr;
        __u16 skc_dport; /* network byte order */
        __u16 skc_num;
        unsigned short skc_family;
        volatile unsigned char skc_state;
        struct {
                struct net *net;
        } skc_net;
        struct in6_addr___kernel skc_v6_daddr;
        struct in6_addr___kernel skc_v6_rcv_saddr;
};
struct sock {
        struct sock_common __sk_common;
        struct socket *sk_socket;
        __u16 sk_protocol;
        struct {
                __u32 val;
        } sk_uid;
};
struct socket {
        struct file *file;
        struct sock *sk;
};
struct mptcp_sock {
        struct sock *first; /* the path that the connection began with */
};
struct skb_frag___kernel {
        __u32 len;
};
struct sk_buff;
struct skb_shared_info {
        __u8 flags;
        __u8 nr_frags;
        struct sk_buff *frag_list;
        struct skb_frag___kernel frags[1];
};
struct sk_buff {
        struct sk_buff *next;
        struct sock *sk;
        unsigned int end;
        unsigned char *head;
};
struct page {
        unsigned long compound_head;
        struct {
                int counter;
        } _mapcount;
};
struct bpf_iter_meta;
struct bpf_iter__task_file {
        struct bpf_iter_meta *meta;
        struct task_struct *task;
        __u32 fd;
        struct file *file;
};
struct linux_binprm {
        struct file *file;
        const char *filename;
};
#pragma clang attribute pop

enum pageflags {
        PG_uptodate = 2,
};

/* The last change of a file's content or owner. Linux 6.6, 13bc24457850: i_ctime became
 * __i_ctime; 6.11, 3aa63a569c64: seconds and nanoseconds; 6.13, 4e40eff0b573: the top bit
 * of the nanoseconds is a flag. */
static __always_inline __u64 inode_ctime_ns(struct inode *inode)
{
        struct inode___v611 *v611 = (void *)inode;
        struct inode___v66 *v66 = (void *)inode;

        if (bpf_core_field_exists(v611->i_ctime_sec))
                return (__u64)v611->i_ctime_sec * 1000000000 + (v611->i_ctime_nsec & 0x7fffffff);
        if (bpf_core_field_exists(v66->__i_ctime))
                return (__u64)v66->__i_ctime.tv_sec * 1000000000 + v66->__i_ctime.tv_nsec;
        return (__u64)inode->i_ctime.tv_sec * 1000000000 + inode->i_ctime.tv_nsec;
}

/* The connection that a socket is a part of; NULL: not MPTCP. (Linux 5.19; a kernel without MPTCP has no such type.) */
static __always_inline struct mptcp_sock *mptcp_of(void *sk)
{
        return bpf_core_type_exists(struct mptcp_sock) && sk ? bpf_skc_to_mptcp_sock(sk) : NULL;
}
