/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tells the eBPF side what is the agent's, so that BPF LSM keeps others from it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "agent/watch/internal.h"
#include "bpf/onchannel.skel.h"

static int guard_object(const struct watch *w, uint64_t kind, uint64_t id)
{
        struct oc_guarded_key k = {.kind = kind, .id = id};
        uint8_t one = 1;

        return bpf_map_update_elem(bpf_map__fd(w->bpf->maps.oc_guarded), &k, &one, BPF_ANY) < 0 ? -errno : 0;
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

int watch_arm(struct watch *w, const char *const *folders)
{
        struct oc_guard g = {.tgid = (uint32_t)getpid(), .supervisor = (uint32_t)getppid(), .learning = 1};
        int r;

        if (!w->defence)
                return 0;
        r = set_guard(w, &g);
        if (r == 0)
                r = watch_map_clear(bpf_map__fd(w->bpf->maps.oc_guarded), sizeof(struct oc_guarded_key));
        if (r == 0)
                r = guard_maps(w);
        if (r == 0)
                r = watch_guard_links(w);
        for (size_t i = 0; r == 0 && folders[i]; i++) {
                _cleanup_fd_ int fd = open(folders[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                if (fd < 0)
                        r = -errno;
        }
        g.learning = 0;
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
