/* Where AWS's services are: by partition and region, unless the operator says otherwise (a private
 * endpoint, a test). AWS, "Kinesis Data Streams endpoints", "Regional STS endpoints". */
#ifndef MR_SINK_AWS_ENDPOINT_H
#define MR_SINK_AWS_ENDPOINT_H

#include "model/arn.h"
#include "net/url.h"

#define AWS_ENDPOINT_TEXT_MAX 128

/* A service's URL with the text that its slices lie in; must not be moved. */
struct aws_endpoint {
    char text[AWS_ENDPOINT_TEXT_MAX];
    struct net_url url;
    bool is_operators; /* named by the operator: reached wherever it is */
};

/* "https://kinesis.eu-central-1.amazonaws.com/"; service and region are valid. The override, where
 * present, lives as long as the endpoint. MR_E_INVALID: the override is no URL. */
mr_err aws_endpoint_init(struct aws_endpoint *endpoint, mr_str service, mr_str region,
                         enum arn_partition partition, mr_str override);

#endif
