/* AWS in the program. See aws.h. */
#include "server/aws.h"

#include "base/mem.h"
#include "os/process.h"
#include "server/stores.h"
#include "server/values.h"

#include <errno.h>

#define SECRET_FILE_MAX 4096
#define ENVIRONMENT_MAX 16384

static mr_err keep_secret(struct program *program, const char *text, mr_secret *ret_secret) {
    if (text == NULL || text[0] == '\0') {
        return MR_OK;
    }
    return mr_secret_new(program->slab, mr_str_slice(mr_str_c(text), 0, ENVIRONMENT_MAX),
                         ret_secret);
}

/* The first line of the file. */
static int read_secret_file(struct program *program) {
    const char *path = program->config->aws_secret_access_key_file;
    mr_str text = MR_STR_NONE;
    if (mr_is_err(os_file_load(&os_files_system, path, SECRET_FILE_MAX, &text))) {
        program_problem(program, "could not read aws_secret_access_key_file %s: %s", path,
                        strerror(errno));
        return PROGRAM_USAGE;
    }
    mr_str line = mr_str_slice(text, 0, mr_str_find_byte(text, '\n', 0));
    line = mr_str_slice(line, 0, mr_str_find_byte(line, '\r', 0));
    mr_err err = line.len > 0 && memchr(line.ptr, '\0', line.len) == NULL
                     ? mr_secret_new(program->slab, line, &program->aws.secret_key)
                     : MR_ERR(MR_E_INVALID);
    crypto_wipe((void *)(uintptr_t)text.ptr, text.len);
    mr_free((void *)(uintptr_t)text.ptr);
    if (mr_is_err(err)) {
        program_problem(program, "aws_secret_access_key_file %s: the key must be its first line",
                        path);
        return PROGRAM_USAGE;
    }
    program->aws.source = AWS_SOURCE_FIXED;
    program->aws.access_key = mr_str_c(program->config->aws_access_key_id);
    return PROGRAM_OK;
}

static mr_err read_environment(struct program *program) {
    struct aws_options *aws = &program->aws;
    const char *key = os_environment_get("AWS_ACCESS_KEY_ID");
    const char *secret = os_environment_get("AWS_SECRET_ACCESS_KEY");
    if (key == NULL || key[0] == '\0' || secret == NULL || secret[0] == '\0') {
        return MR_OK;
    }
    aws->source = AWS_SOURCE_FIXED;
    aws->access_key = mr_str_c(key);
    MR_TRY(keep_secret(program, secret, &aws->secret_key));
    return keep_secret(program, os_environment_get("AWS_SESSION_TOKEN"), &aws->session_token);
}

static mr_err read_container(struct program *program) {
    program->aws.source = AWS_SOURCE_CONTAINER;
    program->aws.container_uri = mr_str_c(program->config->aws_container_credentials);
    return keep_secret(program, os_environment_get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
                       &program->aws.container_token);
}

static int read_instance(struct program *program) {
    const char *endpoint = os_environment_get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    program->aws.source = AWS_SOURCE_INSTANCE;
    if (endpoint == NULL || endpoint[0] == '\0') {
        return PROGRAM_OK;
    }
    const char *wrong = value_wrong("aws_container_credentials", mr_str_c(endpoint));
    if (wrong != NULL) {
        program_problem(program, "AWS_EC2_METADATA_SERVICE_ENDPOINT: %s", wrong);
        return PROGRAM_USAGE;
    }
    program->aws.metadata_endpoint = mr_str_c(endpoint);
    return PROGRAM_OK;
}

static int read_source(struct program *program) {
    const struct config *config = program->config;
    if (config->aws_access_key_id[0] != '\0') {
        return read_secret_file(program);
    }
    mr_err err = read_environment(program);
    if (mr_is_ok(err) && program->aws.source == AWS_SOURCE_NONE) {
        if (config->aws_container_credentials[0] != '\0') {
            err = read_container(program);
        } else if (config->aws_instance_metadata) {
            return read_instance(program);
        }
    }
    if (mr_is_err(err)) {
        program_problem(program, "could not start: out of memory");
        return PROGRAM_NO;
    }
    return PROGRAM_OK;
}

static mr_str present(const char *text) {
    return text[0] != '\0' ? mr_str_c(text) : MR_STR_NONE;
}

int aws_make(struct program *program) {
    const struct config *config = program->config;
    program->aws.region = present(config->aws_region);
    program->aws.kinesis_endpoint = present(config->kinesis_endpoint);
    program->aws.sts_endpoint = present(config->sts_endpoint);
    int code = read_source(program);
    if (code != PROGRAM_OK || program->aws.source != AWS_SOURCE_FIXED) {
        return code;
    }
    struct aws_credentials *probe;
    mr_err err = aws_credentials_new(
        program->slab, program->aws.access_key, mr_secret_reveal(program->aws.secret_key),
        mr_secret_reveal(program->aws.session_token), AWS_NEVER_MS, &probe);
    if (mr_is_err(err)) {
        program_problem(program, "the AWS access key, its secret or the session token holds "
                                 "characters that such credentials never have");
        return PROGRAM_USAGE;
    }
    aws_credentials_unref(probe);
    return PROGRAM_OK;
}

void aws_unmake(struct program *program) {
    mr_secret_unref(&program->aws.secret_key);
    mr_secret_unref(&program->aws.session_token);
    mr_secret_unref(&program->aws.container_token);
}

mr_err aws_of_worker(struct worker *worker) {
    struct program *program = worker->program;
    const struct aws_world world = {.loop = &worker->loop,
                                    .client = worker->client,
                                    .hasher = worker->hasher,
                                    .trust = program->trust,
                                    .slab = program->slab,
                                    .log = &program->log};
    MR_TRY(aws_new(&world, &program->aws, &worker->aws));
    worker->sink.aws = worker->aws;
    return MR_OK;
}
