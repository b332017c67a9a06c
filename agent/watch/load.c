/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opens and loads the eBPF object, with the best set of programs that this kernel takes. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "agent/watch/internal.h"
#include "base/io.h"
#include "bpf/onchannel.skel.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

static char libbpf_error[WATCH_TEXT_MAX];

const char *watch_libbpf_error(void)
{
        return libbpf_error;
}

/* Keeps the first error line of an attempt, the one that names the program, for a diagnostic;
 * a refused probe is no news. */
static int on_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
        char line[WATCH_TEXT_MAX];

        if (level != LIBBPF_WARN || libbpf_error[0])
                return 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        vsnprintf(line, sizeof(line), format, args);
#pragma GCC diagnostic pop
        line[strcspn(line, "\n")] = 0;
        memcpy(libbpf_error, line, sizeof(libbpf_error));
        return 0;
}

/* Why there is no use in trying; NULL: try. By the kernel's own list, or, where securityfs is not mounted,
 * by a program that cannot be attached to anything: an attempt with all of them takes longer. */
static const char *why_no_lsm(const struct watch_options *o)
{
        _cleanup_file_ FILE *f = o->no_lsm ? NULL : fopen("/sys/kernel/security/lsm", "re");
        char list[WATCH_TEXT_MAX] = "";

        if (o->no_lsm)
                return "BPF LSM is switched off";
        if (!f)
                return libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_LSM, NULL) == 0
                               ? "the kernel refuses BPF LSM programs"
                               : NULL;
        if (fgets(list, sizeof(list), f))
                list[strcspn(list, "\n")] = 0;
        char *save = NULL;
        for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save))
                if (strcmp(name, "bpf") == 0)
                        return NULL;
        return "BPF LSM is not in /sys/kernel/security/lsm";
}

static int netns_cookie(uint64_t *ret)
{
        _cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(*ret);

        if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &size) < 0)
                return -errno;
        return 0;
}

/* All maps that must outlive this process; programs' constants and the scope are their own. */
static int set_pins(struct watch *w, struct onchannel_bpf *bpf, bool reuse)
{
        struct bpf_map *map;

        bpf_object__for_each_map(map, bpf->obj)
        {
                char path[WATCH_PATH_MAX];

                if (bpf_map__is_internal(map) || map == bpf->maps.oc_scope)
                        continue;
                int r = watch_pin_path(w->bpffs, bpf_map__name(map), path);
                if (r == 0 && !reuse && unlink(path) < 0 && errno != ENOENT)
                        r = -errno;
                if (r == 0)
                        r = bpf_map__set_pin_path(map, path);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* As many as there can be, so that nobody fills it with children of their own. What is pinned goes on, unless it is smaller:
 * the processes that run are looked at anyway. */
static int size_tasks(const struct watch *w, struct bpf_map *tasks)
{
        uint64_t threads = 0, numbers = 0;
        struct bpf_map_info info = {};
        uint32_t size = sizeof(info);
        char path[WATCH_PATH_MAX];
        _cleanup_fd_ int fd = -1;
        uint32_t n;
        int r = watch_pin_path(w->bpffs, bpf_map__name(tasks), path);

        if (r < 0)
                return r;
        (void)file_read_number("/proc/sys/kernel/threads-max", &threads);
        (void)file_read_number("/proc/sys/kernel/pid_max", &numbers);
        n = (uint32_t)(threads < numbers ? threads : numbers);
        if (n < bpf_map__max_entries(tasks))
                n = bpf_map__max_entries(tasks);
        fd = bpf_obj_get(path);
        if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.max_entries >= n)
                n = info.max_entries;
        else if (fd >= 0 && unlink(path) < 0 && errno != ENOENT)
                return -errno;
        return bpf_map__set_max_entries(tasks, n);
}

/* Whether the kernel takes a program before this function of its own: some have none of that name, or no trampolines. */
static bool can_follow(const char *function)
{
        LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_FENTRY);
        const struct bpf_insn nothing[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
                                           {.code = BPF_JMP | BPF_EXIT}};

        int id = libbpf_find_vmlinux_btf_id(function, BPF_TRACE_FENTRY);
        options.attach_btf_id = (uint32_t)id;
        _cleanup_fd_ int fd =
                id < 0 ? -1 : bpf_prog_load(BPF_PROG_TYPE_TRACING, "oc_probe", "GPL", nothing, 2, &options);
        _cleanup_fd_ int link = fd < 0 ? -1 : bpf_link_create(fd, 0, BPF_TRACE_FENTRY, NULL);
        return link >= 0;
}

/* Which BPF LSM programs to try. */
enum lsm {
        LSM_ALL,
        LSM_EXEC,
        LSM_NONE,
        _LSM_MAX,
};

