/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a file is by its content: read, kept in a table, learnt from what is installed. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include "agent/classify/learn.h"
#include "base/buf.h"
#include "identity-fixture.h"

/* ---- ELF files ---- */

struct elf_made {
        bool is_32;
        uint32_t align;
        const char *name; /* of the note */
        uint32_t type;
        uint32_t id_size;
        uint8_t id; /* every byte of it */
        bool other_first; /* another note stands before it */
        size_t payload; /* bytes behind what is mapped */
};

static void add_note(struct buf *b, const char *name, uint32_t type, const struct elf_made *m)
{
        const Elf64_Nhdr n = {.n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = m->id_size, .n_type = type};
        static const uint8_t zero[8];

        buf_add(b, &n, sizeof(n));
        buf_add(b, name, n.n_namesz);
        buf_add(b, zero, -b->size % m->align);
        for (uint32_t i = 0; i < m->id_size; i++)
                buf_add(b, &m->id, 1);
        buf_add(b, zero, -b->size % m->align);
}

/* Header, PT_LOAD of all but the payload, PT_NOTE, notes, payload. */
static void make_elf(struct buf *b, const struct elf_made *m)
{
        size_t head =
                m->is_32 ? sizeof(Elf32_Ehdr) + 2 * sizeof(Elf32_Phdr) : sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr);
        _cleanup_buf_ struct buf notes = {};

        if (m->other_first)
                add_note(&notes, "Go", 4, m);
        add_note(&notes, m->name, m->type, m);
        if (m->is_32) {
                Elf32_Ehdr e = {
                        .e_ident = ELFMAG, .e_phoff = sizeof(e), .e_phnum = 2, .e_phentsize = sizeof(Elf32_Phdr)};
                Elf32_Phdr p[2] = {{.p_type = PT_LOAD, .p_filesz = (uint32_t)(head + notes.size)},
                                   {.p_type = PT_NOTE,
                                    .p_offset = (uint32_t)head,
                                    .p_filesz = (uint32_t)notes.size,
                                    .p_align = m->align}};
                e.e_ident[EI_CLASS] = ELFCLASS32;
                e.e_ident[EI_DATA] = ELFDATA2LSB;
                buf_add(b, &e, sizeof(e));
                buf_add(b, p, sizeof(p));
        } else {
                Elf64_Ehdr e = {
                        .e_ident = ELFMAG, .e_phoff = sizeof(e), .e_phnum = 2, .e_phentsize = sizeof(Elf64_Phdr)};
                Elf64_Phdr p[2] = {
                        {.p_type = PT_LOAD, .p_filesz = head + notes.size},
                        {.p_type = PT_NOTE, .p_offset = head, .p_filesz = notes.size, .p_align = m->align}};
                e.e_ident[EI_CLASS] = ELFCLASS64;
                e.e_ident[EI_DATA] = ELFDATA2LSB;
                buf_add(b, &e, sizeof(e));
                buf_add(b, p, sizeof(p));
        }
        buf_add(b, notes.data, notes.size);
        memset(buf_extend(b, m->payload), 'p', m->payload);
        assert_int_equal(buf_error(b), 0);
}

static int memory_file(const void *data, size_t size)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, data, size), 0);
        return fd;
}

static void test_elf(void **state)
{
        static const struct {
                struct elf_made elf;
                size_t size; /* of the build id found */
        } cases[] = {
                {{.align = 4, .name = "GNU", .type = NT_GNU_BUILD_ID, .id_size = 20, .id = 7}, 20},
                {{.align = 8, .name = "GNU", .type = NT_GNU_BUILD_ID, .id_size = 20, .id = 7}, 20},
                {{.is_32 = true, .align = 4, .name = "GNU", .type = NT_GNU_BUILD_ID, .id_size = 16, .id = 7}, 16},
                {{.align = 4, .name = "GNU", .type = NT_GNU_BUILD_ID, .id_size = 8, .id = 7, .other_first = true}, 8},
                {{.align = 4, .name = "GNU", .type = NT_GNU_BUILD_ID, .id_size = 64, .id = 7, .payload = 9}, 64},
                {{.align = 4, .name = "GNU", .type = NT_GNU_BUILD_ID, .id_size = 65, .id = 7}, 0},
                {{.align = 4, .name = "GNU", .type = NT_GNU_BUILD_ID, .id_size = 0, .id = 7}, 0},
                {{.align = 4, .name = "GNU", .type = NT_GNU_ABI_TAG, .id_size = 20, .id = 7}, 0},
                {{.align = 4, .name = "GNUX", .type = NT_GNU_BUILD_ID, .id_size = 20, .id = 7}, 0},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ struct buf b = {};
                _cleanup_fd_ int fd = -1;
                struct elf_info e;

                make_elf(&b, &cases[i].elf);
                fd = memory_file(b.data, b.size);
                assert_int_equal(elf_read(fd, 0, &e), 0);
                assert_int_equal(e.build_id_size, cases[i].size);
                assert_int_equal(e.loaded_bytes, b.size - cases[i].elf.payload);
                for (size_t j = 0; j < e.build_id_size; j++)
                        assert_int_equal(e.build_id[j], 7);
                for (size_t cut = 0; cut < b.size - cases[i].elf.payload; cut++) { /* never more than there is */
                        assert_int_equal(ftruncate(fd, (off_t)(b.size - cases[i].elf.payload - 1 - cut)), 0);
                        assert_true(elf_read(fd, 0, &e) < 0);
                }
        }
}

