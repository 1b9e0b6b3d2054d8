/* The second factor: codes of an authenticator app (RFC 6238: SHA-1, 6 digits, 30 s) and recovery
 * codes. Control thread only, but for totp_code. OWASP ASVS 5.0, 6.5 and 6.6.
 *
 *   none ──totp_begin──▶ seed shown ──totp_confirm (a right code)──▶ confirmed ──totp_remove──▶
 * none
 *
 * A code is taken one step early or late, and no step is ever taken twice. The seed lies sealed;
 * recovery codes lie as an HMAC under the store's pepper, each is good once. */
#ifndef MR_CONTROL_PEOPLE_TOTP_H
#define MR_CONTROL_PEOPLE_TOTP_H

#include "control/control.h"

#define TOTP_SEED_BYTES    20
#define TOTP_DIGITS        6
#define TOTP_STEP_S        30
#define RECOVERY_CODES     10
#define RECOVERY_CODE_SIZE 18 /* three groups of five base32 characters (75 bits), two dashes */

/* The code of a step (RFC 4226, 5.3), with leading zeros. MR_E_FAILED. */
mr_err totp_code(mr_str seed, uint64_t step, char ret_code[static TOTP_DIGITS + 1]);

/* A new seed for a user who has none confirmed (20409 else); an unconfirmed one is overwritten.
 * ret_seed: base32; ret_url: otpauth://totp/… ; both in arena, wiped by the caller. */
mr_err totp_begin(struct control *control, uint32_t user, mr_arena *arena, mr_str *ret_seed,
                  mr_str *ret_url, struct refusal *ret_refusal);
/* Confirms with a right code (20400 else; 20409 where nothing was begun), makes the recovery codes.
 * Ends other sessions. Audit row "second-factor.enable". */
mr_err totp_confirm(struct control *control, uint32_t user, mr_str code, mr_wall now,
                    mr_str except_session,
                    char ret_codes[static RECOVERY_CODES][RECOVERY_CODE_SIZE],
                    struct refusal *ret_refusal);
/* Takes seed and recovery codes away; inside a change. No audit row: the caller knows why. */
mr_err totp_forget(struct control *control, uint32_t user);
/* Removes second factor and recovery codes; 20409 where there is none or the account asks for one.
 * Audit row "second-factor.remove". */
mr_err totp_remove(struct control *control, uint32_t user, struct refusal *ret_refusal);
/* Other recovery codes in place of the old ones. Audit row "second-factor.recovery-codes". */
mr_err totp_renew_codes(struct control *control, uint32_t user,
                        char ret_codes[static RECOVERY_CODES][RECOVERY_CODE_SIZE],
                        struct refusal *ret_refusal);
/* Judges a code of the app or a recovery code and uses it up; inside a change. *ret_is_right. */
mr_err totp_judge(struct control *control, uint32_t user, mr_str code, mr_wall now,
                  bool *ret_is_right);

#endif
