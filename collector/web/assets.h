/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The page as built into the program. */
#include <stddef.h>

struct web_asset {
        const char *path; /* "/", "/main.js" */
        const char *type; /* "text/html; charset=utf-8" */
        const char *etag; /* with its quotes */
        const unsigned char *data;
        size_t size;
};

extern const struct web_asset web_assets[];
extern const size_t n_web_assets;
