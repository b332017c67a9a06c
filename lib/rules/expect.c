/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rules/expect.h"
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"

#define BLANKS " \t\r"

void expectations_done(struct expectations *e)
{
        free(e->list);
        free(e->text);
        *e = (struct expectations){0};
}

/* Ends the word at *p and moves behind it; NULL when nothing is left. */
static char *next_word(char **p)
{
        char *word = *p + strspn(*p, BLANKS), *end = word + strcspn(word, BLANKS);

        *p = *end ? end + 1 : end;
        *end = 0;
        return *word ? word : NULL;
}

/* The line's last word, cut off. */
static char *last_word(char *line)
{
        char *end = line + strlen(line), *word;

        while (end > line && strchr(BLANKS, end[-1]))
                *--end = 0;
        for (word = end; word > line && !strchr(BLANKS, word[-1]);)
                word--;
        for (end = word; end > line && strchr(BLANKS, end[-1]);)
                *--end = 0;
        return word;
}

static const char *or_nobody(const char *word)
{
        return strcmp(word, "-") == 0 ? NULL : word;
}

/* 1 when the line holds an expectation. */
static int parse_line(char *line, struct expectation *ret, const char **reterr_why)
{
        const char *device, *user, *verdict;

        line += strspn(line, BLANKS);
        if (!*line || *line == ';')
                return 0;
        verdict = last_word(line);
        device = verdict > line ? next_word(&line) : NULL;
        user = device ? next_word(&line) : NULL;
        line += strspn(line, BLANKS);
        *reterr_why = "expected 'DEVICE USER SUBJECT VERDICT'";
        if (!user || !*line)
                return -EBADMSG;
        *reterr_why = "the last word is no verdict: block, watch or allow";
        ret->device = or_nobody(device);
        ret->user = or_nobody(user);
        ret->subject = line;
        return verdict_from_string(verdict, &ret->verdict) < 0 ? -EBADMSG : 1;
}

static int add(struct expectations *e, const struct expectation *x)
{
        struct expectation *larger = reallocarray(e->list, e->n + 1, sizeof(*larger));

        if (!larger)
                return -ENOMEM;
        e->list = larger;
        larger[e->n++] = *x;
        return 0;
}

static int parse_all(struct expectations *e, const char *file, struct diag *reterr)
{
        unsigned number = 1;

        for (char *line = e->text, *next; line; line = next, number++) {
                struct expectation x = {.line = number};
                const char *why = "not UTF-8, or a control character";
                char *end = strchrnul(line, '\n');
                int r;

                next = *end ? end + 1 : NULL;
                *end = 0;
                if (end > line && end[-1] == '\r')
                        end[-1] = 0;
                r = text_is_line(line, strlen(line)) ? parse_line(line, &x, &why) : -EBADMSG;
                if (r < 0)
                        return diag_set(reterr, r, file, number, "%s", why);
                r = r > 0 ? add(e, &x) : 0;
                if (r < 0)
                        return r;
        }
        return e->n > 0 ? 0 : diag_set(reterr, -EBADMSG, file, 0, "no expectation");
}

int expectations_parse(const char *text, size_t size, const char *file, struct expectations *ret, struct diag *reterr)
{
        _cleanup_expectations_ struct expectations e = {0};
        int r;

        if (size > EXPECT_MAX_BYTES)
                return diag_set(reterr, -E2BIG, file, 0, "larger than %u bytes", EXPECT_MAX_BYTES);
        if (memchr(text, 0, size))
                return diag_set(reterr, -EBADMSG, file, 0, "not text: it holds a NUL");
        e.text = strndup(text, size);
        if (!e.text)
                return -ENOMEM;
        r = parse_all(&e, file, reterr);
        if (r < 0)
                return r;
        *ret = e;
        e = (struct expectations){0};
        return 0;
}
