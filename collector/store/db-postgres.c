/* SPDX-License-Identifier: GPL-3.0-or-later */
/* libpq: parameters and results in binary form, statements prepared once a connection. A connection that is lost is
 * opened again by the next call outside a transaction, at most once in RETRY_MS. Whatever is asked of the server goes
 * through answer(), which gives the connection up when that does not come. */
#include <endian.h>
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/buf.h"
#include "base/text.h"
#include "collector/store/db-private.h"

#define RETRY_MS   1000
#define SLICE_MS   100 /* so soon is it seen that nobody waits any more */
#define BEYOND_MS  2000 /* what the server itself ends by a deadline (statement_timeout) comes by then, if it runs */
#define PROBE_MS   5000 /* who has no deadline asks so often whether the server answers at all … */
#define PROBES     2 /* … and waits no longer when it did not, so many times */
#define BULK_MAX   8
#define OID_INT8   20 /* PostgreSQL 15, src/include/catalog/pg_type.dat */
#define OID_TEXT   25
#define OID_BYTEA  17
#define NAME_MAX_S 24 /* "s" and a number */

/* A writer waits for a lock, never for ever, and not as long as DB_LOOP_MS, so that the server is heard of; a
 * transaction that nobody ends does not hold the others, and one whose client was cut off ends soon. */
#define SETTINGS                                                                                                     \
        "SET lock_timeout = 1500; SET idle_in_transaction_session_timeout = 60000; SET extra_float_digits = 0;"      \
        "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 2;"                \
        "SELECT set_config('synchronous_commit', 'on', false)"                                                       \
        " WHERE current_setting('synchronous_commit') IN ('off', 'local')"

/* Searches name the index they want by what they ask for (query.c): it is in the order of the page. */
#define SEARCH_SETTINGS                                                                                              \
        "SET enable_sort = off; SET enable_seqscan = off; SET enable_bitmapscan = off;"                              \
        "SET plan_cache_mode = force_generic_plan; SET jit = off"

struct bulk {
        const struct db_table *table;
        struct buf data;
};

struct db_postgres {
        struct db base;
        PGconn *pg; /* NULL: given up */
        char *url;
        uint64_t retry_ms; /* not before */
        unsigned deadline_ms, n_named;
        struct bulk bulk[BULK_MAX];
        size_t n_bulk;
};

static struct db_postgres *postgres_of(const struct db *db)
{
        return (struct db_postgres *)db;
}

/* SQLSTATE: PostgreSQL 15, appendix A. The first that fits. */
static int state_errno(const char *state)
{
        static const struct {
                const char *prefix;
                int r;
        } states[] = {
                {"53100", -ENOSPC}, {"53200", -ENOMEM}, {"53300", -EBUSY},  {"57014", -ETIME}, {"55P03", -EBUSY},
                {"40", -EBUSY},     {"23", -EEXIST},    {"22", -EEXIST},    {"XX", -EUCLEAN},  {"42501", -EACCES},
                {"28", -EACCES},    {"25006", -EROFS},  {"57P", -ENOTCONN}, {"08", -ENOTCONN}, {"3D000", -ENOENT},
        };

        for (size_t i = 0; state && i < ELEMENTSOF(states); i++)
                if (text_starts_with(state, states[i].prefix))
                        return states[i].r;
        return -EIO;
}

/* Frees the result. */
static int failed(struct db *db, PGresult *result)
{
        struct db_postgres *p = postgres_of(db);
        const char *text = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
        int r = state_errno(result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL);

        if (PQstatus(p->pg) == CONNECTION_BAD)
                r = -ENOTCONN;
        db_failed(db, r, text ? text : p->pg ? PQerrorMessage(p->pg) : "the database server does not answer");
        PQclear(result);
        return r;
}

/* ---- waiting ---- */

struct patience {
        uint64_t since_ms, probe_ms;
        unsigned unanswered;
};

/* Asks the same server as a newcomer would. One that keeps a commit waiting, say for its replica, answers; one that
 * is frozen, or cut off, does not. */
static bool server_answers(const struct db_postgres *p)
{
        static const char *const words[] = {"dbname", "host", "hostaddr", "port", "connect_timeout", NULL};
        const char *const values[] = {p->url, PQhost(p->pg), PQhostaddr(p->pg), PQport(p->pg), "2", NULL};

        return PQpingParams(words, values, 1) == PQPING_OK;
}

static bool is_over(const struct db_postgres *p, struct patience *w)
{
        uint64_t now_ms = clock_monotonic_ms();

        if (p->base.stop && __atomic_load_n(p->base.stop, __ATOMIC_RELAXED))
                return true;
        if (p->base.no_connect)
                return now_ms >= w->since_ms + DB_LOOP_MS;
        if (p->deadline_ms)
                return now_ms >= w->since_ms + p->deadline_ms + BEYOND_MS;
        if (now_ms < w->probe_ms)
                return false;
        w->unanswered = server_answers(p) ? 0 : w->unanswered + 1;
        w->probe_ms = clock_monotonic_ms() + PROBE_MS;
        return w->unanswered >= PROBES;
}

