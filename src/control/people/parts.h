/* Private to control/people/. */
#ifndef MR_CONTROL_PEOPLE_PARTS_H
#define MR_CONTROL_PEOPLE_PARTS_H

#include "control/shape.h"

/* The member `products` of a judged body, minified into arena; absent where it is null; left as it
 * is where it is not there. MR_E_NOMEM. */
mr_err user_products_read(json_value root, mr_arena *arena, mr_str *products);

#endif
