/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A recorded run of the spool's writer, ended at every byte that it writes and at every change of a folder, three times: by
 * kill -9, which leaves what was written; by a power cut, which leaves what was synced of files; and by one that leaves
 * the folder as it was synced last, too. Whatever a seal had promised is read again, in order and signed, and the chain
 * goes on. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/diag.h"
#include "spool/writer.h"
#include "tests/unit/synced.h"

#define BOOT  "0b1c2d3e-0000-4000-8000-000000000001"
#define ENDED 99 /* the run went to its end */

static struct shared {
        bool armed;
        long budget; /* bytes and steps until the end */
        uint64_t promised; /* what spool_seal() has returned for */
        struct synced synced;
} * shared;

static uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
static char device[DEVICE_ID_MAX], dir[64],
        dir_synced[80]; /* the latter: links to what the folder had when it was synced */

/* ---- what libc would do, until the budget is spent ---- */

static void step(void)
{
        if (shared && shared->armed && shared->budget-- <= 0)
                _exit(9);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
        size_t n = size;

        if (shared && shared->armed && (long)size > shared->budget)
                n = (size_t)shared->budget;
        if (n > 0)
                n = (size_t)syscall(SYS_pwrite64, fd, data, n, offset);
        if (shared && shared->armed) {
                shared->budget -= (long)size;
                if (shared->budget < 0)
                        _exit(9);
        }
        return (ssize_t)n;
}

ssize_t write(int fd, const void *data, size_t size)
{
        size_t n = size;

        if (shared && shared->armed && (long)size > shared->budget)
                n = (size_t)shared->budget;
        if (n > 0)
                n = (size_t)syscall(SYS_write, fd, data, n);
        if (shared && shared->armed) {
                shared->budget -= (long)size;
                if (shared->budget < 0)
                        _exit(9);
        }
        return (ssize_t)n;
}

static void remove_one(int at, const char *name)
{
        assert_int_equal(syscall(SYS_unlinkat, at, name, 0), 0);
}

static void each_file(const char *folder, void (*fn)(int at, const char *name))
{
        DIR *d = opendir(folder);

        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d));)
                if (*e->d_name != '.' || strlen(e->d_name) > 2)
                        fn(dirfd(d), e->d_name);
        closedir(d);
}

static void link_to_synced(int at, const char *name)
{
        char path[512];

        snprintf(path, sizeof(path), "%s/%s", dir_synced, name);
        assert_int_equal(linkat(at, name, AT_FDCWD, path, 0), 0);
}

static void link_from_synced(int at, const char *name)
{
        char path[512];

        snprintf(path, sizeof(path), "%s/%s", dir, name);
        assert_int_equal(linkat(at, name, AT_FDCWD, path, 0), 0);
}

static void note_synced(int fd)
{
        struct stat st;

        if (!shared || !shared->armed || fstat(fd, &st) < 0)
                return;
        if (S_ISDIR(st.st_mode)) {
                each_file(dir_synced, remove_one);
                each_file(dir, link_to_synced);
                return;
        }
        *synced_size(&shared->synced, &st) = st.st_size;
}

int fsync(int fd)
{
        step();
        note_synced(fd);
        return 0;
}

int fdatasync(int fd)
{
        return fsync(fd);
}

int renameat(int old, const char *from, int new, const char *to)
{
        step();
        return (int)syscall(SYS_renameat2, old, from, new, to, 0);
}

int rename(const char *from, const char *to)
{
        return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int at, const char *name, int flags)
{
        step();
        return (int)syscall(SYS_unlinkat, at, name, flags);
}

int ftruncate(int fd, off_t size)
{
        step();
        return (int)syscall(SYS_ftruncate, fd, size);
}

/* ---- the run ---- */

static struct spool *open_spool(void)
{
        struct spool *s = NULL;

        if (spool_open(&(struct spool_options){.dir = dir,
                                               .device_id = device,
                                               .boot_id = BOOT,
                                               .public_key = public_key,
                                               .secret = secret,
                                               .group = -1},
                       &s) < 0)
                return NULL;
        return s;
}

static int append(struct spool *s)
{
        char record[64];
        int n = snprintf(record, sizeof(record), "{\"seq\":%llu}", (unsigned long long)spool_state(s)->next_seq);

        return spool_append(s, record, (size_t)n);
}

static int seal(struct spool *s)
{
        int r = spool_seal(s);

        if (r == 0)
                shared->promised = spool_state(s)->next_seq - 1;
        return r;
}

/* Opened, written, sealed, acknowledged in part, left without a seal, opened again, acknowledged whole. */
static void run(void)
{
        struct spool *s = open_spool();

        if (!s || append(s) || append(s) || seal(s) || append(s) || seal(s) || spool_acknowledge(s, 2) || append(s))
                _exit(1);
        s = spool_free(s);
        s = open_spool();
        if (!s || append(s) || seal(s) || spool_acknowledge(s, 5) || append(s) || seal(s))
                _exit(1);
        _exit(ENDED);
}

/* ---- after it ---- */

/* A power cut: what was not synced is not there. */
static void lose_unsynced(int at, const char *name)
{
        struct stat st;
        _cleanup_fd_ int fd = openat(at, name, O_WRONLY | O_CLOEXEC);

        assert_true(fd >= 0 && fstat(fd, &st) == 0);
        if (st.st_size > *synced_size(&shared->synced, &st))
                assert_int_equal(ftruncate(fd, *synced_size(&shared->synced, &st)), 0);
}

