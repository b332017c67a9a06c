/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A batch as a client sends it. What parses must parse again after it was encoded. */
#include <stdlib.h>
#include "base/buf.h"
#include "base/diag.h"
#include "record/chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(batch_done) struct batch b = {0}, again = {0};
        _cleanup_buf_ struct buf text = {0};
        _cleanup_free_ char *header = NULL;
        struct diag diag;
        size_t header_size;

        if (batch_parse((const char *)data, size, NULL, &b, &diag) < 0)
                return 0;
        if (batch_header_encode(&b, &header, &header_size) < 0)
                abort();
        buf_add(&text, header, header_size);
        for (size_t i = 0; i < b.seal.n; i++) {
                buf_add(&text, b.records[i], b.sizes[i]);
                buf_add_string(&text, "\n");
        }
        if (batch_parse((const char *)text.data, text.size, NULL, &again, &diag) < 0)
                abort();
        return 0;
}
