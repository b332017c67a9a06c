/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/outfile.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "cli/packed.h"

#define ZSTD_ROOM 65536u

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
static const char *volatile unfinished; /* of the one that is open */

static void on_signal(int number)
{
        const char *path = unfinished;

        if (path)
                (void)unlink(path);
        (void)signal(number, SIG_DFL);
        (void)raise(number);
}

int outfile_open(struct outfile *f, const char *path)
{
        *f = (struct outfile){.path = path, .fd = -1};
        f->temporary = temporary_name(path);
        if (!f->temporary)
                return -ENOMEM;
        if (text_ends_with(path, ".zst")) {
                f->zstd = ZSTD_createCCtx();
                if (!f->zstd || ZSTD_isError(ZSTD_CCtx_setParameter(f->zstd, ZSTD_c_checksumFlag, 1)))
                        return -ENOMEM;
                crypto_hash_sha256_init(&f->hash);
        }
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                if (signal(signals[i], on_signal) == SIG_IGN) /* nohup(1) */
                        (void)signal(signals[i], SIG_IGN);
        unfinished = f->temporary; /* which gets its name there: a signal may come in between */
        f->fd = mkostemp(f->temporary, O_CLOEXEC);
        return f->fd < 0 ? -errno : 0;
}

static int write_out(struct outfile *f, const void *data, size_t size)
{
        f->size += size;
        return fd_write_all(f->fd, data, size);
}

static int compress(struct outfile *f, ZSTD_inBuffer *in, ZSTD_EndDirective how)
{
        uint8_t room[ZSTD_ROOM];
        size_t left;

        do {
                ZSTD_outBuffer out = {room, sizeof(room), 0};
                int r;

                left = ZSTD_compressStream2(f->zstd, &out, in, how);
                if (ZSTD_isError(left))
                        return -EIO;
                crypto_hash_sha256_update(&f->hash, room, out.pos);
                r = write_out(f, room, out.pos);
                if (r < 0)
                        return r;
        } while (how == ZSTD_e_end ? left > 0 : in->pos < in->size);
        return 0;
}

int outfile_write(struct outfile *f, const void *data, size_t size)
{
        ZSTD_inBuffer in = {data, size, 0};

        return f->zstd ? compress(f, &in, ZSTD_e_continue) : write_out(f, data, size);
}

static int finish_packed(struct outfile *f)
{
        ZSTD_inBuffer none = {0};
        uint8_t frame[PACKED_SUM];
        int r = compress(f, &none, ZSTD_e_end);

        memcpy(frame, PACKED_SUM_BEGIN, PACKED_BEGIN);
        crypto_hash_sha256_final(&f->hash, frame + PACKED_BEGIN);
        return r < 0 ? r : write_out(f, frame, sizeof(frame));
}

int outfile_finish(struct outfile *f)
{
        int r = f->zstd ? finish_packed(f) : 0;

        if (r < 0)
                return r;
        if (fsync(f->fd) < 0 || rename(f->temporary, f->path) < 0)
                return -errno;
        unfinished = NULL;
        fd_close(&f->fd);
        return 0;
}

void outfile_done(struct outfile *f)
{
        if (f->fd >= 0)
                (void)unlink(f->temporary);
        unfinished = NULL;
        fd_closep(&f->fd);
        ZSTD_freeCCtx(f->zstd);
        free(f->temporary);
        *f = (struct outfile){.fd = -1};
}
