/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whose a file is, from the package managers' databases. */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "agent/classify/package.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"

static const char catalogue_text[] =
        "[channel]\nid = chat\nname = Chat\ncategory = messenger\nvendor = Chat\nhomepage = https://chat.example\n"
        "checked = 2026-11-21\nsource = https://chat.example\n[programs]\npackage = chat-desktop\npackage = "
        "libchat\n";

static struct ruleset *rules;
static char folder[] = "/tmp/oc-package-XXXXXX";

static int setup(void **state)
{
        const struct catalogue_source source = {"chat.ini", catalogue_text, sizeof(catalogue_text) - 1};
        _cleanup_catalogue_ struct catalogue *c = NULL;
        struct rules_input in = {.device = "test"};

        if (catalogue_parse_files(&source, 1, &c, NULL) < 0 || !mkdtemp(folder))
                return -1;
        in.catalogue = c;
        return rules_compile(&in, &rules, NULL);
}

static int teardown(void **state)
{
        _cleanup_free_ char *command = format_new("rm -r %s", folder);

        rules = ruleset_free(rules);
        return system(command);
}

static void write_file(const char *name, const char *text)
{
        _cleanup_free_ char *path = format_new("%s/%s", folder, name);

        assert_int_equal(file_write_atomic(path, text, strlen(text), 0644), 0);
}

static void test_next_path(void **state)
{
        char text[] = "/.\n/usr\n\nrelative\n/usr/bin/a b\n/last";
        char long_line[8192], *at = text;

        assert_string_equal(dpkg_next_path(&at), "/usr");
        assert_string_equal(dpkg_next_path(&at), "/usr/bin/a b");
        assert_string_equal(dpkg_next_path(&at), "/last");
        assert_null(dpkg_next_path(&at));
        memset(long_line, '/', sizeof(long_line));
        long_line[sizeof(long_line) - 1] = '\0';
        at = long_line;
        assert_null(dpkg_next_path(&at));
}

static void test_diverted(void **state)
{
        static const char diversions[] = "/bin/chat\n/bin/chat.real\nother\n"
                                         "/bin/own\n/bin/own.old\nchat-desktop\n"
                                         "/bin/local\n/bin/local.old\n:\n"
                                         "/bin/bad\nrelative\nother\n"
                                         "/bin/cut\n/bin/cut.real";
        static const struct {
                const char *path, *package, *result;
        } cases[] = {
                {"/bin/chat", "chat-desktop", "/bin/chat.real"},
                {"/bin/chat", "other", "/bin/chat"},
                {"/bin/own", "chat-desktop", "/bin/own"},
                {"/bin/own", "libchat", "/bin/own.old"},
                {"/bin/local", "chat-desktop", "/bin/local.old"},
                {"/bin/bad", "chat-desktop", "/bin/bad"},
                {"/bin/cut", "chat-desktop", "/bin/cut.real"},
                {"/bin/cha", "chat-desktop", "/bin/cha"},
                {"/bin/chat.real", "chat-desktop", "/bin/chat.real"},
        };
        char buf[4096];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_string_equal(dpkg_diverted(diversions, cases[i].path, cases[i].package, buf), cases[i].result);
}

static char seen[1024];

static int note(const char *path, uint32_t entry, void *userdata)
{
        size_t n = strlen(seen);

        snprintf(seen + n, sizeof(seen) - n, "%s=%s ", path, rules->entries[entry].value);
        return userdata && strcmp(path, userdata) == 0 ? -E2BIG : 0;
}

static void test_dpkg(void **state)
{
        _cleanup_free_ char *info = format_new("%s/info", folder), *nowhere = format_new("%s/none", folder);
        uint64_t before;

        assert_int_equal(dpkg_walk(folder, rules, note, NULL), -ENOENT);
        assert_int_equal(dpkg_stamp(nowhere), 0);
        assert_int_equal(dir_make(info, 0755), 0);
        write_file("info/libchat:amd64.list", "/.\n/usr/lib/chat/helper\n");
        write_file("info/chat-desktop.md5sums", "0  usr/bin/chat\n");
        write_file("info/chat-desktop-data.list", "/usr/share/chat\n");
        write_file("info/.list", "/x\n");
        write_file("info/chat-desktop", "/x\n");
        seen[0] = '\0';
        assert_int_equal(dpkg_walk(folder, rules, note, NULL), 0);
        assert_string_equal(seen, "/usr/lib/chat/helper=libchat ");

        before = dpkg_stamp(folder);
        assert_true(before != 0);
        while (dpkg_stamp(folder) == before) /* the clock of the file system has ticks */
                write_file("info/chat-desktop.list", "/usr/bin/chat\n/usr/bin/chat-tray\n");
        write_file("info/libchat:amd64.list", "");
        write_file("diversions", "/usr/bin/chat\n/usr/bin/chat.distrib\nother\n");
        seen[0] = '\0';
        assert_int_equal(dpkg_walk(folder, rules, note, NULL), 0);
        assert_string_equal(seen, "/usr/bin/chat.distrib=chat-desktop /usr/bin/chat-tray=chat-desktop ");
        seen[0] = '\0';
        assert_int_equal(dpkg_walk(folder, rules, note, "/usr/bin/chat.distrib"), -E2BIG);
        assert_string_equal(seen, "/usr/bin/chat.distrib=chat-desktop ");
}

