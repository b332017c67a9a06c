/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The channel files of the tree: what they must recognise and what they must leave alone. */
#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "catalogue/check.h"
#include "rules/rules.h"
#include "channels-debian.h"
#include "channels-names.h"
#include "channels-own.h"
#include "channels-public.h"

#define CHANNELS_MAX   500
#define FILE_BYTES_MAX (1u << 20)
#define LIST_BYTES_MAX (16u << 20)

static struct catalogue *catalogue;
static struct ruleset *rules;

static int is_channel_file(const struct dirent *e)
{
        return text_ends_with(e->d_name, ".ini");
}

static char *read_source(const char *name, size_t max, size_t *ret_size)
{
        const char *tree = getenv("ONCHANNEL_SOURCE");
        _cleanup_free_ char *path = format_new("%s/rules/%s", tree ? tree : ".", name);
        char *text = NULL;

        if (!path || file_read(path, max, &text, ret_size) < 0)
                fail_msg("cannot read '%s'", path);
        return text;
}

static int setup(void **state)
{
        static struct catalogue_source sources[CHANNELS_MAX];
        const char *tree = getenv("ONCHANNEL_SOURCE");
        _cleanup_free_ char *folder = format_new("%s/rules/channels", tree ? tree : ".");
        struct dirent **files = NULL;
        struct diag d = {};

        int n = scandir(folder, &files, is_channel_file, alphasort);
        assert_in_range(n, 14, CHANNELS_MAX);
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *name = format_new("channels/%s", files[i]->d_name);
                sources[i].text = read_source(name, FILE_BYTES_MAX, &sources[i].size);
                sources[i].file = files[i]->d_name;
        }
        if (catalogue_parse_files(sources, (size_t)n, &catalogue, &d) < 0)
                fail_msg("%s:%u: %s", d.file, d.line, d.text);
        const struct rules_input in = {.catalogue = catalogue};
        assert_int_equal(rules_compile(&in, &rules, &d), 0);
        for (int i = 0; i < n; i++) {
                free((char *)sources[i].text);
                free(files[i]);
        }
        free(files);
        return 0;
}

static int teardown(void **state)
{
        rules = ruleset_free(rules);
        catalogue = catalogue_free(catalogue);
        return 0;
}

static void complain(const struct catalogue_finding *f, void *userdata)
{
        unsigned *n = userdata;

        print_error("%s:%u: %s: %s\n", f->where.file, f->where.line, f->is_error ? "error" : "warning",
                    f->where.text);
        (*n)++;
}

static void test_clean(void **state)
{
        unsigned n = 0;
        time_t day;

        assert_int_equal(date_parse("2026-11-21", &day), 0);
        assert_int_equal(catalogue_check(catalogue, day, complain, &n), 0);
        assert_int_equal(n, 0);
}

static const char *channel_of(uint32_t entry)
{
        return entry ? rules->channels[rules->entries[entry].channel].id : "";
}

static void test_names(void **state)
{
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strcmp(channel_of(rules_match_name(rules, names[i].name)), names[i].channel) != 0)
                        fail_msg("'%s' is not of channel '%s'", names[i].name, names[i].channel);
}

