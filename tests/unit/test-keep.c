/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An agent whose disk turns read-only and is repaired, ended before every step that changes a file; also where the repair
 * takes what the spool had not synced. What was attempted stands in the records of the next agent, once. */
#undef _FORTIFY_SOURCE /* of open(2) */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/report-fixture.h"
#include "tests/unit/synced.h"

#define ENDED   99 /* the run went to its end */
#define FOREVER 100000
#define PEOPLE  3

static struct shared {
        bool armed, read_only;
        long budget, error; /* steps until the end, and until the disk turns read-only */
        int tried[PEOPLE];
        struct fact last; /* until it is taken from the ring buffer */
        bool is_in_ring;
        struct synced synced;
} * shared;

static char runtime[80];

/* ---- what libc would do, until the budget is spent ---- */

static bool is_step(void)
{
        if (!shared || !shared->armed)
                return false;
        if (shared->budget-- <= 0)
                _exit(9);
        if (shared->error-- == 0)
                shared->read_only = true;
        return true;
}

static bool is_refused(const char *path)
{
        return shared && shared->read_only && strncmp(path, dir, strlen(dir)) == 0 &&
               strncmp(path, runtime, strlen(runtime)) != 0;
}

static bool is_file_refused(int fd)
{
        char link[64], path[4096];
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof(path) - 1);
        path[n < 0 ? 0 : n] = '\0';
        if (!is_refused(path))
                return false;
        errno = EROFS;
        return true;
}

static int refused(int error)
{
        errno = error;
        return -1;
}

int open(const char *path, int flags, ...)
{
        va_list list;
        mode_t mode;

        va_start(list, flags);
        mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
        va_end(list);
        if ((flags & O_CREAT) && access(path, F_OK) < 0)
                is_step();
        if ((flags & O_ACCMODE) != O_RDONLY && is_refused(path))
                return refused(EROFS);
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* As ext4 before Linux 6.14: bytes that are there already are written, but only in memory. */
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
        struct stat st;

        is_step();
        if (is_file_refused(fd) && (fstat(fd, &st) < 0 || offset + (off_t)size > st.st_size))
                return -1;
        return syscall(SYS_pwrite64, fd, data, size, offset);
}

int fdatasync(int fd)
{
        struct stat st;

        if (!is_step())
                return 0;
        if (is_file_refused(fd))
                return -1;
        assert_return_code(fstat(fd, &st), errno);
        *synced_size(&shared->synced, &st) = st.st_size;
        return 0;
}

int fsync(int fd)
{
        return is_file_refused(fd) ? -1 : 0;
}

