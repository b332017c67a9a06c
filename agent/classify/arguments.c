/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include "agent/classify/arguments.h"
#include "base/cleanup.h"
#include "base/text.h"

/* What is known of an option stands behind its name: one letter (may be bundled with others), or as it is written. What
 * is not listed takes no value. A word without '-' is a command in front of the file. */
enum option_kind {
        OPTION_NONE,
        OPTION_FLAG = '.',
        OPTION_VALUE = ':', /* the rest of its bundle, behind '=', or the next argument */
        OPTION_NEXT = ';', /* the next argument, and the bundle goes on */
        OPTION_REST = '?', /* the rest of its bundle if any */
        OPTION_ALSO = '@',
        OPTION_LIST = '*', /* the same, several between colons */
        OPTION_AGENT = '^', /* the same, between ':' and '=' */
        OPTION_FILE = '>',
        OPTION_MODULE = '=',
        OPTION_STDIN = '<',
        OPTION_TEXT = '#', /* a program's text; a file may follow, standard input is data */
        OPTION_END = '!', /* a program's text follows, or nothing is run */
        OPTION_SHELL = '~', /* a command that is a shell */
};

#define SHELL_OPTIONS "c! s< --emulate: "

static const struct grammar {
        const char *options;
        bool has_plus; /* "+x" is an option, "-" ends them */
        bool reads_stdin; /* what it runs, if nothing else is named */
        bool is_open; /* has more options with a value than are listed */
        bool has_commands; /* another word than those listed is none of a shell */
} grammars[_HOST_MAX] = {
        [HOST_ELECTRON] = {"e! r@ --eval! --require@"},
        [HOST_LOADER] =
                {"--library-path: --glibc-hwcaps-prepend: --glibc-hwcaps-mask: --inhibit-rpath: --audit: --preload: "
                 "--argv0: --list! --verify! --list-diagnostics! --list-tunables!"},
        [HOST_QEMU] = {"-g: -L: -s: -cpu: -E: -U: -0: -r: -B: -R: -d: -dfilter: -D: -p: -plugin: -seed: -t: -trace: "
                       "-rtsig-map: -h! -help! -version!"},
        [HOST_BASH] = {SHELL_OPTIONS "o; O; --init-file@ --rcfile@", .has_plus = true, .reads_stdin = true},
        [HOST_BUN] = {"run. test. exec! x! repl! e! p! r@ c: d: --eval! --print! --require@ --import@ --preload@ "
                      "--config: "
                      "--cwd: --define: --env-file: --external: --loader: --port: --conditions: --inspect.",
                      .is_open = true},
        [HOST_BUSYBOX] = {"ash~ hush~ sh~ busybox.", .has_commands = true},
        [HOST_DENO] =
                {"run. test. bench. serve. eval! repl! c: L: --config: --import-map: --lock: --cert: --location: "
                 "--seed: --log-level: --env-file: --ext: --reload. --quiet. --allow-all. --no-check. --no-lock. "
                 "--unstable. --watch. --check. --inspect. --no-config. --no-remote. --no-npm. --cached-only. "
                 "--allow-net. --allow-read. --allow-write. --allow-env. --allow-run. --allow-sys. --allow-ffi. "
                 "--no-prompt. --preload@ --import@ --require@",
                 .reads_stdin = true, .is_open = true},
        [HOST_DOTNET] =
                {"exec. --depsfile: --runtimeconfig: --additionalprobingpath: --additional-deps: --fx-version: "
                 "--roll-forward: --roll-forward-on-no-candidate-fx:"},
        [HOST_FISH] = {"c! n! C: d: D: f: o: p: --command! --no-execute! --init-command: --debug: --debug-output: "
                       "--debug-stack-frames: --features: --profile: --profile-startup:",
                       .reads_stdin = true},
        [HOST_GJS] = {"c! C: I: --command! --coverage-prefix: --coverage-output: --include-path:",
                      .reads_stdin = true},
        [HOST_GUILE] = {"c! s> l@ e: C: L: x: -ds. --language:", .reads_stdin = true},
        [HOST_JAVA] = {"-jar. -cp* -classpath* --class-path* -p* --module-path* -javaagent^ -Xbootclasspath/a^ -m= "
                       "--module= --source: "
                       "--upgrade-module-path: --add-modules: --enable-native-access: --limit-modules: --add-reads: "
                       "--add-exports: --add-opens: --patch-module: --finalization: -d! --describe-module! "
                       "-version! --version! --list-modules! --dry-run!"},
        [HOST_LUA] = {"e# l@ j: b! ", .reads_stdin = true},
        [HOST_MONO] =
                {"--config: --attach: --verify-all. --debug. --server. --desktop. --gc. --llvm. --nollvm. --interp. "
                 "--optimize. --trace. --profile. --aot. --verbose. -v.",
                 .is_open = true},
        [HOST_NODE] =
                {"inspect. e! p! c! r@ C: --eval! --print! --check! --require@ --import@ --loader@ "
                 "--experimental-loader@ --conditions: --cpu-prof-dir: --cpu-prof-interval: --cpu-prof-name: "
                 "--diagnostic-dir: --disable-proto: --disable-warning: --dns-result-order: --env-file: "
                 "--env-file-if-exists: --experimental-default-type: --experimental-policy: "
                 "--experimental-sea-config: --heap-prof-dir: --heap-prof-interval: --heap-prof-name: "
                 "--heapsnapshot-near-heap-limit: --heapsnapshot-signal: --icu-data-dir: --input-type: "
                 "--debug-port: --inspect-port: --inspect-publish-uid: --localstorage-file: "
                 "--max-http-header-size: --openssl-config: --policy-integrity: --redirect-warnings: "
                 "--report-dir: --report-directory: --report-filename: --report-signal: --secure-heap: "
                 "--secure-heap-min: --snapshot-blob: --stack-trace-limit: --test-concurrency: "
                 "--test-name-pattern: --test-reporter: --test-reporter-destination: --test-shard: "
                 "--test-timeout: --title: --tls-cipher-list: --tls-keylog: --trace-event-categories: "
                 "--trace-event-file-pattern: --trace-require-module: --unhandled-rejections: --use-largepages: "
                 "--v8-pool-size: --watch-path: --build-snapshot-config:",
                 .reads_stdin = true},
        [HOST_PERL] = {"e! E! c! I: C? D? F? M? V? d? i? m? x?", .reads_stdin = true},
        [HOST_PHP] =
                {"B! E! R! i! l! m! r! s! w! f> F@ z@ S: T: b: c: d: t: --bindpath: --define: --docroot: --file> "
                 "--info! --modules! --php-ini: --process-begin! --process-code! --process-end! --process-file@ "
                 "--run! --server: --strip! --syntax-check! --syntax-highlight! --timing: --zend-extension@",
                 .reads_stdin = true},
        [HOST_PYTHON] = {"c! m= W: X: Q: --check-hash-based-pycs: --jit:", .reads_stdin = true},
        [HOST_RUBY] = {"c! e! r@ C: E: I: X: F? K? T? W? i? x? --disable: --dump! --enable: --encoding: "
                       "--external-encoding: --internal-encoding:",
                       .reads_stdin = true},
        [HOST_SHELL] = {SHELL_OPTIONS "o;", .has_plus = true, .reads_stdin = true},
        [HOST_TCL] = {"-encoding:", .reads_stdin = true},
        [HOST_ZSH] = {SHELL_OPTIONS "o:", .has_plus = true, .reads_stdin = true},
};

