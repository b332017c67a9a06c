/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What this machine lacks, in words. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include "agent/watch/internal.h"

#define KERNEL_MAJOR 6
#define KERNEL_MINOR 1

static bool is_on(const char *path, unsigned long magic)
{
        struct statfs s;
        return statfs(path, &s) == 0 && (unsigned long)s.f_type == magic;
}

/* proc(5) mountinfo: "36 35 98:0 ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS". */
static int find_cgroup2(char *ret, size_t size)
{
        _cleanup_file_ FILE *f = fopen("/proc/self/mountinfo", "re");
        _cleanup_free_ char *line = NULL;
        size_t n = 0;

        if (!f)
                return -errno;
        while (getline(&line, &n, f) > 0) {
                _cleanup_free_ char *root = NULL, *point = NULL;

                if (!strstr(line, " - cgroup2 ") || sscanf(line, "%*s %*s %*s %ms %ms", &root, &point) != 2)
                        continue;
                if (strcmp(root, "/") == 0 && is_on(point, CGROUP2_SUPER_MAGIC))
                        return snprintf(ret, size, "%s", point) < (int)size ? 0 : -ENAMETOOLONG;
        }
        return -ENOENT;
}

int watch_cgroup_path(const struct watch_options *o, char *ret, size_t size)
{
        if (!o->cgroup)
                return find_cgroup2(ret, size);
        if (!is_on(o->cgroup, CGROUP2_SUPER_MAGIC))
                return -ENOENT;
        return snprintf(ret, size, "%s", o->cgroup) < (int)size ? 0 : -ENAMETOOLONG;
}

static bool has_capabilities(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[2] = {};

        if (syscall(SYS_capget, &header, data) < 0)
                return false;
        uint64_t have = data[0].effective | (uint64_t)data[1].effective << 32;
        uint64_t need = 1ULL << CAP_BPF | 1ULL << CAP_PERFMON | 1ULL << CAP_NET_ADMIN;
        return have & 1ULL << CAP_SYS_ADMIN || (have & need) == need;
}

/* The folder itself may not exist yet. */
static bool is_on_bpffs(const char *path)
{
        char parent[WATCH_PATH_MAX];

        if (snprintf(parent, sizeof(parent), "%s", path) >= (int)sizeof(parent))
                return false;
        while (access(parent, F_OK) < 0) {
                char *slash = strrchr(parent, '/');
                if (!slash || slash == parent)
                        return false;
                *slash = 0;
        }
        return is_on(parent, BPF_FS_MAGIC);
}

static bool is_old_kernel(const struct utsname *u)
{
        unsigned major = 0, minor = 0;

        sscanf(u->release, "%u.%u", &major, &minor);
        return major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR);
}

int watch_check(const struct watch_options *o, char *ret_reason, size_t size)
{
        char cgroup[WATCH_PATH_MAX];
        struct utsname u;

        if (uname(&u) < 0)
                return -errno;
        ret_reason[0] = 0;
        if (is_old_kernel(&u)) {
                snprintf(ret_reason, size, "the kernel is %s, at least Linux %d.%d is needed: install a newer kernel",
                         u.release, KERNEL_MAJOR, KERNEL_MINOR);
                return -EOPNOTSUPP;
        }
        if (!has_capabilities()) {
                snprintf(ret_reason, size,
                         "the right to load eBPF programs is missing: run as root, or with CAP_BPF, CAP_PERFMON and "
                         "CAP_NET_ADMIN");
                return -EPERM;
        }
        if (access("/sys/kernel/btf/vmlinux", R_OK) < 0) {
                snprintf(ret_reason, size,
                         "the kernel does not describe its types (/sys/kernel/btf/vmlinux is missing): use a kernel "
                         "built with CONFIG_DEBUG_INFO_BTF");
                return -EOPNOTSUPP;
        }
        if (watch_cgroup_path(o, cgroup, sizeof(cgroup)) < 0) {
                if (o->cgroup)
                        snprintf(ret_reason, size,
                                 "'%s' is no folder of a cgroup v2 hierarchy: see 'cgroup' in agent.ini", o->cgroup);
                else
                        snprintf(ret_reason, size,
                                 "no cgroup v2 hierarchy is mounted: boot with systemd.unified_cgroup_hierarchy=1, "
                                 "or mount -t cgroup2 cgroup2 /sys/fs/cgroup");
                return -ENOENT;
        }
        if (!is_on_bpffs(o->bpffs)) {
                snprintf(ret_reason, size, "'%s' is not on a bpf file system: mount -t bpf bpf /sys/fs/bpf",
                         o->bpffs);
                return -ENOENT;
        }
        return 0;
}
