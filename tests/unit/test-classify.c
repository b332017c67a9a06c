/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which channel a started program belongs to. Programs are copies of this test under other
 * names, which do nothing until they are told to end. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "agent/classify/classify.h"
#include "agent/classify/proc.h"
#include "base/io.h"
#include "base/text.h"

#define PWA   "abcdefghijklmnopabcdefghijklmnop"
#define CHILD "ONCHANNEL_TEST_CHILD"

static const char catalogue_text[] =
        "[channel]\nid = chat\nname = Chat\ncategory = messenger\nvendor = Chat\nhomepage = https://chat.example\n"
        "checked = 2026-11-21\nsource = https://chat.example\n"
        "[programs]\nname = chat-desktop\nname = CHAT.exe\nname = deleted-chat\npath = /*/*/lib/chat/main.py\n"
        "argv = --app=https://web.chat.example*\nargv = org.chat.Main\nflatpak = org.example.Chat\nsnap = "
        "chat-desktop\n"
        "[web]\npwa = " PWA "\n";

static struct ruleset *rules;
static char folder[] = "/tmp/oc-classify-XXXXXX";

static int setup(void **state)
{
        const struct catalogue_source source = {"chat.ini", catalogue_text, sizeof(catalogue_text) - 1};
        _cleanup_catalogue_ struct catalogue *c = NULL;
        struct rules_input in = {.device = "test"};
        struct diag d = {};
        int r;

        r = catalogue_parse_files(&source, 1, &c, &d);
        in.catalogue = c;
        if (r == 0)
                r = rules_compile(&in, &rules, &d);
        if (r < 0)
                print_error("%s:%u: %s\n", d.file, d.line, d.text);
        return r < 0 || !mkdtemp(folder) ? -1 : 0;
}

static int teardown(void **state)
{
        _cleanup_free_ char *command = format_new("rm -r %s", folder);

        rules = ruleset_free(rules);
        return system(command);
}

static const char *in_folder(const char *name)
{
        static char path[2][512];
        static unsigned turn;

        turn = !turn;
        snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
        return path[turn];
}

