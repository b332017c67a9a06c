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
        /* attached for as long as a walk takes; or not loaded */
        if (p == w->bpf->progs.oc_walk_socks || !bpf_program__autoload(p))
                return false;
        if (p == w->bpf->progs.oc_exec_check)
                return w->exec_path == EXEC_PATH_LSM;
        return bpf_program__type(p) != BPF_PROG_TYPE_LSM || w->defence;
}

static struct bpf_link *attach_program(const struct watch *w, struct bpf_program *p)
{
        enum bpf_prog_type type = bpf_program__type(p);

        if (type == BPF_PROG_TYPE_CGROUP_SKB || type == BPF_PROG_TYPE_CGROUP_SOCK_ADDR)
                return bpf_program__attach_cgroup(p, w->cgroup_fd);
        return bpf_program__attach(p);
}

/* The rename replaces the pin of an earlier run, and with it its link, only now that the new
 * program runs: there is no moment without one. The kernel lets a link go some milliseconds
 * after its last pin; where it can be told to, it does so at once. */
static int pin_link(const struct watch *w, const struct bpf_link *link, const char *name)
{
        char path[WATCH_PATH_MAX], fresh[WATCH_PATH_MAX];

        int r = watch_pin_path(w->bpffs, name, path);
        if (r < 0)
                return r;
        if (snprintf(fresh, sizeof(fresh), "%s_new", path) >= (int)sizeof(fresh))
                return -ENAMETOOLONG;
        if (unlink(fresh) < 0 && errno != ENOENT)
                return -errno;
        _cleanup_fd_ int old = bpf_obj_get(path);
        if (bpf_obj_pin(bpf_link__fd(link), fresh) < 0 || rename(fresh, path) < 0)
                return -errno;
        if (old >= 0)
                bpf_link_detach(old);
        return 0;
}

static int link_info(int fd, struct bpf_link_info *ret)
{
        uint32_t size = sizeof(*ret);

        memset(ret, 0, sizeof(*ret));
        return bpf_obj_get_info_by_fd(fd, ret, &size) < 0 ? -errno : 0;
}

static bool is_attached(const struct bpf_link *link)
{
        struct bpf_link_info i;

        if (!link || link_info(bpf_link__fd(link), &i) < 0)
                return false;
        /* detached by force, or its cgroup was removed */
        return i.type != BPF_LINK_TYPE_CGROUP || i.cgroup.cgroup_id != 0;
}

static bool is_pinned(const struct watch *w, const struct bpf_link *link, const char *name)
{
        struct bpf_link_info ours, pinned;
        char path[WATCH_PATH_MAX];

        _cleanup_fd_ int fd = watch_pin_path(w->bpffs, name, path) < 0 ? -1 : bpf_obj_get(path);
        return fd >= 0 && link_info(fd, &pinned) == 0 && link_info(bpf_link__fd(link), &ours) == 0 &&
               pinned.id == ours.id;
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
        bpf_object__for_each_map(
                m, w->bpf->obj) if (bpf_map__is_pinned(m) && access(bpf_map__pin_path(m), F_OK) < 0 &&
                                    bpf_obj_pin(bpf_map__fd(m), bpf_map__pin_path(m)) < 0) return -errno;
        return 0;
}

/* Only what is missing: a tracing program cannot be attached twice. */
static int restore_link(const struct watch *w, struct bpf_program *p, struct bpf_link **link)
{
        if (!is_attached(*link)) {
                struct bpf_link *fresh = attach_program(w, p);
                if (!fresh)
                        return -errno;
                bpf_link__destroy(*link);
                *link = fresh;
        }
        return is_pinned(w, *link, bpf_program__name(p)) ? 0 : pin_link(w, *link, bpf_program__name(p));
}

int watch_attach(struct watch *w)
{
        struct bpf_program *p;
        size_t i = 0;

        int r = restore_map_pins(w);
        if (r < 0)
                return r;
        bpf_object__for_each_program(p, w->bpf->obj)
        {
                struct bpf_link **link = &w->links[i++];

                r = is_wanted(w, p) ? restore_link(w, p, link) : 0;
                if (r < 0)
                        return r;
        }
        r = watch_guard_links(w);
        return r < 0 ? r : remove_foreign_pins(w);
}

static void remove_pins(const char *bpffs)
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

void watch_detach(struct watch *w)
{
        uint32_t zero = 0;

        bpf_map_delete_elem(bpf_map__fd(w->bpf->maps.oc_scope), &zero);
        for (size_t i = 0; i < WATCH_PROGRAMS_MAX; i++)
                if (w->links[i])
                        bpf_link__detach(w->links[i]);
        remove_pins(w->bpffs);
}

bool watch_has_pins(const char *bpffs)
{
        char path[WATCH_PATH_MAX];
        return watch_pin_path(bpffs, "oc_active", path) == 0 && access(path, F_OK) == 0;
}

int watch_verify(struct watch *w, char *ret_what, size_t size)
{
        struct bpf_program *p;
        struct bpf_map *m;
        size_t i = 0;

        bpf_object__for_each_program(p, w->bpf->obj)
        {
                const struct bpf_link *link = w->links[i++];
                bool attached = is_attached(link);

                if (is_wanted(w, p) && (!attached || !is_pinned(w, link, bpf_program__name(p)))) {
                        snprintf(ret_what, size, "eBPF program %s %s", bpf_program__name(p),
                                 attached ? "has lost its pin" : "is not attached");
                        return -ESTALE;
                }
        }
        bpf_object__for_each_map(m, w->bpf->obj) if (bpf_map__is_pinned(m) && access(bpf_map__pin_path(m), F_OK) < 0)
        {
                snprintf(ret_what, size, "eBPF map %s has lost its pin", bpf_map__name(m));
                return -ESTALE;
        }
        if (!watch_rules_in_place(w)) {
                snprintf(ret_what, size, "the rule set in the eBPF maps is not the one in force");
                return -EUCLEAN;
        }
        watch_set_scope(w); /* cannot be read back */
        return 0;
}
