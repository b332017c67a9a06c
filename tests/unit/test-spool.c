/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/diag.h"
#include "base/io.h"
#include "record/record.h"
#include "spool/writer.h"

#define BOOT "0b1c2d3e-0000-4000-8000-000000000001"

static uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
static char device[DEVICE_ID_MAX];
static char dir[64];

static void remove_all(const char *path)
{
        DIR *d = opendir(path);
        char name[512];

        for (struct dirent *e; d && (e = readdir(d));) {
                snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
                unlink(name);
        }
        if (d)
                closedir(d);
}

static int setup(void **state)
{
        /* in memory: every cut and flip costs fdatasync() a dozen times */
        strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/test-spool-XXXXXX" : "/tmp/test-spool-XXXXXX");
        assert_non_null(mkdtemp(dir));
        device_key_new(public_key, secret);
        device_id_format(public_key, device);
        return 0;
}

static int teardown(void **state)
{
        remove_all(dir);
        return rmdir(dir);
}

static int try_open(uint64_t max_bytes, struct spool **ret)
{
        return spool_open(&(struct spool_options){.dir = dir,
                                                  .max_bytes = max_bytes,
                                                  .device_id = device,
                                                  .boot_id = BOOT,
                                                  .public_key = public_key,
                                                  .secret = secret,
                                                  .group = -1},
                          ret);
}

static struct spool *open_spool(uint64_t max_bytes)
{
        struct spool *s = NULL;

        assert_int_equal(try_open(max_bytes, &s), 0);
        return s;
}

static int append(struct spool *s, size_t size)
{
        char record[RECORD_MAX_BYTES];
        int n = snprintf(record, sizeof(record), "{\"seq\":%llu}", (unsigned long long)spool_state(s)->next_seq);

        if (size > (size_t)n)
                memset(record + n, '.', size - (size_t)n);
        return spool_append(s, record, size > (size_t)n ? size : (size_t)n);
}

/* Reads every batch behind `after`, each verified with its signature and as a continuation of
 * the one before; returns the last sequence number read. */
static uint64_t read_all(uint64_t after)
{
        uint8_t head[CHAIN_HASH_SIZE];
        bool known = false;
        uint64_t first, last;
        size_t size;

        for (;;) {
                _cleanup_(batch_done) struct batch b = {0};
                _cleanup_free_ char *text = NULL;
                struct diag diag = {0};
                int r = spool_read_batch(dir, device, after, &text, &size, &first, &last);

                if (r == -ENODATA)
                        return after;
                assert_int_equal(r, 0);
                assert_int_equal(batch_parse(text, size, public_key, &b, &diag), 0);
                assert_int_equal(b.seal.first, after + 1);
                assert_int_equal(b.seal.first, first);
                assert_int_equal(b.seal.first + b.seal.n - 1, last);
                assert_string_equal(b.boot, BOOT);
                if (known)
                        assert_memory_equal(head, b.seal.prev, sizeof(head));
                for (uint64_t i = 0; i < b.seal.n; i++) {
                        char want[64];
                        int n = snprintf(want, sizeof(want), "{\"seq\":%llu}", (unsigned long long)(first + i));
                        assert_memory_equal(b.records[i], want, (size_t)n);
                }
                memcpy(head, b.seal.head, sizeof(head));
                known = true;
                after = last;
        }
}

static void test_crc(void **state)
{
        /* RFC 3720 B.4 and the usual check value */
        static const uint8_t zeros[32];

        assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
        assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa);
        assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static void test_append_read(void **state)
{
        struct spool *s = open_spool(0);
        char *text = NULL;
        uint64_t first, last;
        size_t size;

        assert_int_equal(spool_state(s)->next_seq, 1);
        assert_int_equal(spool_read_batch(dir, device, 0, &text, &size, &first, &last), -ENODATA);
        for (int i = 0; i < 5; i++)
                assert_int_equal(append(s, 0), 0);
        assert_int_equal(spool_read_batch(dir, device, 0, &text, &size, &first, &last), -ENODATA);
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(read_all(0), 5);
        assert_int_equal(append(s, 0), 0);
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(read_all(5), 6);
        assert_int_equal(spool_read_batch(dir, device, 3, &text, &size, &first, &last), -EBADMSG);
        assert_int_equal(spool_read_batch(dir, device, 6, &text, &size, &first, &last), -ENODATA);
        assert_int_equal(spool_read_batch(dir, device, 7, &text, &size, &first, &last), -ERANGE);
        assert_null(text);

        assert_int_equal(spool_append(s, "", 0), -EINVAL);
        assert_int_equal(spool_append(s, "a\nb", 3), -EINVAL);
        assert_int_equal(append(s, RECORD_MAX_BYTES), 0);
        spool_free(s);
}

