/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nftables table: the bytes of a transaction, and in a network
 * namespace of its own (root only) what the kernel makes of them. */
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <sys/wait.h>
#include "agent/enforce/txn.h"
#include "base/io.h"
#include "base/text.h"
#include "nft-fixture.h"

#define GOLDEN_MAX (1u << 20)

/* ---- golden files ---- */

/* Equal to the file, or with ONCHANNEL_GOLDEN=write replaces it. */
static void assert_golden(const char *name, const char *text)
{
        _cleanup_free_ char *path = format_new("%s/tests/unit/golden/%s", getenv("ONCHANNEL_SOURCE"), name);
        _cleanup_free_ char *expected = NULL;
        const char *mode = getenv("ONCHANNEL_GOLDEN");
        size_t size;

        assert_non_null(path);
        if (mode && strcmp(mode, "write") == 0)
                assert_int_equal(file_write_atomic(path, text, strlen(text), 0644), 0);
        assert_int_equal(file_read(path, GOLDEN_MAX, &expected, &size), 0);
        assert_string_equal(text, expected);
}

static void test_encode(void **state)
{
        struct ruleset rules = small_ruleset();
        _cleanup_free_ uint8_t *data = NULL, *again = NULL;
        _cleanup_buf_ struct buf text = {};
        size_t size, size_again;
        struct diag d = {};

        if (htons(1) == 1)
                skip(); /* netlink is in host byte order, the golden file in little endian */
        assert_int_equal(nft_encode(&options, &rules, &data, &size, &d), 0);
        assert_int_equal(nft_encode(&options, &rules, &again, &size_again, &d), 0);
        assert_int_equal(size, size_again);
        assert_memory_equal(data, again, size);
        for (size_t at = 0; at < size;) {
                const struct nlmsghdr *nlh = (void *)(data + at);
                char hex[2048];

                assert_in_range(nlh->nlmsg_len, sizeof(*nlh), sizeof(hex) / 2 - 1);
                hex_encode(data + at, nlh->nlmsg_len, hex);
                buf_addf(&text, "%s\n", hex);
                at += MNL_ALIGN(nlh->nlmsg_len);
        }
        assert_int_equal(buf_error(&text), 0);
        assert_golden("nft-small.hex", (char *)text.data);
}

static void test_encode_limits(void **state)
{
        const struct nft_options narrow = {.table = "onchannel", .mark_mask = 0x30}, none = {.table = "onchannel"};
        struct ruleset rules = small_ruleset();
        uint8_t *data = NULL;
        size_t size;
        struct diag d = {};

        assert_int_equal(nft_encode(&narrow, &rules, &data, &size, &d), -E2BIG);
        assert_string_equal(d.text, "6 channels do not fit the mark mask 0x00000030");
        assert_int_equal(nft_encode(&none, &rules, &data, &size, &d), -E2BIG);
        assert_null(data);
}

/* 500 elements an operation, however many there are, and one acknowledgement only. */
static void test_encode_chunks(void **state)
{
        enum { N = 1700 };
        struct ruleset rules = small_ruleset();
        _cleanup_free_ struct rule_entry *many = calloc(N + 1, sizeof(*many));
        _cleanup_free_ uint8_t *data = NULL;
        size_t size, n_messages = 0, n_acks = 0;
        struct diag d = {};

        assert_non_null(many);
        for (unsigned i = 1; i <= N; i++)
                many[i] = (struct rule_entry){.kind = ENTRY_PREFIX,
                                              .channel = TELEGRAM,
                                              .prefix = {AF_INET, 32, {10, (uint8_t)(i >> 7), (uint8_t)(i << 1), 1}}};
        rules.entries = many;
        rules.n_entries = N + 1;
        assert_int_equal(nft_encode(&options, &rules, &data, &size, &d), 0);
        for (size_t at = 0; at < size;) {
                const struct nlmsghdr *nlh = (void *)(data + at);

                n_messages += (nlh->nlmsg_type & 0xff) == NFT_MSG_NEWSETELEM && nlh->nlmsg_len > 4000;
                n_acks += !!(nlh->nlmsg_flags & NLM_F_ACK);
                assert_in_range(nlh->nlmsg_len, sizeof(*nlh), TXN_MESSAGE_MAX);
                at += MNL_ALIGN(nlh->nlmsg_len);
        }
        assert_int_equal(n_messages, (2 * N + TXN_ELEMENTS_MAX - 1) / TXN_ELEMENTS_MAX);
        assert_int_equal(n_acks, 1);
}

