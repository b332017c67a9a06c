/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A payload as HTTP and as frames of HTTP/2. A name has its dot and fits; more of the same
 * payload never takes a result back. */
#include <stdint.h>
#include <stdlib.h>
#include "wire/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_result parse(const uint8_t *data, size_t size, int streams)
{
        struct wire_bytes p = {data, (uint32_t)size};
        struct wire_name name = {0};
        enum http_result r = streams ? http2_authority(&p, 0, p.size, &name) : http_host(&p, 0, p.size, &name);

        if ((r == HTTP_REQUEST || r == HTTP_TUNNEL) &&
            (name.size == 0 || name.size > AUTHORITY_HOST_MAX + 1 || name.text[0] != '.'))
                abort();
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        for (int streams = 0; streams < 2; streams++) {
                enum http_result whole = parse(data, size, streams), half = parse(data, size / 2, streams);
                if (size > 1 && half != HTTP_CUT && half != HTTP_STREAMS && half != whole)
                        abort();
        }
        return 0;
}
