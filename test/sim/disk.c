/* A simulated disk. See disk.h.
 *
 * A node is a file without a name: `cache` is what readers see, `platter` what survives. Each
 * sector of the cache has a dirty flag; a sync copies dirty sectors. A failed sync clears the flags
 * without copying, as Linux does. Names are kept twice likewise: as seen, and as of the last
 * directory sync. Removed nodes stay in the table while a name of either kind or a handle leads to
 * them (and are not re-used: a test's disk is small).
 *
 * A torn sector is the old one with a part of its changed bytes new, or with noise in changed
 * bytes. Bytes that did not change are never harmed: a sector that holds synced data and is written
 * again with more behind it keeps the former. */
#include "disk.h"

#include "base/mem.h"

#include <errno.h>

#define HANDLES_MAX 4096

enum op {
    OP_OPEN = 0,
    OP_CREATE,
    OP_WRITE,
    OP_READ,
    OP_READ_NOWAIT,
    OP_SYNC,
    OP_TRUNCATE,
    OP_SIZE,
    OP_RENAME,
    OP_LINK,
    OP_UNLINK,
    OP_MKDIR,
    OP_SYNC_DIR,
    OP_LIST,
    OP_LOCK,
    OP_SPACE,
};

struct node {
    uint8_t *cache;
    uint8_t *platter;
    uint8_t *dirty; /* one per sector of cap */
    uint64_t size, platter_size, cap;
    bool is_dir;
    int locked_by; /* handle, or -1 */
};

struct name {
    char *path;
    size_t seen;    /* node + 1; 0: no such name */
    size_t durable; /* likewise, after a crash */
};

struct disk {
    struct os_files files;
    struct node *nodes;
    size_t n_nodes;
    struct name *names; /* sorted by path */
    size_t n_names;
    size_t handle_node[HANDLES_MAX]; /* node + 1; 0: closed */
    int n_handles;
    bool is_down;
    uint64_t random;
    uint64_t at[DISK_FAULT_COUNT];
    uint32_t one_in[DISK_FAULT_COUNT];
    uint32_t odds_kept, odds_dropped;
    uint64_t capacity;
    uint64_t trace;
    struct disk_counts counts;
};

/* --- chance ----------------------------------------------------------------------------------- */

