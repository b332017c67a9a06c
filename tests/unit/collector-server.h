/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* HTTP servers in a child process, for tests: a folder with keys and certificates, one or two
 * listeners on free ports of 127.0.0.1. */
#include <ftw.h>
#include <signal.h>
#include <sys/wait.h>
#include "base/io.h"
#include "collector/net/http.h"
#include "collector/net/pki.h"
#include "collector/net/tls.h"

struct test_server {
        char dir[32];
        char device_ca[64], device_ca_key[64], server_ca[64], server_ca_key[64], certificate[64], key[64];
        char urls[2][64];
        pid_t pid;
        /* in the child */
        struct loop *loop;
        struct http_server *servers[2];
};

static inline void test_file(char *ret, const struct test_server *s, const char *name, char *text)
{
        snprintf(ret, 64, "%s/%s", s->dir, name);
        DEMAND(file_write_atomic(ret, text, strlen(text), 0600) == 0);
        free(text);
}

static inline void test_server_folder(struct test_server *s)
{
        static const char *const names[] = {"127.0.0.1", "localhost", NULL};
        struct pki_authority *a;
        char *key, *certificate;

        strcpy(s->dir, "/tmp/oc-server-XXXXXX");
        DEMAND(mkdtemp(s->dir));
        DEMAND(pki_authority_new("devices", &key, &certificate) == 0);
        test_file(s->device_ca_key, s, "device-ca.key", key);
        test_file(s->device_ca, s, "device-ca.pem", certificate);
        DEMAND(pki_authority_new("server", &key, &certificate) == 0);
        test_file(s->server_ca_key, s, "server-ca.key", key);
        test_file(s->server_ca, s, "server-ca.pem", certificate);
        DEMAND(pki_authority_load(s->server_ca, s->server_ca_key, &a, NULL) == 0);
        DEMAND(pki_server_new(a, names, &key, &certificate, NULL) == 0);
        test_file(s->key, s, "server.key", key);
        test_file(s->certificate, s, "server.pem", certificate);
        pki_authority_free(a);
}

static inline void test_server_listen(struct test_server *s, int i, const struct http_config *c, bool ask_certificate)
{
        SSL_CTX *tls = NULL;

        DEMAND(tls_context_new(&(struct tls_config){s->certificate, s->key, ask_certificate ? s->device_ca : NULL},
                               &tls, NULL) == 0);
        DEMAND(http_server_new(s->loop, c, "127.0.0.1:0", tls, &s->servers[i], NULL) == 0);
        SSL_CTX_free(tls);
        snprintf(s->urls[i], sizeof(s->urls[i]), "https://%s", http_server_address(s->servers[i]));
}

static inline void test_server_on_signal(void *userdata)
{
        loop_stop(((struct test_server *)userdata)->loop);
}

/* `open` makes the listeners in the child, `done` undoes what it made; the urls come back. */
static inline void test_server_start(struct test_server *s, void (*open)(struct test_server *), void (*done)(void))
{
        sigset_t signals;
        int fds[2];

        DEMAND(pipe(fds) == 0);
        s->pid = fork();
        DEMAND(s->pid >= 0);
        if (s->pid > 0) {
                close(fds[1]);
                DEMAND(read(fds[0], s->urls, sizeof(s->urls)) == sizeof(s->urls));
                close(fds[0]);
                return;
        }
        close(fds[0]);
        signal(SIGPIPE, SIG_IGN);
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        DEMAND(loop_new(&s->loop) == 0);
        DEMAND(loop_add_signals(s->loop, &signals, test_server_on_signal, s) == 0);
        open(s);
        DEMAND(write(fds[1], s->urls, sizeof(s->urls)) == sizeof(s->urls));
        close(fds[1]);
        DEMAND(loop_run(s->loop) == 0);
        http_server_free(s->servers[0]);
        http_server_free(s->servers[1]);
        if (done)
                done();
        loop_free(s->loop);
        exit(0); /* with the leak check of a sanitizer */
}

static inline int test_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

static inline void test_server_stop(struct test_server *s)
{
        int status;

        kill(s->pid, SIGTERM);
        DEMAND(waitpid(s->pid, &status, 0) == s->pid);
        DEMAND(status == 0);
        nftw(s->dir, test_remove, 16, FTW_DEPTH | FTW_PHYS);
}
