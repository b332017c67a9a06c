/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* inih behind a pre-check. Debian's libinih splits a line of about 200 bytes silently and
 * parses the tail as a new key, so lines, NULs and UTF-8 are checked first. */
#include <stddef.h>
#include "base/diag.h"

#define INI_LINE_MAX 180 /* bytes without the newline; libinih's INI_MAX_LINE is 200 */

/* Called for each section start (name == NULL) and for each key. Return 0, or a negative
 * errno after filling *reterr through diag_set(reterr, r, file, line, …). */
typedef int (*ini_handler)(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                           struct diag *reterr);

/* -EBADMSG line too long, NUL, not UTF-8, syntax; or what the handler returned.
 * `file` is used in diagnostics only. Inline comments start with " ;". */
int ini_parse_text(const char *text, size_t size, const char *file, ini_handler handler, void *userdata,
                   struct diag *reterr);

/* The first value of a key, of whatever section, in the lines that ini_parse_text() would take, whatever stands between them:
 * free(). -ENOENT. */
int ini_salvage(const char *text, size_t size, const char *name, char **ret);
