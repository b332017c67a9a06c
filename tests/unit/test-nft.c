/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nftables table: flattening of prefixes, the bytes of a transaction, and in a network
 * namespace of its own (root only) what the kernel makes of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "agent/enforce/nft.h"
#include "agent/enforce/ranges.h"
#include "agent/enforce/sockdestroy.h"
#include "agent/enforce/txn.h"
#include "base/buf.h"
#include "base/io.h"
#include "base/text.h"

#define GOLDEN_MAX (1u << 20)

static const struct nft_options options = { .table = "onchannel", .mark_mask = 0x3ff00000 };

/* ---- a rule set by hand ---- */

enum { TELEGRAM = 1, SLACK, WHATSAPP, DISCORD, TEAMS, N_CHANNELS };

static struct rule_channel channels[N_CHANNELS] = {
        [TELEGRAM] = { .id = "telegram", .verdict = VERDICT_BLOCK },
        [SLACK] = { .id = "slack", .verdict = VERDICT_ALLOW },
        [WHATSAPP] = { .id = "whatsapp", .verdict = VERDICT_BLOCK },
        [DISCORD] = { .id = "discord", .verdict = VERDICT_ALLOW },
        [TEAMS] = { .id = "teams", .verdict = VERDICT_WATCH },
};
static struct rule_exemption exemptions[] = {
        { .channel = WHATSAPP, .uid = 1000, .verdict = VERDICT_ALLOW },
        { .channel = WHATSAPP, .uid = 1001, .verdict = VERDICT_WATCH },
        { .channel = WHATSAPP, .uid = 1002, .verdict = VERDICT_BLOCK },
        { .channel = DISCORD, .uid = 1003, .verdict = VERDICT_WATCH },
        { .channel = DISCORD, .uid = 65534, .verdict = VERDICT_BLOCK },
        { .channel = TEAMS, .uid = 1003, .verdict = VERDICT_ALLOW },
};
static struct rule_entry entries[32];

static struct ruleset small_ruleset(void)
{
        static const struct {
                uint16_t channel;
                const char *prefix;
        } prefixes[] = {
                { TELEGRAM, "127.20.0.0/16" },  { SLACK, "127.20.7.0/24" },       { WHATSAPP, "127.20.7.128/25" },
                { WHATSAPP, "127.30.0.0/24" },  { WHATSAPP, "127.30.1.0/24" },    { DISCORD, "127.40.0.0/16" },
                { TEAMS, "127.50.0.0/16" },     { TELEGRAM, "255.255.255.0/24" }, { TELEGRAM, "2001:db8:1::/48" },
                { SLACK, "2001:db8:1:2::/64" }, { WHATSAPP, "2001:db8:2::1" },
        };
        struct ruleset r = { .channels = channels, .n_channels = N_CHANNELS, .entries = entries, .n_entries = 1,
                             .exemptions = exemptions, .n_exemptions = ELEMENTSOF(exemptions),
                             .mode = POLICY_MODE_ENFORCE, .quic = QUIC_BLOCK, .policy_serial = 1 };

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                struct rule_entry *e = &entries[r.n_entries++];

                *e = (struct rule_entry){ .kind = ENTRY_PREFIX, .channel = prefixes[i].channel };
                assert_int_equal(prefix_parse(prefixes[i].prefix, &e->prefix), 0);
        }
        return r;
}

/* ---- prefixes to ranges ---- */

static const char *format_ranges(const struct range *ranges, size_t n, int family)
{
        static struct buf b;
        char first[INET6_ADDRSTRLEN], last[INET6_ADDRSTRLEN];

        buf_done(&b);
        b = (struct buf){};
        buf_add_string(&b, "");
        for (size_t i = 0; i < n; i++)
                buf_addf(&b, "%s%s-%s=%u", i ? " " : "", inet_ntop(family, ranges[i].first, first, sizeof(first)),
                         inet_ntop(family, ranges[i].last, last, sizeof(last)), ranges[i].target);
        assert_int_equal(buf_error(&b), 0);
        return b.data ? (char *)b.data : "";
}

