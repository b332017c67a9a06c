/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "cli/exemption.h"

static const char usage[] =
        "Usage: onchannel exemption grant FILE --key SECRET --channel ID --for TIME --reason TEXT --approver NAME\n"
        "           [--user LOGIN] [--unixgroup GROUP] [--device PATTERN] [--from TIME] [--until TIME] [--id ID]\n"
        "       onchannel exemption revoke FILE --key SECRET --revokes ID --reason TEXT --approver NAME [--id ID]\n"
        "       onchannel exemption sign FILE --key SECRET [--add]\n"
        "       onchannel exemption install FILE\n"
        "       onchannel exemption list\n"
        "grant    writes FILE and FILE.minisig: these people may use these channels on these devices for a while;\n"
        "         words with commas between them name several; --for 90m, 8h or 3d, or --until in its place\n"
        "revoke   writes a file that ends exemptions and break-glass tokens for ever\n"
        "sign     writes FILE.minisig for a FILE that the collector's page made; --add: a second signature\n"
        "install  hands FILE, or a token from '-', to the agent on this machine\n"
        "list     what the agent on this machine holds\n";

static const char glass_usage[] =
        "Usage: onchannel break-glass make FILE --key SECRET --device ID --for TIME --reason TEXT --approver NAME\n"
        "           [--from TIME] [--until TIME] [--id ID]\n"
        "       onchannel break-glass use FILE\n"
        "make     writes a token for one device, whose id 'onchannel status' shows there, and prints it as one line\n"
        "use      puts this device into mode monitor by FILE, or by a token from '-'; it is recorded\n";

static const char request_usage[] = "Usage: onchannel request CHANNEL --reason TEXT [--for TIME]\n"
                                    "Asks IT security for an exemption; 'onchannel why' names the channel.\n";

static int command_grant(struct cli *c, int argc, char **argv)
{
        struct grant_options o = {0};
        const struct cli_option options[] = {{"key", 0, &o.key, NULL},        {"channel", 0, &o.channels, NULL},
                                             {"user", 0, &o.users, NULL},     {"unixgroup", 0, &o.unixgroups, NULL},
                                             {"device", 0, &o.devices, NULL}, {"from", 0, &o.from, NULL},
                                             {"until", 0, &o.until, NULL},    {"for", 0, &o.lasting, NULL},
                                             {"reason", 0, &o.reason, NULL},  {"approver", 0, &o.approver, NULL},
                                             {"id", 0, &o.id, NULL},          {0}};
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !o.key || !o.channels || !o.reason || !o.approver || !o.until == !o.lasting)
                return cli_usage(c, r);
        if (!o.users && !o.unixgroups && !o.devices)
                return cli_fail(c, STATUS_FAILED, "for whom? one of --user, --unixgroup and --device is needed");
        return grant_write(c, EXEMPTION_GRANT, &o, argv[0], false);
}

static int command_revoke(struct cli *c, int argc, char **argv)
{
        struct grant_options o = {0};
        const struct cli_option options[] = {{"key", 0, &o.key, NULL},       {"revokes", 0, &o.revokes, NULL},
                                             {"reason", 0, &o.reason, NULL}, {"approver", 0, &o.approver, NULL},
                                             {"id", 0, &o.id, NULL},         {0}};
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !o.key || !o.revokes || !o.reason || !o.approver)
                return cli_usage(c, r);
        return grant_write(c, EXEMPTION_REVOCATION, &o, argv[0], false);
}

static int command_sign(struct cli *c, int argc, char **argv)
{
        const char *key = NULL;
        bool add = false;
        const struct cli_option options[] = {{"key", 0, &key, NULL}, {"add", 0, NULL, &add}, {0}};
        int r = cli_options(c, options, &argc, &argv);

        return r < 0 || argc != 1 || !key ? cli_usage(c, r) : grant_sign(c, argv[0], key, add);
}

static int command_install(struct cli *c, int argc, char **argv)
{
        int r = cli_options(c, NULL, &argc, &argv);

        return r < 0 || argc != 1 ? cli_usage(c, r) : grant_install(c, argv[0]);
}

