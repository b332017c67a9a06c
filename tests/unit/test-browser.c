/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/browser/browser.h"
#include "agent/browser/document.h"
#include "base/cleanup.h"
#include "base/io.h"

#define HEAD(id, category)                                                                                           \
        "[channel]\nid = " id "\nname = " id "\ncategory = " category "\n"                                           \
        "homepage = https://example.com\nchecked = 2026-11-21\nsource = https://example.com/list\n"

static struct catalogue *catalogue;

static int setup(void **state)
{
        static const char
                book[] = HEAD("book",
                              "social") "[names]\nexact = edge.book.example\n[web]\nurl = book.example/messages\n"
                                        "url = www.book.example/messages/t\nurl = web.chat.example\n",
                chat[] = HEAD(
                        "chat",
                        "messenger") "[names]\nsuffix = chat.example\nexact = a.chat.example\nexact = only.example\n"
                                     "suffix = wide.example\nsuffix = tagged.example\nexcept = "
                                     "t.tagged.example\n[web]\nurl = chat.example/x\n"
                                     "pwa = hnpfjngllnobngcgfapefoaidbinmjnm\n",
                dns[] = HEAD("dns", "encrypted-dns") "[names]\nsuffix = dns.example\n",
                work[] = HEAD("work", "workplace") "[names]\nexact = work.wide.example\nsuffix = work.example\n";
        const struct catalogue_source sources[] = {{"book.ini", book, sizeof(book) - 1},
                                                   {"chat.ini", chat, sizeof(chat) - 1},
                                                   {"dns.ini", dns, sizeof(dns) - 1},
                                                   {"work.ini", work, sizeof(work) - 1}};
        struct diag d = {};

        if (catalogue_parse_files(sources, ELEMENTSOF(sources), &catalogue, &d) < 0)
                fail_msg("%s:%u: %s", d.file, d.line, d.text);
        return 0;
}

static int teardown(void **state)
{
        catalogue = catalogue_free(catalogue);
        return 0;
}

static struct ruleset *compile(const char *rest)
{
        static const char top[] = "[policy]\nformat = 1\norganisation = Example\nserial = 42\n"
                                  "not_before = 2026-01-01T00:00:00Z\nexpires = 2027-01-01T00:00:00Z\n";
        static const struct rules_user users[] = {{"anna", 1000}};
        _cleanup_free_ char *text = format_new("%s%s", top, rest);
        _cleanup_policy_ struct policy *policy = NULL;
        struct ruleset *rules = NULL;
        struct diag d = {};

        if (policy_parse(text, strlen(text), "p.ini", &policy, &d) < 0)
                fail_msg("line %u: %s", d.line, d.text);
        const struct rules_input in = {.catalogue = catalogue, .policy = policy, .users = users, .n_users = 1};
        assert_int_equal(rules_compile(&in, &rules, &d), 0);
        return rules;
}

static void assert_document(int (*make)(const struct browser_input *, struct browser_output *), const char *policy,
                            const char *theirs, const char *expected)
{
        _cleanup_ruleset_ struct ruleset *rules = compile(policy);
        json_auto_t *t = json_loads(theirs, 0, NULL), *e = json_loads(expected, JSON_DECODE_ANY, NULL);
        struct browser_input in = {.rules = rules, .theirs = t};
        struct browser_output o;
        _cleanup_free_ char *text = NULL;

        assert_true(t && e);
        assert_int_equal(make(&in, &o), 0);
        if (o.document)
                json_object_del(o.document, BROWSER_MARK);
        text = json_dumps(o.document, 0);
        if (json_is_null(e) ? o.document != NULL : !json_equal(o.document, e))
                fail_msg("'%s' gives\n%s\nnot\n%s", policy, text, expected);
        json_decref(o.document);
}

#define WORK  "[channel work]\nverdict = allow\n"
#define GROUP "[group g]\nuser = anna\n"

