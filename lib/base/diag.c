/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/diag.h"
#include "base/text.h"

int diag_set(struct diag *d, int r, const char *file, unsigned line, const char *format, ...)
{
        char text[DIAG_TEXT_MAX];
        va_list ap;

        if (!d)
                return r;
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        text_escape(text, d->text, sizeof(d->text));
        text_escape(file ? file : "", d->file, sizeof(d->file));
        d->line = line;
        return r;
}

const char *diag_format_log(const struct diag *d, char *buf, size_t size)
{
        const char *slash = strrchr(d->file, '/');
        struct diag plain = {.line = d->line};

        strcpy(plain.file, slash ? slash + 1 : d->file);
        text_unquote(d->text, plain.text, sizeof(plain.text));
        return diag_format(&plain, buf, size);
}

const char *diag_format(const struct diag *d, char *buf, size_t size)
{
        char line[16] = "";

        if (d->line > 0)
                snprintf(line, sizeof(line), "%u:", d->line);
        snprintf(buf, size, "%s%s%s%s%s", d->file, d->file[0] ? ":" : "", line, d->file[0] || line[0] ? " " : "",
                 d->text);
        return buf;
}
