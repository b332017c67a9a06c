/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/classify/internal.h"
#include "agent/classify/proc.h"
#include "base/text.h"

#define EVENT_PATH_MAX 191 /* bpf/event.h, OC_PATH_SIZE: longer paths arrive cut */

static bool is_cut(const char *path)
{
        return strlen(path) >= EVENT_PATH_MAX;
}

static void read_cgroup(int fd, char ret_flatpak[static 256], char ret_snap[static 256])
{
        char text[PROC_FILE_MAX], *save = NULL;

        ret_flatpak[0] = ret_snap[0] = '\0';
        if (proc_text(fd, "cgroup", text) < 0)
                return;
        /* cgroups(7): "0::/path" is version 2, "N:name=systemd:/path" systemd's on a hybrid system */
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                char *path = strchr(line, '/');

                if (path && (text_starts_with(line, "0::/") || strstr(line, ":name=systemd:/")))
                        classify_cgroup(path, ret_flatpak, ret_snap);
                if (ret_flatpak[0] || ret_snap[0])
                        return;
        }
}

/* The name that a start goes by: absolute, by text. */
static bool absolute_name(int fd, const char *name, char ret[static FACT_PATH_MAX])
{
        char cwd[FACT_PATH_MAX] = "/";

        if (name[0] != '/' && proc_link(fd, "cwd", cwd, sizeof(cwd)) < 0)
                return false;
        return path_join(cwd, name, ret, FACT_PATH_MAX);
}

/* By this name, without symbolic links resolved: that is what the path is matched for. */
static uint32_t match_name(const struct ruleset *r, int fd, const char *name, struct fact *f)
{
        char path[FACT_PATH_MAX];
        uint32_t entry;

        if (!name[0] || !absolute_name(fd, name, path))
                return 0;
        entry = rules_match_program(r, &(struct rules_program){.path = path});
        if (entry)
                strcpy(f->path, path);
        return entry;
}

/* Of "C:\Program Files\X.exe" nothing is known but its name, "Z:\home\u\X.exe" is a file. */
static const char *windows_path(char *path)
{
        if (!strchr(path, '\\'))
                return path;
        for (char *p = path; *p; p++)
                if (*p == '\\')
                        *p = '/';
        if (path[1] != ':')
                return path;
        return path[0] == 'Z' || path[0] == 'z' ? path + 2 : NULL;
}

bool classify_target(int fd, const struct host_target *t, char ret_name[static FACT_PATH_MAX],
                     char ret_file[static FACT_PATH_MAX])
{
        const char *path = ret_name;

        ret_file[0] = '\0';
        if (t->size == 0 || t->size >= FACT_PATH_MAX)
                return false;
        memcpy(ret_name, t->name, t->size);
        ret_name[t->size] = '\0';
        if (t->is_windows)
                path = windows_path(ret_name);
        if (path && !absolute_name(fd, path, ret_file) &&
            snprintf(ret_file, FACT_PATH_MAX, "/proc/self/cwd/%s", path) >= FACT_PATH_MAX)
                ret_file[0] = '\0';
        return true;
}

/* By the name of what runs. Ends at it, in *w what runs that. */
static void match_targets(const struct ruleset *r, int fd, struct host_walk *w, struct host_match *ret)
{
        char name[FACT_PATH_MAX];
        struct host_target t;

        while (ret->entry == 0 && host_next(w, &t)) {
                const char *path = name;

                if (t.role == HOST_ALSO || !classify_target(fd, &t, name, ret->file))
                        continue;
                if (ret->file[0] && (t.role != HOST_MODULE || strchr(name, '/')))
                        path = ret->file;
                ret->entry = rules_match_program(r, &(struct rules_program){.path = path});
                if (ret->entry && path == name)
                        ret->file[0] = '\0';
                if (host_is_loader(w->host))
                        host_begin(w, host_of(t.name), w->argv + t.at);
                else
                        break;
        }
}

/* ldd(1): glibc's own loader (ld.so(8)) says which libraries a program would need, and runs nothing. */
static bool only_lists(int fd, enum host host)
{
        char path[FACT_PATH_MAX];

        return host == HOST_LOADER && proc_exe_path(fd, path, sizeof(path)) == 0 &&
               (text_starts_with(path, "/usr/lib") || text_starts_with(path, "/lib")) &&
               text_starts_with(strrchr(path, '/'), "/ld-linux") && !proc_is_elsewhere(fd) &&
               proc_has_variable(fd, "LD_TRACE_LOADED_OBJECTS");
}