static void test_programs(void **state)
{
        const struct {
                struct rules_program program;
                const char *channel;
        } cases[] = {
                {{.path = "/usr/bin/telegram-desktop"}, "telegram"},
                {{.path = "/home/a/Telegram/Telegram"}, "telegram"},
                {{.path = "/opt/Signal/signal-desktop"}, "signal"},
                {{.path = "/usr/lib/slack/slack"}, "slack"},
                {{.path = "/opt/zoom/zoom"}, "zoom"},
                {{.path = "/opt/viber/Viber"}, "viber"},
                {{.path = "/usr/share/discord/Discord"}, "discord"},
                {{.path = "/usr/bin/zapzap"}, "whatsapp"},
                {{.path = "/usr/bin/nheko"}, "matrix"},
                {{.path = "/usr/bin/irssi"}, "irc"},
                {{.path = "/usr/bin/tor"}, "tor"},
                {{.path = "/home/a/tor-browser/Browser/firefox.real"}, "tor"},
                {{.path = "/usr/bin/caprine"}, "messenger"},
                {{.path = "/opt/Webex/bin/CiscoCollabHost"}, "webex"},
                {{.path = "/opt/Rocket.Chat/rocketchat-desktop"}, "rocketchat"},
                {{.path = "/opt/wavebox.io/wavebox/wavebox"}, "wavebox"},
                {{.path = "/opt/Mullvad VPN/mullvad-vpn"}, "mullvad"},
                {{.path = "/opt/windscribe/Windscribe"}, "windscribe"},
                {{.path = "/usr/sbin/tailscaled"}, "tailscale"},
                {{.path = "/usr/bin/ii", .package = "ii"}, "irc-networks"},
                {{.path = "/usr/bin/sic", .package = "sic"}, "irc-networks"},
                {{.path = "/usr/sbin/edge", .package = "n2n"}, "mesh-vpns"},
                {{.path = "/usr/bin/finch", .package = "finch"}, "pidgin"},
                {{.path = "/usr/bin/alice", .package = "alice"}, "irc"},
                {{.path = "/usr/bin/stubby", .package = "stubby"}, "encrypted-dns"},
                {{.path = "/usr/local/bin/xray"}, "v2ray"},
                {{.path = "/usr/bin/myst", .package = "myst"}, "mysterium"},
                {{.flatpak = "com.nextcloud.talk"}, "nextcloud-talk"},
                {{.flatpak = "org.gajim.Gajim"}, "xmpp"},
                {{.argv = (const char *const[]){"java", "freenet.node.NodeStarter", NULL}}, "hyphanet"},
                {{.argv = (const char *const[]){"google-chrome", "--app-id=kjgfgldnnfoeklkmfkjfagphfepbbdan", NULL}},
                 "google-meet"},
                {{.path = "/usr/bin/qtox"}, "tox"},
                {{.path = "/usr/bin/utox"}, "tox"},
                {{.path = "/usr/bin/toxic"}, "tox"},
                {{.path = "/usr/bin/tox-bootstrapd"}, "tox"},
                {{.path = "/usr/bin/jami"}, "jami"},
                {{.path = "/usr/libexec/jamid"}, "jami"},
                {{.path = "/usr/bin/gnunet-messenger"}, "gnunet"},
                {{.path = "/usr/bin/iptux"}, "iptux"},
                {{.path = "/usr/bin/kdeconnect-sms"}, "kdeconnect-sms"},
                {{.path = "/usr/bin/chatty"}, "modem-sms"},
                {{.path = "/usr/bin/spacebar"}, "modem-sms"},
                {{.path = "/usr/bin/sms4you"}, "modem-sms"},
                {{.path = "/opt/QQ/qq"}, "qq"},
                {{.path = "/opt/Wire/wire-desktop"}, "wire"},
                {{.path = "/opt/Session/session-desktop"}, "session"},
                {{.path = "/opt/keybase/Keybase"}, "keybase"},
                {{.path = "/usr/share/skypeforlinux/skypeforlinux"}, "skype"},
                {{.path = "/opt/simplex/bin/simplex"}, "simplex"},
                {{.path = "/home/a/Quiet-4.0.0.AppImage"}, "quiet"},
                {{.flatpak = "net.jami.Jami"}, "jami"},
                {{.argv = (const char *const[]){"wine", "C:\\Program Files\\Kakao\\KakaoTalk\\KakaoTalk.exe", NULL}},
                 "kakaotalk"},
                {{.argv = (const char *const[]){"chromium", "--app=https://www.instagram.com/direct/inbox/", NULL}},
                 "instagram"},
                {{.flatpak = "com.slack.Slack"}, "slack"},
                {{.flatpak = "us.zoom.Zoom"}, "zoom"},
                {{.flatpak = "im.riot.Riot"}, "matrix"},
                {{.snap = "signal-desktop"}, "signal"},
                {{.argv = (const char *const[]){"chromium", "--app=https://web.whatsapp.com", NULL}}, "whatsapp"},
                {{.argv = (const char *const[]){"msedge", "--app-id=cifhbcnohmdccbgoicgdjpfamggdegmo", NULL}},
                 "teams"},
                /* other programs with such names */
                {{.path = "/usr/sbin/slack"}, ""},
                {{.path = "/usr/games/zoom"}, ""},
                {{.path = "/usr/bin/signal-estimator"}, ""},
                {{.path = "/usr/bin/telegraf"}, ""},
                {{.path = "/usr/bin/wireshark"}, ""},
                {{.path = "/usr/bin/element"}, ""},
                {{.path = "/usr/bin/signal"}, ""},
                {{.path = "/usr/games/flare"}, ""},
                {{.path = "/usr/bin/firefox"}, ""},
                {{.path = "/usr/lib/firefox/firefox"}, ""},
                {{.path = "/usr/bin/tox"}, ""},
                {{.path = "/usr/bin/sic"}, ""},
                {{.path = "/usr/bin/kdeconnect-cli"}, ""},
                {{.path = "/usr/bin/gnunet-core"}, ""},
                {{.path = "/usr/bin/session"}, ""},
                {{.path = "/usr/bin/simplex"}, ""},
                {{.path = "/usr/bin/quiet"}, ""},
                {{.path = "/usr/bin/status"}, ""},
                {{.path = "/usr/games/ricochet"}, ""},
                {{.path = "/usr/bin/gap"}, ""},
                {{.path = "/usr/bin/xray", .package = "aws-xray-daemon"}, ""}, /* Amazon's tracing */
                {{.path = "/usr/bin/finch", .package = "runfinch-finch"}, ""}, /* Amazon's containers */
                {{.path = "/usr/bin/stubby"}, ""}, /* a stub web server */
                {{.path = "/usr/bin/myst"}, ""}, /* a book maker */
                {{.path = "/usr/local/bin/iodine"}, ""}, /* a web server */
                {{.path = "/usr/sbin/yggd", .package = "yggdrasil"}, ""}, /* Red Hat's support agent */
                {{.path = "/home/a/bin/element"}, ""},
                {{.path = "/usr/local/bin/line"}, ""},
                {{.path = "/home/a/src/wire/wire"}, ""}, /* a generator of Go code */
                {{.path = "/home/a/go/bin/wire"}, ""},
                {{.path = "/usr/local/bin/signal"}, ""},
                {{.path = "/opt/app/session"}, ""},
                {{.path = "/opt/ParaView/bin/zoom"}, ""},
                {{.path = "/usr/bin/root"}, ""}, /* CERN's */
                {{.path = "/opt/root/bin/root"}, ""},
                {{.path = "/usr/bin/teamsd"}, ""},
                {{.path = "/usr/bin/meet"}, ""},
                {{.path = "/usr/bin/max"}, ""},
                {{.path = "/usr/bin/signond"}, ""},
                {{.argv = (const char *const[]){"chromium", "--app=https://www.instagram.com/explore/", NULL}}, ""},
                {{.path = "/usr/bin/less", .argv = (const char *const[]){"less", "/usr/bin/telegram-desktop", NULL}},
                 ""},
                {{.argv = (const char *const[]){"chromium", "--app=https://web.whatsapp.com.example.org/", NULL}},
                 ""},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct rules_program p = cases[i].program;

                p.is_browser = p.is_interpreter = true;
                if (strcmp(channel_of(rules_match_program(rules, &p)), cases[i].channel) != 0)
                        fail_msg("case %zu is not of channel '%s'", i, cases[i].channel);
        }
}

