/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/version.h"

const char onchannel_version[] = ONCHANNEL_VERSION;
