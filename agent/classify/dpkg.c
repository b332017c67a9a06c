/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/classify/package.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define LIST_MAX_BYTES       (8u << 20)
#define DIVERSIONS_MAX_BYTES (1u << 20)
#define PACKAGE_NAME_MAX     255

char *dpkg_next_path(char **text)
{
        for (;;) {
                char *line = strsep(text, "\n");

                if (!line)
                        return NULL;
                if (line[0] == '/' && line[1] != '.' && strlen(line) < PACKAGE_PATH_MAX)
                        return line;
        }
}

static bool is_line(const char *line, size_t size, const char *text)
{
        return strlen(text) == size && memcmp(line, text, size) == 0;
}

const char *dpkg_diverted(const char *diversions, const char *path, const char *package,
                          char ret[static PACKAGE_PATH_MAX])
{
        while (*diversions) {
                const char *line[3];
                size_t size[3];

                for (size_t i = 0; i < ELEMENTSOF(line); i++) {
                        line[i] = diversions;
                        size[i] = strcspn(diversions, "\n");
                        diversions += size[i] + (diversions[size[i]] == '\n');
                }
                if (!is_line(line[0], size[0], path) || is_line(line[2], size[2], package) ||
                    size[1] >= PACKAGE_PATH_MAX || line[1][0] != '/')
                        continue;
                memcpy(ret, line[1], size[1]);
                ret[size[1]] = '\0';
                return ret;
        }
        return path;
}

/* "telegram-desktop.list", "libc6:amd64.list" */
static bool package_of(const char *file, char ret[static PACKAGE_NAME_MAX + 1])
{
        size_t size = strcspn(file, ":");

        if (!text_ends_with(file, ".list"))
                return false;
        if (file[size] == '\0')
                size -= strlen(".list");
        if (size == 0 || size > PACKAGE_NAME_MAX)
                return false;
        memcpy(ret, file, size);
        ret[size] = '\0';
        return true;
}

struct dpkg {
        int info; /* the folder of lists */
        const char *diversions;
        package_handler handler;
        void *userdata;
};

static int walk_list(const struct dpkg *d, const char *file, const char *package, uint32_t entry)
{
        _cleanup_free_ char *list = NULL;
        char diverted[PACKAGE_PATH_MAX], *at, *path;
        int r;

        r = file_read_at(d->info, file, LIST_MAX_BYTES, &list, NULL);
        if (r == -ENOENT)
                return 0; /* removed just now */
        if (r < 0)
                return r;
        at = list;
        while (r >= 0 && (path = dpkg_next_path(&at)))
                r = d->handler(dpkg_diverted(d->diversions, path, package, diverted), entry, d->userdata);
        return r;
}

static void dir_closep(DIR **d)
{
        if (*d)
                closedir(*d);
}

int dpkg_walk(const char *dir, const struct ruleset *r, package_handler handler, void *userdata)
{
        _cleanup_free_ char *info = format_new("%s/info", dir), *file = format_new("%s/diversions", dir),
                            *diversions = NULL;
        _cleanup_(dir_closep) DIR *d = info ? opendir(info) : NULL;
        struct dpkg walk = {.diversions = "", .handler = handler, .userdata = userdata};
        int q;

        if (!info || !file)
                return -ENOMEM;
        if (!d)
                return -errno;
        q = file_read(file, DIVERSIONS_MAX_BYTES, &diversions, NULL);
        if (q < 0 && q != -ENOENT)
                return q;
        if (q == 0)
                walk.diversions = diversions;
        walk.info = dirfd(d);
        for (struct dirent *e; (e = readdir(d));) {
                char package[PACKAGE_NAME_MAX + 1];
                uint32_t entry;

                if (!package_of(e->d_name, package))
                        continue;
                entry = rules_match_program(r, &(struct rules_program){.package = package});
                q = entry ? walk_list(&walk, e->d_name, package, entry) : 0;
                if (q < 0)
                        return q;
        }
        return 0;
}

uint64_t package_change_time(const char *dir, const char *name)
{
        _cleanup_free_ char *path = format_new("%s/%s", dir, name);
        struct stat st;

        if (!path || stat(path, &st) < 0)
                return 0;
        return (uint64_t)st.st_ctim.tv_sec * 1000000000 + (uint64_t)st.st_ctim.tv_nsec;
}

uint64_t dpkg_stamp(const char *dir)
{
        /* dpkg writes a new list and renames it: the folder changes */
        return package_change_time(dir, "info") * 31 + package_change_time(dir, "diversions");
}
