/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include "base/cleanup.h"
#include "collector/net/http.h"

struct http_blob *http_blob_new(const void *data, size_t size)
{
        struct http_blob *b = malloc(sizeof(*b) + size);

        if (!b)
                return NULL;
        b->refs = 1;
        b->size = size;
        memcpy(b->data, data, size);
        return b;
}

struct http_blob *http_blob_ref(struct http_blob *b)
{
        b->refs++;
        return b;
}

void http_blob_unref(struct http_blob *b)
{
        if (b && --b->refs == 0)
                free(b);
}
