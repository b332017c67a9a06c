/* SPDX-License-Identifier: GPL-3.0-or-later */
/* migrate, backup, restore: what an administrator does to a collector as a whole. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "collector/command.h"

#define DATABASE "collector.db" /* SQLite, in the folder and in a backup */
#define DUMP     "database.dump" /* of PostgreSQL, in a backup */
#define COPY_MAX (1 << 30) /* bytes a call */

int command_migrate(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        struct diag d = {0};
        int r;

        if (argc != 2)
                return fail_usage("migrate needs one folder");
        r = config_load(argv[1], &config, &d);
        if (r == 0)
                r = store_open(config.store, STORE_MIGRATE, &s, &d);
        if (r < 0)
                return fail(&d);
        printf("The database is up to date.\n");
        return EXIT_SUCCESS;
}

/* ---- files ---- */

static int file_copy(const char *from, const char *to, mode_t mode)
{
        _cleanup_fd_ int in = open(from, O_RDONLY | O_CLOEXEC);
        _cleanup_fd_ int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        ssize_t n;

        if (in < 0 || out < 0)
                return -errno;
        while ((n = copy_file_range(in, NULL, out, NULL, COPY_MAX, 0)) > 0)
                continue;
        return n < 0 || fsync(out) < 0 ? -errno : 0;
}

/* Regular files, and folders of them; not the database, which is copied as a whole of its own. */
static int folder_copy(const char *from, const char *to, bool with_database)
{
        DIR *d = opendir(from);
        struct dirent *e;
        int r = d ? dir_make(to, 0700) : -errno;

        while (r == 0 && (e = readdir(d))) {
                _cleanup_free_ char *a = format_new("%s/%s", from, e->d_name),
                                    *b = format_new("%s/%s", to, e->d_name);
                struct stat st;

                if (!a || !b || lstat(a, &st) < 0)
                        r = !a || !b ? -ENOMEM : -errno;
                else if (e->d_name[0] == '.' || strcmp(e->d_name, DUMP) == 0 ||
                         (!with_database && text_starts_with(e->d_name, DATABASE)))
                        continue;
                else if (S_ISDIR(st.st_mode))
                        r = folder_copy(a, b, with_database);
                else if (S_ISREG(st.st_mode))
                        r = file_copy(a, b, st.st_mode & 0777);
        }
        if (d)
                closedir(d);
        return r;
}

/* A program of PostgreSQL's; where and as whom it connects is in its environment, where others do not see it. */
static int run(const char *url, char *const argv[])
{
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                if (db_environment(url) == 0)
                        execvp(argv[0], argv);
                fprintf(stderr, "onchannel-collector: %s cannot be run: is Debian's postgresql-client installed?\n",
                        argv[0]);
                _exit(127);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
                return fail_with("cannot run %s: %s", argv[0], strerror(errno));
        return status == 0 ? EXIT_SUCCESS : fail_with("%s failed", argv[0]);
}

/* ---- backup ---- */

static int database_backup(const struct config *c, struct store *s, const char *to)
{
        _cleanup_free_ char *file = NULL, *sql = NULL;
        int r;

        if (db_is_url(c->store)) {
                file = format_new("--file=%s/" DUMP, to);
                return file ? run(c->store, (char *[]){"pg_dump", "--format=custom", "--no-owner", file, NULL})
                            : fail_with("no memory");
        }
        if (strchr(to, '\''))
                return fail_with("'%s': the folder's name must be without quotes", to);
        sql = format_new("VACUUM INTO '%s/" DATABASE "'", to);
        r = sql ? db_script(store_db(s), sql) : -ENOMEM;
        return r < 0 ? fail_with("cannot copy the database: %s", db_error(store_db(s))) : EXIT_SUCCESS;
}

int command_backup(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        int r;

        if (argc != 3)
                return fail_usage("backup needs DIR and the folder to make");
        if (access(argv[2], F_OK) == 0)
                return fail_with("'%s' is there already", argv[2]);
        if (collector_open(argv[1], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        r = folder_copy(argv[1], argv[2], false);
        if (r < 0)
                return fail_with("cannot copy '%s' to '%s': %s", argv[1], argv[2], strerror(-r));
        if (database_backup(&config, s, argv[2]) != EXIT_SUCCESS || audit(s, "backup", argv[2]) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        printf("'%s' holds everything, private keys too: keep it as you keep them.\n", argv[2]);
        return EXIT_SUCCESS;
}

/* ---- restore ---- */

static int database_restore(const struct config *c, const char *from)
{
        _cleanup_free_ char *file = format_new("%s/" DUMP, from);

        if (!file)
                return fail_with("no memory");
        if (!db_is_url(c->store))
                return EXIT_SUCCESS;
        return run(c->store, (char *[]){"pg_restore", "--no-owner", "--single-transaction", "--exit-on-error",
                                        "--dbname=", file, NULL});
}

int command_restore(int argc, char **argv)
{
        _cleanup_(config_done) struct config paths = {0}, config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        struct diag d = {0};
        int r;

        if (argc != 3)
                return fail_usage("restore needs the folder to make and that of a backup");
        if (config_paths(argv[1], &paths) < 0)
                return fail_with("no memory");
        if (access(paths.ini, F_OK) == 0)
                return fail_with("'%s' is there already", paths.ini);
        if (config_load(argv[2], &config, &d) < 0)
                return fail(&d);
        if (database_restore(&config, argv[2]) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        r = folder_copy(argv[2], argv[1], true);
        if (r < 0)
                return fail_with("cannot copy '%s' to '%s': %s", argv[2], argv[1], strerror(-r));
        config_done(&config);
        if (collector_open(argv[1], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        printf("The collector is restored. Agents whose records are newer than the backup are told where it "
               "stands.\n");
        return audit(s, "restore", argv[2]);
}
