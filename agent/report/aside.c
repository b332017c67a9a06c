/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/report/internal.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "spool/spool.h"

static int acknowledge(struct spool *s, const char *state_dir)
{
        _cleanup_free_ char *path = format_new("%s/uplink/" ASIDE_ACK, state_dir);
        uint64_t seq;
        int k = path ? file_read_number(path, &seq) : -ENOMEM;

        if (k < 0)
                return k == -ENOENT ? 0 : k;
        return spool_acknowledge(s, seq);
}

/* Seals what an agent that was killed had not; *ret_left: number of the last record, 0 when the collector has all. */
static int look(const struct report_options *o, const char *dir, uint64_t *ret_left)
{
        _cleanup_free_ char *spool_dir = format_new("%s/spool", dir);
        uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
        char device_id[DEVICE_ID_MAX];
        struct spool_options so = {.dir = spool_dir,
                                   .device_id = device_id,
                                   .boot_id = o->boot_id,
                                   .public_key = public_key,
                                   .secret = secret,
                                   .group = o->group};
        struct spool *s = NULL;
        int k = spool_dir ? device_key_load(dir, public_key, secret) : -ENOMEM;

        if (k < 0)
                return k;
        device_id_format(public_key, device_id);
        k = spool_open(&so, &s);
        if (k >= 0)
                k = acknowledge(s, o->state_dir);
        if (k >= 0) {
                const struct spool_state *state = spool_state(s);

                *ret_left = state->acknowledged + 1 < state->next_seq ? state->next_seq - 1 : 0;
        }
        spool_free(s);
        sodium_memzero(secret, sizeof(secret));
        return k;
}

/* Only what a spool has: something else, as a segment that was damaged, stays, and the folder with it. */
static void spool_remove(int dir_fd)
{
        _cleanup_fd_ int fd = openat(dir_fd, "spool", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(dup(fd));

        for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
                const char *dot = strrchr(e->d_name, '.');

                if ((dot && !strcmp(dot, ".seg")) || !strcmp(e->d_name, "lock") || !strcmp(e->d_name, "state"))
                        (void)unlinkat(fd, e->d_name, 0);
        }
        if (d)
                closedir(d);
}

static int remove_all(const char *state_dir, int dir_fd)
{
        _cleanup_free_ char *dir = format_new("%s/aside", state_dir);
        _cleanup_free_ char *ack = format_new("%s/uplink/" ASIDE_ACK, state_dir);

        if (!dir || !ack)
                return -ENOMEM;
        spool_remove(dir_fd);
        if (unlinkat(dir_fd, "spool", AT_REMOVEDIR) < 0)
                return -errno;
        (void)unlinkat(dir_fd, "device.key", 0);
        (void)unlinkat(dir_fd, "device.pub", 0);
        (void)unlink(ack);
        return rmdir(dir) < 0 ? -errno : 0;
}

int aside_tend(const struct report_options *o, uint64_t *ret_left)
{
        _cleanup_free_ char *dir = format_new("%s/aside", o->state_dir);
        _cleanup_fd_ int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        uint64_t left = 0;
        int k;

        *ret_left = 0;
        if (fd < 0)
                return !dir ? -ENOMEM : errno == ENOENT ? 0 : -errno;
        if (faccessat(fd, "device.key", F_OK, 0) < 0)
                return -errno;
        if (fchmod(fd, 0750) < 0 || (o->group >= 0 && fchown(fd, (uid_t)-1, (gid_t)o->group) < 0))
                return -errno;
        k = look(o, dir, &left);
        if (k < 0)
                return k;
        *ret_left = left;
        return left > 0 ? 0 : remove_all(o->state_dir, fd);
}
