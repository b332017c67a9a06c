/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "spool/writer.h"

struct spool *spool_free(struct spool *s)
{
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_segments; i++)
                fd_close(&s->segments[i].fd);
        fd_close(&s->dir_fd);
        fd_close(&s->lock_fd); /* last: gives the folder up */
        freep(&s->dir);
        freep(&s->segments);
        freep(&s);
        return NULL;
}
DEFINE_CLEANUP(struct spool, spool_free)

const struct spool_state *spool_state(const struct spool *s)
{
        return &s->state;
}

void spool_unlock(struct spool *s)
{
        fd_close(&s->lock_fd);
}

bool spool_is_outlived(const struct spool *s)
{
        return s->read_only && faccessat(s->dir_fd, ".", W_OK, 0) >= 0;
}

int spool_add_segment(struct spool *s, uint64_t first, uint64_t size, int fd)
{
        struct segment *grown = reallocarray(s->segments, s->n_segments + 1, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        s->segments = grown;
        s->segments[s->n_segments++] = (struct segment){.first = first, .size = size, .fd = fd};
        s->state.bytes += size;
        return 0;
}

void spool_drop_segment(struct spool *s)
{
        struct segment *last = &s->segments[--s->n_segments];

        fd_close(&last->fd);
        s->fd = -1;
        s->dirty = false;
        s->state.bytes -= last->size;
}

int spool_share(const struct spool *s, int fd)
{
        if (s->group >= 0 && fchown(fd, (uid_t)-1, (gid_t)s->group) < 0)
                return -errno;
        if (fchmod(fd, s->group >= 0 ? 0640 : 0600) < 0)
                return -errno;
        return 0;
}

int spool_open_file(struct spool *s, const char *name, int flags)
{
        int fd = openat(s->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);

        if (fd < 0 && errno == EROFS) {
                s->read_only = true;
                fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        }
        return fd < 0 ? -errno : fd;
}

static int lock_folder(struct spool *s)
{
        s->lock_fd = spool_open_file(s, LOCK_NAME, O_CREAT);
        if (s->lock_fd < 0)
                return s->lock_fd;
        if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EBUSY : -errno;
        return 0;
}

int spool_open(const struct spool_options *o, struct spool **ret)
{
        _cleanup_(spool_freep) struct spool *s = NULL;
        int r;

        if (strlen(o->device_id) >= DEVICE_ID_MAX || strlen(o->boot_id) != BOOT_ID_SIZE)
                return -EINVAL;
        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->dir_fd = s->lock_fd = s->fd = -1;
        s->group = o->group;
        s->secret = o->secret;
        s->max_bytes = o->max_bytes ? o->max_bytes : SPOOL_DEFAULT_MAX;
        /* so that acknowledged space is freed in a small spool, too */
        s->segment_max = s->max_bytes / 4 < SPOOL_SEGMENT_MAX ? s->max_bytes / 4 : SPOOL_SEGMENT_MAX;
        strcpy(s->device_id, o->device_id);
        strcpy(s->boot_id, o->boot_id);
        chain_start(o->public_key, s->start);

        s->dir = strdup(o->dir);
        if (!s->dir)
                return -ENOMEM;
        s->dir_fd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->dir_fd < 0)
                return -errno;
        r = lock_folder(s);
        if (r < 0)
                return r;
        r = spool_recover(s);
        if (r < 0)
                return r;
        s->dirty = s->fd >= 0; /* an agent that was killed may have sealed it and not synced */
        r = spool_seal(s);
        if (r < 0 && r != -ENOSPC && r != -EROFS) /* the records wait for a later seal, or a later start */
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

/* Append at the known end; whatever a failed write left behind is cut or overwritten. */
static int write_frame(struct spool *s, const struct buf *frame)
{
        struct segment *last = spool_last_segment(s);
        size_t done = 0;

        if (buf_error(frame) < 0)
                return buf_error(frame);
        if (s->read_only) /* also when it is so no more: what was to be mended at open was not */
                return -EROFS;
        while (done < frame->size) {
                ssize_t n = pwrite(s->fd, frame->data + done, frame->size - done, (off_t)(last->size + done));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        int r = n < 0 ? -errno : -EIO;

                        (void)!ftruncate(s->fd, (off_t)last->size);
                        return r == -EDQUOT ? -ENOSPC : r;
                }
                done += (size_t)n;
        }
        last->size += frame->size;
        s->state.bytes += frame->size;
        return 0;
}

