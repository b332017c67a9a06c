/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* MPTCP (RFC 8684): SOCK_DESTROY ends a part of such a connection, which the application does not notice for
 * minutes. So its own socket is borrowed of it (pidfd_getfd(2), Linux 5.6) and shut down. Runs as root. */
#include "agent/fact.h"

/* The MPTCP sockets of process tgid that have this flow's ports and peer: it reads their end, and writes no more.
 * -ENOENT: it has none, -ESRCH: it has gone. */
int mptcp_shutdown(const struct fact_flow *f, uint32_t tgid);
