/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The subcommands. Each takes its arguments without the program's name and returns an exit status. */
#include <stdbool.h>
#include "collector/config.h"
#include "collector/store/store.h"

enum {
        EXIT_USAGE = 2,
};

int command_init(int argc, char **argv);
int command_serve(int argc, char **argv);
int command_backup(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_erase(int argc, char **argv);
int command_forward(int argc, char **argv);
int command_hold(int argc, char **argv);
int command_certificate(int argc, char **argv);
int command_check(int argc, char **argv);
int command_export(int argc, char **argv);
int command_log(int argc, char **argv);
int command_migrate(int argc, char **argv);
int command_retention(int argc, char **argv);
int command_token(int argc, char **argv);
int command_user(int argc, char **argv);
int command_device(int argc, char **argv);
int command_policy(int argc, char **argv);
int command_catalogue(int argc, char **argv);
int command_exemption(int argc, char **argv);
int command_rollout(int argc, char **argv);
int command_witness(int argc, char **argv);

/* One line to standard error, "onchannel-collector: …"; returns EXIT_FAILURE. */
int fail(const struct diag *d);
int fail_with(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, then how to get help; returns EXIT_USAGE. */
int fail_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says itself what is wrong. Returns an exit status. */
int collector_open(const char *dir, struct config *ret_config, struct store **ret);
/* Adds or replaces a user. password_file NULL: makes a password and returns it in *ret_password
 * (free()), else *ret_password is NULL. Says itself what is wrong. */
int user_put(struct store *s, const struct store_user *u, const char *password_file, char **ret_password);
/* Copies a secret key that has a password into the folder: with it admins sign exemptions on the page. Says itself what is
 * wrong. */
int exemption_key_put(const struct config *c, const char *file);
uint64_t now_ms(void); /* UTC since 1970 */
/* Also commits. */
int audit(struct store *s, const char *action, const char *detail);
