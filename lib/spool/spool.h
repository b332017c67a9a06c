/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The spool: append-only segments of records and seals that survive kill -9, a power cut and
 * a full disk. The writer is the root daemon alone; the uplink only reads. It does file I/O
 * but no logging.
 *
 * Folder DIR holds NNNNNNNNNNNNNNNNNNNN.seg, named by the first sequence number in it
 * (20 digits). A segment is a 48-byte header "ONCHSPL1", be64 first, H(first - 1), then frames:
 *   be32 size | be32 CRC-32C of (type | payload) | u8 type | payload[size - 1]
 *   type 1 record: be64 seq | salt[16] | hash[32] | record bytes
 *   type 2 seal:   be64 first | be64 n | prev[32] | head[32] | signature[64] | boot id text[36]
 * Records behind the last whole seal of the spool are not yet durable promises: at open the
 * writer cuts a torn tail and seals what whole records remain. Beside the segments: `lock`, and
 * `state` ("SEQ HASH\n" of the last acknowledged record), from which the chain goes on when
 * every segment is deleted. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "record/chain.h"

#define SPOOL_SEGMENT_MAX (8u << 20)
#define SPOOL_DEFAULT_MAX (256ull << 20)

struct spool; /* the writer */

struct spool_options {
        const char *dir; /* exists */
        uint64_t max_bytes; /* bound of all segments; 0: SPOOL_DEFAULT_MAX */
        const char *device_id;
        const char *boot_id;
        const uint8_t *public_key;
        const uint8_t *secret; /* DEVICE_SECRET_SIZE, borrowed */
        int group; /* gid that may read the segments, or -1 */
};

struct spool_state {
        uint64_t next_seq; /* first sequence number is 1 */
        uint64_t acknowledged; /* highest acknowledged, 0 none */
        uint64_t bytes;
        uint64_t torn_bytes; /* cut at open */
        uint64_t damaged_bytes; /* set aside at open: records may be among them that a seal had promised */
        uint64_t refused; /* appends refused because the spool was full, since the last success */
        uint8_t head[CHAIN_HASH_SIZE];
};

/* -EBUSY another writer holds the folder. On a read-only file system it opens as it is, and takes nothing (-EROFS)
 * until it is opened again. A damaged segment is kept as *.damaged, counted in damaged_bytes, and the chain goes on
 * from the last whole record before it, or from the last acknowledged one when that is newer. */
int spool_open(const struct spool_options *o, struct spool **ret);
struct spool *spool_free(struct spool *s); /* does not seal */
const struct spool_state *spool_state(const struct spool *s);
/* Opened on a read-only file system that is writable now: to be opened again. */
bool spool_is_outlived(const struct spool *s);
/* Another writer may have the folder, though s is not freed yet. */
void spool_unlock(struct spool *s);

/* Append one record: the caller encodes it for spool_state()->next_seq and ->head.
 * -ENOSPC: bound or disk reached; nothing written, the sequence number is not used up.
 * Durable only after spool_seal(). */
int spool_append(struct spool *s, const char *record, size_t size);
/* Write a seal over everything since the last one and fsync. No-op when there is nothing. -EROFS also when it was opened
 * on a read-only file system. */
int spool_seal(struct spool *s);
/* Everything up to seq is kept by the collector: delete segments that hold nothing newer. */
int spool_acknowledge(struct spool *s, uint64_t seq);

/* Put back what somebody else took out of the folder; `bytes`: read everything again as well.
 * 0 nothing was wrong, 1 mended without a loss, -EBADMSG records were removed or changed that cannot
 * be put back: free and open again, the chain then goes on from what is left. */
int spool_mend(struct spool *s, bool bytes);

/* The reader (another process). Finds the batch that starts right after `after`.
 * 0 and a batch in NDJSON wire form (chain.h; free()), -ENODATA nothing sealed yet,
 * -ENOENT the records after `after` are gone (acknowledged and deleted): *ret_first says
 * what the spool starts with, -EBADMSG a damaged segment or no batch starts there,
 * -ERANGE `after` itself was never written here. */
int spool_read_batch(const char *dir, const char *device_id, uint64_t after, char **ret, size_t *ret_size,
                     uint64_t *ret_first, uint64_t *ret_last);
