/* AWS as the settings and the environment give it: who the server is there, and which endpoints it
 * calls. */
#ifndef MR_SERVER_AWS_H
#define MR_SERVER_AWS_H

#include "server/program.h"

/* Fills program->aws. Credentials: those of the settings; else the environment's AWS_ACCESS_KEY_ID,
 * AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; else, where set, the container's URI (with
 * AWS_CONTAINER_AUTHORIZATION_TOKEN), the instance's metadata (at
 * AWS_EC2_METADATA_SERVICE_ENDPOINT, where that is on loopback or link-local). program_exit. */
int aws_make(struct program *program);
/* Lets the secrets go. */
void aws_unmake(struct program *program);
/* The worker's own; its client, loop and hasher are there. MR_E_NOMEM, MR_E_LIMIT, MR_E_INVALID. */
mr_err aws_of_worker(struct worker *worker);

#endif
