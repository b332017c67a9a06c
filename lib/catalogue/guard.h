/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Names, addresses, programs and arguments that no entry may hit. NULL-terminated lists. */

/* Hosts of many services: an entry may lie below one, never be it, and stand above it only with an
 * exception for it. */
extern const char *const guard_names[];
/* Address ranges of many services: no entry may overlap one. */
extern const char *const guard_prefixes[];
/* Base names that other programs have as well. */
extern const char *const guard_programs[];
/* Executables and arguments that no pattern may match. */
extern const char *const guard_paths[];
extern const char *const guard_arguments[];
