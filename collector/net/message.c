/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/net/message.h"
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"

void http_query_done(struct http_query *q)
{
        free(q->storage);
        *q = (struct http_query){0};
}

/* In place; the result is never longer. */
static int url_decode(char *s)
{
        char *out = s;

        for (; *s; s++, out++) {
                if (*s == '+') {
                        *out = ' ';
                } else if (*s == '%') {
                        const char digits[3] = {s[1], s[1] ? s[2] : 0, 0};
                        uint8_t byte;

                        if (hex_decode(digits, &byte, 1) < 0 || byte == 0)
                                return -EBADMSG;
                        *out = (char)byte;
                        s += 2;
                } else {
                        *out = *s;
                }
        }
        *out = 0;
        return 0;
}

static int query_add(struct http_query *q, char *pair, struct diag *reterr)
{
        char *value = strchr(pair, '=');

        if (value)
                *value++ = 0;
        if (url_decode(pair) < 0 || (value && url_decode(value) < 0) || !text_is_utf8(pair, strlen(pair)) ||
            (value && !text_is_utf8(value, strlen(value))))
                return diag_set(reterr, -EBADMSG, NULL, 0, "the query is not well-formed");
        for (size_t i = 0; i < q->n; i++)
                if (strcmp(q->pairs[i].name, pair) == 0)
                        return diag_set(reterr, -EBADMSG, NULL, 0, "parameter '%s' is given twice", pair);
        if (q->n == HTTP_QUERY_MAX)
                return diag_set(reterr, -E2BIG, NULL, 0, "more than %d parameters", HTTP_QUERY_MAX);
        q->pairs[q->n].name = pair;
        q->pairs[q->n++].value = value ? value : "";
        return 0;
}

int http_query_parse(const char *query, struct http_query *ret, struct diag *reterr)
{
        _cleanup_(http_query_done) struct http_query q = {0};
        char *rest, *pair;
        int r;

        q.storage = rest = strdup(query ? query : "");
        if (!rest)
                return -ENOMEM;
        while ((pair = strsep(&rest, "&")))
                if (*pair && (r = query_add(&q, pair, reterr)) < 0)
                        return r;
        *ret = q;
        q = (struct http_query){0};
        return 0;
}

/* RFC 6265 4.2.1: name=value, separated by "; " */
int http_cookie_find(const char *header, const char *name, char *ret, size_t size)
{
        size_t name_size = strlen(name);

        for (const char *p = header; p && *p;) {
                size_t n;

                p += strspn(p, "; ");
                n = strcspn(p, ";");
                if (n > name_size && p[name_size] == '=' && strncmp(p, name, name_size) == 0) {
                        n -= name_size + 1;
                        if (n >= size)
                                return -E2BIG;
                        memcpy(ret, p + name_size + 1, n);
                        ret[n] = 0;
                        return 0;
                }
                p += n;
        }
        return -ENOENT;
}

int http_address_parse(const char *text, char ret_host[static HTTP_HOST_MAX], char ret_port[static 6])
{
        const char *colon = strrchr(text, ':');
        size_t n = colon ? (size_t)(colon - text) : 0;
        uint64_t port;

        if (n == 0 || !strchr("0123456789", colon[1]) || parse_u64(colon + 1, 65535, &port) < 0)
                return -EINVAL;
        if (n == 1 && *text == '*') {
                n = 0;
        } else if (*text == '[') {
                if (text[n - 1] != ']' || n < 4)
                        return -EINVAL;
                text++;
                n -= 2;
        } else if (memchr(text, ':', n)) {
                return -EINVAL;
        }
        if (n >= HTTP_HOST_MAX)
                return -EINVAL;
        memcpy(ret_host, text, n);
        ret_host[n] = 0;
        snprintf(ret_port, 6, "%u", (unsigned)port);
        return 0;
}
