/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The other end of the cable: answers every UDP datagram on port 53 with an address, swallows every TCP stream
 * on port 443. Prints "ready". Ends with its standard input. */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cleanup.h"

static int serve(int type, uint16_t port)
{
        const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1;

        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
            bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0 ||
            (type == SOCK_STREAM && listen(fd, 1024) < 0)) {
                perror("bench-world");
                exit(1);
        }
        return fd;
}

static void *answer_dns(void *userdata)
{
        int fd = *(int *)userdata;
        /* RFC 1035 4.1.3, 4.1.4: the name asked for; A, IN, a minute, an address */
        static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 1};
        uint8_t query[512];

        for (;;) {
                struct sockaddr_in from;
                socklen_t from_size = sizeof(from);
                ssize_t n = recvfrom(fd, query, sizeof(query), 0, (struct sockaddr *)&from, &from_size);

                if (n < 12 || (size_t)n + sizeof(record) > sizeof(query))
                        continue;
                query[2] |= 0x80; /* RFC 1035 4.1.1: QR */
                query[7] = 1; /* ANCOUNT */
                memcpy(query + n, record, sizeof(record));
                n += (ssize_t)sizeof(record);
                (void)sendto(fd, query, (size_t)n, 0, (struct sockaddr *)&from, from_size);
        }
        return NULL;
}

static void *swallow(void *userdata)
{
        _cleanup_fd_ int fd = (int)(intptr_t)userdata;
        static _Thread_local uint8_t bytes[256 << 10];

        while (read(fd, bytes, sizeof(bytes)) > 0)
                ;
        return NULL;
}

static void *accept_all(void *userdata)
{
        int listener = *(int *)userdata;

        for (;;) {
                pthread_t thread;
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

                if (fd >= 0 && pthread_create(&thread, NULL, swallow, (void *)(intptr_t)fd) == 0)
                        pthread_detach(thread);
        }
        return NULL;
}

int main(void)
{
        int dns = serve(SOCK_DGRAM, 53), tcp = serve(SOCK_STREAM, 443);
        pthread_t threads[2];
        char byte;

        if (pthread_create(&threads[0], NULL, answer_dns, &dns) != 0 ||
            pthread_create(&threads[1], NULL, accept_all, &tcp) != 0)
                return 1;
        puts("ready");
        fflush(stdout);
        while (read(0, &byte, 1) > 0)
                ;
        return 0;
}
