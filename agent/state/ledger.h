/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What is left of each exemption, and which ids have ended: STATE/exemptions/ledger. Part of exemptions.c. */
#include "agent/state/exemptions.h"

#define LEDGER_MAX_BYTES (LEDGER_MAX * 320u)

int ledger_read(struct exemptions *x, struct diag *reterr);
int ledger_write(const struct exemptions *x);
struct ledger_entry *ledger_find(const struct exemptions *x, const char *id);
/* NULL when memory is short, or all are in use. */
struct ledger_entry *ledger_add(struct exemptions *x, const char *id);