static void test_elf_refused(void **state)
{
        static const struct {
                size_t offset;
                uint8_t value;
                int result;
        } cases[] = {
                {0, 'x', -ENOEXEC},
                {EI_CLASS, 3, -ENOEXEC},
                {EI_DATA, ELFDATA2MSB, -ENOEXEC},
                {offsetof(Elf64_Ehdr, e_phentsize), 55, -EBADMSG},
                {offsetof(Elf64_Ehdr, e_phnum), 129, -EBADMSG},
                {offsetof(Elf64_Ehdr, e_phoff) + 7, 0xff, -EBADMSG},
                {offsetof(Elf64_Ehdr, e_phoff) + 3, 0x7f, -EBADMSG},
        };
        /* behind it room for more headers */
        const struct elf_made made = {
                .align = 4, .name = "GNU", .type = NT_GNU_BUILD_ID, .id_size = 20, .payload = 8192};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ struct buf b = {};
                _cleanup_fd_ int fd = -1;
                struct elf_info e;

                make_elf(&b, &made);
                b.data[cases[i].offset] = cases[i].value;
                fd = memory_file(b.data, b.size);
                assert_int_equal(elf_read(fd, 0, &e), cases[i].result);
        }
}

static void test_content(void **state)
{
        /* FIPS 180-2 B.1 */
        static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        _cleanup_fd_ int fd = memory_file("abc", 3), big = memory_file("x", 1), null = open("/dev/null", O_RDONLY);
        atomic_bool go = false, stop = true;
        _cleanup_free_ char *head = NULL;
        struct content c, d;

        assert_int_equal(content_read(fd, &c), 0);
        assert_int_equal(c.size, 3);
        assert_string_equal(c.build_id, "");
        assert_int_equal(content_add_sha256(fd, &c, &go), 0);
        assert_string_equal(c.sha256, abc);
        assert_int_equal(content_add_sha256(fd, &c, &stop), -ECANCELED);
        assert_int_equal(content_add_print(fd, &c, &head), 0);
        assert_string_equal(head, "abc");

        assert_int_equal(ftruncate(big, (off_t)CONTENT_HASH_MAX + 1), 0);
        assert_int_equal(content_read(big, &d), 0);
        assert_int_equal(content_add_sha256(big, &d, &go), 0);
        assert_string_equal(d.sha256, ""); /* too large */
        assert_int_equal(content_add_print(big, &d, NULL), 0);
        assert_memory_not_equal(c.print, d.print, sizeof(c.print));
        assert_int_equal(content_read(null, &c), -EINVAL);
}

/* ---- the table ---- */

