/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Any bytes as an evidence bundle. What was not signed by a key that is pinned never holds. */
#include <stdlib.h>
#include <string.h>
#include "evidence/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct verify_options o = {.n_keys = 1, .heartbeat_s = 300};
        _cleanup_(verify_freep) struct verify *v = NULL;
        static const uint8_t nobody[NOTE_KEY_SIZE] = {1};
        const char *text = (const char *)data;
        bool whole = false;

        if (note_key_init(&o.keys[0], "localhost:8444/log", NOTE_ED25519, nobody) < 0 || !(v = verify_new(&o)))
                abort();
        for (size_t i = 0, n; i < size; i += n + 1) {
                const char *newline = memchr(text + i, '\n', size - i);

                n = newline ? (size_t)(newline - text) - i : size - i;
                whole = newline;
                verify_line(v, text + i, n);
        }
        verify_end(v, whole);
        if (verify_holds(v))
                abort();
        return 0;
}
