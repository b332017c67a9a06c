/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
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
#define STAT_STARTTIME 22 /* proc(5): fields of /proc/PID/stat */
#define STAT_STARTCODE 26

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

static int stat_field(int fd, int number, uint64_t *ret)
{
        char text[PROC_FILE_MAX];
        char *p;
        int r;

        r = proc_text(fd, "stat", text);
        if (r < 0)
                return r;
        p = strrchr(text, ')'); /* the name before it may hold anything */
        for (int field = 2; p && field < number; field++) {
                p = strchr(p, ' ');
                if (p)
                        p += strspn(p, " ");
        }
        return p && sscanf(p, "%" SCNu64, ret) == 1 ? 0 : -EBADMSG;
}

int proc_start_code(int fd, uint64_t *ret)
{
        return stat_field(fd, STAT_STARTCODE, ret);
}

/* When the process started, on CLOCK_BOOTTIME, rounded down to a clock tick. */
static int start_time(int fd, uint64_t *ret_ns)
{
        int r = stat_field(fd, STAT_STARTTIME, ret_ns);

        if (r == 0)
                *ret_ns *= NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
        return r;
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

static bool has_exe(int fd)
{
        char c;

        return readlinkat(fd, "exe", &c, 1) >= 0 || errno == ENAMETOOLONG; /* it lies deeper than any path reaches */
}

int proc_living(int fd, int *ret)
{
        _cleanup_fd_ int found = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct dirent *e;

        if (found < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        if (has_exe(found)) {
                *ret = TAKE_FD(found);
                return 0;
        }
        _cleanup_fd_ int task = openat(fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = task < 0 ? NULL : fdopendir(task);
        if (!d)
                return errno == ENOENT ? -ESRCH : -errno;
        TAKE_FD(task);
        do {
                e = readdir(d);
                fd_close(&found);
                found = e ? openat(dirfd(d), e->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
        } while (e && (e->d_name[0] == '.' || !has_exe(found)));
        closedir(d);
        if (!e)
                return -ESRCH;
        *ret = TAKE_FD(found);
        return 0;
}

int proc_open_exe(int fd)
{
        _cleanup_fd_ int living = -1;
        int exe, r = proc_living(fd, &living);

        if (r < 0)
                return r;
        exe = openat(living, "exe", O_RDONLY | O_CLOEXEC);
        return exe >= 0 ? exe : errno == ENOENT ? -ESRCH : -errno;
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
        _cleanup_fd_ int living = -1;
        int r = proc_living(fd, &living);

        if (r < 0)
                return r;
        ssize_t n = readlinkat(living, name, ret, size);
        if (n < 0)
                return errno == ENOENT ? -ESRCH : -errno; /* a kernel thread, or it is ending */
        if ((size_t)n == size)
                return -ENAMETOOLONG;
        ret[n] = '\0';
        return 0;
}

int proc_stat_exe(int fd, struct stat *ret)
{
        _cleanup_fd_ int living = -1;
        int r = proc_living(fd, &living);

        if (r < 0)
                return r;
        if (fstatat(living, "exe", ret, 0) == 0)
                return 0;
        /* fs/fuse/dir.c, fuse_getattr(): another user's file system shows itself to nobody else */
        if (errno != EACCES)
                return errno == ENOENT ? -ESRCH : -errno;
        *ret = (struct stat){};
        return 0;
}

static const char deleted[] = " (deleted)"; /* d_path() appends it to an unlinked file */

static void cut_deleted(char *path)
{
        path[strlen(path) - strlen(deleted)] = '\0';
}

int proc_exe_path(int fd, char *ret, size_t size)
{
        int r = proc_link(fd, "exe", ret, size);

        if (r == 0 && text_ends_with(ret, deleted))
                cut_deleted(ret);
        return r;
}

int proc_exe(int fd, char *ret_path, size_t size, struct stat *ret_stat)
{
        struct stat st, named;
        int r;

        r = proc_stat_exe(fd, &st);
        if (r < 0)
                return r;
        r = proc_link(fd, "exe", ret_path, size);
        if (r < 0)
                return r;
        /* a file may also be called so */
        if (text_ends_with(ret_path, deleted) &&
            !(stat(ret_path, &named) == 0 && named.st_ino == st.st_ino && named.st_dev == st.st_dev))
                cut_deleted(ret_path);
        *ret_stat = st;
        return 0;
}

bool proc_is_elsewhere(int fd)
{
        struct stat theirs, ours, first; /* systemd gives its services one of their own */
        _cleanup_fd_ int living = -1;

        if (proc_living(fd, &living) < 0 || fstatat(living, "ns/mnt", &theirs, 0) < 0 ||
            stat("/proc/self/ns/mnt", &ours) < 0)
                return true;
        return theirs.st_ino != ours.st_ino && (stat("/proc/1/ns/mnt", &first) < 0 || theirs.st_ino != first.st_ino);
}

bool proc_has_variable(int fd, const char *name)
{
        _cleanup_cmdline_ struct proc_cmdline c = {.text = malloc(PROC_CMDLINE_MAX + 1)};
        _cleanup_fd_ int living = -1;
        size_t size = strlen(name);
        bool found = false;

        if (!c.text || proc_living(fd, &living) < 0 ||
            read_at(living, "environ", c.text, PROC_CMDLINE_MAX, &c.size) < 0)
                return false;
        c.text[c.size] = '\0';
        for (size_t i = 0; i < c.size && !found; i += strlen(c.text + i) + 1)
                found = text_starts_with(c.text + i, name) && c.text[i + size] == '=';
        return found;
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
        _cleanup_fd_ int living = -1;
        size_t n = 0;
        int r;

        if (!c.text)
                return -ENOMEM;
        r = proc_living(fd, &living);
        if (r < 0)
                return r;
        r = read_at(living, "cmdline", c.text, PROC_CMDLINE_MAX, &c.size);
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
