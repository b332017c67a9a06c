/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A query of the page, and its cursor: what is accepted comes back the same. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/api/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *text = strndup((const char *)data, size);
        _cleanup_(http_query_done) struct http_query q = {0};
        struct store_filter f;
        struct diag d;
        char cursor[FILTER_CURSOR_MAX], cookie[16];

        if (!text || http_query_parse(text, &q, &d) < 0)
                return 0;
        if (filter_parse(&q, &f, &d) == 0 && f.has_before) {
                cursor_format(&f.before, cursor);
                if (strlen(cursor) > strlen(text))
                        abort();
        }
        (void)http_cookie_find(text, "id", cookie, sizeof(cookie));
        return 0;
}
