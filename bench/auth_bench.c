/* What it costs to know a caller: the Authorization field to account, client and rights, from the
 * token cache and a snapshot, as every call of the API does it; and what the first look at a token
 * and its signing cost.
 *
 *   auth_bench [CHECKS]     prints nanoseconds per check and checks per second, of one core */
#include "auth/cache.h"
#include "base/mem.h"
#include "base/num.h"
#include "model/snapshot.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define TOKENS 1000 /* of as many clients */
#define NOW    INT64_C(1700000000)

struct rig {
    struct secret_slab *slab;
    struct auth_signer *signer;
    struct auth_keyring *ring;
    struct snapshot *snapshot;
    struct auth_cache *cache;
    mr_buf fields[TOKENS]; /* "Bearer …" */
};

static void must(mr_err err) {
    if (mr_is_err(err)) {
        fprintf(stderr, "auth_bench: error %d\n", err.code);
        exit(1);
    }
}

static void make_keys(struct rig *rig) {
    mr_secret private_der = MR_SECRET_NONE;
    mr_buf public_der;
    mr_buf_init(&public_der, 4096);
    must(secret_slab_new((size_t)1 << 20, &rig->slab));
    must(auth_key_generate(rig->slab, &private_der, &public_der));
    struct auth_key key = {
        .kid = "key_bench", .public_der = mr_buf_view(&public_der), .verify_until_s = INT64_MAX};
    must(auth_keyring_new(&key, 1, MR_STR("urn:millrace:bench"), MR_STR("millrace"), &rig->ring));
    must(auth_signer_new(private_der, MR_STR("key_bench"), &rig->signer));
    mr_secret_unref(&private_der);
    mr_buf_done(&public_der);
}

/* The scopes of a publisher: what goes with the hot route. */
static void make_token(struct rig *rig, uint32_t number, const char *account, const char *client) {
    struct auth_claims claims = {.client_type = AUTH_CLIENT_STANDARD,
                                 .generation = 1,
                                 .issued_s = NOW,
                                 .expires_s = NOW + 86400};
    claims.scopes.access[AUTH_RES_EVENTS] = AUTH_ALL;
    claims.scopes.access[AUTH_RES_EVENT_STREAMS] = AUTH_ALL;
    claims.scopes.access[AUTH_RES_WEBHOOKS] = AUTH_ALL;
    (void)snprintf(claims.account_id, sizeof claims.account_id, "%s", account);
    (void)snprintf(claims.client_id, sizeof claims.client_id, "%s", client);
    (void)snprintf(claims.jti, sizeof claims.jti, "tok_%026u", number);
    mr_buf *field = &rig->fields[number - 1];
    mr_buf_init(field, AUTH_TOKEN_BYTES_MAX);
    must(mr_buf_str(field, MR_STR("Bearer ")));
    must(auth_token_sign(rig->signer, auth_keyring_issuer(rig->ring),
                         auth_keyring_audience(rig->ring), &claims, field));
}

static void make_clients(struct rig *rig) {
    struct snapshot_builder *builder;
    char account[AUTH_ID_SIZE];
    char id[AUTH_ID_SIZE];
    must(snapshot_build(NULL, &builder));
    snapshot_set_keyring(builder, rig->ring);
    int64_t start = os_mono_now().ns;
    for (uint32_t i = 1; i <= TOKENS; i++) {
        (void)snprintf(account, sizeof account, "acct_%026u", i);
        (void)snprintf(id, sizeof id, "apiclient_%026u", i);
        must(snapshot_put(builder, &model_account_new(i, mr_str_c(account), MR_STR("A"))->object));
        struct model_client *client = model_client_new(i, mr_str_c(id), i);
        client->is_enabled = true;
        client->generation = 1;
        must(snapshot_put(builder, &client->object));
        make_token(rig, i, account, id);
    }
    printf("auth: %lld us to sign a token of %zu bytes\n",
           (long long)((os_mono_now().ns - start) / TOKENS / 1000), rig->fields[0].len);
    rig->snapshot = snapshot_finish(builder);
    must(auth_cache_new((size_t)4 * TOKENS, &rig->cache));
}

/* As api_check_caller. */
static bool check(struct rig *rig, mr_str field) {
    const struct auth_claims *claims;
    const struct model_account *account;
    const struct model_client *client;
    mr_str token = auth_bearer_text(field);
    return mr_is_ok(auth_cache_check(rig->cache, snapshot_keyring(rig->snapshot), token, NOW,
                                     &claims)) &&
           mr_is_ok(snapshot_check_claims(rig->snapshot, claims, &account, &client)) &&
           auth_route_allows(AUTH_ROUTE_EVENTS_PUBLISH, &claims->scopes);
}

static void measure(struct rig *rig, uint64_t checks, uint32_t tokens, const char *what) {
    uint64_t allowed = 0;
    int64_t start = os_mono_now().ns;
    for (uint64_t i = 0; i < checks; i++) {
        allowed += check(rig, mr_buf_view(&rig->fields[i % tokens]));
    }
    int64_t ns = os_mono_now().ns - start;
    if (allowed != checks) {
        fprintf(stderr, "auth_bench: a check failed\n");
        exit(1);
    }
    printf("auth: %s: %lld ns per check, %.2f million a second\n", what,
           (long long)(ns / (int64_t)checks), (double)checks * 1000 / (double)ns);
}

int main(int argc, char **argv) {
    static struct rig rig;
    uint64_t checks = 5000000;
    if (argc > 1 && mr_is_err(mr_u64_parse(mr_str_c(argv[1]), 1, UINT32_MAX, &checks))) {
        fprintf(stderr, "auth_bench: CHECKS is a number\n");
        return 2;
    }
    make_keys(&rig);
    make_clients(&rig);
    measure(&rig, TOKENS, TOKENS, "first look, signature checked");
    measure(&rig, checks, 1, "remembered, one token");
    measure(&rig, checks, TOKENS, "remembered, 1,000 tokens in turn");
    for (size_t i = 0; i < TOKENS; i++) {
        mr_buf_done(&rig.fields[i]);
    }
    snapshot_unref(rig.snapshot);
    auth_cache_free(rig.cache);
    auth_signer_free(rig.signer);
    auth_keyring_unref(rig.ring);
    secret_slab_free(rig.slab);
    return 0;
}
