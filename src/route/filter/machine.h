/* The filter machine: one flat program of small instructions, for both languages. Jumps go
 * forward; the one that goes back (OP_NEXT) takes an array's next item. Every evaluation has a
 * budget of steps. Private to route/filter/.
 *
 * Failing is a jump: instructions that test something name where to go on when it does not hold.
 * The program ends at OP_MATCH, OP_FAIL (patterns) or OP_RESULT (CESQL: what lies on the stack). */
#ifndef MR_ROUTE_FILTER_MACHINE_H
#define MR_ROUTE_FILTER_MACHINE_H

#include "base/arena.h"
#include "route/filter.h"
#include "route/filter/condition.h"

/* --- values: CESQL's types ---------------------------------------------------------------------*/

enum value_type {
    VALUE_STRING = 0,
    VALUE_INTEGER,
    VALUE_BOOLEAN,
};
struct value {
    enum value_type type;
    int32_t integer;
    bool boolean;
    bool is_missing; /* CESQL: an attribute the event lacks, until an operator takes it */
    mr_str string;   /* in the program, the event, or the run's arena */
};

enum machine_error_kind {
    MACHINE_PARSE = 0, /* as the CloudEvents SQL specification names them */
    MACHINE_MATH,
    MACHINE_CAST,
    MACHINE_MISSING_ATTRIBUTE,
    MACHINE_MISSING_FUNCTION,
    MACHINE_FUNCTION_EVALUATION,
    MACHINE_GENERIC, /* the machine's own: steps, memory */
};
struct machine_error {
    enum machine_error_kind kind;
    mr_str message; /* a sentence; in the program or the run's arena */
};
#define MACHINE_ERRORS_MAX 16 /* kept; further ones are counted */

/* --- programs ----------------------------------------------------------------------------------*/

enum opcode {
    /* Patterns. `slot` is a constant: a name. `to`: where to go on when it does not hold. */
    OP_MATCH = 0,
    OP_FAIL,
    OP_ATTRIBUTE_IS, /* slot: path; conditions at `first` … +n: any holds, else jump `to` */
    OP_MEMBER_IS,    /* the member `slot` of the present object, as above */
    OP_DATA_IS,      /* `data` itself, as above */
    OP_ENTER_DATA,   /* the present object is `data`, or each object of its items in turn */
    OP_ENTER,        /* the present object is its member `slot`, or each object of its items */
    OP_LEAVE,        /* back to the object around, go on at `to` */
    OP_NEXT,         /* the next object of an array: jump back to behind its ENTER; none: back to
                        the object around, jump `to` */
    /* Both. */
    OP_JUMP,
    /* CESQL: the stack. */
    OP_RESULT,        /* the top of the stack is the result */
    OP_PUSH,          /* slot: a value of `values` */
    OP_POP,           /* drops the top */
    OP_JUMP_IF_FALSE, /* peeks at the top, a boolean; keeps it. Not a boolean: no jump */
    OP_JUMP_IF_TRUE,
    /* From here on cesql_step() executes, in the file of CESQL: free for it to number. */
    OP_CESQL,
};
#define INSN_EVERY 1u /* ENTER: the body must hold for every object of an array, not for one */
#define INSN_ABSENT                                                                                \
    2u /* ENTER: the body may hold for nothing (exists: false): go in all the same */

struct insn {
    uint8_t op; /* enum opcode, or OP_CESQL + n */
    uint8_t flags;
    uint16_t slot;  /* constant, path or value number; for CESQL its own use */
    uint32_t to;    /* instruction to jump to */
    uint32_t first; /* conditions; for CESQL its own use (argument counts …) */
    uint32_t n;
    uint32_t pointer; /* text number: where it stands in the pattern, for people, and behind it the
                         JSON that stands there; 0: none */
};

enum filter_form {
    FORM_PATTERN = 0,
    FORM_CESQL,
};

/* Compiled: one block of memory, this struct first. */
struct filter {
    enum filter_form form;
    uint32_t stack_max; /* values */
    size_t bytes;
    const struct insn *code;
    const struct condition *conditions;
    const struct value *values;
    const mr_str *texts; /* names, pointers */
    uint32_t n_code, n_conditions, n_values, n_texts;
    struct filter_key key; /* path absent: none */
};

/* Builds a program. Appends note the first failure and go on (they answer 0 then); program_finish
 * tells it. Texts are copied at once. */
