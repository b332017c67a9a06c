/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "agent/classify/look.h"
#include "agent/classify/proc.h"
#include "base/cleanup.h"
#include "base/text.h"

/* For reading, when it is a regular file: opening a device may do something. */
static int reopen_regular(int path_fd)
{
        char name[64];
        struct stat st;
        int fd;

        if (fstat(path_fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
        fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        return fd < 0 ? -errno : fd;
}

/* A path as the process means it: "/proc/self" and "/dev/fd" are its own, and its root may be. */
static int open_as_seen(int proc, const char *path)
{
        static const struct {
                const char *prefix;
                const char *replacement; /* below /proc/PID */
        } own[] = {{"/proc/self/", ""}, {"/proc/thread-self/", ""}, {"/dev/fd/", "fd/"}, {"/dev/stdin", "fd/0"}};
        struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
        _cleanup_fd_ int root = -1, fd = -1;
        char name[FACT_PATH_MAX + 8];

        for (size_t i = 0; i < ELEMENTSOF(own); i++)
                if (text_starts_with(path, own[i].prefix)) {
                        snprintf(name, sizeof(name), "%s%s", own[i].replacement, path + strlen(own[i].prefix));
                        fd = openat(proc, name, O_PATH | O_CLOEXEC);
                        return fd < 0 ? -errno : reopen_regular(fd);
                }
        root = openat(proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return -errno;
        fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how)); /* Linux 5.6 */
        return fd < 0 ? -errno : reopen_regular(fd);
}

static int read_all(int fd, bool want_sha256, struct content *c, const atomic_bool *stop)
{
        int r = c->ino ? 0 : content_read(fd, c);

        if (r == 0 && !c->has_print)
                r = content_add_print(fd, c, NULL);
        if (r == 0 && want_sha256 && !c->sha256[0])
                r = content_add_sha256(fd, c, stop);
        return r;
}

struct mapping {
        uint64_t start;
        uint64_t inode;
};

/* "start-end perms offset dev inode path" of a file's beginning; proc(5). */
static bool parse_mapping(const char *line, struct mapping *ret)
{
        uint64_t offset;

        return sscanf(line, "%" SCNx64 "-%*x %*s %" SCNx64 " %*s %" SCNu64, &ret->start, &offset, &ret->inode) == 3 &&
               offset == 0 && ret->inode != 0;
}

/* The programs and libraries in the process' memory, from the lowest address, but the one with
 * this inode. */
static void read_mapped(struct look *l, uint64_t but_inode)
{
        char text[PROC_FILE_MAX], *save = NULL;
        struct mapping m;

        if (proc_text(l->proc, "maps", text) < 0)
                return;
        for (char *line = strtok_r(text, "\n", &save); line && l->n_contents < LOOK_MAPPED_MAX;
             line = strtok_r(NULL, "\n", &save))
                if (parse_mapping(line, &m) && m.inode != but_inode &&
                    content_read_memory(l->proc, m.start, &l->contents[l->n_contents]) == 0)
                        l->n_contents++;
}

static void look_at_exe(struct look *l, const atomic_bool *stop)
{
        _cleanup_fd_ int fd = openat(l->proc, "exe", O_RDONLY | O_CLOEXEC);

        if (fd >= 0 && read_all(fd, l->want_sha256, &l->exe, stop) == 0)
                return;
        /* its file system hides from us: see proc_stat_exe() */
        if (!l->has_exe) {
                read_mapped(l, 0);
                if (l->n_contents > 0)
                        l->exe = l->contents[0];
                l->n_contents = 0;
        }
}

bool look_may_be_chromium(const struct look *l)
{
        return l->is_beside && l->exe.size >= LOOK_CHROMIUM_SIZE_MIN;
}

/* A browser that was made of Chromium, or Electron. */
static bool has_chromium_beside(const struct look *l)
{
        const char *slash = strrchr(l->fact.path, '/');
        char path[FACT_PATH_MAX + 16];
        _cleanup_fd_ int fd = -1;

        snprintf(path, sizeof(path), "%.*s/resources.pak", (int)(slash - l->fact.path), l->fact.path);
        fd = open_as_seen(l->proc, path);
        return fd >= 0;
}

static void look_at_file(struct look *l, const atomic_bool *stop)
{
        _cleanup_fd_ int fd = open_as_seen(l->proc, l->file);

        l->is_chromium = look_may_be_chromium(l) && has_chromium_beside(l);
        if (fd >= 0 && read_all(fd, l->want_sha256, &l->contents[0], stop) == 0)
                l->n_contents = 1;
        else if (l->host == HOST_LOADER)
                read_mapped(l, l->exe.ino);
}

void look_run(struct worker_job *job, const atomic_bool *stop)
{
        struct look *l = (struct look *)job;

        switch (l->step) {
        case LOOK_AT_EXE:
                look_at_exe(l, stop);
                break;
        case LOOK_AT_FILE:
                look_at_file(l, stop);
                break;
        }
}

void look_free(struct worker_job *job)
{
        struct look *l = (struct look *)job;

        if (l)
                fd_close(&l->proc);
        free(l);
}
