/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A fingerprint of the live table: what decides about packets, nothing that merely counts. */

/* SHA-256 in hex. -ENOENT there is no such table. */
int hash_table(const char *table, char ret_hex[static 65]);
