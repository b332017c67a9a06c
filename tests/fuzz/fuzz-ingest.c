/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One record from an agent; the same bytes also as a compressed batch. */
#include <stdlib.h>
#include <string.h>
#include "collector/api/ingest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const char device[] = "d-abcdefghijklmnopqrstuvwx";
        _cleanup_buf_ struct buf text = {0};
        json_t *document = NULL;
        struct store_row row;
        struct diag d;

        if (ingest_record((const char *)data, size, device, 7, &document, &row, &d) == 0) {
                if (row.seq != 7 || !row.time_ms || !row.kind || row.body != (const char *)data)
                        abort();
                json_decref(document);
        }
        (void)ingest_decompress(data, size, &text, &d);
        return text.size > BATCH_MAX_BYTES ? abort(), 0 : 0;
}
