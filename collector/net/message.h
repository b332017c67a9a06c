/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The pieces of a request that are text within text: query, cookie, address. Bytes in, struct
 * or error out. */
#include <stddef.h>
#include "base/diag.h"

#define HTTP_QUERY_MAX 32 /* parameters */

struct http_query {
        struct {
                const char *name, *value;
        } pairs[HTTP_QUERY_MAX];
        size_t n;
        char *storage;
};
void http_query_done(struct http_query *q);
/* WHATWG URL 5.1 (application/x-www-form-urlencoded), but strict. query may be NULL.
 * -EBADMSG bad escape, NUL, not UTF-8, a name given twice; -E2BIG too many. */
int http_query_parse(const char *query, struct http_query *ret, struct diag *reterr);

/* Value of one cookie of a Cookie header into ret (with NUL); -ENOENT, -E2BIG. */
int http_cookie_find(const char *header, const char *name, char *ret, size_t size);

#define HTTP_HOST_MAX 256
/* "HOST:PORT", "[V6]:PORT", "*:PORT" (ret_host is then empty). -EINVAL. */
int http_address_parse(const char *text, char ret_host[static HTTP_HOST_MAX], char ret_port[static 6]);
