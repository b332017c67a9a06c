/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/classify/learn.h"
#include "agent/classify/package.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define PATH_BYTES 4096

struct learning {
        const struct learn_options *o;
        const struct ruleset *r;
        struct known *known;
};

static const char *base_of(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

/* A program's name that tells its channel: a package has helpers that others have as well. */
static bool names_channel(const struct learning *l, const char *path, uint32_t entry)
{
        const struct rule_entry *e = &l->r->entries[entry];
        const char *base = base_of(path);
        uint32_t by_name = rules_match_program(l->r, &(struct rules_program){.path = base});

        return l->r->entries[by_name].channel == e->channel || strcmp(base, e->value) == 0 ||
               strcasestr(base, l->r->channels[e->channel].id);
}

/* By a file beside it that only such have. */
static bool is_shared_runtime(const char *path)
{
        static const char *const beside[] = {
                "icudtl.dat", /* Chromium, Electron, CEF */
                "resources.pak",
                "../lib/app/.jpackage.xml", /* jpackage(1): a launcher, the same in all */
                "../lib/runtime/release",
        };
        char name[PATH_BYTES + 32];
        int folder = (int)(base_of(path) - path);

        for (size_t i = 0; i < ELEMENTSOF(beside); i++) {
                snprintf(name, sizeof(name), "%.*s%s", folder, path, beside[i]);
                if (access(name, F_OK) == 0)
                        return true;
        }
        snprintf(name, sizeof(name), "%s.dll", path); /* .NET's apphost */
        return access(name, F_OK) == 0 || host_of(path) != HOST_NONE;
}

/* Most of a program is mapped when it runs; where most of the file is something else, the
 * program is a runtime (PyInstaller, AppImage, Node's and Deno's bundles) and its build id
 * everybody's. */
static bool is_native(const struct content *c)
{
        return c->build_id[0] && c->loaded_bytes >= c->size / 2;
}

static int add(struct learning *l, struct known_key key, uint32_t entry)
{
        return known_add(l->known, &(struct known_item){.key = key, .entry = entry});
}

/* A script of one line may be anybody's: it must name itself. */
static int add_print(struct learning *l, int fd, struct content *c, const char *path, uint32_t entry)
{
        _cleanup_free_ char *head = NULL;
        int r;

        r = content_add_print(fd, c, &head);
        if (r < 0)
                return r;
        if (text_starts_with(head, "#!") && !strstr(head, base_of(path)))
                return 0;
        return add(l, known_key_print(c), entry);
}

/* Opened, when nobody but the administrator can have written it. */
static int open_trusted(const struct learning *l, const char *path, struct content *ret)
{
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (st.st_uid != l->o->owner || st.st_mode & S_IWOTH)
                return -EPERM;
        r = content_read(fd, ret);
        return r < 0 ? r : TAKE_FD(fd);
}

/* What Electron runs when it lies beside it. */
static bool is_app_archive(const char *path)
{
        return text_ends_with(path, "/resources/app.asar");
}

/* It can be started, or an interpreter runs it. */
static bool is_program(const char *path, const struct stat *st)
{
        static const char *const suffixes[] = {".asar", ".jar", ".js", ".py"};
        bool found = st->st_mode & 0111;

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
                found |= text_ends_with(path, suffixes[i]);
        return found && S_ISREG(st->st_mode);
}

/* A copy is the channel's when it is by its content nobody else's. */
static int learn_content(struct learning *l, int fd, struct content *c, const char *path, uint32_t entry)
{
        int r = 0;

        if (is_app_archive(path) || (names_channel(l, path, entry) && !is_shared_runtime(path)))
                r = is_native(c) ? add(l, known_key_build_id(c), entry) : add_print(l, fd, c, path, entry);
        return r;
}

/* Every program of a package belongs to its channel where it lies. */
static int learn_packaged(const char *listed, uint32_t entry, void *userdata)
{
        struct learning *l = userdata;
        _cleanup_free_ char *path = format_new("%s%s", l->o->root, listed);
        _cleanup_fd_ int fd = -1;
        struct content c;
        struct stat st;
        int r;

        if (!path)
                return -ENOMEM;
        /* /etc: the system's own timers and services start what lies there */
        if (text_starts_with(listed, "/etc/") || lstat(path, &st) < 0 || !is_program(path, &st))
                return 0;
        fd = open_trusted(l, path, &c);
        if (fd < 0)
                return fd == -ENOMEM ? fd : 0;
        r = add(l, known_key_file(&c), entry);
        return r < 0 ? r : learn_content(l, fd, &c, path, entry);
}

/* Nobody but the administrator can put a file there. */
static bool is_trusted_folder(const struct learning *l, const char *path)
{
        char folder[PATH_BYTES];
        struct stat st;

        snprintf(folder, sizeof(folder), "%s", path);
        for (char *slash; (slash = strrchr(folder, '/')) && slash > folder + strlen(l->o->root);) {
                *slash = '\0';
                if (lstat(folder, &st) < 0 || st.st_uid != l->o->owner || st.st_mode & S_IWOTH)
                        return false;
        }
        return true;
}

/* A program that a rule finds. What its name leads to must be the channel's as well: a link may
 * lead to a shell or to busybox. */
static int learn_found(struct learning *l, const char *path, uint32_t entry)
{
        _cleanup_free_ char *real = access(path, F_OK) == 0 ? realpath(path, NULL) : NULL;
        _cleanup_fd_ int fd = -1;
        struct content c;

        if (!real || strlen(real) >= PATH_BYTES || !is_trusted_folder(l, real))
                return 0;
        fd = open_trusted(l, real, &c);
        if (fd < 0)
                return fd == -ENOMEM ? fd : 0;
        return learn_content(l, fd, &c, real, entry);
}

static int learn_pattern(struct learning *l, const char *pattern, uint32_t entry)
{
        _cleanup_free_ char *path = format_new("%s%s", l->o->root, pattern);
        glob_t g = {};
        int r = 0;

        if (!path)
                return -ENOMEM;
        if (!strpbrk(pattern, "*?[\\"))
                return learn_found(l, path, entry);
        if (glob(path, GLOB_NOSORT, NULL, &g) == 0)
                for (size_t i = 0; r == 0 && i < g.gl_pathc; i++)
                        r = learn_found(l, g.gl_pathv[i], entry);
        globfree(&g);
        return r;
}

static int learn_folders(struct learning *l, const char *const *formats, const char *name, uint32_t entry)
{
        int r = 0;

        for (; r == 0 && *formats; formats += 2) {
                _cleanup_free_ char *pattern = format_new("%s/%s%s", formats[0], name, formats[1]);

                r = pattern ? learn_pattern(l, pattern, entry) : -ENOMEM;
        }
        return r;
}

static int learn_entry(struct learning *l, uint32_t i)
{
        /* in front of the value and behind it */
        static const char *const commands[] = {"/usr/bin", "", "/usr/games", "", "/usr/local/bin", "", NULL},
                                 *const flatpaks[] = {"/var/lib/flatpak/app", "/current/active/files/bin/*", NULL},
                                 *const snaps[] = {"/snap", "/current/usr/bin/*", "/snap", "/current/bin/*", NULL};
        const struct rule_entry *e = &l->r->entries[i];

        switch (e->kind) {
        case ENTRY_PROGRAM_NAME:
                return learn_folders(l, commands, e->value, i);
        case ENTRY_PROGRAM_PATH: /* where a user may put files, a pattern finds what the user likes */
                return text_starts_with(e->value, "/usr/") || text_starts_with(e->value, "/opt/")
                               ? learn_pattern(l, e->value, i)
                               : 0;
        case ENTRY_FLATPAK:
                return learn_folders(l, flatpaks, e->value, i);
        case ENTRY_SNAP:
                return learn_folders(l, snaps, e->value, i);
        case ENTRY_SUFFIX:
        case ENTRY_EXACT:
        case ENTRY_EXCEPT:
        case ENTRY_PROBE:
        case ENTRY_PREFIX:
        case ENTRY_PROGRAM_ARGV:
        case ENTRY_PACKAGE:
        case ENTRY_BUILD_ID:
        case ENTRY_SHA256:
        case ENTRY_WEB_URL:
        case ENTRY_WEB_PWA:
        case ENTRY_PORT_TCP:
        case ENTRY_PORT_UDP:
        case _ENTRY_KIND_MAX:
                break;
        }
        return 0;
}

/* Interpreters, loaders and browsers, which a user may copy and rename as well. */
static int learn_hosts(struct learning *l, const char *pattern)
{
        _cleanup_free_ char *path = format_new("%s%s", l->o->root, pattern);
        glob_t g = {};
        int r = 0;

        if (!path)
                return -ENOMEM;
        if (glob(path, GLOB_NOSORT, NULL, &g) == 0)
                for (size_t i = 0; r == 0 && i < g.gl_pathc; i++) {
                        enum host host = host_of(g.gl_pathv[i]);
                        _cleanup_free_ char *real = host == HOST_NONE ? NULL : realpath(g.gl_pathv[i], NULL);
                        struct content c;
                        _cleanup_fd_ int fd = real ? open_trusted(l, real, &c) : -1;

                        if (fd >= 0 && is_native(&c))
                                r = known_add(l->known, &(struct known_item){.key = known_key_build_id(&c),
                                                                             .host = (uint8_t)host});
                }
        globfree(&g);
        return r;
}

/* A database that cannot be read is as good as none: the names and paths still hold. */
static int learn_packages(struct learning *l)
{
        int q = dpkg_walk(l->o->dpkg, l->r, learn_packaged, l);

        if (q != -ENOMEM && q != -E2BIG)
                q = rpm_walk(l->o->rpm, l->r, learn_packaged, l);
        return q == -ENOMEM || q == -E2BIG ? q : 0;
}

uint64_t known_stamp(const struct learn_options *o)
{
        _cleanup_free_ char *flatpak = format_new("%s/var/lib/flatpak", o->root),
                            *snap = format_new("%s/snap", o->root);

        if (!flatpak || !snap)
                return 0;
        /* flatpak touches .changed after each change; snapd makes a folder for each application */
        return ((dpkg_stamp(o->dpkg) * 31 + rpm_stamp(o->rpm)) * 31 + package_change_time(flatpak, ".changed")) * 31 +
               package_change_time(snap, ".");
}

int known_learn(const struct learn_options *o, const struct ruleset *r, struct known **ret)
{
        static const char *const hosts[] = {"/usr/bin/*",          "/lib64/ld-*.so.*",           "/lib/ld-*.so.*",
                                            "/usr/lib/chromium/*", "/usr/lib/firefox*/firefox*", "/opt/*/*/chrome"};
        _cleanup_known_ struct known *k = calloc(1, sizeof(*k));
        struct learning l = {.o = o, .r = r, .known = k};
        int q;

        if (!k)
                return -ENOMEM;
        q = learn_packages(&l);
        for (uint32_t i = 1; q == 0 && i < r->n_entries; i++)
                q = learn_entry(&l, i);
        for (size_t i = 0; q == 0 && i < ELEMENTSOF(hosts); i++)
                q = learn_hosts(&l, hosts[i]);
        if (q < 0 && q != -E2BIG) /* what did fit is known */
                return q;
        known_sort(k);
        *ret = TAKE_PTR(k);
        return 0;
}