static uint64_t next_random(struct disk *disk) {
    disk->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = disk->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t below(struct disk *disk, uint64_t n) {
    return n == 0 ? 0 : next_random(disk) % n;
}

static void trace(struct disk *disk, uint64_t word) {
    disk->trace = (disk->trace ^ word) * UINT64_C(0x100000001b3);
    disk->trace ^= disk->trace >> 29;
}

static bool can_strike(enum disk_fault fault, enum op op) {
    switch (fault) {
    case DISK_FAULT_NO_SPACE:
        return op == OP_WRITE || op == OP_CREATE || op == OP_LINK || op == OP_MKDIR;
    case DISK_FAULT_SHORT_WRITE:
    case DISK_FAULT_WRITE_IO:
        return op == OP_WRITE;
    case DISK_FAULT_SYNC_IO:
        return op == OP_SYNC || op == OP_SYNC_DIR;
    case DISK_FAULT_READ_IO:
        return op == OP_READ || op == OP_READ_NOWAIT;
    case DISK_FAULT_READ_AGAIN:
        return op == OP_READ_NOWAIT;
    case DISK_FAULT_CRASH:
    case DISK_FAULT_KILL:
        return true;
    case DISK_FAULT_NONE:
    case DISK_FAULT_COUNT:
        break;
    }
    return false;
}

/* The fault that strikes this operation. */
static enum disk_fault draw(struct disk *disk, enum op op) {
    enum disk_fault struck = DISK_FAULT_NONE;
    for (int f = DISK_FAULT_NONE + 1; f < DISK_FAULT_COUNT; f++) {
        if (!can_strike((enum disk_fault)f, op)) {
            continue;
        }
        bool hit = disk->at[f] != 0 && --disk->at[f] == 0;
        hit = (disk->one_in[f] != 0 && below(disk, disk->one_in[f]) == 0) || hit;
        struck = hit ? (enum disk_fault)f : struck;
    }
    disk->counts.faults[struck] += struck != DISK_FAULT_NONE ? 1 : 0;
    return struck;
}

/* Begins an operation. Crash and kill are left to the operation's end. */
static enum disk_fault begin(struct disk *disk, enum op op, uint64_t a, uint64_t b) {
    disk->counts.operations++;
    enum disk_fault fault = draw(disk, op);
    trace(disk, (uint64_t)op);
    trace(disk, a);
    trace(disk, b);
    trace(disk, (uint64_t)fault);
    return fault;
}

static mr_err io_error(void) {
    errno = EIO;
    return MR_ERR(MR_E_IO);
}
static mr_err no_space(void) {
    errno = ENOSPC;
    return MR_ERR(MR_E_NO_SPACE);
}

/* Ends an operation that crash or kill strikes. */
static mr_err end(struct disk *disk, enum disk_fault fault, mr_err err) {
    if (fault == DISK_FAULT_CRASH) {
        disk_crash(disk);
        return io_error();
    }
    if (fault == DISK_FAULT_KILL) {
        disk_kill(disk);
        return io_error();
    }
    trace(disk, err.code);
    return err;
}

/* --- nodes and names -------------------------------------------------------------------------- */

static void *must(void *ptr) {
    MR_ASSERT(ptr != NULL);
    return ptr;
}

static void node_reserve(struct node *node, uint64_t size) {
    if (size <= node->cap) {
        return;
    }
    uint64_t cap = node->cap == 0 ? 4096 : node->cap;
    while (cap < size) {
        cap *= 2;
    }
    node->cache = must(mr_realloc(node->cache, cap));
    node->platter = must(mr_realloc(node->platter, cap));
    node->dirty = must(mr_realloc(node->dirty, cap / DISK_SECTOR));
    memset(node->cache + node->cap, 0, cap - node->cap);
    memset(node->platter + node->cap, 0, cap - node->cap);
    memset(node->dirty + node->cap / DISK_SECTOR, 0, (cap - node->cap) / DISK_SECTOR);
    node->cap = cap;
}

static size_t node_add(struct disk *disk, bool is_dir) {
    disk->nodes = must(mr_realloc(disk->nodes, (disk->n_nodes + 1) * sizeof *disk->nodes));
    disk->nodes[disk->n_nodes] = (struct node){.is_dir = is_dir, .locked_by = -1};
    return disk->n_nodes++;
}

static struct name *name_find(const struct disk *disk, const char *path) {
    for (size_t i = 0; i < disk->n_names; i++) {
        if (strcmp(disk->names[i].path, path) == 0) {
            return &disk->names[i];
        }
    }
    return NULL;
}

static struct name *name_make(struct disk *disk, const char *path) {
    struct name *name = name_find(disk, path);
    if (name != NULL) {
        return name;
    }
    disk->names = must(mr_realloc(disk->names, (disk->n_names + 1) * sizeof *disk->names));
    size_t at = disk->n_names;
    while (at > 0 && strcmp(disk->names[at - 1].path, path) > 0) {
        disk->names[at] = disk->names[at - 1];
        at--;
    }
    disk->n_names++;
    disk->names[at] = (struct name){.path = must(mr_strdup_n(path, strlen(path)))};
    return &disk->names[at];
}

/* A name that is known to be there. */
static struct name *name_known(const struct disk *disk, const char *path) {
    struct name *name = name_find(disk, path);
    MR_ASSERT(name != NULL);
    return name;
}

static struct node *node_at(const struct disk *disk, const char *path) {
    const struct name *name = name_find(disk, path);
    return name != NULL && name->seen != 0 ? &disk->nodes[name->seen - 1] : NULL;
}

static struct node *node_of(struct disk *disk, os_file file) {
    bool good = file.handle >= 0 && file.handle < disk->n_handles;
    size_t node = good ? disk->handle_node[file.handle] : 0;
    return node == 0 ? NULL : &disk->nodes[node - 1];
}

uint64_t disk_used_bytes(const struct disk *disk) {
    uint64_t used = 0;
    for (size_t i = 0; i < disk->n_names; i++) {
        used += disk->names[i].seen != 0 ? disk->nodes[disk->names[i].seen - 1].size : 0;
    }
    return used;
}

/* --- operations ------------------------------------------------------------------------------- */

static mr_err do_open(void *ctx, const char *path, int flags, os_file *ret_file) {
    struct disk *disk = ctx;
    if (disk->is_down) {
        return io_error();
    }
    bool makes = (flags & OS_OPEN_CREATE) != 0 && node_at(disk, path) == NULL;
    enum disk_fault fault = begin(disk, makes ? OP_CREATE : OP_OPEN, strlen(path), (uint64_t)flags);
    if (fault == DISK_FAULT_NO_SPACE) {
        return no_space();
    }
    if (node_at(disk, path) != NULL && (flags & OS_OPEN_EXCLUSIVE) != 0) {
        errno = EEXIST;
        return end(disk, fault, MR_ERR(MR_E_EXISTS));
    }
    if (node_at(disk, path) == NULL && !makes) {
        errno = ENOENT;
        return end(disk, fault, MR_ERR(MR_E_NOT_FOUND));
    }
    if (makes) {
        size_t node = node_add(disk, false);
        name_make(disk, path)->seen = node + 1;
    }
    MR_TRY(end(disk, fault, MR_OK));
    int handle = 0;
    while (handle < disk->n_handles && disk->handle_node[handle] != 0) {
        handle++;
    }
    MR_ASSERT(handle < HANDLES_MAX);
    disk->n_handles = handle == disk->n_handles ? handle + 1 : disk->n_handles;
    disk->handle_node[handle] = name_known(disk, path)->seen;
    ret_file->handle = handle;
    return MR_OK;
}

static void do_close(void *ctx, os_file file) {
    struct disk *disk = ctx;
    struct node *node = node_of(disk, file);
    if (node != NULL) {
        node->locked_by = node->locked_by == file.handle ? -1 : node->locked_by;
        disk->handle_node[file.handle] = 0;
    }
}

static void put(struct node *node, uint64_t offset, const uint8_t *bytes, uint64_t n) {
    if (n == 0) {
        return;
    }
    node_reserve(node, offset + n);
    memcpy(node->cache + offset, bytes, n);
    node->size = offset + n > node->size ? offset + n : node->size;
    memset(node->dirty + offset / DISK_SECTOR, 1,
           (offset + n - 1) / DISK_SECTOR - offset / DISK_SECTOR + 1);
}

static mr_err do_write(void *ctx, os_file file, const struct iovec *iov, int n_iov,
                       uint64_t offset) {
    struct disk *disk = ctx;
    struct node *node = node_of(disk, file);
    if (disk->is_down || node == NULL) {
        return io_error();
    }
    uint64_t total = 0;
    for (int i = 0; i < n_iov; i++) {
        total += iov[i].iov_len;
    }
    disk->counts.writes++;
    enum disk_fault fault = begin(disk, OP_WRITE, offset, total);
    uint64_t done = total;
    mr_err err = MR_OK;
    if (fault == DISK_FAULT_NO_SPACE) {
        done = 0;
        err = no_space();
    } else if (fault == DISK_FAULT_SHORT_WRITE || fault == DISK_FAULT_WRITE_IO) {
        done = below(disk, total);
        err = fault == DISK_FAULT_WRITE_IO ? io_error() : no_space();
    } else if (fault == DISK_FAULT_CRASH || fault == DISK_FAULT_KILL) {
        done = below(disk, total + 1);
    } else if (offset + total > node->size) {
        uint64_t used = disk_used_bytes(disk) + (offset + total - node->size);
        uint64_t over = used > disk->capacity ? used - disk->capacity : 0;
        if (over > 0) {
            done = over < total ? total - over : 0;
            err = no_space();
        }
    }
    uint64_t at = 0;
    for (int i = 0; i < n_iov && at < done; i++) {
        uint64_t n = iov[i].iov_len < done - at ? iov[i].iov_len : done - at;
        put(node, offset + at, iov[i].iov_base, n);
        at += n;
    }
    return end(disk, fault, err);
}

static mr_err do_read(void *ctx, os_file file, void *out, size_t size, uint64_t offset, int flags,
                      size_t *ret_n) {
    struct disk *disk = ctx;
    const struct node *node = node_of(disk, file);
    if (disk->is_down || node == NULL) {
        return io_error();
    }
    disk->counts.reads++;
    bool nowait = (flags & OS_READ_NOWAIT) != 0;
    enum disk_fault fault = begin(disk, nowait ? OP_READ_NOWAIT : OP_READ, offset, size);
    if (fault == DISK_FAULT_READ_IO) {
        return io_error();
    }
    if (fault == DISK_FAULT_READ_AGAIN) {
        errno = EAGAIN;
        return MR_ERR(MR_E_AGAIN);
    }
    uint64_t there = offset < node->size ? node->size - offset : 0;
    size_t n = there < size ? (size_t)there : size;
    if (n > 0) {
        memcpy(out, node->cache + offset, n);
    }
    *ret_n = n;
    return end(disk, fault, MR_OK);
}

static void sync_sector(struct node *node, uint64_t sector) {
    memcpy(node->platter + sector * DISK_SECTOR, node->cache + sector * DISK_SECTOR, DISK_SECTOR);
    node->dirty[sector] = 0;
}

static mr_err do_sync(void *ctx, os_file file) {
    struct disk *disk = ctx;
    struct node *node = node_of(disk, file);
    if (disk->is_down || node == NULL) {
        return io_error();
    }
    disk->counts.syncs++;
    enum disk_fault fault = begin(disk, OP_SYNC, (uint64_t)file.handle, node->size);
    if (fault == DISK_FAULT_CRASH || fault == DISK_FAULT_KILL) {
        return end(disk, fault, MR_OK);
    }
    for (uint64_t s = 0; s < node->cap / DISK_SECTOR; s++) {
        if (node->dirty[s] != 0 && fault == DISK_FAULT_SYNC_IO) {
            /* Some sectors made it. */
            if (below(disk, 2) == 0) {
                sync_sector(node, s);
            }
            node->dirty[s] = 0;
        } else if (node->dirty[s] != 0) {
            sync_sector(node, s);
        }
    }
    if (fault == DISK_FAULT_SYNC_IO) {
        trace(disk, 1);
        return io_error();
    }
    node->platter_size = node->size;
    return end(disk, fault, MR_OK);
}

static mr_err do_truncate(void *ctx, os_file file, uint64_t size) {
    struct disk *disk = ctx;
    struct node *node = node_of(disk, file);
    if (disk->is_down || node == NULL) {
        return io_error();
    }
    enum disk_fault fault = begin(disk, OP_TRUNCATE, (uint64_t)file.handle, size);
    if (size < node->size) {
        memset(node->cache + size, 0, node->cap - size);
        memset(node->dirty + size / DISK_SECTOR, 1, node->cap / DISK_SECTOR - size / DISK_SECTOR);
    } else {
        node_reserve(node, size);
    }
    node->size = size;
    return end(disk, fault, MR_OK);
}

static mr_err do_size(void *ctx, os_file file, uint64_t *ret_size) {
    struct disk *disk = ctx;
    const struct node *node = node_of(disk, file);
    if (disk->is_down || node == NULL) {
        return io_error();
    }
    enum disk_fault fault = begin(disk, OP_SIZE, (uint64_t)file.handle, 0);
    *ret_size = node->size;
    return end(disk, fault, MR_OK);
}

static mr_err move(struct disk *disk, enum op op, const char *from, const char *to) {
    if (disk->is_down) {
        return io_error();
    }
    enum disk_fault fault = begin(disk, op, strlen(from), strlen(to));
    if (fault == DISK_FAULT_NO_SPACE) {
        return no_space();
    }
    if (node_at(disk, from) == NULL) {
        errno = ENOENT;
        return end(disk, fault, MR_ERR(MR_E_NOT_FOUND));
    }
    if (op == OP_LINK && node_at(disk, to) != NULL) {
        errno = EEXIST;
        return end(disk, fault, MR_ERR(MR_E_EXISTS));
    }
    size_t node = name_known(disk, from)->seen;
    name_make(disk, to)->seen = node;
    if (op == OP_RENAME && strcmp(from, to) != 0) {
        name_known(disk, from)->seen = 0;
    }
    return end(disk, fault, MR_OK);
}

static mr_err do_rename(void *ctx, const char *from, const char *to) {
    return move(ctx, OP_RENAME, from, to);
}

static mr_err do_link(void *ctx, const char *from, const char *to) {
    return move(ctx, OP_LINK, from, to);
}

static mr_err do_unlink(void *ctx, const char *path) {
    struct disk *disk = ctx;
    if (disk->is_down) {
        return io_error();
    }
    enum disk_fault fault = begin(disk, OP_UNLINK, strlen(path), 0);
    if (node_at(disk, path) == NULL) {
        errno = ENOENT;
        return end(disk, fault, MR_ERR(MR_E_NOT_FOUND));
    }
    name_known(disk, path)->seen = 0;
    return end(disk, fault, MR_OK);
}

static mr_err do_mkdir(void *ctx, const char *path) {
    struct disk *disk = ctx;
    if (disk->is_down) {
        return io_error();
    }
    enum disk_fault fault = begin(disk, OP_MKDIR, strlen(path), 0);
    if (fault == DISK_FAULT_NO_SPACE) {
        return no_space();
    }
    if (node_at(disk, path) != NULL) {
        errno = EEXIST;
        return end(disk, fault, MR_ERR(MR_E_EXISTS));
    }
    size_t node = node_add(disk, true);
    struct name *name = name_make(disk, path);
    name->seen = node + 1;
    name->durable = node + 1; /* folders are not what these tests are about */
    return end(disk, fault, MR_OK);
}

/* The part of path below dir, or NULL. */
static const char *inside(const char *dir, const char *path) {
    size_t n = strlen(dir);
    bool below_dir =
        strncmp(path, dir, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
    return below_dir ? path + n + 1 : NULL;
}

/* Gives back the memory of nodes that nothing leads to any more. */
static void collect(struct disk *disk) {
    for (size_t n = 0; n < disk->n_nodes; n++) {
        bool used = disk->nodes[n].cap == 0;
        for (size_t i = 0; i < disk->n_names && !used; i++) {
            used = disk->names[i].seen == n + 1 || disk->names[i].durable == n + 1;
        }
        for (int h = 0; h < disk->n_handles && !used; h++) {
            used = disk->handle_node[h] == n + 1;
        }
        if (!used) {
            mr_free(disk->nodes[n].cache);
            mr_free(disk->nodes[n].platter);
            mr_free(disk->nodes[n].dirty);
            disk->nodes[n] = (struct node){.locked_by = -1};
        }
    }
}

static mr_err do_sync_dir(void *ctx, const char *path) {
    struct disk *disk = ctx;
    if (disk->is_down) {
        return io_error();
    }
    enum disk_fault fault = begin(disk, OP_SYNC_DIR, strlen(path), 0);
    if (fault == DISK_FAULT_SYNC_IO) {
        return io_error();
    }
    if (fault == DISK_FAULT_NONE) {
        for (size_t i = 0; i < disk->n_names; i++) {
            if (inside(path, disk->names[i].path) != NULL) {
                disk->names[i].durable = disk->names[i].seen;
            }
        }
        collect(disk);
    }
    return end(disk, fault, MR_OK);
}

static mr_err do_list(void *ctx, const char *path, void (*each)(void *arg, mr_str name),
                      void *arg) {
    struct disk *disk = ctx;
    if (disk->is_down) {
        return io_error();
    }
    enum disk_fault fault = begin(disk, OP_LIST, strlen(path), 0);
    MR_TRY(end(disk, fault, MR_OK));
    if (node_at(disk, path) == NULL) {
        errno = ENOENT;
        return MR_ERR(MR_E_NOT_FOUND);
    }
    size_t n = 0;
    char **copies = must(mr_calloc(disk->n_names + 1, sizeof *copies));
    for (size_t i = 0; i < disk->n_names; i++) {
        const char *name = inside(path, disk->names[i].path);
        if (name != NULL && disk->names[i].seen != 0) {
            copies[n++] = must(mr_strdup_n(name, strlen(name)));
        }
    }
    for (size_t i = 0; i < n; i++) {
        each(arg, mr_str_c(copies[i]));
        mr_free(copies[i]);
    }
    mr_free(copies);
    return MR_OK;
}

static mr_err do_lock(void *ctx, os_file file) {
    struct disk *disk = ctx;
    struct node *node = node_of(disk, file);
    if (disk->is_down || node == NULL) {
        return io_error();
    }
    enum disk_fault fault = begin(disk, OP_LOCK, (uint64_t)file.handle, 0);
    if (node->locked_by >= 0 && node->locked_by != file.handle) {
        return end(disk, fault, MR_ERR(MR_E_BUSY));
    }
    node->locked_by = file.handle;
    return end(disk, fault, MR_OK);
}

static mr_err do_space(void *ctx, const char *path, struct os_space *ret_space) {
    struct disk *disk = ctx;
    (void)path;
    if (disk->is_down) {
        return io_error();
    }
    enum disk_fault fault = begin(disk, OP_SPACE, 0, 0);
    const uint64_t large = UINT64_C(1) << 40;
    uint64_t total = disk->capacity < large ? disk->capacity : large;
    uint64_t used = disk_used_bytes(disk);
    *ret_space = (struct os_space){used < total ? total - used : 0, total};
    return end(disk, fault, MR_OK);
}

static void do_forget(void *ctx, os_file file) {
    struct disk *disk = ctx;
    (void)file;
    disk->counts.forgotten++;
}

/* --- the test's side -------------------------------------------------------------------------- */

static void set_table(struct disk *disk) {
    disk->files = (struct os_files){.ctx = disk,
                                    .open = do_open,
                                    .close = do_close,
                                    .write = do_write,
                                    .read = do_read,
                                    .sync = do_sync,
                                    .truncate = do_truncate,
                                    .size = do_size,
                                    .rename = do_rename,
                                    .link = do_link,
                                    .unlink = do_unlink,
                                    .mkdir = do_mkdir,
                                    .sync_dir = do_sync_dir,
                                    .list = do_list,
                                    .lock = do_lock,
                                    .space = do_space,
                                    .forget = do_forget};
}

struct disk *disk_new(uint64_t seed) {
    struct disk *disk = MR_NEW(struct disk);
    if (disk != NULL) {
        disk->random = seed;
        disk->odds_kept = 400;
        disk->odds_dropped = 400;
        disk->capacity = UINT64_MAX;
        set_table(disk);
    }
    return disk;
}

void disk_free(struct disk *disk) {
    if (disk == NULL) {
        return;
    }
    for (size_t i = 0; i < disk->n_nodes; i++) {
        mr_free(disk->nodes[i].cache);
        mr_free(disk->nodes[i].platter);
        mr_free(disk->nodes[i].dirty);
    }
    for (size_t i = 0; i < disk->n_names; i++) {
        mr_free(disk->names[i].path);
    }
    mr_free(disk->nodes);
    mr_free(disk->names);
    mr_free(disk);
}

const struct os_files *disk_files(struct disk *disk) {
    return &disk->files;
}

void disk_fault_at(struct disk *disk, enum disk_fault fault, uint64_t n) {
    disk->at[fault] = n;
}

void disk_fault_chance(struct disk *disk, enum disk_fault fault, uint32_t one_in) {
    disk->one_in[fault] = one_in;
}

void disk_set_capacity(struct disk *disk, uint64_t bytes) {
    disk->capacity = bytes;
}

bool disk_is_bounded(const struct disk *disk) {
    return disk->capacity != UINT64_MAX;
}

void disk_crash_odds(struct disk *disk, uint32_t kept, uint32_t dropped) {
    MR_ASSERT(kept + dropped <= 1000);
    disk->odds_kept = kept;
    disk->odds_dropped = dropped;
}

static void tear_sector(struct disk *disk, struct node *node, uint64_t sector) {
    uint8_t *old = node->platter + sector * DISK_SECTOR;
    const uint8_t *new = node->cache + sector *DISK_SECTOR;
    uint64_t cut = below(disk, DISK_SECTOR);
    uint64_t manner = below(disk, 3);
    for (uint64_t i = 0; i < DISK_SECTOR; i++) {
        bool is_new = manner == 0 ? i < cut : i >= cut;
        if (manner == 2 && old[i] != new[i]) {
            old[i] = (uint8_t)next_random(disk);
        } else if (manner != 2 && is_new) {
            old[i] = new[i];
        }
    }
}

static void crash_node(struct disk *disk, struct node *node) {
    for (uint64_t s = 0; s < node->cap / DISK_SECTOR; s++) {
        if (node->dirty[s] == 0) {
            continue;
        }
        uint64_t lot = below(disk, 1000);
        if (lot < disk->odds_kept) {
            sync_sector(node, s);
            disk->counts.sectors_kept++;
        } else if (lot < disk->odds_kept + disk->odds_dropped) {
            disk->counts.sectors_dropped++;
        } else {
            tear_sector(disk, node, s);
            disk->counts.sectors_torn++;
        }
        node->dirty[s] = 0;
    }
    if (node->size != node->platter_size && below(disk, 2) == 0) {
        node->platter_size = node->size;
    }
    node->size = node->platter_size;
    if (node->cap > 0) {
        memset(node->platter + node->size, 0, node->cap - node->size);
        memcpy(node->cache, node->platter, node->cap);
    }
}

static void drop_handles(struct disk *disk) {
    memset(disk->handle_node, 0, sizeof disk->handle_node);
    disk->n_handles = 0;
    for (size_t i = 0; i < disk->n_nodes; i++) {
        disk->nodes[i].locked_by = -1;
    }
    disk->is_down = true;
}

void disk_crash(struct disk *disk) {
    for (size_t i = 0; i < disk->n_names; i++) {
        struct name *name = &disk->names[i];
        if (name->seen != name->durable && below(disk, 2) == 0) {
            name->seen = name->durable;
            disk->counts.names_undone++;
        }
        name->durable = name->seen;
    }
    for (size_t i = 0; i < disk->n_nodes; i++) {
        crash_node(disk, &disk->nodes[i]);
    }
    drop_handles(disk);
    trace(disk, 0xdead);
}

void disk_kill(struct disk *disk) {
    drop_handles(disk);
    trace(disk, 0xdeed);
}

bool disk_is_down(const struct disk *disk) {
    return disk->is_down;
}

void disk_restart(struct disk *disk) {
    drop_handles(disk);
    memset(disk->at, 0, sizeof disk->at);
    disk->is_down = false;
}

struct disk_counts disk_counts(const struct disk *disk) {
    return disk->counts;
}

uint64_t disk_trace(const struct disk *disk) {
    return disk->trace;
}

mr_str disk_peek(const struct disk *disk, const char *path) {
    const struct node *node = node_at(disk, path);
    if (node == NULL) {
        return MR_STR_NONE;
    }
    return (mr_str){node->cache == NULL ? "" : (const char *)node->cache, (size_t)node->size};
}

bool disk_poke(struct disk *disk, const char *path, uint64_t offset, const void *bytes, size_t n) {
    struct node *node = node_at(disk, path);
    if (node == NULL || offset + n > node->size) {
        return false;
    }
    memcpy(node->cache + offset, bytes, n);
    memcpy(node->platter + offset, bytes, n);
    return true;
}

void disk_settle(struct disk *disk) {
    for (size_t i = 0; i < disk->n_nodes; i++) {
        struct node *node = &disk->nodes[i];
        for (uint64_t s = 0; s < node->cap / DISK_SECTOR; s++) {
            sync_sector(node, s);
        }
        node->platter_size = node->size;
    }
    for (size_t i = 0; i < disk->n_names; i++) {
        disk->names[i].durable = disk->names[i].seen;
    }
}

void disk_each(const struct disk *disk, void (*each)(void *arg, const char *path, uint64_t size),
               void *arg) {
    for (size_t i = 0; i < disk->n_names; i++) {
        size_t node = disk->names[i].seen;
        if (node != 0 && !disk->nodes[node - 1].is_dir) {
            each(arg, disk->names[i].path, disk->nodes[node - 1].size);
        }
    }
}

struct disk *disk_clone(const struct disk *disk) {
    struct disk *copy = MR_NEW(struct disk);
    if (copy == NULL) {
        return NULL;
    }
    *copy = *disk;
    set_table(copy);
    copy->nodes = must(mr_calloc(disk->n_nodes + 1, sizeof *copy->nodes));
    for (size_t i = 0; i < disk->n_nodes; i++) {
        const struct node *from = &disk->nodes[i];
        copy->nodes[i] = *from;
        copy->nodes[i].cache = copy->nodes[i].platter = copy->nodes[i].dirty = NULL;
        copy->nodes[i].cap = 0;
        node_reserve(&copy->nodes[i], from->cap);
        if (from->cap > 0) {
            memcpy(copy->nodes[i].cache, from->cache, from->cap);
            memcpy(copy->nodes[i].platter, from->platter, from->cap);
            memcpy(copy->nodes[i].dirty, from->dirty, from->cap / DISK_SECTOR);
        }
    }
    copy->names = must(mr_calloc(disk->n_names + 1, sizeof *copy->names));
    for (size_t i = 0; i < disk->n_names; i++) {
        copy->names[i] = disk->names[i];
        copy->names[i].path = must(mr_strdup_n(disk->names[i].path, strlen(disk->names[i].path)));
    }
    return copy;
}
