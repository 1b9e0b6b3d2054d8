/* Libraries by dlopen. See library.h. They are never closed: libraries leave threads' data and exit
 * handlers behind that do not outlive their code. */
#include "os/library.h"

#include <dlfcn.h>
#include <string.h>

mr_err os_library_open(const char *file, const struct os_library_want *wants, size_t n) {
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    for (size_t i = 0; i < n; i++) {
        if (dlsym(library, wants[i].name) == NULL) {
            return MR_ERR(MR_E_NOT_FOUND);
        }
    }
    for (size_t i = 0; i < n; i++) {
        /* POSIX lets an object pointer hold a function's address, C does not convert it. */
        void *function = dlsym(library, wants[i].name);
        memcpy(wants[i].ret_function, &function, sizeof function);
    }
    return MR_OK;
}