static void test_known(void **state)
{
        _cleanup_known_ struct known *k = calloc(1, sizeof(*k)), *other = calloc(1, sizeof(*other));
        struct content c = {.dev = 1, .ino = 2, .build_id = "00ff", .size = 300, .has_print = true, .print = {44, 1}};
        struct content twin = {.dev = 1, .ino = 3, .build_id = "00fe", .size = 301};

        assert_null(known_find_content(k, &c));
        assert_false(known_has_size(k, 0));
        assert_int_equal(known_add(k, &(struct known_item){.key = known_key_build_id(&c), .host = HOST_LOADER}), 0);
        assert_int_equal(known_add(k, &(struct known_item){.key = known_key_build_id(&c), .entry = 9}), 0);
        assert_int_equal(known_add(k, &(struct known_item){.key = known_key_build_id(&c), .entry = 8}), 0);
        assert_int_equal(known_add(k, &(struct known_item){.key = known_key_print(&c), .entry = 7}), 0);
        known_sort(k);
        assert_int_equal(k->n, 2);
        assert_int_equal(k->n_channels, 2);
        assert_int_equal(known_find_content(k, &c)->entry, 8); /* a channel's, the first */
        assert_null(known_find_content(k, &twin));
        assert_true(known_has_size(k, 300));
        assert_false(known_has_size(k, 301));
        c.build_id[0] = '\0';
        assert_int_equal(known_find_content(k, &c)->entry, 7);
        c.has_print = false;
        assert_null(known_find_content(k, &c));
        assert_int_equal(known_add(k, &(struct known_item){.key = known_key_file(&c), .entry = 6}), 0);
        known_sort(k);
        assert_int_equal(known_find_content(k, &c)->entry, 6);
        assert_true(known_has_size(k, 300));

        assert_false(known_is_same(k, other));
        for (size_t i = 0; i < KNOWN_MAX; i++) {
                c.ino = i;
                assert_int_equal(known_add(other, &(struct known_item){.key = known_key_file(&c), .entry = 1}), 0);
        }
        assert_int_equal(known_add(other, &(struct known_item){.key = known_key_file(&c), .entry = 1}), -E2BIG);
        known_sort(other);
        assert_int_equal(other->n, KNOWN_MAX);
}

/* ---- what is installed ---- */

static void write_elf(const char *name, uint8_t id, size_t payload)
{
        const struct elf_made made = {
                .align = 4, .name = "GNU", .type = NT_GNU_BUILD_ID, .id_size = 20, .id = id, .payload = payload};
        _cleanup_buf_ struct buf b = {};

        make_elf(&b, &made);
        write_file(name, b.data, b.size, 0755);
}

enum { FOUND_FILE = 1, FOUND_COPY = 2, FOUND_HOST = 4 };

static const struct {
        const char *path; /* the file's number of build id is its index + 1 */
        const char *text; /* a script; NULL an ELF file */
        size_t payload;
        mode_t mode; /* 0: 0755 */
        unsigned found;
} installed[] = {
        {"/usr/bin/chat-desktop", NULL, 0, 0, FOUND_FILE | FOUND_COPY}, /* of the package, tells by its name */
        {"/opt/lib/helper", NULL, 0, 0, FOUND_FILE}, /* of the package, anybody's */
        {"/etc/cron.daily/chat-desktop", NULL, 0, 0, 0}, /* of the package, the system runs it */
        {"/usr/share/chat/chat.txt", "chat", 0, 0644, 0}, /* no program */
        {"/usr/bin/chat-bundle", NULL, 99999, 0,
         FOUND_FILE | FOUND_COPY}, /* a shared runtime's payload: by its print */
        {"/opt/Chat/chat-app", NULL, 0, 0, FOUND_FILE}, /* a shared runtime */
        {"/opt/Chat/resources/app.asar", "archive", 0, 0644, FOUND_FILE | FOUND_COPY},
        {"/usr/bin/chat-tray", "#!/bin/sh\nexec chat-tray-real\n", 0, 0, FOUND_FILE | FOUND_COPY},
        {"/usr/bin/chat-menu", "#!/bin/sh\nexec $0.real\n", 0, 0, FOUND_FILE}, /* anybody's script */
        {"/usr/local/bin/chatter", NULL, 0, 0, FOUND_COPY}, /* of no package, by a name rule */
        {"/usr/bin/other-chat", NULL, 0, 0, 0}, /* neither */
        {"/opt/talk/chat-talk", NULL, 0, 0, FOUND_COPY}, /* by a path rule */
        {"/opt/talk/QtWebEngineProcess", NULL, 0, 0, 0}, /* by a path rule, anybody's */
        {"/home/u/apps/chat-home", NULL, 0, 0, 0}, /* by a path rule that a user can match */
        {"/opt/open/chat-open", NULL, 0, 0757, 0}, /* everybody can write it */
        {"/opt/loose/chat-loose", NULL, 0, 0, 0}, /* everybody can replace it */
        {"/var/lib/flatpak/app/org.example.Chat/current/active/files/bin/chat", NULL, 0, 0, FOUND_COPY},
        {"/var/lib/flatpak/app/org.example.Chat/current/active/files/bin/zypak", NULL, 0, 0, 0},
        {"/snap/chatsnap/current/usr/bin/chat", NULL, 0, 0, FOUND_COPY},
        {"/usr/bin/python3.11", NULL, 0, 0, FOUND_HOST},
        {"/lib64/ld-linux.so.2", NULL, 0, 0, FOUND_HOST},
        {"/usr/bin/sh", NULL, 0, 0, FOUND_HOST},
};

