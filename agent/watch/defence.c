/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tells the eBPF side what is the agent's, so that BPF LSM keeps others from it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/watch/internal.h"
#include "bpf/onchannel.skel.h"

static int guard_object(const struct watch *w, uint64_t kind, uint64_t id)
{
        struct oc_guarded_key k = {.kind = kind, .id = id};
        uint8_t one = 1;

        return bpf_map_update_elem(bpf_map__fd(w->bpf->maps.oc_guarded), &k, &one, BPF_ANY) < 0 ? -errno : 0;
}

static int guard_programs(const struct watch *w)
{
        struct bpf_program *p;
        int r = 0;

        bpf_object__for_each_program(p, w->bpf->obj)
        {
                struct bpf_prog_info info = {0};
                uint32_t size = sizeof(info);

                if (r < 0 || bpf_program__fd(p) < 0)
                        continue;
                if (bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &size) < 0)
                        r = -errno;
                if (r == 0)
                        r = guard_object(w, OC_GUARDED_PROGRAM, info.id);
        }
        return r;
}

static int guard_maps(const struct watch *w)
{
        struct bpf_map *m;
        int r = 0;

        bpf_object__for_each_map(m, w->bpf->obj)
        {
                struct bpf_map_info info = {0};
                uint32_t size = sizeof(info);

                if (r == 0 && bpf_obj_get_info_by_fd(bpf_map__fd(m), &info, &size) < 0)
                        r = -errno;
                if (r == 0)
                        r = guard_object(w, OC_GUARDED_MAP, info.id);
        }
        return r;
}

int watch_guard_links(const struct watch *w)
{
        int r = 0;

        for (size_t i = 0; w->defence && r == 0 && i < WATCH_PROGRAMS_MAX; i++) {
                struct bpf_link_info info = {0};
                uint32_t size = sizeof(info);

                if (!w->links[i])
                        continue;
                if (bpf_obj_get_info_by_fd(bpf_link__fd(w->links[i]), &info, &size) < 0)
                        return -errno;
                r = guard_object(w, OC_GUARDED_LINK, info.id);
        }
        return r;
}

static int set_guard(const struct watch *w, const struct oc_guard *g)
{
        uint32_t zero = 0;

        return bpf_map_update_elem(bpf_map__fd(w->bpf->maps.oc_guard), &zero, g, BPF_ANY) < 0 ? -errno : 0;
}

/* Opens the folder and all above it, or the folder alone: the eBPF side learns them. */
static int show(const char *path, bool climb)
{
        struct stat here = {0}, last;
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        while (climb) {
                last = here;
                if (fstat(fd, &here) < 0)
                        return -errno;
                if (here.st_dev == last.st_dev && here.st_ino == last.st_ino) /* the root is its own parent */
                        break;
                int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (up < 0)
                        return -errno;
                close(fd);
                fd = up;
        }
        return 0;
}

/* In this process's mount namespace, and in that of its parent from which mounts come here. */
static int show_above(const char *folder)
{
        char path[WATCH_PATH_MAX];

        if (snprintf(path, sizeof(path), "/proc/%d/root%s", (int)getppid(), folder) < (int)sizeof(path))
                (void)show(path, true); /* a parent that has another root does not see it */
        return show(folder, true);
}

static int show_cgroup(void)
{
        char root[WATCH_PATH_MAX], line[WATCH_PATH_MAX], path[2 * WATCH_PATH_MAX];
        const struct watch_options anywhere = {0};
        _cleanup_file_ FILE *f = fopen("/proc/self/cgroup", "re");

        int r = watch_cgroup_path(&anywhere, root, sizeof(root));
        if (r < 0 || !f)
                return r;
        while (fgets(line, sizeof(line), f)) {
                line[strcspn(line, "\n")] = 0;
                if (strncmp(line, "0::", 3) == 0) { /* cgroups(7): the v2 hierarchy */
                        snprintf(path, sizeof(path), "%s%s", root, line + 3);
                        return show(path, true);
                }
        }
        return 0;
}

static int learn(const struct watch *w, struct oc_guard *g, enum oc_learn what, const char *const *folders)
{
        g->learning = what;
        int r = set_guard(w, g);
        for (size_t i = 0; r == 0 && what != OC_LEARN_CGROUP && folders[i]; i++)
                r = what == OC_LEARN_FOLDER ? show(folders[i], false) : show_above(folders[i]);
        if (r == 0 && what == OC_LEARN_CGROUP)
                r = show_cgroup();
        g->learning = OC_LEARN_NOTHING;
        return r;
}

int watch_arm(struct watch *w, const char *const *folders)
{
        struct oc_guard g = {.tgid = (uint32_t)getpid(), .supervisor = (uint32_t)getppid()};
        int r;

        if (!w->defence)
                return 0;
        r = set_guard(w, &g);
        if (r == 0)
                r = watch_map_clear(bpf_map__fd(w->bpf->maps.oc_guarded), sizeof(struct oc_guarded_key));
        if (r == 0)
                r = guard_maps(w);
        if (r == 0)
                r = guard_programs(w);
        if (r == 0)
                r = watch_guard_links(w);
        for (enum oc_learn what = OC_LEARN_FOLDER; r == 0 && what <= OC_LEARN_CGROUP; what++)
                r = learn(w, &g, what, folders);
        g.armed = r == 0;
        int q = set_guard(w, &g);
        if (r == 0 && q == 0) /* any call: the eBPF side takes the executable from it */
                (void)watch_guard_links(w);
        return r < 0 ? r : q;
}

void watch_disarm(struct watch *w)
{
        const struct oc_guard none = {0};

        if (w->defence)
                set_guard(w, &none);
}
