/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/api/filter.h"
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "record/record.h"

#define VALUE_MAX 4096 /* bytes: a path */

static const char *const classes[] = {"use", "bypass", "tamper", "exemption-use"};

static const char *class_name(int i)
{
        return classes[i];
}

static const char *tier_name(int i)
{
        return tier_to_string((enum tier)i);
}

static const char *layer_name(int i)
{
        return layer_to_string((enum layer)i);
}

static const char *outcome_name(int i)
{
        return outcome_to_string((enum outcome)i);
}

/* Text parameters; with `name` only one of n known values. */
static const struct {
        const char *parameter;
        size_t offset;
        const char *(*name)(int i);
        int n;
} texts[] = {
        {"device", offsetof(struct store_filter, device), NULL, 0},
        {"user", offsetof(struct store_filter, user), NULL, 0},
        {"channel", offsetof(struct store_filter, channel), NULL, 0},
        {"program", offsetof(struct store_filter, program), NULL, 0},
        {"class", offsetof(struct store_filter, class), class_name, ELEMENTSOF(classes)},
        {"tier", offsetof(struct store_filter, tier), tier_name, _TIER_MAX},
        {"layer", offsetof(struct store_filter, layer), layer_name, _LAYER_MAX},
        {"outcome", offsetof(struct store_filter, outcome), outcome_name, _OUTCOME_MAX},
};

static int cursor_parse(const char *text, struct store_cursor *ret)
{
        uint64_t parts[3];

        for (int i = 0; i < 3; i++) {
                char digits[24];
                size_t n = strcspn(text, ".");

                if (n >= sizeof(digits) || text[n] != (i < 2 ? '.' : 0))
                        return -EINVAL;
                memcpy(digits, text, n);
                digits[n] = 0;
                if (parse_u64(digits, INT64_MAX, &parts[i]) < 0)
                        return -EINVAL;
                text += n + 1;
        }
        *ret = (struct store_cursor){parts[0], (int64_t)parts[1], parts[2]};
        return 0;
}

void cursor_format(const struct store_cursor *c, char ret[static FILTER_CURSOR_MAX])
{
        snprintf(ret, FILTER_CURSOR_MAX, "%llu.%lld.%llu", (unsigned long long)c->time_ms, (long long)c->device,
                 (unsigned long long)c->seq);
}

static bool value_known(size_t which, const char *value)
{
        for (int i = 0; i < texts[which].n; i++)
                if (strcmp(texts[which].name(i), value) == 0)
                        return true;
        return !texts[which].name;
}

bool filter_class_known(const char *class)
{
        for (size_t i = 0; i < ELEMENTSOF(classes); i++)
                if (strcmp(classes[i], class) == 0)
                        return true;
        return false;
}

/* 0: not a text parameter, 1: taken. */
static int text_set(struct store_filter *f, const char *name, const char *value, struct diag *reterr)
{
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                if (strcmp(texts[i].parameter, name) != 0)
                        continue;
                if (!*value)
                        return diag_set(reterr, -EBADMSG, NULL, 0, "%s is empty", name);
                if (strlen(value) > VALUE_MAX || !value_known(i, value))
                        return diag_set(reterr, -EBADMSG, NULL, 0, "%s cannot be '%.100s'", name, value);
                *(const char **)((char *)f + texts[i].offset) = value;
                return 1;
        }
        return 0;
}

static int parameter_set(struct store_filter *f, const char *name, const char *value, struct diag *reterr)
{
        uint64_t limit = f->limit;
        int r = text_set(f, name, value, reterr);

        if (r != 0)
                return r;
        if (strcmp(name, "from") == 0) {
                r = parse_u64(value, INT64_MAX, &f->from_ms);
        } else if (strcmp(name, "to") == 0) {
                r = parse_u64(value, INT64_MAX, &f->to_ms);
        } else if (strcmp(name, "limit") == 0) {
                r = parse_u64(value, FILTER_LIMIT_MAX, &limit);
                r = r == 0 && limit == 0 ? -ERANGE : r;
        } else if (strcmp(name, "before") == 0) {
                r = cursor_parse(value, &f->before);
                f->has_before = true;
        } else {
                return diag_set(reterr, -EBADMSG, NULL, 0, "parameter '%.100s' is not known", name);
        }
        if (r < 0)
                return diag_set(reterr, -EBADMSG, NULL, 0, "%s cannot be '%.100s'", name, value);
        f->limit = (unsigned)limit;
        return 0;
}

int filter_parse(const struct http_query *q, struct store_filter *ret, struct diag *reterr)
{
        struct store_filter f = {.limit = FILTER_LIMIT_DEFAULT};

        for (size_t i = 0; i < q->n; i++) {
                int r = parameter_set(&f, q->pairs[i].name, q->pairs[i].value, reterr);

                if (r < 0)
                        return r;
        }
        *ret = f;
        return 0;
}
