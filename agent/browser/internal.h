/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the files of this folder share. */
#include <jansson.h>
#include "agent/browser/browser.h"
#include "agent/browser/document.h"

#define POLICY_FILE_MAX  (4u << 20)
#define POLICY_FILES_MAX 64 /* an administrator's, in one folder */

enum place {
        PLACE_CHROMIUM,
        PLACE_CHROMIUM_BROWSER, /* Ubuntu's name for it */
        PLACE_CHROME,
        PLACE_EDGE,
        PLACE_BRAVE,
        PLACE_FIREFOX,
        _PLACE_MAX,
};

struct browser {
        char *root;
        char *folders[_PLACE_MAX];
        char written[_PLACE_MAX][65]; /* SHA-256 of what we wrote last; "" nothing */
};

/* One place at a time. */
struct visit {
        struct browser *browser;
        enum place place;
        const struct ruleset *rules; /* NULL: take ours away */
        struct browser_state *state;
};

void visit_problem(struct visit *v, const char *file, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Replace FILE of the folder unless it holds that already; takes notice of what was there instead. */
int visit_write(struct visit *v, const char *file, const struct browser_output *o);
/* Remove FILE and the folders that are empty then. */
void visit_remove(struct visit *v, const char *file);
/* A file of the folder as an object. -ENOENT, -EBADMSG not JSON. */
int visit_read(struct visit *v, const char *file, json_t **ret);
/* A path below the root; free(). */
char *visit_path(const struct visit *v, const char *file);

void firefox_visit(struct visit *v);
void chromium_visit(struct visit *v);
