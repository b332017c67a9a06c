/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The answer to a DNS query that was dropped, or whose answer was, in its resolver's place. */
#include <stddef.h>
#include <stdint.h>
#include "agent/fact.h"

#define REFUSAL_TEXT_MAX 256 /* of the notice; longer is cut */
#define REFUSAL_MAX      768

/* REFUSED with the question and, when the query has an OPT record (RFC 6891 6.1.1), Extended DNS Error 17
 * (RFC 8914 4.18, Filtered) with `text`. `query` may be the query or its answer. Returns the size,
 * -EBADMSG: neither. Pure. */
int refusal_build(const uint8_t *query, size_t size, const char *text, uint8_t ret[static REFUSAL_MAX]);

/* Sends it, and whatever else stands in `data`, from the remote to the local side of a flow, in whichever
 * network namespace that is. -EXDEV: it is not found. */
struct refuse;
int refuse_new(struct refuse **ret);
struct refuse *refuse_free(struct refuse *r);
int refuse_send(struct refuse *r, const struct fact *f, const uint8_t *data, size_t size);

/* Sends the payload of a datagram of that flow on, which was held back, from the local to the remote side as its
 * sender had. At most REFUSE_FORWARD_MAX bytes, -EMSGSIZE: or more than the way takes. */
#define REFUSE_FORWARD_MAX 4096
int refuse_forward(struct refuse *r, const struct fact *f, const uint8_t *data, size_t size);
/* The same of TCP, where `data` begins with its header. -EINVAL: that is none. */
int refuse_forward_tcp(struct refuse *r, const struct fact *f, const uint8_t *data, size_t size);

/* Makes it the answer for whoever asks over an unconnected socket without EDNS: musl (1.2.5) goes on waiting
 * after any code but NOERROR and NXDOMAIN. */
void refusal_deny(uint8_t *answer, size_t size);
