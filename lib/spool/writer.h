/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Inside of spool/: the writer's state, shared by recovery (at open) and appending. */
#include "spool/segment.h"

#define STATE_NAME     "state" /* "SEQ HASH\n" of the last acknowledged record */
#define LOCK_NAME      "lock"
#define COPY_NAME      "copy.tmp"
#define DAMAGED_SUFFIX ".damaged"

struct segment { /* one file */
        uint64_t first;
        uint64_t size;
        int fd; /* held open: what somebody else removes is put back from it */
};

struct spool {
        char *dir;
        char device_id[DEVICE_ID_MAX];
        char boot_id[BOOT_ID_SIZE + 1];
        uint8_t start[CHAIN_HASH_SIZE];
        const uint8_t *secret;
        int group;
        uint64_t max_bytes;
        uint64_t segment_max;

        int dir_fd;
        int lock_fd;
        int fd; /* the last segment's when it is written to, borrowed; else -1 */
        bool read_only; /* the file system was, at open */
        bool dirty; /* a seal is written, not known to be on the disk */
        struct segment *segments;
        size_t n_segments;

        struct chain_seal pending; /* first, n and prev of what no seal covers yet */
        struct spool_state state;
        uint8_t acknowledged_hash[CHAIN_HASH_SIZE]; /* of record state.acknowledged */
};

static inline struct segment *spool_last_segment(struct spool *s)
{
        return s->n_segments > 0 ? &s->segments[s->n_segments - 1] : NULL;
}

/* fd is the spool's from then on. */
int spool_add_segment(struct spool *s, uint64_t first, uint64_t size, int fd);
/* Forget the last one; its file is the caller's. */
void spool_drop_segment(struct spool *s);
int spool_save_state(const struct spool *s, uint64_t seq, const uint8_t hash[static CHAIN_HASH_SIZE]);
/* A descriptor to write to, or where the file system is read-only one to read; else -errno. `flags`: O_CREAT or 0. */
int spool_open_file(struct spool *s, const char *name, int flags);
/* A new file of the spool gets the reader's group. */
int spool_share(const struct spool *s, int fd);
/* Read all segments: fills segments, pending, state; cuts, renames and copies what is damaged. */
int spool_recover(struct spool *s);
