/* Endpoints of AWS's services. See endpoint.h. */
#include "sink/aws/endpoint.h"

#include <stdio.h>

static const char *suffix_of(enum arn_partition partition) {
    return partition == ARN_AWS_CN ? "amazonaws.com.cn" : "amazonaws.com";
}

mr_err aws_endpoint_init(struct aws_endpoint *endpoint, mr_str service, mr_str region,
                         enum arn_partition partition, mr_str override) {
    endpoint->is_operators = override.len > 0;
    mr_str text = override;
    if (!endpoint->is_operators) {
        int len = snprintf(endpoint->text, sizeof endpoint->text, "https://%.*s.%.*s.%s/",
                           MR_FMT(service), MR_FMT(region), suffix_of(partition));
        MR_ASSERT(len > 0 && (size_t)len < sizeof endpoint->text);
        text = mr_str_of(endpoint->text, (size_t)len);
    }
    return net_url_parse(text, endpoint->is_operators, &endpoint->url) == NET_URL_OK
               ? MR_OK
               : MR_ERR(MR_E_INVALID);
}
