/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames behind a client's preface: handlers see whole requests within their bounds, and nothing stays. */
#include <stdlib.h>
#include "collector/net/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(struct http_request *req)
{
        if (req->headers_size > HTTP_HEADERS_MAX || req->body.size > req->route->body_max || *req->path != '/')
                abort();
        http_respond_error(req, 404, "nothing");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct http_route routes[] = {
                {"GET", "/", false, 0, answer}, {"POST", "/", false, 300, answer}, {0}};
        static const struct http_config config = {.routes = routes, .streams_max = 8};
        static struct http_server s = {.config = &config};
        struct conn c = {.server = &s, .account = &s.strangers};

        if (!s.loop && (loop_new(&s.loop) < 0 || !(s.tls = SSL_CTX_new(TLS_server_method()))))
                abort();
        TAILQ_INIT(&s.stranger_list);
        TAILQ_INSERT_TAIL(&s.stranger_list, &c, stranger);
        account_init_strangers(&s.strangers, loop_now_ms(s.loop));
        if (!(c.ssl = SSL_new(s.tls)) || session_open(&c) < 0 ||
            session_receive(&c, (const uint8_t *)"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33) < 0)
                abort();
        for (size_t half = size / 2;
             size > 0 && session_receive(&c, data, half) == 0 && session_send(&c, 1 << 20) == 0;
             data += half, size -= half, half = size)
                ;
        session_close(&c);
        if (s.n_bodies > 0 || s.strangers.n_bodies > 0 || c.requests)
                abort();
        SSL_free(c.ssl);
        buf_done(&c.out);
        return 0;
}
