/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "content/content.h"

static const char usage[] = "Usage: onchannel why SUBJECT [--user NAME] [--json]\n"
                            "Which rule decides about a domain name, an address, a program's name, a file by its\n"
                            "path, its package and its content, or a channel.\n"
                            "  --user NAME   for that user (root only)\n";

static enum colour colour_of(const char *verdict)
{
        return !strcmp(verdict, "block") ? COLOUR_BAD : !strcmp(verdict, "watch") ? COLOUR_WARN : COLOUR_GOOD;
}

static void print_why(const struct cli *c, const json_t *w)
{
        const char *verdict = json_text(w, "verdict");
        int64_t decided = (int64_t)json_number(w, "decided_line");

        if (!*json_text(w, "channel")) {
                print_field(c, "verdict", COLOUR_GOOD, "allow");
                print_field(c, "because", COLOUR_NONE, "no channel of the catalogue is known by '%s'",
                            json_text(w, "subject"));
                return;
        }
        print_field(c, "channel", COLOUR_NONE, "%s (%s, %s)", json_text(w, "name"), json_text(w, "channel"),
                    json_text(w, "category"));
        print_field(c, "verdict", colour_of(verdict), "%s", verdict);
        if (strcmp(verdict, json_text(w, "programs")))
                print_field(c, "  programs", colour_of(json_text(w, "programs")), "%s", json_text(w, "programs"));
        if (*json_text(w, "entry"))
                print_field(c, "because", COLOUR_NONE, "%s, %s:%" PRId64, json_text(w, "entry"), json_text(w, "file"),
                            (int64_t)json_number(w, "line"));
        else
                print_field(c, "because", COLOUR_NONE, "that is the channel's name, %s", json_text(w, "file"));
        if (decided)
                print_field(c, "decided by", COLOUR_NONE, "%s, line %" PRId64 " of the policy",
                            json_text(w, "decided_by"), decided);
        else
                print_field(c, "decided by", COLOUR_NONE, "%s", json_text(w, "decided_by"));
        if (*json_text(w, "help"))
                print_field(c, "help", COLOUR_NONE, "%s", json_text(w, "help"));
}

/* What is known by its content is known under any name; the agent itself opens no file for anybody. */
static void add_content(json_t *request, const char *path)
{
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        char print[2 * CONTENT_PRINT_SIZE + 1];
        atomic_bool stop = false;
        struct content c;

        if (fd < 0 || content_read(fd, &c) < 0 || content_add_print(fd, &c, NULL) < 0 ||
            content_add_sha256(fd, &c, &stop) < 0)
                return;
        hex_encode(c.print, sizeof(c.print), print);
        json_object_set_new(request, "dev", json_integer((json_int_t)c.dev));
        json_object_set_new(request, "ino", json_integer((json_int_t)c.ino));
        json_object_set_new(request, "print", json_string(print));
        if (*c.build_id)
                json_object_set_new(request, "build_id", json_string(c.build_id));
        if (*c.sha256)
                json_object_set_new(request, "sha256", json_string(c.sha256));
}

static int ask_why(const struct cli *c, const char *subject, const char *user, json_t **ret)
{
        json_t *request = json_pack("{s:s,s:s,s:s*}", "verb", "why", "subject", subject, "user", user);

        if (request && strchr(subject, '/'))
                add_content(request, subject);
        return agent_ask(c, request, ret);
}

/* Of a file by the name it was asked for, then by the name it has. */
static int ask_subject(const struct cli *c, const char *subject, const char *user, json_t **ret)
{
        _cleanup_free_ char *real = strchr(subject, '/') ? realpath(subject, NULL) : NULL;
        int r = *subject == '/' || !real ? ask_why(c, subject, user, ret) : STATUS_OK;

        if (r != STATUS_OK || !real || (*ret && *json_text(*ret, "channel")) || !strcmp(real, subject))
                return r;
        json_decref(*ret);
        *ret = NULL;
        return ask_why(c, real, user, ret);
}

int command_why(struct cli *c, int argc, char **argv)
{
        const char *user = NULL;
        const struct cli_option options[] = {{"user", 0, &user, NULL}, {0}};
        json_auto_t *w = NULL;
        int r;

        c->usage = usage;
        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1)
                return cli_usage(c, r);
        r = ask_subject(c, argv[0], user, &w);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_incref(w));
        print_why(c, w);
        return STATUS_OK;
}
