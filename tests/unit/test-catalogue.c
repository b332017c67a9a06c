/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "catalogue/catalogue.h"
#include "catalogue/check.h"

#define HEAD(id)                                                                                                     \
        "[channel]\nid = " id "\nname = Name\ncategory = messenger\nhomepage = https://example.com\n"                \
        "checked = 2026-11-21\nsource = https://example.com/list\n"
#define HEAD_LINES 7

static int parse(const char *file, const char *text, struct catalogue **ret, struct diag *reterr)
{
        const struct catalogue_source source = {file, text, strlen(text)};
        return catalogue_parse_files(&source, 1, ret, reterr);
}

static void test_parse(void **state)
{
        static const char text[] =
                HEAD("a") "vendor = Vendor\n[names]\nsuffix = WhatsApp.COM.\nexact = wa.me\n[addresses]\n"
                          "prefix = 149.154.160.0/20\nprefix = 2001:db8::/32\n[programs]\nname = whats app\npath = "
                          "/opt/*/whatsapp*\n"
                          "argv = --app=https://web.whatsapp.com/*\nflatpak = com.rtosta.zapzap\nsnap = "
                          "whatsdesk\npackage = lib+x\n"
                          "build_id = ABCDEF0123456789\n"
                          "sha256 = 0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\n"
                          "[web]\nurl = Web.WhatsApp.com/A\npwa = hnpfjngllnobngcgfapefoaidbinmjnm\n[ports]\ntcp = "
                          "5222\nudp = 3478\n";
        static const struct {
                enum entry_kind kind;
                unsigned line;
                const char *value;
        } expected[] = {
                {ENTRY_SUFFIX, 10, "whatsapp.com"},
                {ENTRY_EXACT, 11, "wa.me"},
                {ENTRY_PREFIX, 13, "149.154.160.0/20"},
                {ENTRY_PREFIX, 14, "2001:db8::/32"},
                {ENTRY_PROGRAM_NAME, 16, "whats app"},
                {ENTRY_PROGRAM_PATH, 17, "/opt/*/whatsapp*"},
                {ENTRY_PROGRAM_ARGV, 18, "--app=https://web.whatsapp.com/*"},
                {ENTRY_FLATPAK, 19, "com.rtosta.zapzap"},
                {ENTRY_SNAP, 20, "whatsdesk"},
                {ENTRY_PACKAGE, 21, "lib+x"},
                {ENTRY_BUILD_ID, 22, "abcdef0123456789"},
                {ENTRY_SHA256, 23, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
                {ENTRY_WEB_URL, 25, "web.whatsapp.com/A"},
                {ENTRY_WEB_PWA, 26, "hnpfjngllnobngcgfapefoaidbinmjnm"},
                {ENTRY_PORT_TCP, 28, "5222"},
                {ENTRY_PORT_UDP, 29, "3478"},
        };
        _cleanup_catalogue_ struct catalogue *c = NULL;
        struct diag d = {};

        assert_int_equal(parse("a.ini", text, &c, &d), 0);
        const struct channel *a = catalogue_find(c, "a");
        assert_non_null(a);
        assert_null(catalogue_find(c, "b"));
        assert_string_equal(a->vendor, "Vendor");
        assert_string_equal(a->file, "a.ini");
        assert_int_equal(a->category, CATEGORY_MESSENGER);
        assert_int_equal(a->line, 1);
        assert_int_equal(a->n_entries, ELEMENTSOF(expected));
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                assert_int_equal(a->entries[i].kind, expected[i].kind);
                assert_int_equal(a->entries[i].line, expected[i].line);
                assert_string_equal(a->entries[i].value, expected[i].value);
        }
        assert_int_equal(a->entries[2].prefix.length, 20);
        assert_int_equal(a->entries[14].port, 5222);
}

