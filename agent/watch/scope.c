/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is in the watched cgroup already: its processes and their open sockets. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include "agent/watch/internal.h"
#include "bpf/onchannel.skel.h"

#define SCOPE_DEPTH_MAX 64 /* folders below each other; the kernel's own bound is higher */

struct scope {
        watch_process_handler handler;
        void *userdata;
};

static void read_processes(int dir_fd, const struct scope *s)
{
        int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
        _cleanup_file_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
        uint32_t tgid;

        if (!f && fd >= 0)
                close(fd);
        while (f && fscanf(f, "%" SCNu32, &tgid) == 1)
                if (tgid != 0) /* of another PID namespace */
                        s->handler(tgid, s->userdata);
}

static void walk(int dir_fd, const struct scope *s, unsigned depth)
{
        DIR *d = fdopendir(dir_fd);

        if (!d) {
                close(dir_fd);
                return;
        }
        read_processes(dirfd(d), s);
        for (struct dirent *e; depth < SCOPE_DEPTH_MAX && (e = readdir(d));) {
                int fd = e->d_type != DT_DIR || e->d_name[0] == '.'
                                 ? -1
                                 : openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (fd >= 0)
                        walk(fd, s, depth + 1);
        }
        closedir(d);
}

int watch_each_process(const struct watch *w, watch_process_handler handler, void *userdata)
{
        const struct scope s = {.handler = handler, .userdata = userdata};
        int fd = openat(w->cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        walk(fd, &s, 0);
        return 0;
}

int watch_walk_sockets(struct watch *w)
{
        struct bpf_link *link = bpf_program__attach_iter(w->bpf->progs.oc_walk_socks, NULL);
        char nothing[64];
        ssize_t n;

        if (!link)
                return -errno;
        _cleanup_fd_ int fd = bpf_iter_create(bpf_link__fd(link));
        int r = fd < 0 ? -errno : 0;
        if (r == 0) {
                /* EAGAIN: the kernel takes a breath after a million files */
                while ((n = read(fd, nothing, sizeof(nothing))) > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
                        ;
                r = n < 0 ? -errno : 0;
        }
        bpf_link__destroy(link);
        return r;
}
