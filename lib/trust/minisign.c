/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/text.h"
#include "trust/minisign.h"

#define BASE64_VARIANT sodium_base64_VARIANT_ORIGINAL
#define BASE64_MAX     sodium_base64_ENCODED_LEN(sizeof(struct minisign_secret), BASE64_VARIANT)

static int refuse(const struct minisign_text *t, const char *reason)
{
        return diag_set(t->reterr, -EBADMSG, t->file, t->line, "%s", reason);
}

static int read_line(struct minisign_text *t, const char **ret, size_t *ret_size)
{
        const char *newline;

        t->line++;
        if (t->next == t->end)
                return refuse(t, "file ends too early");
        newline = memchr(t->next, '\n', (size_t)(t->end - t->next));
        *ret = t->next;
        *ret_size = (size_t)((newline ? newline : t->end) - t->next);
        t->next = newline ? newline + 1 : t->end;
        if (newline && *ret_size > 0 && newline[-1] == '\r')
                --*ret_size;
        return 0;
}

int minisign_read_comment(struct minisign_text *t, const char *prefix, const char **ret, size_t *ret_size)
{
        size_t size, skip = strlen(prefix);
        const char *line;
        int r;

        r = read_line(t, &line, &size);
        if (r < 0)
                return r;
        if (size < skip || memcmp(line, prefix, skip) != 0)
                return diag_set(t->reterr, -EBADMSG, t->file, t->line, "line does not start with '%s'", prefix);
        if (!text_is_line(line, size))
                return refuse(t, "comment is not printable UTF-8");
        *ret = line + skip;
        *ret_size = size - skip;
        return 0;
}

int minisign_read_base64(struct minisign_text *t, void *ret, size_t size)
{
        char canonical[BASE64_MAX];
        size_t line_size, n;
        const char *line;
        int r;

        r = read_line(t, &line, &line_size);
        if (r < 0)
                return r;
        if (line_size + 1 != sodium_base64_encoded_len(size, BASE64_VARIANT))
                return refuse(t, "not of the length that belongs here");
        if (sodium_base642bin(ret, size, line, line_size, NULL, &n, NULL, BASE64_VARIANT) < 0 || n != size)
                return refuse(t, "not base64");
        /* libsodium 1.0.18 takes '+' and '/' with the top bit set for the digits themselves. */
        sodium_bin2base64(canonical, sizeof(canonical), ret, size, BASE64_VARIANT);
        r = sodium_memcmp(canonical, line, line_size);
        sodium_memzero(canonical, sizeof(canonical));
        return r < 0 ? refuse(t, "not base64") : 0;
}

int minisign_read_end(struct minisign_text *t)
{
        if (t->next == t->end)
                return 0;
        t->line++;
        return refuse(t, "text behind the end");
}

void minisign_add_base64(struct buf *b, const void *data, size_t size)
{
        char text[BASE64_MAX];

        sodium_bin2base64(text, sizeof(text), data, size, BASE64_VARIANT);
        buf_add_string(b, text);
        buf_add_string(b, "\n");
        sodium_memzero(text, sizeof(text));
}