static void test_listing(void **state)
{
        struct ruleset rules = small_ruleset();
        _cleanup_free_ char *text = NULL, *empty = NULL;
        struct nft *n = NULL;

        NEEDS_ROOT();
        if (access("/usr/sbin/nft", X_OK) < 0) {
                print_message("skipped: the nft program is not installed\n");
                skip();
        }
        assert_int_equal(nft_new(&options, &n), 0);
        apply(n, &rules);
        apply(n, &rules); /* replaces itself */
        text = run("nft -s list table inet onchannel");
        assert_golden("nft-small.nft", text);
        free(run("nft -s list table inet onchannel | nft -c -f -")); /* what is saved can be loaded */
        assert_int_equal(nft_remove(n), 0);
        assert_int_equal(nft_remove(n), 0);
        empty = run("nft list ruleset");
        assert_string_equal(empty, "");
        n = nft_free(n);
}

static bool changed(struct nft *n)
{
        bool r = false;

        assert_int_equal(nft_monitor_read(n, &r), 0);
        return r;
}

static void test_hash(void **state)
{
        struct ruleset rules = small_ruleset();
        struct nft *n = NULL;
        struct fact_flow flow = {.family = AF_INET, .protocol = IPPROTO_TCP, .local = {1}, .remote = {2}};
        char first[65], hash[65];

        NEEDS_ROOT();
        assert_int_equal(nft_new(&with_flows, &n), 0);
        assert_int_equal(nft_hash(n, hash), -ENOENT);
        apply(n, &rules);
        assert_int_equal(nft_hash(n, first), 0);
        assert_int_equal(strlen(first), 64);
        apply(n, &rules); /* other handles, other hash seeds */
        (void)try_datagram(TELEGRAM << 20, 0); /* counters */
        assert_int_equal(nft_add_flow(n, &flow), 0);
        free(run("nft add table inet other"));
        assert_int_equal(nft_hash(n, hash), 0);
        assert_string_equal(hash, first);

        static const char *const changes[] = {
                "nft delete element inet onchannel $(current prefix4) '{ 127.20.0.0-127.20.6.255 }'",
                "nft add element inet onchannel $(current exempt_3) '{ 7 }'",
                "nft insert rule inet onchannel output accept",
                "nft flush chain inet onchannel channel-telegram",
                "nft add chain inet onchannel x",
                "nft chain inet onchannel output '{ policy drop; }'",
        };
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                apply(n, &rules);
                assert_int_equal(nft_hash(n, hash), 0);
                assert_string_equal(hash, first);
                free(run(changes[i]));
                assert_int_equal(nft_hash(n, hash), 0);
                assert_string_not_equal(hash, first);
        }
        rules.quic = QUIC_INSPECT;
        apply(n, &rules);
        assert_int_equal(nft_hash(n, hash), 0);
        assert_string_not_equal(hash, first);
        n = nft_free(n);
}

/* Handles of the table and of the map of prefixes: which of them were made anew? */
struct handles {
        unsigned long table;
        unsigned long map;
};

static struct handles read_handles(void)
{
        _cleanup_free_ char *text = run("nft -a list table inet onchannel");
        const char *table = strstr(text, "handle "), *map = strstr(text, "map prefix4");

        assert_true(table && map);
        map = strstr(map, "handle ");
        assert_non_null(map);
        return (struct handles){strtoul(table + strlen("handle "), NULL, 10),
                                strtoul(map + strlen("handle "), NULL, 10)};
}

static void assert_hash(struct nft *n, const char *expected)
{
        char hash[65];

        assert_int_equal(nft_hash(n, hash), 0);
        assert_string_equal(hash, expected);
}

