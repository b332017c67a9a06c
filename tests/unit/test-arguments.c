/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a host's arguments make it run, and what is data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "agent/classify/arguments.h"
#include "base/cleanup.h"

#define MAX_ARGUMENTS 10

struct example {
        const char *argv[MAX_ARGUMENTS];
        const char *targets; /* each with its role's letter: run, module, maybe (?), also (+) */
        size_t n; /* arguments that may say what runs */
};

/* Each by what the real one does with it. */
static const struct example examples[] = {
        {{"python3", "chat.py", "data.jar"}, "r chat.py", 2},
        {{"python3", "-u", "tool.py", "chat.py"}, "r tool.py", 3},
        {{"python3", "-u", "-B", "x.py"}, "r x.py", 4},
        {{"python3", "-W", "ignore", "-X", "dev", "x.py", "y.py"}, "r x.py", 6},
        {{"python3", "-BW", "ignore", "x.py"}, "r x.py", 4},
        {{"python3", "-Wignore", "-IXdev", "x.py", "y.py"}, "r x.py", 4},
        {{"python3", "--check-hash-based-pycs", "default", "x.py", "y"}, "r x.py", 4},
        {{"python3", "--unheard-of", "x.py", "y.py"}, "r x.py", 3},
        {{"python3", "-c", "pass", "chat.py"}, "", 1},
        {{"python3", "-Ic", "chat.py"}, "", 1},
        {{"python3", "-Wcx", "chat.py"}, "r chat.py", 3},
        {{"python3", "-m", "gajim", "x"}, "m gajim", 3},
        {{"python3", "-mgajim"}, "m gajim", 2},
        {{"python3", "-Im", "gajim", "x"}, "m gajim", 3},
        {{"python3", "-m", "json.tool", "chat.py"}, "m json.tool", 3},
        {{"python3", "--", "-c", "x"}, "r -c", 3},
        {{"python3", "-", "chat.py"}, "r /dev/stdin", 2},
        {{"python3"}, "r /dev/stdin", 1},
        {{"pypy3", "--jit", "off", "x.py"}, "r x.py", 4},
        {{"bash", "-O", "extglob", "chat", "x"}, "r chat", 4},
        {{"bash", "+x", "+o", "posix", "chat", "x"}, "r chat", 5},
        {{"bash", "-eo", "pipefail", "chat", "x"}, "r chat", 4},
        {{"bash", "-oe", "pipefail", "chat"}, "r chat", 4},
        {{"bash", "-oc", "pipefail", "chat"}, "", 2},
        {{"bash", "-m", "chat"}, "r chat", 3},
        {{"bash", "--rcfile", "chat", "-i"}, "+ chat r /dev/stdin", 4},
        {{"bash", "--init-file", "x", "chat", "y"}, "+ x r chat", 4},
        {{"bash", "-", "-chat", "x"}, "r -chat", 3},
        {{"bash", "-lc", "chat.py"}, "", 1},
        {{"bash", "-s", "chat"}, "r /dev/stdin", 2},
        {{"sh", "-c", ": chat.py"}, "", 1},
        {{"sh", "--", "chat", "data"}, "r chat", 3},
        {{"sh", "-O", "chat"}, "r chat", 3},
        {{"zsh", "-oshwordsplit", "-o", "x", "chat", "y"}, "r chat", 5},
        {{"fish", "-C", "true", "-d2", "chat", "x"}, "r chat", 5},
        {{"busybox", "sh", "-x", "chat", "y"}, "r chat", 4},
        {{"busybox", "busybox", "sh", "chat", "y"}, "r chat", 4},
        {{"busybox", "cat", "chat"}, "", 1},
        {{"busybox"}, "", 1},
        {{"/bin/ash", "chat"}, "r chat", 2},
        {{"-sh"}, "r /dev/stdin", 1},
        {{"tar", "chat"}, "", 1},
        {{"java", "-cp", "a.jar:chat.jar", "org.chat.Main", "data.jar"}, "+ a.jar + chat.jar r org.chat.Main", 4},
        {{"java", "--class-path=:a.jar", "Main", "data.jar"}, "+  + a.jar r Main", 3},
        {{"java", "-jar", "-Xmx1g", "chat.jar", "data"}, "r chat.jar", 4},
        {{"java", "-cp", "x", "-jar", "chat.jar", "data"}, "+ x r chat.jar", 5},
        {{"java", "-javaagent:a.jar=b=c", "--source", "17", "X.java", "y"}, "+ a.jar r X.java", 5},
        {{"java", "-p", "mods", "-m", "chat/Main", "x"}, "+ mods m chat/Main", 5},
        {{"java", "-jar"}, "", 2},
        {{"node", "--require", "a.js", "b.js", "c.js"}, "+ a.js r b.js", 4},
        {{"node", "--import=a.js", "--title", "x", "b.js", "c"}, "+ a.js r b.js", 5},
        {{"node", "--inspect", "tool.js", "chat.js"}, "r tool.js", 3},
        {{"node", "--check", "chat.js"}, "", 1},
        {{"node", "-pe", "1", "chat.js"}, "", 1},
        {{"node", "inspect", "chat.js", "x"}, "r chat.js", 3},
        {{"deno", "run", "-A", "--unheard-of", "x", "chat.ts", "y"}, "? x r chat.ts", 5},
        {{"deno", "eval", "chat.ts"}, "", 1},
        {{"deno", "run", "--allow-net", "tool.ts", "chat.ts"}, "r tool.ts", 4},
        {{"deno", "run", "--config", "x", "chat.ts"}, "r chat.ts", 5},
        {{"bun", "run", "--unheard-of=x", "chat.ts"}, "r chat.ts", 4},
        {{"dotnet", "exec", "--depsfile", "x", "chat.dll", "y"}, "r chat.dll", 5},
        {{"dotnet", "exec", "chat.dll", "x"}, "r chat.dll", 3},
        {{"dotnet", "exec", "run", "x"}, "r run", 3},
        {{"mono", "--debug", "tool.exe", "chat.exe"}, "r tool.exe", 3},
        {{"perl", "-wTI", "lib", "chat", "x"}, "r chat", 4},
        {{"perl", "-i.e", "-Mstrict", "-0777", "chat", "x"}, "r chat", 5},
        {{"perl", "-ne", "chat.py", "x"}, "", 1},
        {{"perl", "-wc", "chat"}, "", 1},
        {{"ruby", "-C", "/", "-rset", "-EUTF-8", "chat", "x"}, "+ set r chat", 6},
        {{"ruby", "-e", "1", "chat"}, "", 1},
        {{"php", "-d", "x=1", "-f", "chat", "y"}, "r chat", 5},
        {{"php", "--file=chat", "y"}, "r chat", 2},
        {{"php", "-S", "localhost:80", "chat"}, "r chat", 4},
        {{"php", "-l", "chat"}, "", 1},
        {{"lua5.4", "-l", "set", "-e", "x=1", "chat", "y"}, "+ set r chat", 6},
        {{"lua", "-ex=1"}, "", 2},
        {{"lua"}, "r /dev/stdin", 1},
        {{"tclsh", "-encoding", "utf-8", "chat", "x"}, "r chat", 4},
        {{"guile", "-e", "main", "-s", "chat", "x"}, "r chat", 5},
        {{"gjs", "-m", "-I", "x", "chat", "y"}, "r chat", 5},
        {{"electron", "--no-sandbox", "/opt/Chat/resources/app.asar"}, "r /opt/Chat/resources/app.asar", 3},
        {{"electron"}, "", 1},
        {{"ld.so", "--library-path", "/lib", "--inhibit-cache", "/usr/bin/chat", "x"}, "r /usr/bin/chat", 5},
        {{"ld.so", "--list", "/usr/bin/chat"}, "", 1},
        {{"ld.so", "--preload"}, "", 2},
        {{"qemu-x86_64", "-strace", "-L", "/", "chat", "x"}, "r chat", 5},
        {{"qemu-x86_64", "-perfmap", "--cpu", "max", "chat"}, "r chat", 5},
        {{"valgrind", "-q", "--tool=none", "-d", "chat", "x"}, "r chat", 5},
        {{"wine", "C:\\CHAT.exe", "x"}, "r C:\\CHAT.exe", 2},
        {{"chrome", "x"}, "", 1},
        {{"cat", "x"}, "", 1},
        {{NULL}, "", 0},
};

