/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include "agent/classify/proc.h"
#include "base/text.h"

#define NS_PER_S       1000000000ull
#define STAT_STARTTIME 22 /* proc(5): field of /proc/PID/stat */

/* At most size bytes; a process that ends meanwhile gives -ESRCH. */
static int read_at(int fd, const char *name, char *ret, size_t size, size_t *ret_size)
{
        _cleanup_fd_ int file = openat(fd, name, O_RDONLY | O_CLOEXEC);
        size_t n = 0;

        if (file < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        while (n < size) {
                ssize_t k = read(file, ret + n, size - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t)k;
        }
        *ret_size = n;
        return 0;
}

int proc_text(int fd, const char *name, char ret[static PROC_FILE_MAX])
{
        size_t n = 0;
        int r = read_at(fd, name, ret, PROC_FILE_MAX - 1, &n);

        if (r == 0)
                ret[n] = '\0';
        return r;
}

/* When the process started, on CLOCK_BOOTTIME, rounded down to a clock tick. */
static int start_time(int fd, uint64_t *ret_ns)
{
        char text[PROC_FILE_MAX];
        uint64_t ticks;
        char *p;
        int r;

        r = proc_text(fd, "stat", text);
        if (r < 0)
                return r;
        p = strrchr(text, ')'); /* the name before it may hold anything */
        for (int field = 2; p && field < STAT_STARTTIME; field++) {
                p = strchr(p, ' ');
                if (p)
                        p += strspn(p, " ");
        }
        if (!p || sscanf(p, "%" SCNu64, &ticks) != 1)
                return -EBADMSG;
        *ret_ns = ticks * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
        return 0;
}

int proc_open(uint32_t pid, uint64_t boottime_ns, int *ret_fd)
{
        _cleanup_fd_ int fd = -1;
        char path[32];
        uint64_t started;
        int r;

        snprintf(path, sizeof(path), "/proc/%" PRIu32, pid);
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        if (boottime_ns != 0) {
                r = start_time(fd, &started);
                if (r < 0)
                        return r;
                if (started > boottime_ns)
                        return -ESRCH;
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* ioctl_ns(2): the parent of the first namespace, and of ours, is not to be had */
int proc_namespace_owner(int fd, uint32_t *ret)
{
        _cleanup_fd_ int ns = openat(fd, "ns/user", O_RDONLY | O_CLOEXEC);
        uid_t owner = 0;
        int parent;

        if (ns < 0)
                return -errno;
        while ((parent = ioctl(ns, NS_GET_PARENT)) >= 0) {
                if (ioctl(ns, NS_GET_OWNER_UID, &owner) < 0)
                        owner = 0;
                fd_close(&ns);
                ns = parent;
        }
        *ret = owner;
        return 0;
}

int proc_link(int fd, const char *name, char *ret, size_t size)
{
        ssize_t n = readlinkat(fd, name, ret, size);

        if (n < 0)
                return errno == ENOENT ? -ESRCH : -errno; /* a kernel thread, or it is ending */
        if ((size_t)n == size)
                return -ENAMETOOLONG;
        ret[n] = '\0';
        return 0;
}

int proc_stat_exe(int fd, struct stat *ret)
{
        if (fstatat(fd, "exe", ret, 0) == 0)
                return 0;
        /* fs/fuse/dir.c, fuse_getattr(): another user's file system shows itself to nobody else */
        if (errno != EACCES)
                return errno == ENOENT ? -ESRCH : -errno;
        *ret = (struct stat){};
        return 0;
}

int proc_exe(int fd, char *ret_path, size_t size, struct stat *ret_stat)
{
        static const char deleted[] = " (deleted)";
        struct stat st, named;
        int r;

        r = proc_stat_exe(fd, &st);
        if (r < 0)
                return r;
        r = proc_link(fd, "exe", ret_path, size);
        if (r < 0)
                return r;
        /* d_path() appends it to an unlinked file; a file may also be called so */
        if (text_ends_with(ret_path, deleted) &&
            !(stat(ret_path, &named) == 0 && named.st_ino == st.st_ino && named.st_dev == st.st_dev))
                ret_path[strlen(ret_path) - strlen(deleted)] = '\0';
        *ret_stat = st;
        return 0;
}

void proc_cmdline_done(struct proc_cmdline *c)
{
        if (c->text)
                explicit_bzero(c->text, c->size);
        free(c->text);
        free(c->argv);
        *c = (struct proc_cmdline){};
}

int proc_cmdline(int fd, struct proc_cmdline *ret)
{
        _cleanup_cmdline_ struct proc_cmdline c = {.text = malloc(PROC_CMDLINE_MAX + 1)};
        size_t n = 0;
        int r;

        if (!c.text)
                return -ENOMEM;
        r = read_at(fd, "cmdline", c.text, PROC_CMDLINE_MAX, &c.size);
        if (r < 0)
                return r;
        c.text[c.size] = '\0';
        for (size_t i = 0; i < c.size; i += strlen(c.text + i) + 1)
                n++;
        if (n > PROC_ARGS_MAX)
                n = PROC_ARGS_MAX;
        c.argv = calloc(n + 1, sizeof(*c.argv));
        if (!c.argv)
                return -ENOMEM;
        for (size_t i = 0, at = 0; i < n; i++, at += strlen(c.text + at) + 1)
                c.argv[i] = c.text + at;
        *ret = c;
        c = (struct proc_cmdline){};
        return 0;
}