/* A policy changes the rules of the table that is there; the result is the same as a new table. */
static void test_policy(void **state)
{
        static const struct {
                enum policy_mode mode;
                enum quic_mode quic;
                enum verdict telegram;
                size_t n_exemptions;
        } policies[] = {
                {POLICY_MODE_ENFORCE, QUIC_BLOCK, VERDICT_BLOCK, ELEMENTSOF(exemptions)},
                {POLICY_MODE_ENFORCE, QUIC_INSPECT, VERDICT_ALLOW, 0},
                {POLICY_MODE_ENFORCE, QUIC_BLOCK, VERDICT_BLOCK, 2},
                {POLICY_MODE_MONITOR, QUIC_BLOCK, VERDICT_BLOCK, ELEMENTSOF(exemptions)},
        };
        char expected[ELEMENTSOF(policies)][65];
        struct ruleset rules = small_ruleset();
        struct nft *n = NULL;

        NEEDS_ROOT();
        assert_int_equal(nft_new(&with_flows, &n), 0);
        for (size_t i = 0; i < 2 * ELEMENTSOF(policies) * ELEMENTSOF(policies); i++) {
                size_t p = i % ELEMENTSOF(policies), round = i / ELEMENTSOF(policies);
                struct handles before = {}, after;

                if (i % 2 && round > 0)
                        p = round % ELEMENTSOF(policies); /* from each to each */
                rules.mode = policies[p].mode;
                rules.quic = policies[p].quic;
                rules.channels[TELEGRAM].verdict = policies[p].telegram;
                rules.n_exemptions = policies[p].n_exemptions;
                if (round == 0)
                        assert_int_equal(nft_remove(n), 0);
                else
                        before = read_handles();
                apply(n, &rules);
                after = read_handles();
                assert_true(round == 0 || (before.table == after.table && before.map == after.map));
                if (round == 0)
                        assert_int_equal(nft_hash(n, expected[p]), 0);
                assert_hash(n, expected[p]);
        }
        rules.channels[TELEGRAM].verdict = VERDICT_BLOCK;
        n = nft_free(n);
}