static void test_chromium(void **state)
{
        static const struct {
                const char *policy, *theirs, *expected;
        } cases[] = {
                {"mode = monitor\n", "{}", "null"},
                {"unlisted = watch\nbypass = allow\n", "{}", "null"},
                /* above an approved name, or one that is excepted, a host stands for itself alone */
                {"bypass = allow\n" WORK, "{}",
                 "{\"URLBlocklist\":[\"book.example/"
                 "messages\",\".edge.book.example\",\"chat.example\",\".only.example\",\".wide.example\","
                 "\".tagged.example\"],"
                 "\"ExtensionInstallBlocklist\":[\"hnpfjngllnobngcgfapefoaidbinmjnm\"],"
                 "\"EncryptedClientHelloEnabled\":false,\"NetworkPredictionOptions\":2}"},
                {"unlisted = allow\nquic = block\n", "{}",
                 "{\"URLBlocklist\":[\"dns.example\"],\"DnsOverHttpsMode\":\"off\",\"EncryptedClientHelloEnabled\":"
                 "false,\"NetworkPredictionOptions\":2,"
                 "\"QuicAllowed\":false}"},
                /* somebody is exempt: a machine's policy cannot say so */
                {"unlisted = allow\n" GROUP "[channel dns]\nverdict = allow\ngroup = g\n", "{}", "null"},
                {"unlisted = allow\nbypass = allow\n" GROUP "[channel chat]\nverdict = block\ngroup = g\n", "{}",
                 "null"},
                /* theirs first, each once */
                {"unlisted = allow\n",
                 "{\"URLBlocklist\":[\"games.example\",\"dns.example\"],\"URLAllowlist\":[\"x.example\"],"
                 "\"DnsOverHttpsMode\":\"secure\"}",
                 "{\"URLBlocklist\":[\"games.example\",\"dns.example\"],\"DnsOverHttpsMode\":\"off\","
                 "\"EncryptedClientHelloEnabled\":false,\"NetworkPredictionOptions\":2}"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_document(browser_chromium, cases[i].policy, cases[i].theirs, cases[i].expected);
}

#define ECH                                                                                                          \
        "\"DisableEncryptedClientHello\":true,\"NetworkPrediction\":false,\"Preferences\":{%s"                       \
        "\"network.dns.echconfig.enabled\":{\"Value\":false,\"Status\":\"locked\"},"                                 \
        "\"network.dns.http3_echconfig.enabled\":{\"Value\":false,\"Status\":\"locked\"}}"

static void test_firefox(void **state)
{
        static const struct {
                const char *policy, *theirs, *filter, *preferences;
        } cases[] = {
                {"unlisted = allow\nbypass = allow\n", "{\"policies\":{\"DisablePocket\":true}}", NULL, ""},
                {"bypass = allow\n" WORK, "{}",
                 "\"WebsiteFilter\":{\"Block\":[\"*://*.book.example/messages*\",\"*://edge.book.example/*\",\"*://"
                 "*.chat.example/*\","
                 "\"*://only.example/*\",\"*://wide.example/*\",\"*://tagged.example/*\"]}",
                 ""},
                {"unlisted = allow\n",
                 "{\"policies\":{\"DisablePocket\":true,\"WebsiteFilter\":{\"Block\":[\"*://games.example/"
                 "*\"],\"Exceptions\":[\"*://x/*\"]},"
                 "\"DNSOverHTTPS\":{\"Enabled\":true,\"ProviderURL\":\"https://"
                 "x\"},\"Preferences\":{\"a.b\":{\"Value\":1}}}}",
                 "\"DisablePocket\":true,\"WebsiteFilter\":{\"Block\":[\"*://games.example/*\",\"*://*.dns.example/"
                 "*\"],"
                 "\"Exceptions\":[\"*://x/*\"]},\"DNSOverHTTPS\":{\"Enabled\":false,\"Locked\":true}",
                 "\"a.b\":{\"Value\":1},"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *expected = cases[i].filter ? format_new("{\"policies\":{%s," ECH "}}",
                                                                             cases[i].filter, cases[i].preferences)
                                                                : strdup("null");
                assert_document(browser_firefox, cases[i].policy, cases[i].theirs, expected);
        }
}

/* Beyond what browsers take nothing is written, and the count says so. */
static void test_limit(void **state)
{
        _cleanup_ruleset_ struct ruleset *rules = compile("unlisted = allow\n");
        json_auto_t *theirs = json_object();
        json_t *list = json_array();
        struct browser_output o;

        for (unsigned i = 0; i < BROWSER_PATTERNS_MAX; i++)
                json_array_append_new(list, json_sprintf("%u.example", i));
        json_object_set_new(theirs, "URLBlocklist", list);
        const struct browser_input in = {.rules = rules, .theirs = theirs};
        assert_int_equal(browser_chromium(&in, &o), 0);
        assert_int_equal(json_array_size(json_object_get(o.document, "URLBlocklist")), BROWSER_PATTERNS_MAX);
        assert_int_equal(o.left_out, 1);
        assert_int_equal(o.patterns, 0);
        json_decref(o.document);
}

/* ---- files ---- */
struct world {
        char root[32];
        struct browser *browser;
        struct ruleset *rules;
        struct browser_state state;
};

static int world_setup(void **state)
{
        struct world *w = calloc(1, sizeof(*w));

        strcpy(w->root, "/tmp/browser-XXXXXX");
        assert_non_null(mkdtemp(w->root));
        assert_int_equal(browser_new(w->root, &w->browser), 0);
        w->rules = compile("unlisted = block\n");
        *state = w;
        return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
        return remove(path);
}

static int world_teardown(void **state)
{
        struct world *w = *state;

        nftw(w->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        browser_free(w->browser);
        ruleset_free(w->rules);
        free(w);
        return 0;
}

static void put(const struct world *w, const char *name, const char *text)
{
        _cleanup_free_ char *path = format_new("%s/etc/%s", w->root, name), *dir = strdup(path);

        *strrchr(dir, '/') = 0;
        assert_int_equal(dir_make(dir, 0755), 0);
        assert_int_equal(file_write_atomic(path, text, strlen(text), 0640), 0);
}

static char *get(const struct world *w, const char *name)
{
        _cleanup_free_ char *path = format_new("%s/etc/%s", w->root, name);
        char *text = NULL;

        return file_read(path, 1 << 20, &text, NULL) < 0 ? NULL : text;
}

static void apply(struct world *w, const struct ruleset *rules, size_t files, bool tampered)
{
        browser_apply(w->browser, rules, &w->state);
        if (w->state.files != files || !*w->state.tampered == tampered)
                fail_msg("%zu files, tampered '%s', problem '%s'", w->state.files, w->state.tampered,
                         w->state.problem);
}

static void assert_has(const struct world *w, const char *name, const char *what)
{
        _cleanup_free_ char *text = get(w, name);

        if (!what ? text != NULL : !text || !strstr(text, what))
                fail_msg("%s is '%s'", name, text ? text : "not there");
}

#define CHROMIUM "chromium/policies/managed/"
#define FIREFOX  "firefox/policies/policies.json"

static void test_files(void **state)
{
        struct world *w = *state;
        _cleanup_free_ char *path = format_new("%s/etc/" CHROMIUM BROWSER_FILE, w->root);
        struct stat before, after;

        umask(0077);
        apply(w, w->rules, 6, false);
        umask(0022);
        assert_int_equal(stat(path, &before), 0);
        assert_int_equal(before.st_mode & 07777, 0644);
        apply(w, w->rules, 6, false);
        assert_int_equal(stat(path, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino); /* nothing was written again */
        assert_int_equal(chmod(path, 0600), 0); /* no browser could read it */
        apply(w, w->rules, 6, false);
        assert_int_equal(stat(path, &after), 0);
        assert_int_equal(after.st_mode & 07777, 0644);
        assert_has(w, "opt/edge/policies/managed/" BROWSER_FILE, "chat.example");
        *strrchr(path, '/') = 0;
        assert_int_equal(stat(path, &before), 0);
        assert_int_equal(before.st_mode & 07777, 0755);
        apply(w, NULL, 0, false);
        path[strlen(w->root) + strlen("/etc")] = 0;
        strcat(path, "/opt");
        assert_int_equal(rmdir(path), 0); /* the Filesystem Hierarchy Standard's, hence not ours */
        *strrchr(path, '/') = 0;
        assert_int_equal(rmdir(path), 0); /* nothing else is left */
}

static void test_drift(void **state)
{
        struct world *w = *state;
        _cleanup_free_ char *path = format_new("%s/etc/" CHROMIUM BROWSER_FILE, w->root);

        apply(w, w->rules, 6, false);
        put(w, CHROMIUM BROWSER_FILE, "{}\n");
        apply(w, w->rules, 6, true);
        assert_string_equal(w->state.tampered, "/etc/" CHROMIUM BROWSER_FILE);
        apply(w, w->rules, 6, false);
        assert_int_equal(unlink(path), 0);
        apply(w, w->rules, 6, true);
        put(w, FIREFOX, "{\"" BROWSER_MARK "\":1,\"policies\":{}}");
        apply(w, w->rules, 6, true);
        assert_has(w, FIREFOX, "chat.example");
        assert_has(w, FIREFOX ".administrator", NULL);
        put(w, FIREFOX, "garbage");
        apply(w, w->rules, 6, true);
        put(w, CHROMIUM "corp.json", "{\"URLBlocklist\":[\"games.example\"]}");
        apply(w, w->rules, 6, false); /* theirs is no tampering */
        assert_has(w, CHROMIUM BROWSER_FILE, "games.example");
}

/* An administrator's files come back byte for byte. */
static void test_theirs(void **state)
{
        static const char corp[] = "{ \"URLBlocklist\" : [\"games.example\"] }",
                          theirs[] = "{\n\t\"policies\":{\"DisablePocket\":true} }\n";
        struct world *w = *state;

        put(w, CHROMIUM "corp.json", corp);
        put(w, FIREFOX, theirs);
        apply(w, w->rules, 6, false);
        assert_has(w, FIREFOX ".administrator", theirs);
        assert_has(w, FIREFOX, "DisablePocket");
        assert_has(w, FIREFOX, "chat.example");
        put(w, FIREFOX ".administrator", "{\"policies\":{\"DisablePocket\":false,\"BlockAboutConfig\":true}}");
        apply(w, w->rules, 6, false);
        assert_has(w, FIREFOX, "BlockAboutConfig");
        put(w, FIREFOX, theirs); /* as a configuration manager does */
        apply(w, w->rules, 6, true);
        assert_has(w, FIREFOX, "chat.example");
        apply(w, NULL, 0, false);
        assert_has(w, FIREFOX, theirs);
        assert_has(w, FIREFOX ".administrator", NULL);
        apply(w, w->rules, 6, false);
        put(w, FIREFOX, "{\"policies\":{\"BlockAboutConfig\":true}}"); /* while the agent is away */
        apply(w, NULL, 0, false);
        assert_has(w, FIREFOX, "BlockAboutConfig");
        assert_has(w, FIREFOX ".administrator", NULL);
        assert_has(w, CHROMIUM "corp.json", corp);
        assert_has(w, CHROMIUM BROWSER_FILE, NULL);
}

static void test_problems(void **state)
{
        struct world *w = *state;

        put(w, CHROMIUM "corp.json", "{ // not for everyone's parser\n\"URLBlocklist\":[\"games.example\"]}");
        put(w, FIREFOX, "{ broken");
        apply(w, w->rules, 5, false);
        assert_non_null(strstr(w->state.problem, "corp.json"));
        assert_has(w, CHROMIUM BROWSER_FILE, "DnsOverHttpsMode");
        _cleanup_free_ char *ours = get(w, CHROMIUM BROWSER_FILE);
        assert_null(strstr(ours, "URLBlocklist"));
        assert_has(w, FIREFOX, "{ broken");
        put(w, CHROMIUM "corp.json", "{}");
        put(w, CHROMIUM "zzz.json", "{\"URLBlocklist\":[\"games.example\"]}");
        apply(w, w->rules, 5, false);
        assert_non_null(strstr(w->state.problem, "later name sets URLBlocklist"));
        apply(w, NULL, 0, false);
        assert_has(w, FIREFOX, "{ broken");
}

/* Firefox reads its distribution's file only where /etc has none: ours must not hide it. */
static void test_distribution(void **state)
{
        struct world *w = *state;

        put(w, "../usr/lib/firefox-esr/distribution/policies.json", "{\"policies\":{\"DisablePocket\":true}}");
        apply(w, w->rules, 6, false);
        assert_has(w, FIREFOX, "DisablePocket");
        apply(w, NULL, 0, false);
        assert_has(w, FIREFOX, NULL);
}

#define FILES(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_chromium),
                cmocka_unit_test(test_firefox),
                cmocka_unit_test(test_limit),
                FILES(test_files),
                FILES(test_drift),
                FILES(test_theirs),
                FILES(test_problems),
                FILES(test_distribution),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
