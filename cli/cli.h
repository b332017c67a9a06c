/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the subcommands share: options, the agent's socket, output for people and programs. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/diag.h"

/* Exit statuses, as onchannel(1) has them. */
enum {
        STATUS_OK,
        STATUS_FAILED, /* refused, broken, not found */
        STATUS_USAGE,
        STATUS_NO_AGENT,
};

#define CLI_SOCKET "/run/onchannel/control.sock"

struct cli {
        bool json;
        bool colour;
        const char *socket;
        const char *usage; /* of the running subcommand */
};

/* An option of a subcommand; --json, --socket and --help are everyone's. */
struct cli_option {
        const char *name; /* without "--"; NULL ends the list */
        char letter; /* or 0 */
        const char **value;
        bool *flag; /* when it takes no value */
};

typedef int (*cli_command)(struct cli *c, int argc, char **argv);

int command_status(struct cli *c, int argc, char **argv);
int command_why(struct cli *c, int argc, char **argv);
int command_notices(struct cli *c, int argc, char **argv);
int command_my_data(struct cli *c, int argc, char **argv);
int command_catalogue(struct cli *c, int argc, char **argv);
int command_policy(struct cli *c, int argc, char **argv);
int command_policy_install(struct cli *c, int argc, char **argv);
int command_catalogue_install(struct cli *c, int argc, char **argv);
int command_key(struct cli *c, int argc, char **argv);
int command_enrol(struct cli *c, int argc, char **argv);
int command_evidence(struct cli *c, int argc, char **argv);
int command_exemption(struct cli *c, int argc, char **argv);
int command_break_glass(struct cli *c, int argc, char **argv);
int command_request(struct cli *c, int argc, char **argv);

/* ---- options.c ---- */
/* Leaves the operands in argv[0..*argc-1]. -ECANCELED help was printed, -EINVAL usage. */
int cli_options(struct cli *c, const struct cli_option *options, int *argc, char ***argv);
/* The exit status for what cli_options() or a count of operands said. */
int cli_usage(const struct cli *c, int r);
struct cli_verb {
        const char *name;
        cli_command run;
};
/* Runs the verb that argv[1] names ("catalogue check"); `list` ends by a NULL name. */
int cli_dispatch(struct cli *c, const struct cli_verb *list, int argc, char **argv);

/* ---- output.c ---- */
enum colour {
        COLOUR_NONE,
        COLOUR_GOOD,
        COLOUR_WARN,
        COLOUR_BAD,
        COLOUR_DIM,
        _COLOUR_MAX,
};
/* "Label      text", with the text in a colour on a terminal. */
void print_field(const struct cli *c, const char *label, enum colour colour, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
/* A line for people; what came from a file cannot move the cursor. */
void print_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One JSON object; takes it. Returns STATUS_FAILED when memory is short. */
int print_json(json_t *o);
/* Say what failed, to standard error or as {"ok":false,"error":…}; returns `status`. */
int cli_fail(const struct cli *c, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
int cli_fail_diag(const struct cli *c, const struct diag *d, int r);
/* "3 h 12 min" */
const char *duration_format(uint64_t seconds, char buf[static 32]);
/* A string or a number of an object; "" and 0 when absent. */
const char *json_text(const json_t *o, const char *key);
json_int_t json_number(const json_t *o, const char *key);

/* ---- ask.c ---- */
struct agent_reader;
/* Connects and sends one request (taken). Prints what is wrong; STATUS_OK and *ret. */
int agent_open(const struct cli *c, json_t *request, struct agent_reader **ret);
struct agent_reader *agent_close(struct agent_reader *a);
static inline void agent_closep(struct agent_reader **p)
{
        agent_close(*p);
}
/* The next line as an object; an answer with "ok":false is printed. */
int agent_next(const struct cli *c, struct agent_reader *a, json_t **ret);
/* All of it for one answer. */
int agent_ask(const struct cli *c, json_t *request, json_t **ret);
int agent_ask_status(const struct cli *c, json_t **ret);

/* ---- files.c ---- */
/* Reads a file or says why not: STATUS_*. */
int read_input(const struct cli *c, const char *path, size_t max, char **ret, size_t *ret_size);
struct input {
        const char *path;
        size_t max;
        int (*parse)(const char *text, size_t size, const char *file, void *ret, struct diag *reterr);
};
/* The same, and what `parse` makes of it. */
int read_parsed(const struct cli *c, const struct input *in, void *ret);
int write_output(const struct cli *c, const char *path, const void *data, size_t size, unsigned mode);
/* Without echo from the terminal, else a line of standard input; free() after wiping. */
int read_password(const char *prompt, char **ret);
struct trust_secret;
/* Asks for the password when the key has one. */
int read_secret(const struct cli *c, const char *path, struct trust_secret *ret);
