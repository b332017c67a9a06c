/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A stream as HTTP and as frames of HTTP/2, at once and byte by byte: the same names in the same order. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "wire/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RUN(kind, data, size, write)                                                                                 \
        ({                                                                                                           \
                struct wire_bytes p = {data, (uint32_t)(size)};                                                      \
                struct kind##_stream s = {};                                                                         \
                uint64_t sum = 1;                                                                                    \
                enum http_result r = HTTP_CUT;                                                                       \
                for (uint32_t pos = 0, end; pos < p.size && (r == HTTP_CUT || r == HTTP_NAME);) {                    \
                        end = p.size - pos > (write) ? pos + (write) : p.size;                                       \
                        r = kind##_feed(&s, &p, &pos, end);                                                          \
                        if (r == HTTP_NAME &&                                                                        \
                            (s.host.name.size > AUTHORITY_HOST_MAX + 1 || s.host.name.text[0] != '.'))               \
                                abort();                                                                             \
                        for (uint32_t i = 0; r == HTTP_NAME && i < s.host.name.size; i++)                            \
                                sum = sum * 31 + (uint8_t)s.host.name.text[i];                                       \
                        if (r == HTTP_NAME && authority_address(&s.host))                                            \
                                sum += s.host.literal.address[15];                                                   \
                }                                                                                                    \
                sum * 8 + r;                                                                                         \
        })

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (RUN(http, data, size, size) != RUN(http, data, size, 1u) ||
            RUN(http2, data, size, size) != RUN(http2, data, size, 1u))
                abort();
        return 0;
}
