/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Which executables run something else that their arguments name. Pure.
 *
 * The rule: an executable is a host when its base name is a word of the table in host.c, alone
 * or followed by a digit, '.', '-' or '_' ("python3.11", "google-chrome-stable"). Only a
 * host's arguments are looked at (arguments.h), at each of its starts; `grep --app=URL` is nobody's business. */
#include <stdbool.h>
#include <stddef.h>

enum host {
        HOST_NONE,
        HOST_BROWSER, /* arguments: a web app */
        HOST_ELECTRON, /* a browser, and runs an archive or a script */
        HOST_WINE, /* a Windows program, its path may be written with '\' */
        HOST_LOADER, /* the dynamic loader, and what else takes no value in an argument of its own: a program */
        HOST_QEMU,
        HOST_BASH, /* from here on interpreters: a script, an archive, a class */
        HOST_BUN,
        HOST_BUSYBOX,
        HOST_DENO,
        HOST_DOTNET,
        HOST_FISH,
        HOST_GJS,
        HOST_GUILE,
        HOST_JAVA,
        HOST_LUA,
        HOST_MONO,
        HOST_NODE,
        HOST_PERL,
        HOST_PHP,
        HOST_PYTHON,
        HOST_RUBY,
        HOST_SHELL,
        HOST_TCL,
        HOST_ZSH,
        _HOST_MAX,
};

enum host host_of(const char *path);
static inline bool host_is_loader(enum host h)
{
        return h == HOST_LOADER || h == HOST_QEMU;
}
static inline bool host_is_interpreter(enum host h)
{
        return h >= HOST_BASH;
}
/* Join a path with the working folder and take out ".", ".." and "//" by text alone.
 * False: does not fit. */
bool path_join(const char *cwd, const char *path, char *ret, size_t size);
