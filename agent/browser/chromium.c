/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Chromium's folder of policy files: all are read, the last by name wins where two set the same. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/browser/internal.h"
#include "base/cleanup.h"

static int is_theirs(const struct dirent *e)
{
        /* what file_write_atomic() works on begins with ".NAME." */
        return strcmp(e->d_name, BROWSER_FILE) &&
               strncmp(e->d_name, "." BROWSER_FILE ".", sizeof(BROWSER_FILE) + 1) && e->d_type != DT_DIR;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name);
}

/* What the administrator's files set together. -EBADMSG: one of them is not understood. */
static int read_theirs(struct visit *v, json_t *theirs, json_t *later)
{
        struct dirent **names = NULL;
        int n = scandir(v->browser->folders[v->place], &names, is_theirs, compare_names), r = 0;

        for (int i = 0; i < n; i++) {
                json_auto_t *o = NULL;
                int q = i < POLICY_FILES_MAX ? visit_read(v, names[i]->d_name, &o) : -E2BIG;

                if (q >= 0)
                        json_object_update(theirs, o);
                if (q >= 0 && strcmp(names[i]->d_name, BROWSER_FILE) > 0)
                        json_object_update(later, o);
                if (q < 0 && q != -ENOENT) {
                        visit_problem(v, names[i]->d_name, "cannot be understood: its lists stay, ours are left out");
                        r = -EBADMSG;
                }
                free(names[i]);
        }
        free(names);
        return r;
}

void chromium_visit(struct visit *v)
{
        json_auto_t *theirs = json_object(), *later = json_object(), *document = NULL;
        struct browser_input in = {.rules = v->rules, .theirs = theirs};
        struct browser_output o = {0};
        const char *key;
        json_t *value;
        int r = 0;

        if (v->rules) {
                in.keep_lists = read_theirs(v, theirs, later) < 0;
                r = browser_chromium(&in, &o);
        }
        document = o.document;
        if (r >= 0 && !document) {
                visit_remove(v, BROWSER_FILE);
                return;
        }
        if (r >= 0)
                r = visit_write(v, BROWSER_FILE, &o);
        if (r < 0)
                visit_problem(v, BROWSER_FILE, "cannot be written: %s", strerror(-r));
        json_object_foreach(document, key, value) if (json_object_get(later, key))
                visit_problem(v, BROWSER_FILE, "a file with a later name sets %s, so ours is not obeyed", key);
}
