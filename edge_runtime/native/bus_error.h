/* Survives the loss of a mapped file; see bus_error.c. The caller holds Python's lock. */
#ifndef EDGE_BUS_ERROR_H
#define EDGE_BUS_ERROR_H

#include <stddef.h>
#include <stdint.h>

/* Handles SIGBUS from now on. Returns 0, or -1 if the system refuses. */
int edge_watch_bus_errors(void);

/* Starts the program again with these arguments and variables, both ended by NULL, instead of ending the
 * process, if memory is lost that is not watched: not within 10 s of `started_s`, in seconds since the
 * system was started. The first variable's value is digits; they are overwritten by this time at the next
 * start. All memory stays the caller's, permanently. NULL for `arguments`: the process ends again. */
void edge_start_again(char *const *arguments, char *const *variables, long started_s);

/* Watches a mapped region. Returns its number, or -1 if too many are watched. */
int edge_watch_region(const void *begin, size_t bytes);
void edge_forget_region(int number); /* before it is unmapped */

/* Returns whether a page of the region was lost, and reads as zeros now. */
int edge_region_lost(int number);

#endif