/* ---- rpm ---- */

struct tag {
        uint32_t tag, type, count;
        const char *data;
        size_t size;
};

#define TAG(number, kind, n, text)                                                                                   \
        {                                                                                                            \
                number, kind, n, text, sizeof(text)                                                                  \
        }

static void make_header(struct buf *b, const struct tag *tags, size_t n)
{
        size_t size = 0;

        for (size_t i = 0; i < n; i++)
                size += tags[i].size;
        buf_add_be32(b, (uint32_t)n);
        buf_add_be32(b, (uint32_t)size);
        size = 0;
        for (size_t i = 0; i < n; i++) {
                buf_add_be32(b, tags[i].tag);
                buf_add_be32(b, tags[i].type);
                buf_add_be32(b, (uint32_t)size);
                buf_add_be32(b, tags[i].count);
                size += tags[i].size;
        }
        for (size_t i = 0; i < n; i++)
                buf_add(b, tags[i].data, tags[i].size);
        assert_int_equal(buf_error(b), 0);
}

static const struct tag package_tags[] = {
        TAG(1000, 6, 1, "chat-desktop"),
        TAG(1116, 4, 3, "\0\0\0\1\0\0\0\0\0\0\0\1"),
        TAG(1117, 8, 3, "chat-desktop\0app.asar\0chat-tray"),
        TAG(1118, 8, 2, "/opt/Chat/resources/\0/usr/bin/"),
};
static const char package_files[] = "/usr/bin/chat-desktop=chat-desktop /opt/Chat/resources/app.asar=chat-desktop "
                                    "/usr/bin/chat-tray=chat-desktop ";

static int walk_header(const struct buf *b)
{
        seen[0] = '\0';
        return rpm_header_files(b->data, b->size, 1, note, NULL);
}

static void test_rpm_header(void **state)
{
        static const struct {
                size_t offset;
                uint8_t value;
                int result;
        } cases[] = {
                {3, 9, -EBADMSG}, /* more tags than there are */
                {0, 0xff, -EBADMSG},
                {7, 0xff, -EBADMSG}, /* a larger store */
                {4, 0xff, -EBADMSG},
                {8 + 16 + 7, 8, -EBADMSG}, /* folders' numbers are no numbers */
                {8 + 32 + 8, 0xff, -EBADMSG}, /* names lie behind the store */
                {8 + 48 + 15, 3, -EBADMSG}, /* more folders than there are */
                {8 + 48 + 15, 1, -EBADMSG}, /* fewer */
                {8 + 48 + 12, 0xff, -EBADMSG},
                {8 + 32 + 3, 0x5e, 0}, /* no files */
                {8 + 48 + 3, 0x5d, -EBADMSG}, /* no folders */
        };
        _cleanup_buf_ struct buf b = {};

        make_header(&b, package_tags, ELEMENTSOF(package_tags));
        assert_int_equal(walk_header(&b), 0);
        assert_string_equal(seen, package_files);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ struct buf bad = {};

                buf_add(&bad, b.data, b.size);
                bad.data[cases[i].offset] = cases[i].value;
                if (walk_header(&bad) != cases[i].result)
                        fail_msg("case %zu: not %d, %s", i, cases[i].result, seen);
        }
        for (size_t size = 0; size < b.size; size++) {
                struct buf cut = {.data = b.data, .size = size};

                assert_int_equal(walk_header(&cut), -EBADMSG);
        }
}

