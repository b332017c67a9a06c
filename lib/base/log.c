/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

#define LOG_TEXT_MAX 2048

static int log_max_level = LOG_INFO;
static const char *log_name = "onchannel";

void log_set_max_level(int level)
{
        log_max_level = level;
}

void log_set_name(const char *name)
{
        log_name = name;
}

/* sd-daemon(3): journald reads the level from "<N>" at the start of a line. */
static bool is_journal(void)
{
        return getenv("INVOCATION_ID") && !isatty(STDERR_FILENO);
}

static void log_write(int level, const char *text)
{
        char safe[LOG_TEXT_MAX], line[LOG_TEXT_MAX + 64];
        int n;

        text_escape(text, safe, sizeof(safe));
        if (is_journal())
                n = snprintf(line, sizeof(line), "<%d>%s\n", level, safe);
        else
                n = snprintf(line, sizeof(line), "%.32s: %s\n", log_name, safe);
        if (n > 0)
                (void)fd_write_all(STDERR_FILENO, line, (size_t)n);
}

void log_line(int level, const char *format, ...)
{
        char text[LOG_TEXT_MAX];
        int saved = errno;
        va_list ap;

        if (level > log_max_level)
                return;
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        log_write(level, text);
        errno = saved;
}

int log_errno(int level, int r, const char *format, ...)
{
        char text[LOG_TEXT_MAX], all[LOG_TEXT_MAX + 128];
        int code = r < 0 ? -r : r;
        va_list ap;

        if (level > log_max_level)
                return -code;
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        snprintf(all, sizeof(all), "%s: %s", text, strerror(code));
        log_write(level, all);
        return -code;
}