static void test_lock(void **state)
{
        struct spool *s = open_spool(0), *other = NULL;

        assert_int_equal(try_open(0, &other), -EBUSY);
        spool_free(s);
        assert_int_equal(try_open(0, &other), 0);
        spool_free(other);
}

/* Records without a seal are sealed at the next open. */
static void test_reopen_unsealed(void **state)
{
        struct spool *s = open_spool(0);

        for (int i = 0; i < 3; i++)
                assert_int_equal(append(s, 0), 0);
        spool_free(s);
        s = open_spool(0);
        assert_int_equal(spool_state(s)->next_seq, 4);
        assert_int_equal(spool_state(s)->torn_bytes, 0);
        assert_int_equal(read_all(0), 3);
        spool_free(s);
}

/* More than a batch holds, unsealed by the caller: split by itself. */
static void test_batch_bound(void **state)
{
        struct spool *s = open_spool(0);

        for (int i = 0; i < BATCH_RECORDS_MAX + 500; i++)
                assert_int_equal(append(s, 0), 0);
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(read_all(0), BATCH_RECORDS_MAX + 500);
        spool_free(s);
}

static size_t count_files(const char *suffix)
{
        DIR *d = opendir(dir);
        size_t n = 0;

        for (struct dirent *e; (e = readdir(d));)
                if (strlen(e->d_name) > strlen(suffix) &&
                    strcmp(e->d_name + strlen(e->d_name) - strlen(suffix), suffix) == 0)
                        n++;
        closedir(d);
        return n;
}

/* Segments turn over, acknowledged ones go, a full spool refuses without using a number up. */
static void test_bound_and_acknowledge(void **state)
{
        struct spool *s = open_spool(64 << 10);
        uint64_t next, first, last, n = 0;
        char *text = NULL;
        size_t size;
        int r;

        while ((r = append(s, 1000)) == 0) {
                assert_int_equal(spool_seal(s), 0);
                n++;
        }
        assert_int_equal(r, -ENOSPC);
        assert_true(spool_state(s)->bytes <= 64 << 10);
        assert_true(count_files(".seg") >= 4);
        next = spool_state(s)->next_seq;
        assert_int_equal(next, n + 1);
        assert_int_equal(append(s, 1000), -ENOSPC);
        assert_int_equal(spool_state(s)->refused, 2);
        assert_int_equal(spool_state(s)->next_seq, next);
        assert_int_equal(read_all(0), n);

        assert_int_equal(spool_acknowledge(s, n + 1), -ERANGE);
        assert_int_equal(spool_acknowledge(s, n / 2), 0);
        assert_int_equal(spool_state(s)->acknowledged, n / 2);
        assert_int_equal(spool_read_batch(dir, device, 0, &text, &size, &first, &last), -ENOENT);
        assert_true(first > 1 && first <= n / 2 + 1);
        assert_int_equal(append(s, 1000), 0);
        assert_int_equal(spool_state(s)->refused, 0);
        assert_int_equal(spool_acknowledge(s, n + 1), -ERANGE); /* not sealed yet */
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(read_all(n / 2), n + 1);
        spool_free(s);

        s = open_spool(64 << 10);
        assert_int_equal(spool_state(s)->acknowledged, n / 2);
        assert_int_equal(spool_state(s)->next_seq, n + 2);
        assert_int_equal(read_all(n / 2), n + 1);
        assert_int_equal(spool_acknowledge(s, n / 2), 0); /* an old one changes nothing */
        spool_free(s);
}