int rename(const char *from, const char *to)
{
        is_step();
        return is_refused(to) ? refused(EROFS) : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
        is_step();
        return is_refused(path) ? refused(EROFS) : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* ---- the run ---- */

static struct report *start_there(void)
{
        struct report_options o = options();
        struct report *r = NULL;

        o.runtime_dir = runtime;
        o.settle_ms = 1;
        assert_int_equal(report_new(&o, event, &r), 0);
        assert_int_equal(report_set_policy(r, &policy), 0);
        return r;
}

static void take(struct report *r)
{
        if (shared->is_in_ring)
                assert_return_code(report_fact(r, &shared->last, &rules), 0);
        shared->is_in_ring = false;
}

static void attempt(struct report *r, int who)
{
        static uint64_t n;

        shared->last = fact(LAYER_DNS, 2, OUTCOME_DROPPED);
        shared->last.uid = (uint32_t)who;
        shared->last.boottime_ns += ++n; /* no two at once */
        shared->tried[who]++;
        shared->is_in_ring = true;
        take(r);
}

/* The loop, until its timers had their turn. */
static void turn(void)
{
        uint64_t end = clock_boottime_ms() + 5;

        while (clock_boottime_ms() < end)
                assert_true(sd_event_run(event, 1000) >= 0);
}

static void run(void)
{
        struct report *r = start_there();

        attempt(r, 0);
        turn();
        attempt(r, 0);
        attempt(r, 1);
        shared->read_only = true;
        attempt(r, 1);
        turn(); /* the record of 1 becomes due */
        attempt(r, 2);
        assert_int_equal(report_set_policy(r, &policy), 0);
        attempt(r, 0);
        _exit(ENDED);
}

/* The next one, on a disk that is read-only still and turns writable under it. */
static void run_again(void)
{
        struct report *r = start_there();
        uint64_t lost;

        take(r);
        attempt(r, 2);
        turn();
        shared->read_only = false;
        assert_true(report_mend(r, false, &lost) >= 0);
        attempt(r, 1);
        assert_int_equal(report_set_policy(r, &policy), 0); /* writes what waits */
        attempt(r, 1);
        turn();
        _exit(ENDED);
}

/* On a disk that stays so. */
static void run_there(void)
{
        struct report *r = start_there();

        take(r);
        attempt(r, 1);
        turn();
        _exit(ENDED);
}

/* What nobody had synced of the segments is gone. */
static void repair(void)
{
        _cleanup_free_ char *path = format_new("%s/spool/00000000000000000001.seg", dir);
        struct stat st;

        shared->read_only = false;
        if (stat(path, &st) == 0)
                assert_return_code(truncate(path, *synced_size(&shared->synced, &st)), errno);
}

static void check(void)
{
        int found[PEOPLE] = {0};
        struct report_state s;
        struct report *r = start_there();

        take(r);
        report_free(r);
        r = start_there();
        report_get_state(r, &s);
        assert_int_equal(s.refused, 0);
        for (uint64_t seq = 1; seq < s.next_seq; seq++) {
                json_auto_t *one = record(r, seq);
                json_t *user = json_object_get(json_object_get(one, "actor"), "user");

                found[atoi(json_string_value(json_object_get(user, "uid")))] += (int)count(one);
        }
        report_free(r);
        for (int i = 0; i < PEOPLE; i++)
                assert_int_equal(found[i], shared->tried[i]);
        assert_int_equal(access(runtime, F_OK), 0);
        assert_int_equal(rmdir(runtime), 0); /* nothing is left in it */
}

/* Whether the run was ended before it was over. */
static bool run_for(void (*f)(void), long steps)
{
        pid_t pid;
        int how;

        shared->budget = steps;
        shared->armed = true;
        pid = fork();
        if (pid == 0) {
                assert_int_equal(sd_event_new(&event), 0);
                f();
        }
        assert_int_equal(waitpid(pid, &how, 0), pid);
        shared->armed = false;
        assert_true(WIFEXITED(how) && (WEXITSTATUS(how) == 9 || WEXITSTATUS(how) == ENDED));
        return WEXITSTATUS(how) == 9;
}

static void begin(void)
{
        *shared = (struct shared){.error = FOREVER};
        assert_int_equal(setup(NULL), 0);
        snprintf(runtime, sizeof(runtime), "%s/run", dir);
        assert_return_code(mkdir(runtime, 0755), errno);
        report_free(start_there()); /* the device has its key */
}

/* second: it is the next agent that is ended. */
static void test_ended(bool second, bool is_repaired)
{
        bool go_on = true;

        for (long steps = 0; go_on; steps++) {
                begin();
                go_on = run_for(run, second ? FOREVER : steps);
                if (is_repaired)
                        repair();
                if (second)
                        go_on = run_for(run_again, steps);
                shared->read_only = false;
                check();
                assert_int_equal(teardown(NULL), 0);
                assert_true(go_on || steps > 10);
        }
}

static void test_first(void **state)
{
        test_ended(false, false);
}

static void test_first_repaired(void **state)
{
        test_ended(false, true);
}

/* The error comes at each step, a second agent finds it, and the repair takes what was not synced. */
static void test_error(void **state)
{
        bool go_on = true;
        long steps;

        for (steps = 0; go_on; steps++) {
                begin();
                shared->error = steps / 2;
                assert_false(run_for(run, FOREVER));
                go_on = shared->error < 0;
                if (steps % 2)
                        assert_false(run_for(run_there, FOREVER));
                repair();
                check();
                assert_int_equal(teardown(NULL), 0);
        }
        assert_true(steps > 20);
}

static void test_next(void **state)
{
        test_ended(true, false);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_first),
                cmocka_unit_test(test_first_repaired),
                cmocka_unit_test(test_next),
                cmocka_unit_test(test_error),
        };

        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        return shared == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