static const char install_rules[] =
        "name = chatter\nname = chat-link\npath = /opt/talk/*\npath = /opt/open/chat*\npath = /opt/loose/chat*\n"
        "path = /home/*/apps/chat*\nflatpak = org.example.Chat\nsnap = chatsnap\npackage = chat-desktop\n";
static const char install_list[] =
        "/.\n/usr/bin/chat-desktop\n/opt/lib/helper\n/etc/cron.daily/chat-desktop\n/usr/share/chat/chat.txt\n"
        "/usr/bin/chat-bundle\n/opt/Chat/chat-app\n/opt/Chat/resources/app.asar\n/usr/bin/chat-tray\n"
        "/usr/bin/chat-menu\n/usr/bin/missing\n/usr/bin/chat-alias\n";

static void install(void)
{
        for (size_t i = 0; i < ELEMENTSOF(installed); i++) {
                mode_t mode = installed[i].mode ? installed[i].mode : 0755;

                if (installed[i].text)
                        write_file(installed[i].path, installed[i].text, strlen(installed[i].text), mode);
                else
                        write_elf(installed[i].path, (uint8_t)(i + 1), installed[i].payload);
                assert_int_equal(chmod(in_folder(installed[i].path), mode), 0);
        }
        write_file("/opt/Chat/icudtl.dat", "", 0, 0644);
        write_file("/var/lib/dpkg/info/chat-desktop.list", install_list, strlen(install_list), 0644);
        assert_int_equal(chmod(in_folder("/opt/loose"), 0777), 0);
        assert_int_equal(symlink("sh", in_folder("/usr/bin/chat-link")), 0); /* a name that leads to a shell */
        assert_int_equal(symlink("sh", in_folder("/usr/bin/chat-alias")), 0);
}

/* A file of the same content elsewhere. */
static struct content copy_of(const struct content *c)
{
        struct content copy = *c;

        copy.ino = 0;
        return copy;
}

static void test_learn(void **state)
{
        _cleanup_ruleset_ struct ruleset *r = compile(install_rules);
        _cleanup_free_ char *dpkg = strdup(in_folder("var/lib/dpkg"));
        const struct learn_options o = {.root = folder, .dpkg = dpkg, .rpm = "/nonexistent", .owner = getuid()};
        const struct learn_options foreign = {
                .root = folder, .dpkg = dpkg, .rpm = "/nonexistent", .owner = getuid() + 1};
        _cleanup_known_ struct known *k = NULL, *nothing = NULL;

        install();
        assert_int_equal(known_learn(&foreign, r, &nothing), 0);
        assert_int_equal(nothing->n, 0);
        assert_int_equal(known_learn(&o, r, &k), 0);
        for (size_t i = 0; i < ELEMENTSOF(installed); i++) {
                _cleanup_fd_ int fd = open(in_folder(installed[i].path), O_RDONLY | O_CLOEXEC);
                const struct known_item *file, *copy;
                struct content c, other;
                unsigned found = 0;

                assert_int_equal(content_read(fd, &c), 0);
                assert_int_equal(content_add_print(fd, &c, NULL), 0);
                other = copy_of(&c);
                file = known_find(k, &(struct known_key[]){known_key_file(&c)}[0]);
                copy = known_find_content(k, &other);
                found |= file ? FOUND_FILE : 0;
                found |= !copy ? 0 : copy->entry ? FOUND_COPY : FOUND_HOST;
                other.has_print = false;
                if (installed[i].payload) /* the runtime with another payload */
                        assert_null(known_find_content(k, &other));
                if (found != installed[i].found)
                        fail_msg("%s: found %u", installed[i].path, found);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_elf),   cmocka_unit_test(test_elf_refused), cmocka_unit_test(test_content),
                cmocka_unit_test(test_known), cmocka_unit_test(test_learn),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