static void test_ranges(void **state)
{
        static const struct {
                int family;
                const char *prefixes; /* "prefix=target …" */
                const char *ranges;
        } cases[] = {
                { AF_INET, "", "" },
                { AF_INET, "10.0.0.0/8=1", "10.0.0.0-10.255.255.255=1" },
                { AF_INET, "2001:db8::/32=1", "" },
                { AF_INET, "10.0.0.0/8=0", "" },
                { AF_INET, "10.0.0.0/8=1 10.1.0.0/16=0", "10.0.0.0-10.0.255.255=1 10.2.0.0-10.255.255.255=1" },
                { AF_INET, "10.1.0.0/16=2 10.0.0.0/8=1",
                  "10.0.0.0-10.0.255.255=1 10.1.0.0-10.1.255.255=2 10.2.0.0-10.255.255.255=1" },
                { AF_INET, "10.0.0.0/8=1 10.0.0.0/16=2", "10.0.0.0-10.0.255.255=2 10.1.0.0-10.255.255.255=1" },
                { AF_INET, "10.0.0.0/8=1 10.255.0.0/16=2", "10.0.0.0-10.254.255.255=1 10.255.0.0-10.255.255.255=2" },
                { AF_INET, "10.0.0.0/8=1 10.1.0.0/16=1", "10.0.0.0-10.255.255.255=1" },
                { AF_INET, "10.0.0.0/9=1 10.128.0.0/9=1", "10.0.0.0-10.255.255.255=1" },
                { AF_INET, "10.0.0.0/9=1 10.128.0.0/9=2", "10.0.0.0-10.127.255.255=1 10.128.0.0-10.255.255.255=2" },
                { AF_INET, "10.0.0.0/8=3 10.0.0.0/8=4", "10.0.0.0-10.255.255.255=3" },
                { AF_INET, "10.0.0.0/8=0 10.0.0.0/8=4", "" },
                { AF_INET, "10.0.0.0/8=1 10.1.0.0/16=0 10.1.2.0/24=3 10.1.2.3/32=0",
                  "10.0.0.0-10.0.255.255=1 10.1.2.0-10.1.2.2=3 10.1.2.4-10.1.2.255=3 10.2.0.0-10.255.255.255=1" },
                { AF_INET, "0.0.0.0/0=1", "0.0.0.0-255.255.255.255=1" },
                { AF_INET, "0.0.0.0/0=1 255.255.255.255/32=2",
                  "0.0.0.0-255.255.255.254=1 255.255.255.255-255.255.255.255=2" },
                { AF_INET6, "::/0=1", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff=1" },
                { AF_INET6, "::/0=1 8000::/1=2 ffff::/16=3 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128=4",
                  "::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff=1 8000::-fffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff=2 "
                  "ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe=3 "
                  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff=4" },
                { AF_INET6, "2001:db8::/32=1 10.0.0.0/8=2 2001:db8::1/128=2",
                  "2001:db8::-2001:db8::=1 2001:db8::1-2001:db8::1=2 "
                  "2001:db8::2-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff=1" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct prefix prefixes[8];
                struct range_prefix input[8];
                _cleanup_free_ struct range *ranges = NULL;
                _cleanup_free_ char *text = strdup(cases[i].prefixes);
                size_t n = 0, n_ranges = 99;
                char *save = NULL;

                for (char *p = strtok_r(text, " ", &save); p; p = strtok_r(NULL, " ", &save), n++) {
                        char *equals = strchr(p, '=');

                        *equals = '\0';
                        assert_int_equal(prefix_parse(p, &prefixes[n]), 0);
                        input[n] = (struct range_prefix){ &prefixes[n], (uint16_t)atoi(equals + 1) };
                }
                assert_int_equal(ranges_flatten(input, n, cases[i].family, &ranges, &n_ranges), 0);
                assert_string_equal(format_ranges(ranges, n_ranges, cases[i].family), cases[i].ranges);
        }
}

/* Against the obvious definition: for random nested prefixes each address has the target of
 * the longest prefix that contains it. */
static void test_ranges_longest_prefix(void **state)
{
        uint32_t random = 1;

        for (int round = 0; round < 500; round++) {
                struct prefix prefixes[24];
                struct range_prefix input[24];
                _cleanup_free_ struct range *ranges = NULL;
                size_t n_ranges;

                for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                        unsigned length, address;

                        random = random * 1664525 + 1013904223;
                        length = 24 + (random >> 8) % 9;
                        address = (random >> 16) & 0xff & ~(0xffu >> (length - 24));
                        prefixes[i] = (struct prefix){ AF_INET, (uint8_t)length, { 10, 0, 0, (uint8_t)address } };
                        input[i] = (struct range_prefix){ &prefixes[i], (random >> 4) % 4 };
                }
                assert_int_equal(ranges_flatten(input, ELEMENTSOF(input), AF_INET, &ranges, &n_ranges), 0);
                for (unsigned a = 0; a < 256; a++) {
                        const struct prefix host = { AF_INET, 32, { 10, 0, 0, (uint8_t)a } };
                        unsigned expected = 0, got = 0, best = 0;

                        for (size_t i = 0; i < ELEMENTSOF(input); i++) /* sorted: of equals the first */
                                if (prefix_contains(input[i].prefix, &host) && input[i].prefix->length > best) {
                                        best = input[i].prefix->length;
                                        expected = input[i].target;
                                }
                        for (size_t i = 0; i < n_ranges; i++)
                                if (a >= ranges[i].first[3] && a <= ranges[i].last[3])
                                        got = ranges[i].target;
                        assert_int_equal(got, expected);
                }
        }
}

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
        const struct nft_options narrow = { .table = "onchannel", .mark_mask = 0x30 }, none = { .table = "onchannel" };
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
                many[i] = (struct rule_entry){
                        .kind = ENTRY_PREFIX, .channel = TELEGRAM,
                        .prefix = { AF_INET, 32, { 10, (uint8_t)(i >> 7), (uint8_t)(i << 1), 1 } } };
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

/* ---- the live table, in a network namespace of its own ---- */

static int own_namespace(void **state)
{
        struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
        _cleanup_fd_ int fd = -1;

        if (geteuid() != 0)
                return 0;
        if (unshare(CLONE_NEWNET) < 0)
                return -1;
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        return ioctl(fd, SIOCSIFFLAGS, &lo);
}

#define NEEDS_ROOT()                                                            \
        do {                                                                    \
                if (geteuid() != 0) {                                           \
                        print_message("skipped: needs root for a namespace\n"); \
                        skip();                                                 \
                }                                                               \
        } while (0)

static char *run(const char *command)
{
        _cleanup_file_ FILE *f = popen(command, "re");
        struct buf b = {};
        char chunk[4096];
        size_t n;

        assert_non_null(f);
        while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
                buf_add(&b, chunk, n);
        assert_int_equal(buf_error(&b), 0);
        assert_int_equal(pclose(TAKE_PTR(f)), 0);
        return b.data ? buf_take(&b) : strdup("");
}

static void apply(struct nft *n, const struct ruleset *rules)
{
        struct diag d = {};
        int r = nft_apply(n, rules, &d);

        if (r < 0)
                print_error("%s\n", d.text);
        assert_int_equal(r, 0);
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
        text = run("/usr/sbin/nft -s list table inet onchannel");
        assert_golden("nft-small.nft", text);
        assert_int_equal(nft_remove(n), 0);
        assert_int_equal(nft_remove(n), 0);
        empty = run("/usr/sbin/nft list ruleset");
        assert_string_equal(empty, "");
        n = nft_free(n);
}

/* Connect from a child with this uid: 0 or errno. */
static int try_connect(const char *address, uid_t uid)
{
        const struct sockaddr_in6 from6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
        struct sockaddr_in to = { .sin_family = AF_INET };
        bool is_6 = strchr(address, ':');
        _cleanup_fd_ int server = socket(is_6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t size = is_6 ? sizeof(to6) : sizeof(to);
        struct sockaddr *sa = is_6 ? (struct sockaddr *)&to6 : (struct sockaddr *)&to;
        int status;
        pid_t pid;

        assert_int_equal(inet_pton(is_6 ? AF_INET6 : AF_INET, address, is_6 ? (void *)&to6.sin6_addr : (void *)&to.sin_addr), 1);
        assert_int_equal(bind(server, sa, size), 0);
        assert_int_equal(listen(server, 8), 0);
        assert_int_equal(getsockname(server, sa, &size), 0);
        pid = fork();
        if (pid == 0) {
                int fd;

                alarm(5);
                if (setresuid(uid, uid, uid) < 0)
                        _exit(255);
                fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0); /* belongs to its maker's fsuid */
                /* not from a blocked address: the reset would be for one */
                if (is_6 && bind(fd, (struct sockaddr *)&from6, sizeof(from6)) < 0)
                        _exit(255);
                _exit(connect(fd, sa, size) < 0 ? errno : 0);
        }
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void test_verdicts(void **state)
{
        static const struct {
                const char *address;
                uid_t uid;
                int expected;
        } cases[] = {
                { "127.20.0.1", 0, ECONNREFUSED }, /* telegram */
                { "127.20.0.1", 1000, ECONNREFUSED },
                { "127.20.7.1", 0, 0 }, /* slack inside telegram's prefix */
                { "127.20.7.127", 0, 0 },
                { "127.20.7.128", 0, ECONNREFUSED }, /* whatsapp inside slack's */
                { "127.20.7.128", 1000, 0 }, /* exempt */
                { "127.20.8.0", 1000, ECONNREFUSED }, /* telegram again */
                { "127.21.0.0", 0, 0 }, /* one outside */
                { "127.19.255.255", 0, 0 },
                { "127.30.0.255", 0, ECONNREFUSED }, /* whatsapp */
                { "127.30.1.0", 0, ECONNREFUSED },
                { "127.30.1.0", 1001, 0 }, /* watched, not blocked */
                { "127.30.1.0", 1002, ECONNREFUSED },
                { "127.40.0.1", 0, 0 }, /* discord is blocked for one only */
                { "127.40.0.1", 65534, ECONNREFUSED },
                { "127.40.0.1", 1003, 0 },
                { "127.50.0.1", 0, 0 }, /* teams is watched */
                { "2001:db8:1::1", 1000, ECONNREFUSED }, /* telegram */
                { "2001:db8:1:2::1", 0, 0 }, /* slack */
                { "2001:db8:2::1", 0, ECONNREFUSED }, /* whatsapp */
                { "2001:db8:2::1", 1000, 0 },
                { "::1", 0, 0 },
        };
        struct ruleset rules = small_ruleset();
        struct nft *n = NULL;

        NEEDS_ROOT();
        free(run("for a in 1::1 1:2::1 2::1; do ip address add 2001:db8:$a/128 dev lo nodad; done"));
        assert_int_equal(nft_new(&options, &n), 0);
        apply(n, &rules);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                int got = try_connect(cases[i].address, cases[i].uid);

                if (got != cases[i].expected)
                        print_error("%s for uid %u: %s\n", cases[i].address, cases[i].uid, strerror(got));
                assert_int_equal(got, cases[i].expected);
        }
        rules.mode = POLICY_MODE_MONITOR;
        apply(n, &rules);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_int_equal(try_connect(cases[i].address, cases[i].uid), 0);
        n = nft_free(n);
}

/* A UDP datagram with this mark to this port: 0, or the errno of the rejected send(). */
static int try_datagram(uint32_t mark, uint16_t port)
{
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_fd_ int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        _cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(to);
        struct pollfd p = { .fd = server, .events = POLLIN };

        to.sin_port = htons(port);
        assert_int_equal(bind(server, (struct sockaddr *)&to, size), 0);
        assert_int_equal(getsockname(server, (struct sockaddr *)&to, &size), 0);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&to, size), 0);
        if (send(fd, "x", 1, 0) < 0)
                return errno;
        assert_int_equal(poll(&p, 1, 5000), 1);
        return 0;
}