/* The batch behind `after`: its last record, or `after` when there is none. */
static uint64_t read_one(uint64_t after)
{
        for (;;) {
                _cleanup_(batch_done) struct batch b = {0};
                _cleanup_free_ char *text = NULL;
                struct diag d = {0};
                uint64_t first, last;
                size_t size;
                int r = spool_read_batch(dir, device, after, &text, &size, &first, &last);

                if (r == -ENODATA)
                        return after;
                if (r == -ENOENT && first > after + 1) /* acknowledged and deleted */
                        after = first - 1;
                if (r == -ENOENT)
                        continue;
                assert_int_equal(r, 0);
                assert_int_equal(batch_parse(text, size, public_key, &b, &d), 0);
                assert_int_equal(b.seal.first, after + 1);
                for (uint64_t i = 0; i < b.seal.n; i++) {
                        char want[64];
                        int n = snprintf(want, sizeof(want), "{\"seq\":%llu}", (unsigned long long)(first + i));

                        assert_true(b.sizes[i] >= (size_t)n);
                        assert_memory_equal(b.records[i], want, (size_t)n);
                }
                return last;
        }
}

static uint64_t read_all(uint64_t after)
{
        for (uint64_t last;; after = last) {
                last = read_one(after);
                if (last == after)
                        return after;
        }
}

enum cut {
        CUT_KILL,
        CUT_POWER,
        CUT_POWER_FOLDER,
        _CUT_MAX,
};
static const char *const cut_names[] = {"kill", "power cut", "power cut that the folder's changes do not outlive"};
_Static_assert(ELEMENTSOF(cut_names) == _CUT_MAX, "enum cut");

static void check(long budget, enum cut cut)
{
        struct spool *s;
        uint64_t last;

        if (cut == CUT_POWER_FOLDER) {
                each_file(dir, remove_one);
                each_file(dir_synced, link_from_synced);
        }
        each_file(dir_synced, remove_one);
        if (cut != CUT_KILL)
                each_file(dir, lose_unsynced);
        s = open_spool();
        if (!s)
                fail_msg("%s at step %ld: it does not open", cut_names[cut], budget);
        if (spool_state(s)->next_seq <= shared->promised || spool_state(s)->damaged_bytes)
                fail_msg("%s at step %ld: %llu were promised, next is %llu", cut_names[cut], budget,
                         (unsigned long long)shared->promised, (unsigned long long)spool_state(s)->next_seq);
        assert_int_equal(append(s), 0);
        assert_int_equal(spool_seal(s), 0);
        last = read_all(0);
        assert_int_equal(last, spool_state(s)->next_seq - 1);
        spool_free(s);
        each_file(dir, remove_one);
}

static int run_until(long budget)
{
        int status;
        pid_t child;

        *shared = (struct shared){.budget = budget};
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                shared->armed = true;
                run();
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        shared->armed = false;
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == ENDED));
        return WEXITSTATUS(status);
}

static void test_cut_at_every_byte(void **state)
{
        for (enum cut cut = 0; cut < _CUT_MAX; cut++) {
                long budget = 0;

                for (; run_until(budget) != ENDED; budget++)
                        check(budget, cut);
                assert_true(budget > 1000);
                assert_int_equal(shared->promised, 6);
                check(budget, cut);
        }
}

/* A collector that is away for 30 days: a coverage record every five minutes, each sealed at once, a hundred
 * violations a day; restarts now and then. All of it waits in order within the usual bound. */
static void test_thirty_days(void **state)
{
        enum { DAYS = 30, HEARTBEATS = 288, VIOLATIONS = 100, RECORD_SIZE = 1300 };
        struct spool *s = open_spool();
        static uint64_t seals[DAYS * (HEARTBEATS + VIOLATIONS)];
        size_t n_seals = 0;
        char record[RECORD_SIZE];

        for (unsigned i = 0; i < DAYS * (HEARTBEATS + VIOLATIONS); i++) {
                int n = snprintf(record, sizeof(record), "{\"seq\":%llu}",
                                 (unsigned long long)spool_state(s)->next_seq);

                memset(record + n, ' ', sizeof(record) - (size_t)n);
                assert_int_equal(spool_append(s, record, sizeof(record)), 0);
                if (i % 4 != 0) {
                        assert_int_equal(spool_seal(s), 0);
                        seals[n_seals++] = spool_state(s)->next_seq - 1;
                }
                if (i % 3000 == 2999) {
                        spool_free(s);
                        s = open_spool();
                        assert_non_null(s);
                }
        }
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(spool_state(s)->refused, 0);
        assert_true(spool_state(s)->bytes < SPOOL_DEFAULT_MAX / 8);
        for (size_t i = 0; i + 1 < n_seals; i += 61) /* each read goes through a segment */
                assert_int_equal(read_one(seals[i]), seals[i + 1]);
        assert_int_equal(read_all(seals[n_seals - 50]), DAYS * (HEARTBEATS + VIOLATIONS));
        assert_int_equal(spool_acknowledge(s, DAYS * (HEARTBEATS + VIOLATIONS)), 0);
        assert_true(spool_state(s)->bytes < SPOOL_SEGMENT_MAX + 4096);
        spool_free(s);
}

static int setup(void **state)
{
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_true(shared != MAP_FAILED);
        strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/test-cut-XXXXXX" : "/tmp/test-cut-XXXXXX");
        assert_non_null(mkdtemp(dir));
        snprintf(dir_synced, sizeof(dir_synced), "%s-synced", dir);
        assert_int_equal(mkdir(dir_synced, 0700), 0);
        device_key_new(public_key, secret);
        device_id_format(public_key, device);
        return 0;
}

static int teardown(void **state)
{
        each_file(dir, remove_one);
        return rmdir(dir_synced) < 0 ? -1 : rmdir(dir);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_cut_at_every_byte, setup, teardown),
                cmocka_unit_test_setup_teardown(test_thirty_days, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