/* As rpm 4.18 makes it (lib/backend/sqlite.c). */
static void make_database(const char *path)
{
        static const char schema[] =
                "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);"
                "CREATE TABLE 'Name' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL);"
                "INSERT INTO Packages VALUES (1, ?1), (2, x'00'), (3, ?1);";
        _cleanup_buf_ struct buf b = {};
        const char *rest = schema;
        sqlite3 *db = NULL;

        make_header(&b, package_tags, ELEMENTSOF(package_tags));
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        while (*rest) {
                sqlite3_stmt *s = NULL;

                assert_int_equal(sqlite3_prepare_v2(db, rest, -1, &s, &rest), SQLITE_OK);
                if (sqlite3_bind_parameter_count(s))
                        assert_int_equal(sqlite3_bind_blob(s, 1, b.data, (int)b.size, SQLITE_STATIC), SQLITE_OK);
                assert_int_equal(sqlite3_step(s), SQLITE_DONE);
                sqlite3_finalize(s);
        }
        assert_int_equal(sqlite3_exec(db,
                                      "INSERT INTO Name VALUES ('chat-desktop', 2, 0), ('chat-desktop', 1, 0), "
                                      "('chat-desktop-data', 3, 0), ('chat', 3, 0)",
                                      NULL, NULL, NULL),
                         SQLITE_OK);
        sqlite3_close(db);
}

static void test_rpm(void **state)
{
        _cleanup_free_ char *database = format_new("%s/rpmdb.sqlite", folder);

        assert_int_equal(rpm_walk(folder, rules, note, NULL), -ENOENT);
        assert_int_equal(rpm_stamp(folder), 0);
        make_database(database);
        assert_true(rpm_stamp(folder) != 0);
        seen[0] = '\0';
        assert_int_equal(rpm_walk(folder, rules, note, NULL), 0);
        assert_string_equal(seen, package_files);
        assert_int_equal(rpm_walk(folder, rules, note, "/usr/bin/chat-tray"), -E2BIG);
        write_file("rpmdb.sqlite", "no database, but a file that is long enough to be asked for its header");
        assert_int_equal(rpm_walk(folder, rules, note, NULL), -EIO);
}

static void add_le32(struct buf *b, uint32_t n)
{
        const uint8_t bytes[] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)};

        buf_add(b, bytes, sizeof(bytes));
}

/* As rpm 4.18 makes it: a head, 254 slots, the packages' headers. */
static void make_ndb(struct buf *b)
{
        static const struct tag other[] = {TAG(1000, 6, 1, "chat"), TAG(1117, 8, 1, "chat")};
        _cleanup_buf_ struct buf first = {}, second = {};
        const struct buf *headers[] = {&first, &second};
        uint32_t block = 4096 / 16;

        make_header(&first, other, ELEMENTSOF(other));
        make_header(&second, package_tags, ELEMENTSOF(package_tags));
        for (const char *magic = "RpmP"; *magic; magic++)
                buf_add(b, magic, 1);
        add_le32(b, 0);
        add_le32(b, 7); /* generation */
        add_le32(b, 1); /* pages */
        for (int i = 0; i < 4; i++)
                add_le32(b, 0);
        for (uint32_t i = 0; i < 254; i++) {
                uint32_t n = i < 2 ? (uint32_t)(headers[i]->size + 16 + 12 + 15) / 16 : 0;

                buf_add(b, "Slot", 4);
                add_le32(b, i < 2 ? i + 1 : 0);
                add_le32(b, i < 2 ? block : 0);
                add_le32(b, n);
                block += n;
        }
        for (uint32_t i = 0; i < 2; i++) {
                buf_add(b, "BlbS", 4);
                add_le32(b, i + 1);
                add_le32(b, 7);
                add_le32(b, (uint32_t)headers[i]->size);
                buf_add(b, headers[i]->data, headers[i]->size);
                while ((b->size + 12) % 16)
                        buf_add(b, "", 1);
                buf_add(b, "sum.len.BlbE", 12);
        }
}

static void test_rpm_ndb(void **state)
{
        _cleanup_free_ char *path = format_new("%s/Packages.db", folder),
                            *sqlite = format_new("%s/rpmdb.sqlite", folder);
        _cleanup_buf_ struct buf b = {};

        unlink(sqlite);
        make_ndb(&b);
        assert_int_equal(file_write_atomic(path, b.data, b.size, 0644), 0);
        assert_true(rpm_stamp(folder) != 0);
        seen[0] = '\0';
        assert_int_equal(rpm_walk(folder, rules, note, NULL), 0);
        assert_string_equal(seen, package_files);
        for (size_t at = 0; at < b.size; at += at < 40 ? 1 : 97) { /* cut, or one byte is another */
                seen[0] = '\0';
                b.data[at] ^= 0xff;
                assert_int_equal(file_write_atomic(path, b.data, at % 2 ? at : b.size, 0644), 0);
                int r = rpm_walk(folder, rules, note, NULL);
                assert_true(r == 0 || r == -EBADMSG);
                b.data[at] ^= 0xff;
        }
        unlink(path);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_next_path),  cmocka_unit_test(test_diverted), cmocka_unit_test(test_dpkg),
                cmocka_unit_test(test_rpm_header), cmocka_unit_test(test_rpm),      cmocka_unit_test(test_rpm_ndb),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