static void give_up(struct db_postgres *p)
{
        PQfinish(p->pg);
        p->pg = NULL;
}

/* Until libpq has what comes next, or an error instead. -ENOTCONN: the connection is given up. */
static int await(struct db_postgres *p)
{
        uint64_t now_ms = clock_monotonic_ms();
        struct patience w = {now_ms, now_ms + PROBE_MS, 0};

        for (;;) {
                int unsent = PQflush(p->pg);
                struct pollfd fd = {.fd = PQsocket(p->pg), .events = unsent > 0 ? POLLIN | POLLOUT : POLLIN};

                if (unsent < 0 || (unsent == 0 && !PQisBusy(p->pg)))
                        return 0;
                /* twice: libpq 15 may leave half of a TLS record in OpenSSL, of which poll() knows nothing */
                if (poll(&fd, 1, SLICE_MS) != 0 &&
                    (!PQconsumeInput(p->pg) || (PQisBusy(p->pg) && !PQconsumeInput(p->pg))))
                        return 0;
                if (PQisBusy(p->pg) && is_over(p, &w)) {
                        give_up(p);
                        return -ENOTCONN;
                }
        }
}

/* To what was sent: the last result, or the first that says what went wrong. NULL: there is none, see failed(). */
static PGresult *answer(struct db *db, int sent)
{
        struct db_postgres *p = postgres_of(db);
        PGresult *last = NULL, *next;

        if (!sent && PQstatus(p->pg) == CONNECTION_OK)
                give_up(p); /* whatever half of it went out */
        while (sent && await(p) == 0 && (next = PQgetResult(p->pg))) {
                if (last && PQresultStatus(last) == PGRES_FATAL_ERROR) {
                        PQclear(next);
                        continue;
                }
                PQclear(last);
                last = next;
                if (PQresultStatus(last) == PGRES_COPY_IN)
                        break;
        }
        if (!p->pg) {
                PQclear(last);
                last = NULL;
        }
        return last;
}

static int checked(struct db *db, PGresult *result)
{
        ExecStatusType status = PQresultStatus(result);

        if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN)
                return 0;
        return failed(db, result);
}

static void statement_drop(struct db *db, void *handle)
{
        char sql[NAME_MAX_S + 16];

        if (handle) {
                snprintf(sql, sizeof(sql), "DEALLOCATE %s", (const char *)handle);
                PQclear(answer(db, PQsendQuery(postgres_of(db)->pg, sql)));
        }
        free(handle);
}

static void statement_forget(struct db *db, void *handle)
{
        free(handle);
}

static void on_notice(void *userdata, const char *message)
{
}

static int script(struct db *db, const char *sql)
{
        PGresult *result = answer(db, PQsendQuery(postgres_of(db)->pg, sql));
        int r = checked(db, result);

        if (r == 0)
                PQclear(result);
        return r;
}

/* Of the URL's own words only the password's are not to be seen, which libpq does not print. Not in steps of our own
 * (PQconnectStart()): only in this form libpq goes on to the next host of the URL when one does not answer in time. */
static int connect_now(struct db_postgres *p)
{
        const char *const words[] = {"dbname",
                                     "client_encoding",
                                     "connect_timeout",
                                     "application_name",
                                     "tcp_user_timeout",
                                     "keepalives_idle",
                                     "keepalives_interval",
                                     "target_session_attrs",
                                     NULL};
        /* what the URL says comes last and wins */
        const char *const values[] = {p->url, "UTF8", "2", "onchannel-collector",
                                      "5000", "10",   "5", p->base.read_only ? "any" : "read-write",
                                      NULL};
        const char *ordered_words[ELEMENTSOF(words)] = {0}, *ordered_values[ELEMENTSOF(words)] = {0};
        uint64_t start_ms = clock_monotonic_ms();
        size_t n = ELEMENTSOF(words) - 1;

        for (size_t i = 0; i < n; i++) {
                ordered_words[i] = words[(i + 1) % n];
                ordered_values[i] = values[(i + 1) % n];
        }
        db_statements_drop(&p->base, statement_forget);
        PQfinish(p->pg);
        p->pg = PQconnectdbParams(ordered_words, ordered_values, 1);
        /* a host that does not answer at all takes up a fifth of the time */
        p->retry_ms = clock_monotonic_ms() + RETRY_MS + 4 * (clock_monotonic_ms() - start_ms);
        if (!p->pg)
                return -ENOMEM;
        if (PQstatus(p->pg) != CONNECTION_OK)
                return db_failed(&p->base, -ENOTCONN, PQerrorMessage(p->pg));
        PQsetNoticeProcessor(p->pg, on_notice, NULL);
        if (PQsetnonblocking(p->pg, 1) < 0)
                return failed(&p->base, NULL);
        return script(&p->base, p->base.read_only ? SETTINGS "; " SEARCH_SETTINGS : SETTINGS);
}