static void test_marks(void **state)
{
        static const struct {
                uint32_t mark;
                uint16_t port;
                int expected;
        } cases[] = {
                { 0, 0, 0 },
                { TELEGRAM << 20, 0, EPERM },
                { TELEGRAM << 20 | 0xc00fffff, 0, EPERM }, /* other programs' bits are ignored */
                { SLACK << 20, 0, 0 },
                { TEAMS << 20, 0, 0 },
                { 0x3ff00000, 0, 0 },
                { 0, 443, EPERM }, /* quic = block */
                { SLACK << 20, 443, EPERM },
        };
        struct ruleset rules = small_ruleset();
        struct nft *n = NULL;

        NEEDS_ROOT();
        assert_int_equal(nft_new(&options, &n), 0);
        apply(n, &rules);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                int got = try_datagram(cases[i].mark, cases[i].port);

                if (got != cases[i].expected)
                        print_error("mark 0x%08x port %u: %s\n", cases[i].mark, cases[i].port, strerror(got));
                assert_int_equal(got, cases[i].expected);
        }
        rules.quic = QUIC_INSPECT;
        apply(n, &rules);
        assert_int_equal(try_datagram(0, 443), 0);
        n = nft_free(n);
}

struct connection {
        int client;
        int server;
        struct fact_flow flow;
};

