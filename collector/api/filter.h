/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The query of GET /api/v1/violations as a filter of the store. No I/O. */
#include "collector/net/message.h"
#include "collector/store/store.h"

#define FILTER_LIMIT_DEFAULT 100
#define FILTER_LIMIT_MAX     500
#define FILTER_CURSOR_MAX    64

/* Strings of *ret live in q. -EBADMSG, naming the parameter. */
int filter_parse(const struct http_query *q, struct store_filter *ret, struct diag *reterr);
/* Where the page behind a row begins, as text for `before`. */
void cursor_format(const struct store_cursor *c, char ret[static FILTER_CURSOR_MAX]);
/* "use", "bypass", "tamper", "exemption-use" */
bool filter_class_known(const char *class);
