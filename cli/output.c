/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"

#define LABEL_WIDTH 11

static const char *const colours[] = {
        [COLOUR_NONE] = "",          [COLOUR_GOOD] = "\x1b[32m", [COLOUR_WARN] = "\x1b[33m",
        [COLOUR_BAD] = "\x1b[1;31m", [COLOUR_DIM] = "\x1b[2m",
};
_Static_assert(ELEMENTSOF(colours) == _COLOUR_MAX, "every colour needs its sequence");

void print_field(const struct cli *c, const char *label, enum colour colour, const char *format, ...)
{
        char text[2048], safe[4096];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        text_escape(text, safe, sizeof(safe));
        if (c->colour && colour != COLOUR_NONE)
                printf("%-*s%s%s\x1b[0m\n", LABEL_WIDTH, label, colours[colour], safe);
        else
                printf("%-*s%s\n", LABEL_WIDTH, label, safe);
}

void print_line(const char *format, ...)
{
        char text[2048], safe[4096];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        text_escape(text, safe, sizeof(safe));
        puts(safe);
}

int print_json(json_t *o)
{
        int r = o ? json_dumpf(o, stdout, JSON_INDENT(1)) : -1;

        json_decref(o);
        return r < 0 || putchar('\n') == EOF ? STATUS_FAILED : STATUS_OK;
}

int cli_fail(const struct cli *c, int status, const char *format, ...)
{
        char text[1024], safe[2048];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        text_escape(text, safe, sizeof(safe));
        if (c->json)
                print_json(json_pack("{s:b,s:s}", "ok", 0, "error", safe));
        else
                fprintf(stderr, "onchannel: %s\n", safe);
        return status;
}

int cli_fail_diag(const struct cli *c, const struct diag *d, int r)
{
        char text[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];

        if (c->json && *d->text)
                print_json(json_pack("{s:b,s:s,s:s,s:I}", "ok", 0, "error", d->text, "file", d->file, "line",
                                     (json_int_t)d->line));
        else
                cli_fail(c, STATUS_FAILED, "%s", *d->text ? diag_format(d, text, sizeof(text)) : strerror(-r));
        return STATUS_FAILED;
}

const char *duration_format(uint64_t seconds, char buf[static 32])
{
        unsigned long long s = seconds;

        if (s < 60)
                snprintf(buf, 32, "%llu s", s);
        else if (s < 3600)
                snprintf(buf, 32, "%llu min", s / 60);
        else if (s < 86400)
                snprintf(buf, 32, "%llu h %llu min", s / 3600, s % 3600 / 60);
        else
                snprintf(buf, 32, "%llu d %llu h", s / 86400, s % 86400 / 3600);
        return buf;
}

const char *json_text(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

json_int_t json_number(const json_t *o, const char *key)
{
        return json_integer_value(json_object_get(o, key));
}
