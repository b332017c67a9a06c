/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The names of QUIC connections, from copies of their Initials: a bounded table of flows, of which the one
 * that was silent longest makes room. Forgets a flow's bytes with the flow; writes them nowhere. */
#include <stdbool.h>

#include "agent/fact.h"
#include "wire/quic.h"

#define HELLOS_MAX 64
#define KEPT_MAX   16 /* datagrams of a hello: QUIC_CRYPTO_MAX bytes fit */

struct hellos;
int hellos_new(struct hellos **ret); /* -ENOMEM */
struct hellos *hellos_free(struct hellos *h);
/* Takes one datagram; an enum quic_result, or -ENOMEM, -EIO. Writes *ret_name for QUIC_FOUND only. */
int hellos_feed(struct hellos *h, const struct fact_flow *f, const uint8_t *data, size_t size,
                char ret_name[static WIRE_NAME_SIZE]);
/* True: the datagram just fed must wait for the rest of its hello, and is kept, or its client sends it again. */
bool hellos_keep(struct hellos *h, const struct fact_flow *f, const uint8_t *data, size_t size);
/* The next of those, when the hello is there: its size, and *ret is the caller's; 0: there is none. */
size_t hellos_take_kept(struct hellos *h, const struct fact_flow *f, uint8_t **ret);
