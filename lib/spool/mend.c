/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What somebody else did to the folder of a writer that runs: segments and state are put back from what
 * the writer holds open and remembers; bytes that were changed are at least noticed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "spool/writer.h"

#define COPY_CHUNK 65536

static int mend_folder(struct spool *s)
{
        struct stat named, held;
        _cleanup_fd_ int dir = -1, lock = -1;

        if (fstat(s->dir_fd, &held) < 0)
                return -errno;
        if (stat(s->dir, &named) == 0 && named.st_ino == held.st_ino && named.st_dev == held.st_dev)
                return 0;
        int r = dir_make(s->dir, 0700);
        if (r < 0)
                return r;
        dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || (s->group >= 0 && (fchown(dir, (uid_t)-1, (gid_t)s->group) < 0 || fchmod(dir, 0750) < 0)))
                return -errno;
        lock = openat(dir, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EBUSY : -errno;
        fd_close(&s->dir_fd);
        fd_close(&s->lock_fd);
        s->dir_fd = TAKE_FD(dir);
        s->lock_fd = TAKE_FD(lock);
        return 1;
}

static int mend_state(struct spool *s)
{
        if (s->state.acknowledged == 0 || faccessat(s->dir_fd, STATE_NAME, F_OK, 0) == 0)
                return 0;
        int r = spool_save_state(s, s->state.acknowledged, s->acknowledged_hash);
        return r < 0 ? r : 1;
}

static int copy_held(const struct segment *segment, int to)
{
        char chunk[COPY_CHUNK];

        for (uint64_t at = 0; at < segment->size;) {
                uint64_t left = segment->size - at;
                ssize_t n = pread(segment->fd, chunk, left < COPY_CHUNK ? left : COPY_CHUNK, (off_t)at);

                if (n <= 0)
                        return n < 0 ? -errno : -EBADMSG;
                int r = fd_write_all(to, chunk, (size_t)n);
                if (r < 0)
                        return r;
                at += (uint64_t)n;
        }
        return fsync(to) < 0 ? -errno : 0;
}

/* The file under the segment's name is the one that is held open, or becomes it. */
static int mend_segment(struct spool *s, struct segment *segment)
{
        bool is_written = s->fd == segment->fd;
        char name[SEGMENT_NAME_MAX];
        struct stat named, held;
        _cleanup_fd_ int copy = -1;

        segment_name(segment->first, name);
        if (fstat(segment->fd, &held) < 0)
                return -errno;
        if (fstatat(s->dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && named.st_ino == held.st_ino &&
            named.st_dev == held.st_dev)
                return 0;
        copy = openat(s->dir_fd, COPY_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (copy < 0)
                return -errno;
        int r = spool_share(s, copy);
        if (r >= 0)
                r = copy_held(segment, copy);
        if (r < 0)
                return r;
        if (renameat(s->dir_fd, COPY_NAME, s->dir_fd, name) < 0 || fsync(s->dir_fd) < 0)
                return -errno;
        fd_close(&segment->fd);
        segment->fd = TAKE_FD(copy);
        if (is_written)
                s->fd = segment->fd;
        return 1;
}

static int mend_segments(struct spool *s)
{
        bool mended = false;

        for (size_t i = 0; i < s->n_segments; i++) {
                int r = mend_segment(s, &s->segments[i]);

                if (r < 0)
                        return r;
                mended |= r > 0;
        }
        return mended;
}

static int check_bytes(struct spool *s, const struct segment *segment)
{
        _cleanup_(segment_done) struct segment_reader reader = {0};
        struct segment_header header;
        struct frame f;

        int r = segment_open(s->dir_fd, segment->first, &reader, &header);
        while (r >= 0 && reader.good < segment->size) {
                r = segment_next(&reader, 0, &f);
                if (r == 0)
                        r = -EBADMSG;
        }
        return r < 0 ? r : 0;
}

static int check_segments(struct spool *s, bool bytes)
{
        for (size_t i = 0; i < s->n_segments; i++) {
                char name[SEGMENT_NAME_MAX];
                struct stat st;

                segment_name(s->segments[i].first, name);
                if (fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return errno == ENOENT ? -EBADMSG : -errno;
                if ((uint64_t)st.st_size != s->segments[i].size)
                        return -EBADMSG;
                int r = bytes ? check_bytes(s, &s->segments[i]) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

int spool_mend(struct spool *s, bool bytes)
{
        int (*const steps[])(struct spool *) = {mend_folder, mend_state, mend_segments};
        bool mended = false;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
                r = steps[i](s);
                if (r < 0)
                        return r;
                mended |= r > 0;
        }
        r = check_segments(s, bytes);
        return r < 0 ? r : mended;
}
