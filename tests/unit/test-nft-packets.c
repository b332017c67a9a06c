/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the table does to packets, and the ending of sockets: in a network namespace, root only. */
#include <limits.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "agent/enforce/sockdestroy.h"
#include "nft-fixture.h"

/* Connect from a child with this uid: 0 or errno. */
static int try_connect(const char *address, uid_t uid)
{
        const struct sockaddr_in6 from6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
        struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};
        struct sockaddr_in to = {.sin_family = AF_INET};
        bool is_6 = strchr(address, ':');
        _cleanup_fd_ int server = socket(is_6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t size = is_6 ? sizeof(to6) : sizeof(to);
        struct sockaddr *sa = is_6 ? (struct sockaddr *)&to6 : (struct sockaddr *)&to;
        int status;
        pid_t pid;

        assert_int_equal(
                inet_pton(is_6 ? AF_INET6 : AF_INET, address, is_6 ? (void *)&to6.sin6_addr : (void *)&to.sin_addr),
                1);
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
                {"127.20.0.1", 0, ECONNREFUSED}, /* telegram */
                {"127.20.0.1", 1000, ECONNREFUSED},
                {"127.20.7.1", 0, 0}, /* slack inside telegram's prefix */
                {"127.20.7.127", 0, 0},
                {"127.20.7.128", 0, ECONNREFUSED}, /* whatsapp inside slack's */
                {"127.20.7.128", 1000, 0}, /* exempt */
                {"127.20.8.0", 1000, ECONNREFUSED}, /* telegram again */
                {"127.21.0.0", 0, 0}, /* one outside */
                {"127.19.255.255", 0, 0},
                {"127.30.0.255", 0, ECONNREFUSED}, /* whatsapp */
                {"127.30.1.0", 0, ECONNREFUSED},
                {"127.30.1.0", 1001, 0}, /* watched, not blocked */
                {"127.30.1.0", 1002, ECONNREFUSED},
                {"127.40.0.1", 0, 0}, /* discord is blocked for one only */
                {"127.40.0.1", 65534, ECONNREFUSED},
                {"127.40.0.1", 1003, 0},
                {"127.50.0.1", 0, 0}, /* teams is watched */
                {"2001:db8:1::1", 1000, ECONNREFUSED}, /* telegram */
                {"2001:db8:1:2::1", 0, 0}, /* slack */
                {"2001:db8:2::1", 0, ECONNREFUSED}, /* whatsapp */
                {"2001:db8:2::1", 1000, 0},
                {"::1", 0, 0},
        };
        struct ruleset rules = small_ruleset();
        struct nft *n = NULL;

        NEEDS_ROOT();
        free(run(
                "for a in 1::1 1:2::1 2::1; do ip address add 2001:db8:$a/128 dev lo nodad; done\n"
                "until [ $(ip -6 address show dev lo | grep -c 2001:db8:.*tentative) = 0 ]; do :; done\n"
                "until [ $(ip -6 route show table local | grep -c 2001:db8) = 3 ]; do :; done")); /* a worker adds them */
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
        rules.mode = POLICY_MODE_ENFORCE; /* the rules only, this time */
        apply(n, &rules);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_int_equal(try_connect(cases[i].address, cases[i].uid), cases[i].expected);
        n = nft_free(n);
}

/* The leading bits that packets are told apart by first: a prefix shorter than they are, and so
 * many tops that fewer bits have to do. */
static void test_tops(void **state)
{
        static const struct {
                const char *address;
                int expected;
        } cases[] = {
                {"127.31.255.255", 0},
                {"127.32.0.1", ECONNREFUSED},
                {"127.47.0.1", ECONNREFUSED},
                {"127.63.255.254", ECONNREFUSED},
                {"127.64.0.1", 0},
                {"127.96.1.255", 0},
                {"127.96.2.0", ECONNREFUSED},
                {"127.96.3.255", ECONNREFUSED},
                {"127.96.4.0", 0},
        };
        static const char *const more[] = {"192.0.2.0/24", "128.0.0.0/1"};
        static struct rule_entry own[4];
        struct ruleset rules = small_ruleset();
        struct nft *n = NULL;

        NEEDS_ROOT();
        rules.entries = own;
        rules.n_entries = ELEMENTSOF(own);
        rules.quic = QUIC_INSPECT;
        assert_int_equal(nft_new(&options, &n), 0);
        for (size_t m = 0; m < ELEMENTSOF(more); m++) {
                const char *const prefixes[] = {"127.32.0.0/11", "127.96.2.0/23", more[m]};

                for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                        own[i + 1] = (struct rule_entry){.kind = ENTRY_PREFIX, .channel = TELEGRAM};
                        assert_int_equal(prefix_parse(prefixes[i], &own[i + 1].prefix), 0);
                }
                apply(n, &rules);
                for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                        int got = try_connect(cases[i].address, 0);

                        if (got != cases[i].expected)
                                print_error("%s beside %s: %s\n", cases[i].address, more[m], strerror(got));
                        assert_int_equal(got, cases[i].expected);
                }
        }
        n = nft_free(n);
}