/* One line after a good head is refused, and the diagnostic names it. */
static void test_bad_entries(void **state)
{
        static const struct {
                const char *lines;
                int r;
                const char *why;
        } cases[] = {
                {"[names]\nsuffix = com", -EBADMSG, "single label"},
                {"[names]\nexact = localhost", -EBADMSG, "single label"},
                {"[names]\nsuffix = *.example.com", -EBADMSG, "not a domain name"},
                {"[names]\nsuffix = exa mple.com", -EBADMSG, "not a domain name"},
                {"[names]\nsuffix = 192.0.2.1", -EBADMSG, "an address"},
                {"[names]\nsuffix =", -EBADMSG, "is empty"},
                {"[names]\nexcept = com", -EBADMSG, "single label"},
                {"[names]\nprobe = com", -EBADMSG, "single label"},
                {"[addresses]\nprobe = example.com", -EBADMSG, "unknown key 'probe'"},
                {"[names]\nexcept = example.com", -EBADMSG, "below no suffix of this channel"},
                {"[names]\nprefix = 192.0.2.0/24", -EBADMSG, "unknown key 'prefix'"},
                {"[names]\nregex = a", -EBADMSG, "unknown key 'regex'"},
                {"[name]\n", -EBADMSG, "unknown section [name]"},
                {"[file]\n", -EBADMSG, "unknown section [file]"},
                {"[addresses]\nprefix = 192.0.2.1/24", -EBADMSG, "bits set"},
                {"[addresses]\nprefix = 64.0.0.0/7", -EBADMSG, "too wide"},
                {"[addresses]\nprefix = 2000::/15", -EBADMSG, "too wide"},
                {"[addresses]\nprefix = example.com", -EBADMSG, "not an address"},
                {"[programs]\nname = /usr/bin/a", -EBADMSG, "no base name"},
                {"[programs]\nname = whats*", -EBADMSG, "no base name"},
                {"[programs]\npath = opt/whatsapp", -EBADMSG, "not an absolute path"},
                {"[programs]\npath = /*/*", -EBADMSG, "too general"},
                {"[programs]\nargv = *a*", -EBADMSG, "too general"},
                {"[programs]\nflatpak = com.example", -EBADMSG, "two dots"},
                {"[programs]\nflatpak = com..example.a", -EBADMSG, "Flatpak"},
                {"[programs]\nsnap = Whats", -EBADMSG, "snap"},
                {"[programs]\npackage = a b", -EBADMSG, "package"},
                {"[programs]\nbuild_id = xyz", -EBADMSG, "hexadecimal"},
                {"[programs]\nsha256 = abcd", -EBADMSG, "hexadecimal"},
                {"[web]\nurl = https://example.com", -EBADMSG, "scheme"},
                {"[web]\nurl = example.com/?q", -EBADMSG, "host with a path"},
                {"[web]\nurl = /messages", -EBADMSG, "not a domain name"},
                {"[web]\npwa = hnpfjngllnobngcgfapefoaidbinmjnz", -EBADMSG, "a to p"},
                {"[web]\npwa = hnpfjngllnobngcgfapefoaidbinmjn", -EBADMSG, "a to p"},
                {"[ports]\ntcp = 0", -EBADMSG, "not a port"},
                {"[ports]\nudp = 65536", -EBADMSG, "not a port"},
                {"[ports]\nudp = 100-200", -EBADMSG, "not a port"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char text[1024];
                struct catalogue *c = NULL;
                struct diag d = {};

                snprintf(text, sizeof(text), HEAD("a") "%s\n", cases[i].lines);
                int r = parse("a.ini", text, &c, &d);
                if (r != cases[i].r || !strstr(d.text, cases[i].why))
                        fail_msg("'%s': %d '%s', expected %d '%s'", cases[i].lines, r, d.text, cases[i].r,
                                 cases[i].why);
                assert_null(c);
                assert_string_equal(d.file, "a.ini");
                bool in_section_line = text_ends_with(cases[i].lines, "]\n");
                assert_int_equal(d.line, HEAD_LINES + (in_section_line ? 1 : 2));
        }
}

static void test_bad_heads(void **state)
{
        static const struct {
                const char *file;
                const char *text;
                int r;
                const char *why;
        } cases[] = {
                {"a.ini", "", -EBADMSG, "'id' is missing"},
                {"b.ini", HEAD("a"), -EBADMSG, "base name"},
                {"a", HEAD("a"), -EBADMSG, "base name"},
                {"-a.ini", HEAD("-a"), -EBADMSG, "not '-' first"},
                {"A.ini", HEAD("A"), -EBADMSG, "a-z"},
                {"a.ini", HEAD("a") "id = a\n", -ENOTUNIQ, "'id' is given twice"},
                {"a.ini", HEAD("a") "checked = 2026-11-21\n", -ENOTUNIQ, "'checked' is given twice"},
                {"a.ini", HEAD("a") "colour = red\n", -EBADMSG, "unknown key 'colour'"},
                {"a.ini", HEAD("a") "vendor =\n", -EBADMSG, "'vendor' is empty"},
                {"a.ini", HEAD("a") "[names]\nexact = wa.me\n[names]\n", -ENOTUNIQ, "[names] is given twice"},
                {"a.ini", "[names]\nexact = wa.me\n" HEAD("a"), -EBADMSG, "must come first"},
                {"a.ini", "[channel]\nid = a\ncategory = chat\n", -EBADMSG, "unknown category 'chat'"},
                {"a.ini", "[channel]\nid = a\nchecked = 2026-02-30\n", -EBADMSG, "not a date"},
                {"a.ini", "[channel]\nid = a\nhomepage = example.com\n", -EBADMSG, "not a URL"},
                {"a.ini", "[channel]\nid = a\nname = A\n", -EBADMSG, "'category' is missing"},
                {"a.ini", HEAD("a") "[names]\nexact = wa.me\nexact = WA.me\n", -ENOTUNIQ, "first in line 9"},
                {"a.ini", HEAD("a") "[names]\nexact = wa.me\nsuffix = wa.me\n", -ENOTUNIQ, "first in line 9"},
                {"a.ini", HEAD("a") "[ports]\ntcp = 80\ntcp = 80\n", -ENOTUNIQ, "first in line 9"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct catalogue *c = NULL;
                struct diag d = {};

                int r = parse(cases[i].file, cases[i].text, &c, &d);
                if (r != cases[i].r || !strstr(d.text, cases[i].why))
                        fail_msg("case %zu: %d '%s', expected %d '%s'", i, r, d.text, cases[i].r, cases[i].why);
                assert_null(c);
        }
}

#define SOURCE(file, text)                                                                                           \
        {                                                                                                            \
                file, text, sizeof(text) - 1                                                                         \
        }

static void test_across_channels(void **state)
{
        static const struct {
                const char *a;
                const char *b;
                int r;
        } cases[] = {
                {"[names]\nsuffix = wa.me\n", "[names]\nexact = wa.me\n", -ENOTUNIQ},
                {"[addresses]\nprefix = 192.0.2.0/24\n", "[addresses]\nprefix = 192.0.2.0/24\n", -ENOTUNIQ},
                {"[programs]\nname = whatsie\n", "[programs]\nname = whatsie\n", -ENOTUNIQ},
                {"[names]\nexcept = x.wa.me\nsuffix = wa.me\n", "[names]\nsuffix = x.wa.me\n", -ENOTUNIQ},
                {"[names]\nprobe = wa.me\n", "[names]\nexact = wa.me\n", -ENOTUNIQ},
                {"[names]\nsuffix = wa.me\n", "[names]\nsuffix = x.wa.me\n", 0},
                {"[addresses]\nprefix = 192.0.2.0/24\n", "[addresses]\nprefix = 192.0.2.0/25\n", 0},
                {"[programs]\nname = whatsie\n", "[programs]\nsnap = whatsie\n", 0},
                {"[ports]\ntcp = 443\n", "[ports]\ntcp = 443\n", 0},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char a[512], b[512];
                _cleanup_catalogue_ struct catalogue *c = NULL;
                struct diag d = {};

                snprintf(a, sizeof(a), HEAD("a") "%s", cases[i].a);
                snprintf(b, sizeof(b), HEAD("b") "%s", cases[i].b);
                const struct catalogue_source sources[] = {{"b.ini", b, strlen(b)}, {"a.ini", a, strlen(a)}};
                assert_int_equal(catalogue_parse_files(sources, 2, &c, &d), cases[i].r);
                if (cases[i].r < 0) {
                        assert_string_equal(d.file, "b.ini");
                        assert_int_equal(d.line, HEAD_LINES + 2);
                        assert_non_null(strstr(d.text, "'a' too (a.ini:9)"));
                }
        }
}

static const struct catalogue_source three[] = {
        SOURCE("b.ini", HEAD("b") "[names]\nsuffix = b.example\n"),
        SOURCE("a-z.ini", HEAD("a-z") "; last line without its end\n[names]\nexact = z.example"),
        SOURCE("a.ini", HEAD("a") "[names]\nsuffix = a.example\n"),
};

static void test_build(void **state)
{
        static const char expected[] =
                "[catalogue]\nformat = 1\nversion = 2026.11.21\nserial = 7\n"
                "[file]\nname = a-z.ini\n" HEAD("a-z") "; last line without its end\n[names]\nexact = z.example\n"
                                                       "[file]\nname = a.ini\n" HEAD(
                                                               "a") "[names]\nsuffix = a.example\n"
                                                                    "[file]\nname = b.ini\n" HEAD(
                                                                            "b") "[names]\nsuffix = b.example\n";
        _cleanup_free_ char *text = NULL;
        _cleanup_catalogue_ struct catalogue *c = NULL;
        size_t size;
        struct diag d = {};

        assert_int_equal(catalogue_build(three, 3, "2026.11.21", 7, &text, &size, &d), 0);
        assert_int_equal(size, strlen(expected));
        assert_string_equal(text, expected);
        assert_int_equal(catalogue_parse_built(text, size, "catalogue.ini", &c, &d), 0);
        assert_string_equal(c->version, "2026.11.21");
        assert_int_equal(c->serial, 7);
        assert_int_equal(c->n_channels, 3);
        assert_string_equal(c->channels[0].id, "a");
        assert_string_equal(c->channels[1].id, "a-z");
        assert_string_equal(c->channels[1].file, "a-z.ini");
        assert_int_equal(c->channels[1].entries[0].line, HEAD_LINES + 3);
        assert_string_equal(c->channels[1].entries[0].value, "z.example");
}

static void test_bad_built(void **state)
{
#define TOP "[catalogue]\nformat = 1\nversion = 1\nserial = 1\n"
        static const struct {
                const char *text;
                int r;
                const char *file;
                unsigned line;
        } cases[] = {
                {"", -EBADMSG, "c.ini", 0},
                {"[catalogue]\nformat = 1\nversion = 1\n", -EBADMSG, "c.ini", 0},
                {"[catalogue]\nformat = 2\nversion = 1\nserial = 1\n", -EBADMSG, "c.ini", 2},
                {"[catalogue]\nformat = 1\nversion = a b\nserial = 1\n", -EBADMSG, "c.ini", 3},
                {"[catalogue]\nformat = 1\nversion = 1\nserial = -1\n", -EBADMSG, "c.ini", 4},
                {TOP "serial = 2\n", -ENOTUNIQ, "c.ini", 5},
                {TOP "[names]\n", -EBADMSG, "c.ini", 5},
                {TOP "[file]\n", -EBADMSG, "c.ini", 6},
                {TOP "[file]\nname = ../a.ini\n", -EBADMSG, "c.ini", 6},
                {TOP "[file]\nname = a.txt\n", -EBADMSG, "c.ini", 6},
                {TOP "[file]\nname = .ini\n", -EBADMSG, "c.ini", 6},
                {TOP "[file]\nname = b.ini\n" HEAD("b") "[file]\nname = a.ini\n" HEAD("a"), -EBADMSG, "c.ini", 15},
                {TOP "[file]\nname = b.ini\n" HEAD("b") "[file]\nname = b.ini\n" HEAD("b"), -EBADMSG, "c.ini", 15},
                {TOP "[file]\nname = a.ini\n" HEAD("a") "[names]\nsuffix = com\n", -EBADMSG, "a.ini", 9},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct catalogue *c = NULL;
                struct diag d = {};

                int r = catalogue_parse_built(cases[i].text, strlen(cases[i].text), "c.ini", &c, &d);
                if (r != cases[i].r || strcmp(d.file, cases[i].file) != 0 || d.line != cases[i].line)
                        fail_msg("case %zu: %d %s:%u '%s'", i, r, d.file, d.line, d.text);
                assert_null(c);
        }
        struct diag d = {};
        char *text = NULL;
        size_t size;
        assert_int_equal(catalogue_build(three, 3, "", 1, &text, &size, &d), -EBADMSG);
        assert_int_equal(catalogue_build(three, 3, "1", 0, &text, &size, &d), -EBADMSG);
        assert_int_equal(catalogue_parse_files(three, CATALOGUE_CHANNELS_MAX + 1, NULL, &d), -E2BIG);
        assert_null(text);
}

struct findings {
        unsigned n;
        struct catalogue_finding last;
};

static void remember(const struct catalogue_finding *f, void *userdata)
{
        struct findings *all = userdata;
        all->n++;
        all->last = *f;
}

static void test_check(void **state)
{
        static const struct {
                const char *lines;
                const char *now;
                unsigned n; /* findings */
                bool is_error;
                unsigned line;
                const char *why;
        } cases[] = {
                {"[names]\nsuffix = whatsapp.com\n", "2026-11-21", 0, false, 0, ""},
                {"[names]\nsuffix = whatsapp.com\n", "2028-11-21", 0, false, 0, ""},
                {"[names]\nsuffix = whatsapp.com\n", "2028-12-01", 1, false, 1, "741 days ago"},
                {"[names]\nsuffix = whatsapp.com\n", "2026-11-20", 1, false, 1, "future"},
                {"", "2026-11-21", 1, false, 1, "no entry"},
                {"[names]\nsuffix = facebook.com\n", "2026-11-21", 1, true, 9, "'facebook.com'"},
                {"[names]\nsuffix = edge.skype.com\n", "2026-11-21", 1, true, 9, "'config.edge.skype.com'"},
                {"[names]\nexact = edge.skype.com\n", "2026-11-21", 0, false, 0, ""},
                {"[names]\nprobe = edge.skype.com\n", "2026-11-21", 0, false, 0, ""},
                {"[names]\nprobe = config.edge.skype.com\n", "2026-11-21", 1, true, 9, "'config.edge.skype.com'"},
                {"[names]\nsuffix = book.com\n", "2026-11-21", 0, false, 0, ""},
                {"[names]\nsuffix = co.uk\n", "2026-11-21", 1, true, 9, "'co.uk'"},
                {"[names]\nexact = edge-chat.facebook.com\n", "2026-11-21", 0, false, 0, ""},
                {"[names]\nsuffix = snapchat.com\nexcept = tr6.snapchat.com\n", "2026-11-21", 1, true, 9,
                 "'tr.snapchat.com'"},
                {"[names]\nsuffix = gitter.im\nexcept = badges.gitter.im\nexcept = sidecar.gitter.im\n", "2026-11-21",
                 0, false, 0, ""},
                {"[names]\nsuffix = a.example\nexact = b.a.example\n", "2026-11-21", 1, false, 10, "covers it"},
                {"[names]\nexact = x.b.a.example\nsuffix = a.example\n", "2026-11-21", 1, false, 9, "covers it"},
                {"[names]\nsuffix = a.example\nexact = ba.example\n", "2026-11-21", 0, false, 0, ""},
                {"[addresses]\nprefix = 104.20.0.0/16\n", "2026-11-21", 1, true, 9, "104.16.0.0/12"},
                {"[addresses]\nprefix = 1.0.0.0/8\n", "2026-11-21", 1, true, 9, "1.0.0.0/24"},
                {"[addresses]\nprefix = 91.108.4.0/24\nprefix = 91.108.4.0/22\n", "2026-11-21", 1, false, 9,
                 "covers it"},
                {"[addresses]\nprefix = 91.108.4.0/24\nprefix = 91.108.5.0/24\n", "2026-11-21", 0, false, 0, ""},
                {"[programs]\nname = signal\n", "2026-11-21", 1, true, 9, "path, package"},
                {"[programs]\nname = signal-desktop\n", "2026-11-21", 0, false, 0, ""},
                {"[programs]\npath = /usr/bin/py*\n", "2026-11-21", 1, true, 9, "/usr/bin/python3.11"},
                {"[programs]\nargv = --app=https*\n", "2026-11-21", 1, true, 9, "app.example"},
                {"[programs]\nflatpak = im.riot.Riot\n", "2026-11-21", 0, false, 0, ""},
                {"[web]\nurl = facebook.com\n", "2026-11-21", 1, true, 9, "a path is needed"},
                {"[web]\nurl = facebook.com/messages\n", "2026-11-21", 0, false, 0, ""},
                {"[web]\nurl = facebook.com/\n", "2026-11-21", 1, true, 9, "a path is needed"},
                {"[web]\nurl = edge.skype.com\n", "2026-11-21", 1, true, 9, "'config.edge.skype.com'"},
                {"[programs]\npath = /opt/viber/*\npath = /opt/viber/Viber\n", "2026-11-21", 1, false, 10,
                 "covers it"},
                {"[programs]\npath = /opt/viber/*\npath = /opt/viber/lib/Viber\n", "2026-11-21", 0, false, 0, ""},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_catalogue_ struct catalogue *c = NULL;
                struct findings f = {};
                char text[512];
                time_t now;
                struct diag d = {};

                snprintf(text, sizeof(text), HEAD("a") "%s", cases[i].lines);
                assert_int_equal(parse("a.ini", text, &c, &d), 0);
                assert_int_equal(date_parse(cases[i].now, &now), 0);
                assert_int_equal(catalogue_check(c, now, remember, &f), cases[i].is_error ? 1 : 0);
                if (f.n != cases[i].n || f.last.where.line != cases[i].line ||
                    !strstr(f.last.where.text, cases[i].why))
                        fail_msg("'%s': %u findings, last in line %u '%s'", cases[i].lines, f.n, f.last.where.line,
                                 f.last.where.text);
        }
}

/* The longest pattern decides: in another channel only one at least as long hides one. */
static void test_check_across(void **state)
{
        static const struct {
                const char *a, *b;
                unsigned n;
        } cases[] = {
                {"path = /opt/viber/*\n", "path = /opt/viber/Viber\n", 0},
                {"path = /opt/[abcdefghijklmnopqrstuv]iber/x\n", "path = /opt/viber/x\n", 1},
                {"path = /opt/[abcdefghijklmnopqrstuv]iber/x\n", "argv = /opt/viber/x\n", 0},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_catalogue_ struct catalogue *c = NULL;
                char a[512], b[512];
                const struct catalogue_source two[] = {{"a.ini", a, 0}, {"b.ini", b, 0}};
                struct catalogue_source sources[2];
                struct findings f = {};
                struct diag d = {};
                time_t now;

                snprintf(a, sizeof(a), HEAD("a") "[programs]\n%s", cases[i].a);
                snprintf(b, sizeof(b), HEAD("b") "[programs]\n%s", cases[i].b);
                for (unsigned k = 0; k < 2; k++)
                        sources[k] = (struct catalogue_source){two[k].file, two[k].text, strlen(two[k].text)};
                assert_int_equal(catalogue_parse_files(sources, 2, &c, &d), 0);
                assert_int_equal(date_parse("2026-11-21", &now), 0);
                assert_int_equal(catalogue_check(c, now, remember, &f), 0);
                assert_int_equal(f.n, cases[i].n);
                if (f.n > 0)
                        assert_string_equal(f.last.where.file, "b.ini");
        }
}

/* Same bytes whatever the order of the files and the locale of whoever builds. */
static void test_reproducible(void **state)
{
        const struct catalogue_source turned[] = {three[2], three[0], three[1]};
        _cleanup_free_ char *first = NULL, *second = NULL;
        size_t size, other;
        struct diag d = {};

        assert_int_equal(catalogue_build(three, 3, "1", 1, &first, &size, &d), 0);
        for (size_t i = 0; i < 2; i++) {
                setlocale(LC_ALL, i ? "C.UTF-8" : "en_US.UTF-8");
                assert_int_equal(catalogue_build(turned, 3, "1", 1, &second, &other, &d), 0);
                setlocale(LC_ALL, "C");
                assert_int_equal(other, size);
                assert_memory_equal(first, second, size);
                free(TAKE_PTR(second));
        }
}

#define OWN_POLICY "[policy]\nformat = 1\n"

static void test_own(void **state)
{
        _cleanup_free_ char *text = NULL;
        _cleanup_catalogue_ struct catalogue *own = NULL, *shipped = NULL, *other = NULL;
        struct catalogue joined;
        struct diag d = {};
        size_t size;

        assert_int_equal(catalogue_parse_own(OWN_POLICY, strlen(OWN_POLICY), "p.ini", &own, &d), 0);
        assert_null(own);
        assert_int_equal(catalogue_embed(OWN_POLICY, strlen(OWN_POLICY), three, 3, &text, &size, &d), 0);
        assert_memory_equal(text, OWN_POLICY "[file]\nname = a-z.ini\n", strlen(OWN_POLICY) + 20);
        assert_int_equal(catalogue_embed(text, size, three, 3, NULL, NULL, &d), -EEXIST);
        assert_int_equal(catalogue_parse_own(text, size, "p.ini", &own, &d), 0);
        assert_int_equal(own->n_channels, 3);
        assert_string_equal(own->channels[1].file, "policy/a-z.ini");
        assert_int_equal(own->channels[1].entries[0].line, HEAD_LINES + 3);

        assert_int_equal(parse("m.ini", HEAD("m") "[names]\nsuffix = m.example\n", &shipped, &d), 0);
        assert_int_equal(catalogue_join(shipped, own, &joined, &d), 0);
        assert_int_equal(joined.n_channels, 4);
        assert_string_equal(catalogue_find(&joined, "m")->entries[0].value, "m.example");
        assert_string_equal(catalogue_find(&joined, "b")->file, "policy/b.ini");
        free(joined.channels);

        assert_int_equal(parse("b.ini", HEAD("b") "[names]\nsuffix = m.example\n", &other, &d), 0);
        assert_int_equal(catalogue_join(other, own, &joined, &d), -ENOTUNIQ);
        assert_string_equal(d.file, "policy/b.ini");
        other = catalogue_free(other);
        assert_int_equal(parse("x.ini", HEAD("x") "[names]\nexact = z.example\n", &other, &d), 0);
        assert_int_equal(catalogue_join(other, own, &joined, &d), -ENOTUNIQ);
}

static void test_names(void **state)
{
        enum category c;

        for (unsigned i = 0; i < _CATEGORY_MAX; i++) {
                assert_int_equal(category_from_string(category_to_string(i), &c), 0);
                assert_int_equal(c, i);
        }
        assert_int_equal(category_from_string("chat", &c), -EINVAL);
        assert_true(category_is_bypass(CATEGORY_RELAY));
        assert_false(category_is_bypass(CATEGORY_WRAPPER));
        assert_string_equal(entry_kind_to_string(ENTRY_BUILD_ID), "build_id");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),        cmocka_unit_test(test_bad_entries),
                cmocka_unit_test(test_bad_heads),    cmocka_unit_test(test_across_channels),
                cmocka_unit_test(test_build),        cmocka_unit_test(test_bad_built),
                cmocka_unit_test(test_check),        cmocka_unit_test(test_check_across),
                cmocka_unit_test(test_reproducible), cmocka_unit_test(test_own),
                cmocka_unit_test(test_names),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