/* The kind of the option with this name; OPTION_NONE it is not listed. */
static enum option_kind find(const struct grammar *g, const char *name, size_t size)
{
        for (const char *p = g->options ? g->options : ""; *p; p += strspn(p, " ")) {
                size_t length = strcspn(p, " ");

                if (length == size + 1 && memcmp(p, name, size) == 0)
                        return (enum option_kind)p[size];
                p += length;
        }
        return OPTION_NONE;
}

static bool emit(struct host_walk *w, enum host_role role, const char *name, struct host_target *ret)
{
        w->is_ended |= role == HOST_RUNS || role == HOST_MODULE;
        *ret = (struct host_target){.name = name,
                                    .size = strlen(name),
                                    .role = role,
                                    .at = w->at - 1,
                                    .is_windows = w->host == HOST_WINE};
        return true;
}

static bool emit_stdin(struct host_walk *w, struct host_target *ret)
{
        return emit(w, HOST_RUNS, "/dev/stdin", ret);
}

static bool next_of_list(struct host_walk *w, struct host_target *ret)
{
        size_t size = strcspn(w->list, ":");

        *ret = (struct host_target){.name = w->list, .size = size, .role = HOST_ALSO, .at = w->at - 1};
        w->list += size;
        w->list = *w->list ? w->list + 1 : NULL;
        return true;
}

/* `value`: in the same argument, else NULL. */
static bool take(struct host_walk *w, enum option_kind kind, const char *value, struct host_target *ret)
{
        if (kind == OPTION_END)
                w->is_ended = true;
        if (kind == OPTION_STDIN)
                return emit_stdin(w, ret);
        if (kind == OPTION_END || kind == OPTION_FLAG || kind == OPTION_REST || kind == OPTION_SHELL)
                return false;
        w->has_text |= kind == OPTION_TEXT;
        if (!value)
                value = w->argv[w->at] ? w->argv[w->at++] : NULL;
        if (!value)
                return false;
        if (kind == OPTION_FILE || kind == OPTION_MODULE || kind == OPTION_ALSO)
                return emit(w,
                            kind == OPTION_FILE     ? HOST_RUNS
                            : kind == OPTION_MODULE ? HOST_MODULE
                                                    : HOST_ALSO,
                            value, ret);
        if (kind == OPTION_LIST) {
                w->list = value;
                return next_of_list(w, ret);
        }
        return false;
}

