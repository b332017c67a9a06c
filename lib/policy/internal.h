/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the files of this folder share: the words of the policy's enums. */
#include "policy/policy.h"

extern const char *const policy_verdict_words[];
extern const char *const policy_mode_words[];
extern const char *const policy_quic_words[];

/* "ID" or "ID TIME". -EINVAL. */
int policy_revoked_key_parse(const char *value, struct trust_revoked *ret);
