#include "words.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double NS_PER_S = 1e9;
/* Within three years, and nothing faster than 0.1 ms, the sums in physics.c fit into their 128 bits. */
static const double LONGEST_S = 1e8, SHORTEST_PERIOD_S = 1e-4;
static const double LONGEST_UPTIME_S = 4e9;

int64_t to_ns(double seconds) { return (int64_t)floor(seconds * NS_PER_S + 0.5); }

bool words_fail(struct words *words, const char *format, ...)
{
    int n = snprintf(words->error, ERROR_SIZE, "%s:%d: ", words->path, words->line);
    va_list arguments;
    va_start(arguments, format);
    if (n >= 0 && n < ERROR_SIZE)
        vsnprintf(words->error + n, (size_t)(ERROR_SIZE - n), format, arguments);
    va_end(arguments);
    return false;
}

/* line is cut in place; as_written is a copy of it that outlives the words. */
bool words_cut(struct words *words, char *line, const char *as_written)
{
    char *position = NULL, *word = strtok_r(line, " \t\r", &position);
    words->n = words->next = 0;
    words->start = line;
    words->as_written = as_written;
    while (word && *word != '#' && words->n < MAX_WORDS) {
        words->list[words->n++] = word;
        word = strtok_r(NULL, " \t\r", &position);
    }
    return !word || *word == '#' || words_fail(words, "more than %d words", MAX_WORDS);
}

char *words_take(struct words *words)
{
    if (words->next < words->n)
        return words->list[words->next++];
    words_fail(words, "the line ends too early");
    return NULL;
}

bool words_end(struct words *words)
{
    return words->next == words->n || words_fail(words, "'%s' is one word too many", words->list[words->next]);
}

bool words_rest(struct words *words, char destination[TEXT_SIZE])
{
    if (words->next == words->n)
        return words_fail(words, "the line ends too early");
    const char *from = words->as_written + (words->list[words->next] - words->start);
    size_t length = strlen(from);
    while (length && strchr(" \t\r", from[length - 1]))
        length--;
    if (length >= TEXT_SIZE)
        return words_fail(words, "the text is longer than %d bytes", TEXT_SIZE - 1);
    memcpy(destination, from, length);
    destination[length] = 0;
    return true;
}

int words_choose(struct words *words, const char *const *list)
{
    const char *word = words_take(words);
    for (int i = 0; word && list[i]; i++)
        if (strcmp(word, list[i]) == 0)
            return i;
    if (word)
        words_fail(words, "unknown word '%s'", word);
    return -1;
}

static locale_t c_locale;

static void make_c_locale(void) { c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

/* A decimal point is a point, whatever locale the host process has chosen. */
static bool number(const char *text, double *value)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_c_locale);
    char *end;
    *value = strtod_l(text, &end, c_locale);
    return *text && !*end && isfinite(*value);
}

static bool set(struct words *words, const struct field *field, const char *text)
{
    double value;
    if (!number(text, &value))
        return words_fail(words, "%s: '%s' is not a number", field->name, text);
    if (field->kind == CLOCK || field->kind == TIME || field->kind == PERIOD) {
        double longest_s = field->kind == CLOCK ? LONGEST_UPTIME_S : LONGEST_S;
        if (fabs(value) > longest_s || (field->kind == PERIOD && value < SHORTEST_PERIOD_S))
            return words_fail(words, "%s: %s s is out of range", field->name, text);
        *(int64_t *)field->target = to_ns(value);
        return true;
    }
    if (field->kind == COUNT && !(value >= 0 && value <= INT32_MAX && value == floor(value)))
        return words_fail(words, "%s: '%s' is not a count", field->name, text);
    *(double *)field->target = value;
    return true;
}

bool words_values(struct words *words, const struct field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *text = words_take(words);
        if (!text || !set(words, &fields[i], text))
            return false;
    }
    return words_end(words);
}

bool words_options(struct words *words, const struct field *fields, size_t n)
{
    while (words->next < words->n) {
        char *name = words_take(words), *equals = strchr(name, '=');
        size_t i = 0;
        if (!equals)
            return words_fail(words, "'%s' is not of the form name=value", name);
        *equals = 0;
        while (i < n && strcmp(fields[i].name, name) != 0)
            i++;
        if (i == n)
            return words_fail(words, "unknown option '%s'", name);
        if (!set(words, &fields[i], equals + 1))
            return false;
    }
    return true;
}
