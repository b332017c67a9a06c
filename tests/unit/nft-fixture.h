/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the tests of the nftables table share: a small rule set by hand, a network namespace of
 * its own for each test (root only), packets. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "agent/enforce/nft.h"
#include "base/buf.h"
#include "base/io.h"

static const struct nft_options options = {.table = "onchannel", .mark_mask = 0x3ff00000};
static const struct nft_options with_flows = {.table = "onchannel", .mark_mask = 0x3ff00000, .flows = true};

enum { TELEGRAM = 1, SLACK, WHATSAPP, DISCORD, TEAMS, N_CHANNELS };

static struct rule_channel channels[N_CHANNELS] = {
        [TELEGRAM] = {.id = "telegram", .verdict = VERDICT_BLOCK},
        [SLACK] = {.id = "slack", .verdict = VERDICT_ALLOW},
        [WHATSAPP] = {.id = "whatsapp", .verdict = VERDICT_BLOCK},
        [DISCORD] = {.id = "discord", .verdict = VERDICT_ALLOW},
        [TEAMS] = {.id = "teams", .verdict = VERDICT_WATCH},
};
static struct rule_exemption exemptions[] = {
        {.channel = WHATSAPP, .uid = 1000, .verdict = VERDICT_ALLOW},
        {.channel = WHATSAPP, .uid = 1001, .verdict = VERDICT_WATCH},
        {.channel = WHATSAPP, .uid = 1002, .verdict = VERDICT_BLOCK},
        {.channel = DISCORD, .uid = 1003, .verdict = VERDICT_WATCH},
        {.channel = DISCORD, .uid = 65534, .verdict = VERDICT_BLOCK},
        {.channel = TEAMS, .uid = 1003, .verdict = VERDICT_ALLOW},
};
static struct rule_entry entries[32];

static inline struct ruleset small_ruleset(void)
{
        static const struct {
                uint16_t channel;
                const char *prefix;
        } prefixes[] = {
                {TELEGRAM, "127.20.0.0/16"},  {SLACK, "127.20.7.0/24"},       {WHATSAPP, "127.20.7.128/25"},
                {WHATSAPP, "127.30.0.0/24"},  {WHATSAPP, "127.30.1.0/24"},    {DISCORD, "127.40.0.0/16"},
                {TEAMS, "127.50.0.0/16"},     {TELEGRAM, "255.255.255.0/24"}, {TELEGRAM, "2001:db8:1::/48"},
                {SLACK, "2001:db8:1:2::/64"}, {WHATSAPP, "2001:db8:2::1"},
        };
        struct ruleset r = {.channels = channels,
                            .n_channels = N_CHANNELS,
                            .entries = entries,
                            .n_entries = 1,
                            .exemptions = exemptions,
                            .n_exemptions = ELEMENTSOF(exemptions),
                            .mode = POLICY_MODE_ENFORCE,
                            .quic = QUIC_BLOCK,
                            .policy_serial = 1};

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                struct rule_entry *e = &entries[r.n_entries++];

                *e = (struct rule_entry){.kind = ENTRY_PREFIX, .channel = prefixes[i].channel};
                assert_int_equal(prefix_parse(prefixes[i].prefix, &e->prefix), 0);
        }
        return r;
}

static inline int own_namespace(void **state)
{
        struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
        _cleanup_fd_ int fd = -1;

        if (geteuid() != 0)
                return 0;
        if (unshare(CLONE_NEWNET) < 0)
                return -1;
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        return ioctl(fd, SIOCSIFFLAGS, &lo);
}

#define NEEDS_ROOT()                                                                                                 \
        do {                                                                                                         \
                if (geteuid() != 0) {                                                                                \
                        print_message("skipped: needs root for a namespace\n");                                      \
                        skip();                                                                                      \
                }                                                                                                    \
        } while (0)

/* Shell commands; `current NAME` prints the name of that set or map with its version. */
static inline char *run(const char *command)
{
        static const char functions[] =
                "PATH=/usr/sbin:/sbin:$PATH\n"
                "current() { nft list table inet onchannel | grep -o \"$1-[0-9]*\" | head -1; }\n";
        _cleanup_free_ char *script = format_new("%s%s", functions, command);
        _cleanup_file_ FILE *f = popen(script, "re");
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

static inline void apply(struct nft *n, const struct ruleset *rules)
{
        struct diag d = {};
        int r = nft_apply(n, rules, &d);

        if (r < 0)
                print_error("%s\n", d.text);
        assert_int_equal(r, 0);
        assert_int_equal(nft_tidy(n, rules), 0);
}

/* A UDP datagram with this mark to this port: 0, or the errno of the rejected send(). */
static inline int try_datagram(uint32_t mark, uint16_t port)
{
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        _cleanup_fd_ int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        _cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(to);
        struct pollfd p = {.fd = server, .events = POLLIN};

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
