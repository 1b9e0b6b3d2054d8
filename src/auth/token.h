/* Access tokens: JSON Web Tokens (RFC 7519) signed RS256 (RFC 7518 §3.3) with a key pair named by
 * `kid`, and the JWKS document (RFC 7517) others verify them with. The algorithm is fixed: what the
 * token's header claims is compared, never obeyed (RFC 8725 §3.1). */
#ifndef MR_AUTH_TOKEN_H
#define MR_AUTH_TOKEN_H

#include "auth/rights.h"
#include "base/time.h"
#include "crypto/secret.h"

enum auth_error {
    AUTH_E_MALFORMED = MR_ERR_CODE(MR_ROOM_AUTH, 1), /* not a token of ours in form */
    AUTH_E_KEY = MR_ERR_CODE(MR_ROOM_AUTH, 2),       /* unknown or retired key */
    AUTH_E_SIGNATURE = MR_ERR_CODE(MR_ROOM_AUTH, 3), /* does not verify */
    AUTH_E_EXPIRED = MR_ERR_CODE(MR_ROOM_AUTH, 4),   /* past exp */
    AUTH_E_NOT_YET = MR_ERR_CODE(MR_ROOM_AUTH, 5),   /* iat lies in the future */
    AUTH_E_ISSUER = MR_ERR_CODE(MR_ROOM_AUTH, 6),    /* another installation's */
    AUTH_E_AUDIENCE = MR_ERR_CODE(MR_ROOM_AUTH, 7),  /* for someone else */
    AUTH_E_REVOKED = MR_ERR_CODE(MR_ROOM_AUTH, 8), /* its client is disabled, gone, or revoked it */
};

#define AUTH_TOKEN_BYTES_MAX 8192
#define AUTH_ID_SIZE         48 /* an id of an account or client with its NUL */
#define AUTH_SKEW_S          60 /* iat may lie this far ahead */

enum auth_client_type {
    AUTH_CLIENT_STANDARD = 0, /* product resources */
    AUTH_CLIENT_ADMIN,        /* also global resources */
};
mr_str auth_client_type_name(enum auth_client_type type);

/* A key pair's public half, and when it counts. */
struct auth_key {
    char kid[32];        /* NUL-terminated */
    mr_str public_der;   /* SubjectPublicKeyInfo */
    int64_t sign_from_s; /* wall seconds */
    int64_t
        verify_until_s; /* INT64_MAX while in use; a retired key: until its last token expires */
};

/* The public keys of an installation with its issuer and audience. Immutable and refcounted:
 * any thread may verify with it at once. */
struct auth_keyring;

/* Copies all. MR_E_INVALID where a key cannot be read or n is 0 or above 16. */
mr_err auth_keyring_new(const struct auth_key *keys, size_t n, mr_str issuer, mr_str audience,
                        struct auth_keyring **ret_keyring);
struct auth_keyring *auth_keyring_ref(struct auth_keyring *keyring);
/* NULL is fine. */
void auth_keyring_unref(struct auth_keyring *keyring);
mr_str auth_keyring_issuer(const struct auth_keyring *keyring);
mr_str auth_keyring_audience(const struct auth_keyring *keyring);
/* {"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid","n","e"}]} of the keys that verify at now.
 */
mr_err auth_keyring_write_jwks(const struct auth_keyring *keyring, int64_t now_s, mr_buf *out);

/* 128 bits of strength (NIST SP 800-57, part 1; ASVS 5.0, 11.2.3). Keys of 2048 bits that a store
 * holds from before still sign and verify. */
#define AUTH_KEY_BITS 3072
/* Makes an RSA key pair of AUTH_KEY_BITS (0.1 to 2 seconds). The private half (PKCS#8
 * DER) goes to the slab. MR_E_FAILED, MR_E_NOMEM. */
mr_err auth_key_generate(struct secret_slab *slab, mr_secret *ret_private, mr_buf *ret_public_der);

/* Signs tokens. One thread. */
struct auth_signer;
mr_err auth_signer_new(mr_secret private_der, mr_str kid, struct auth_signer **ret_signer);
void auth_signer_free(struct auth_signer *signer);
int auth_signer_bits(const struct auth_signer *signer);

/* What a token says. */
struct auth_claims {
    char account_id[AUTH_ID_SIZE];
    char client_id[AUTH_ID_SIZE]; /* also sub */
    char jti[AUTH_ID_SIZE];
    enum auth_client_type client_type;
    uint32_t generation; /* of the client when it was issued (claim `gen`) */
    int64_t issued_s;
    int64_t expires_s;
    struct auth_scopes scopes;
};

/* Appends the compact form. Members: iss, aud, sub, exp, iat, jti, account-id, client-type,
 * client_id, scopes, gen. About 1 ms. */
mr_err auth_token_sign(struct auth_signer *signer, mr_str issuer, mr_str audience,
                       const struct auth_claims *claims, mr_buf *out);

/* Checks form, alg, kid, signature, iss, aud, exp, iat (and nbf where it stands), that sub is
 * client_id and that only an admin client has global resources; every claim must be there. Errors
 * of enum auth_error, MR_E_NOMEM. About 30 µs. Does not look at the client: see model/snapshot.h.
 */
mr_err auth_token_verify(const struct auth_keyring *keyring, mr_str token, int64_t now_s,
                         struct auth_claims *ret_claims);

/* The token of an Authorization field `Bearer …` (RFC 6750 §2.1; the scheme in any case). Absent
 * where the field is absent, of another scheme, or malformed. */
mr_str auth_bearer_of(mr_str authorization);
/* The same without a look at its bytes: for a token that is known to be valid if it is remembered.
 */
mr_str auth_bearer_text(mr_str authorization);

#endif
