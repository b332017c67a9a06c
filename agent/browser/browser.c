/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/browser/internal.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define FOLDER_MODE 0755
#define FILE_MODE   0644 /* browsers read it as their user */

static const char *const places[] = {
        [PLACE_CHROMIUM] = "/etc/chromium/policies/managed",
        [PLACE_CHROMIUM_BROWSER] = "/etc/chromium-browser/policies/managed",
        [PLACE_CHROME] = "/etc/opt/chrome/policies/managed",
        [PLACE_EDGE] = "/etc/opt/edge/policies/managed",
        [PLACE_BRAVE] = "/etc/brave/policies/managed",
        [PLACE_FIREFOX] = "/etc/firefox/policies",
};
_Static_assert(ELEMENTSOF(places) == _PLACE_MAX, "a place without a folder");
_Static_assert(_PLACE_MAX <= BROWSER_FOLDERS_MAX, "more folders than are watched");

struct browser *browser_free(struct browser *b)
{
        if (!b)
                return NULL;
        for (size_t i = 0; i < _PLACE_MAX; i++)
                free(b->folders[i]);
        free(b->root);
        free(b);
        return NULL;
}

int browser_new(const char *root, struct browser **ret)
{
        struct browser *b = calloc(1, sizeof(*b));
        bool failed = !b || !(b->root = strdup(root));

        for (size_t i = 0; !failed && i < _PLACE_MAX; i++)
                failed = !(b->folders[i] = format_new("%s%s", root, places[i]));
        if (failed) {
                browser_free(b);
                return -ENOMEM;
        }
        *ret = b;
        return 0;
}

size_t browser_folders(void)
{
        return _PLACE_MAX;
}

const char *browser_folder(const struct browser *b, size_t i)
{
        return b->folders[i];
}

char *visit_path(const struct visit *v, const char *file)
{
        return format_new("%s/%s", v->browser->folders[v->place], file);
}

void visit_problem(struct visit *v, const char *file, const char *format, ...)
{
        char text[256];
        va_list ap;

        if (*v->state->problem)
                return; /* the first says enough */
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        snprintf(v->state->problem, sizeof(v->state->problem), "%s/%s: %s", places[v->place], file, text);
}

/* Each missing folder on the way, readable for all whatever the umask. */
static int make_folders(const struct visit *v)
{
        _cleanup_free_ char *path = strdup(v->browser->folders[v->place]);

        if (!path)
                return -ENOMEM;
        for (char *p = path + 1;; p++) {
                char c = *p;

                if (c != '/' && c != '\0')
                        continue;
                *p = '\0';
                if (mkdir(path, FOLDER_MODE) < 0) {
                        if (errno != EEXIST)
                                return -errno;
                } else if (chmod(path, FOLDER_MODE) < 0) {
                        return -errno;
                }
                *p = c;
                if (c == '\0')
                        return 0;
        }
}

/* Upwards, as long as nothing is left in them; never what the system itself has. */
static void remove_folders(const struct visit *v)
{
        _cleanup_free_ char *path = strdup(v->browser->folders[v->place]);
        size_t root = strlen(v->browser->root);

        while (path && strcmp(path + root, "/etc") && strcmp(path + root, "/etc/opt") && rmdir(path) == 0)
                *strrchr(path, '/') = '\0';
}

static void hash_text(const char *text, size_t size, char ret[static 65])
{
        uint8_t hash[crypto_hash_sha256_BYTES];

        crypto_hash_sha256(hash, (const uint8_t *)text, size);
        hex_encode(hash, sizeof(hash), ret);
}

static bool is_in_place(const char *path, const char *text, size_t size, char ret_hash[static 65])
{
        _cleanup_free_ char *live = NULL;
        struct stat st;
        size_t n;

        ret_hash[0] = '\0';
        if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || file_read(path, POLICY_FILE_MAX, &live, &n) < 0)
                return false;
        hash_text(live, n, ret_hash);
        return n == size && !memcmp(live, text, n) && (st.st_mode & 07777) == FILE_MODE && st.st_uid == geteuid();
}

static void notice_tampering(struct visit *v, const char *file, const char *live_hash)
{
        const char *ours = v->browser->written[v->place];

        if (*ours && strcmp(ours, live_hash) && !*v->state->tampered)
                snprintf(v->state->tampered, sizeof(v->state->tampered), "%s/%s", places[v->place], file);
}

int visit_write(struct visit *v, const char *file, const struct browser_output *o)
{
        _cleanup_free_ char *path = visit_path(v, file), *text = NULL, *dump = NULL;
        char live[65];
        int r = 0;

        dump = json_dumps(o->document, JSON_INDENT(1));
        text = dump ? format_new("%s\n", dump) : NULL;
        if (!path || !text)
                return -ENOMEM;
        if (!is_in_place(path, text, strlen(text), live)) {
                notice_tampering(v, file, live);
                r = make_folders(v);
                if (r >= 0)
                        r = file_write_atomic(path, text, strlen(text), FILE_MODE);
        }
        if (r < 0)
                return r;
        hash_text(text, strlen(text), v->browser->written[v->place]);
        v->state->files++;
        if (o->patterns > v->state->patterns) {
                v->state->patterns = o->patterns;
                v->state->left_out = o->left_out;
        }
        return 0;
}

void visit_remove(struct visit *v, const char *file)
{
        _cleanup_free_ char *path = visit_path(v, file);

        if (path && unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
                visit_problem(v, file, "cannot be removed: %s", strerror(errno));
        *v->browser->written[v->place] = '\0';
        remove_folders(v);
}

int visit_read(struct visit *v, const char *file, json_t **ret)
{
        _cleanup_free_ char *path = visit_path(v, file), *text = NULL;
        size_t size;
        int r;

        r = path ? file_read(path, POLICY_FILE_MAX, &text, &size) : -ENOMEM;
        if (r < 0)
                return r;
        *ret = json_loadb(text, size, 0, NULL);
        if (json_is_object(*ret))
                return 0;
        json_decref(*ret);
        *ret = NULL;
        return -EBADMSG;
}

void browser_apply(struct browser *b, const struct ruleset *rs, struct browser_state *ret)
{
        struct browser_state state;

        memset(&state, 0, sizeof(state)); /* compared as a whole */

        for (enum place p = 0; p < _PLACE_MAX; p++) {
                struct visit v = {.browser = b, .place = p, .rules = rs, .state = &state};

                if (p == PLACE_FIREFOX)
                        firefox_visit(&v);
                else
                        chromium_visit(&v);
        }
        *ret = state;
}
