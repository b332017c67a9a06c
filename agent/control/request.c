/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/control/request.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

static const struct verb {
        const char *name;
        bool subject, user, follow, file, signed_file, request; /* the fields it takes */
        bool root_only;
} verbs[] = {
        [CONTROL_STATUS] = {.name = "status"},
        [CONTROL_WHY] = {.name = "why", .subject = true, .user = true, .file = true},
        [CONTROL_NOTICES] = {.name = "notices", .follow = true},
        [CONTROL_MY_DATA] = {.name = "my-data"},
        [CONTROL_RELOAD] = {.name = "reload", .root_only = true},
        [CONTROL_EXEMPTION] = {.name = "exemption", .signed_file = true},
        [CONTROL_REQUEST] = {.name = "request", .subject = true, .request = true},
};
_Static_assert(ELEMENTSOF(verbs) == _CONTROL_VERB_MAX, "every verb needs a name");

#define refuse(error, ...) (snprintf(error, CONTROL_ERROR_MAX, __VA_ARGS__), -EBADMSG)

static int parse_verb(const json_t *root, enum control_verb *ret, char *error)
{
        const char *name = json_string_value(json_object_get(root, "verb"));

        if (!name)
                return refuse(error, "a request needs \"verb\"");
        for (enum control_verb v = 0; v < _CONTROL_VERB_MAX; v++)
                if (!strcmp(name, verbs[v].name)) {
                        *ret = v;
                        return 0;
                }
        return refuse(error, "unknown verb");
}

static int copy_string(const json_t *value, const char *key, char *ret, size_t max)
{
        const char *s = json_string_value(value);

        if (!s || !*s || json_string_length(value) > max)
                return -EBADMSG;
        memcpy(ret, s, json_string_length(value) + 1);
        return 0;
}

static int parse_number(const json_t *value, uint64_t *ret)
{
        json_int_t n = json_integer_value(value);

        if (!json_is_integer(value) || n < 0)
                return -EBADMSG;
        *ret = (uint64_t)n;
        return 0;
}

/* -ENOENT no field about a file. */
static int parse_file_field(struct content *c, const char *key, const json_t *value)
{
        const char *text = json_string_value(value);
        uint8_t bytes[ELF_BUILD_ID_MAX];
        size_t size = text ? strlen(text) / 2 : 0;

        if (!strcmp(key, "dev"))
                return parse_number(value, &c->dev);
        if (!strcmp(key, "ino"))
                return parse_number(value, &c->ino);
        if (strcmp(key, "build_id") && strcmp(key, "sha256") && strcmp(key, "print"))
                return -ENOENT;
        if (size == 0 || size > sizeof(bytes) || hex_decode(text, bytes, size) < 0 ||
            (*key != 'b' && size != CONTENT_PRINT_SIZE))
                return -EBADMSG;
        if (*key == 'p')
                memcpy(c->print, bytes, CONTENT_PRINT_SIZE);
        else
                hex_encode(bytes, size, *key == 'b' ? c->build_id : c->sha256);
        c->has_print |= *key == 'p';
        return 0;
}

/* -ENOENT no field of these. */
static int parse_text_field(struct control_request *q, const char *key, const json_t *value)
{
        const struct verb *v = &verbs[q->verb];

        if (v->signed_file && !strcmp(key, "text"))
                return copy_string(value, key, q->text, sizeof(q->text) - 1);
        if (v->signed_file && !strcmp(key, "minisig"))
                return copy_string(value, key, q->minisig, sizeof(q->minisig) - 1);
        if (v->request && !strcmp(key, "reason"))
                return copy_string(value, key, q->reason, CONTROL_REASON_MAX);
        if (!v->request || strcmp(key, "hours"))
                return -ENOENT;
        return parse_number(value, &q->hours) < 0 || q->hours > CONTROL_HOURS_MAX ? -EBADMSG : 0;
}

static int parse_field(struct control_request *q, const char *key, const json_t *value, char *error)
{
        const struct verb *v = &verbs[q->verb];
        int r;

        if (!strcmp(key, "verb"))
                return 0;
        if (v->subject && !strcmp(key, "subject")) {
                if (copy_string(value, key, q->subject, CONTROL_SUBJECT_MAX) >= 0)
                        return 0;
                return refuse(error, "\"subject\" must be a string of 1 to %d bytes", CONTROL_SUBJECT_MAX);
        }
        if (v->user && !strcmp(key, "user")) {
                if (copy_string(value, key, q->user, CONTROL_USER_MAX) >= 0)
                        return 0;
                return refuse(error, "\"user\" must be a login name");
        }
        if (v->follow && !strcmp(key, "follow")) {
                if (!json_is_boolean(value))
                        return refuse(error, "\"follow\" must be true or false");
                q->follow = json_is_true(value);
                return 0;
        }
        r = v->file ? parse_file_field(&q->file, key, value) : parse_text_field(q, key, value);
        if (r == -EBADMSG)
                return refuse(error, "\"%s\" is malformed", key);
        return r < 0 ? refuse(error, "unknown field for \"%s\"", v->name) : 0;
}

int control_request_parse(const char *line, size_t size, struct control_request *ret,
                          char ret_error[static CONTROL_ERROR_MAX])
{
        json_auto_t *root = NULL;
        struct control_request q = {0};
        const char *key;
        json_t *value;
        int r;

        if (size > CONTROL_LINE_MAX)
                return refuse(ret_error, "a request has at most %d bytes", CONTROL_LINE_MAX);
        root = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(root))
                return refuse(ret_error, "a request is one JSON object a line");
        r = parse_verb(root, &q.verb, ret_error);
        if (r < 0)
                return r;
        json_object_foreach(root, key, value)
        {
                r = parse_field(&q, key, value, ret_error);
                if (r < 0)
                        return r;
        }
        if (verbs[q.verb].subject && !*q.subject)
                return refuse(ret_error, "\"%s\" needs \"subject\"", verbs[q.verb].name);
        if (verbs[q.verb].signed_file && (!*q.text || !*q.minisig))
                return refuse(ret_error, "\"%s\" needs \"text\" and \"minisig\"", verbs[q.verb].name);
        if (verbs[q.verb].request && !*q.reason)
                return refuse(ret_error, "\"%s\" needs \"reason\"", verbs[q.verb].name);
        *ret = q;
        return 0;
}

int control_request_allowed(const struct control_request *q, uid_t uid, char ret_error[static CONTROL_ERROR_MAX])
{
        if (uid == 0)
                return 0;
        if (verbs[q->verb].root_only) {
                snprintf(ret_error, CONTROL_ERROR_MAX, "only root may ask for \"%s\"", verbs[q->verb].name);
                return -EPERM;
        }
        if (*q->user) {
                snprintf(ret_error, CONTROL_ERROR_MAX, "only root may ask about another user");
                return -EPERM;
        }
        return 0;
}