static int postgres_deadline(struct db *db, unsigned ms)
{
        char sql[64];

        postgres_of(db)->deadline_ms = ms;
        snprintf(sql, sizeof(sql), "SET statement_timeout = %u", ms);
        return script(db, sql);
}

static int ensure(struct db *db)
{
        struct db_postgres *p = postgres_of(db);
        int r;

        if (PQstatus(p->pg) == CONNECTION_OK)
                return 0;
        if (db->in_transaction || db->no_connect || clock_monotonic_ms() < p->retry_ms)
                return -ENOTCONN;
        r = connect_now(p);
        return r == 0 && p->deadline_ms ? postgres_deadline(db, p->deadline_ms) : r;
}

static int postgres_script(struct db *db, const char *sql)
{
        int r = ensure(db);

        return r < 0 ? r : script(db, sql);
}

/* ---- statements ---- */

static int statement_get(struct db *db, const char *sql, const struct db_value *v, size_t n, const char **ret)
{
        struct db_postgres *p = postgres_of(db);
        struct db_statement *s = db_statement(db, sql, statement_drop);
        Oid types[DB_VALUES_MAX];
        _cleanup_free_ char *name = NULL;
        PGresult *result;
        int r;

        if (!s)
                return -ENOMEM;
        if (!s->handle) {
                name = malloc(NAME_MAX_S);
                if (!name)
                        return -ENOMEM;
                snprintf(name, NAME_MAX_S, "s%u", p->n_named++);
                for (size_t i = 0; i < n; i++)
                        types[i] = v[i].type == 'i' ? OID_INT8 : v[i].type == 't' ? OID_TEXT : 0;
                result = answer(db, PQsendPrepare(p->pg, name, sql, (int)n, types));
                r = checked(db, result);
                if (r < 0)
                        return r;
                PQclear(result);
                s->handle = TAKE_PTR(name);
        }
        *ret = s->handle;
        return 0;
}

static int postgres_query(struct db *db, const char *sql, const struct db_value *v, size_t n, struct db_rows *ret)
{
        const char *values[DB_VALUES_MAX], *name = NULL;
        int sizes[DB_VALUES_MAX], formats[DB_VALUES_MAX], r = ensure(db);
        uint64_t numbers[DB_VALUES_MAX];
        PGresult *result;

        if (r == 0)
                r = statement_get(db, sql, v, n, &name);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                bool number = v[i].type == 'i';

                numbers[i] = htobe64((uint64_t)v[i].number);
                values[i] = number ? (const char *)&numbers[i] : v[i].type ? v[i].data : NULL;
                sizes[i] = number ? 8 : (int)v[i].size;
                formats[i] = 1;
        }
        result = answer(db, PQsendQueryPrepared(postgres_of(db)->pg, name, (int)n, values, sizes, formats, 1));
        r = checked(db, result);
        if (r == 0)
                ret->handle = result;
        return r;
}

static int postgres_next(struct db_rows *rows)
{
        return ++rows->row < PQntuples(rows->handle);
}

static int postgres_changes(const struct db_rows *rows)
{
        uint64_t n = 0;

        (void)parse_u64(PQcmdTuples(rows->handle), INT32_MAX, &n);
        return (int)n;
}

static void postgres_done(struct db_rows *rows)
{
        PQclear(rows->handle);
}

static void postgres_get(const struct db_rows *rows, int column, struct db_value *ret)
{
        const PGresult *result = rows->handle;
        const char *data = PQgetvalue(result, rows->row, column);
        int size = PQgetlength(result, rows->row, column);
        uint64_t n = 0;

        *ret = (struct db_value){0};
        if (PQgetisnull(result, rows->row, column))
                return;
        switch (PQftype(result, column)) { /* switch: not an enum */
        case 16: /* bool, int8, int2, int4 */
        case OID_INT8:
        case 21:
        case 23:
                for (int i = 0; i < size; i++)
                        n = n << 8 | (uint8_t)data[i];
                ret->type = 'i';
                ret->number = size == 4 ? (int32_t)n : size == 2 ? (int16_t)n : (int64_t)n;
                return;
        case OID_BYTEA:
                ret->type = 'b';
                break;
        default: /* switch: not an enum */
                ret->type = 't';
                break;
        }
        ret->data = data;
        ret->size = (size_t)size;
}

/* ---- COPY in binary form: PostgreSQL 15, "COPY", File Formats ---- */

