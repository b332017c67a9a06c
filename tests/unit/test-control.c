/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>
#include <systemd/sd-event.h>

#include "agent/control/control.h"
#include "agent/control/notices.h"
#include "base/cleanup.h"

static void test_requests(void **state)
{
        static const struct {
                const char *line;
                int r;
                enum control_verb verb;
                const char *says;
        } table[] = {
                {"{\"verb\":\"status\"}", 0, CONTROL_STATUS, NULL},
                {"{\"verb\":\"why\",\"subject\":\"wa.me\"}", 0, CONTROL_WHY, NULL},
                {"{\"verb\":\"why\",\"subject\":\"wa.me\",\"user\":\"anna\"}", 0, CONTROL_WHY, NULL},
                {"{\"verb\":\"notices\",\"follow\":true}", 0, CONTROL_NOTICES, NULL},
                {"{\"verb\":\"my-data\"}", 0, CONTROL_MY_DATA, NULL},
                {"{\"verb\":\"reload\"}", 0, CONTROL_RELOAD, NULL},
                {"", -EBADMSG, 0, "one JSON object"},
                {"[]", -EBADMSG, 0, "one JSON object"},
                {"{\"verb\":\"status\"", -EBADMSG, 0, "one JSON object"},
                {"{\"verb\":\"status\",\"verb\":\"status\"}", -EBADMSG, 0, "one JSON object"},
                {"{}", -EBADMSG, 0, "needs \"verb\""},
                {"{\"verb\":1}", -EBADMSG, 0, "needs \"verb\""},
                {"{\"verb\":\"stop\"}", -EBADMSG, 0, "unknown verb"},
                {"{\"verb\":\"why\",\"subject\":\"/x\",\"dev\":1,\"ino\":2,\"build_id\":\"5e1F\"}", 0, CONTROL_WHY,
                 NULL},
                {"{\"verb\":\"why\",\"subject\":\"/x\",\"build_id\":\"5e1\"}", -EBADMSG, 0, "malformed"},
                {"{\"verb\":\"why\",\"subject\":\"/x\",\"build_id\":\"\"}", -EBADMSG, 0, "malformed"},
                {"{\"verb\":\"why\",\"subject\":\"/x\",\"sha256\":\"5e1f\"}", -EBADMSG, 0, "malformed"},
                {"{\"verb\":\"why\",\"subject\":\"/x\",\"print\":7}", -EBADMSG, 0, "malformed"},
                {"{\"verb\":\"why\",\"subject\":\"/x\",\"ino\":-1}", -EBADMSG, 0, "malformed"},
                {"{\"verb\":\"status\",\"ino\":1}", -EBADMSG, 0, "unknown field"},
                {"{\"verb\":\"why\"}", -EBADMSG, 0, "needs \"subject\""},
                {"{\"verb\":\"why\",\"subject\":\"\"}", -EBADMSG, 0, "1 to 1024"},
                {"{\"verb\":\"why\",\"subject\":7}", -EBADMSG, 0, "1 to 1024"},
                {"{\"verb\":\"status\",\"subject\":\"x\"}", -EBADMSG, 0, "unknown field"},
                {"{\"verb\":\"notices\",\"follow\":1}", -EBADMSG, 0, "true or false"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                char error[CONTROL_ERROR_MAX] = "";
                struct control_request q;

                assert_int_equal(control_request_parse(table[i].line, strlen(table[i].line), &q, error), table[i].r);
                if (table[i].r == 0)
                        assert_int_equal(q.verb, table[i].verb);
                else
                        assert_non_null(strstr(error, table[i].says));
        }
}

static void test_permissions(void **state)
{
        static const struct {
                const char *line;
                int r; /* for others than root */
        } table[] = {
                {"{\"verb\":\"status\"}", 0},
                {"{\"verb\":\"why\",\"subject\":\"wa.me\"}", 0},
                {"{\"verb\":\"why\",\"subject\":\"wa.me\",\"user\":\"anna\"}", -EPERM},
                {"{\"verb\":\"my-data\"}", 0},
                {"{\"verb\":\"reload\"}", -EPERM},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                char error[CONTROL_ERROR_MAX];
                struct control_request q;

                assert_int_equal(control_request_parse(table[i].line, strlen(table[i].line), &q, error), 0);
                assert_int_equal(control_request_allowed(&q, 1000, error), table[i].r);
                assert_int_equal(control_request_allowed(&q, 0, error), 0);
        }
}

static void test_notices(void **state)
{
        _cleanup_free_ char *own = NULL, *all = NULL, *none = NULL;
        struct notices *n = NULL;
        char text[16];

        assert_int_equal(notices_new(&n), 0);
        for (int i = 0; i < NOTICES_PER_USER + 2; i++) {
                snprintf(text, sizeof(text), "%d", i);
                assert_int_equal(notices_add(n, 1000, text), 0);
        }
        assert_int_equal(notices_add(n, 1001, "\"b\""), 0);
        own = notices_list(n, 1000);
        assert_true(strncmp(own, "[2,3,", 5) == 0);
        assert_non_null(strstr(own, ",101]"));
        all = notices_list(n, 0);
        assert_true(strncmp(all, "[3,4,", 5) == 0);
        assert_non_null(strstr(all, ",101,\"b\"]"));
        none = notices_list(n, 1002);
        assert_string_equal(none, "[]");
        for (uid_t u = 2000; u < 2000 + NOTICES_USERS_MAX; u++)
                assert_int_equal(notices_add(n, u, "1"), 0);
        free(own);
        own = notices_list(n, 1000);
        assert_string_equal(own, "[]");
        notices_free(n);
}

/* ---- the socket ---- */

struct server {
        sd_event *event;
        struct control *control;
        char dir[32], path[64];
        size_t my_data_bytes; /* written by the child */
};

static json_t *on_answer(const struct control_request *q, uid_t uid, char error[static CONTROL_ERROR_MAX],
                         void *userdata)
{
        if (q->verb == CONTROL_WHY) {
                snprintf(error, CONTROL_ERROR_MAX, "no answer to '%.9s'", q->subject);
                return NULL;
        }
        return json_pack("{s:i}", "uid", (int)uid);
}

static int on_my_data(int fd, uid_t uid, void *userdata)
{
        const struct server *s = userdata;
        char chunk[4096];
        int r = control_write(fd, "[\"", 2);

        memset(chunk, 'x', sizeof(chunk));
        for (size_t done = 0; r >= 0 && done < s->my_data_bytes; done += sizeof(chunk))
                r = control_write(fd, chunk, sizeof(chunk));
        return r < 0 ? r : control_write(fd, "\"]", 2);
}

static int start(void **state)
{
        struct server *s = calloc(1, sizeof(*s));
        struct control_handlers h = {.answer = on_answer, .my_data = on_my_data, .userdata = s};
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);
        strcpy(s->dir, "/tmp/control-XXXXXX");
        assert_non_null(mkdtemp(s->dir));
        snprintf(s->path, sizeof(s->path), "%s/sock", s->dir);
        assert_int_equal(sd_event_new(&s->event), 0);
        assert_int_equal(control_new(s->path, s->event, &h, &s->control), 0);
        *state = s;
        return 0;
}

