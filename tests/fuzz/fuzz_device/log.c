// SPDX-License-Identifier: MIT
/*
 * log.c - the kernel's log: does it speak of trouble? Each process has its own place in
 * it. What it says of the present program is complained of at once; the whole log is
 * looked at by tests/vm/run in the end.
 */
#include "fuzz.h"

static int kmsg = -1;

/* As in tests/vm/run. */
static const char *const trouble[] = {
	"WARNING:", "BUG:", "kernel BUG at", "KASAN", "UBSAN", "possible recursive",
	"possible circular", "possible irq", "possible unsafe", "INFO: ", "Oops",
	"Call Trace", "general protection fault", "refcount_t:", "kmemleak: ",
};

/* From here on. */
void log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	lseek(fd, 0, SEEK_END);
	kmsg = own_fd(fd);
}

void log_look(void)
{
	char line[2048];
	ssize_t n;

	if (kmsg < 0)
		return;
	while ((n = read(kmsg, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		line[n > 0 ? n : 0] = 0;
		for (size_t i = 0; n > 0 && i < sizeof(trouble) / sizeof(trouble[0]); i++)
			if (strstr(line, trouble[i]))
				complain("the kernel's log: %s", line);
		errno = 0;
	}
}
