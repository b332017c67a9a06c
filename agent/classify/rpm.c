/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include "agent/classify/package.h"
#include "agent/classify/rpm-ndb.h"
#include "base/cleanup.h"
#include "base/io.h"

#define DATABASE "rpmdb.sqlite"
#define NDB      "Packages.db"

/* rpm's include/rpm/rpmtag.h */
enum { TAG_DIRINDEXES = 1116, TAG_BASENAMES = 1117, TAG_DIRNAMES = 1118 };
enum { TYPE_INT32 = 4, TYPE_STRING_ARRAY = 8 };

struct index_entry { /* big-endian */
        uint32_t tag;
        uint32_t type;
        uint32_t offset; /* into the store */
        uint32_t count;
};

struct header {
        const uint8_t *index;
        size_t n_index;
        const uint8_t *store;
        size_t store_size;
};

struct array {
        const uint8_t *data, *end; /* of the store: the array says only how many */
        size_t n;
};

static int parse_header(const uint8_t *data, size_t size, struct header *ret)
{
        uint32_t head[2];

        if (size < sizeof(head))
                return -EBADMSG;
        memcpy(head, data, sizeof(head));
        *ret = (struct header){
                .index = data + sizeof(head), .n_index = be32toh(head[0]), .store_size = be32toh(head[1])};
        size -= sizeof(head);
        if (ret->n_index > size / sizeof(struct index_entry) ||
            ret->store_size > size - ret->n_index * sizeof(struct index_entry))
                return -EBADMSG;
        ret->store = ret->index + ret->n_index * sizeof(struct index_entry);
        return 0;
}

static int find_array(const struct header *h, uint32_t tag, uint32_t type, struct array *ret)
{
        struct index_entry e;

        for (size_t i = 0; i < h->n_index; i++) {
                memcpy(&e, h->index + i * sizeof(e), sizeof(e));
                if (be32toh(e.tag) != tag)
                        continue;
                if (be32toh(e.type) != type || be32toh(e.offset) > h->store_size || be32toh(e.count) > h->store_size)
                        return -EBADMSG;
                *ret = (struct array){
                        .data = h->store + be32toh(e.offset), .end = h->store + h->store_size, .n = be32toh(e.count)};
                return 0;
        }
        return -ENOENT;
}

static const char *next_string(struct array *a)
{
        const char *s = (const char *)a->data;
        const uint8_t *end = a->n > 0 ? memchr(a->data, '\0', (size_t)(a->end - a->data)) : NULL;

        if (!end)
                return NULL;
        a->data = end + 1;
        a->n--;
        return s;
}

static bool next_number(struct array *a, uint32_t *ret)
{
        uint32_t be;

        if (a->n == 0 || (size_t)(a->end - a->data) < sizeof(be))
                return false;
        memcpy(&be, a->data, sizeof(be));
        a->data += sizeof(be);
        a->n--;
        *ret = be32toh(be);
        return true;
}

int rpm_header_files(const uint8_t *header, size_t size, uint32_t entry, package_handler handler, void *userdata)
{
        struct array names = {}, numbers = {}, folders = {};
        _cleanup_free_ const char **folder = NULL;
        char path[PACKAGE_PATH_MAX];
        struct header h;
        size_t n;
        int r;

        r = parse_header(header, size, &h);
        if (r == 0)
                r = find_array(&h, TAG_BASENAMES, TYPE_STRING_ARRAY, &names);
        if (r == -ENOENT)
                return 0; /* a package without files */
        if (r == 0)
                r = find_array(&h, TAG_DIRINDEXES, TYPE_INT32, &numbers);
        if (r == 0)
                r = find_array(&h, TAG_DIRNAMES, TYPE_STRING_ARRAY, &folders);
        if (r < 0)
                return r == -ENOENT ? -EBADMSG : r;
        n = folders.n;
        folder = calloc(n + 1, sizeof(*folder));
        if (!folder)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (!(folder[i] = next_string(&folders)))
                        return -EBADMSG;
        for (const char *name; r >= 0 && (name = next_string(&names));) {
                uint32_t i;

                if (!next_number(&numbers, &i) || i >= n)
                        return -EBADMSG;
                if (folder[i][0] == '/' && snprintf(path, sizeof(path), "%s%s", folder[i], name) < (int)sizeof(path))
                        r = handler(path, entry, userdata);
        }
        return r;
}

