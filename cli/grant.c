/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `exemption`, `break-glass` and `request` share. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "cli/exemption.h"
#include "cli/signing.h"
#include "trust/trust.h"

#define TOKEN_PREFIX    "onchannel:"
#define TOKEN_VARIANT   sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define TOKEN_MAX_BYTES (2 * (EXEMPTION_MAX_BYTES + TRUST_SIGNATURE_MAX_BYTES))

int duration_parse(const char *text, uint64_t *ret_s)
{
        static const struct {
                char letter;
                unsigned seconds;
        } units[] = {{'m', 60}, {'h', 3600}, {'d', 86400}};
        const size_t size = strlen(text);
        char number[16];
        uint64_t n;

        if (size < 2 || size > sizeof(number))
                return -EINVAL;
        memcpy(number, text, size - 1);
        number[size - 1] = 0;
        if (parse_u64(number, EXEMPTION_DAYS_MAX * 1440, &n) < 0 || n == 0)
                return -EINVAL;
        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (text[size - 1] == units[i].letter) {
                        *ret_s = n * units[i].seconds;
                        return 0;
                }
        return -EINVAL;
}

/* Points into a copy of the words; both free(). */
static int split(const char *words, char **ret_copy, char ***ret)
{
        char *copy, *rest, *word, **list;
        size_t n = 0;

        if (!words)
                return 0;
        copy = strdup(words);
        list = calloc(strlen(words) + 2, sizeof(*list));
        *ret_copy = rest = copy;
        *ret = list;
        if (!copy || !list)
                return -ENOMEM;
        while ((word = strsep(&rest, ",")))
                if (*word)
                        list[n++] = word;
        return 0;
}

static int set_times(const struct cli *c, const struct grant_options *o, struct exemption *e)
{
        const time_t now = time(NULL);
        uint64_t lasting;

        e->from = now;
        if (o->from && time_parse(o->from, &e->from) < 0)
                return cli_fail(c, STATUS_FAILED, "--from: '%s' is no time like 2027-02-21T00:00:00Z", o->from);
        if (o->until)
                return time_parse(o->until, &e->until) >= 0
                               ? STATUS_OK
                               : cli_fail(c, STATUS_FAILED, "--until: '%s' is no time like 2027-02-21T00:00:00Z",
                                          o->until);
        if (duration_parse(o->lasting, &lasting) < 0)
                return cli_fail(c, STATUS_FAILED, "--for: '%s' is no time like 90m, 8h or 3d", o->lasting);
        e->until = e->from + (time_t)lasting;
        return STATUS_OK;
}

static int print_token(const struct cli *c, const char *text, const char *file)
{
        _cleanup_free_ char *path = format_new("%s.minisig", file), *minisig = NULL, *whole = NULL, *token = NULL;
        size_t size, n;
        int r;

        r = path ? read_input(c, path, TRUST_SIGNATURE_MAX_BYTES, &minisig, &size) : STATUS_FAILED;
        if (r != STATUS_OK)
                return r;
        whole = format_new("%s%s", text, minisig);
        n = sodium_base64_encoded_len(whole ? strlen(whole) : 0, TOKEN_VARIANT);
        token = malloc(n);
        if (!whole || !token)
                return cli_fail(c, STATUS_FAILED, "out of memory");
        sodium_bin2base64(token, n, (const uint8_t *)whole, strlen(whole), TOKEN_VARIANT);
        printf("as one line, for 'onchannel break-glass use -':\n" TOKEN_PREFIX "%s\n", token);
        return STATUS_OK;
}

static int sign_exemption(const struct cli *c, const struct exemption *e, struct signing *s)
{
        _cleanup_free_ char *what = NULL, *comment = NULL;
        int r;

        if (exemption_comment_new(e, &what) < 0)
                return cli_fail(c, STATUS_FAILED, "out of memory");
        s->what = what;
        s->until = e->until;
        r = sign_file(c, s, &comment);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_pack("{s:b,s:s,s:s,s:s,s:s}", "ok", 1, "file", s->file, "kind",
                                            exemption_kind_to_string(e->kind), "id", e->id, "comment", comment));
        printf("%s: %s\n", s->file, comment);
        return STATUS_OK;
}

static int write_signed(const struct cli *c, const struct exemption *e, const struct grant_options *o,
                        const char *file, bool token)
{
        _cleanup_free_ char *text = NULL;
        struct signing s = {.file = file, .key = o->key, .write_data = true};
        int r;

        r = exemption_format(e, &text);
        if (r == -EINVAL)
                return cli_fail(
                        c, STATUS_FAILED,
                        "an agent would refuse that: at most %d days (break-glass: %d h), ids and names without "
                        "blanks, texts without ' ;'",
                        EXEMPTION_DAYS_MAX, BREAK_GLASS_HOURS_MAX);
        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "cannot write '%s': %s", file, strerror(-r));
        s.data = text;
        s.size = strlen(text);
        r = sign_exemption(c, e, &s);
        return r == STATUS_OK && token ? print_token(c, text, file) : r;
}