static const uint8_t copy_head[19] = "PGCOPY\n\377\r\n"; /* signature, flags, no extension */

static struct buf *bulk_buffer(struct db_postgres *p, const struct db_table *t)
{
        for (size_t i = 0; i < p->n_bulk; i++)
                if (p->bulk[i].table == t)
                        return &p->bulk[i].data;
        if (p->n_bulk == BULK_MAX)
                return NULL;
        p->bulk[p->n_bulk] = (struct bulk){.table = t};
        return &p->bulk[p->n_bulk++].data;
}

static int postgres_bulk(struct db *db, const struct db_table *t, const struct db_value *row, size_t n)
{
        struct buf *b = bulk_buffer(postgres_of(db), t);

        if (!b)
                return -ENOBUFS;
        if (b->size == 0)
                buf_add(b, copy_head, sizeof(copy_head));
        buf_add_be16(b, (uint16_t)n);
        for (size_t i = 0; i < n; i++) {
                if (row[i].type == 'i') {
                        buf_add_be32(b, 8);
                        buf_add_be64(b, (uint64_t)row[i].number);
                } else if (!row[i].type) {
                        buf_add_be32(b, UINT32_MAX);
                } else {
                        buf_add_be32(b, (uint32_t)row[i].size);
                        buf_add(b, row[i].data, row[i].size);
                }
        }
        return buf_error(b);
}

static int copy(struct db *db, struct bulk *b)
{
        PGconn *pg = postgres_of(db)->pg;
        _cleanup_buf_ struct buf sql = {0};
        PGresult *result;
        int r;

        buf_add_be16(&b->data, UINT16_MAX);
        buf_addf(&sql, "COPY %s (%s) FROM STDIN BINARY", b->table->name, b->table->columns);
        if (buf_error(&b->data) < 0 || buf_error(&sql) < 0)
                return -ENOMEM;
        result = answer(db, PQsendQuery(pg, (const char *)sql.data));
        r = checked(db, result);
        if (r < 0)
                return r;
        PQclear(result);
        result = answer(db, PQputCopyData(pg, (const char *)b->data.data, (int)b->data.size) == 1 &&
                                    PQputCopyEnd(pg, NULL) == 1);
        r = checked(db, result);
        if (r == 0)
                PQclear(result);
        return r;
}

static void postgres_forget(struct db *db)
{
        struct db_postgres *p = postgres_of(db);

        for (size_t i = 0; i < p->n_bulk; i++)
                buf_done(&p->bulk[i].data);
        p->n_bulk = 0;
}

static int postgres_flush(struct db *db)
{
        struct db_postgres *p = postgres_of(db);
        int r = 0;

        for (size_t i = 0; i < p->n_bulk && r == 0; i++)
                r = copy(db, &p->bulk[i]);
        postgres_forget(db);
        return r;
}

static bool postgres_in_transaction(const struct db *db)
{
        return PQtransactionStatus(postgres_of(db)->pg) == PQTRANS_INTRANS;
}

static void postgres_free(struct db *db)
{
        struct db_postgres *p = postgres_of(db);

        db_statements_drop(db, statement_forget);
        PQfinish(p->pg);
        free(p->url);
        free(p);
}

static const struct db_driver postgres_driver = {
        .free = postgres_free,
        .script = postgres_script,
        .query = postgres_query,
        .next = postgres_next,
        .changes = postgres_changes,
        .done = postgres_done,
        .get = postgres_get,
        .bulk = postgres_bulk,
        .flush = postgres_flush,
        .forget = postgres_forget,
        .deadline = postgres_deadline,
        .in_transaction = postgres_in_transaction,
        .begin = "BEGIN",
};

int db_environment(const char *url)
{
        PQconninfoOption *options = PQconninfoParse(url, NULL);
        int r = options ? 0 : -EINVAL;

        for (const PQconninfoOption *o = options; o && o->keyword && r == 0; o++)
                if (o->envvar && o->val && setenv(o->envvar, o->val, 1) < 0)
                        r = -errno;
        PQconninfoFree(options);
        return r;
}

int db_postgres_open(const char *url, unsigned flags, struct db **ret, struct diag *reterr)
{
        struct db_postgres *p = calloc(1, sizeof(*p));
        char where[DIAG_FILE_MAX];
        int r;

        if (!p)
                return -ENOMEM;
        p->base = (struct db){.driver = &postgres_driver, .kind = DB_POSTGRES, .read_only = flags & DB_READ_ONLY};
        p->url = strdup(url);
        r = p->url ? connect_now(p) : -ENOMEM;
        if (r < 0) {
                db_describe(url, where, sizeof(where));
                diag_set(reterr, r, where, 0, "cannot open the database: %s",
                         *p->base.error ? p->base.error : strerror(-r));
                postgres_free(&p->base);
                return r;
        }
        *ret = &p->base;
        return 0;
}
