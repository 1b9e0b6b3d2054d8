/* Settings of the server: one table of keys, from which the parser, `millrace config` and the
 * reference page are made. Command line wins over environment (MILLRACE_ + KEY in upper case),
 * which wins over the YAML file. A wrong or unknown setting is an error that names file, line and
 * key. */
#ifndef MR_SERVER_CONFIG_H
#define MR_SERVER_CONFIG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum config_kind {
    CONFIG_TEXT = 0, /* any text */
    CONFIG_BOOL,     /* true or false */
    CONFIG_NUMBER,   /* decimal, within its range */
    CONFIG_LIST,     /* YAML sequence, or items separated by commas */
    CONFIG_SECRET,   /* text that is never printed */
};

/* X(field, kind, default, min, max, help). Keys are the field names. */
#define CONFIG_TABLE(X)                                                                            \
    X(listen, TEXT, "127.0.0.1:8080", 0, 0,                                                        \
      "Address and port of API and portal; port 0 picks a free one")                               \
    X(tls_cert_file, TEXT, "", 0, 0, "PEM certificate chain; turns HTTPS on")                      \
    X(tls_key_file, TEXT, "", 0, 0, "PEM private key of tls_cert_file")                            \
    X(public_url, TEXT, "", 0, 0,                                                                  \
      "Base URL that clients use; default: the bound address. Made part of every dataschema")      \
    X(trusted_proxies, LIST, "", 0, 0,                                                             \
      "CIDR blocks of proxies in front whose X-Forwarded-For tells the client's address")          \
    X(metrics_listen, TEXT, "", 0, 0, "Address of a listener for /metrics alone, without a token") \
    X(metrics_token, SECRET, "", 0, 0, "Bearer token for /metrics on the main listener")           \
    X(event_type_prefix, TEXT, "com.kore.iot", 0, 0, "Prefix of the shipped event types")          \
    X(dataschema_aliases, LIST, "", 0, 0, "Further base URLs under which dataschema is our own")   \
    X(strict_date, BOOL, "false", 0, 0, "Send IMF-fixdate in the date header of webhooks")         \
    X(account_events_per_second, NUMBER, "0", 0, 10000000, "Ingest limit per account; 0: none")    \
    X(session_idle_minutes, NUMBER, "720", 1, 43200,                                               \
      "A user's session ends when it was not used for so long")                                    \
    X(session_max_days, NUMBER, "30", 1, 365, "And so long after signing in, used or not")         \
    X(audit_retention_days, NUMBER, "0", 0, 36500, "How long rows of the audit log stay; 0: ever") \
    X(debug_core, BOOL, "false", 0, 0, "Allow core dumps and debuggers (they show secrets)")       \
    X(master_key_file, TEXT, "", 0, 0,                                                             \
      "Master key; default: the credentials directory, else DIR.key beside the data folder")       \
    X(allow_http, BOOL, "false", 0, 0, "Allow http:// destinations")                               \
    X(allow_networks, LIST, "", 0, 0, "CIDR blocks that destinations may reach all the same")      \
    X(extra_ca_file, TEXT, "", 0, 0, "PEM bundle of further authorities to trust")                 \
    X(egress_proxy, TEXT, "", 0, 0, "http://host:port of a CONNECT proxy for deliveries")          \
    X(aws_access_key_id, TEXT, "", 0, 0,                                                           \
      "Access key that assumes the roles of streams; default: the variable AWS_ACCESS_KEY_ID")     \
    X(aws_secret_access_key_file, TEXT, "", 0, 0,                                                  \
      "File whose first line is the secret of aws_access_key_id")                                  \
    X(aws_container_credentials, TEXT, "", 0, 0,                                                   \
      "URI of the container's credentials, on loopback or link-local, where no key is given")      \
    X(aws_instance_metadata, BOOL, "false", 0, 0,                                                  \
      "Take credentials from the instance's metadata (IMDSv2), where no others are given")         \
    X(aws_region, TEXT, "", 0, 0, "Region whose STS is asked for roles; default: the stream's")    \
    X(kinesis_endpoint, TEXT, "", 0, 0, "URL of Kinesis in place of AWS's own, for all streams")   \
    X(sts_endpoint, TEXT, "", 0, 0, "URL of STS in place of AWS's own")                            \
    X(smtp_url, TEXT, "", 0, 0,                                                                    \
      "smtp://host:port (STARTTLS needed but on loopback) or smtps://host:port: sends mail")       \
    X(smtp_from, TEXT, "", 0, 0, "Sender's address of the mail")                                   \
    X(smtp_user, TEXT, "", 0, 0, "Name to sign in to the SMTP server with")                        \
    X(smtp_password_file, TEXT, "", 0, 0, "File whose first line is the password of smtp_user")    \
    X(smtp_ca_file, TEXT, "", 0, 0,                                                                \
      "PEM bundle of authorities for the SMTP server; default: the system's")                      \
    X(log_level, TEXT, "info", 0, 0, "debug, info, warn or error")                                 \
    X(workers, NUMBER, "0", 0, 64, "Worker threads; 0: as many as cores are granted")              \
    X(connections_max, NUMBER, "16384", 16, 1000000, "Client connections in all")                  \
    X(connections_per_address_max, NUMBER, "4096", 1, 1000000,                                     \
      "Client connections from one address")                                                       \
    X(header_timeout_ms, NUMBER, "10000", 100, 600000, "Time for a request's header section")      \
    X(body_timeout_ms, NUMBER, "30000", 100, 600000, "Time for a request's body")                  \
    X(body_rate_min, NUMBER, "1024", 1, 1000000000, "Least bytes per second of a body")            \
    X(idle_timeout_ms, NUMBER, "60000", 100, 3600000, "Idle time of a client connection")          \
    X(event_bytes_max, NUMBER, "262144", 1024, 1048576, "Largest event")                           \
    X(batch_events_max, NUMBER, "1000", 1, 10000, "Events in one call")                            \
    X(batch_bytes_max, NUMBER, "8388608", 1024, 8388608, "Bytes of one call")                      \
    X(queue_bytes_max, NUMBER, "4194304", 65536, 1073741824,                                       \
      "Events queued for the journal, bytes per worker")                                           \
    X(queue_events_max, NUMBER, "16384", 16, 10000000, "Events queued for the journal per worker") \
    X(segment_bytes, NUMBER, "67108864", 33554432, 1073741824, "Size of a journal segment")        \
    X(checkpoint_bytes, NUMBER, "536870912", 1048576, 1099511627776,                               \
      "Journal bytes between checkpoints")                                                         \
    X(checkpoint_records, NUMBER, "1000000", 1000, 1000000000,                                     \
      "Journal records between checkpoints")                                                       \
    X(retention_ms, NUMBER, "604800000", 60000, 31536000000, "Age at which events are removed")    \
    X(retention_bytes, NUMBER, "21474836480", 134217728, 1125899906842624,                         \
      "Journal size at which events are removed")                                                  \
    X(archive_bytes_max, NUMBER, "5368709120", 1048576, 1125899906842624,                          \
      "Size of the archive of events that are still owed")                                         \
    X(dead_letter_ms, NUMBER, "2592000000", 60000, 31536000000, "How long dead letters stay")      \
    X(dedupe_ms, NUMBER, "86400000", 1000, 604800000, "Window of de-duplication")                  \
    X(dedupe_entries_max, NUMBER, "4000000", 1024, 100000000, "Ids kept for de-duplication")       \
    X(out_connections_max, NUMBER, "16384", 16, 1000000, "Connections to destinations")            \
    X(in_flight_bytes_max, NUMBER, "67108864", 1048576, 17179869184,                               \
      "Request bodies in flight, all destinations")                                                \
    X(destination_in_flight_bytes_max, NUMBER, "8388608", 65536, 1073741824,                       \
      "Request bodies in flight to one destination")                                               \
    X(backlog_bytes_max, NUMBER, "67108864", 1048576, 17179869184,                                 \
      "Lists of waiting deliveries kept in memory; longer ones go to files")                       \
    X(slab_cache_bytes, NUMBER, "33554432", 1048576, 17179869184,                                  \
      "Committed events kept in memory for delivery")

