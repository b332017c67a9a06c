/* SPDX-License-Identifier: GPL-3.0-or-later */
/* certificate: the server's certificate and the authority that agents know it by. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "collector/command.h"
#include "collector/net/pki.h"

#define PEM_MAX 65536
#define KNOWN_MS                                                                                                     \
        (20 * 60 * 1000) /* agents tell their status each quarter of an hour, and hear of the authority then */

DEFINE_CLEANUP(struct pki_authority, pki_authority_free)

static void end_print(const char *what, const char *file)
{
        char text[TIME_TEXT_MAX];
        uint64_t ends_s;

        if (pki_certificate_end(file, &ends_s) == 0)
                printf("%-28s until %s  %s\n", what, time_format((time_t)ends_s, text), file);
}

/* Devices that cannot know of the next authority yet. */
static int unaware(const struct config *c, struct store *s, uint64_t *ret)
{
        struct stat st;

        if (stat(c->next_ca, &st) < 0)
                return -errno;
        return store_unseen(s, (uint64_t)st.st_mtime * 1000 + KNOWN_MS, ret);
}

static int show(const struct config *c, struct store *s)
{
        uint64_t n = 0;

        end_print("server", c->server);
        end_print("server's authority", c->server_ca);
        end_print("its next authority", c->next_ca);
        end_print("devices' authority", c->device_ca);
        if (unaware(c, s, &n) == 0)
                printf("%llu devices have not been heard of since the next authority was made.\n",
                       (unsigned long long)n);
        return EXIT_SUCCESS;
}

static int pair_write(const char *key_file, const char *key, const char *certificate_file, const char *certificate)
{
        int r = file_write_atomic(key_file, key, strlen(key), 0600);

        if (r == 0)
                r = file_write_atomic(certificate_file, certificate, strlen(certificate), 0644);
        return r < 0 ? fail_with("cannot write '%s': %s", certificate_file, strerror(-r)) : EXIT_SUCCESS;
}

/* With the names of the one in use. */
static int server_make(const struct config *c, const char *ca, const char *ca_key)
{
        _cleanup_(pki_authority_freep) struct pki_authority *a = NULL;
        _cleanup_free_ char *old = NULL, *key = NULL, *certificate = NULL;
        char *names[PKI_NAMES_MAX + 1] = {NULL};
        struct diag d = {0};
        size_t size;
        int r = file_read(c->server, PEM_MAX, &old, &size);

        if (r < 0 || pki_server_names(old, names) < 0)
                return fail_with("'%s' does not say the server's names", c->server);
        r = pki_authority_load(ca, ca_key, &a, &d);
        if (r == 0)
                r = pki_server_new(a, (const char *const *)names, &key, &certificate, &d);
        for (size_t i = 0; names[i]; i++)
                free(names[i]);
        if (r < 0)
                return *d.text ? fail(&d) : fail_with("cannot make a certificate: %s", strerror(-r));
        return pair_write(c->server_key, key, c->server, certificate);
}

static int renew(const struct config *c, struct store *s)
{
        if (server_make(c, c->server_ca, c->server_ca_key) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        printf("The server has a new certificate: restart the collector.\n");
        return audit(s, "certificate", "server renewed");
}

static int next(const struct config *c, struct store *s)
{
        _cleanup_free_ char *key = NULL, *certificate = NULL;

        if (access(c->next_ca, F_OK) == 0)
                return fail_with("'%s' is there already", c->next_ca);
        if (pki_authority_new("onchannel server CA", &key, &certificate) < 0)
                return fail_with("cannot make an authority");
        if (pair_write(c->next_ca_key, key, c->next_ca, certificate) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        printf("'%s' is the next authority. The running collector tells agents of it within a minute, and these keep "
               "it\n"
               "with their next status, in a quarter of an hour. 'certificate DIR' says when all have been heard "
               "of.\n",
               c->next_ca);
        return audit(s, "certificate", "next authority made");
}

static int change(const struct config *c, struct store *s, bool force)
{
        uint64_t n = 0;
        int r = unaware(c, s, &n);

        if (r == -ENOENT)
                return fail_with("there is no next authority: make it with 'certificate DIR next'");
        if (r < 0)
                return fail_with("the database does not answer: %s", strerror(-r));
        if (n > 0 && !force)
                return fail_with("%llu devices may not know the next authority yet; --force leaves them behind",
                                 (unsigned long long)n);
        (void)unlink(c->old_ca);
        if (link(c->server_ca, c->old_ca) < 0)
                return fail_with("cannot keep '%s': %s", c->old_ca, strerror(errno));
        if (server_make(c, c->next_ca, c->next_ca_key) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (rename(c->next_ca_key, c->server_ca_key) < 0 || rename(c->next_ca, c->server_ca) < 0)
                return fail_with("cannot replace '%s': %s", c->server_ca, strerror(errno));
        printf("Restart the collector. Devices that enrol from now on are given '%s'.\n", c->server_ca);
        return audit(s, "certificate", force ? "authority switched, by force" : "authority switched");
}

int command_certificate(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        const char *verb = argc > 2 ? argv[2] : "show";
        bool force = argc == 4 && strcmp(argv[3], "--force") == 0;

        if (argc < 2 || argc > 4 || (argc == 4 && !force) || (force && strcmp(verb, "switch") != 0))
                return fail_usage("certificate needs DIR, and show, renew, next or switch");
        if (collector_open(argv[1], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (strcmp(verb, "show") == 0)
                return show(&config, s);
        if (strcmp(verb, "renew") == 0)
                return renew(&config, s);
        if (strcmp(verb, "next") == 0)
                return next(&config, s);
        if (strcmp(verb, "switch") == 0)
                return change(&config, s, force);
        return fail_usage("certificate takes show, renew, next or switch, not '%s'", verb);
}
