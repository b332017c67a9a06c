/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What must be there before anything is opened. A disk that was repaired, or somebody, may have left a file where a
 * folder belongs, or the other way round: an agent that gave up over that would enforce nothing after the next boot. */
#include "agent/runtime.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

struct folder {
        const char *name;
        mode_t mode;
        bool for_group; /* the uplink reads it, or writes it with 0770 */
};

static const struct folder folders[] = {
        {"", 0750, true},
        {"/policy", 0700, false},
        {"/policy/links", 0700, false},
        {"/catalogue", 0700, false},
        {"/spool", 0750, true},
        {"/incoming", 0770, true},
        {"/uplink", 0770, true},
        {"/exemptions", 0700, false},
        {"/incoming/links", 0770, true},
        {"/incoming/exemptions", 0770, true},
};

static const char *const files[] = {
        "/" CONFIG_KEPT,
        "/device.pub",
        "/collected",
        "/last-run",
        "/policy/current.ini",
        "/policy/current.ini.minisig",
        "/policy/next.ini",
        "/policy/serial",
        "/policy/signed",
        "/policy/catalogue",
        "/catalogue/current.ini",
        "/catalogue/current.ini.minisig",
        "/catalogue/next.ini",
        "/spool/lock",
        "/spool/state",
        "/exemptions/ledger",
        "/incoming/policy.ini",
        "/incoming/policy.ini.minisig",
        "/incoming/catalogue.ini",
        "/incoming/catalogue.ini.minisig",
        "/uplink/ack",
};

/* A folder may be reached by a link that an administrator made, a file may not. */
static bool is_other(const char *path, bool is_folder)
{
        struct stat s;

        if (lstat(path, &s) < 0)
                return false;
        if (!is_folder)
                return !S_ISREG(s.st_mode);
        return stat(path, &s) < 0 || !S_ISDIR(s.st_mode);
}

static int keep_kind(const char *path, const char *name, bool is_folder, char ret_damaged[static FOLDERS_DAMAGED_MAX])
{
        size_t used = strlen(ret_damaged);
        int r;

        if (!is_other(path, is_folder))
                return 0;
        r = path_set_aside(path);
        if (r < 0)
                return log_errno(LOG_ERR, r, "'%s' is no %s, and cannot be set aside", path,
                                 is_folder ? "folder" : "file");
        snprintf(ret_damaged + used, FOLDERS_DAMAGED_MAX - used, "%s%s", used ? ", " : "", name + 1);
        return 0;
}

static int make_folder(const char *path, const struct folder *f, int gid)
{
        int r = dir_make(path, f->mode);

        if (r >= 0 && chmod(path, f->mode) < 0)
                r = -errno;
        if (r >= 0 && f->for_group && gid >= 0 && chown(path, (uid_t)-1, (gid_t)gid) < 0)
                r = -errno;
        return r;
}

static int make_runtime(const struct config *c)
{
        static const struct folder runtime = {"", 0755, false};
        int r = make_folder(c->runtime, &runtime, -1);

        return r < 0 ? log_errno(LOG_ERR, r, "cannot make the folder '%s'", c->runtime) : 0;
}

int folders_make(const struct config *c, int gid, char ret_damaged[static FOLDERS_DAMAGED_MAX])
{
        *ret_damaged = 0;
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = format_new("%s%s", c->state, folders[i].name);
                int r = path ? 0 : -ENOMEM;

                if (r >= 0 && *folders[i].name)
                        r = keep_kind(path, folders[i].name, true, ret_damaged);
                if (r >= 0)
                        r = make_folder(path, &folders[i], gid);
                if (r == -EROFS) {
                        log_line(LOG_CRIT,
                                 "'%s' is on a read-only file system: the agent blocks, but cannot record anything",
                                 c->state);
                        break;
                }
                if (r < 0)
                        return log_errno(LOG_ERR, r, "cannot make the folder '%s'", path ? path : "");
        }
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_free_ char *path = format_new("%s%s", c->state, files[i]);

                /* what cannot be set aside is told by whoever needs it */
                if (path)
                        (void)keep_kind(path, files[i], false, ret_damaged);
        }
        return make_runtime(c);
}
