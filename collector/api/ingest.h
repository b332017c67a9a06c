/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* From the bytes of a batch to rows of the store. The bytes are kept as they came; the row
 * only repeats what searches need. No I/O. */
#include <jansson.h>
#include "base/buf.h"
#include "collector/api/arena.h"
#include "collector/store/store.h"

#define INGEST_WORD_MAX 64 /* bytes of an id: channel, class, layer … */

/* zstd frames into at most BATCH_MAX_BYTES of text.
 * -EBADMSG not zstd or cut short, -E2BIG. */
int ingest_decompress(const void *data, size_t size, struct buf *ret, struct diag *reterr);

/* One record into a row whose strings live in *ret_document (json_decref()).
 * -EBADMSG not a JSON object, a key given twice, a field missing or of the wrong type, or
 * metadata.uid and metadata.sequence are not those of this device and number. */
int ingest_record(const char *text, size_t size, const char *device, uint64_t seq, json_t **ret_document,
                  struct store_row *ret, struct diag *reterr);

struct ingest {
        struct arena texts; /* of the rows */
        struct store_row *rows;
        size_t n;
};
void ingest_done(struct ingest *i);
/* All rows of a parsed batch, or none; *reterr.line counts as in batch_parse(). b must outlive *ret. */
int ingest_batch(const struct batch *b, struct ingest *ret, struct diag *reterr);