static int stop(void **state)
{
        struct server *s = *state;

        control_free(s->control);
        sd_event_unref(s->event);
        assert_int_equal(access(s->path, F_OK), -1);
        rmdir(s->dir);
        free(s);
        return 0;
}

static int client(const struct server *s)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        snprintf(a.sun_path, sizeof(a.sun_path), "%s", s->path);
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        return fd;
}

/* Run the loop until the client has a line, or the connection ended. */
static char *read_line(const struct server *s, int fd)
{
        static char line[1 << 20];
        unsigned idle = 0;
        size_t size = 0;

        for (;;) {
                ssize_t n = recv(fd, line + size, 1, MSG_DONTWAIT);

                if (n == 0)
                        return NULL;
                if (n < 0) {
                        assert_int_equal(errno, EAGAIN);
                        idle = sd_event_run(s->event, 10000) > 0 ? 0 : idle + 1; /* or the child writes */
                        assert_true(idle < 1000);
                        continue;
                }
                if (line[size++] == '\n') {
                        line[size] = 0;
                        return line;
                }
        }
}

static void send_text(int fd, const char *text)
{
        assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static void test_in_order(void **state)
{
        struct server *s = *state;
        _cleanup_fd_ int fd = client(s);
        struct stat st;
        char expected[64];

        assert_int_equal(stat(s->path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0666);
        snprintf(expected, sizeof(expected), "{\"ok\":true,\"uid\":%d}\n", (int)getuid());
        send_text(fd, "{\"verb\":\"status\"}\n{\"verb\":\"why\",\"subject\":\"a\"}\nnonsense\n{\"verb\":\"my-data\"}"
                      "\n{\"verb\":\"sta");
        assert_string_equal(read_line(s, fd), expected);
        assert_string_equal(read_line(s, fd), "{\"ok\":false,\"error\":\"no answer to 'a'\"}\n");
        assert_non_null(strstr(read_line(s, fd), "one JSON object"));
        assert_string_equal(read_line(s, fd), "{\"ok\":true,\"records\":[\"\"]}\n");
        send_text(fd, "tus\"}\n");
        assert_string_equal(read_line(s, fd), expected);
        shutdown(fd, SHUT_WR);
        assert_null(read_line(s, fd));
}

static void test_answer_after_shutdown(void **state)
{
        struct server *s = *state;
        _cleanup_fd_ int fd = client(s);

        s->my_data_bytes = 400000; /* more than a socket holds */
        send_text(fd, "{\"verb\":\"my-data\"}\n{\"verb\":\"status\"}\n");
        shutdown(fd, SHUT_WR);
        assert_true(strlen(read_line(s, fd)) > 400000);
        assert_non_null(strstr(read_line(s, fd), "uid"));
        assert_null(read_line(s, fd));
}

static void test_too_long(void **state)
{
        struct server *s = *state;
        _cleanup_fd_ int fd = client(s);
        char line[CONTROL_LINE_MAX + 2];

        memset(line, ' ', sizeof(line));
        assert_int_equal(send(fd, line, sizeof(line) - 1, 0), sizeof(line) - 1);
        assert_non_null(strstr(read_line(s, fd), "at most 4096"));
        assert_null(read_line(s, fd));
}

static void test_follow(void **state)
{
        struct server *s = *state;
        _cleanup_fd_ int fd = client(s);
        json_auto_t *own = json_pack("{s:i}", "n", 1), *other = json_pack("{s:i}", "n", 2);

        assert_int_equal(control_notice(s->control, getuid(), own), 0);
        send_text(fd, "{\"verb\":\"notices\",\"follow\":true}\n");
        assert_string_equal(read_line(s, fd), "{\"ok\":true,\"notices\":[{\"n\":1}]}\n");
        if (getuid() != 0)
                assert_int_equal(control_notice(s->control, getuid() + 1, other), 0);
        assert_int_equal(control_notice(s->control, getuid(), own), 0);
        assert_string_equal(read_line(s, fd), "{\"ok\":true,\"notice\":{\"n\":1}}\n");
}

/* A follower that never reads is dropped; the daemon neither waits nor grows. */
static void test_slow_follower(void **state)
{
        struct server *s = *state;
        _cleanup_fd_ int fd = client(s);
        char text[4001];
        char byte;

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        json_auto_t *notice = json_pack("{s:s}", "text", text);

        send_text(fd, "{\"verb\":\"notices\",\"follow\":true}\n");
        read_line(s, fd);
        for (int i = 0; i < 1000; i++)
                assert_int_equal(control_notice(s->control, getuid(), notice), 0);
        while (recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0)
                ;
        assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

/* Who asks on and on has no more of it than who asks once. */
static void test_turns(void **state)
{
        struct server *s = *state;
        _cleanup_fd_ int many = client(s), one = client(s);
        size_t lines = 0;
        char c;

        for (int i = 0; i < 200; i++)
                send_text(many, "{\"verb\":\"status\"}\n");
        send_text(one, "{\"verb\":\"status\"}\n");
        assert_non_null(strstr(read_line(s, one), "uid"));
        while (recv(many, &c, 1, MSG_DONTWAIT) > 0)
                lines += c == '\n';
        assert_in_range(lines, 0, 3);
}

static void test_too_many(void **state)
{
        struct server *s = *state;
        int fds[CONTROL_CLIENTS_MAX + CONTROL_CLIENTS_ROOT + 1], room;

        room = getuid() == 0 ? CONTROL_CLIENTS_MAX + CONTROL_CLIENTS_ROOT : CONTROL_CLIENTS_PER_USER;
        for (int i = 0; i <= room; i++) {
                fds[i] = client(s);
                send_text(fds[i], "{\"verb\":\"status\"}\n");
                assert_non_null(strstr(read_line(s, fds[i]), i < room ? "uid" : "too many"));
        }
        close(fds[0]);
        while (sd_event_run(s->event, 0) > 0)
                ;
        fds[0] = client(s);
        send_text(fds[0], "{\"verb\":\"status\"}\n");
        assert_non_null(strstr(read_line(s, fds[0]), "uid"));
        for (int i = 0; i <= room; i++)
                close(fds[i]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_requests),
                cmocka_unit_test(test_permissions),
                cmocka_unit_test(test_notices),
                cmocka_unit_test_setup_teardown(test_in_order, start, stop),
                cmocka_unit_test_setup_teardown(test_answer_after_shutdown, start, stop),
                cmocka_unit_test_setup_teardown(test_too_long, start, stop),
                cmocka_unit_test_setup_teardown(test_turns, start, stop),
                cmocka_unit_test_setup_teardown(test_follow, start, stop),
                cmocka_unit_test_setup_teardown(test_slow_follower, start, stop),
                cmocka_unit_test_setup_teardown(test_too_many, start, stop),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
