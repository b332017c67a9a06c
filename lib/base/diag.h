/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Where an input is wrong and why: the `reterr` of every parser. Plain value, owns
 * nothing. Lines count from 1; 0 means the whole file. Text is made printable and
 * safe for a terminal when it is set. */
#include <stddef.h>

#define DIAG_FILE_MAX 256
#define DIAG_TEXT_MAX 512

struct diag {
        char file[DIAG_FILE_MAX];
        unsigned line;
        char text[DIAG_TEXT_MAX];
};

/* Fill *d (may be NULL) and return r, so that a parser can write
 * `return diag_set(reterr, -EBADMSG, file, line, "unknown key '%s'", key);` */
int diag_set(struct diag *d, int r, const char *file, unsigned line, const char *format, ...)
        __attribute__((format(printf, 5, 6)));

/* Write "file:line: text" (without the parts that are empty) into buf; returns buf. */
const char *diag_format(const struct diag *d, char *buf, size_t size);
/* The same for logs and records: of the file its base name, of the text nothing that it quotes. */
const char *diag_format_log(const struct diag *d, char *buf, size_t size);
