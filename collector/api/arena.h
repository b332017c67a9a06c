/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Memory for what lives and ends together. Between arena_enter() and arena_leave() this thread's jansson takes all of
 * its memory here and gives none back, and beyond ARENA_MAX is out of it; afterwards the documents may be read, but not
 * changed or released, until arena_clear() or arena_done(). */
#include <stddef.h>

#define ARENA_MAX (16u << 20) /* the largest record, all brackets, takes 1; all texts of a batch its 8 */

struct arena_chunk;
struct arena {
        struct arena_chunk *chunks;
        char *at, *end;
        size_t size; /* of all chunks */
};
void arena_enter(struct arena *a);
void arena_leave(void);
/* NULL without memory. */
char *arena_copy(struct arena *a, const char *text);
/* Nothing lives any more, and the memory serves again. */
void arena_clear(struct arena *a);
void arena_done(struct arena *a);
