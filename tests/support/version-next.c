/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Linked in place of lib/base/version.c: the same agent as the next version, for the tests of upgrades. */
#include "base/version.h"

const char onchannel_version[] = "9.9.9";
