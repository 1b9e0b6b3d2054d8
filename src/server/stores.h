/* Opening, recovering and closing what the program keeps on disk: the data folder's lock, control
 * store, journal, ledger. Steps of program.c; each says its problem and returns an exit code. */
#ifndef MR_SERVER_STORES_H
#define MR_SERVER_STORES_H

#include "server/program.h"

/* Lock, control store, checkpoint, journal, memory of ids, archive. */
int stores_open(struct program *program);
/* Replays, starts the writer's thread, appends what recovery calls for. */
int stores_recover(struct program *program);
/* After the workers have taken from the book: the keeper takes it, and its thread starts. */
int stores_keep(struct program *program);
/* Clean stop: the writer's and the keeper's threads finish and end. */
void stores_finish_writer(struct program *program);
void stores_close(struct program *program);

/* Of program.c. */
void program_problem(struct program *program, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Writer's thread. */
void program_on_journal_failed(struct program *program);

#endif
