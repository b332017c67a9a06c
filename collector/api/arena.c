/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/api/arena.h"
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_FIRST ((size_t)16 << 10)
#define CHUNK_MAX   ((size_t)1 << 20)
#define ALIGNMENT   16

struct arena_chunk {
        struct arena_chunk *next;
        max_align_t data[];
};

static _Thread_local struct arena *entered;

static int grow(struct arena *a, size_t size)
{
        size_t n = a->size < CHUNK_MAX ? a->size + CHUNK_FIRST : CHUNK_MAX;
        struct arena_chunk *c;

        n = size > n ? size : n;
        c = a->size + n > ARENA_MAX ? NULL : malloc(sizeof(*c) + n);

        if (!c)
                return -1;
        c->next = a->chunks;
        a->chunks = c;
        a->size += n;
        a->at = (char *)c->data;
        a->end = a->at + n;
        return 0;
}

static void *take(struct arena *a, size_t size)
{
        void *p;

        if (size > ARENA_MAX)
                return NULL;
        size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
        if ((size_t)(a->end - a->at) < size && grow(a, size) < 0)
                return NULL;
        p = a->at;
        a->at += size;
        return p;
}

static void *arena_malloc(size_t size)
{
        return entered ? take(entered, size) : malloc(size);
}

static void arena_free(void *p)
{
        if (!entered)
                free(p);
}

static void install(void)
{
        json_set_alloc_funcs(arena_malloc, arena_free);
}

void arena_enter(struct arena *a)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, install);
        entered = a;
}

void arena_leave(void)
{
        entered = NULL;
}

char *arena_copy(struct arena *a, const char *text)
{
        size_t size = strlen(text) + 1;
        char *p = take(a, size);

        return p ? memcpy(p, text, size) : NULL;
}

/* All but the first of the list, which was taken last and is the largest. */
static void chunks_free(struct arena_chunk *first)
{
        while (first->next) {
                struct arena_chunk *c = first->next;

                first->next = c->next;
                free(c);
        }
}

void arena_clear(struct arena *a)
{
        if (!a->chunks)
                return;
        chunks_free(a->chunks);
        a->at = (char *)a->chunks->data;
        a->size = (size_t)(a->end - a->at);
}

void arena_done(struct arena *a)
{
        if (a->chunks)
                chunks_free(a->chunks);
        free(a->chunks);
        *a = (struct arena){0};
}