static void test_debian_programs(void **state)
{
        unsigned bad = 0;

        for (size_t i = 0; i < ELEMENTSOF(debian_programs); i++) {
                const struct rules_program program = {.path = debian_programs[i].path};
                const char *channel = channel_of(rules_match_program(rules, &program));
                if (strcmp(channel, debian_programs[i].channel) == 0)
                        continue;
                print_error("'%s' is of '%s', not of '%s'\n", program.path, channel, debian_programs[i].channel);
                bad++;
        }
        assert_int_equal(bad, 0);
}

static const char *channel_in_debian(const char *path)
{
        for (size_t i = 0; i < ELEMENTSOF(debian_programs); i++)
                if (strcmp(debian_programs[i].path, path) == 0)
                        return debian_programs[i].channel;
        return "";
}

/* Lines of Debian's index of files ("usr/bin/NAME   SECTION/PACKAGE") of the folders that hold programs:
 * what the table has is found, and nothing else is. */
static void test_debian_index(void **state)
{
        const char *index = getenv("ONCHANNEL_DEBIAN_INDEX");
        _cleanup_free_ char *text = NULL;
        unsigned n = 0, found = 0, bad = 0;
        char *save = NULL;
        size_t size;

        if (!index || !*index) {
                print_message("ONCHANNEL_DEBIAN_INDEX does not name an index of Debian's files\n");
                skip();
        }
        assert_int_equal(file_read(index, LIST_BYTES_MAX, &text, &size), 0);
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), n++) {
                char path[PATH_MAX];
                snprintf(path, sizeof(path), "/%.*s", (int)strcspn(line, " \t"), line);
                const struct rules_program program = {.path = path};
                const char *channel = channel_of(rules_match_program(rules, &program));
                found += *channel != '\0';
                if (strcmp(channel, channel_in_debian(path)) != 0) {
                        print_error("'%s' is of '%s', not of '%s'\n", path, channel, channel_in_debian(path));
                        bad++;
                }
        }
        assert_in_range(n, 40000, UINT32_MAX);
        assert_in_range(found, 150, UINT32_MAX);
        assert_int_equal(bad, 0);
}