static void print_names(const struct cli *c, const char *label, const json_t *list)
{
        const json_t *name;
        size_t i;

        json_array_foreach(list, i, name) print_field(c, label, COLOUR_NONE, "%s", json_string_value(name));
}

static void print_held(const struct cli *c, const json_t *e)
{
        const char *state = json_text(e, "state");
        char left[32];

        print_line("%s %s", json_text(e, "kind"), json_text(e, "id"));
        if (!strcmp(state, "in force"))
                print_field(c, "  state", COLOUR_WARN, "%s, %s left", state,
                            duration_format((uint64_t)json_number(e, "left"), left));
        else
                print_field(c, "  state", COLOUR_NONE, "%s", state);
        print_names(c, "  channel", json_object_get(e, "channels"));
        print_names(c, "  user", json_object_get(e, "users"));
        print_names(c, "  unixgroup", json_object_get(e, "unixgroups"));
        print_field(c, "  from", COLOUR_NONE, "%s until %s", json_text(e, "from"), json_text(e, "until"));
        print_field(c, "  reason", COLOUR_NONE, "%s, approved by %s", json_text(e, "reason"),
                    json_text(e, "approver"));
}

static int command_list(struct cli *c, int argc, char **argv)
{
        json_auto_t *s = NULL;
        const json_t *list, *e;
        size_t i;
        int r;

        r = cli_options(c, NULL, &argc, &argv);
        if (r < 0 || argc != 0)
                return cli_usage(c, r);
        r = agent_ask_status(c, &s);
        if (r != STATUS_OK)
                return r;
        list = json_object_get(s, "exemptions");
        if (c->json)
                return print_json(json_pack("{s:b,s:O}", "ok", 1, "exemptions", list));
        json_array_foreach(list, i, e) print_held(c, e);
        if (json_array_size(list) == 0)
                print_line("none");
        return STATUS_OK;
}

int command_exemption(struct cli *c, int argc, char **argv)
{
        static const struct cli_verb verbs[] = {{"grant", command_grant}, {"revoke", command_revoke},
                                                {"sign", command_sign},   {"install", command_install},
                                                {"list", command_list},   {0}};

        c->usage = usage;
        return cli_dispatch(c, verbs, argc, argv);
}

static int command_make(struct cli *c, int argc, char **argv)
{
        struct grant_options o = {0};
        const struct cli_option options[] = {
                {"key", 0, &o.key, NULL},           {"device", 0, &o.devices, NULL}, {"from", 0, &o.from, NULL},
                {"until", 0, &o.until, NULL},       {"for", 0, &o.lasting, NULL},    {"reason", 0, &o.reason, NULL},
                {"approver", 0, &o.approver, NULL}, {"id", 0, &o.id, NULL},          {0}};
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !o.key || !o.devices || !o.reason || !o.approver || !o.until == !o.lasting)
                return cli_usage(c, r);
        return grant_write(c, EXEMPTION_BREAK_GLASS, &o, argv[0], !c->json);
}

int command_break_glass(struct cli *c, int argc, char **argv)
{
        static const struct cli_verb verbs[] = {{"make", command_make}, {"use", command_install}, {0}};

        c->usage = glass_usage;
        return cli_dispatch(c, verbs, argc, argv);
}

int command_request(struct cli *c, int argc, char **argv)
{
        const char *reason = NULL, *lasting = NULL;
        const struct cli_option options[] = {{"reason", 0, &reason, NULL}, {"for", 0, &lasting, NULL}, {0}};
        json_auto_t *answer = NULL;
        uint64_t seconds = 0;
        int r;

        c->usage = request_usage;
        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !reason)
                return cli_usage(c, r);
        if (lasting && duration_parse(lasting, &seconds) < 0)
                return cli_fail(c, STATUS_FAILED, "--for: '%s' is no time like 90m, 8h or 3d", lasting);
        r = agent_ask(c,
                      json_pack("{s:s,s:s,s:s,s:I}", "verb", "request", "subject", argv[0], "reason", reason, "hours",
                                (json_int_t)((seconds + 3599) / 3600)),
                      &answer);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_incref(answer));
        print_line("asked for %s; an approver sees it as soon as this device reaches the collector",
                   json_text(answer, "name"));
        return STATUS_OK;
}
