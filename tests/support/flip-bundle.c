/* SPDX-License-Identifier: GPL-3.0-or-later */
/* flip-bundle FILE STEP: changes one byte of every STEP in turn and prints for each "OFFSET LINE DEVICE SEQ" of the
 * first thing that the verifier says is broken, "OFFSET holds" when it says nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/io.h"
#include "evidence/verify.h"

#define FILE_MAX (16u << 20)

static void verify_all(struct verify *v, const char *text, size_t size)
{
        bool whole = false;

        for (size_t i = 0; i < size;) {
                const char *newline = memchr(text + i, '\n', size - i);
                size_t n = newline ? (size_t)(newline - text) - i : size - i;

                verify_line(v, text + i, n);
                whole = newline;
                i += n + 1;
        }
        verify_end(v, whole);
}

static int flip_one(char *text, size_t size, size_t offset)
{
        _cleanup_(verify_freep) struct verify *v = verify_new(&(struct verify_options){.heartbeat_s = 300});
        char was = text[offset];

        if (!v)
                return 1;
        text[offset] ^= 1 << (offset % 7);
        verify_all(v, text, size);
        text[offset] = was;
        if (verify_holds(v))
                printf("%zu holds\n", offset);
        else
                printf("%zu %" PRIu64 " %s %" PRIu64 "\n", offset, v->problems[0].line,
                       *v->problems[0].device ? v->problems[0].device : "-", v->problems[0].seq);
        return 0;
}

int main(int argc, char **argv)
{
        _cleanup_free_ char *text = NULL;
        size_t size, step = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

        if (step == 0 || sodium_init() < 0 || file_read(argv[1], FILE_MAX, &text, &size) < 0)
                return 2;
        for (size_t i = 0; i < size; i += step)
                if (flip_one(text, size, i))
                        return 1;
        return 0;
}
