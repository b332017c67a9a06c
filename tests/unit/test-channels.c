/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The channel files of the tree: what they must recognise and what they must leave alone. */
#include <dirent.h>
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

#define CHANNELS_MAX   300
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
        static const struct {
                const char *name;
                const char *channel;
        } cases[] = {
                {"web.whatsapp.com", "whatsapp"},
                {"mmg.whatsapp.net", "whatsapp"},
                {"wa.me", "whatsapp"},
                {"www.messenger.com", "messenger"},
                {"edge-chat.facebook.com", "messenger"},
                {"m.me", "messenger"},
                {"web.telegram.org", "telegram"},
                {"t.me", "telegram"},
                {"apv3.stel.com", "telegram"},
                {"chat.signal.org", "signal"},
                {"cdn2.signal.org", "signal"},
                {"textsecure-service.whispersystems.org", "signal"},
                {"discord.com", "discord"},
                {"gateway.discord.gg", "discord"},
                {"cdn.discordapp.com", "discord"},
                {"www.viber.com", "viber"},
                {"web.wechat.com", "wechat"},
                {"wx.qq.com", "wechat"},
                {"app.slack.com", "slack"},
                {"a.slack-edge.com", "slack"},
                {"teams.microsoft.com", "teams"},
                {"statics.teams.cdn.office.net", "teams"},
                {"teams.cloud.microsoft", "teams"},
                {"us02web.zoom.us", "zoom"},
                {"matrix-client.matrix.org", "matrix"},
                {"app.element.io", "matrix"},
                {"irc.libera.chat", "irc"},
                {"kiwiirc.com", "irc"},
                {"dist.torproject.org", "tor"},
                {"dns.google", "encrypted-dns"},
                {"mozilla.cloudflare-dns.com", "encrypted-dns"},
                {"dns.quad9.net", "encrypted-dns"},
                {"abc123.dns.nextdns.io", "encrypted-dns"},
                {"one.one.one.one", "encrypted-dns"},
                /* look-alikes, parents and neighbours */
                {"notwhatsapp.com", ""},
                {"whatsapp.com.example.org", ""},
                {"mywa.me", ""},
                {"slackware.com", ""},
                {"letelegramme.fr", ""},
                {"star-telegram.com", ""},
                {"onesignal.com", ""},
                {"viberate.com", ""},
                {"facebook.com", ""},
                {"graph.facebook.com", ""},
                {"www.instagram.com", ""},
                {"qq.com", ""},
                {"microsoft.com", ""},
                {"login.microsoftonline.com", ""},
                {"config.edge.skype.com", ""},
                {"skype.com", ""},
                {"outlook.cloud.microsoft", ""},
                {"google.com", ""},
                {"chat.google.com", ""},
                {"quad9.net", ""},
                {"opendns.com", ""},
                {"nextdns.io", ""},
                {"cloudflare.com", ""},
                {"storage.googleapis.com", ""},
                {"legalzoom.com", ""},
                {"use-application-dns.net", ""},
                {"com", ""},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (strcmp(channel_of(rules_match_name(rules, cases[i].name)), cases[i].channel) != 0)
                        fail_msg("'%s' is not of channel '%s'", cases[i].name, cases[i].channel);
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
                {{.path = "/usr/bin/less", .argv = (const char *const[]){"less", "/usr/bin/telegram-desktop", NULL}},
                 ""},
                {{.argv = (const char *const[]){"chromium", "--app=https://web.whatsapp.com.example.org/", NULL}},
                 ""},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (strcmp(channel_of(rules_match_program(rules, &cases[i].program)), cases[i].channel) != 0)
                        fail_msg("case %zu is not of channel '%s'", i, cases[i].channel);
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

/* Popular names that belong to a channel, they and what lies below: everything else must pass. */
static const char *const own_names[] = {
        "cdn-telegram.org",
        "chat-e2ee-mini.facebook.com",
        "cloudflare-dns.com",
        "cloudflare-gateway.com",
        "dis.gd",
        "discord.co",
        "discord.com",
        "discord.dev",
        "discord.gg",
        "discord.gift",
        "discord.media",
        "discord.new",
        "discordactivities.com",
        "discordapp.com",
        "discordapp.net",
        "discordcdn.com",
        "discordsays.com",
        "discordstatus.com",
        "dns.adguard.com",
        "dns.alidns.com",
        "dns.google",
        "dns.google.com",
        "dns.pub",
        "dns.umbrella.com",
        "dns10.quad9.net",
        "dnsforge.de",
        "doh.dns.apple.com",
        "doh.familyshield.opendns.com",
        "doh.opendns.com",
        "doh.pub",
        "doh.sandbox.opendns.com",
        "doh.sb",
        "doh.umbrella.com",
        "doh.xfinity.com",
        "dot.pub",
        "dot.sb",
        "edge-chat.facebook.com",
        "edge-mqtt.facebook.com",
        "element.io",
        "m.me",
        "matrix.org",
        "messenger.com",
        "modular.im",
        "mqtt-mini.facebook.com",
        "one.one.one.one",
        "rizon.net",
        "servicewechat.com",
        "signal.me",
        "signal.org",
        "slack-edge.com",
        "slack-files.com",
        "slack-gov.com",
        "slack-imgs.com",
        "slack-redir.net",
        "slack.com",
        "slackb.com",
        "t.me",
        "tdesktop.com",
        "teams.cdn.office.net",
        "teams.cloud.microsoft",
        "teams.events.data.microsoft.com",
        "teams.live.com",
        "teams.microsoft.com",
        "teams.microsoft.us",
        "teams.office.com",
        "teams.trafficmanager.net",
        "telegram.dog",
        "telegram.me",
        "telegram.org",
        "telegram.space",
        "telesco.pe",
        "tg.dev",
        "torproject.net",
        "torproject.org",
        "tx.me",
        "undernet.org",
        "viber.com",
        "wa.me",
        "wechat.com",
        "weixin.com",
        "weixin.qq.com",
        "weixin.qq.com.cn",
        "whatsapp.biz",
        "whatsapp.cc",
        "whatsapp.com",
        "whatsapp.net",
        "whatsapp.tv",
        "wikimedia-dns.org",
        "wx.qq.com",
        "zoom.com",
        "zoom.com.cn",
        "zoom.us",
        "zoomgov.com",
        NULL,
};

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
                cmocka_unit_test(test_clean),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_programs),
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_sample_policy),
                cmocka_unit_test(test_popular_sites),
                cmocka_unit_test(test_popular_hosts),
                cmocka_unit_test(test_infrastructure),
                cmocka_unit_test(test_telegram_prefixes),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