/* Values as typed fields; texts are owned by the struct. */
struct config {
#define CONFIG_FIELD_TEXT(field)                       char *field;
#define CONFIG_FIELD_SECRET(field)                     char *field;
#define CONFIG_FIELD_LIST(field)                       char *field; /* items separated by commas */
#define CONFIG_FIELD_BOOL(field)                       bool field;
#define CONFIG_FIELD_NUMBER(field)                     uint64_t field;
#define CONFIG_FIELD(field, kind, def, min, max, help) CONFIG_FIELD_##kind(field)
    CONFIG_TABLE(CONFIG_FIELD)
#undef CONFIG_FIELD
};

/* Where a setting came from, and what is wrong with it: one line for people. */
struct config_error {
    char text[512];
};

/* Defaults. MR_E_NOMEM. */
mr_err config_init(struct config *config);
void config_done(struct config *config);
/* Takes a YAML file's text: a mapping of keys to scalars, lists for the lists. MR_E_INVALID with
 * *ret_error `path:line: key: …`. */
mr_err config_load_yaml(struct config *config, const char *path, mr_str text,
                        struct config_error *ret_error);
/* Takes the MILLRACE_… variables of env (NAME=value, ended by NULL). The variables of client
 * commands are ignored. MR_E_INVALID names the variable. */
mr_err config_load_env(struct config *config, char *const *env, struct config_error *ret_error);
/* Overwrites the values of secret settings in env, which is the process's own: they stay readable
 * there otherwise, for as long as it runs. */
void config_forget_env(char *const *env);
/* Sets one key from a command-line flag (--key-with-dashes). MR_E_NOT_FOUND: no such key. */
mr_err config_set_flag(struct config *config, mr_str flag, mr_str value,
                       struct config_error *ret_error);
/* Relations between keys (key without certificate and the like), once all are taken. */
mr_err config_check(const struct config *config, struct config_error *ret_error);
/* All keys and values, one `key: value` a line; secrets as [redacted]. */
mr_err config_print(const struct config *config, mr_buf *out);
/* The reference page: a table of key, kind, default, range, meaning in Markdown. */
mr_err config_reference(mr_buf *out);

#endif
