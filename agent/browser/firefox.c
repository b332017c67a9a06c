/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Firefox's one file. Theirs is kept as it is, byte for byte, under BROWSER_THEIRS; what Firefox reads
 * is ours, made of both. A file without our mark is the administrator's newest word. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/browser/internal.h"
#include "base/cleanup.h"
#include "base/io.h"

#define LIVE "policies.json"

/* Read by Firefox only where LIVE is missing, so it would be hidden by ours. */
static const char *const distribution[] = {
        "/usr/lib/firefox-esr/distribution/" LIVE,
        "/usr/lib/firefox/distribution/" LIVE,
        "/usr/lib64/firefox/distribution/" LIVE,
        "/opt/firefox/distribution/" LIVE,
};

/* Theirs becomes BROWSER_THEIRS, the very file; LIVE keeps its name until ours replaces it. */
static int keep_theirs(struct visit *v)
{
        _cleanup_free_ char *live = visit_path(v, LIVE), *theirs = visit_path(v, BROWSER_THEIRS);
        _cleanup_free_ char *temporary = visit_path(v, "." BROWSER_THEIRS ".new");

        if (!live || !theirs || !temporary)
                return -ENOMEM;
        unlink(temporary);
        if (link(live, temporary) < 0)
                return -errno;
        if (rename(temporary, theirs) < 0)
                return -errno;
        unlink(temporary); /* rename(2) does nothing when both are the same file */
        return 0;
}

static int read_distribution(const struct visit *v, json_t **ret)
{
        for (size_t i = 0; i < ELEMENTSOF(distribution); i++) {
                _cleanup_free_ char *path = format_new("%s%s", v->browser->root, distribution[i]), *text = NULL;
                size_t size;

                if (!path || file_read(path, POLICY_FILE_MAX, &text, &size) < 0)
                        continue;
                *ret = json_loadb(text, size, 0, NULL);
                if (json_is_object(*ret))
                        return 0;
                json_decref(*ret);
        }
        *ret = json_object();
        return *ret ? 0 : -ENOMEM;
}

static bool is_ours(const json_t *o)
{
        return json_object_get(o, BROWSER_MARK) != NULL;
}

/* What the administrator has set, {} nothing. -EBADMSG they have a file that is not understood. */
static int read_theirs(struct visit *v, json_t **ret)
{
        json_auto_t *live = NULL;
        int r = visit_read(v, LIVE, &live);

        if (r == -EBADMSG && !*v->browser->written[v->place])
                return r;
        if (r < 0 && r != -ENOENT && r != -EBADMSG)
                return r;
        if (r >= 0 && !is_ours(live)) {
                r = keep_theirs(v);
                if (r >= 0)
                        *ret = json_incref(live);
                return r;
        }
        r = visit_read(v, BROWSER_THEIRS, ret);
        return r == -ENOENT ? read_distribution(v, ret) : r;
}

/* Back to how it was: theirs under its own name, or nothing. */
static void give_back(struct visit *v)
{
        _cleanup_free_ char *live = visit_path(v, LIVE), *theirs = visit_path(v, BROWSER_THEIRS);
        json_auto_t *o = NULL;
        int r = visit_read(v, LIVE, &o);
        bool replaced = r >= 0 && !is_ours(o); /* by the administrator, while the agent was away */

        if (!live || !theirs)
                return visit_problem(v, LIVE, "out of memory");
        if (replaced)
                return visit_remove(v, BROWSER_THEIRS);
        if (rename(theirs, live) == 0)
                *v->browser->written[v->place] = '\0';
        else if (errno != ENOENT)
                visit_problem(v, LIVE, "cannot be given back: %s", strerror(errno));
        else if (is_ours(o) || *v->browser->written[v->place])
                visit_remove(v, LIVE);
}

void firefox_visit(struct visit *v)
{
        json_auto_t *theirs = NULL, *document = NULL;
        struct browser_input in = {.rules = v->rules};
        struct browser_output o = {0};
        int r = 0;

        if (v->rules) {
                r = read_theirs(v, &theirs);
                if (r == -EBADMSG)
                        return visit_problem(v, LIVE, "the administrator's file is not JSON: it is left alone");
                in.theirs = theirs;
                if (r >= 0)
                        r = browser_firefox(&in, &o);
        }
        document = o.document;
        if (r >= 0 && !document)
                return give_back(v);
        if (r >= 0)
                r = visit_write(v, LIVE, &o);
        if (r < 0)
                visit_problem(v, LIVE, "cannot be written: %s", strerror(-r));
}
