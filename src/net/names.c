/* Names to addresses.
 *
 * c-ares asks the name servers; its sockets and its timer are watched by the loop. What it would do
 * beyond that is switched off: sorting (it connects sockets to find source addresses), search
 * domains and host aliases (a customer's name must mean the same everywhere). /etc/hosts is read.
 *
 * The cache holds one entry per name, under way or answered:
 *
 *   (none) ──resolve──▶ QUERY ──answer──▶ FRESH ──expired, next resolve──▶ QUERY
 *                                           └──room needed──▶ (freed)
 *
 * All who ask for a name in QUERY wait for the same answer. A lookup's deadline takes only that
 * lookup away; the query goes on (c-ares cannot end a single one) and its answer serves the next.
 * Time to live: the least of the answer's, held between 5 s and 300 s, so that neither a zero makes
 * every connect a query, nor a long one holds a moved endpoint's old address; failures 5 s.
 *
 * Invariants: an entry with users or in QUERY is never freed; an expired one is replaced in place
 * only when nobody uses it; every lookup is told from the loop's deferred task or its timer, never
 * inside net_names_resolve. Answers of more addresses than we keep are refused, since each must be
 * judged.
 *
 * ares_library_init is not called: on this platform it sets up nothing, and its counter is not safe
 * against threads. */
#include "net/names.h"

#include "base/mem.h"
#include "os/clock.h"

#include <ares.h>
#include <netinet/in.h>
#include <string.h>

#define NAMES_BUCKETS    1024 /* a power of two */
#define NAMES_BYTES_MAX  253
#define QUERY_TIMEOUT_MS 1500 /* first try; c-ares doubles it */
#define QUERY_TRIES      3

enum entry_state {
    ENTRY_QUERY = 0,
    ENTRY_FRESH,
};

struct net_names_entry {
    mr_list chain; /* of its bucket */
    mr_list age;   /* in names->by_age while FRESH: oldest answer first */
    struct net_names *names;
    enum entry_state state;
    enum net_names_problem problem;
    uint32_t n_users; /* lookups that point here */
    mr_list waiting;  /* of them, those that wait for the query */
    mr_mono expires;  /* FRESH */
    size_t n_addrs;   /* FRESH */
    os_addr *addrs;   /* owned */
    uint8_t name_len;
    char name[NAMES_BYTES_MAX + 1]; /* lower case */
};

/* A socket of c-ares'. */
struct names_socket {
    mr_list node;
    struct loop_io io;
    struct net_names *names;
};

struct net_names {
    struct loop *loop;
    ares_channel channel;
    struct net_names_opts opts;
    struct loop_timer timer; /* c-ares' next timeout */
    struct loop_task task;   /* tells the lookups in ready */
    mr_list ready;
    mr_list sockets;
    mr_list by_age;
    uint32_t n_entries;
    uint32_t n_queries;
    uint64_t seed;
    bool is_closing;
    mr_list buckets[NAMES_BUCKETS];
};

static const char *problem_text(enum net_names_problem problem) {
    switch (problem) {
    case NET_NAMES_OK:
        return "";
    case NET_NAMES_NOT_FOUND:
        return "the name does not exist or has no address";
    case NET_NAMES_SERVER:
        return "the name server failed or refused to answer";
    case NET_NAMES_TIMEOUT:
        return "no name server answered in time";
    case NET_NAMES_INVALID:
        return "the name cannot be looked up, or has more than 32 addresses";
    case NET_NAMES_BUSY:
        return "too many names are being looked up at the moment";
    }
    return "";
}

static enum net_names_problem problem_of_status(int status) {
    switch (status) {
    case ARES_SUCCESS:
        return NET_NAMES_OK;
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
        return NET_NAMES_NOT_FOUND;
    case ARES_ETIMEOUT:
        return NET_NAMES_TIMEOUT;
    case ARES_EBADNAME:
    case ARES_ENONAME:
        return NET_NAMES_INVALID;
    case ARES_ENOMEM:
        return NET_NAMES_BUSY;
    }
    return NET_NAMES_SERVER;
}