static int new_segment(struct spool *s)
{
        struct segment_header header = {.first = s->state.next_seq};
        _cleanup_buf_ struct buf text = {0};
        char name[SEGMENT_NAME_MAX];
        _cleanup_fd_ int fd = -1;
        int r;

        memcpy(header.prev, s->state.head, CHAIN_HASH_SIZE);
        segment_header_encode(&header, &text);
        segment_name(header.first, name);
        fd = openat(s->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return errno == EDQUOT ? -ENOSPC : -errno;
        r = spool_add_segment(s, header.first, 0, fd);
        if (r >= 0) {
                s->fd = TAKE_FD(fd);
                r = spool_share(s, s->fd);
                if (r >= 0)
                        r = write_frame(s, &text);
                if (r >= 0 && fsync(s->dir_fd) < 0)
                        r = -errno;
                if (r < 0)
                        spool_drop_segment(s);
        }
        if (r < 0)
                unlinkat(s->dir_fd, name, 0);
        return r;
}

/* Make the last segment one that has room for `size` more bytes and a seal. */
static int make_room(struct spool *s, uint64_t size)
{
        struct segment *last = spool_last_segment(s);
        bool rotate = s->fd < 0 ||
                      (last->size > SEGMENT_HEADER_SIZE && last->size + size + SEAL_FRAME_SIZE > s->segment_max);
        int r;

        /* a batch never crosses a segment's end */
        if (s->pending.n == BATCH_RECORDS_MAX || rotate) {
                r = spool_seal(s);
                if (r < 0)
                        return r;
        }
        if (s->state.bytes + (rotate ? SEGMENT_HEADER_SIZE : 0) + size + SEAL_FRAME_SIZE > s->max_bytes)
                return -ENOSPC;
        if (!rotate)
                return 0;
        s->fd = -1;
        return new_segment(s);
}

int spool_append(struct spool *s, const char *record, size_t size)
{
        uint8_t salt[CHAIN_SALT_SIZE], hash[CHAIN_HASH_SIZE];
        _cleanup_buf_ struct buf frame = {0};
        int r;

        if (size == 0 || size > RECORD_MAX_BYTES || memchr(record, '\n', size))
                return -EINVAL;
        r = make_room(s, RECORD_OVERHEAD + size);
        if (r >= 0) {
                randombytes_buf(salt, sizeof(salt));
                chain_next(s->device_id, s->state.next_seq, s->state.head, salt, record, size, hash);
                frame_record_encode(&(struct frame){.seq = s->state.next_seq,
                                                    .salt = salt,
                                                    .hash = hash,
                                                    .record = record,
                                                    .record_size = size},
                                    &frame);
                r = write_frame(s, &frame);
        }
        if (r < 0) {
                if (r == -ENOSPC)
                        s->state.refused++;
                return r;
        }

        if (s->pending.n++ == 0) {
                s->pending.first = s->state.next_seq;
                memcpy(s->pending.prev, s->state.head, CHAIN_HASH_SIZE);
        }
        memcpy(s->state.head, hash, CHAIN_HASH_SIZE);
        s->state.next_seq++;
        s->state.refused = 0;
        return 0;
}

int spool_seal(struct spool *s)
{
        _cleanup_buf_ struct buf frame = {0};
        int r;

        if (s->read_only)
                return -EROFS;
        if (s->pending.n > 0) {
                memcpy(s->pending.head, s->state.head, CHAIN_HASH_SIZE);
                chain_seal_sign(&s->pending, s->device_id, s->secret);
                frame_seal_encode(&s->pending, s->boot_id, &frame);
                r = write_frame(s, &frame);
                if (r < 0)
                        return r;
                s->pending.n = 0;
                s->dirty = true;
        }
        if (s->dirty && fdatasync(s->fd) < 0)
                return -errno;
        s->dirty = false;
        return 0;
}

/* H(seq), from the segment that holds it. */
static int find_hash(struct spool *s, uint64_t seq, uint8_t ret[static CHAIN_HASH_SIZE])
{
        _cleanup_(segment_done) struct segment_reader reader = {0};
        struct segment_header header;
        struct frame f;
        size_t i = s->n_segments;
        int r;

        if (seq == s->state.next_seq - 1) {
                memcpy(ret, s->state.head, CHAIN_HASH_SIZE);
                return 0;
        }
        while (i > 0 && s->segments[i - 1].first > seq)
                i--;
        if (i == 0)
                return -ENOENT;
        r = segment_open(s->dir_fd, s->segments[i - 1].first, &reader, &header);
        if (r < 0)
                return r;
        while ((r = segment_next(&reader, seq, &f)) > 0)
                if (f.type == FRAME_RECORD && f.seq == seq) {
                        memcpy(ret, f.hash, CHAIN_HASH_SIZE);
                        return 0;
                }
        return r < 0 ? r : -ENOENT;
}

int spool_save_state(const struct spool *s, uint64_t seq, const uint8_t hash[static CHAIN_HASH_SIZE])
{
        _cleanup_free_ char *path = NULL;
        char hex[2 * CHAIN_HASH_SIZE + 1], text[128];
        int n;

        path = format_new("%s/" STATE_NAME, s->dir);
        if (!path)
                return -ENOMEM;
        hex_encode(hash, CHAIN_HASH_SIZE, hex);
        n = snprintf(text, sizeof(text), "%" PRIu64 " %s\n", seq, hex);
        return file_write_atomic(path, text, (size_t)n, 0600);
}

static void delete_segment(struct spool *s, size_t i)
{
        char name[SEGMENT_NAME_MAX];

        segment_name(s->segments[i].first, name);
        unlinkat(s->dir_fd, name, 0);
}

int spool_acknowledge(struct spool *s, uint64_t seq)
{
        uint8_t hash[CHAIN_HASH_SIZE];
        size_t whole = 0;
        int r;

        if (seq <= s->state.acknowledged)
                return 0;
        if (seq >= (s->pending.n > 0 ? s->pending.first : s->state.next_seq))
                return -ERANGE;
        r = find_hash(s, seq, hash);
        if (r < 0)
                return r;
        s->state.acknowledged = seq;
        memcpy(s->acknowledged_hash, hash, CHAIN_HASH_SIZE);

        /* Before the state is written: on a full disk that may need their space. */
        while (whole + 1 < s->n_segments && s->segments[whole + 1].first <= seq + 1) {
                delete_segment(s, whole);
                fd_close(&s->segments[whole].fd);
                s->state.bytes -= s->segments[whole++].size;
        }
        s->n_segments -= whole;
        memmove(s->segments, s->segments + whole, s->n_segments * sizeof(*s->segments));

        r = spool_save_state(s, seq, hash);
        if (r < 0)
                return r;
        if (seq + 1 == s->state.next_seq && s->n_segments > 0 && spool_last_segment(s)->size > s->segment_max / 2) {
                delete_segment(s, s->n_segments - 1);
                spool_drop_segment(s);
        }
        return 0;
}
