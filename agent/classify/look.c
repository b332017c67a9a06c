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

static int open_in_root(int root, const char *path, uint64_t flags)
{
        struct open_how how = {.flags = O_PATH | O_CLOEXEC | flags, .resolve = RESOLVE_IN_ROOT};
        int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how)); /* Linux 5.6 */

        return fd < 0 ? -errno : fd;
}

/* What of /proc is another one's for who asks. */
static bool open_own(int living, const char *path, int *ret)
{
        static const struct {
                const char *prefix;
                const char *replacement; /* below /proc/PID */
        } own[] = {{"/proc/self/", ""}, {"/proc/thread-self/", ""}, {"/dev/fd/", "fd/"}, {"/dev/stdin", "fd/0"}};
        char name[FACT_PATH_MAX + 8];

        for (size_t i = 0; i < ELEMENTSOF(own); i++)
                if (text_starts_with(path, own[i].prefix)) {
                        snprintf(name, sizeof(name), "%s%s", own[i].replacement, path + strlen(own[i].prefix));
                        *ret = openat(living, name, O_PATH | O_CLOEXEC);
                        return true;
                }
        return false;
}

/* The first symbolic link in it becomes what it says, as text. */
static bool expand_link(int root, char path[static FACT_PATH_MAX])
{
        char target[FACT_PATH_MAX], result[FACT_PATH_MAX];

        for (char *end = path; path[0] == '/' && *end;) {
                _cleanup_fd_ int fd = -1;
                ssize_t n;
                char next;

                end += 1 + strcspn(end + 1, "/");
                next = *end;
                *end = '\0';
                fd = open_in_root(root, path, O_NOFOLLOW);
                n = fd < 0 ? -1 : readlinkat(fd, "", target, sizeof(target));
                if (n > 0)
                        *strrchr(path, '/') = '\0';
                if (n > 0 && n < (ssize_t)sizeof(target)) {
                        target[n] = '\0';
                        if (!path_join(path, target, result, sizeof(result)))
                                return false;
                        *end = next;
                        return snprintf(path, FACT_PATH_MAX, "%s%s", result, strcpy(target, end)) < FACT_PATH_MAX;
                }
                *end = next;
        }
        return false;
}

/* A path as the process means it: "/proc/self" and "/dev/fd" are its own, and its root may be. */
static int open_as_seen(int proc, const char *path)
{
        _cleanup_fd_ int living = -1, root = -1, fd = -1;
        char text[FACT_PATH_MAX + 8];
        int r = proc_living(proc, &living);

        if (r < 0)
                return r;
        if (open_own(living, path, &fd))
                return fd < 0 ? -errno : reopen_regular(fd);
        root = openat(living, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return -errno;
        fd = r = open_in_root(root, path, 0);
        if (r == -EXDEV && text_starts_with(path, "/proc/")) { /* by number: a shell's /proc/$$/fd/3 */
                snprintf(text, sizeof(text), "root%s", path);
                fd = openat(living, text, O_PATH | O_CLOEXEC);
        }
        snprintf(text, sizeof(text), "%s", path);
        for (int n = 0; fd < 0 && n < LOOK_LINKS_MAX && expand_link(root, text); n++)
                if (open_own(living, text, &fd))
                        break;
        return fd < 0 ? r : reopen_regular(fd);
}

static int read_all(int fd, bool want_sha256, struct content *c)
{
        const atomic_bool stop = false;
        int r = c->ino ? 0 : content_read(fd, c);

        if (r == 0 && !c->has_print)
                r = content_add_print(fd, c, NULL);
        if (r == 0 && want_sha256 && !c->sha256[0])
                r = content_add_sha256(fd, c, &stop);
        return r;
}

struct mapping {
        uint64_t start, end, offset, inode;
        unsigned major, minor;
};

/* "start-end perms offset dev inode path"; proc(5). */
static bool parse_mapping(const char *line, struct mapping *ret)
{
        return sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %x:%x %" SCNu64, &ret->start, &ret->end,
                      &ret->offset, &ret->major, &ret->minor, &ret->inode) == 6 &&
               ret->inode != 0;
}

static bool is_same_file(const struct mapping *a, const struct mapping *b)
{
        return a->inode == b->inode && a->major == b->major && a->minor == b->minor;
}

