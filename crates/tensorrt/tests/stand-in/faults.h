/* What a stand-in's calls are told to do wrong, and what is left of what they made.

   STAND_IN_FAIL=NAME       the call of that name fails; of NAME:N the Nth alone
   STAND_IN_FAIL_FILE=FILE  what FILE says at that moment: `NAME` or `NAME fail`; `NAME delay MS`,
                            it takes so much longer; `NAME once MS`, the first time alone; `NAME
                            hang`, it comes back only when FILE says something else
   STAND_IN_TRACE=FILE      each call's name is written there
   STAND_IN_LEFT=FILE       when the process ends: what was made and not given back, and how many */
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

/* What the file says of `name`: how, or an empty string. */
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

/* Whether the call of that name, which is being made, is to fail; it may take its time first. */
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
    if (wanted[length] == ':') return ++calls == atoi(wanted + length + 1);
    return wanted[length] == 0;
}

__attribute__((unused)) static void stand_in_left(const char *what, int count)
{
    char line[96];
    snprintf(line, sizeof line, "%s %d", what, count);
    stand_in_append("STAND_IN_LEFT", line);
}
#endif