static struct connection connect_pair(void)
{
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_fd_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct connection c = { .flow = { .family = AF_INET, .protocol = IPPROTO_TCP } };
        socklen_t size = sizeof(to);

        assert_int_equal(bind(listener, (struct sockaddr *)&to, size), 0);
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&to, &size), 0);
        c.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(c.client, (struct sockaddr *)&to, size), 0);
        c.server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(c.server >= 0);
        memcpy(c.flow.remote, &to.sin_addr, 4);
        c.flow.remote_port = ntohs(to.sin_port);
        assert_int_equal(getsockname(c.client, (struct sockaddr *)&to, &size), 0);
        memcpy(c.flow.local, &to.sin_addr, 4);
        c.flow.local_port = ntohs(to.sin_port);
        size = sizeof(c.flow.cookie);
        assert_int_equal(getsockopt(c.client, SOL_SOCKET, SO_COOKIE, &c.flow.cookie, &size), 0);
        assert_int_equal(getsockopt(c.client, SOL_SOCKET, SO_NETNS_COOKIE, &c.flow.netns, &size), 0);
        return c;
}

static void connection_close(struct connection *c)
{
        fd_close(&c->client);
        fd_close(&c->server);
}

/* errno of a read that must end within 5 s. */
static int read_error(int fd)
{
        struct pollfd p = { .fd = fd, .events = POLLIN };
        char byte;

        assert_int_equal(poll(&p, 1, 5000), 1);
        return read(fd, &byte, 1) < 0 ? errno : 0;
}

