/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* libinih's callback type has the name of ours. */
#define ini_handler inih_handler
#include <ini.h>
#undef ini_handler

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/ini.h"
#include "base/text.h"

#define INI_NAME_MAX 49 /* libinih keeps 50 bytes of a section or key, NUL included, and cuts the rest off */

_Static_assert(INI_LINE_MAX + 3 <= INI_MAX_LINE, "a line must fit libinih's buffer");

struct ini_reader {
        const char *next;
        const char *end;
        const char *file;
        unsigned line;
        ini_handler handler;
        void *userdata;
        struct diag *reterr;
        int r;
};

/* Cuts the next line off; "\r\n" ends one like "\n". */
static size_t line_next(struct ini_reader *t, const char **ret)
{
        const char *newline = memchr(t->next, '\n', (size_t)(t->end - t->next));
        const char *stop = newline ? newline : t->end;
        size_t size = (size_t)(stop - t->next);

        *ret = t->next;
        t->next = newline ? newline + 1 : t->end;
        t->line++;
        if (newline && size > 0 && stop[-1] == '\r')
                size--;
        return size;
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

static const char *skip_blanks(const char *s)
{
        return s + strspn(s, " \t");
}

static int refuse(const struct ini_reader *t, const char *reason)
{
        return diag_set(t->reterr, -EBADMSG, t->file, t->line, "%s", reason);
}

/* libinih ignores whatever follows the first ']'. */
static int section_check(const struct ini_reader *t, const char *line)
{
        const char *stop = strchr(line, ']'), *comment = strchr(line, ';');

        if (!stop || (comment && comment < stop))
                return refuse(t, "section without ']'");
        if (stop == line + 1)
                return refuse(t, "section without a name");
        if (stop - line - 1 > INI_NAME_MAX)
                return refuse(t, "section name too long");
        if (stop[1] && !(is_blank(stop[1]) && strchr(";", *skip_blanks(stop + 1))))
                return diag_set(t->reterr, -EBADMSG, t->file, t->line, "text behind the section name: '%s'",
                                stop + 1);
        return 0;
}

/* libinih takes ':' for '=' as well. */
static int key_check(const struct ini_reader *t, const char *line)
{
        size_t size = strcspn(line, "=:; \t");
        const char *sign = skip_blanks(line + size);

        if (*sign != '=')
                return diag_set(t->reterr, -EBADMSG, t->file, t->line, "expected 'key = value', not '%s'", line);
        if (size == 0)
                return refuse(t, "'=' without a key");
        if (size > INI_NAME_MAX)
                return refuse(t, "key too long");
        return 0;
}

static int line_check(const struct ini_reader *t, const char *line, size_t size)
{
        char copy[INI_LINE_MAX + 1];

        if (size > INI_LINE_MAX)
                return diag_set(t->reterr, -EBADMSG, t->file, t->line, "line longer than %d bytes", INI_LINE_MAX);
        if (!text_is_utf8(line, size))
                return refuse(t, "not UTF-8");
        if (!text_is_line(line, size))
                return refuse(t, "control character");
        memcpy(copy, line, size);
        copy[size] = 0;
        if (!*skip_blanks(copy))
                return 0;
        if (is_blank(copy[0])) /* libinih would append it to the value above */
                return refuse(t, "line starts with a blank");
        if (text_starts_with(copy, "\xef\xbb\xbf")) /* libinih would skip it */
                return refuse(t, "byte order mark");
        if (copy[0] == ';' || copy[0] == '#')
                return 0;
        return copy[0] == '[' ? section_check(t, copy) : key_check(t, copy);
}

/* libinih 55 as Debian builds it neither counts lines for the handler nor tells it of sections. */
static char *feed(char *str, int num, void *stream)
{
        struct ini_reader *t = stream;
        const char *line;
        size_t size;

        if (t->r < 0 || t->next == t->end)
                return NULL;
        size = line_next(t, &line);
        if (num <= 0 || size >= (size_t)num) {
                t->r = refuse(t, "line too long");
                return NULL;
        }
        memcpy(str, line, size);
        str[size] = 0;
        if (size > 0 && line[0] == '[') {
                _cleanup_free_ char *section = strndup(line + 1, strcspn(str, "]") - 1);

                t->r = section ? t->handler(t->userdata, section, NULL, NULL, t->line, t->reterr) : -ENOMEM;
        }
        return t->r < 0 ? NULL : str;
}

static int forward(void *user, const char *section, const char *name, const char *value)
{
        struct ini_reader *t = user;

        if (t->r >= 0)
                t->r = t->handler(t->userdata, section, name, value, t->line, t->reterr);
        return 1;
}

int ini_parse_text(const char *text, size_t size, const char *file, ini_handler handler, void *userdata,
                   struct diag *reterr)
{
        const char *start = size > 0 ? text : "";
        struct ini_reader check = {.next = start, .end = start + size, .file = file, .reterr = reterr};
        struct ini_reader t = check;
        const char *line;
        int r;

        while (check.next < check.end) {
                size_t n = line_next(&check, &line);

                r = line_check(&check, line, n);
                if (r < 0)
                        return r;
        }
        t.handler = handler;
        t.userdata = userdata;
        r = ini_parse_stream(feed, &t, forward, &t);
        if (t.r < 0)
                return t.r;
        if (r != 0)
                return diag_set(reterr, -EBADMSG, file, r > 0 ? (unsigned)r : 0, "not an INI file");
        return 0;
}

struct wanted {
        const char *name;
        char *value;
};

static int take_wanted(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                       struct diag *reterr)
{
        struct wanted *w = userdata;

        if (!name || w->value || strcmp(name, w->name) != 0)
                return 0;
        w->value = strdup(value);
        return w->value ? 0 : -ENOMEM;
}

int ini_salvage(const char *text, size_t size, const char *name, char **ret)
{
        const char *start = size > 0 ? text : "", *line;
        struct ini_reader t = {.next = start, .end = start + size, .file = ""};
        struct wanted w = {name, NULL};
        _cleanup_buf_ struct buf whole = {0};
        int r;

        while (t.next < t.end) {
                size_t n = line_next(&t, &line);

                if (line_check(&t, line, n) < 0)
                        continue;
                buf_add(&whole, line, n);
                buf_add(&whole, "\n", 1);
        }
        r = buf_error(&whole);
        if (r >= 0)
                r = ini_parse_text((char *)whole.data, whole.size, "", take_wanted, &w, NULL);
        if (r < 0) {
                free(w.value);
                return r;
        }
        if (!w.value)
                return -ENOENT;
        *ret = w.value;
        return 0;
}
