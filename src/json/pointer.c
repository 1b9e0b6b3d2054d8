/* JSON Pointer. See pointer.h. Tokens are compared with member names in decoded form while they
 * still stand in the pointer: finding allocates nothing. */
#include "json/pointer.h"

#include "base/num.h"
#include "json/node.h"

bool json_pointer_is_valid(mr_str pointer) {
    if (pointer.len > 0 && pointer.ptr[0] != '/') {
        return false;
    }
    for (size_t i = 0; i < pointer.len; i++) {
        if (pointer.ptr[i] == '~') {
            char next = i + 1 < pointer.len ? pointer.ptr[i + 1] : '\0';
            if (next != '0' && next != '1') {
                return false;
            }
        }
    }
    return true;
}

/* The first token off *rest, as it is written; *rest begins with a slash. */
static mr_str take_token(mr_str *rest) {
    size_t end = mr_str_find_byte(*rest, '/', 1);
    mr_str token = mr_str_slice(*rest, 1, end);
    *rest = mr_str_slice(*rest, end, rest->len);
    return token;
}

/* The character that stands at token.ptr[*at]; moves *at behind it. */
static char token_char(mr_str token, size_t *at) {
    char c = token.ptr[(*at)++];
    if (c == '~' && *at < token.len) {
        c = token.ptr[(*at)++] == '0' ? '~' : '/';
    }
    return c;
}

static bool name_is_token(json_value name, mr_str token) {
    mr_str inner = node_text(name.tape, node_of(name));
    struct node_chars chars = {.at = inner.ptr, .end = inner.ptr + inner.len};
    size_t at = 0;
    while (node_chars_next(&chars)) {
        for (size_t i = 0; i < chars.len; i++) {
            if (at == token.len || token_char(token, &at) != chars.bytes[i]) {
                return false;
            }
        }
    }
    return at == token.len;
}

static mr_err step_into(json_value at, mr_str token, json_value *ret_value) {
    enum json_kind kind = json_kind_of(at);
    if (kind == JSON_OBJECT) {
        for (json_iter it = json_iter_of(at); json_next(&it);) {
            if (name_is_token(it.name, token)) {
                *ret_value = it.value;
                return MR_OK;
            }
        }
        return MR_ERR(MR_E_NOT_FOUND);
    }
    if (kind != JSON_ARRAY) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    uint64_t index;
    if (token.len > 1 && token.ptr[0] == '0') {
        return MR_ERR(MR_E_INVALID);
    }
    mr_err err = mr_u64_parse(token, 0, UINT32_MAX, &index);
    if (mr_is_err(err)) {
        return mr_err_is(err, MR_E_RANGE) || mr_str_eq(token, MR_STR("-")) ? MR_ERR(MR_E_NOT_FOUND)
                                                                           : MR_ERR(MR_E_INVALID);
    }
    *ret_value = json_item(at, (size_t)index);
    return json_is_absent(*ret_value) ? MR_ERR(MR_E_NOT_FOUND) : MR_OK;
}

mr_err json_pointer_find(json_value root, mr_str pointer, json_value *ret_value) {
    if (!json_pointer_is_valid(pointer)) {
        return MR_ERR(MR_E_INVALID);
    }
    json_value at = root;
    while (pointer.len > 0) {
        json_value next = JSON_NONE;
        MR_TRY(step_into(at, take_token(&pointer), &next));
        at = next;
    }
    if (json_is_absent(at)) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    *ret_value = at;
    return MR_OK;
}

static mr_err push(mr_buf *pointer, mr_str token) {
    MR_TRY(mr_buf_byte(pointer, '/'));
    for (size_t i = 0; i < token.len; i++) {
        char c = token.ptr[i];
        MR_TRY(c == '~'   ? mr_buf_str(pointer, MR_STR("~0"))
               : c == '/' ? mr_buf_str(pointer, MR_STR("~1"))
                          : mr_buf_byte(pointer, c));
    }
    return MR_OK;
}

mr_err json_pointer_push(mr_buf *pointer, mr_str token) {
    size_t before = pointer->len;
    mr_err err = push(pointer, token);
    if (mr_is_err(err)) {
        mr_buf_truncate(pointer, before);
    }
    return err;
}

mr_err json_pointer_push_index(mr_buf *pointer, size_t index) {
    return mr_buf_printf(pointer, "/%zu", index);
}

bool json_pointer_next(mr_str *rest, mr_buf *out, mr_err *ret_err) {
    *ret_err = MR_OK;
    if (rest->len == 0) {
        return false;
    }
    mr_buf_reset(out);
    mr_str token = take_token(rest);
    for (size_t at = 0; at < token.len && mr_is_ok(*ret_err);) {
        *ret_err = mr_buf_byte(out, token_char(token, &at));
    }
    return mr_is_ok(*ret_err);
}