static void test_flow(void **state)
{
        struct ruleset rules = small_ruleset();
        struct connection c, other;
        struct nft *n = NULL;
        char byte;

        NEEDS_ROOT();
        assert_int_equal(nft_new(&options, &n), 0);
        c = connect_pair();
        other = connect_pair();
        assert_int_equal(nft_add_flow(n, &c.flow), -ENOENT); /* no table yet */
        apply(n, &rules);
        assert_int_equal(nft_add_flow(n, &c.flow), 0);
        assert_int_equal(nft_add_flow(n, &c.flow), 0); /* again: no error */
        assert_int_equal(write(c.client, "x", 1), 1);
        assert_int_equal(read_error(c.client), ECONNRESET);
        assert_int_equal(write(other.client, "x", 1), 1);
        assert_int_equal(read(other.server, &byte, 1), 1);
        assert_int_equal(nft_add_flow(n, &(struct fact_flow){}), -EINVAL);
        connection_close(&c);
        connection_close(&other);
        n = nft_free(n);
}

static void test_sockdestroy(void **state)
{
        struct connection c;
        struct sockdestroy *s = NULL;
        struct fact_flow wrong;
        int r;

        NEEDS_ROOT();
        assert_int_equal(sockdestroy_new(&s), 0);
        c = connect_pair();
        wrong = c.flow;
        wrong.cookie ^= 1ull << 40;
        r = sockdestroy_flow(s, &wrong);
        if (r == -EOPNOTSUPP) {
                print_message("skipped: kernel without CONFIG_INET_DIAG_DESTROY\n");
                skip();
        }
        assert_int_equal(r, -ENOENT);
        wrong = c.flow;
        wrong.local_port ^= 1;
        assert_int_equal(sockdestroy_flow(s, &wrong), -ENOENT);
        wrong = c.flow;
        wrong.netns++;
        assert_int_equal(sockdestroy_flow(s, &wrong), -EXDEV);
        assert_int_equal(sockdestroy_flow(s, &(struct fact_flow){}), -EINVAL);
        assert_int_equal(sockdestroy_flow(s, &c.flow), 0);
        assert_int_equal(read_error(c.client), ECONNABORTED);
        assert_int_equal(read_error(c.server), ECONNRESET);
        assert_int_equal(sockdestroy_flow(s, &c.flow), -ENOENT);
        connection_close(&c);

        c = connect_pair();
        c.flow.cookie = 0; /* unknown */
        assert_int_equal(sockdestroy_flow(s, &c.flow), 0);
        assert_int_equal(read_error(c.client), ECONNABORTED);
        connection_close(&c);
        s = sockdestroy_free(s);
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
        struct fact_flow flow = { .family = AF_INET, .protocol = IPPROTO_TCP, .local = { 1 }, .remote = { 2 } };
        char first[65], hash[65];

        NEEDS_ROOT();
        assert_int_equal(nft_new(&options, &n), 0);
        assert_int_equal(nft_hash(n, hash), -ENOENT);
        apply(n, &rules);
        assert_int_equal(nft_hash(n, first), 0);
        assert_int_equal(strlen(first), 64);
        apply(n, &rules); /* other handles, other hash seeds */
        (void)try_datagram(TELEGRAM << 20, 0); /* counters */
        assert_int_equal(nft_add_flow(n, &flow), 0);
        free(run("/usr/sbin/nft add table inet other"));
        assert_int_equal(nft_hash(n, hash), 0);
        assert_string_equal(hash, first);

        static const char *const changes[] = {
                "nft delete element inet onchannel prefix4 '{ 127.20.0.0-127.20.6.255 }'",
                "nft add element inet onchannel exempt_3 '{ 7 }'",
                "nft insert rule inet onchannel output accept",
                "nft flush chain inet onchannel channel-telegram",
                "nft add chain inet onchannel x",
                "nft chain inet onchannel output '{ policy drop; }'",
        };
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                _cleanup_free_ char *command = format_new("/usr/sbin/%s", changes[i]);

                apply(n, &rules);
                assert_int_equal(nft_hash(n, hash), 0);
                assert_string_equal(hash, first);
                free(run(command));
                assert_int_equal(nft_hash(n, hash), 0);
                assert_string_not_equal(hash, first);
        }
        rules.quic = QUIC_INSPECT;
        apply(n, &rules);
        assert_int_equal(nft_hash(n, hash), 0);
        assert_string_not_equal(hash, first);
        n = nft_free(n);
}

