/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Links and pins: enforcement belongs to the pins, not to this process. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/watch/internal.h"
#include "base/io.h"
#include "bpf/onchannel.skel.h"

int watch_pin_path(const char *bpffs, const char *name, char ret[static WATCH_PATH_MAX])
{
        return snprintf(ret, WATCH_PATH_MAX, "%s/%s", bpffs, name) < WATCH_PATH_MAX ? 0 : -ENAMETOOLONG;
}

static bool is_wanted(const struct watch *w, const struct bpf_program *p)
{
        return p != w->bpf->progs.oc_exec_check || w->exec_path == EXEC_PATH_LSM;
}

static struct bpf_link *attach_program(const struct watch *w, struct bpf_program *p)
{
        enum bpf_prog_type type = bpf_program__type(p);

        if (type == BPF_PROG_TYPE_CGROUP_SKB || type == BPF_PROG_TYPE_CGROUP_SOCK_ADDR)
                return bpf_program__attach_cgroup(p, w->cgroup_fd);
        return bpf_program__attach(p);
}

/* The rename replaces the pin of an earlier run, and with it its link, only now that the new
 * program runs: there is no moment without one. */
static int pin_link(const struct watch *w, struct bpf_link *link, const char *name)
{
        char path[WATCH_PATH_MAX], fresh[WATCH_PATH_MAX];

        int r = watch_pin_path(w->bpffs, name, path);
        if (r < 0)
                return r;
        if (snprintf(fresh, sizeof(fresh), "%s_new", path) >= (int)sizeof(fresh))
                return -ENAMETOOLONG;
        if (unlink(fresh) < 0 && errno != ENOENT)
                return -errno;
        r = bpf_link__pin(link, fresh);
        if (r < 0)
                return r;
        return rename(fresh, path) < 0 ? -errno : 0;
}

static bool is_ours(const struct watch *w, const char *name)
{
        const struct bpf_program *p = bpf_object__find_program_by_name(w->bpf->obj, name);
        return p ? is_wanted(w, p) : bpf_object__find_map_by_name(w->bpf->obj, name) != NULL;
}

/* What another version, or another choice of programs, left behind. */
static int remove_foreign_pins(const struct watch *w)
{
        DIR *d = opendir(w->bpffs);

        if (!d)
                return -errno;
        for (struct dirent *e; (e = readdir(d));)
                if (e->d_name[0] != '.' && !is_ours(w, e->d_name))
                        unlinkat(dirfd(d), e->d_name, 0);
        closedir(d);
        return 0;
}

/* libbpf pins at load only; somebody may have removed a pin since. */
static int restore_map_pins(const struct watch *w)
{
        struct bpf_map *m;

        int r = dir_make(w->bpffs, 0700);
        if (r < 0)
                return r;
        bpf_object__for_each_map(m, w->bpf->obj)
                if (bpf_map__is_pinned(m) && access(bpf_map__pin_path(m), F_OK) < 0 &&
                    bpf_obj_pin(bpf_map__fd(m), bpf_map__pin_path(m)) < 0)
                        return -errno;
        return 0;
}

int watch_attach(struct watch *w)
{
        struct bpf_program *p;
        size_t i = 0;

        int r = restore_map_pins(w);
        if (r < 0)
                return r;
        bpf_object__for_each_program(p, w->bpf->obj) {
                struct bpf_link **slot = &w->links[i++];

                if (!is_wanted(w, p))
                        continue;
                struct bpf_link *link = attach_program(w, p);
                if (!link)
                        return -errno;
                r = pin_link(w, link, bpf_program__name(p));
                if (r < 0) {
                        bpf_link__destroy(link);
                        return r;
                }
                bpf_link__destroy(*slot);
                *slot = link;
        }
        return remove_foreign_pins(w);
}

bool watch_has_pins(const char *bpffs)
{
        char path[WATCH_PATH_MAX];
        return watch_pin_path(bpffs, "oc_active", path) == 0 && access(path, F_OK) == 0;
}

void watch_unpin(const char *bpffs)
{
        DIR *d = opendir(bpffs);

        if (!d)
                return;
        for (struct dirent *e; (e = readdir(d));)
                if (e->d_name[0] != '.')
                        unlinkat(dirfd(d), e->d_name, 0);
        closedir(d);
        rmdir(bpffs);
}

static int link_info(int fd, struct bpf_link_info *ret)
{
        uint32_t size = sizeof(*ret);

        memset(ret, 0, sizeof(*ret));
        return bpf_obj_get_info_by_fd(fd, ret, &size) < 0 ? -errno : 0;
}

/* The pin holds our link, and the link still holds its cgroup. */
static const char *link_problem(const struct watch *w, const struct bpf_program *p, const struct bpf_link *link)
{
        struct bpf_link_info ours, pinned;
        char path[WATCH_PATH_MAX];

        if (!link || link_info(bpf_link__fd(link), &ours) < 0)
                return "is not attached";
        if (ours.type == BPF_LINK_TYPE_CGROUP && ours.cgroup.cgroup_id == 0)
                return "was detached from its cgroup";
        _cleanup_fd_ int fd = watch_pin_path(w->bpffs, bpf_program__name(p), path) < 0 ? -1 : bpf_obj_get(path);
        if (fd < 0 || link_info(fd, &pinned) < 0)
                return "has lost its pin";
        return pinned.id == ours.id ? NULL : "has another program's pin";
}

int watch_verify(struct watch *w, char *ret_what, size_t size)
{
        struct bpf_program *p;
        struct bpf_map *m;
        size_t i = 0;

        bpf_object__for_each_program(p, w->bpf->obj) {
                const struct bpf_link *link = w->links[i++];
                const char *problem = is_wanted(w, p) ? link_problem(w, p, link) : NULL;

                if (problem) {
                        snprintf(ret_what, size, "eBPF program %s %s", bpf_program__name(p), problem);
                        return -ESTALE;
                }
        }
        bpf_object__for_each_map(m, w->bpf->obj)
                if (bpf_map__is_pinned(m) && access(bpf_map__pin_path(m), F_OK) < 0) {
                        snprintf(ret_what, size, "eBPF map %s has lost its pin", bpf_map__name(m));
                        return -ESTALE;
                }
        return 0;
}
