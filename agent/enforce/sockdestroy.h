/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Ends a TCP or UDP socket at once through sock_diag(7) SOCK_DESTROY (Linux 4.9): the
 * application gets ECONNABORTED instead of waiting for retransmissions. Runs as root. */
#include "agent/fact.h"

struct sockdestroy;
int sockdestroy_new(struct sockdestroy **ret);
struct sockdestroy *sockdestroy_free(struct sockdestroy *s);
/* Socket of this flow, in whichever network namespace it is: of another one than the agent's, tgid is
 * asked first where that is (0: unknown).
 * -ENOENT already gone, -EXDEV its network namespace is not found, -EOPNOTSUPP kernel without
 * INET_DIAG_DESTROY. */
int sockdestroy_flow(struct sockdestroy *s, const struct fact_flow *f, uint32_t tgid);
