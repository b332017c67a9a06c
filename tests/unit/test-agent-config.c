/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/state/config.h"
#include "base/cleanup.h"
#include "base/io.h"

static void test_defaults(void **state)
{
        _cleanup_config_ struct config *c = NULL;

        assert_int_equal(config_parse("", 0, "agent.ini", &c, NULL), 0);
        assert_string_equal(c->state, "/var/lib/onchannel");
        assert_string_equal(c->runtime, "/run/onchannel");
        assert_string_equal(c->keys, "/etc/onchannel/keys");
        assert_string_equal(c->catalogue, "/usr/share/onchannel/catalogue.ini");
        assert_string_equal(c->bpffs, "/sys/fs/bpf/onchannel");
        assert_null(c->cgroup);
        assert_string_equal(c->table, "onchannel");
        assert_string_equal(c->uplink_group, "onchannel");
        assert_int_equal(c->mark_mask, 0x3ff00000);
        assert_int_equal(c->heartbeat, 300);
        assert_int_equal(c->check, 10);
        assert_null(c->collector_url);
        assert_true(*c->device);
        assert_int_equal(c->n_protect, 0);
}

static void test_values(void **state)
{
        static const char text[] = "[agent]\n"
                                   "device    = ws-0301  ; a comment\n"
                                   "state     = /s\n"
                                   "cgroup    = /sys/fs/cgroup/x\n"
                                   "mark_mask = 0x000fff00\n"
                                   "heartbeat = 5\n"
                                   "check = 2\n"
                                   "[collector]\n"
                                   "url = https://Collector.Example:8443/\n"
                                   "[protect]\n"
                                   "name   = VPN.example.\n"
                                   "prefix = 192.0.2.0/24\n";
        _cleanup_config_ struct config *c = NULL;

        assert_int_equal(config_parse(text, strlen(text), "agent.ini", &c, NULL), 0);
        assert_string_equal(c->device, "ws-0301");
        assert_string_equal(c->state, "/s");
        assert_string_equal(c->cgroup, "/sys/fs/cgroup/x");
        assert_int_equal(c->mark_mask, 0x000fff00);
        assert_int_equal(c->heartbeat, 5);
        assert_int_equal(c->check, 2);
        assert_int_equal(c->n_protect, 3);
        assert_string_equal(c->protect[0].name, "vpn.example");
        assert_string_equal(c->protect[0].why, "agent.ini:11: [protect] name");
        assert_null(c->protect[1].name);
        assert_int_equal(c->protect[1].prefix.length, 24);
        assert_string_equal(c->protect[2].name, "collector.example");
        assert_string_equal(c->protect[2].why, "agent.ini:9: [collector] url");
}

