/* Metrics as text. See metrics.h. */
#include "base/metrics.h"

struct row {
    const char *name;
    const char *labels;
    const char *kind;
    const char *help;
};

static const struct row rows[MR_METRIC_COUNT] = {
#define MR_METRIC_ROW(symbol, name, labels, kind, help) {name, labels, kind, help},
    MR_METRICS(MR_METRIC_ROW)
#undef MR_METRIC_ROW
};

mr_err mr_metrics_format(const mr_metrics *const *arrays, size_t n, mr_buf *out) {
    for (size_t i = 0; i < MR_METRIC_COUNT; i++) {
        const struct row *row = &rows[i];
        bool is_maximum = mr_str_ends(mr_str_c(row->name), MR_STR("_max"));
        int64_t sum = 0;
        for (size_t a = 0; a < n; a++) {
            int64_t value = mr_metric_get(arrays[a], (enum mr_metric)i);
            sum = !is_maximum ? sum + value : value > sum ? value : sum;
        }
        if (i == 0 || strcmp(rows[i - 1].name, row->name) != 0) {
            MR_TRY(mr_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help,
                                 row->name, row->kind));
        }
        MR_TRY(mr_buf_printf(out, "%s%s%s%s %lld\n", row->name, row->labels[0] == '\0' ? "" : "{",
                             row->labels, row->labels[0] == '\0' ? "" : "}", (long long)sum));
    }
    return MR_OK;
}