static void test_addresses(void **state)
{
        static const struct {
                const char *address;
                const char *channel;
        } cases[] = {
                {"149.154.167.51", "telegram"},
                {"95.161.76.100", "telegram"},
                {"2001:67c:4e8:f002::a", "telegram"},
                {"194.242.2.2", "encrypted-dns"},
                {"185.71.138.138", "encrypted-dns"},
                {"2a07:e340::2", "encrypted-dns"},
                {"194.242.2.1", ""},
                {"9.9.9.9", ""},
                {"149.154.159.255", ""},
                {"149.154.176.0", ""},
                {"95.161.76.101", ""},
                {"1.1.1.1", ""},
                {"8.8.8.8", ""},
                {"157.240.1.53", ""},
                {"104.16.1.1", ""},
                {"52.113.1.1", ""},
        };
        struct prefix p;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                assert_int_equal(prefix_parse(cases[i].address, &p), 0);
                if (strcmp(channel_of(rules_match_address(rules, &p)), cases[i].channel) != 0)
                        fail_msg("'%s' is not of channel '%s'", cases[i].address, cases[i].channel);
        }
}

static void test_sample_policy(void **state)
{
        size_t size;
        _cleanup_free_ char *text = read_source("policies/sample.ini", POLICY_MAX_BYTES, &size);
        _cleanup_policy_ struct policy *p = NULL;
        _cleanup_ruleset_ struct ruleset *r = NULL;
        struct diag d = {};

        if (policy_parse(text, size, "sample.ini", &p, &d) < 0)
                fail_msg("sample.ini:%u: %s", d.line, d.text);
        const struct rules_input in = {.catalogue = catalogue, .policy = p, .policy_file = "sample.ini"};
        assert_int_equal(rules_compile(&in, &r, &d), 0);
        for (size_t i = 1; i < r->n_channels; i++) {
                bool approved = strcmp(r->channels[i].id, "teams") == 0 || strcmp(r->channels[i].id, "slack") == 0;
                assert_int_equal(r->channels[i].verdict, approved ? VERDICT_ALLOW : VERDICT_BLOCK);
        }
        assert_non_null(r->notice);
        assert_non_null(r->help);
}

/* A file of the reference data, which is too large for the tree; skips without it. */
static char *read_data(const char *name)
{
        const char *folder = getenv("ONCHANNEL_SHARED_DATA");
        size_t size;
        char *text = NULL;

        if (!folder || !*folder) {
                print_message("ONCHANNEL_SHARED_DATA does not name the folder of %s\n", name);
                skip();
        }
        _cleanup_free_ char *path = format_new("%s/%s", folder, name);
        if (!path || file_read(path, LIST_BYTES_MAX, &text, &size) < 0)
                fail_msg("cannot read '%s'", path);
        return text;
}

static bool is_own(const char *name)
{
        for (const char *const *s = own_names; *s; s++) {
                size_t n = strlen(name), m = strlen(*s);
                if (text_ends_with(name, *s) && (n == m || name[n - m - 1] == '.'))
                        return true;
        }
        return false;
}

static void check_list(const char *file, unsigned n_min)
{
        _cleanup_free_ char *text = read_data(file);
        unsigned n = 0, bad = 0;
        char *save = NULL;

        for (char *name = strtok_r(text, "\"\r\n,", &save); name; name = strtok_r(NULL, "\"\r\n,", &save), n++) {
                uint32_t entry = rules_match_name(rules, name);
                if (entry && !is_own(name)) {
                        print_error("%s: '%s' would be taken for %s\n", file, name, channel_of(entry));
                        bad++;
                }
        }
        assert_in_range(n, n_min, UINT32_MAX);
        assert_int_equal(bad, 0);
}

