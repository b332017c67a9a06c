/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the writer does at open. Every record is checked against its CRC and its place in the
 * chain. A torn tail (no whole seal behind the tear: nothing of it was ever promised) is cut.
 * At damage the chain ends: the whole records before it stay, the file and all later ones are
 * set aside as *.damaged. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "spool/writer.h"

/* The last acknowledged record: the chain goes on from it even when no segment is left. A state
 * file that is missing or unreadable counts as none: the first segment's header helps out. */
static void load_state(struct spool *s)
{
        _cleanup_free_ char *text = NULL;
        char *hash, *end;
        size_t size;

        memcpy(s->state.head, s->start, CHAIN_HASH_SIZE);
        s->state.next_seq = 1;
        if (file_read_at(s->dir_fd, STATE_NAME, 128, &text, &size) < 0)
                return;
        end = strchr(text, '\n');
        hash = strchr(text, ' ');
        if (!end || !hash || hash > end)
                return;
        *end = '\0';
        *hash++ = '\0';
        if (parse_u64(text, INT64_MAX, &s->state.acknowledged) < 0 ||
            hex_decode(hash, s->state.head, CHAIN_HASH_SIZE) < 0)
                s->state.acknowledged = 0;
        s->state.next_seq = s->state.acknowledged + 1;
        memcpy(s->acknowledged_hash, s->state.head, CHAIN_HASH_SIZE);
}

/* ---- the chain of one segment after the other ---- */

struct walk {
        uint64_t next;
        uint8_t head[CHAIN_HASH_SIZE];
        uint8_t acknowledged_hash[CHAIN_HASH_SIZE];
};

static bool walk_enter(struct walk *w, struct spool *s, const struct segment_header *h)
{
        if (s->n_segments > 0 || h->first == w->next)
                return h->first == w->next && s->pending.n == 0 && memcmp(w->head, h->prev, CHAIN_HASH_SIZE) == 0;
        /* the first one: what stood before it was acknowledged and is deleted */
        w->next = h->first;
        memcpy(w->head, h->prev, CHAIN_HASH_SIZE);
        if (h->first > s->state.acknowledged)
                s->state.acknowledged = h->first - 1;
        if (h->first == s->state.acknowledged + 1)
                memcpy(s->acknowledged_hash, h->prev, CHAIN_HASH_SIZE);
        return true;
}

static bool walk_record(struct walk *w, struct spool *s, const struct frame *f)
{
        uint8_t hash[CHAIN_HASH_SIZE];

        if (f->seq != w->next || s->pending.n == BATCH_RECORDS_MAX)
                return false;
        chain_next(s->device_id, f->seq, w->head, f->salt, f->record, f->record_size, hash);
        if (memcmp(hash, f->hash, CHAIN_HASH_SIZE) != 0)
                return false;
        if (f->seq == s->state.acknowledged && memcmp(hash, w->acknowledged_hash, CHAIN_HASH_SIZE) != 0)
                return false;

        if (s->pending.n++ == 0) {
                s->pending.first = f->seq;
                memcpy(s->pending.prev, w->head, CHAIN_HASH_SIZE);
        }
        memcpy(w->head, hash, CHAIN_HASH_SIZE);
        w->next++;
        return true;
}

static bool walk_seal(struct walk *w, struct spool *s, const struct frame *f)
{
        if (f->seal.first != s->pending.first || f->seal.n != s->pending.n ||
            memcmp(f->seal.prev, s->pending.prev, CHAIN_HASH_SIZE) != 0 ||
            memcmp(f->seal.head, w->head, CHAIN_HASH_SIZE) != 0)
                return false;
        s->pending.n = 0;
        return true;
}

/* 0, or -EBADMSG with *ret_good = offset behind the last frame that is whole and in its place. */
static int walk_segment(struct walk *w, struct spool *s, struct segment_reader *reader, uint64_t first,
                        uint64_t *ret_good)
{
        struct segment_header header;
        struct frame f;
        int r;

        *ret_good = 0;
        r = segment_open(s->dir_fd, first, reader, &header);
        if (r < 0)
                return r;
        if (!walk_enter(w, s, &header))
                return -EBADMSG;
        do {
                *ret_good = reader->good;
                r = segment_next(reader, 0, &f);
                if (r > 0 && !(f.type == FRAME_RECORD ? walk_record(w, s, &f) : walk_seal(w, s, &f)))
                        return -EBADMSG;
        } while (r > 0);
        return r;
}

/* ---- what is not whole ---- */

static int set_aside(struct spool *s, uint64_t first)
{
        char name[SEGMENT_NAME_MAX], damaged[SEGMENT_NAME_MAX + sizeof(DAMAGED_SUFFIX)];
        struct stat st;

        segment_name(first, name);
        snprintf(damaged, sizeof(damaged), "%s" DAMAGED_SUFFIX, name);
        if (fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            renameat(s->dir_fd, name, s->dir_fd, damaged) < 0)
                return -errno;
        s->state.damaged_bytes += (uint64_t)st.st_size;
        return 0;
}