static void test_refused(void **state)
{
        static const struct {
                const char *text;
                int r;
                unsigned line;
                const char *says;
        } table[] = {
                {"[agent]\nstat = /x\n", -EBADMSG, 2, "unknown key 'stat' in [agent]"},
                {"\n[agents]\n", -EBADMSG, 2, "unknown section [agents]"},
                {"state = /x\n", -EBADMSG, 1, "unknown key"},
                {"[agent]\nstate = x\n", -EBADMSG, 2, "not an absolute path"},
                {"[agent]\nstate = /x\nstate = /y\n", -ENOTUNIQ, 3, "given twice"},
                {"[agent]\ntable =\n", -EBADMSG, 2, "empty"},
                {"[agent]\ntable = a b\n", -EBADMSG, 2, "only letters"},
                {"[agent]\nmark_mask = 0x1ff00000\n", -ERANGE, 2, "ten or more bits"},
                {"[agent]\nmark_mask = 0x3fe00001\n", -ERANGE, 2, "ten or more bits"},
                {"[agent]\nmark_mask = 0x3ff0000000\n", -ERANGE, 2, "ten or more bits"},
                {"[agent]\nmark_mask = -1\n", -ERANGE, 2, "ten or more bits"},
                {"[agent]\nheartbeat = 0\n", -ERANGE, 2, "from 1 to"},
                {"[agent]\nheartbeat = 86401\n", -ERANGE, 2, "from 1 to"},
                {"[agent]\ncheck = 0\n", -ERANGE, 2, "check: a number"},
                {"[agent]\ncheck = 1\ncheck = 2\n", -ENOTUNIQ, 3, "check given twice"},
                {"[collector]\nurl = http://x\n", -EBADMSG, 2, "https://"},
                {"[collector]\nurl = https://u@x\n", -EBADMSG, 2, "https://"},
                {"[collector]\nurl = https://[::1\n", -EBADMSG, 2, "https://"},
                {"[protect]\nname = a b\n", -EBADMSG, 2, "no domain name"},
                {"[protect]\nprefix = 192.0.2.1/24\n", -EBADMSG, 2, "no address prefix"},
                {"[protect]\nhost = a\n", -EBADMSG, 2, "unknown key"},
                {"[browser]\nmanage = maybe\n", -EBADMSG, 2, "yes or no"},
                {"[browser]\nmanage = no\nmanage = no\n", -ENOTUNIQ, 3, "given twice"},
                {"[browser]\nroot = x\n", -EBADMSG, 2, "not an absolute path"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct config *c = NULL;
                struct diag d = {0};

                print_message("%s", table[i].text);
                assert_int_equal(config_parse(table[i].text, strlen(table[i].text), "agent.ini", &c, &d), table[i].r);
                assert_null(c);
                assert_int_equal(d.line, table[i].line);
                assert_string_equal(d.file, "agent.ini");
                assert_non_null(strstr(d.text, table[i].says));
        }
}

static void test_url_host(void **state)
{
        static const struct {
                const char *url, *host;
        } table[] = {
                {"https://a.example", "a.example"},
                {"https://a.example:1/x", "a.example"},
                {"https://192.0.2.1:8443", "192.0.2.1"},
                {"https://[2001:db8::1]:8443", "2001:db8::1"},
                {"https://[::1]", "::1"},
                {"https://", NULL},
                {"https://:1", NULL},
                {"https://[::1]x", NULL},
                {"ftp://a", NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_free_ char *host = NULL;

                assert_int_equal(config_url_host(table[i].url, &host), table[i].host ? 0 : -EINVAL);
                if (table[i].host)
                        assert_string_equal(host, table[i].host);
        }
}

/* Whatever becomes of the file, as long as the line that says where the other one is can be read. */
static void test_kept(void **state)
{
        static const struct {
                const char *before, *behind;
        } broken[] = {{"[agent\n", "\n"}, {"", "\nwhat\n"}, {"[agent]\n", "\nheartbeat = never\n"}};
        char dir[] = "/tmp/test-kept-XXXXXX", ini[64], good[128], line[64], text[256];
        _cleanup_config_ struct config *c = NULL;

        assert_non_null(mkdtemp(dir));
        snprintf(ini, sizeof(ini), "%s/ini", dir);
        snprintf(line, sizeof(line), "state = %s", dir);
        snprintf(good, sizeof(good), "[agent]\n%s\nheartbeat = 7\n", line);
        assert_int_equal(file_write_atomic(ini, good, strlen(good), 0600), 0);
        assert_int_equal(config_load(ini, &c, NULL), 0);
        assert_int_equal(config_keep(c), 1);
        assert_int_equal(config_keep(c), 0);
        for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
                _cleanup_config_ struct config *none = NULL, *kept = NULL;

                snprintf(text, sizeof(text), "%s%s%s", broken[i].before, line, broken[i].behind);
                assert_int_equal(file_write_atomic(ini, text, strlen(text), 0600), 0);
                assert_true(config_load(ini, &none, NULL) < 0);
                assert_int_equal(config_load_kept(ini, &kept, NULL), 0);
                assert_int_equal(kept->heartbeat, 7);
        }
        unlink(ini);
        snprintf(text, sizeof(text), "%s/" CONFIG_KEPT, dir);
        assert_int_equal(unlink(text), 0);
        assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults), cmocka_unit_test(test_values), cmocka_unit_test(test_refused),
                cmocka_unit_test(test_url_host), cmocka_unit_test(test_kept),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