/* Sequence number and hash outlive the last segment. */
static void test_all_acknowledged(void **state)
{
        struct spool *s = open_spool(64 << 10);
        uint8_t head[CHAIN_HASH_SIZE];
        uint64_t n = 0;

        while (append(s, 1000) == 0)
                n++;
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(spool_acknowledge(s, n), 0);
        assert_int_equal(count_files(".seg"), 0);
        assert_int_equal(spool_state(s)->bytes, 0);
        memcpy(head, spool_state(s)->head, sizeof(head));
        spool_free(s);

        s = open_spool(64 << 10);
        assert_int_equal(spool_state(s)->next_seq, n + 1);
        assert_int_equal(spool_state(s)->acknowledged, n);
        assert_memory_equal(spool_state(s)->head, head, sizeof(head));
        assert_int_equal(append(s, 0), 0);
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(read_all(n), n + 1);
        spool_free(s);
}

/* ---- cut, damage, full disk ---- */

#define PROMISES_MAX 64
struct promise { /* up to this offset of the file, `next` sequence numbers were sealed */
        size_t offset;
        uint64_t next;
};

static size_t record_run(struct promise *promises, char **ret, size_t *ret_size)
{
        struct spool *s = open_spool(0);
        size_t n = 0;
        char path[128];

        promises[n++] = (struct promise){0, 1};
        for (int i = 1; i <= 12; i++) {
                assert_int_equal(append(s, 0), 0);
                if (i % 3 == 0) {
                        assert_int_equal(spool_seal(s), 0);
                        promises[n++] = (struct promise){spool_state(s)->bytes, spool_state(s)->next_seq};
                }
        }
        assert_int_equal(append(s, 0), 0); /* never sealed */
        spool_free(s);
        snprintf(path, sizeof(path), "%s/00000000000000000001.seg", dir);
        assert_int_equal(file_read(path, SPOOL_SEGMENT_MAX, ret, ret_size), 0);
        return n;
}

static void put_file(const char *name, const void *data, size_t size)
{
        _cleanup_free_ char *path = format_new("%s/%s", dir, name);
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        assert_int_equal(fd_write_all(fd, data, size), 0);
}

/* A power cut may end the file anywhere, also with zeros or with old blocks behind the end. */
static void test_cut_everywhere(void **state)
{
        static const struct {
                size_t size;
                int byte;
        } tails[] = {{0, 0}, {300, 0}, {700, 0xff}};
        struct promise promises[PROMISES_MAX];
        _cleanup_free_ char *run = NULL, *file = NULL;
        size_t size, n = record_run(promises, &run, &size);

        file = malloc(size + 1000);
        for (size_t t = 0; t < ELEMENTSOF(tails); t++) {
                for (size_t cut = 0; cut <= size; cut++) {
                        uint64_t promised = 1;

                        for (size_t i = 0; i < n; i++)
                                if (promises[i].offset <= cut)
                                        promised = promises[i].next;
                        remove_all(dir);
                        memcpy(file, run, cut);
                        memset(file + cut, tails[t].byte, tails[t].size);
                        put_file("00000000000000000001.seg", file, cut + tails[t].size);

                        struct spool *s = open_spool(0);
                        assert_true(spool_state(s)->next_seq >= promised);
                        assert_true(spool_state(s)->next_seq <= 14);
                        assert_int_equal(count_files(DAMAGED_SUFFIX), 0);
                        assert_int_equal(read_all(0), spool_state(s)->next_seq - 1);
                        assert_int_equal(append(s, 0), 0);
                        assert_int_equal(spool_seal(s), 0);
                        assert_int_equal(read_all(0), spool_state(s)->next_seq - 1);
                        spool_free(s);
                }
        }
}

/* A bit that flips before the last seal is damage: set aside, never silently cut. */
static void test_flip_everywhere(void **state)
{
        struct promise promises[PROMISES_MAX];
        _cleanup_free_ char *run = NULL;
        size_t size, n = record_run(promises, &run, &size);
        size_t sealed = promises[n - 1].offset;

        for (size_t i = 0; i < size; i++) {
                uint64_t promised = 1;

                for (size_t p = 0; p < n; p++)
                        if (promises[p].offset <= i)
                                promised = promises[p].next;
                remove_all(dir);
                run[i] ^= 0x10;
                put_file("00000000000000000001.seg", run, size);
                run[i] ^= 0x10;

                struct spool *s = open_spool(0);
                /* In the last seal itself: nothing whole behind it tells damage from a tear. */
                if (i < promises[n - 1].offset - SEAL_FRAME_SIZE)
                        assert_int_equal(count_files(DAMAGED_SUFFIX), 1);
                if (i >= sealed)
                        assert_int_equal(count_files(DAMAGED_SUFFIX), 0);
                assert_int_equal(spool_state(s)->damaged_bytes > 0, count_files(DAMAGED_SUFFIX) > 0);
                assert_true(spool_state(s)->torn_bytes + spool_state(s)->damaged_bytes > 0);
                assert_true(spool_state(s)->next_seq >= promised);
                assert_int_equal(append(s, 0), 0);
                assert_int_equal(spool_seal(s), 0);
                assert_int_equal(read_all(0), spool_state(s)->next_seq - 1);
                spool_free(s);
        }
}