static void copy_self(const char *name)
{
        _cleanup_fd_ int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        _cleanup_fd_ int out = open(in_folder(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
        struct stat st;
        off_t at = 0;

        assert_int_equal(fstat(in, &st), 0);
        while (at < st.st_size)
                assert_true(sendfile(out, in, &at, (size_t)(st.st_size - at)) > 0);
}

struct child {
        pid_t pid;
        int stop; /* closing it ends the child */
        struct fact fact;
};

static uint64_t now_ns(void)
{
        struct timespec t;

        assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &t), 0);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Start `file` (in the folder, or a descriptor when it is NULL) and wait until it runs. */
static struct child start(const char *file, int fd, const char *const *argv)
{
        struct child c = {.stop = -1};
        int stop[2], started[2];
        char byte;

        assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
        assert_int_equal(pipe2(started, O_CLOEXEC), 0);
        c.pid = fork();
        if (c.pid == 0) {
                setenv(CHILD, "1", 1);
                dup2(stop[0], 0);
                if (chdir(folder) < 0)
                        _exit(1);
                if (file)
                        execv(file, (char *const *)argv);
                else
                        fexecve(fd, (char *const *)argv, environ);
                _exit(1);
        }
        close(stop[0]);
        close(started[1]);
        assert_int_equal(read(started[0], &byte, 1), 0); /* the exec closed it */
        close(started[0]);
        c.stop = stop[1];
        c.fact = (struct fact){.layer = LAYER_EXEC, .tgid = (uint32_t)c.pid, .boottime_ns = now_ns()};
        if (file)
                snprintf(c.fact.path, sizeof(c.fact.path), "%s", file);
        return c;
}

static void stop(struct child *c)
{
        int status;

        fd_close(&c->stop);
        assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
        assert_int_equal(status, 0);
}

static struct classification classify(struct child *c)
{
        struct classification k = {};

        assert_int_equal(classify_exec(rules, &c->fact, &k), 0);
        return k;
}

static const struct {
        const char *exe; /* copy of this test */
        const char *script; /* starts with #! exe, or NULL */
        const char *argv[6];
        const char *value; /* of the entry, NULL innocent */
        bool look_at_argv;
        const char *path; /* of the fact, below the folder */
} programs[] = {
        {"chat-desktop", NULL, {"x"}, "chat-desktop", false, "chat-desktop"},
        {"cat", NULL, {"chat-desktop"}, NULL, false, "cat"},
        {"cat", NULL, {"cat", "chat-desktop"}, NULL, false, "cat"},
        {"grep", NULL, {"grep", "--app=https://web.chat.example/"}, NULL, false, "grep"},
        {"chat-desktop-helper", NULL, {"x"}, NULL, false, "chat-desktop-helper"},
        {"chromium", NULL, {"x"}, NULL, true, "chromium"},
        {"chromium",
         NULL,
         {"x", "-a", "--app=https://web.chat.example/x"},
         "--app=https://web.chat.example*",
         true,
         "chromium"},
        {"chromium", NULL, {"x", "--app=https://example.org/?https://web.chat.example/"}, NULL, true, "chromium"},
        {"chrome", NULL, {"x", "--app-id=" PWA}, PWA, true, "chrome"},
        {"electron",
         NULL,
         {"x", "--app=https://web.chat.example/x"},
         "--app=https://web.chat.example*",
         true,
         "electron"},
        {"ld-linux.so.2", NULL, {"x", "./chrome", "--app-id=" PWA}, PWA, true, "ld-linux.so.2"},
        {"python3.11",
         NULL,
         {"x", "x.py", "--app=https://web.chat.example/x", "--app-id=" PWA},
         NULL,
         true,
         "python3.11"},
        {"java", NULL, {"x", "-cp", "y.jar", "org.chat.Main"}, "org.chat.Main", true, "java"},
        {"chrome", NULL, {"x", "org.chat.Main"}, NULL, true, "chrome"},
        {"python3.11", "chat-desktop.py", {"x"}, NULL, true, "python3.11"},
        {"python3.11", "bin/chat-desktop", {"x"}, "chat-desktop", true, "bin/chat-desktop"},
        {"python3.11", NULL, {"x", "bin/../bin/chat-desktop"}, "chat-desktop", true, "bin/chat-desktop"},
        {"python3.11", NULL, {"x", "lib/chat/main.py"}, "/*/*/lib/chat/main.py", true, "lib/chat/main.py"},
        {"python3.11", NULL, {"x", "-m", "deleted-chat"}, "deleted-chat", true, "python3.11"},
        {"python3.11", NULL, {"x", "other.py", "chat-desktop"}, NULL, true, "python3.11"},
        {"wine64", NULL, {"x", "C:\\Program Files\\CHAT.exe"}, "CHAT.exe", true, "wine64"},
        {"ld-linux.so.2", NULL, {"x", "--argv0", "y", "bin/chat-desktop"}, "chat-desktop", true, "bin/chat-desktop"},
};

static void test_programs(void **state)
{
        assert_int_equal(dir_make(in_folder("bin"), 0755), 0);
        assert_int_equal(dir_make(in_folder("lib/chat"), 0755), 0);
        assert_int_equal(file_write_atomic(in_folder("lib/chat/main.py"), "", 0, 0644), 0);
        for (size_t i = 0; i < ELEMENTSOF(programs); i++) {
                _cleanup_free_ char *shebang = format_new("#!%s/%s\n", folder, programs[i].exe);
                const char *file = programs[i].script ? programs[i].script : programs[i].exe;
                struct classification k;
                struct child c;

                copy_self(programs[i].exe);
                if (programs[i].script)
                        assert_int_equal(file_write_atomic(in_folder(file), shebang, strlen(shebang), 0755), 0);
                c = start(file, -1, programs[i].argv);
                k = classify(&c);
                if (strcmp(c.fact.path, in_folder(programs[i].path)) != 0 ||
                    (k.entry != 0) != (programs[i].value != NULL))
                        print_error("case %zu: %s, entry %u\n", i, c.fact.path, k.entry);
                assert_false(k.gone);
                assert_int_equal(k.look_at_argv, programs[i].look_at_argv);
                assert_int_equal(k.channel, programs[i].value ? 1 : 0);
                if (programs[i].value)
                        assert_string_equal(rules->entries[k.entry].value, programs[i].value);
                assert_string_equal(c.fact.path, in_folder(programs[i].path));
                stop(&c);
        }
}

static void test_links(void **state)
{
        static const char *const argv[] = {"x", NULL};
        _cleanup_fd_ int memfd = memfd_create("chat-desktop", MFD_CLOEXEC),
                         self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        struct classification k;
        struct child c;
        struct stat st;
        off_t at = 0;

        copy_self("chat-desktop");
        copy_self("cat");
        assert_int_equal(symlink("chat-desktop", in_folder("innocent")), 0);
        c = start("innocent", -1, argv); /* the executable counts, for good */
        k = classify(&c);
        assert_int_equal(k.channel, 1);
        assert_false(k.look_at_argv);
        assert_string_equal(c.fact.path, in_folder("chat-desktop"));
        stop(&c);

        assert_int_equal(symlink("../cat", in_folder("bin/chat-desktop.tmp")), 0);
        assert_int_equal(rename(in_folder("bin/chat-desktop.tmp"), in_folder("bin/chat-desktop")), 0);
        c = start("bin/chat-desktop", -1, argv); /* like /snap/bin/NAME -> snap: this start only */
        k = classify(&c);
        assert_int_equal(k.channel, 1);
        assert_true(k.look_at_argv);
        assert_string_equal(c.fact.path, in_folder("bin/chat-desktop"));
        stop(&c);

        copy_self("deleted-chat");
        c = start("deleted-chat", -1, argv);
        assert_int_equal(unlink(in_folder("deleted-chat")), 0);
        c.fact.path[0] = '\0';
        assert_int_equal(classify(&c).channel, 1);
        assert_string_equal(c.fact.path, in_folder("deleted-chat"));
        stop(&c);

        copy_self("deleted-chat (deleted)"); /* its real name */
        c = start("deleted-chat (deleted)", -1, argv);
        assert_int_equal(classify(&c).channel, 0);
        assert_string_equal(c.fact.path, in_folder("deleted-chat (deleted)"));
        stop(&c);

        assert_int_equal(fstat(self, &st), 0);
        while (at < st.st_size)
                assert_true(sendfile(memfd, self, &at, (size_t)(st.st_size - at)) > 0);
        c = start(NULL, memfd, argv);
        k = classify(&c);
        assert_int_equal(k.channel, 0);
        assert_string_equal(c.fact.path, "/memfd:chat-desktop");
        stop(&c);
}

/* Nothing is said of a process that took another's number or runs something else by now. */
static void test_gone(void **state)
{
        static const char *const argv[] = {"x", NULL};
        struct fact original;
        struct stat st;
        struct child c;

        copy_self("chat-desktop");
        c = start("chat-desktop", -1, argv);
        original = c.fact;
        assert_int_equal(stat(in_folder("chat-desktop"), &st), 0);

        c.fact.exe_ino = st.st_ino;
        assert_false(classify(&c).gone);
        c.fact.exe_ino = st.st_ino + 1;
        assert_true(classify(&c).gone);
        c.fact = original;
        c.fact.boottime_ns = 1;
        assert_true(classify(&c).gone);
        c.fact = original;
        c.fact.tgid = UINT32_MAX;
        assert_true(classify(&c).gone);

        c.fact = original;
        classify_process(&c.fact);
        assert_string_equal(c.fact.path, in_folder("chat-desktop"));
        assert_string_equal(c.fact.comm, "chat-desktop");
        c.fact = original;
        memset(c.fact.path, 'a', 191); /* cut by the kernel side */
        c.fact.path[0] = '/';
        classify_process(&c.fact);
        assert_string_equal(c.fact.path, in_folder("chat-desktop"));
        strcpy(c.fact.path, "/kept");
        strcpy(c.fact.comm, "kept");
        classify_process(&c.fact);
        assert_string_equal(c.fact.path, "/kept");
        assert_string_equal(c.fact.comm, "kept");
        c.fact = original;
        c.fact.boottime_ns = 1;
        classify_process(&c.fact);
        assert_string_equal(c.fact.path, "chat-desktop");

        c.fact = original;
        stop(&c);
        assert_true(classify(&c).gone);
        classify_process(&c.fact);
        assert_string_equal(c.fact.path, "chat-desktop");
}

/* The folder of version 2's hierarchy, or NULL. */
static const char *cgroup_mount(void)
{
        static const char *const folders[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *file = format_new("%s/cgroup.procs", folders[i]);

                if (access(file, W_OK) == 0)
                        return folders[i];
        }
        return NULL;
}

static void test_application_id(void **state)
{
        static const struct {
                const char *unit;
                const char *value;
        } cases[] = {
                {"app-flatpak-org.example.Chat-4711.scope", "org.example.Chat"},
                {"snap.chat-desktop.app-4711.scope", "chat-desktop"},
                {"app-flatpak-org.example.Other-4711.scope", NULL},
        };
        static const char *const argv[] = {"x", NULL};
        const char *mount = cgroup_mount();

        if (!mount) {
                print_message("skipped: no cgroup v2 hierarchy to write to\n");
                skip();
        }
        copy_self("cat");
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *unit = format_new("%s/oc-classify-%d/%s", mount, getpid(), cases[i].unit);
                _cleanup_free_ char *parent = format_new("%s/oc-classify-%d", mount, getpid());
                _cleanup_free_ char *procs = format_new("%s/cgroup.procs", unit);
                _cleanup_file_ FILE *f = NULL;
                struct classification k;
                struct child c;

                assert_int_equal(dir_make(unit, 0755), 0);
                c = start("cat", -1, argv);
                f = fopen(procs, "we");
                assert_non_null(f);
                assert_true(fprintf(f, "%d\n", c.pid) > 0);
                assert_int_equal(fflush(f), 0);
                k = classify(&c);
                stop(&c);
                assert_int_equal(rmdir(unit), 0);
                assert_int_equal(rmdir(parent), 0);
                assert_int_equal(k.channel, cases[i].value ? 1 : 0);
                assert_int_equal(k.look_at_argv, cases[i].value != NULL); /* cat itself stays innocent */
                if (cases[i].value)
                        assert_string_equal(rules->entries[k.entry].value, cases[i].value);
        }
}

