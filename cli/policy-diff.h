/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The keys and group members in which two policies differ. */
#include "cli/cli.h"
#include "policy/policy.h"

const struct policy_group *policy_group_find(const struct policy *p, const char *name); /* NULL */
/* Does `now` hold somebody whom `before` did not? `before` may be NULL: no group. */
bool policy_group_gains(const struct policy_group *before, const struct policy_group *now);
/* Appends {"section","key","old","new"} for each; null is an absent value. */
void policy_settings_diff(const struct policy *old, const struct policy *new, json_t *list);
void policy_settings_print(const json_t *list);