static void test_monitor(void **state)
{
        static const struct {
                const char *command;
                bool is_ours;
        } cases[] = {
                { "nft add table inet other", false },
                { "nft add table ip onchannel", false },
                { "nft add chain inet onchannel x", true },
                { "nft add element inet onchannel exempt_3 '{ 7 }'", true },
                { "nft delete table inet other", false },
                { "nft flush ruleset", true },
        };
        struct ruleset rules = small_ruleset();
        struct fact_flow flow = { .family = AF_INET6, .protocol = IPPROTO_UDP, .local = { 1 }, .remote = { 2 } };
        struct nft *n = NULL;
        struct pollfd p = { .events = POLLIN };

        NEEDS_ROOT();
        assert_int_equal(nft_new(&options, &n), 0);
        p.fd = nft_monitor_fd(n);
        assert_true(p.fd >= 0);
        assert_int_equal(nft_monitor_fd(n), p.fd);
        for (int i = 0; i < 100; i++)
                apply(n, &rules);
        assert_int_equal(nft_add_flow(n, &flow), 0);
        assert_int_equal(poll(&p, 1, 0), 0); /* our own changes do not even wake us */
        assert_false(changed(n));
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *command = format_new("/usr/sbin/%s", cases[i].command);

                free(run(command));
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
        assert_string_equal(d.text, "cannot add set element to 'prefix4': No such file or directory (operation 2 of 2)");

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
                cmocka_unit_test(test_ranges),
                cmocka_unit_test(test_ranges_longest_prefix),
                cmocka_unit_test(test_encode),
                cmocka_unit_test(test_encode_limits),
                cmocka_unit_test(test_encode_chunks),
                cmocka_unit_test_setup(test_listing, own_namespace),
                cmocka_unit_test_setup(test_verdicts, own_namespace),
                cmocka_unit_test_setup(test_marks, own_namespace),
                cmocka_unit_test_setup(test_flow, own_namespace),
                cmocka_unit_test_setup(test_sockdestroy, own_namespace),
                cmocka_unit_test_setup(test_hash, own_namespace),
                cmocka_unit_test_setup(test_monitor, own_namespace),
                cmocka_unit_test_setup(test_errors, own_namespace),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