static void database_closep(sqlite3 **db)
{
        sqlite3_close(*db);
}

static void statement_closep(sqlite3_stmt **s)
{
        sqlite3_finalize(*s);
}

static int errno_of(int sqlite)
{
        return sqlite == SQLITE_NOMEM ? -ENOMEM : sqlite == SQLITE_CANTOPEN ? -ENOENT : -EIO;
}

static int walk_packages(sqlite3_stmt *s, uint32_t entry, package_handler handler, void *userdata)
{
        int r = 0, q;

        while ((q = sqlite3_step(s)) == SQLITE_ROW && r >= 0) {
                const void *header = sqlite3_column_blob(s, 0);
                int size = sqlite3_column_bytes(s, 0);

                if (header)
                        r = rpm_header_files(header, (size_t)size, entry, handler, userdata);
                if (r == -EBADMSG)
                        r = 0; /* the next one may be well */
        }
        if (r >= 0 && q != SQLITE_DONE)
                r = errno_of(q);
        sqlite3_reset(s);
        return r;
}

struct ndb_walk {
        const struct ruleset *rules;
        package_handler handler;
        void *userdata;
};

static uint32_t find_package(const char *package, void *userdata)
{
        const struct ndb_walk *w = userdata;

        return rules_match_program(w->rules, &(struct rules_program){.package = package});
}

static int take_package(const uint8_t *header, size_t size, uint32_t entry, void *userdata)
{
        const struct ndb_walk *w = userdata;
        int r = rpm_header_files(header, size, entry, w->handler, w->userdata);

        return r == -EBADMSG ? 0 : r;
}

static int walk_ndb(const char *dir, struct ndb_walk *w)
{
        _cleanup_free_ char *path = format_new("%s/" NDB, dir);
        _cleanup_fd_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

        if (fd < 0)
                return path ? -errno : -ENOMEM;
        return ndb_walk(fd, &(struct ndb_handlers){.find = find_package, .package = take_package, .userdata = w});
}

int rpm_walk(const char *dir, const struct ruleset *r, package_handler handler, void *userdata)
{
        /* immutable: no lock and no file of ours beside it; what rpm writes just now comes with the next stamp */
        _cleanup_free_ char *uri = format_new("file:%s/" DATABASE "?immutable=1", dir);
        _cleanup_(database_closep) sqlite3 *db = NULL;
        _cleanup_(statement_closep) sqlite3_stmt *s = NULL;
        int q;

        if (!uri)
                return -ENOMEM;
        if (package_change_time(dir, DATABASE) == 0)
                return walk_ndb(dir, &(struct ndb_walk){.rules = r, .handler = handler, .userdata = userdata});
        q = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
        if (q == SQLITE_OK)
                q = sqlite3_prepare_v2(db, "SELECT blob FROM Packages JOIN Name USING (hnum) WHERE Name.key = ?", -1,
                                       &s, NULL);
        if (q != SQLITE_OK)
                return errno_of(q);
        for (uint32_t i = 1; i < r->n_entries; i++) {
                int error = 0;

                if (r->entries[i].kind != ENTRY_PACKAGE)
                        continue;
                q = sqlite3_bind_text(s, 1, r->entries[i].value, -1, SQLITE_STATIC);
                error = q == SQLITE_OK ? walk_packages(s, i, handler, userdata) : errno_of(q);
                if (error < 0)
                        return error;
        }
        return 0;
}

uint64_t rpm_stamp(const char *dir)
{
        return package_change_time(dir, DATABASE) * 31 + package_change_time(dir, NDB);
}