static void test_popular_sites(void **state)
{
        check_list("top-sites-100k.txt", 90000);
}

static void test_popular_hosts(void **state)
{
        check_list("top-hosts-20k.txt", 19000);
}

static void test_infrastructure(void **state)
{
        check_list("must-not-match.json", 500);
}

static void check_public_name(const char *list, const char *channel, const char *name)
{
        bool matched = strcmp(channel_of(rules_match_name(rules, name)), channel) == 0;

        for (size_t i = 0; i < ELEMENTSOF(left_out); i++)
                if (strcmp(left_out[i].name, name) == 0) {
                        if (matched)
                                fail_msg("'%s' is said to be left out, but is matched", name);
                        return;
                }
        if (!matched)
                fail_msg("'%s' of the public list '%s' is not of channel '%s'", name, list, channel);
}

/* Each name of the lists in public_lists, but for those left out with a reason. */
static void test_public_names(void **state)
{
        _cleanup_free_ char *text = read_data("v2fly-names.json");
        bool seen[ELEMENTSOF(public_lists)] = {};
        size_t list = ELEMENTSOF(public_lists);
        char *save = NULL;

        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                char *name = strchr(line, '"'), *end = name ? strchr(name + 1, '"') : NULL;
                if (!end)
                        continue;
                *end = '\0';
                if (strstr(end + 1, ": [")) {
                        for (list = 0; list < ELEMENTSOF(public_lists); list++)
                                if (strcmp(public_lists[list].list, name + 1) == 0)
                                        break;
                } else if (list < ELEMENTSOF(public_lists)) {
                        seen[list] = true;
                        check_public_name(public_lists[list].list, public_lists[list].channel, name + 1);
                }
        }
        for (size_t i = 0; i < ELEMENTSOF(public_lists); i++)
                if (!seen[i])
                        fail_msg("there is no public list '%s'", public_lists[i].list);
}

static bool is_resolver_left_out(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(resolvers_left_out); i++)
                if (strcmp(resolvers_left_out[i].name, name) == 0)
                        return true;
        return false;
}

/* Each name of the list, but for those left out with a reason. */
static void test_resolvers(void **state)
{
        _cleanup_free_ char *text = read_data("doh-names.json");
        char *save = NULL, *domains = strstr(text, "\"domains\"");
        unsigned n = 0, matched = 0;

        assert_non_null(domains);
        strtok_r(domains + strlen("\"domains\""), "\"", &save);
        for (char *name; (name = strtok_r(NULL, "\"", &save)) && strcmp(name, "ips") != 0;) {
                if (!strchr(name, '.'))
                        continue;
                n++;
                bool is_matched = strcmp(channel_of(rules_match_name(rules, name)), "encrypted-dns") == 0;
                matched += is_matched;
                if (is_matched == is_resolver_left_out(name))
                        fail_msg("'%s' is %s", name, is_matched ? "matched, but said to be left out" : "missed");
        }
        assert_true(n >= 110);
        assert_true(matched * 100 >= n * 95);
}

static void test_telegram_prefixes(void **state)
{
        _cleanup_free_ char *text = read_data("telegram-prefixes.json");
        unsigned n = 0;
        char *save = NULL;

        for (char *word = strtok_r(text, "\" ,\n", &save); word; word = strtok_r(NULL, "\" ,\n", &save)) {
                struct prefix p;

                if (!strchr(word, '/') || prefix_parse(word, &p) < 0)
                        continue;
                n++;
                if (strcmp(channel_of(rules_match_address(rules, &p)), "telegram") != 0)
                        fail_msg("'%s' is not Telegram's", word);
        }
        assert_true(n >= 14);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_clean),          cmocka_unit_test(test_names),
                cmocka_unit_test(test_programs),       cmocka_unit_test(test_debian_programs),
                cmocka_unit_test(test_addresses),      cmocka_unit_test(test_sample_policy),
                cmocka_unit_test(test_popular_sites),  cmocka_unit_test(test_popular_hosts),
                cmocka_unit_test(test_infrastructure), cmocka_unit_test(test_telegram_prefixes),
                cmocka_unit_test(test_public_names),   cmocka_unit_test(test_resolvers),
                cmocka_unit_test(test_debian_index),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