struct program {
    enum filter_form form;
    mr_buf code;       /* struct insn */
    mr_buf conditions; /* struct condition */
    mr_buf values;     /* struct value */
    mr_buf texts;      /* mr_str; number 0 is absent */
    mr_arena arena;    /* the bytes of all texts, until it is finished */
    uint32_t stack_max;
    mr_err err; /* the first failure */
};
void program_init(struct program *program, enum filter_form form);
void program_done(struct program *program);
/* Appends; returns its number. */
uint32_t program_insn(struct program *program, struct insn insn);
/* The number of the instruction to come. */
uint32_t program_here(const struct program *program);
/* Sets `to` of an instruction to the instruction to come. */
void program_patch(struct program *program, uint32_t number);
/* An instruction that stands, to read or change it, until the next append. NULL after a failure. */
struct insn *program_at(struct program *program, uint32_t number);
/* A name or other text; equal ones get one number. */
uint16_t program_text(struct program *program, mr_str text);
/* Texts with numbers in a row; returns the first. */
uint32_t program_texts(struct program *program, const mr_str *texts, size_t n);
uint16_t program_value(struct program *program, struct value value);
uint32_t program_condition(struct program *program, const struct condition *condition);
/* Makes the filter: one block. A key path that is absent: no key. After it program_done as ever. */
mr_err program_finish(struct program *program, const struct filter_key *key,
                      struct filter **ret_filter);
/* MR_E_LIMIT past these. */
#define PROGRAM_INSNS_MAX 16384u
#define PROGRAM_TEXTS_MAX 16384u

/* --- evaluation --------------------------------------------------------------------------------*/

#define MACHINE_STACK_MAX 256u              /* values; a compiler refuses what needs more */
#define MACHINE_DEPTH_MAX 64u               /* objects of a pattern inside one another */
#define MACHINE_ARENA_MAX ((size_t)1 << 20) /* bytes of texts made while evaluating */

#define MACHINE_ITERS_MAX (JSON_DEPTH_MAX + 1) /* arrays entered; no tape is deeper */

/* A member that was looked up: each is looked for once per object, however often it is named. */
#define MACHINE_SLOTS 64u
struct slot {
    uint64_t run; /* evaluation; another one: empty */
    json_value object;
    json_value value;
    uint32_t name;
};

/* An object that a pattern has entered. */
struct frame {
    json_value object; /* absent: nothing there */
    uint32_t body;     /* first instruction inside */
    uint32_t iters_at; /* its iterators: arrays inside one another */
    bool every;
};

struct filter_run {
    const struct filter *filter; /* of the present evaluation */
    const struct filter_event *event;
    uint32_t at;          /* instruction */
    uint32_t n_steps_max; /* what the evaluation began with */
    uint32_t steps_left;
    /* patterns */
    struct frame frames[MACHINE_DEPTH_MAX];
    uint32_t n_frames;
    json_iter iters[MACHINE_ITERS_MAX];
    uint32_t n_iters;
    struct slot slots[MACHINE_SLOTS]; /* by name, modulo */
    uint64_t n_runs;
    mr_buf scratch;          /* a decoded string */
    uint32_t failed_at;      /* the instruction that failed last, for people; UINT32_MAX: none */
    json_value failed_value; /* what it looked at, of data */
    /* CESQL */
    struct value stack[MACHINE_STACK_MAX];
    uint32_t n_stack;
    mr_arena arena; /* texts made while evaluating; empty at the start of each */
    struct machine_error errors[MACHINE_ERRORS_MAX];
    uint32_t n_errors; /* may exceed MACHINE_ERRORS_MAX: counted, not kept */
};

/* Runs, in so many steps at most (and FILTER_STEPS_MAX); what it came to is left in the run. True
 * where a pattern matched, or the result (now run->stack[0], n_stack 1) is the boolean true without
 * errors. */
bool machine_run(const struct filter *filter, const struct filter_event *event,
                 struct filter_run *run, uint32_t steps);
/* An attribute by name, or NULL; also where the budget does not last, which is noted. */
const struct filter_attribute *machine_attribute(struct filter_run *run, mr_str name);
/* Notes an error; the message is kept as it is (program, arena or literal). */
void machine_error(struct filter_run *run, enum machine_error_kind kind, mr_str message);
/* Room for a text that the evaluation makes; NULL (and an error noted) past MACHINE_ARENA_MAX. */
char *machine_text(struct filter_run *run, size_t len);
/* Counts work beyond the instruction itself (bytes copied / 16, …); false: the budget is used up
 * and the error is noted, stop. */
bool machine_charge(struct filter_run *run, size_t steps);

static inline void machine_push(struct filter_run *run, struct value value) {
    MR_ASSERT(run->n_stack < MACHINE_STACK_MAX);
    run->stack[run->n_stack++] = value;
}
static inline struct value machine_pop(struct filter_run *run) {
    MR_ASSERT(run->n_stack > 0);
    return run->stack[--run->n_stack];
}

/* Provided by CESQL's chapter: executes one instruction with op >= OP_CESQL. It may set run->at
 * (already behind the instruction) forward. False: stop, an error is noted. */
bool cesql_step(struct filter_run *run, const struct insn *insn);

#endif
