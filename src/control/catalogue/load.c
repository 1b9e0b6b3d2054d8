/* The catalogue as the snapshot has it: what the program ships, with what the rows add. */
#include "control/private.h"
#include "event/shipped.h"

mr_err catalogue_load(struct control *control, struct catalogue *base,
                      struct catalogue **ret_catalogue) {
    mr_str prefix = control->options.event_type_prefix;
    if (mr_str_is_absent(prefix)) {
        prefix = MR_STR(SHIPPED_PREFIX_DEFAULT);
    }
    struct catalogue_builder *builder = NULL;
    MR_TRY(catalogue_build(base, &builder));
    mr_err err = catalogue_add_shipped(builder, prefix, NULL, 0);
    if (mr_is_err(err)) {
        catalogue_abandon(builder);
        return err;
    }
    *ret_catalogue = catalogue_finish(builder);
    return MR_OK;
}
