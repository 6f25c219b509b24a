/* Lines of words and numbers, and a message with file and line for the first thing wrong. */
#ifndef WORDS_H
#define WORDS_H

#include "nvmlsim.h"

enum { MAX_WORDS = 32 };

struct words {
    const char *path;
    int line;
    char *error;           /* ERROR_SIZE bytes */
    char *list[MAX_WORDS]; /* of this line */
    int n, next;           /* list[next] is the first word not yet taken */
    const char *start, *as_written; /* the line, cut and whole */
};

enum field_kind {
    NUMBER, /* double */
    COUNT,  /* double that holds a whole number from 0 to 2^31 - 1 */
    CLOCK,  /* seconds of CLOCK_MONOTONIC in the file, int64_t nanoseconds here */
    TIME,   /* seconds since the epoch in the file, int64_t nanoseconds here */
    PERIOD  /* a TIME of 0.1 ms or more */
};

struct field {
    const char *name;
    enum field_kind kind;
    void *target;
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Each of these returns false (choose: -1) after writing a message. */
__attribute__((format(printf, 2, 3))) bool words_fail(struct words *words, const char *format, ...);
char *words_take(struct words *words);
bool words_end(struct words *words);
bool words_rest(struct words *words, char destination[TEXT_SIZE]); /* what follows, spaces included */
/* The index of the next word in a list that ends with NULL. */
int words_choose(struct words *words, const char *const *list);
/* All fields in this order, then the end. */
bool words_values(struct words *words, const struct field *fields, size_t n);
/* Any fields in any order as name=value, then the end. */
bool words_options(struct words *words, const struct field *fields, size_t n);

bool words_cut(struct words *words, char *line, const char *as_written);

#endif
