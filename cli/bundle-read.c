/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <zstd.h>

#include "base/buf.h"
#include "cli/bundle.h"
#include "cli/packed.h"

#define CHUNK          (128u << 10)
#define WINDOW_LOG_MAX 27 /* 128 MiB: what zstd --long=27 makes */

struct bundle_reader {
        int fd;
        const char *path;
        ZSTD_DCtx *zstd; /* NULL: plain */
        uint8_t *in;
        size_t in_size, in_used;
        struct buf text; /* from `done` on not yet handed out */
        size_t done;
        bool end;
        size_t frame_left; /* of the frame that zstd is in */
        struct packed packed;
};

struct bundle_reader *bundle_reader_free(struct bundle_reader *r)
{
        if (!r)
                return NULL;
        if (r->fd > STDIN_FILENO)
                fd_close(&r->fd);
        ZSTD_freeDCtx(r->zstd);
        free(r->in);
        buf_done(&r->text);
        free(r);
        return NULL;
}

static int read_chunk(struct bundle_reader *r, struct diag *reterr)
{
        ssize_t n;

        do
                n = read(r->fd, r->in, CHUNK);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return diag_set(reterr, -errno, r->path, 0, "cannot be read: %s", strerror(errno));
        r->in_size = (size_t)n;
        r->in_used = 0;
        packed_add(&r->packed, r->in, r->in_size);
        return n > 0;
}

int bundle_reader_open(const char *path, struct bundle_reader **ret, struct diag *reterr)
{
        _cleanup_(bundle_reader_freep) struct bundle_reader *r = calloc(1, sizeof(*r));
        int n;

        if (!r)
                return -ENOMEM;
        r->path = path;
        packed_init(&r->packed);
        r->in = malloc(CHUNK);
        r->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (!r->in || r->fd < 0)
                return diag_set(reterr, r->in ? -errno : -ENOMEM, path, 0, "cannot be read: %s", strerror(errno));
        n = read_chunk(r, reterr);
        if (n < 0)
                return n;
        if (r->in_size >= 4 && memcmp(r->in, "\x28\xb5\x2f\xfd", 4) == 0) { /* RFC 8878 3.1.1 */
                r->zstd = ZSTD_createDCtx();
                if (!r->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(r);
        return 0;
}

/* Adds some text; 0 at the end. */
static int fill(struct bundle_reader *r, struct diag *reterr)
{
        ZSTD_inBuffer in;
        ZSTD_outBuffer out;
        int n = 1;

        if (r->in_used == r->in_size)
                n = read_chunk(r, reterr);
        if (n < 0)
                return n;
        if (n == 0) {
                r->end = true;
                if (r->zstd && r->frame_left > 0)
                        return diag_set(reterr, -EBADMSG, r->path, 0, "the compressed data is cut short");
                if (r->zstd && !packed_holds(&r->packed))
                        return diag_set(reterr, -EBADMSG, r->path, 0,
                                        "the compressed data was changed: its sum, at the end, is another one");
                return 0;
        }
        if (!r->zstd) {
                buf_add(&r->text, r->in, r->in_size);
                r->in_used = r->in_size;
                return buf_error(&r->text) < 0 ? buf_error(&r->text) : 1;
        }
        in = (ZSTD_inBuffer){r->in, r->in_size, r->in_used};
        out = (ZSTD_outBuffer){buf_extend(&r->text, CHUNK), CHUNK, 0};
        if (buf_error(&r->text) < 0)
                return buf_error(&r->text);
        r->frame_left = ZSTD_decompressStream(r->zstd, &out, &in);
        r->text.size -= CHUNK - out.pos;
        r->in_used = in.pos;
        if (ZSTD_isError(r->frame_left))
                return diag_set(reterr, -EBADMSG, r->path, 0, "the compressed data was changed: %s",
                                ZSTD_getErrorName(r->frame_left));
        return 1;
}

int bundle_reader_line(struct bundle_reader *r, const char **ret, size_t *ret_size, bool *ret_whole,
                       struct diag *reterr)
{
        for (size_t searched = 0;;) {
                size_t size = r->text.size - r->done;
                const char *text = size > 0 ? (const char *)r->text.data + r->done : "", *newline;

                newline = size > searched ? memchr(text + searched, '\n', size - searched) : NULL;
                if (newline || (r->end && size > 0)) {
                        *ret = text;
                        *ret_size = newline ? (size_t)(newline - text) : size;
                        *ret_whole = newline;
                        r->done += *ret_size + (newline ? 1 : 0);
                        return 1;
                }
                if (r->end)
                        return 0;
                if (size > BUNDLE_LINE_MAX)
                        return diag_set(reterr, -E2BIG, r->path, 0, "a line of more than %u bytes", BUNDLE_LINE_MAX);
                searched = size;
                buf_consume(&r->text, r->done);
                r->done = 0;
                {
                        int n = fill(r, reterr);

                        if (n < 0)
                                return n;
                }
        }
}