/* A record that was edited together with its CRC is out of the chain, sealed or not. */
static void test_edited(void **state)
{
        static const struct {
                const char *record;
                uint64_t next;
        } cases[] = {{"{\"seq\":5}", 5}, {"{\"seq\":13}", 13}};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct promise promises[PROMISES_MAX];
                _cleanup_free_ char *run = NULL;
                size_t size;

                record_run(promises, &run, &size);
                uint8_t *frame = memmem(run, size, cases[i].record, strlen(cases[i].record));
                uint32_t body_size = (uint32_t)(RECORD_OVERHEAD - FRAME_HEAD_SIZE + strlen(cases[i].record));
                assert_non_null(frame);
                frame[2] = 'S';
                frame -= RECORD_OVERHEAD;
                uint32_t crc = htobe32(crc32c(0, frame + FRAME_HEAD_SIZE, body_size));
                memcpy(frame + 4, &crc, sizeof(crc));
                remove_all(dir);
                put_file("00000000000000000001.seg", run, size);

                struct spool *s = open_spool(0);
                assert_int_equal(count_files(DAMAGED_SUFFIX), 1);
                assert_int_equal(spool_state(s)->next_seq, cases[i].next);
                assert_int_equal(read_all(0), cases[i].next - 1);
                spool_free(s);
                remove_all(dir);
        }
}

/* Damage in an old segment ends the chain there; what the collector has is not used again. */
static void test_damaged_middle(void **state)
{
        struct spool *s = open_spool(64 << 10);
        uint64_t n = 0, *list = NULL;
        _cleanup_free_ char *segment = NULL;
        char name[SEGMENT_NAME_MAX], path[128];
        size_t size, n_list;
        uint8_t head[CHAIN_HASH_SIZE];

        while (append(s, 1000) == 0) {
                assert_int_equal(spool_seal(s), 0);
                n++;
        }
        spool_free(s);
        _cleanup_fd_ int fd = open(dir, O_RDONLY | O_DIRECTORY);
        assert_int_equal(segment_list(fd, &list, &n_list), 0);
        assert_true(n_list >= 4);
        segment_name(list[1], name);
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        assert_int_equal(file_read(path, SPOOL_SEGMENT_MAX, &segment, &size), 0);
        segment[size / 2] ^= 1;
        put_file(name, segment, size);

        uint64_t first, last;
        char *text = NULL;
        size_t bad = 0;
        for (uint64_t after = list[1] - 1; after < list[2] - 1; after++) {
                int r = spool_read_batch(dir, device, after, &text, &size, &first, &last);

                assert_true(r == 0 || r == -EBADMSG);
                if (r == 0)
                        freep(&text);
                bad += r < 0;
        }
        assert_int_equal(bad, 1);
        text = NULL;
        s = open_spool(64 << 10);
        assert_true(spool_state(s)->next_seq > list[1]);
        assert_true(spool_state(s)->next_seq < list[2]);
        assert_int_equal(count_files(DAMAGED_SUFFIX), n_list - 1);
        assert_int_equal(append(s, 0), 0);
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(read_all(0), spool_state(s)->next_seq - 1);
        spool_free(s);

        /* the same damage, but the collector has acknowledged beyond it */
        remove_all(dir);
        s = open_spool(0);
        for (int i = 0; i < 10; i++) {
                assert_int_equal(append(s, 100), 0);
                assert_int_equal(spool_seal(s), 0);
        }
        assert_int_equal(spool_acknowledge(s, 8), 0);
        spool_free(s);
        freep(&segment);
        snprintf(path, sizeof(path), "%s/00000000000000000001.seg", dir);
        assert_int_equal(file_read(path, SPOOL_SEGMENT_MAX, &segment, &size), 0);
        segment[size / 2] ^= 1;
        put_file("00000000000000000001.seg", segment, size);
        s = open_spool(0);
        assert_int_equal(spool_state(s)->next_seq, 9);
        assert_int_equal(append(s, 0), 0);
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(read_all(8), 9);
        memcpy(head, spool_state(s)->head, sizeof(head));
        spool_free(s);
        s = open_spool(0);
        assert_memory_equal(spool_state(s)->head, head, sizeof(head));
        spool_free(s);
        assert_int_equal(spool_read_batch(dir, device, 0, &text, &size, &first, &last), -ENOENT);
        freep(&list);
}

