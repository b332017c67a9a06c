/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Which files the packages own that a rule set names, from the package manager's own database
 * and without running it. Only the lists of those packages are read. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "rules/rules.h"

#define PACKAGE_PATH_MAX 4096

/* A path that the package owns, of whatever file type; it may be missing. */
typedef int (*package_handler)(const char *path, uint32_t entry, void *userdata);

/* dir: "/var/lib/dpkg". -ENOENT no such database. */
int dpkg_walk(const char *dir, const struct ruleset *r, package_handler handler, void *userdata);
/* dir: "/var/lib/rpm", with rpmdb.sqlite (rpm 4.16, the default since Fedora 33 and RHEL 9), or Packages.db
 * (openSUSE). The Berkeley DB of older systems is not read. */
int rpm_walk(const char *dir, const struct ruleset *r, package_handler handler, void *userdata);
/* Numbers that change once packages were installed or removed; 0 no database. */
uint64_t dpkg_stamp(const char *dir);
uint64_t rpm_stamp(const char *dir);
/* When a file or folder was last changed, in ns; 0 it does not exist. */
uint64_t package_change_time(const char *dir, const char *name);

/* The next line of *text that is a path, cut off in place; NULL none. */
char *dpkg_next_path(char **text);
/* Where a package's file lies when another package has taken its name (dpkg-divert(1)): `path`
 * itself, or a name in `diversions`, which holds three lines each: from, to, by whom. */
const char *dpkg_diverted(const char *diversions, const char *path, const char *package,
                          char ret[static PACKAGE_PATH_MAX]);

/* Call the handler for each file of a package, by its header (rpm's doc/manual/format.md:
 * index entries and their store, without the magic). -EBADMSG malformed. */
int rpm_header_files(const uint8_t *header, size_t size, uint32_t entry, package_handler handler, void *userdata);
