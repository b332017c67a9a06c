/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Inside of spool/: the bytes of a segment, names of segments, and reading frame by frame. */
#include <stdio.h>
#include "base/buf.h"
#include "record/record.h"
#include "spool/spool.h"

#define SEGMENT_MAGIC       "ONCHSPL1"
#define SEGMENT_HEADER_SIZE (8 + 8 + CHAIN_HASH_SIZE)
#define SEGMENT_NAME_MAX    32 /* 20 digits, ".seg", NUL */
#define SEGMENT_SUFFIX      ".seg"
#define SEGMENTS_MAX        65536 /* files in one folder */

#define FRAME_HEAD_SIZE 8 /* size, CRC */
#define BOOT_ID_SIZE    36
#define RECORD_OVERHEAD (FRAME_HEAD_SIZE + 1 + 8 + CHAIN_SALT_SIZE + CHAIN_HASH_SIZE)
#define SEAL_BODY_SIZE  (1 + 8 + 8 + 2 * CHAIN_HASH_SIZE + CHAIN_SIGNATURE_SIZE + BOOT_ID_SIZE)
#define SEAL_FRAME_SIZE (FRAME_HEAD_SIZE + SEAL_BODY_SIZE)
#define FRAME_BODY_MAX  (RECORD_OVERHEAD - FRAME_HEAD_SIZE + RECORD_MAX_BYTES)

enum frame_type {
        FRAME_RECORD = 1,
        FRAME_SEAL = 2,
};

struct segment_header {
        uint64_t first;
        uint8_t prev[CHAIN_HASH_SIZE];
};

struct frame { /* `record` points into the reader */
        enum frame_type type;
        uint64_t seq;
        const uint8_t *salt;
        const uint8_t *hash;
        const char *record;
        size_t record_size;
        struct chain_seal seal;
        char boot[BOOT_ID_SIZE + 1];
};

struct segment_reader {
        FILE *f;
        uint64_t good; /* offset behind the last whole frame */
        uint8_t body[FRAME_BODY_MAX];
};

uint32_t crc32c(uint32_t crc, const void *data, size_t size);

void segment_header_encode(const struct segment_header *h, struct buf *out);
void frame_record_encode(const struct frame *record, struct buf *out);
void frame_seal_encode(const struct chain_seal *seal, const char *boot, struct buf *out);

void segment_name(uint64_t first, char ret[static SEGMENT_NAME_MAX]);
/* First sequence numbers of all segments, ascending; free(). */
int segment_list(int dir_fd, uint64_t **ret, size_t *ret_n);

/* -EBADMSG when the header is torn or damaged: the reader is open then, too. */
int segment_open(int dir_fd, uint64_t first, struct segment_reader *s, struct segment_header *ret);
void segment_done(struct segment_reader *s);
/* 1 and a frame, 0 at the end, -EBADMSG torn or damaged behind s->good, -EIO. Records below
 * `from` come without salt, hash and bytes and are not checked. */
int segment_next(struct segment_reader *s, uint64_t from, struct frame *ret);
/* Is there a whole seal anywhere behind s->good? 1, 0 or an error. */
int segment_has_seal(struct segment_reader *s);
