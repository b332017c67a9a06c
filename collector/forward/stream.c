/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Syslog over TLS (RFC 5425). libcurl makes the connection and verifies the other side; then bytes are ours. */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "collector/forward/private.h"

#define STEP_MS 200

static int failed(struct sender *s, const char *what)
{
        snprintf(s->problem, sizeof(s->problem), "%s", what);
        sender_done(s);
        return -EAGAIN;
}

static int stream_connect(struct sender *s)
{
        _cleanup_free_ char *url = format_new("https://%s", s->config->url + strlen("tls://"));
        CURLcode code;
        int r = url ? sender_prepare(s, url) : -ENOMEM;

        if (r < 0 || curl_easy_setopt(s->easy, CURLOPT_CONNECT_ONLY, 1L) != CURLE_OK ||
            curl_easy_setopt(s->easy, CURLOPT_SSL_ENABLE_ALPN, 0L) != CURLE_OK)
                return failed(s, "cannot prepare the connection");
        code = curl_easy_perform(s->easy);
        if (code == CURLE_ABORTED_BY_CALLBACK)
                return -ECANCELED;
        if (code != CURLE_OK)
                return failed(s, *s->error ? s->error : curl_easy_strerror(code));
        s->connected = true;
        return 0;
}

static bool is_late(const struct sender *s, uint64_t until_ms)
{
        return __atomic_load_n(s->stopping, __ATOMIC_RELAXED) || clock_monotonic_ms() > until_ms;
}

/* A receiver has nothing to say but that it closes. */
static bool peer_is_gone(struct sender *s)
{
        char drain[256];
        size_t n = 0;

        return curl_easy_recv(s->easy, drain, sizeof(drain), &n) != CURLE_AGAIN;
}

int stream_send(struct sender *s, const struct buf *body)
{
        uint64_t until_ms = clock_monotonic_ms() + FORWARD_TIMEOUT_MS;
        curl_socket_t fd = -1;
        size_t done = 0, n;
        int queued = 1;

        if (s->connected && peer_is_gone(s))
                sender_done(s);
        if (!s->connected) {
                int r = stream_connect(s);

                if (r < 0)
                        return r;
        }
        curl_easy_getinfo(s->easy, CURLINFO_ACTIVESOCKET, &fd);
        while (done < body->size) {
                CURLcode code = curl_easy_send(s->easy, body->data + done, body->size - done, &n);
                struct pollfd p = {.fd = fd, .events = POLLOUT};

                if (code == CURLE_OK)
                        done += n;
                else if (code != CURLE_AGAIN)
                        return failed(s, "the receiver closed the connection");
                else
                        poll(&p, 1, STEP_MS);
                if (is_late(s, until_ms))
                        return failed(s, "the receiver does not read");
        }
        while (ioctl(fd, SIOCOUTQ, &queued) == 0 && queued > 0) {
                poll(NULL, 0, 1);
                if (is_late(s, until_ms))
                        return failed(s, "the receiver does not acknowledge");
        }
        return queued == 0 && !peer_is_gone(s) ? 0 : failed(s, "the receiver closed the connection");
}
