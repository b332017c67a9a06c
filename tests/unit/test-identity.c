/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which channel a start belongs to that no name gives away. Programs are copies of this test
 * under other names, which do nothing until they are told to end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <time.h>
#include "agent/classify/identify.h"
#include "base/text.h"
#include "identity-fixture.h"

#define CHILD "ONCHANNEL_TEST_CHILD"

struct answers {
        unsigned n, changes;
        struct fact fact;
        struct classification c;
};

static void on_answer(int r, struct fact *f, const struct classification *c, void *userdata)
{
        struct answers *a = userdata;

        assert_int_equal(r, 0);
        a->n++;
        a->fact = *f;
        a->c = *c;
}

static void on_change(void *userdata)
{
        ((struct answers *)userdata)->changes++;
}

static void copy_self(const char *name)
{
        _cleanup_fd_ int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), out = -1;
        struct stat st;
        off_t at = 0;

        write_file(name, "", 0, 0755);
        out = open(in_folder(name), O_WRONLY | O_CLOEXEC);
        assert_int_equal(fstat(in, &st), 0);
        while (at < st.st_size)
                assert_true(sendfile(out, in, &at, (size_t)(st.st_size - at)) > 0);
}

struct child {
        pid_t pid;
        int stop;
        struct fact fact;
};

/* Starts what a descriptor or a file is and waits until it runs; argv[0] is anything. */
static struct child start(const char *file, int fd, const char *const *argv)
{
        struct child c = {.stop = -1};
        int stop[2], started[2];
        struct timespec t;
        struct stat st;
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
        assert_int_equal(read(started[0], &byte, 1), 0);
        close(started[0]);
        c.stop = stop[1];
        clock_gettime(CLOCK_BOOTTIME, &t);
        c.fact = (struct fact){.layer = LAYER_EXEC,
                               .tgid = (uint32_t)c.pid,
                               .boottime_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec};
        snprintf(c.fact.path, sizeof(c.fact.path), "%s", file ? file : "/dev/fd/3");
        _cleanup_free_ char *exe = format_new("/proc/%d/exe", c.pid);
        assert_int_equal(stat(exe, &st), 0);
        c.fact.exe_ino = st.st_ino;
        return c;
}

static void stop(struct child *c)
{
        int status;

        fd_close(&c->stop);
        assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
}

/* An agent with one channel; what it answers to the start of a child. */
struct agent {
        struct ruleset *rules;
        struct learn_options learn;
        sd_event *event;
        struct identify *identify;
        struct answers answers;
        bool was_pending;
};

static void agent_init(struct agent *a, const char *programs)
{
        const struct identify_options o = {
                .learn = &a->learn, .handler = on_answer, .changed = on_change, .userdata = &a->answers};

        *a = (struct agent){
                .rules = compile(programs),
                .learn = {.root = folder, .dpkg = "/nonexistent", .rpm = "/nonexistent", .owner = getuid()}};
        assert_int_equal(sd_event_new(&a->event), 0);
        assert_int_equal(identify_new(a->event, &o, &a->identify), 0);
        assert_int_equal(identify_set_rules(a->identify, a->rules), 0);
}

static void agent_done(struct agent *a)
{
        identify_free(a->identify);
        sd_event_unref(a->event);
        ruleset_free(a->rules);
}

/* By the agent's children: first what is quick, then what may take long. */
static struct classification ask(struct agent *a, struct child *c)
{
        struct classification k;

        a->answers.n = 0;
        assert_int_equal(identify_start(a->identify, &c->fact, &k), 0);
        a->was_pending = k.pending;
        if (k.pending) {
                while (a->answers.n == 0)
                        assert_true(sd_event_run(a->event, UINT64_MAX) >= 0);
                assert_int_equal(a->answers.n, 1);
                c->fact = a->answers.fact;
                k = a->answers.c;
        }
        assert_int_equal(k.channel, k.entry ? 1 : 0);
        return k;
}

static struct content content_of(const char *path)
{
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        atomic_bool go = false;
        struct content c;

        assert_int_equal(content_read(fd, &c), 0);
        assert_int_equal(content_add_sha256(fd, &c, &go), 0);
        return c;
}