/* Sets the loop's timer to what c-ares wants next. */
static void arm(struct net_names *names) {
    struct timeval at;
    const struct timeval *next = ares_timeout(names->channel, NULL, &at);
    if (next == NULL) {
        loop_timer_cancel(names->loop, &names->timer);
        return;
    }
    int64_t ms = (int64_t)next->tv_sec * 1000 + next->tv_usec / 1000 + 1;
    loop_timer_set(names->loop, &names->timer, mr_mono_add_ms(loop_now(names->loop), ms));
}

static void on_timer(struct loop_timer *timer) {
    struct net_names *names = MR_CONTAINER(timer, struct net_names, timer);
    ares_process_fd(names->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(names);
}

static void on_socket(struct loop_io *io, unsigned ready) {
    struct names_socket *sock = MR_CONTAINER(io, struct names_socket, io);
    struct net_names *names = sock->names;
    bool is_failed = (ready & LOOP_FAIL) != 0;
    int fd = io->fd;
    int to_read = (ready & LOOP_READ) != 0 || is_failed ? fd : ARES_SOCKET_BAD;
    int to_write = (ready & LOOP_WRITE) != 0 ? fd : ARES_SOCKET_BAD;
    ares_process_fd(names->channel, to_read, to_write); /* may free sock */
    arm(names);
}

static struct names_socket *find_socket(struct net_names *names, int fd) {
    for (mr_list *at = names->sockets.next; at != &names->sockets; at = at->next) {
        struct names_socket *sock = MR_CONTAINER(at, struct names_socket, node);
        if (sock->io.fd == fd) {
            return sock;
        }
    }
    return NULL;
}

static void forget_socket(struct names_socket *sock) {
    loop_io_remove(sock->names->loop, &sock->io);
    mr_list_remove(&sock->node);
    mr_free(sock);
}

/* c-ares tells what it wants of a socket; nothing: it is about to close it. A socket that cannot be
 * watched for want of memory lets its queries time out. */
static void on_socket_state(void *arg, ares_socket_t fd, int wants_read, int wants_write) {
    struct net_names *names = arg;
    struct names_socket *sock = find_socket(names, fd);
    unsigned want = (wants_read ? (unsigned)LOOP_READ : 0) | (wants_write ? LOOP_WRITE : 0);
    if (want == 0) {
        if (sock != NULL) {
            forget_socket(sock);
        }
        return;
    }
    if (sock != NULL) {
        loop_io_want(names->loop, &sock->io, want);
        return;
    }
    sock = MR_NEW(struct names_socket);
    if (sock == NULL) {
        return;
    }
    sock->names = names;
    loop_io_init(&sock->io, on_socket);
    if (mr_is_err(loop_io_add(names->loop, &sock->io, fd, want))) {
        mr_free(sock);
        return;
    }
    mr_list_push_back(&names->sockets, &sock->node);
}

static void lookup_end(struct net_lookup *lookup) {
    struct net_names *names = lookup->names;
    mr_list_remove(&lookup->node);
    loop_timer_cancel(names->loop, &lookup->deadline);
    if (lookup->entry != NULL) {
        lookup->entry->n_users--;
        lookup->entry = NULL;
    }
    lookup->names = NULL;
}

/* Tells one lookup; it may be gone when this returns. */
static void tell(struct net_lookup *lookup, enum net_names_problem problem, bool is_from_cache) {
    os_addr addrs[NET_NAMES_ADDRS_MAX];
    struct net_names_answer answer = {.problem = problem,
                                      .addrs = addrs,
                                      .text = problem_text(problem),
                                      .from_cache = is_from_cache};
    if (problem == NET_NAMES_OK) {
        const struct net_names_entry *entry = lookup->entry;
        answer.n_addrs = entry != NULL ? entry->n_addrs : 1;
        memcpy(addrs, entry != NULL ? entry->addrs : &lookup->literal,
               answer.n_addrs * sizeof *addrs);
        for (size_t i = 0; i < answer.n_addrs; i++) {
            addrs[i].port = lookup->port;
        }
    }
    lookup_end(lookup);
    lookup->on_done(lookup, &answer);
}

static void on_task(struct loop_task *task) {
    struct net_names *names = MR_CONTAINER(task, struct net_names, task);
    mr_list batch; /* what is added while we tell waits for the next turn */
    mr_list_init(&batch);
    mr_list *node;
    while ((node = mr_list_pop_front(&names->ready)) != NULL) {
        mr_list_push_back(&batch, node);
    }
    while (!mr_list_is_empty(&batch)) {
        struct net_lookup *lookup = MR_CONTAINER(batch.next, struct net_lookup, node);
        const struct net_names_entry *entry = lookup->entry;
        tell(lookup, entry != NULL ? entry->problem : (enum net_names_problem)lookup->problem,
             lookup->is_cached);
    }
}

static void on_deadline(struct loop_timer *timer) {
    tell(MR_CONTAINER(timer, struct net_lookup, deadline), NET_NAMES_TIMEOUT, false);
}

static void make_ready(struct net_names *names, struct net_lookup *lookup) {
    mr_list_push_back(&names->ready, &lookup->node);
    loop_defer(names->loop, &names->task);
}

/* Copies the addresses of an answer. */
static enum net_names_problem adopt(struct net_names_entry *entry,
                                    const struct ares_addrinfo_node *nodes, int *ret_ttl) {
    size_t n = 0;
    for (const struct ares_addrinfo_node *at = nodes; at != NULL; at = at->ai_next) {
        n += at->ai_family == AF_INET || at->ai_family == AF_INET6 ? 1 : 0;
    }
    if (n == 0) {
        return NET_NAMES_NOT_FOUND;
    }
    if (n > NET_NAMES_ADDRS_MAX) {
        return NET_NAMES_INVALID;
    }
    os_addr *addrs = mr_calloc(n, sizeof *addrs);
    if (addrs == NULL) {
        return NET_NAMES_BUSY;
    }
    size_t i = 0;
    *ret_ttl = INT32_MAX;
    for (const struct ares_addrinfo_node *at = nodes; at != NULL; at = at->ai_next) {
        if (at->ai_family == AF_INET) {
            struct sockaddr_in in;
            memcpy(&in, at->ai_addr, sizeof in);
            addrs[i].family = OS_FAMILY_V4;
            memcpy(addrs[i++].ip, &in.sin_addr, 4);
        } else if (at->ai_family == AF_INET6) {
            struct sockaddr_in6 in;
            memcpy(&in, at->ai_addr, sizeof in);
            addrs[i].family = OS_FAMILY_V6;
            memcpy(addrs[i++].ip, &in.sin6_addr, 16);
        }
        *ret_ttl = at->ai_ttl < *ret_ttl ? at->ai_ttl : *ret_ttl;
    }
    entry->addrs = addrs;
    entry->n_addrs = n;
    return NET_NAMES_OK;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info) {
    (void)timeouts;
    struct net_names_entry *entry = arg;
    struct net_names *names = entry->names;
    if (names->is_closing) {
        ares_freeaddrinfo(info);
        return;
    }
    int ttl = 0;
    entry->problem = problem_of_status(status);
    if (entry->problem == NET_NAMES_OK) {
        entry->problem = adopt(entry, info->nodes, &ttl);
    }
    ares_freeaddrinfo(info);
    uint32_t seconds = names->opts.ttl_failed_s;
    if (entry->problem == NET_NAMES_OK) {
        seconds = ttl < 0 ? 0 : (uint32_t)ttl;
        seconds = seconds < names->opts.ttl_min_s ? names->opts.ttl_min_s : seconds;
        seconds = seconds > names->opts.ttl_max_s ? names->opts.ttl_max_s : seconds;
    }
    entry->state = ENTRY_FRESH;
    entry->expires = mr_mono_add_ms(loop_now(names->loop), (int64_t)seconds * 1000);
    mr_list_push_back(&names->by_age, &entry->age);
    names->n_queries--;
    mr_list *node;
    while ((node = mr_list_pop_front(&entry->waiting)) != NULL) {
        make_ready(names, MR_CONTAINER(node, struct net_lookup, node));
    }
}

static void entry_free(struct net_names_entry *entry) {
    mr_list_remove(&entry->chain);
    mr_list_remove(&entry->age);
    entry->names->n_entries--;
    mr_free(entry->addrs);
    mr_free(entry);
}

/* Frees the oldest answer that nobody reads. */
static bool make_room(struct net_names *names) {
    for (mr_list *at = names->by_age.next; at != &names->by_age; at = at->next) {
        struct net_names_entry *entry = MR_CONTAINER(at, struct net_names_entry, age);
        if (entry->n_users == 0) {
            entry_free(entry);
            return true;
        }
    }
    return false;
}

static mr_list *bucket_of(struct net_names *names, mr_str name) {
    return &names->buckets[mr_str_hash(name, names->seed) & (NAMES_BUCKETS - 1)];
}

static struct net_names_entry *entry_find(struct net_names *names, mr_str name) {
    const mr_list *bucket = bucket_of(names, name);
    for (mr_list *at = bucket->next; at != bucket; at = at->next) {
        struct net_names_entry *entry = MR_CONTAINER(at, struct net_names_entry, chain);
        if (mr_str_eq(mr_str_of(entry->name, entry->name_len), name)) {
            return entry;
        }
    }
    return NULL;
}

/* NULL where there is no room or memory. */
static struct net_names_entry *entry_add(struct net_names *names, mr_str name) {
    if (names->n_queries >= names->opts.lookups_max ||
        (names->n_entries >= names->opts.entries_max && !make_room(names))) {
        return NULL;
    }
    struct net_names_entry *entry = MR_NEW(struct net_names_entry);
    if (entry == NULL) {
        return NULL;
    }
    entry->names = names;
    entry->name_len = (uint8_t)name.len;
    memcpy(entry->name, name.ptr, name.len);
    mr_list_init(&entry->age);
    mr_list_init(&entry->waiting);
    mr_list_push_back(bucket_of(names, name), &entry->chain);
    names->n_entries++;
    return entry;
}

/* Asks the name servers. The answer may come inside; it is told later all the same. */
static void query(struct net_names_entry *entry) {
    struct net_names *names = entry->names;
    mr_list_remove(&entry->age);
    mr_free(entry->addrs);
    entry->addrs = NULL;
    entry->n_addrs = 0;
    entry->state = ENTRY_QUERY;
    names->n_queries++;
    struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(names->channel, entry->name, NULL, &hints, on_answer, entry);
    arm(names);
}

/* The entry to wait for or read; NULL: BUSY. *ret_is_cached: it holds an answer already. */
static struct net_names_entry *entry_for(struct net_names *names, mr_str name,
                                         bool *ret_is_cached) {
    struct net_names_entry *entry = entry_find(names, name);
    *ret_is_cached = false;
    if (entry != NULL && entry->state == ENTRY_FRESH) {
        /* An expired answer that is just being told serves those who ask in the same moment. */
        if (entry->n_users > 0 || mr_mono_before(loop_now(names->loop), entry->expires)) {
            *ret_is_cached = true;
            return entry;
        }
        if (names->n_queries >= names->opts.lookups_max) {
            return NULL;
        }
        query(entry);
    } else if (entry == NULL) {
        entry = entry_add(names, name);
        if (entry != NULL) {
            query(entry);
        }
    }
    return entry;
}

void net_names_resolve(struct net_names *names, struct net_lookup *lookup, mr_str host,
                       uint16_t port, mr_mono deadline,
                       void (*on_done)(struct net_lookup *lookup,
                                       const struct net_names_answer *answer)) {
    MR_ASSERT(lookup->names == NULL);
    mr_list_init(&lookup->node);
    loop_timer_init(&lookup->deadline, on_deadline);
    lookup->names = names;
    lookup->on_done = on_done;
    lookup->port = port;
    lookup->entry = NULL;
    lookup->problem = NET_NAMES_OK;
    lookup->is_cached = true;
    if (mr_is_ok(os_addr_parse_ip(host, &lookup->literal))) {
        make_ready(names, lookup);
        return;
    }
    char lower[NAMES_BYTES_MAX + 1];
    if (host.len == 0 || host.len > NAMES_BYTES_MAX || memchr(host.ptr, '\0', host.len) != NULL) {
        lookup->problem = NET_NAMES_INVALID;
        make_ready(names, lookup);
        return;
    }
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    struct net_names_entry *entry =
        entry_for(names, mr_str_of(lower, host.len), &lookup->is_cached);
    if (entry == NULL) {
        lookup->problem = NET_NAMES_BUSY;
        make_ready(names, lookup);
        return;
    }
    lookup->entry = entry;
    entry->n_users++;
    if (entry->state == ENTRY_FRESH) {
        make_ready(names, lookup);
        return;
    }
    mr_list_push_back(&entry->waiting, &lookup->node);
    loop_timer_set(names->loop, &lookup->deadline, deadline);
}

void net_lookup_cancel(struct net_lookup *lookup) {
    if (lookup->names != NULL) {
        lookup_end(lookup);
    }
}

void net_names_flush(struct net_names *names) {
    for (mr_list *at = names->by_age.next; at != &names->by_age;) {
        struct net_names_entry *entry = MR_CONTAINER(at, struct net_names_entry, age);
        at = at->next;
        if (entry->n_users == 0) {
            entry_free(entry);
        } else {
            entry->expires = loop_now(names->loop);
        }
    }
}

static mr_err open_channel(struct net_names *names) {
    char lookups[] = "fb"; /* files, then name servers */
    struct ares_options options = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
                                   .timeout = QUERY_TIMEOUT_MS,
                                   .tries = QUERY_TRIES,
                                   .lookups = lookups,
                                   .sock_state_cb = on_socket_state,
                                   .sock_state_cb_data = names};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
               ARES_OPT_DOMAINS | ARES_OPT_SOCK_STATE_CB;
    int status = ares_init_options(&names->channel, &options, mask);
    if (status != ARES_SUCCESS) {
        names->channel = NULL;
        return MR_ERR(status == ARES_ENOMEM ? MR_E_NOMEM : MR_E_IO);
    }
    if (names->opts.servers != NULL) {
        status = ares_set_servers_ports_csv(names->channel, names->opts.servers);
        if (status != ARES_SUCCESS) {
            return MR_ERR(status == ARES_ENOMEM ? MR_E_NOMEM : MR_E_INVALID);
        }
    }
    return MR_OK;
}

