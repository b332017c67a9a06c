/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <string.h>
#include "agent/classify/host.h"
#include "base/cleanup.h"

static const struct {
        const char *word;
        enum host host;
} hosts[] = {
        {"brave", HOST_BROWSER},
        {"chrome", HOST_BROWSER},
        {"chromium", HOST_BROWSER},
        {"electron", HOST_ELECTRON},
        {"epiphany", HOST_BROWSER},
        {"firefox", HOST_BROWSER},
        {"google-chrome", HOST_BROWSER},
        {"librewolf", HOST_BROWSER},
        {"microsoft-edge", HOST_BROWSER},
        {"msedge", HOST_BROWSER},
        {"nw", HOST_ELECTRON},
        {"opera", HOST_BROWSER},
        {"vivaldi", HOST_BROWSER},
        {"bash", HOST_BASH},
        {"bun", HOST_BUN},
        {"busybox", HOST_BUSYBOX},
        {"dash", HOST_SHELL},
        {"deno", HOST_DENO},
        {"dotnet", HOST_DOTNET},
        {"fish", HOST_FISH},
        {"gjs", HOST_GJS},
        {"guile", HOST_GUILE},
        {"java", HOST_JAVA},
        {"ksh", HOST_SHELL},
        {"lua", HOST_LUA},
        {"luajit", HOST_LUA},
        {"mono", HOST_MONO},
        {"node", HOST_NODE},
        {"nodejs", HOST_NODE},
        {"perl", HOST_PERL},
        {"php", HOST_PHP},
        {"pypy", HOST_PYTHON},
        {"python", HOST_PYTHON},
        {"ruby", HOST_RUBY},
        {"sh", HOST_SHELL},
        {"tclsh", HOST_TCL},
        {"wish", HOST_TCL},
        {"zsh", HOST_ZSH},
        {"ld", HOST_LOADER},
        {"libc.musl", HOST_LOADER},
        {"FEX", HOST_LOADER},
        {"FEXInterpreter", HOST_LOADER},
        {"box64", HOST_LOADER},
        {"box86", HOST_LOADER},
        {"callgrind", HOST_LOADER},
        {"cachegrind", HOST_LOADER},
        {"memcheck", HOST_LOADER},
        {"none-amd64", HOST_LOADER},
        {"qemu-aarch64", HOST_QEMU},
        {"qemu-arm", HOST_QEMU},
        {"qemu-i386", HOST_QEMU},
        {"qemu-riscv64", HOST_QEMU},
        {"qemu-x86_64", HOST_QEMU},
        {"valgrind", HOST_LOADER},
        {"wine", HOST_WINE},
        {"wine64", HOST_WINE},
};

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

enum host host_of(const char *path)
{
        const char *name = base_name(path);

        for (size_t i = 0; i < ELEMENTSOF(hosts); i++) {
                size_t size = strlen(hosts[i].word);
                char next;

                if (strncmp(name, hosts[i].word, size) != 0)
                        continue;
                next = name[size];
                if (next == '\0' || isdigit((unsigned char)next) || strchr(".-_", next))
                        return hosts[i].host;
        }
        return HOST_NONE;
}

bool path_join(const char *cwd, const char *path, char *ret, size_t size)
{
        const char *const parts[] = {path[0] == '/' ? "" : cwd, path};
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                for (const char *p = parts[i]; *p;) {
                        size_t length;

                        p += strspn(p, "/");
                        length = strcspn(p, "/");
                        if (length == 2 && memcmp(p, "..", 2) == 0) {
                                while (n > 0 && ret[--n] != '/')
                                        ;
                        } else if (length > 0 && !(length == 1 && p[0] == '.')) {
                                if (n + 1 + length >= size)
                                        return false;
                                ret[n++] = '/';
                                memcpy(ret + n, p, length);
                                n += length;
                        }
                        p += length;
                }
        }
        if (n == 0)
                ret[n++] = '/';
        ret[n] = '\0';
        return true;
}