int classify_host(const struct ruleset *r, int fd, enum host host, struct host_match *ret)
{
        _cleanup_cmdline_ struct proc_cmdline c = {};
        struct host_walk w;
        int error;

        ret->entry = 0;
        ret->file[0] = '\0';
        if (only_lists(fd, host))
                return 0;
        error = proc_cmdline(fd, &c);
        if (error < 0)
                return error;
        host_begin(&w, host, c.argv);
        match_targets(r, fd, &w, ret);
        if (ret->entry)
                return 0;
        host = w.host; /* the loader has the arguments of what it loads */
        if (host_is_interpreter(host))
                c.argv[(size_t)(w.argv - c.argv) + host_arguments(host, w.argv)] = NULL;
        ret->entry = rules_match_program(
                r, &(struct rules_program){.argv = w.argv,
                                           .is_browser = host == HOST_BROWSER || host == HOST_ELECTRON,
                                           .is_interpreter = host != HOST_BROWSER && host != HOST_NONE});
        if (ret->entry)
                ret->file[0] = '\0';
        return 0;
}

static int match_host(const struct ruleset *r, int fd, enum host host, struct fact *f, uint32_t *ret_entry)
{
        struct host_match m;
        int error = classify_host(r, fd, host, &m);

        if (error < 0)
                return error;
        *ret_entry = m.entry;
        if (m.entry && m.file[0])
                strcpy(f->path, m.file);
        return 0;
}

/* Deeper than PATH_MAX nothing has a path: f->path stays what was given. */
static int read_exe(int fd, struct fact *f, struct stat *ret)
{
        char path[FACT_PATH_MAX];
        int r;

        if (f->exe_may_differ)
                r = proc_exe_path(fd, path, sizeof(path));
        else
                r = proc_exe(fd, path, sizeof(path), ret);
        if (r == 0)
                strcpy(f->path, path);
        if (r == -ENAMETOOLONG)
                r = f->exe_may_differ ? 0 : proc_stat_exe(fd, ret);
        return r;
}

/* First what the executable is, which holds for every start of it; then what this start is:
 * its application id, the name it was called by, what its arguments make it run. */
static int match(const struct ruleset *r, int fd, struct fact *f, struct classification *ret)
{
        char given[sizeof(f->path)], flatpak[256], snap[256];
        enum host host;
        struct stat st = {}, again;
        int error;
        /* what a user's own file system says of a file is nothing to go by: see watch_has_executed() */
        bool is_told = f->exe_ino != 0 && !f->exe_may_differ;

        strcpy(given, f->path);
        error = read_exe(fd, f, &st);
        if (error < 0)
                return error;
        if (is_told && f->exe_ino != st.st_ino)
                return -ESRCH; /* it runs something else already, of which another fact tells */
        ret->entry = rules_match_program(r, &(struct rules_program){.path = f->path});
        if (ret->entry)
                return 0;

        host = host_of(f->path);
        read_cgroup(fd, flatpak, snap);
        ret->entry = rules_match_program(r, &(struct rules_program){.flatpak = flatpak, .snap = snap});
        if (!ret->entry && !is_cut(given))
                ret->entry = match_name(r, fd, given, f);
        if (!ret->entry && host != HOST_NONE)
                error = match_host(r, fd, host, f, &ret->entry);
        ret->look_at_argv = ret->entry || host != HOST_NONE;
        if (error == 0 && is_told && (proc_stat_exe(fd, &again) < 0 || again.st_ino != st.st_ino))
                error = -ESRCH; /* what was read may be of its next program */
        return error;
}

int classify_exec(const struct ruleset *r, struct fact *f, struct classification *ret)
{
        struct classification c = {};
        _cleanup_fd_ int fd = -1;
        int error;

        error = proc_open(f->tgid, f->boottime_ns, &fd);
        if (error == 0)
                error = match(r, fd, f, &c);
        if (error == -ESRCH) {
                *ret = (struct classification){.gone = true};
                return 0;
        }
        if (error < 0)
                return error;
        c.channel = r->entries[c.entry].channel;
        *ret = c;
        return 0;
}

void classify_process(struct fact *f)
{
        char path[sizeof(f->path)], comm[PROC_FILE_MAX];
        _cleanup_fd_ int fd = -1;
        /* "/proc/self/exe" is how a browser starts its own helpers */
        bool wants_path = f->path[0] != '/' || is_cut(f->path) || text_starts_with(f->path, "/proc/");

        if ((!wants_path && f->comm[0]) || proc_open(f->tgid, f->boottime_ns, &fd) < 0)
                return;
        if (wants_path && proc_exe_path(fd, path, sizeof(path)) == 0)
                strcpy(f->path, path);
        if (!f->comm[0] && proc_text(fd, "comm", comm) == 0) {
                comm[strcspn(comm, "\n")] = '\0';
                snprintf(f->comm, sizeof(f->comm), "%.16s", comm);
        }
}