static enum host host_of_example(const struct example *e)
{
        if (e->argv[0] &&
            (strcmp(e->argv[0], "/bin/ash") == 0 || strcmp(e->argv[0], "-sh") == 0 || strcmp(e->argv[0], "tar") == 0))
                return HOST_BUSYBOX;
        return e->argv[0] ? host_of(e->argv[0]) : HOST_PYTHON;
}

static void test_targets(void **state)
{
        static const char roles[] = {[HOST_RUNS] = 'r', [HOST_MODULE] = 'm', [HOST_MAYBE] = '?', [HOST_ALSO] = '+'};

        for (size_t i = 0; i < ELEMENTSOF(examples); i++) {
                const struct example *e = &examples[i];
                char text[256] = "";
                struct host_target t;
                struct host_walk w;
                size_t n = 0;

                host_begin(&w, host_of_example(e), e->argv);
                while (host_next(&w, &t))
                        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%c %.*s", n ? " " : "", roles[t.role],
                                              (int)t.size, t.name);
                if (strcmp(text, e->targets) != 0)
                        fail_msg("case %zu, %s: '%s', not '%s'", i, e->argv[0], text, e->targets);
        }
}

static void test_arguments(void **state)
{
        for (size_t i = 0; i < ELEMENTSOF(examples); i++) {
                size_t n = host_arguments(host_of_example(&examples[i]), examples[i].argv);

                if (n != examples[i].n)
                        fail_msg("case %zu, %s: %zu", i, examples[i].argv[0], n);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_targets),
                cmocka_unit_test(test_arguments),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
