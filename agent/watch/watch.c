/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A watch from birth to death, and what it says about itself. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "agent/watch/internal.h"
#include "base/clock.h"
#include "base/io.h"
#include "bpf/onchannel.skel.h"

int watch_set_scope(const struct watch *w)
{
        uint32_t zero = 0;

        return bpf_map_update_elem(bpf_map__fd(w->bpf->maps.oc_scope), &zero, &w->cgroup_fd, BPF_ANY) < 0 ? -errno
                                                                                                          : 0;
}

static int open_cgroup(struct watch *w, const struct watch_options *o)
{
        char path[WATCH_PATH_MAX];
        struct stat st;

        int r = watch_cgroup_path(o, path, sizeof(path));
        if (r < 0)
                return r;
        w->cgroup_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (w->cgroup_fd < 0 || fstat(w->cgroup_fd, &st) < 0)
                return -errno;
        w->bpf->bss->oc_scope_id = st.st_ino; /* kernfs: the inode's number is the cgroup's id */
        return watch_set_scope(w);
}

static size_t mapped_size(size_t size)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE);

        return (size + page - 1) / page * page;
}

static int map_value(const struct bpf_map *m, size_t size, void **ret)
{
        void *p = mmap(NULL, mapped_size(size), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(m), 0);

        if (p == MAP_FAILED)
                return -errno;
        *ret = p;
        return 0;
}

static int map_values(struct watch *w)
{
        int r = map_value(w->bpf->maps.oc_active, sizeof(*w->active), (void **)&w->active);

        if (r == 0)
                r = map_value(w->bpf->maps.oc_tasks_seen, sizeof(*w->seen), (void **)&w->seen);
        if (r == 0)
                watch_see_tasks(w);
        return r;
}

static int add_ring(struct watch *w, enum watch_ring i, int map, ring_buffer_sample_fn handler)
{
        struct epoll_event e = {.events = EPOLLIN};

        w->rings[i] = ring_buffer__new(map, handler, w, NULL);
        if (!w->rings[i])
                return -errno;
        return epoll_ctl(w->rings_fd, EPOLL_CTL_ADD, ring_buffer__epoll_fd(w->rings[i]), &e) < 0 ? -errno : 0;
}

static int open_ring(struct watch *w)
{
        w->n_cpus = libbpf_num_possible_cpus();
        if (w->n_cpus < 0)
                return w->n_cpus;
        w->sequences = calloc((size_t)w->n_cpus, sizeof(*w->sequences));
        if (!w->sequences)
                return -ENOMEM;
        w->rings_fd = epoll_create1(EPOLL_CLOEXEC);
        if (w->rings_fd < 0)
                return -errno;
        int r = add_ring(w, WATCH_PACKETS, bpf_map__fd(w->bpf->maps.oc_packets), watch_on_packet);
        return r < 0 ? r : add_ring(w, WATCH_EVENTS, bpf_map__fd(w->bpf->maps.oc_events), watch_on_record);
}

static void describe_sensors(struct watch *w)
{
        bool is_lsm = w->exec_path == EXEC_PATH_LSM;

        snprintf(w->sensors, sizeof(w->sensors),
                 "exec=%s dns=cgroup_skb connect=cgroup_sock_addr tls=cgroup_skb quic=copy http=cgroup_skb lent=%s "
                 "defence=%s%s%s%s",
                 is_lsm ? "lsm" : "signal", bpf_program__autoload(w->bpf->progs.oc_lend) ? "fentry" : "none",
                 w->defence ? "lsm" : "none", is_lsm ? "" : " (", is_lsm ? "" : w->exec_reason, is_lsm ? "" : ")");
}

/* Two agents would put back each other's pins for ever. */
static int lock_pins(struct watch *w)
{
        w->lock_fd = open(w->bpffs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (w->lock_fd < 0)
                return -errno;
        if (flock(w->lock_fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EBUSY : -errno;
        return 0;
}

static int start(struct watch *w, const struct watch_options *o)
{
        w->bpffs = strdup(o->bpffs);
        if (!w->bpffs)
                return -ENOMEM;
        int r = dir_make(w->bpffs, 0700);
        if (r == 0)
                r = lock_pins(w);
        if (r == 0)
                r = watch_load(w, o);
        if (r == 0)
                r = open_cgroup(w, o);
        if (r == 0)
                r = map_values(w);
        if (r == 0)
                r = open_ring(w);
        if (r == 0)
                describe_sensors(w);
        return r;
}

int watch_new(const struct watch_options *o, watch_handler handler, void *userdata, struct watch **ret,
              bool *ret_pinned)
{
        struct watch *w = calloc(1, sizeof(*w));

        if (!w)
                return -ENOMEM;
        w->cgroup_fd = w->lock_fd = w->rings_fd = -1;
        w->handler = handler;
        w->userdata = userdata;
        bool pinned = watch_has_pins(o->bpffs);
        int r = start(w, o);
        if (r < 0) {
                watch_free(w, false);
                return r;
        }
        *ret_pinned = pinned;
        *ret = w;
        return 0;
}

struct watch *watch_free(struct watch *w, bool detach)
{
        if (!w)
                return NULL;
        if (detach && w->bpf)
                watch_detach(w);
        for (enum watch_ring i = 0; i < _WATCH_RING_MAX; i++)
                ring_buffer__free(w->rings[i]);
        fd_close(&w->rings_fd);
        for (size_t i = 0; i < WATCH_PROGRAMS_MAX; i++)
                bpf_link__destroy(w->links[i]);
        if (w->active)
                munmap(w->active, mapped_size(sizeof(*w->active)));
        if (w->seen)
                munmap(w->seen, mapped_size(sizeof(*w->seen)));
        onchannel_bpf__destroy(w->bpf);
        fd_close(&w->cgroup_fd);
        fd_close(&w->lock_fd);
        free(w->sequences);
        free(w->bpffs);
        free(w);
        return NULL;
}

int watch_fd(const struct watch *w)
{
        return w->rings_fd;
}

int watch_dispatch(struct watch *w, int max, uint64_t max_us)
{
        uint64_t before = w->received;

        for (enum watch_ring i = 0; i < _WATCH_RING_MAX; i++) {
                w->budget = max;
                w->until_ns = clock_ns(CLOCK_MONOTONIC) + max_us * 1000 / _WATCH_RING_MAX;
                int r = ring_buffer__consume(w->rings[i]);
                if (r < 0 && r != -EAGAIN)
                        return r;
        }
        return (int)(w->received - before);
}

void watch_set_packet_handler(struct watch *w, watch_packet_handler handler, void *userdata)
{
        w->packet_handler = handler;
        w->packet_userdata = userdata;
}

enum exec_path watch_exec_path(const struct watch *w)
{
        return w->exec_path;
}

const char *watch_sensors(const struct watch *w)
{
        return w->sensors;
}
