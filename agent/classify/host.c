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
        {"bash", HOST_INTERPRETER},
        {"bun", HOST_INTERPRETER},
        {"busybox", HOST_INTERPRETER},
        {"dash", HOST_INTERPRETER},
        {"deno", HOST_INTERPRETER},
        {"dotnet", HOST_INTERPRETER},
        {"fish", HOST_INTERPRETER},
        {"gjs", HOST_INTERPRETER},
        {"guile", HOST_INTERPRETER},
        {"java", HOST_INTERPRETER},
        {"ksh", HOST_INTERPRETER},
        {"lua", HOST_INTERPRETER},
        {"mono", HOST_INTERPRETER},
        {"node", HOST_INTERPRETER},
        {"nodejs", HOST_INTERPRETER},
        {"perl", HOST_INTERPRETER},
        {"php", HOST_INTERPRETER},
        {"pypy", HOST_INTERPRETER},
        {"python", HOST_INTERPRETER},
        {"ruby", HOST_INTERPRETER},
        {"sh", HOST_INTERPRETER},
        {"tclsh", HOST_INTERPRETER},
        {"wish", HOST_INTERPRETER},
        {"zsh", HOST_INTERPRETER},
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
        {"qemu-aarch64", HOST_LOADER},
        {"qemu-arm", HOST_LOADER},
        {"qemu-i386", HOST_LOADER},
        {"qemu-riscv64", HOST_LOADER},
        {"qemu-x86_64", HOST_LOADER},
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

/* Options of ld.so(8), qemu-user(1) and valgrind(1) without a value in the next argument. */
static bool is_loader_flag(const char *option)
{
        static const char *const flags[] = {"--inhibit-cache",  "--list",      "--quiet", "--verbose", "--verify",
                                            "-one-insn-per-tb", "-singlestep", "-strace", "-q",        "-v"};

        for (size_t i = 0; i < ELEMENTSOF(flags); i++)
                if (strcmp(option, flags[i]) == 0)
                        return true;
        return strchr(option, '=') != NULL;
}

/* Options of interpreters whose value is the next argument. */
static bool has_value(const char *option)
{
        static const char *const options[] = {"-I", "-W", "-X", "-r", "--require"};

        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (strcmp(option, options[i]) == 0)
                        return true;
        return false;
}

/* Python's "-m NAME", "-Im NAME", "-mNAME": the name; NULL another option. */
static const char *module_of(const char *const *a)
{
        static const char letters[] = "bBdEhiIOPqsSuvVx"; /* python3(1): flags */
        size_t n = 1 + strspn(*a + 1, letters);

        if ((*a)[n] != 'm')
                return NULL;
        return (*a)[n + 1] ? *a + n + 1 : a[1];
}

struct host_target host_target(enum host h, const char *const *argv)
{
        const struct host_target none = {};

        if (h == HOST_NONE || h == HOST_BROWSER || !argv[0])
                return none;
        for (const char *const *a = argv + 1; *a; a++) {
                if ((*a)[0] != '-')
                        return (struct host_target){.name = *a, .is_file = true};
                if (h == HOST_LOADER) {
                        if (!is_loader_flag(*a) && a[1])
                                a++;
                } else if (strcmp(*a, "-c") == 0 || strcmp(*a, "-e") == 0) {
                        return none; /* program text, not a file */
                } else if (strcmp(*a, "--") == 0 || strcmp(*a, "-jar") == 0) {
                        return (struct host_target){.name = a[1], .is_file = a[1]};
                } else if (module_of(a)) {
                        return (struct host_target){.name = module_of(a), .is_file = strchr(module_of(a), '/')};
                } else if (has_value(*a) && a[1]) {
                        a++;
                }
        }
        return none;
}

/* "-c", "-lc", "-Ic", "-e", "-ne": what follows is text of a program. */
static bool is_text_next(const char *option)
{
        size_t size = strlen(option);

        return size >= 2 && size <= 5 && option[1] != '-' && strchr("ce", option[size - 1]);
}

/* An option of which it is not known that what runs stands behind it. */
static bool may_have_value(const char *argument)
{
        return argument[0] == '-' && strcmp(argument, "-jar") != 0 && strcmp(argument, "-m") != 0 &&
               strcmp(argument, "--") != 0;
}

/* "dotnet exec", "deno run" */
static bool is_verb(const char *argument)
{
        return strcmp(argument, "exec") == 0 || strcmp(argument, "run") == 0;
}

size_t host_arguments(const char *const *argv)
{
        size_t n = argv[0] ? 1 : 0;

        while (n > 0 && argv[n]) {
                bool is_option = argv[n][0] == '-', may_be_value = n > 1 && may_have_value(argv[n - 1]);

                if (is_option && is_text_next(argv[n]))
                        return n;
                n++;
                if (!is_option && !may_be_value && !is_verb(argv[n - 1]))
                        return n;
        }
        return n;
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