static int choose_programs(struct onchannel_bpf *bpf, enum lsm lsm)
{
        struct bpf_program *p;
        int r = 0;

        bool lend = can_follow("__x64_sys_vmsplice");
        if (!lend)
                r = bpf_program__set_autoload(bpf->progs.oc_lend, false);
        if (r == 0 && !(lend && can_follow("__ia32_sys_vmsplice")))
                r = bpf_program__set_autoload(bpf->progs.oc_lend32, false);
        if (r == 0 && !can_follow("security_task_prctl"))
                r = bpf_program__set_autoload(bpf->progs.oc_keep_exe, false);
        bpf_object__for_each_program(p, bpf->obj)
        {
                bool load = lsm == LSM_ALL || (lsm == LSM_EXEC && p == bpf->progs.oc_exec_check);

                if (r == 0 && bpf_program__type(p) == BPF_PROG_TYPE_LSM)
                        r = bpf_program__set_autoload(p, load);
        }
        return r;
}

static int load_once(struct watch *w, const struct watch_options *o, enum lsm lsm, bool reuse)
{
        struct onchannel_bpf *bpf = onchannel_bpf__open();

        libbpf_error[0] = 0;
        if (!bpf)
                return -errno;
        bpf->rodata->oc_mark_mask = o->mark_mask;
        bpf->rodata->oc_mark_shift = (unsigned)__builtin_ctz(o->mark_mask);
        uint64_t cookie = 0;
        int r = netns_cookie(&cookie);
        bpf->rodata->oc_netns_cookie = cookie;
        if (r == 0)
                r = choose_programs(bpf, lsm);
        if (r == 0)
                r = set_pins(w, bpf, reuse);
        if (r == 0)
                r = size_tasks(w, bpf->maps.oc_tasks);
        if (r == 0)
                r = onchannel_bpf__load(bpf);
        if (r < 0) {
                onchannel_bpf__destroy(bpf);
                return r;
        }
        w->bpf = bpf;
        return 0;
}

/* In a child whose number the program knows: it denies every exec of it, so EPERM shows that
 * the hook fires. Otherwise the kernel finds that one byte is no program. */
static int probe_child(int go)
{
        _cleanup_fd_ int fd = memfd_create("onchannel-probe", MFD_CLOEXEC);
        char *const argv[] = {(char *)"onchannel-probe", NULL}; /* Linux 5.18 logs an empty one */
        char *const env[] = {NULL};
        char c;

        if (fd < 0 || write(fd, "x", 1) != 1 || read(go, &c, 1) != 1)
                return 0;
        fexecve(fd, argv, env);
        return errno == EPERM;
}

static bool lsm_fires(struct watch *w)
{
        int fds[2], status = 0;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return false;
        _cleanup_fd_ int wait_fd = fds[0], go_fd = fds[1];
        struct bpf_link *link = bpf_program__attach_lsm(w->bpf->progs.oc_exec_check);
        if (!link)
                return false;
        pid_t pid = fork();
        if (pid == 0) {
                fd_close(&go_fd);
                _exit(probe_child(wait_fd));
        }
        w->bpf->bss->oc_probe_tgid = pid > 0 ? (uint32_t)pid : 0;
        bool asked = pid > 0 && write(go_fd, "g", 1) == 1;
        fd_close(&go_fd);
        bool answered = pid > 0 && waitpid(pid, &status, 0) == pid;
        w->bpf->bss->oc_probe_tgid = 0;
        bpf_link__destroy(link);
        return asked && answered && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

/* Tries the best first: with BPF LSM before without, with the pinned maps before new ones. */
int watch_load(struct watch *w, const struct watch_options *o)
{
        const char *why_not = why_no_lsm(o);
        int r = -EINVAL;

        if (!o->mark_mask || o->mark_mask >> __builtin_ctz(o->mark_mask) < OC_CHANNELS - 1)
                return -EINVAL;
        libbpf_set_print(on_libbpf);
        w->exec_path = EXEC_PATH_SIGNAL;
        snprintf(w->exec_reason, sizeof(w->exec_reason), "%s", why_not ? why_not : "");
        for (int attempt = 0; attempt < 2 * _LSM_MAX && !w->bpf; attempt++) {
                enum lsm lsm = (enum lsm)(attempt % _LSM_MAX);
                if (lsm != LSM_NONE && why_not)
                        continue;
                r = load_once(w, o, lsm, attempt < _LSM_MAX);
                if (r < 0 && lsm != LSM_NONE)
                        snprintf(w->exec_reason, sizeof(w->exec_reason), "the kernel refuses BPF LSM programs: %s",
                                 strerror(-r));
                else if (r == 0 && lsm != LSM_NONE)
                        w->exec_path = EXEC_PATH_LSM;
                w->defence = r == 0 && lsm == LSM_ALL;
        }
        if (w->bpf && w->exec_path == EXEC_PATH_LSM && !lsm_fires(w)) {
                w->exec_path = EXEC_PATH_SIGNAL;
                w->defence = false;
                snprintf(w->exec_reason, sizeof(w->exec_reason), "BPF LSM loads but its hook does not fire");
        }
        return w->bpf ? 0 : r;
}