static void test_marks(void **state)
{
        static const struct {
                uint32_t mark;
                uint16_t port;
                int expected;
        } cases[] = {
                {0, 0, 0},
                {TELEGRAM << 20, 0, EPERM},
                {TELEGRAM << 20 | 0xc00fffff, 0, EPERM}, /* other programs' bits are ignored */
                {SLACK << 20, 0, 0},
                {TEAMS << 20, 0, 0},
                {0x3ff00000, 0, 0},
                {0, 443, EPERM}, /* quic = block */
                {SLACK << 20, 443, EPERM},
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
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        _cleanup_fd_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct connection c = {.flow = {.family = AF_INET, .protocol = IPPROTO_TCP}};
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
        struct pollfd p = {.fd = fd, .events = POLLIN};
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
        assert_int_equal(nft_add_flow(n, &(struct fact_flow){.family = AF_INET}), -EOPNOTSUPP);
        nft_free(n);
        assert_int_equal(nft_new(&with_flows, &n), 0);
        c = connect_pair();
        other = connect_pair();
        assert_int_equal(nft_add_flow(n, &c.flow), -ENOENT); /* no table yet */
        apply(n, &rules);
        assert_true(nft_monitor_fd(n) >= 0);
        assert_int_equal(nft_add_flow(n, &c.flow), 0);
        assert_int_equal(nft_add_flow(n, &c.flow), 0); /* again: no error */
        rules.quic = QUIC_INSPECT;
        apply(n, &rules); /* a policy leaves it in place */
        assert_int_equal(write(c.client, "x", 1), 1);
        assert_int_equal(read_error(c.client), ECONNRESET);
        assert_int_equal(write(other.client, "x", 1), 1);
        assert_int_equal(read(other.server, &byte, 1), 1);
        assert_int_equal(nft_add_flow(n, &(struct fact_flow){}), -EINVAL);
        connection_close(&c);
        connection_close(&other);
        n = nft_free(n);
}

struct probe {
        unsigned sent;
        unsigned passed;
        bool end;
};

/* Sends to a blocked address, and with a blocked mark to another one, as fast as it can. */
static void probe_run(volatile struct probe *p)
{
        const uint32_t mark = TELEGRAM << 20;
        struct sockaddr_in to[2] = {{.sin_family = AF_INET, .sin_port = htons(9)},
                                    {.sin_family = AF_INET, .sin_port = htons(9)}};
        int fds[2];

        inet_pton(AF_INET, "127.20.0.1", &to[0].sin_addr);
        inet_pton(AF_INET, "127.0.0.1", &to[1].sin_addr);
        for (size_t i = 0; i < 2; i++)
                fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (setsockopt(fds[1], SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
                _exit(1);
        for (unsigned i = 0; !p->end; i ^= 1) {
                ssize_t n = sendto(fds[i], "x", 1, 0, (struct sockaddr *)&to[i], sizeof(to[i]));

                p->passed += n == 1 || errno != EPERM;
                p->sent++;
        }
        _exit(0);
}

static void test_no_gap(void **state)
{
        struct ruleset rules = small_ruleset();
        volatile struct probe *p;
        struct nft *n = NULL;
        pid_t pid;
        int status;

        NEEDS_ROOT();
        assert_int_equal(nft_new(&options, &n), 0);
        apply(n, &rules);
        p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(p, MAP_FAILED);
        pid = fork();
        if (pid == 0)
                probe_run(p);
        assert_true(pid > 0);
        for (unsigned i = 0; i < 1000; i++) {
                rules.n_exemptions = i % 2 ? 0 : ELEMENTSOF(exemptions);
                rules.quic = i % 3 ? QUIC_BLOCK : QUIC_INSPECT;
                if (i % 10 == 0)
                        nft_distrust(n); /* the maps as well */
                assert_int_equal(nft_apply(n, &rules, NULL), 0);
                if (i % 30 == 0)
                        assert_int_equal(nft_tidy(n, &rules), 0);
        }
        p->end = true;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_in_range(p->sent, 1000, UINT_MAX);
        assert_int_equal(p->passed, 0);
        munmap((void *)p, sizeof(*p));
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
        r = sockdestroy_flow(s, &wrong, 0);
        if (r == -EOPNOTSUPP) {
                print_message("skipped: kernel without CONFIG_INET_DIAG_DESTROY\n");
                skip();
        }
        assert_int_equal(r, -ENOENT);
        wrong = c.flow;
        wrong.local_port ^= 1;
        assert_int_equal(sockdestroy_flow(s, &wrong, 0), -ENOENT);
        wrong = c.flow;
        wrong.netns++;
        assert_int_equal(sockdestroy_flow(s, &wrong, 0), -EXDEV);
        assert_int_equal(sockdestroy_flow(s, &(struct fact_flow){}, 0), -EINVAL);
        assert_int_equal(sockdestroy_flow(s, &c.flow, 0), 0);
        assert_int_equal(read_error(c.client), ECONNABORTED);
        assert_int_equal(read_error(c.server), ECONNRESET);
        assert_int_equal(sockdestroy_flow(s, &c.flow, 0), -ENOENT);
        connection_close(&c);

        c = connect_pair();
        c.flow.cookie = 0; /* unknown */
        assert_int_equal(sockdestroy_flow(s, &c.flow, 0), 0);
        assert_int_equal(read_error(c.client), ECONNABORTED);
        connection_close(&c);
        s = sockdestroy_free(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_verdicts, own_namespace),
                cmocka_unit_test_setup(test_tops, own_namespace),
                cmocka_unit_test_setup(test_marks, own_namespace),
                cmocka_unit_test_setup(test_flow, own_namespace),
                cmocka_unit_test_setup(test_no_gap, own_namespace),
                cmocka_unit_test_setup(test_sockdestroy, own_namespace),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