/* RLIMIT_FSIZE stands for a full disk: a short write, then an error. */
static void test_disk_full(void **state)
{
        struct rlimit was, small = {4096, RLIM_INFINITY};
        struct spool *s = open_spool(0);
        struct stat st;
        char path[128];
        uint64_t next;

        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &was);
        small.rlim_max = was.rlim_max;
        for (int i = 0; i < 3; i++)
                assert_int_equal(append(s, 1000), 0);
        assert_int_equal(spool_seal(s), 0);
        setrlimit(RLIMIT_FSIZE, &small);
        assert_int_equal(append(s, 1000), -EFBIG);
        next = spool_state(s)->next_seq;
        assert_int_equal(next, 4);
        snprintf(path, sizeof(path), "%s/00000000000000000001.seg", dir);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, spool_state(s)->bytes); /* no half frame is left */
        assert_int_equal(append(s, 400), 0); /* fits, its seal does not */
        assert_int_equal(append(s, 100), 0);
        assert_int_equal(spool_seal(s), -EFBIG);
        assert_int_equal(read_all(0), 3);
        setrlimit(RLIMIT_FSIZE, &was);
        assert_int_equal(spool_seal(s), 0);
        assert_int_equal(read_all(0), 5);
        assert_int_equal(append(s, 1000), 0);
        assert_int_equal(spool_seal(s), 0);
        spool_free(s);
        s = open_spool(0);
        assert_int_equal(spool_state(s)->torn_bytes, 0);
        assert_int_equal(read_all(0), 6);
        spool_free(s);
}

/* Another device's records are no continuation of this device's chain. */
static void test_foreign_key(void **state)
{
        struct spool *s = open_spool(0);

        assert_int_equal(append(s, 0), 0);
        assert_int_equal(spool_seal(s), 0);
        spool_free(s);
        device_key_new(public_key, secret);
        device_id_format(public_key, device);
        s = open_spool(0);
        assert_int_equal(spool_state(s)->next_seq, 1);
        assert_int_equal(count_files(DAMAGED_SUFFIX), 1);
        spool_free(s);
}

static void test_state_unreadable(void **state)
{
        static const char *const cases[] = {"", "x", "5", "5 ", "5 zz\n", "-1 00\n", "99999999999999999999 00\n"};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct spool *s = open_spool(64 << 10);
                uint64_t n = 0;

                while (append(s, 1000) == 0) {
                        assert_int_equal(spool_seal(s), 0);
                        n++;
                }
                assert_int_equal(spool_acknowledge(s, n / 2), 0);
                spool_free(s);
                put_file(STATE_NAME, cases[i], strlen(cases[i]));
                s = open_spool(64 << 10);
                assert_int_equal(spool_state(s)->next_seq, n + 1);
                assert_true(spool_state(s)->acknowledged > 0 && spool_state(s)->acknowledged <= n / 2);
                assert_int_equal(read_all(n / 2), n);
                spool_free(s);
                remove_all(dir);
        }
}

int main(void)
{
#define SPOOL_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_crc),
                SPOOL_TEST(test_append_read),
                SPOOL_TEST(test_lock),
                SPOOL_TEST(test_reopen_unsealed),
                SPOOL_TEST(test_batch_bound),
                SPOOL_TEST(test_bound_and_acknowledge),
                SPOOL_TEST(test_all_acknowledged),
                SPOOL_TEST(test_cut_everywhere),
                SPOOL_TEST(test_flip_everywhere),
                SPOOL_TEST(test_edited),
                SPOOL_TEST(test_damaged_middle),
                SPOOL_TEST(test_disk_full),
                SPOOL_TEST(test_foreign_key),
                SPOOL_TEST(test_state_unreadable),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
