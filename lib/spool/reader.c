/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The reading side, in another process than the writer: never waits for it, never writes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "base/cleanup.h"
#include "spool/segment.h"

struct collected {
        struct buf salts;
        struct buf lines;
        uint64_t n;
};

static void collected_done(struct collected *c)
{
        buf_done(&c->salts);
        buf_done(&c->lines);
}

static int add_record(struct collected *c, const struct frame *f, uint64_t first)
{
        if (f->seq != first + c->n || c->n == BATCH_RECORDS_MAX)
                return -EBADMSG;
        buf_add(&c->salts, f->salt, CHAIN_SALT_SIZE);
        buf_add(&c->lines, f->record, f->record_size);
        buf_add_string(&c->lines, "\n");
        c->n++;
        return buf_error(&c->lines) < 0 ? buf_error(&c->lines) : buf_error(&c->salts);
}

/* Up to the seal over the records from `first` on; *ret is that seal. `next`: the sequence number
 * that the segment starts with. */
static int collect(struct segment_reader *s, uint64_t next, uint64_t first, struct collected *c, struct frame *ret)
{
        struct frame f;
        int r;

        while ((r = segment_next(s, first, &f)) > 0) {
                if (f.type == FRAME_RECORD)
                        next = f.seq + 1;
                if (f.type == FRAME_RECORD && f.seq >= first) {
                        r = add_record(c, &f, first);
                        if (r < 0)
                                return r;
                } else if (f.type == FRAME_SEAL && c->n > 0) {
                        if (f.seal.first != first || f.seal.n != c->n)
                                return -EBADMSG;
                        *ret = f;
                        return 0;
                }
        }
        return r < 0 ? r : next < first ? -ERANGE : -ENODATA;
}

static int batch_text(const char *device_id, const struct frame *seal, struct collected *c, char **ret,
                      size_t *ret_size)
{
        struct batch b = {.seal = seal->seal, .salts = c->salts.data};
        _cleanup_buf_ struct buf text = {0};
        _cleanup_free_ char *header = NULL;
        size_t size;
        int r;

        if (strlen(device_id) >= sizeof(b.device))
                return -EINVAL;
        strcpy(b.device, device_id);
        memcpy(b.boot, seal->boot, sizeof(b.boot));
        r = batch_header_encode(&b, &header, &size);
        if (r < 0)
                return r;
        buf_add(&text, header, size);
        buf_add(&text, c->lines.data, c->lines.size);
        r = buf_error(&text);
        if (r < 0)
                return r;
        *ret_size = text.size;
        *ret = buf_take(&text);
        return 0;
}

/* The segment that holds sequence number `first`, if any does. */
static int find_segment(int dir_fd, uint64_t first, uint64_t *ret, uint64_t *ret_oldest, bool *ret_last)
{
        _cleanup_free_ uint64_t *list = NULL;
        size_t n, i;
        int r;

        r = segment_list(dir_fd, &list, &n);
        if (r < 0)
                return r;
        if (n == 0)
                return -ENODATA;
        if (list[0] > first) {
                *ret_oldest = list[0];
                return -ENOENT;
        }
        for (i = n - 1; list[i] > first; i--)
                ;
        *ret = list[i];
        *ret_last = i == n - 1;
        return 0;
}

int spool_read_batch(const char *dir, const char *device_id, uint64_t after, char **ret, size_t *ret_size,
                     uint64_t *ret_first, uint64_t *ret_last)
{
        _cleanup_(collected_done) struct collected c = {0};
        _cleanup_(segment_done) struct segment_reader s = {0};
        struct segment_header header;
        _cleanup_fd_ int dir_fd = -1;
        uint64_t segment;
        struct frame seal;
        bool last;
        int r;

        dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                return -errno;
        r = find_segment(dir_fd, after + 1, &segment, ret_first, &last);
        if (r < 0)
                return r;

        r = segment_open(dir_fd, segment, &s, &header);
        if (r == -ENOENT) /* acknowledged and deleted this moment */
                return -ENODATA;
        if (r >= 0)
                r = collect(&s, segment, after + 1, &c, &seal);
        if (r == -EBADMSG && last && segment_has_seal(&s) == 0) /* a frame that is being written */
                return -ENODATA;
        if (r < 0)
                return r;

        /* What was shipped must not be lost by a power cut: its numbers would be used twice. */
        if (fdatasync(fileno(s.f)) < 0)
                return -errno;
        r = batch_text(device_id, &seal, &c, ret, ret_size);
        if (r < 0)
                return r;
        *ret_first = seal.seal.first;
        *ret_last = seal.seal.first + seal.seal.n - 1;
        return 0;
}