static void test_cmdline(void **state)
{
        enum { N = 6000 };
        _cleanup_free_ const char **argv = calloc(N + 1, sizeof(*argv));
        _cleanup_free_ char *big = malloc(120000);
        struct proc_cmdline cmdline;
        _cleanup_fd_ int fd = -1;
        struct child c;
        size_t n = 0;

        memset(big, 'a', 119999);
        big[119999] = '\0';
        for (size_t i = 0; i < N; i++)
                argv[i] = "";
        copy_self("cat");
        c = start("cat", -1, argv); /* more arguments than are looked at, all empty */
        assert_int_equal(proc_open((uint32_t)c.pid, 0, &fd), 0);
        assert_int_equal(proc_cmdline(fd, &cmdline), 0);
        while (cmdline.argv[n])
                n++;
        assert_int_equal(n, PROC_ARGS_MAX);
        proc_cmdline_done(&cmdline);
        stop(&c);
        assert_int_equal(proc_cmdline(fd, &cmdline), -ESRCH);
        fd_close(&fd);

        argv[0] = argv[1] = argv[2] = argv[3] = big;
        argv[4] = NULL;
        c = start("cat", -1, argv); /* more bytes than are looked at */
        assert_int_equal(proc_open((uint32_t)c.pid, 0, &fd), 0);
        assert_int_equal(proc_cmdline(fd, &cmdline), 0);
        assert_int_equal(cmdline.size, PROC_CMDLINE_MAX);
        assert_int_equal(strlen(cmdline.argv[2]), PROC_CMDLINE_MAX - 240000);
        assert_null(cmdline.argv[3]);
        proc_cmdline_done(&cmdline);
        stop(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_programs),       cmocka_unit_test(test_links),   cmocka_unit_test(test_gone),
                cmocka_unit_test(test_application_id), cmocka_unit_test(test_cmdline),
        };
        char byte;

        if (getenv(CHILD))
                return read(0, &byte, 1) < 0;
        return cmocka_run_group_tests(tests, setup, teardown);
}