mr_err net_names_new(struct loop *loop, const struct net_names_opts *opts,
                     struct net_names **ret_names) {
    struct net_names *names = MR_NEW(struct net_names);
    if (names == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    struct net_names_opts *own = &names->opts;
    if (opts != NULL) {
        *own = *opts;
    }
    own->entries_max = own->entries_max != 0 ? own->entries_max : 4096;
    own->lookups_max = own->lookups_max != 0 ? own->lookups_max : 1024;
    own->ttl_min_s = own->ttl_min_s != 0 ? own->ttl_min_s : 5;
    own->ttl_max_s = own->ttl_max_s != 0 ? own->ttl_max_s : 300;
    own->ttl_failed_s = own->ttl_failed_s != 0 ? own->ttl_failed_s : 5;
    names->loop = loop;
    os_random(&names->seed, sizeof names->seed);
    loop_timer_init(&names->timer, on_timer);
    loop_task_init(&names->task, on_task);
    mr_list_init(&names->ready);
    mr_list_init(&names->sockets);
    mr_list_init(&names->by_age);
    for (size_t i = 0; i < NAMES_BUCKETS; i++) {
        mr_list_init(&names->buckets[i]);
    }
    mr_err err = open_channel(names);
    own->servers = NULL; /* was read; the text is the caller's */
    if (mr_is_err(err)) {
        net_names_free(names);
        return err;
    }
    *ret_names = names;
    return MR_OK;
}

static void end_all(mr_list *lookups) {
    while (!mr_list_is_empty(lookups)) {
        lookup_end(MR_CONTAINER(lookups->next, struct net_lookup, node));
    }
}

void net_names_free(struct net_names *names) {
    if (names == NULL) {
        return;
    }
    names->is_closing = true;
    if (names->channel != NULL) {
        ares_destroy(names->channel); /* closes its sockets: on_socket_state */
    }
    while (!mr_list_is_empty(&names->sockets)) {
        forget_socket(MR_CONTAINER(names->sockets.next, struct names_socket, node));
    }
    loop_timer_cancel(names->loop, &names->timer);
    loop_task_cancel(&names->task);
    end_all(&names->ready);
    for (size_t i = 0; i < NAMES_BUCKETS; i++) {
        while (!mr_list_is_empty(&names->buckets[i])) {
            struct net_names_entry *entry =
                MR_CONTAINER(names->buckets[i].next, struct net_names_entry, chain);
            end_all(&entry->waiting);
            entry_free(entry);
        }
    }
    mr_free(names);
}
