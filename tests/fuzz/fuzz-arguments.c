/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Arguments of any bytes, of each host: what it runs lies within one of them, in order, and ends. The first byte chooses the host. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "agent/classify/arguments.h"

#define MAX_ARGUMENTS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        enum host h = size ? data[0] % _HOST_MAX : HOST_NONE;
        char text[4096] = "";
        const char *argv[MAX_ARGUMENTS + 1] = {};
        size_t n = 0, last = 0;
        struct host_target t;
        struct host_walk w;

        size = size > sizeof(text) ? sizeof(text) : size;
        if (size)
                memcpy(text, data + 1, size - 1);
        for (size_t at = 0; at + 1 < size && n < MAX_ARGUMENTS; at += strlen(text + at) + 1)
                argv[n++] = text + at;
        host_begin(&w, h, argv);
        for (; host_next(&w, &t); last = t.at)
                if (t.at < last || t.at >= n || t.size > strlen(t.name) ||
                    (t.role != HOST_ALSO && t.size != strlen(t.name)))
                        abort();
        return host_arguments(h, argv) > n ? abort(), 0 : 0;
}
