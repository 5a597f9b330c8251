/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors */
/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * A shop on a TCP port, one thread a connection, which stays open:
 *
 *   > order 3 250
 *   < #1 ok 750
 *
 * The number counts the orders of this connection: it lives in the thread that a patch must not
 * disturb.  Prints "ready PORT" when it can be asked.
 */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "order.h"

static void *serve(void *argument)
{
	FILE *in = fdopen((int)(intptr_t)argument, "r");
	FILE *out = fdopen(dup((int)(intptr_t)argument), "w");
	char line[128];
	unsigned long served = 0;

	while (fgets(line, sizeof line, in)) {
		long quantity, price, total = 0;
		const char *wrong = "what?";

		if (sscanf(line, "order %ld %ld", &quantity, &price) == 2)
			wrong = order_total(quantity, price, &total);
		if (wrong)
			fprintf(out, "#%lu error: %s\n", ++served, wrong);
		else
			fprintf(out, "#%lu ok %ld\n", ++served, total);
		fflush(out);
	}
	fclose(out);
	fclose(in);
	return NULL;
}

int main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 64) ||
	    getsockname(listener, (struct sockaddr *)&address, &size)) {
		perror("shop");
		return 1;
	}
	printf("ready %d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;) {
		int connection = accept(listener, NULL, NULL);
		pthread_t thread;

		if (connection < 0)
			continue;
		setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)connection) == 0)
			pthread_detach(thread);
	}
}