static int copy_start(const struct spool *s, const char *name, uint64_t size)
{
        _cleanup_fd_ int from = -1, to = -1;
        int r;

        from = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        to = openat(s->dir_fd, COPY_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (from < 0 || to < 0)
                return -errno;
        r = spool_share(s, to);
        if (r < 0)
                return r;
        while (size > 0) {
                ssize_t n = sendfile(to, from, NULL, size);

                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                size -= (uint64_t)n;
        }
        return fsync(to) < 0 ? -errno : 0;
}

/* Keep the first `good` bytes under the name, the whole file as *.damaged. A crash in between
 * leaves the damaged file in place, to be found again. */
static int split_damaged(struct spool *s, uint64_t first, uint64_t good, uint64_t size)
{
        char name[SEGMENT_NAME_MAX], damaged[SEGMENT_NAME_MAX + sizeof(DAMAGED_SUFFIX)];
        int r;

        segment_name(first, name);
        snprintf(damaged, sizeof(damaged), "%s" DAMAGED_SUFFIX, name);
        r = copy_start(s, name, good);
        if (r < 0)
                return r;
        unlinkat(s->dir_fd, damaged, 0);
        if (linkat(s->dir_fd, name, s->dir_fd, damaged, 0) < 0 || renameat(s->dir_fd, COPY_NAME, s->dir_fd, name) < 0)
                return -errno;
        s->state.damaged_bytes += size - good;
        return 0;
}

static int cut_tail(struct spool *s, uint64_t first, uint64_t good, uint64_t size)
{
        char name[SEGMENT_NAME_MAX];
        _cleanup_fd_ int fd = -1;

        segment_name(first, name);
        s->state.torn_bytes += size - good;
        if (good <= SEGMENT_HEADER_SIZE)
                return unlinkat(s->dir_fd, name, 0) < 0 ? -errno : 0;
        fd = openat(s->dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || ftruncate(fd, (off_t)good) < 0)
                return -errno;
        return 0;
}

/* 0: the segment is in s->segments, 1: something is wrong with it and the chain ends there. */
static int take_segment(struct walk *w, struct spool *s, uint64_t first, bool last)
{
        _cleanup_(segment_done) struct segment_reader reader = {0};
        uint64_t good;
        struct stat st;
        bool torn;
        int r, failed;

        failed = walk_segment(w, s, &reader, first, &good);
        if (!reader.f || (failed < 0 && failed != -EBADMSG && failed != -EIO))
                return failed;
        if (fstat(fileno(reader.f), &st) < 0)
                return -errno;
        if (failed < 0) {
                /* not torn: a whole frame that is out of place */
                torn = last && failed == -EBADMSG && (good == 0 || good == reader.good) &&
                       segment_has_seal(&reader) == 0;
                if (torn)
                        r = cut_tail(s, first, good, (uint64_t)st.st_size);
                else if (good <= SEGMENT_HEADER_SIZE)
                        r = set_aside(s, first);
                else
                        r = split_damaged(s, first, good, (uint64_t)st.st_size);
                if (r < 0 && r != -EROFS)
                        return r;
                if (good <= SEGMENT_HEADER_SIZE)
                        return 1;
        }
        r = spool_add_segment(s, first, failed < 0 ? good : (uint64_t)st.st_size, -1);
        return r < 0 ? r : failed < 0;
}

static int open_segments(struct spool *s)
{
        for (size_t i = 0; i < s->n_segments; i++) {
                char name[SEGMENT_NAME_MAX];

                segment_name(s->segments[i].first, name);
                s->fd = s->segments[i].fd = spool_open_file(s, name, 0);
                if (s->fd < 0)
                        return s->fd;
        }
        return 0;
}

/* What is left holds only acknowledged records, not even the last of them. */
static int forget_all(struct spool *s)
{
        while (s->n_segments > 0) {
                char name[SEGMENT_NAME_MAX];

                segment_name(spool_last_segment(s)->first, name);
                if (unlinkat(s->dir_fd, name, 0) < 0 && errno != EROFS)
                        return -errno;
                spool_drop_segment(s);
        }
        s->pending.n = 0;
        return 0;
}

int spool_recover(struct spool *s)
{
        _cleanup_free_ uint64_t *list = NULL;
        struct walk w;
        size_t n, i;
        int r;

        load_state(s);
        w.next = s->state.next_seq;
        memcpy(w.head, s->state.head, CHAIN_HASH_SIZE);
        memcpy(w.acknowledged_hash, s->state.head, CHAIN_HASH_SIZE);
        r = segment_list(s->dir_fd, &list, &n);
        if (r < 0)
                return r;

        for (i = 0, r = 0; i < n && r == 0; i++)
                r = take_segment(&w, s, list[i], i == n - 1);
        if (r < 0)
                return r;
        for (; i < n; i++) {
                r = set_aside(s, list[i]);
                if (r < 0 && r != -EROFS)
                        return r;
        }

        if (w.next <= s->state.acknowledged) {
                s->state.next_seq = s->state.acknowledged + 1;
                return forget_all(s);
        }
        s->state.next_seq = w.next;
        memcpy(s->state.head, w.head, CHAIN_HASH_SIZE);
        return open_segments(s);
}
