/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/buf.h"

#define BUF_FIRST_BYTES 64

void buf_done(struct buf *b)
{
        free(b->data);
        *b = (struct buf){0};
}

static int buf_reserve(struct buf *b, size_t size)
{
        size_t need, allocated = b->allocated ? b->allocated : BUF_FIRST_BYTES;
        uint8_t *data;

        if (b->error)
                return b->error;
        if (__builtin_add_overflow(b->size, size, &need) || __builtin_add_overflow(need, 1, &need) ||
            need > SIZE_MAX / 2)
                return b->error = -EOVERFLOW;
        if (need <= b->allocated)
                return 0;
        while (allocated < need)
                allocated *= 2;
        data = realloc(b->data, allocated);
        if (!data)
                return b->error = -ENOMEM;
        b->data = data;
        b->allocated = allocated;
        return 0;
}

void *buf_extend(struct buf *b, size_t size)
{
        uint8_t *room;

        if (buf_reserve(b, size) < 0)
                return NULL;
        room = b->data + b->size;
        b->size += size;
        b->data[b->size] = 0;
        return room;
}

void buf_add(struct buf *b, const void *data, size_t size)
{
        void *room = buf_extend(b, size);

        if (room && size > 0)
                memcpy(room, data, size);
}

void buf_add_string(struct buf *b, const char *s)
{
        buf_add(b, s, strlen(s));
}

void buf_addf(struct buf *b, const char *format, ...)
{
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        if (n < 0) {
                if (!b->error)
                        b->error = -EINVAL;
                return;
        }
        if (buf_reserve(b, (size_t)n) < 0)
                return;
        va_start(ap, format);
        vsnprintf((char *)b->data + b->size, (size_t)n + 1, format, ap);
        va_end(ap);
        b->size += (size_t)n;
}

static void buf_add_be(struct buf *b, uint64_t v, size_t size)
{
        uint8_t *room = buf_extend(b, size);

        if (!room)
                return;
        for (size_t i = 0; i < size; i++)
                room[i] = (uint8_t)(v >> (8 * (size - 1 - i)));
}

void buf_add_be16(struct buf *b, uint16_t v)
{
        buf_add_be(b, v, sizeof(v));
}

void buf_add_be32(struct buf *b, uint32_t v)
{
        buf_add_be(b, v, sizeof(v));
}

void buf_add_be64(struct buf *b, uint64_t v)
{
        buf_add_be(b, v, sizeof(v));
}

void buf_consume(struct buf *b, size_t n)
{
        if (n == 0 || n > b->size)
                return;
        memmove(b->data, b->data + n, b->size - n + 1);
        b->size -= n;
}

char *buf_take(struct buf *b)
{
        char *data = NULL;

        if (buf_extend(b, 0))
                data = (char *)TAKE_PTR(b->data);
        buf_done(b);
        return data;
}