static const struct {
        const char *exe; /* copy of this test */
        const char *argv[5];
        const char *path; /* of the fact, in the folder, when it is the channel's; NULL innocent */
        bool look_at_argv;
} starts[] = {
        {"notes", {"x"}, NULL, false},
        {"python3", {"x"}, NULL, true},
        {"python3", {"x", "notes.txt"}, "notes.txt", true},
        {"python3", {"x", "-W", "ignore", "./notes.txt"}, "notes.txt", true},
        {"python3", {"x", "other.txt"}, NULL, true},
        {"python3", {"x", "missing"}, NULL, true},
        {"python3", {"x", "fifo"}, NULL, true}, /* waits for nobody */
        {"python3", {"x", "/dev/zero"}, NULL, true},
        {"python3", {"x", "-m", "notes.txt"}, NULL, true},
        {"python3", {"x", "-c", "notes.txt"}, NULL, true},
        {"python3", {"x", "/proc/self/cwd/notes.txt"}, "/proc/self/cwd/notes.txt", true},
        {"electron", {"x", "--flag", "notes.txt"}, "notes.txt", true},
        {"ld-linux.so.2", {"x", "notes.txt"}, "notes.txt", true},
        {"wine64", {"x", "notes.txt"}, "notes.txt", true},
        {"cat", {"x", "notes.txt"}, NULL, false},
        {"chrome", {"x", "notes.txt"}, NULL, true}, /* an archive beside it is looked for */
        {"app/run", {"x"}, "app/run", true},
        {"app2/run", {"x"}, NULL, true},
};

static void test_starts(void **state)
{
        static const char script[] = "a messenger", other[] = "no messenger";
        struct content c;
        struct agent a;

        write_file("notes.txt", script, sizeof(script), 0644);
        write_file("other.txt", other, sizeof(other), 0644);
        write_file("app/resources/app.asar", script, sizeof(script), 0644);
        write_file("app2/resources/app.asar", other, sizeof(other), 0644);
        assert_int_equal(mkfifo(in_folder("fifo"), 0644), 0);
        c = content_of(in_folder("notes.txt"));
        _cleanup_free_ char *programs = format_new("sha256 = %s\n", c.sha256);
        agent_init(&a, programs);
        for (size_t i = 0; i < ELEMENTSOF(starts); i++) {
                struct classification k;
                struct child child;

                copy_self(starts[i].exe);
                child = start(starts[i].exe, -1, starts[i].argv);
                k = ask(&a, &child);
                stop(&child);
                if ((k.entry != 0) != (starts[i].path != NULL) || k.look_at_argv != starts[i].look_at_argv)
                        fail_msg("case %zu: entry %u, look_at_argv %d, %s", i, k.entry, k.look_at_argv,
                                 child.fact.path);
                assert_false(k.gone);
                assert_true(a.was_pending); /* there is a SHA-256: the executable is hashed at least */
                if (starts[i].path)
                        assert_string_equal(child.fact.path,
                                            starts[i].path[0] == '/' ? starts[i].path : in_folder(starts[i].path));
        }
        agent_done(&a);
}

