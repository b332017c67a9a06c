/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Which executables run something else that their arguments name. Pure.
 *
 * The rule: an executable is a host when its base name is a word of the table in host.c, alone
 * or followed by a digit, '.', '-' or '_' ("python3.11", "google-chrome-stable"). Only a
 * host's arguments are looked at, at each of its starts; `grep --app=URL` is nobody's business. */
#include <stdbool.h>
#include <stddef.h>

enum host {
        HOST_NONE,
        HOST_BROWSER, /* arguments: a web app */
        HOST_ELECTRON, /* a browser and an interpreter */
        HOST_INTERPRETER, /* the first argument that is no option: a script, an archive */
        HOST_LOADER, /* the dynamic loader, a processor in software: the first argument that is no option: a program */
        HOST_WINE, /* a Windows program, its path may be written with '\' */
        _HOST_MAX,
};

enum host host_of(const char *path);
struct host_target {
        const char *name; /* points into argv; NULL none */
        bool is_file; /* else a module's name */
};
/* What this host runs. argv is NULL-terminated. */
struct host_target host_target(enum host h, const char *const *argv);
/* How many of an interpreter's arguments, itself included, may say what it runs: up to the first that is neither an option
 * nor may be one's value, and not the text behind -c. What follows is data: whoever passes a file's name does not run it. */
size_t host_arguments(const char *const *argv);
/* Join a path with the working folder and take out ".", ".." and "//" by text alone.
 * False: does not fit. */
bool path_join(const char *cwd, const char *path, char *ret, size_t size);
