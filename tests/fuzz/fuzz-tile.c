/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A tile's path has one spelling. */
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "record/merkle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_buf_ struct buf text = {0};
        char path[MERKLE_PATH_MAX];
        struct merkle_tile t;

        buf_add(&text, data, size);
        if (size == 0 || merkle_tile_parse((const char *)text.data, &t) < 0)
                return 0;
        merkle_tile_path(&t, path);
        if (strcmp(path, (const char *)text.data) != 0)
                abort();
        return 0;
}
