/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Memory for JSON documents that live and end together: the documents of a batch. Between arena_enter() and
 * arena_leave() this thread's jansson takes all of its memory here and gives none back; afterwards the documents
 * may be read, but not changed or released, until arena_done(). */
#include <stddef.h>

#define ARENA_MAX (256u << 20) /* a hostile batch of brackets; then jansson is out of memory */

struct arena_chunk;
struct arena {
        struct arena_chunk *chunks;
        char *at, *end;
        size_t size; /* of all chunks */
};
void arena_enter(struct arena *a);
void arena_leave(void);
void arena_done(struct arena *a);
