/* Fault injection for the stand-ins' calls, and a count of leaked objects.

   STAND_IN_FAIL=NAME       calls of the function NAME fail; with NAME:N only the Nth, with NAME:N-M
                            those from the Nth to the Mth
   STAND_IN_FAIL_FILE=FILE  the same by the content of FILE at the time of the call: `NAME` or
                            `NAME fail`; `NAME delay MS`, the call takes so much longer; `NAME once
                            MS`, only the first call does; `NAME hang`, the call returns only when
                            the content of FILE has changed
   STAND_IN_TRACE=FILE      the name of each call is written to FILE
   STAND_IN_LEFT=FILE       at the end of the process, the number of objects of each kind that
                            were created and not freed is written to FILE */
#ifndef STAND_IN_FAULTS_H
#define STAND_IN_FAULTS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void stand_in_pause(long milliseconds)
{
    struct timespec t;
    t.tv_sec = milliseconds / 1000;
    t.tv_nsec = milliseconds % 1000 * 1000000;
    nanosleep(&t, NULL);
}

static void stand_in_append(const char *variable, const char *line)
{
    const char *path = getenv(variable);
    FILE *file = path == NULL ? NULL : fopen(path, "a");
    if (file == NULL) return;
    fprintf(file, "%s\n", line);
    fclose(file);
}

/* Reads the fault of the function `name` from the file. `how` is empty without one. */
static void stand_in_told(const char *name, char *how, long *milliseconds)
{
    const char *path = getenv("STAND_IN_FAIL_FILE");
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    char named[64] = "";
    how[0] = 0;
    *milliseconds = 0;
    if (file == NULL) return;
    int read = fscanf(file, "%63s %15s %ld", named, how, milliseconds);
    fclose(file);
    if (read < 1 || strcmp(named, name) != 0) how[0] = 0;
    else if (read == 1) strcpy(how, "fail");
}

/* Whether the current call of the function `name` must fail. Delays and hangs happen here. */
__attribute__((unused)) static int stand_in_fails(const char *name)
{
    static int calls, delayed;
    const char *wanted = getenv("STAND_IN_FAIL");
    size_t length = strlen(name);
    char how[16];
    long milliseconds;
    stand_in_append("STAND_IN_TRACE", name);
    stand_in_told(name, how, &milliseconds);
    if (strcmp(how, "fail") == 0) return 1;
    if (strcmp(how, "delay") == 0) stand_in_pause(milliseconds);
    if (strcmp(how, "once") == 0 && delayed++ == 0) stand_in_pause(milliseconds);
    while (strcmp(how, "hang") == 0) {
        stand_in_pause(2);
        stand_in_told(name, how, &milliseconds);
    }
    if (wanted == NULL || strncmp(wanted, name, length) != 0) return 0;
    if (wanted[length] == ':') {
        int first = 0, last = 0;
        if (sscanf(wanted + length + 1, "%d-%d", &first, &last) < 2) last = first;
        calls++;
        return calls >= first && calls <= last;
    }
    return wanted[length] == 0;
}

__attribute__((unused)) static void stand_in_left(const char *what, int count)
{
    char line[96];
    snprintf(line, sizeof line, "%s %d", what, count);
    stand_in_append("STAND_IN_LEFT", line);
}
#endif
