/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A file that is there when it is whole, or not at all: written beside its place under another name and renamed, also
 * when a signal ends the program (not SIGKILL). One at a time. */
#include <sodium.h>
#include <stddef.h>
#include <stdint.h>
#include <zstd.h>

struct outfile {
        const char *path; /* borrowed */
        char *temporary;
        int fd;
        ZSTD_CCtx *zstd; /* NULL: as it comes */
        crypto_hash_sha256_state hash; /* of what was compressed */
        uint64_t size; /* that was written */
};
/* Readable by its owner alone; compressed when the path ends in ".zst". */
int outfile_open(struct outfile *f, const char *path);
int outfile_write(struct outfile *f, const void *data, size_t size);
/* Durable, and in its place. */
int outfile_finish(struct outfile *f);
/* What is not finished is gone. */
void outfile_done(struct outfile *f);