static void test_by_hash(void **state)
{
        static const char *const argv[] = {"x", NULL};
        struct content self = content_of("/proc/self/exe");
        _cleanup_free_ char *programs = format_new("sha256 = %s\n", self.sha256);
        char path[512] = "";
        struct agent a;

        assert_true(readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
        agent_init(&a, programs);
        /* a file that changed this second is not remembered */
        for (struct timespec t = {}; (uint64_t)t.tv_sec * 1000000000 < self.ctime_ns + 2000000000;)
                assert_int_equal(clock_gettime(CLOCK_REALTIME, &t), 0);
        for (int i = 0; i < 2; i++) {
                struct child c = start(path, -1, argv);
                struct classification k = ask(&a, &c);

                stop(&c);
                assert_int_equal(k.entry, 1);
                assert_false(k.look_at_argv);
        }
        agent_done(&a);
}

static void test_by_build_id(void **state)
{
        static const char *const argv[] = {"x", NULL}, *const loader[] = {"x", "missing", NULL};
        struct content self = content_of("/proc/self/exe"), memory;
        _cleanup_fd_ int memfd = memfd_create("notes", MFD_CLOEXEC),
                         in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        _cleanup_free_ char *programs = format_new("build_id = %s\n", self.build_id);
        char text[4096] = "";
        struct agent a;

        assert_true(self.build_id[0]);
        while (sendfile(memfd, in, NULL, 1 << 20) > 0)
                ;
        agent_init(&a, programs);
        copy_self("python3");
        for (int i = 0; i < 4; i++) { /* as a memfd, under an interpreter's name, unreadable, mapped by a loader */
                struct child c = i == 0 ? start(NULL, memfd, argv) : start("python3", -1, i == 3 ? loader : argv);
                struct classification k;

                if (i == 2)
                        c.fact.exe_ino = 0;
                k = ask(&a, &c);
                assert_int_equal(k.entry, 1);
                assert_false(k.look_at_argv);
                assert_true(a.was_pending || i != 2);
                _cleanup_free_ char *proc = format_new("/proc/%d", c.pid);
                _cleanup_fd_ int fd = open(proc, O_PATH | O_CLOEXEC), maps = openat(fd, "maps", O_RDONLY | O_CLOEXEC);
                assert_true(read(maps, text, sizeof(text) - 1) > 0);
                /* the first mapping of a file: before it a sanitizer may have its own */
                const char *line = strchr(text, '/');
                while (line && line > text && line[-1] != '\n')
                        line--;
                assert_non_null(line);
                assert_int_equal(content_read_memory(fd, strtoull(line, NULL, 16), &memory), 0);
                assert_string_equal(memory.build_id, self.build_id);
                assert_true(content_read_memory(fd, 0, &memory) < 0);
                stop(&c);
                if (i == 0)
                        assert_string_equal(c.fact.path, "/memfd:notes");
        }
        agent_done(&a);
}

/* The C library's path, from our own memory. */
static void find_libc(char ret[static 512])
{
        _cleanup_file_ FILE *maps = fopen("/proc/self/maps", "re");
        char line[1024];

        while (fgets(line, sizeof(line), maps))
                if (strstr(line, "/libc.so") || strstr(line, "/libc-2") || strstr(line, "musl")) {
                        snprintf(ret, 512, "%.511s", strchr(line, '/'));
                        ret[strcspn(ret, "\n")] = '\0';
                        return;
                }
        fail_msg("no C library is mapped");
}

/* `ld.so FILE` when FILE is gone already: what is mapped tells. */
static void test_loader(void **state)
{
        static const char *const argv[] = {"x", "missing", NULL};
        struct classification k;
        struct content libc;
        struct child c;
        struct agent a;
        char path[512];

        find_libc(path);
        libc = content_of(path);
        assert_true(libc.build_id[0]);
        _cleanup_free_ char *programs = format_new("build_id = %s\n", libc.build_id);
        agent_init(&a, programs);
        copy_self("ld-linux.so.2");
        c = start("ld-linux.so.2", -1, argv);
        /* it has run as far as main(), which reads: the library is mapped */
        for (char state_of = 0; state_of != 'S';) {
                _cleanup_free_ char *name = format_new("/proc/%d/stat", c.pid);
                _cleanup_file_ FILE *f = fopen(name, "re");
                assert_int_equal(fscanf(f, "%*d (%*[^)]) %c", &state_of), 1);
        }
        k = ask(&a, &c);
        stop(&c);
        assert_int_equal(k.entry, 1);
        assert_true(k.look_at_argv);
        agent_done(&a);
}

static void test_learnt(void **state)
{
        static const char *const argv[] = {"x", NULL}, *const module[] = {"x", "-m", "chat-module", NULL};
        static const char list[] = "/usr/bin/chat-desktop\n";
        _cleanup_free_ char *root = strdup(in_folder("machine")), *dpkg = format_new("%s/dpkg", root);
        struct classification k;
        struct child c;
        struct agent a;

        copy_self("machine/usr/bin/chat-desktop");
        copy_self("notes");
        assert_int_equal(dir_make(in_folder("machine/dpkg/info"), 0755), 0);
        agent_init(&a, "package = chat-desktop\nname = chat-module\n");
        a.learn.root = root;
        a.learn.dpkg = dpkg;
        assert_int_equal(identify_set_rules(a.identify, a.rules), 0);
        a.answers.changes = 0;
        c = start("notes", -1, argv);
        k = ask(&a, &c);
        assert_int_equal(k.entry, 0);
        assert_int_equal(a.answers.changes, 0);

        write_file("machine/dpkg/info/chat-desktop.list", list, sizeof(list) - 1, 0644);
        k = ask(&a, &c); /* the same file, now that the package is there */
        stop(&c);
        assert_int_equal(a.answers.changes, 1);
        assert_string_equal(a.rules->entries[k.entry].value, "chat-desktop");
        assert_false(k.look_at_argv);
        c = start(in_folder("machine/usr/bin/chat-desktop"), -1, argv); /* where it belongs */
        k = ask(&a, &c);
        stop(&c);
        assert_string_equal(a.rules->entries[k.entry].value, "chat-desktop");
        assert_int_equal(a.answers.changes, 1);

        /* the same content as an interpreter's: a renamed interpreter is asked what it runs */
        assert_int_equal(remove(in_folder("machine/dpkg/info/chat-desktop.list")), 0);
        assert_int_equal(rename(in_folder("machine/usr/bin/chat-desktop"), in_folder("machine/usr/bin/python3")), 0);
        if (content_of("/proc/self/exe").loaded_bytes >= content_of("/proc/self/exe").size / 2) {
                c = start("notes", -1, module);
                k = ask(&a, &c);
                stop(&c);
                assert_string_equal(a.rules->entries[k.entry].value, "chat-module");
                assert_true(k.look_at_argv);
        }
        agent_done(&a);
}

/* Applications in the folders that flatpak and snapd make, installed while the agent runs. */
static void test_application_folders(void **state)
{
        static const struct {
                const char *rule, *file, *link, *to, *changes;
        } cases[] = {
                {"snap = chat\n", "store/snap/chat/x1/usr/bin/chat", "store/snap/chat/current", "x1", NULL},
                {"flatpak = org.chat.App\n", "store/var/lib/flatpak/app/org.chat.App/1/active/files/bin/chat-main",
                 "store/var/lib/flatpak/app/org.chat.App/current", "1", "store/var/lib/flatpak/.changed"},
        };
        static const char *const argv[] = {"x", NULL};
        _cleanup_free_ char *root = strdup(in_folder("store"));

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct classification k;
                struct child c;
                struct agent a;

                agent_init(&a, cases[i].rule);
                a.learn.root = root;
                assert_int_equal(identify_set_rules(a.identify, a.rules), 0);
                copy_self("notes");
                c = start("notes", -1, argv);
                k = ask(&a, &c);
                assert_int_equal(k.entry, 0);
                copy_self(cases[i].file);
                assert_int_equal(symlink(cases[i].to, in_folder(cases[i].link)), 0);
                if (cases[i].changes)
                        write_file(cases[i].changes, "", 0, 0644);
                k = ask(&a, &c); /* the copy that runs is the application's now */
                stop(&c);
                assert_int_equal(k.entry, 1);
                agent_done(&a);
        }
}

