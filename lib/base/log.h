/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Logging for programs (never for lib/ folders): to standard error, one line a call with
 * an sd-daemon(3) priority prefix, which journald understands. Control characters in
 * arguments come out escaped. */
#include <syslog.h>

void log_set_max_level(int level); /* LOG_ERR .. LOG_DEBUG, default LOG_INFO */
void log_set_name(const char *name); /* prefix when standard error is a terminal */
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Logs "…: strerror(r)" and returns -abs(r); r is snapshotted before formatting. */
int log_errno(int level, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));