int grant_sign(const struct cli *c, const char *file, const char *key, bool add)
{
        _cleanup_exemption_ struct exemption *e = NULL;
        _cleanup_free_ char *text = NULL;
        struct signing s = {.file = file, .key = key, .add = add};
        struct diag d = {0};
        int r;

        r = read_input(c, file, EXEMPTION_MAX_BYTES, &text, &s.size);
        if (r != STATUS_OK)
                return r;
        r = exemption_parse(text, s.size, file, &e, &d);
        if (r < 0)
                return cli_fail_diag(c, &d, r);
        s.data = text;
        return sign_exemption(c, e, &s);
}

int grant_write(const struct cli *c, enum exemption_kind kind, const struct grant_options *o, const char *file,
                bool token)
{
        char *copies[5] = {0}, **lists[5] = {0};
        const char *const words[] = {o->channels, o->users, o->unixgroups, o->devices, o->revokes};
        char id[EXEMPTION_ID_MAX + 1];
        struct exemption e = {.kind = kind, .id = id, .reason = (char *)o->reason, .approver = (char *)o->approver};
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(words) && r >= 0; i++)
                r = split(words[i], &copies[i], &lists[i]);
        e.channels = lists[0];
        e.users = lists[1];
        e.unixgroups = lists[2];
        e.devices = lists[3];
        e.revokes = lists[4];
        exemption_id_make(kind, time(NULL), randombytes_random(), id);
        if (o->id)
                snprintf(id, sizeof(id), "%s", o->id);
        r = r < 0 ? cli_fail(c, STATUS_FAILED, "out of memory") : STATUS_OK;
        if (r == STATUS_OK && kind != EXEMPTION_REVOCATION)
                r = set_times(c, o, &e);
        if (r == STATUS_OK)
                r = write_signed(c, &e, o, file, token);
        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                free(copies[i]);
                free(lists[i]);
        }
        return r;
}

/* A token is the file and its signature in one; the signature begins with its first line. */
static int read_token(const struct cli *c, char **ret_text, char **ret_minisig)
{
        _cleanup_free_ char *line = NULL, *whole = calloc(1, TOKEN_MAX_BYTES + 1);
        const char *begin, *cut;
        size_t allocated = 0, size;

        if (!whole || getline(&line, &allocated, stdin) < 0)
                return cli_fail(c, STATUS_FAILED, "no token was given");
        line[strcspn(line, "\r\n")] = 0;
        begin = text_starts_with(line, TOKEN_PREFIX) ? line + strlen(TOKEN_PREFIX) : line;
        if (sodium_base642bin((uint8_t *)whole, TOKEN_MAX_BYTES, begin, strlen(begin), " ", &size, NULL,
                              TOKEN_VARIANT) < 0 ||
            strlen(whole) != size || !(cut = strstr(whole, "untrusted comment: ")))
                return cli_fail(c, STATUS_FAILED,
                                "that is no token: copy the whole line that begins with '" TOKEN_PREFIX "'");
        *ret_minisig = strdup(cut);
        *ret_text = strndup(whole, (size_t)(cut - whole));
        return *ret_minisig && *ret_text ? STATUS_OK : cli_fail(c, STATUS_FAILED, "out of memory");
}

static int read_pair(const struct cli *c, const char *file, char **ret_text, char **ret_minisig)
{
        _cleanup_free_ char *path = format_new("%s.minisig", file);
        size_t size;
        int r;

        if (!strcmp(file, "-"))
                return read_token(c, ret_text, ret_minisig);
        r = read_input(c, file, EXEMPTION_MAX_BYTES, ret_text, &size);
        return r == STATUS_OK && path ? read_input(c, path, TRUST_SIGNATURE_MAX_BYTES, ret_minisig, &size) : r;
}

static const char *held_state(const json_t *answer, const char *id)
{
        const json_t *list = json_object_get(answer, "exemptions"), *e;
        size_t i;

        json_array_foreach(list, i, e)
        {
                if (!strcmp(json_text(e, "id"), id))
                        return json_text(e, "state");
        }
        return "taken";
}

int grant_install(const struct cli *c, const char *file)
{
        _cleanup_exemption_ struct exemption *e = NULL;
        _cleanup_free_ char *text = NULL, *minisig = NULL;
        json_auto_t *answer = NULL;
        struct diag d = {0};
        int r;

        r = read_pair(c, file, &text, &minisig);
        if (r != STATUS_OK)
                return r;
        if (exemption_parse(text, strlen(text), file, &e, &d) < 0)
                return cli_fail_diag(c, &d, -EBADMSG);
        r = agent_ask(c, json_pack("{s:s,s:s,s:s}", "verb", "exemption", "text", text, "minisig", minisig), &answer);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_pack("{s:b,s:s,s:s,s:s}", "ok", 1, "kind", exemption_kind_to_string(e->kind),
                                            "id", e->id, "state", held_state(answer, e->id)));
        print_line("%s %s: %s", exemption_kind_to_string(e->kind), e->id, held_state(answer, e->id));
        return STATUS_OK;
}