static bool take_bundle(struct host_walk *w, const struct grammar *g, const char *letters, struct host_target *ret)
{
        for (; *letters; letters++) {
                enum option_kind kind = find(g, letters, 1);

                if (kind == OPTION_NEXT)
                        w->at += w->argv[w->at] != NULL;
                else if (kind != OPTION_NONE)
                        return take(w, kind, letters[1] ? letters + 1 : NULL, ret);
        }
        return false;
}

static bool take_agent(struct host_walk *w, const char *value, struct host_target *ret)
{
        emit(w, HOST_ALSO, value, ret);
        ret->size = strcspn(value, "=");
        return true;
}

static bool take_option(struct host_walk *w, const char *option, struct host_target *ret)
{
        const struct grammar *g = &grammars[w->host];
        const char *name = option, *value;
        enum option_kind kind;

        if (w->host == HOST_QEMU && text_starts_with(name, "--")) /* linux-user/main.c: "--foo" is "-foo" */
                name++;
        if (strcmp(name, "--") == 0 || (w->host == HOST_QEMU && strcmp(name, "-") == 0) ||
            (g->has_plus && strcmp(name, "-") == 0)) {
                w->only_words = true;
                return false;
        }
        if (strcmp(name, "-") == 0)
                return emit_stdin(w, ret);
        value = name + strcspn(name, "=");
        kind = find(g, name, (size_t)(value - name));
        if (kind != OPTION_NONE)
                return take(w, kind, *value ? value + 1 : NULL, ret);
        value = strchr(name, ':');
        if (value && find(g, name, (size_t)(value - name)) == OPTION_AGENT)
                return take_agent(w, value + 1, ret);
        if (name[1] != '-')
                return take_bundle(w, g, name + 1, ret);
        w->may_be_value = g->is_open && !strchr(name, '=');
        return false;
}

static void take_command(struct host_walk *w, const char *name)
{
        const char *slash = strrchr(name, '/');
        enum option_kind kind;

        name = slash ? slash + 1 : name;
        kind = find(&grammars[w->host], name, strlen(name));
        if (kind == OPTION_SHELL)
                w->host = HOST_SHELL;
        else
                w->is_ended = kind != OPTION_FLAG;
}

static bool take_word(struct host_walk *w, const char *word, struct host_target *ret)
{
        const struct grammar *g = &grammars[w->host];
        enum option_kind kind;

        if (g->has_commands) {
                take_command(w, word);
                return false;
        }
        kind = w->has_verb || w->only_words || !word[0] || !word[1] ? OPTION_NONE : find(g, word, strlen(word));
        if (kind != OPTION_NONE) {
                w->has_verb = true;
                return take(w, kind, NULL, ret);
        }
        emit(w, w->may_be_value ? HOST_MAYBE : HOST_RUNS, word, ret);
        w->may_be_value = false;
        return true;
}

void host_begin(struct host_walk *w, enum host h, const char *const *argv)
{
        const char *name = argv[0] ? argv[0] + (argv[0][0] == '-') : NULL; /* a login shell's */

        *w = (struct host_walk){.host = h, .argv = argv, .at = name != NULL};
        if (!name || h == HOST_NONE || h == HOST_BROWSER)
                w->is_ended = true;
        else if (h == HOST_BUSYBOX && host_of(name) != HOST_BUSYBOX) /* by a link with a command's name */
                take_command(w, name);
}

bool host_next(struct host_walk *w, struct host_target *ret)
{
        if (w->list)
                return next_of_list(w, ret);
        while (!w->is_ended && w->argv[w->at]) {
                const char *a = w->argv[w->at++];
                bool is_option = a[0] == '-' || (a[0] == '+' && grammars[w->host].has_plus);

                if (is_option && !w->only_words ? take_option(w, a, ret) : take_word(w, a, ret))
                        return true;
        }
        if (w->is_ended || w->has_text || !grammars[w->host].reads_stdin)
                return false;
        return emit_stdin(w, ret);
}

size_t host_arguments(enum host h, const char *const *argv)
{
        struct host_target t;
        struct host_walk w;

        host_begin(&w, h, argv);
        while (host_next(&w, &t))
                if (t.role != HOST_ALSO)
                        return t.at + 1;
        return w.is_ended && w.at > 1 ? w.at - 1 : w.at; /* -c itself does not say anything */
}
