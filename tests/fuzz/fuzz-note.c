/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A signed note, its checkpoint, a verifier key. What parses is written again as it was. */
#include <stdlib.h>
#include <string.h>
#include "record/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_buf_ struct buf text = {0}, again = {0};
        char vkey[NOTE_VKEY_MAX];
        struct note_key k = {.name = "example.com/log", .kind = NOTE_ED25519};
        struct checkpoint c;
        size_t text_size;

        buf_add(&text, data, size);
        if (note_verify((const char *)data, size, &k, NULL) == 0)
                abort();
        if (note_text((const char *)data, size, &text_size) == 0 &&
            checkpoint_parse((const char *)data, text_size, &c) == 0) {
                checkpoint_format(&c, &again);
                if (again.size > text_size || memcmp(again.data, data, again.size) != 0)
                        abort();
        }
        if (size > 0 && note_key_parse((const char *)text.data, &k) == 0) {
                note_key_format(&k, vkey);
                if (strcmp(vkey, (const char *)text.data) != 0)
                        abort();
        }
        return 0;
}
