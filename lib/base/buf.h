/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A growing byte buffer. Sticky error: the first failed append makes the rest no-ops,
 * so a builder checks buf_error() once at the end. Always NUL-terminated behind size. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"

struct buf {
        uint8_t *data;
        size_t size;
        size_t allocated;
        int error; /* 0 or negative errno */
};

void buf_done(struct buf *b);
#define _cleanup_buf_ _cleanup_(buf_done)

void buf_add(struct buf *b, const void *data, size_t size);
void buf_add_string(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_add_be16(struct buf *b, uint16_t v);
void buf_add_be32(struct buf *b, uint32_t v);
void buf_add_be64(struct buf *b, uint64_t v);
/* Grows by `size` uninitialised bytes and returns them; NULL once the buffer has failed. */
void *buf_extend(struct buf *b, size_t size);
/* Drop the first n bytes (n <= size). */
void buf_consume(struct buf *b, size_t n);
static inline int buf_error(const struct buf *b)
{
        return b->error;
}
/* Take the storage (NUL-terminated, free()); the buffer is empty afterwards. */
char *buf_take(struct buf *b);
