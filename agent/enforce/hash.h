/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A fingerprint of the live table: what decides about packets, nothing that merely counts. */
#include <libmnl/libmnl.h>
#include <stdint.h>

/* SHA-256 in hex. -ENOENT there is no such table, -EINTR it changed meanwhile; after any failure
 * the socket holds the rest of a dump: close it. */
int hash_table(struct mnl_socket *s, const char *table, char ret_hex[static 65]);