/* Fills *ret with the first file for which `want` says so, from the lowest address on: where that lies, a user may
 * choose (ADDR_COMPAT_LAYOUT). */
static bool find_mapping(FILE *maps, bool (*want)(const struct mapping *, const void *), const void *userdata,
                         struct mapping *ret)
{
        _cleanup_free_ char *line = NULL;
        size_t size = 0;

        while (getline(&line, &size, maps) > 0)
                if (parse_mapping(line, ret) && want(ret, userdata))
                        return true;
        return false;
}

static bool has_address(const struct mapping *m, const void *address)
{
        return m->start <= *(const uint64_t *)address && *(const uint64_t *)address < m->end;
}

static bool is_beginning_of(const struct mapping *m, const void *file)
{
        return m->offset == 0 && is_same_file(m, file);
}

static bool is_beginning_of_other(const struct mapping *m, const void *file)
{
        return m->offset == 0 && !is_same_file(m, file);
}

/* The executable in the process' memory, or the other programs and libraries there. */
static void read_mapped(struct look *l, bool others)
{
        _cleanup_fd_ int living = -1, fd = -1;
        _cleanup_file_ FILE *maps = NULL;
        struct mapping exe, m;
        uint64_t code;

        if (proc_living(l->proc, &living) == 0)
                fd = openat(living, "maps", O_RDONLY | O_CLOEXEC);
        maps = fd < 0 ? NULL : fdopen(fd, "r");
        if (!maps)
                return;
        TAKE_FD(fd);
        if (proc_start_code(living, &code) < 0 || !find_mapping(maps, has_address, &code, &exe))
                return;
        rewind(maps);
        if (!others && find_mapping(maps, is_beginning_of, &exe, &m))
                (void)content_read_memory(living, m.start, &l->exe);
        while (others && l->n_contents < LOOK_MAPPED_MAX && find_mapping(maps, is_beginning_of_other, &exe, &m))
                if (content_read_memory(living, m.start, &l->contents[l->n_contents]) == 0)
                        l->n_contents++;
}

void look_at_memory(struct look *l)
{
        read_mapped(l, false);
}

void look_at_exe(struct look *l)
{
        _cleanup_fd_ int fd = proc_open_exe(l->proc);

        if (fd >= 0 && read_all(fd, l->want_sha256, &l->exe) == 0)
                return;
        /* its file system hides from us: see proc_stat_exe() */
        if (!l->has_exe)
                look_at_memory(l);
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

/* By its working folder first: that may have no path any more, or lie outside of its root. */
static int open_file(const struct look *l, const char *suffix)
{
        char path[FACT_PATH_MAX];
        int fd = -ENOENT;

        if (l->relative[0] &&
            (size_t)snprintf(path, sizeof(path), "/proc/self/cwd/%s%s", l->relative, suffix) < sizeof(path))
                fd = open_as_seen(l->proc, path);
        if (fd < 0 && (size_t)snprintf(path, sizeof(path), "%s%s", l->file, suffix) < sizeof(path))
                fd = open_as_seen(l->proc, path);
        return fd;
}

/* What an interpreter makes of a name: an application's folder, or what lacks its suffix. */
static int open_by_name(struct look *l)
{
        static const char *const suffixes[] = {"",          "/__main__.py", ".py", ".js",
                                               "/index.js", ".lua",         ".rb", ".class"};
        int first = -ENOENT, fd = -1;

        for (size_t i = 0; fd < 0 && i < (host_is_interpreter(l->host) ? ELEMENTSOF(suffixes) : 1); i++) {
                fd = open_file(l, suffixes[i]);
                if (i == 0)
                        first = fd;
                else if (fd >= 0 && strlen(l->file) + strlen(suffixes[i]) < sizeof(l->file))
                        strcat(l->file, suffixes[i]);
        }
        return fd < 0 ? first : fd;
}

void look_at_file(struct look *l)
{
        _cleanup_fd_ int fd = open_by_name(l);

        memset(l->contents, 0, sizeof(l->contents));
        l->n_contents = 0;
        l->is_chromium = look_may_be_chromium(l) && has_chromium_beside(l);
        if (fd >= 0 && read_all(fd, l->want_sha256, &l->contents[0]) == 0) {
                l->n_contents = 1;
        } else if (host_is_loader(l->host)) {
                read_mapped(l, true);
                l->result.is_unread = fd == -EACCES && l->n_contents == 0;
        }
}
