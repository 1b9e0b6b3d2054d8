/* Hashes and HMAC by published vectors, secrets in their slab, sealed boxes, Ed25519, ids, PEM, and
 * the master key's file. */
#include "crypto/ed25519.h"
#include "crypto/hash.h"
#include "crypto/ids.h"
#include "crypto/master.h"
#include "crypto/pem.h"
#include "crypto/seal.h"

#include "base/mem.h"
#include "base/num.h"
#include "os/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_ok(err)       assert_int_equal((err).code, 0)
#define assert_code(err, is) assert_int_equal((err).code, (is))
#define assert_text(str, c)  assert_true(mr_str_eq((str), mr_str_c(c)))

static struct secret_slab *slab;

static void assert_hex(const uint8_t *bytes, size_t n, const char *hex) {
    char text[512];
    mr_hex_encode(bytes, n, text);
    text[2 * n] = '\0';
    assert_string_equal(text, hex);
}

static void sha256_vectors(void **state) {
    (void)state;
    struct crypto_hasher *hasher = NULL;
    uint8_t digest[CRYPTO_SHA256_BYTES];
    assert_ok(crypto_hasher_new(&hasher));
    mr_str parts[3] = {MR_STR("a"), MR_STR_NONE, MR_STR("bc")};
    assert_ok(crypto_sha256(hasher, parts, 3, digest));
    assert_hex(digest, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_ok(crypto_sha256(hasher, NULL, 0, digest));
    assert_hex(digest, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_ok(crypto_sha256_begin(hasher));
    for (int i = 0; i < 1000; i++) {
        static char a[1001];
        memset(a, 'a', 1000);
        assert_ok(crypto_sha256_update(hasher, mr_str_of(a, 1000)));
    }
    assert_ok(crypto_sha256_end(hasher, digest));
    assert_hex(digest, 32, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    crypto_hasher_free(hasher);
}

/* RFC 4231, cases 1, 2, 3 and 6. */
static void hmac_vectors(void **state) {
    (void)state;
    struct crypto_hasher *hasher = NULL;
    uint8_t mac[CRYPTO_SHA256_BYTES];
    char bytes[131];
    assert_ok(crypto_hasher_new(&hasher));
    memset(bytes, 0x0b, 20);
    mr_str text = MR_STR("Hi There");
    assert_ok(crypto_hmac_sha256(hasher, mr_str_of(bytes, 20), &text, 1, mac));
    assert_hex(mac, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    mr_str parts[2] = {MR_STR("what do ya want "), MR_STR("for nothing?")};
    assert_ok(crypto_hmac_sha256(hasher, MR_STR("Jefe"), parts, 2, mac));
    assert_hex(mac, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    char data[50];
    memset(bytes, 0xaa, 20);
    memset(data, 0xdd, 50);
    text = mr_str_of(data, 50);
    assert_ok(crypto_hmac_sha256(hasher, mr_str_of(bytes, 20), &text, 1, mac));
    assert_hex(mac, 32, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    memset(bytes, 0xaa, 131);
    text = MR_STR("Test Using Larger Than Block-Size Key - Hash Key First");
    assert_ok(crypto_hmac_sha256(hasher, mr_str_of(bytes, 131), &text, 1, mac));
    assert_hex(mac, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_ok(crypto_hmac_sha256(hasher, MR_STR(""), NULL, 0, mac));
    assert_hex(mac, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    crypto_hasher_free(hasher);
}

static void secrets_of_every_size_are_kept_compared_and_wiped(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 39, 40, 41, 200, 4000, 16000, 20000, 65536};
    static char value[65537];
    mr_secret kept[10];
    memset(value, 's', sizeof value);
    for (size_t i = 0; i < 10; i++) {
        assert_ok(mr_secret_new(slab, mr_str_of(value, sizes[i]), &kept[i]));
        assert_true(mr_secret_eq(kept[i], mr_str_of(value, sizes[i])));
        assert_false(mr_secret_eq(kept[i], mr_str_of(value, sizes[i] + 1)));
    }
    assert_code(mr_secret_new(slab, mr_str_of(value, 65537), &kept[0]), MR_E_LIMIT);
    assert_text(mr_secret_text(kept[1]), "[redacted]");
    mr_secret again = mr_secret_ref(kept[5]);
    mr_secret_unref(&again);
    assert_true(mr_secret_is_none(again));
    assert_true(mr_secret_eq(kept[5], mr_str_of(value, 200)));
    const char *at = mr_secret_reveal(kept[2]).ptr;
    mr_secret_unref(&kept[2]);
    for (size_t i = 0; i < 39; i++) {
        assert_int_not_equal(at[i], 's'); /* the cell is still the slab's memory */
    }
    for (size_t i = 0; i < 10; i++) {
        mr_secret_unref(&kept[i]);
    }
    mr_secret none = MR_SECRET_NONE;
    assert_true(mr_str_is_absent(mr_secret_reveal(none)));
    assert_false(mr_secret_eq(none, MR_STR("")));
    assert_text(mr_secret_text(none), "none");
    mr_secret_unref(&none);
}

static void the_slab_is_bounded_and_used_again(void **state) {
    (void)state;
    struct secret_slab *small = NULL;
    mr_secret kept[2000];
    size_t n = 0;
    assert_ok(secret_slab_new(65536, &small));
    while (n < 2000 && mr_is_ok(mr_secret_new(small, MR_STR("value"), &kept[n]))) {
        n++;
    }
    assert_int_equal(n, 1024); /* 64-byte cells */
    mr_secret_unref(&kept[0]);
    assert_ok(mr_secret_new(small, MR_STR("other"), &kept[0]));
    for (size_t i = 0; i < n; i++) {
        mr_secret_unref(&kept[i]);
    }
    secret_slab_free(small);
}

static void boxes_open_only_unchanged_and_in_their_place(void **state) {
    (void)state;
    struct sealer *sealer = NULL;
    struct sealer *other = NULL;
    mr_secret value = MR_SECRET_NONE;
    mr_buf box;
    static const struct seal_place place = {
        .table = {"secrets", 7}, .row = {"1", 1}, .column = {"value", 5}};
    assert_ok(sealer_new(slab, MR_STR("0123456789abcdef0123456789abcdef"), &sealer));
    assert_ok(sealer_new(slab, MR_STR("0123456789abcdef0123456789abcdeF"), &other));
    assert_code(sealer_new(slab, MR_STR("short"), &other), MR_E_INVALID);
    mr_buf_init(&box, 4096);
    assert_ok(seal_close(sealer, &place, MR_STR("the secret"), &box));
    assert_int_equal(box.len, 10 + SEAL_OVERHEAD);
    assert_true(mr_str_find(mr_buf_view(&box), MR_STR("secret")) == SIZE_MAX);
    assert_ok(seal_open(sealer, &place, mr_buf_view(&box), &value));
    assert_text(mr_secret_reveal(value), "the secret");
    mr_secret_unref(&value);
    for (size_t i = 0; i < box.len; i++) {
        box.ptr[i] = (char)(box.ptr[i] ^ 1);
        mr_err err = seal_open(sealer, &place, mr_buf_view(&box), &value);
        assert_code(err, i >= 1 && i < 9 ? SEAL_E_OTHER_KEY : SEAL_E_TAMPERED);
        box.ptr[i] = (char)(box.ptr[i] ^ 1);
    }
    for (size_t n = 0; n < box.len; n++) {
        assert_true(mr_is_err(seal_open(sealer, &place, mr_str_of(box.ptr, n), &value)));
    }
    const struct seal_place moved[] = {
        {.table = MR_STR("secret"), .row = MR_STR("s1"), .column = MR_STR("value")},
        {.table = MR_STR("secrets"), .row = MR_STR("2"), .column = MR_STR("value")},
        {.table = MR_STR("secrets"), .row = MR_STR("1v"), .column = MR_STR("alue")},
    };
    for (size_t i = 0; i < 3; i++) {
        assert_code(seal_open(sealer, &moved[i], mr_buf_view(&box), &value), SEAL_E_TAMPERED);
    }
    assert_code(seal_open(other, &place, mr_buf_view(&box), &value), SEAL_E_OTHER_KEY);
    mr_buf second;
    mr_buf_init(&second, 4096);
    assert_ok(seal_close(sealer, &place, MR_STR("the secret"), &second));
    assert_false(mr_str_eq(mr_buf_view(&box), mr_buf_view(&second)));
    mr_buf_reset(&second);
    assert_ok(seal_close(sealer, &place, MR_STR(""), &second));
    assert_ok(seal_open(sealer, &place, mr_buf_view(&second), &value));
    assert_int_equal(mr_secret_reveal(value).len, 0);
    mr_secret_unref(&value);
    mr_buf_done(&second);
    mr_buf_done(&box);
    sealer_free(sealer);
    sealer_free(other);
}

/* RFC 8032 §7.1, tests 1 and 2. */
static void ed25519_vectors(void **state) {
    (void)state;
    static const struct {
        const char *seed, *public_key, *message, *signature;
    } rows[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
         "cf"
         "9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "r",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
         "0f"
         "11d8c387b2eaeb4302aeeb00d291612bb0c00"},
    };
    for (size_t i = 0; i < 2; i++) {
        uint8_t seed[32];
        uint8_t public_key[ED25519_PUBLIC_BYTES];
        uint8_t signature[ED25519_SIGNATURE_BYTES];
        mr_secret key = MR_SECRET_NONE;
        mr_str message = mr_str_c(rows[i].message);
        assert_ok(mr_hex_decode(mr_str_c(rows[i].seed), seed, sizeof seed));
        assert_ok(ed25519_key_of_seed(slab, mr_str_of((char *)seed, 32), &key, public_key));
        assert_hex(public_key, 32, rows[i].public_key);
        assert_ok(ed25519_sign(key, message, signature));
        assert_hex(signature, 64, rows[i].signature);
        assert_true(ed25519_verify(public_key, message, signature));
        assert_false(ed25519_verify(public_key, MR_STR("x"), signature));
        signature[5] ^= 1;
        assert_false(ed25519_verify(public_key, message, signature));
        mr_secret_unref(&key);
    }
    uint8_t out[ED25519_SIGNATURE_BYTES];
    mr_secret junk = MR_SECRET_NONE;
    assert_ok(mr_secret_new(slab, MR_STR("junk"), &junk));
    assert_code(ed25519_sign(junk, MR_STR(""), out), MR_E_INVALID);
    assert_code(ed25519_key_of_seed(slab, MR_STR("short"), &junk, out), MR_E_INVALID);
    mr_secret_unref(&junk);
}

static void ids_have_their_form(void **state) {
    (void)state;
    char id[CRYPTO_ID_SIZE];
    char other[CRYPTO_ID_SIZE];
    mr_wall now = os_wall_now();
    assert_int_equal(crypto_id_make(MR_STR("dst_"), now, id), 30);
    crypto_id_make(MR_STR("dst_"), now, other);
    assert_string_not_equal(id, other);
    assert_memory_equal(id, other, 4 + 10); /* the same millisecond */
    assert_true(crypto_id_is_valid(mr_str_c(id), MR_STR("dst_")));
    assert_false(crypto_id_is_valid(mr_str_c(id), MR_STR("rul_")));
    assert_false(crypto_id_is_valid(mr_str_of(id, 29), MR_STR("dst_")));
    char uuid[CRYPTO_UUID_SIZE];
    crypto_uuid4_make(uuid);
    assert_int_equal(strlen(uuid), 36);
    assert_int_equal(uuid[14], '4');
    assert_non_null(strchr("89ab", uuid[19]));
    assert_true(uuid[8] == '-' && uuid[13] == '-' && uuid[18] == '-' && uuid[23] == '-');
    assert_true(crypto_equal("abc", "abc", 3));
    assert_false(crypto_equal("abc", "abd", 3));
    assert_true(crypto_equal("", "x", 0));
}

static void junk_is_no_pem(void **state) {
    (void)state;
    size_t n = 0;
    static const char *const bad[] = {
        "", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_code(pem_check_certificates(mr_str_c(bad[i]), &n), MR_E_INVALID);
        assert_code(pem_check_private_key(mr_str_c(bad[i])), MR_E_INVALID);
        assert_code(pem_check_pair(mr_str_c(bad[i]), mr_str_c(bad[i])), MR_E_INVALID);
    }
}

static void the_master_key_is_found_made_and_read(void **state) {
    (void)state;
    const struct os_files *files = &os_files_system;
    char base[] = "/tmp/mr-master-XXXXXX";
    char dir[64];
    char credential[64];
    char path[MASTER_PATH_MAX];
    mr_secret made = MR_SECRET_NONE;
    mr_secret read = MR_SECRET_NONE;
    assert_non_null(mkdtemp(base));
    (void)snprintf(dir, sizeof dir, "%s/data//", base);
    assert_ok(master_key_path(files, NULL, NULL, dir, path));
    assert_true(mr_str_ends(mr_str_c(path), MR_STR("/data.key")));
    assert_code(master_key_load(files, slab, path, &read), MR_E_NOT_FOUND);
    assert_ok(master_key_make(files, slab, path, &made));
    assert_code(master_key_make(files, slab, path, &read), MR_E_EXISTS);
    assert_ok(master_key_load(files, slab, path, &read));
    assert_true(mr_secret_eq(read, mr_secret_reveal(made)));
    assert_int_equal(mr_secret_reveal(read).len, SEAL_KEY_BYTES);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(info.st_size, 65);
    mr_secret_unref(&made);
    mr_secret_unref(&read);
    (void)unlink(path);
    /* A credentials directory counts where it holds the key. */
    assert_ok(master_key_path(files, NULL, base, dir, path));
    assert_true(mr_str_ends(mr_str_c(path), MR_STR("/data.key")));
    (void)snprintf(credential, sizeof credential, "%s/" MASTER_KEY_NAME, base);
    FILE *file = fopen(credential, "w");
    fputs("0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef", file);
    fclose(file);
    assert_ok(master_key_path(files, NULL, base, dir, path));
    assert_string_equal(path, credential);
    assert_ok(master_key_load(files, slab, path, &read));
    mr_secret_unref(&read);
    assert_ok(master_key_path(files, "/given", base, dir, path));
    assert_string_equal(path, "/given");
    static const char *const bad[] = {
        "",
        "\n",
        "xyz\n",
        "0123\n",
        "g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        file = fopen(credential, "w");
        fputs(bad[i], file);
        fclose(file);
        assert_code(master_key_load(files, slab, credential, &read), MR_E_INVALID);
    }
    (void)unlink(credential);
    (void)rmdir(base);
}

static int setup(void **state) {
    (void)state;
    assert_ok(secret_slab_new((size_t)4 << 20, &slab));
    return 0;
}

/* Asserts inside that no test left a secret. */
static int teardown(void **state) {
    (void)state;
    secret_slab_free(slab);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_vectors),
        cmocka_unit_test(hmac_vectors),
        cmocka_unit_test(secrets_of_every_size_are_kept_compared_and_wiped),
        cmocka_unit_test(the_slab_is_bounded_and_used_again),
        cmocka_unit_test(boxes_open_only_unchanged_and_in_their_place),
        cmocka_unit_test(ed25519_vectors),
        cmocka_unit_test(ids_have_their_form),
        cmocka_unit_test(junk_is_no_pem),
        cmocka_unit_test(the_master_key_is_found_made_and_read),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
