/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A flow of datagrams, each behind its kind and its size in two bytes: 0 as it stands, 1 and 2
 * the frames of an Initial of that version. A name that is found stands in the hello. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "tests/support/quic-seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct quic *q;
        static struct quic_flow f;
        static uint8_t datagram[65536];

        if (!q && quic_new(&q) < 0)
                abort();
        quic_flow_init(&f, q);
        for (size_t n; size >= 3; data += n, size -= n) {
                struct seal s = {data[0] & 2 ? QUIC_VERSION_2 : QUIC_VERSION_1, {8, {data[0] >> 4}}, .number = 1};
                char name[WIRE_NAME_SIZE] = "";
                bool sealed = data[0] & 3;
                n = (size_t)data[1] << 8 | data[2];
                data += 3;
                size -= 3;
                n = n < size ? n : size;
                memset(datagram, 0, QUIC_INITIAL_DATAGRAM_MIN);
                size_t sent = sealed && n >= 4 && n < 16000 ? quic_seal(q, &s, data, n, datagram) : n;
                if (sent == n)
                        memcpy(datagram, data, n);
                else if (sent < QUIC_INITIAL_DATAGRAM_MIN)
                        sent = QUIC_INITIAL_DATAGRAM_MIN;
                int r = quic_flow_feed(&f, datagram, sent, name);
                if (r < 0 || (r == QUIC_FOUND) != (name[0] != 0) ||
                    (r == QUIC_FOUND && !memmem(f.stream, f.whole, name, strlen(name))))
                        abort();
        }
        return 0;
}