/* Who touches the table, or brings another catalogue, gets new maps, beside the old ones first. */
static void test_touched(void **state)
{
        enum { RULES, MAPS, TABLE };
        static const struct {
                const char *command;
                bool has_monitor;
                int made_anew;
        } cases[] = {
                {"true", false, RULES},
                {"nft add table inet other", false, MAPS}, /* without a monitor it might have been ours */
                {"nft add chain inet onchannel x", false, MAPS},
                {"nft add chain inet onchannel x '{ type filter hook output priority 0; policy drop; }'", false,
                 MAPS},
                {"nft add set inet onchannel x-1 '{ type mark; }'; nft add set inet onchannel channels-9 '{ type "
                 "mark; }'",
                 false, MAPS},
                {"nft chain inet onchannel output '{ policy drop; }'", false, MAPS},
                {"nft add table inet onchannel '{ flags dormant; }'", false, MAPS},
                {"nft delete table inet onchannel; nft add table inet onchannel; nft add chain inet onchannel output",
                 false, TABLE},
                {"true", true, RULES},
                {"nft add table inet third; nft delete table inet third", true, MAPS}, /* not read yet */
                {"nft delete rule inet onchannel channel-telegram handle "
                 "$(nft -a list chain inet onchannel channel-telegram | grep -o 'handle [0-9]*$' | tail -1 | cut "
                 "-c8-)",
                 true, MAPS},
                {"nft delete table inet onchannel", true, TABLE},
        };
        struct ruleset rules = small_ruleset();
        struct handles before, after;
        struct nft *n = NULL;
        char expected[65];
        bool r;

        NEEDS_ROOT();
        assert_int_equal(nft_new(&options, &n), 0);
        apply(n, &rules);
        assert_int_equal(nft_hash(n, expected), 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {

                if (cases[i].has_monitor)
                        assert_true(nft_monitor_fd(n) >= 0);
                before = read_handles();
                free(run(cases[i].command));
                apply(n, &rules);
                after = read_handles();
                if ((before.map != after.map) + (before.table != after.table) != cases[i].made_anew)
                        print_error("after '%s'\n", cases[i].command);
                assert_int_equal((before.map != after.map) + (before.table != after.table), cases[i].made_anew);
                assert_hash(n, expected);
                r = false;
                if (cases[i].has_monitor) /* tampering is still told */
                        assert_int_equal(nft_monitor_read(n, &r), 0);
                if (r != (cases[i].has_monitor && strstr(cases[i].command, "onchannel")))
                        print_error("after %s\n", cases[i].command);
                assert_int_equal(r, cases[i].has_monitor && strstr(cases[i].command, "onchannel"));
                if (r)
                        apply(n, &rules);
        }
        n = nft_free(n);
}

/* Another firewall next to us costs nothing; another catalogue leaves nothing of the one before. */
static void test_neighbours(void **state)
{
        struct ruleset rules = small_ruleset();
        struct handles before, after;
        struct nft *n = NULL;
        char expected[65];
        bool r;

        NEEDS_ROOT();
        assert_int_equal(nft_new(&options, &n), 0);
        rules.n_entries -= 2;
        rules.n_channels--;
        apply(n, &rules);
        assert_int_equal(nft_hash(n, expected), 0);
        rules = small_ruleset();
        before = read_handles();
        apply(n, &rules);
        after = read_handles();
        assert_true(before.map != after.map && before.table == after.table);
        rules.n_entries -= 2;
        rules.n_channels--;
        apply(n, &rules);
        assert_hash(n, expected);

        assert_true(nft_monitor_fd(n) >= 0);
        for (int i = 0; i < 2; i++) {
                free(run(i ? "nft delete table ip other" : "nft add table ip other"));
                assert_int_equal(nft_monitor_read(n, &r), 0);
                before = read_handles();
                apply(n, &rules);
                after = read_handles();
                assert_true(before.map == after.map && before.table == after.table);
        }
        n = nft_free(n);
}

static void test_monitor(void **state)
{
        static const struct {
                const char *command;
                bool is_ours;
        } cases[] = {
                {"nft add table inet other", false},
                {"nft add table ip onchannel", false},
                {"nft add chain inet onchannel x", true},
                {"nft add element inet onchannel $(current exempt_3) '{ 7 }'", true},
                {"nft delete table inet other", false},
                {"nft flush ruleset", true},
        };
        struct ruleset rules = small_ruleset();
        struct fact_flow flow = {.family = AF_INET6, .protocol = IPPROTO_UDP, .local = {1}, .remote = {2}};
        struct nft *n = NULL;
        struct pollfd p = {.events = POLLIN};

        NEEDS_ROOT();
        assert_int_equal(nft_new(&with_flows, &n), 0);
        p.fd = nft_monitor_fd(n);
        assert_true(p.fd >= 0);
        assert_int_equal(nft_monitor_fd(n), p.fd);
        for (int i = 0; i < 100; i++)
                apply(n, &rules);
        assert_int_equal(nft_add_flow(n, &flow), 0);
        assert_int_equal(poll(&p, 1, 0), 0); /* our own changes do not even wake us */
        assert_false(changed(n));
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {

                free(run(cases[i].command));
                assert_int_equal(poll(&p, 1, 0), 1);
                assert_int_equal(changed(n), cases[i].is_ours);
                assert_false(changed(n));
        }
        n = nft_free(n);
}

static void test_errors(void **state)
{
        _cleanup_txn_ struct txn t = {}, dead = {};
        struct ruleset rules = small_ruleset();
        struct mnl_socket *s;
        struct nlmsghdr *nlh;
        struct nft *n = NULL;
        struct diag d = {};
        char reason[256] = "";

        NEEDS_ROOT();
        assert_int_equal(nft_check(reason, sizeof(reason)), 0);
        s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
        assert_non_null(s);
        assert_int_equal(mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID), 0);
        assert_int_equal(txn_begin(&t, 7), 0);
        mnl_attr_put_strz(txn_add(&t, NFT_MSG_NEWTABLE, NLM_F_CREATE), NFTA_TABLE_NAME, "onchannel");
        nlh = txn_add(&t, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
        mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, "onchannel");
        mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, "prefix4");
        mnl_attr_nest_end(nlh, mnl_attr_nest_start(nlh, NFTA_SET_ELEM_LIST_ELEMENTS));
        assert_int_equal(txn_commit(&t, s, &d), -ENOENT);
        assert_string_equal(d.text,
                            "cannot add set element to 'prefix4': No such file or directory (operation 2 of 2)");

        assert_int_equal(txn_begin(&dead, 100), 0);
        txn_fail(&dead, -ENOMEM);
        mnl_attr_put_strz(txn_add(&dead, NFT_MSG_NEWTABLE, NLM_F_CREATE), NFTA_TABLE_NAME, "x");
        assert_int_equal(txn_commit(&dead, s, &d), -ENOMEM);
        mnl_socket_close(s);

        /* without the capability: one sentence, and the kernel's refusal of a transaction */
        assert_int_equal(nft_new(&options, &n), 0);
        if (fork() == 0) {
                if (setresuid(65534, 65534, 65534) < 0 || nft_check(reason, sizeof(reason)) != -EPERM ||
                    !strstr(reason, "CAP_NET_ADMIN") || nft_apply(n, &rules, &d) != -EPERM)
                        _exit(1);
                _exit(0);
        }
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
        n = nft_free(n);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_encode),
                cmocka_unit_test(test_encode_limits),
                cmocka_unit_test(test_encode_chunks),
                cmocka_unit_test_setup(test_listing, own_namespace),
                cmocka_unit_test_setup(test_hash, own_namespace),
                cmocka_unit_test_setup(test_policy, own_namespace),
                cmocka_unit_test_setup(test_touched, own_namespace),
                cmocka_unit_test_setup(test_neighbours, own_namespace),
                cmocka_unit_test_setup(test_monitor, own_namespace),
                cmocka_unit_test_setup(test_errors, own_namespace),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