static void test_gone(void **state)
{
        static const char *const argv[] = {"x", NULL};
        struct classification k = {};
        struct child c;
        struct agent a;

        agent_init(&a, "name = chat\n");
        copy_self("notes");
        c = start("notes", -1, argv);
        c.fact.exe_ino++; /* it runs something else by now */
        assert_int_equal(identify_exec(a.identify, &c.fact, &k, true), 0);
        assert_true(k.gone);
        c.fact.exe_ino--;
        stop(&c);
        k.gone = false;
        assert_int_equal(identify_exec(a.identify, &c.fact, &k, true), 0);
        assert_true(k.gone);
        agent_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_starts),      cmocka_unit_test(test_by_hash),
                cmocka_unit_test(test_by_build_id), cmocka_unit_test(test_loader),
                cmocka_unit_test(test_learnt),      cmocka_unit_test(test_application_folders),
                cmocka_unit_test(test_gone),
        };
        sigset_t children;
        char byte;

        if (getenv(CHILD))
                return read(0, &byte, 1) < 0;
        sigemptyset(&children);
        sigaddset(&children, SIGCHLD);
        sigprocmask(SIG_BLOCK, &children, NULL); /* sd_event_add_child(3) */
        return cmocka_run_group_tests(tests, setup, teardown);
}
