/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A folder for files, and a rule set of one channel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "rules/rules.h"

static char folder[] = "/tmp/oc-identity-XXXXXX";

static const char *in_folder(const char *name)
{
        static char path[4][512];
        static unsigned turn;

        turn = (turn + 1) % 4;
        snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
        return path[turn];
}

static int setup(void **state)
{
        return mkdtemp(folder) && chmod(folder, 0755) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
        _cleanup_free_ char *command = format_new("rm -rf %s", folder);

        return system(command);
}

static struct ruleset *compile(const char *programs)
{
        _cleanup_free_ char *text = format_new(
                "[channel]\nid = chat\nname = Chat\ncategory = messenger\nvendor = Chat\nhomepage = "
                "https://chat.example\nchecked = 2026-11-21\nsource = https://chat.example\n[programs]\n%s",
                programs);
        const struct catalogue_source source = {"chat.ini", text, strlen(text)};
        _cleanup_catalogue_ struct catalogue *c = NULL;
        struct rules_input in = {.device = "test"};
        struct ruleset *r = NULL;
        struct diag d = {};

        if (catalogue_parse_files(&source, 1, &c, &d) < 0)
                fail_msg("%s:%u: %s", d.file, d.line, d.text);
        in.catalogue = c;
        assert_int_equal(rules_compile(&in, &r, &d), 0);
        return r;
}

static void write_file(const char *name, const void *data, size_t size, mode_t mode)
{
        _cleanup_free_ char *parent = strdup(in_folder(name));

        *strrchr(parent, '/') = '\0';
        assert_int_equal(dir_make(parent, 0755), 0);
        assert_int_equal(file_write_atomic(in_folder(name), data, size, mode), 0);
        assert_int_equal(chmod(in_folder(name), mode), 0); /* whatever the umask */
}
