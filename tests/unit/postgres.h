/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A PostgreSQL server of the test's own: a new cluster in a folder, on a socket there, as a user without rights. */
#include <ftw.h>
#include <glob.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct postgres {
        char dir[48], bin[128], url[128];
};

static inline int postgres_run(const char *command)
{
        struct passwd *nobody = getuid() == 0 ? getpwnam("nobody") : NULL;
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                if (nobody && (setgid(nobody->pw_gid) != 0 || setuid(nobody->pw_uid) != 0))
                        _exit(126);
                if (chdir("/") != 0)
                        _exit(126);
                execl("/bin/sh", "sh", "-c", command, (char *)NULL);
                _exit(127);
        }
        return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

/* A new folder below $TMPDIR. */
static inline char *folder_new(char *ret, size_t size, const char *name)
{
        const char *below = getenv("TMPDIR");

        snprintf(ret, size, "%s/%s-XXXXXX", below ? below : "/tmp", name);
        return mkdtemp(ret);
}

/* False, with a line that says so, where Debian's package postgresql is not installed. */
static inline bool postgres_start(struct postgres *p, const char *options)
{
        glob_t found;
        struct passwd *nobody = getpwnam("nobody");
        char command[2048];

        if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) != 0) {
                fprintf(stderr, "SKIPPED: PostgreSQL is not installed (Debian package postgresql)\n");
                return false;
        }
        snprintf(p->bin, sizeof(p->bin), "%.*s", (int)(strlen(found.gl_pathv[0]) - strlen("/initdb")),
                 found.gl_pathv[0]);
        globfree(&found);
        if (!folder_new(p->dir, sizeof(p->dir), "oc-postgres") ||
            (getuid() == 0 && nobody && chown(p->dir, nobody->pw_uid, nobody->pw_gid) != 0))
                return false;
        snprintf(command, sizeof(command),
                 "cd %s && %s/initdb -D db -U onchannel --locale=C -E UTF8 -A trust >log 2>&1 &&"
                 " %s/pg_ctl -D db -w -l log -o \"-k %s -c listen_addresses='' -c max_connections=40 %s\""
                 " start >>log 2>&1",
                 p->dir, p->bin, p->bin, p->dir, options);
        if (postgres_run(command) != 0) {
                fprintf(stderr, "the PostgreSQL server does not start, see %s/log\n", p->dir);
                exit(1);
        }
        snprintf(p->url, sizeof(p->url), "postgresql://onchannel@/postgres?host=%s", p->dir);
        return true;
}

static inline int postgres_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

/* `how`: fast, immediate */
static inline void postgres_halt(struct postgres *p, const char *how)
{
        char command[256];

        snprintf(command, sizeof(command), "%s/pg_ctl -D %s/db -w -m %s stop >/dev/null", p->bin, p->dir, how);
        postgres_run(command);
}

static inline void postgres_stop(struct postgres *p)
{
        postgres_halt(p, "immediate");
        nftw(p->dir, postgres_remove, 16, FTW_DEPTH | FTW_PHYS);
}
