/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors */
/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * clients PORT NUMBER: customers of the shop.  Each opens one connection, keeps it, and orders
 * two hundred times a second.  Prints "ready"; then for each line on standard input
 *
 *   ANSWERS LARGEST LOST
 *
 * answers since the start, the longest wait for one since the line before (microseconds), and the
 * connections that were lost or answered out of turn.
 */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in shop = { .sin_family = AF_INET };
static atomic_ulong answers, largest;
static atomic_int connected, lost;

static unsigned long microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ul + now.tv_nsec / 1000;
}

static void *order(void *unused)
{
	int connection = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	FILE *in, *out;
	char line[128];

	(void)unused;
	if (connect(connection, (struct sockaddr *)&shop, sizeof shop))
		goto gone;
	setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	in = fdopen(connection, "r");
	out = fdopen(dup(connection), "w");
	for (unsigned long number = 1;; number++) {
		unsigned long asked = microseconds(), waited, seen, counted;

		if (fputs("order 3 250\n", out) < 0 || fflush(out) || !fgets(line, sizeof line, in))
			goto gone;
		waited = microseconds() - asked;
		if (sscanf(line, "#%lu ok 750", &counted) != 1 || counted != number)
			goto gone;
		if (number == 1)
			connected++;
		answers++;
		seen = largest;
		while (waited > seen && !atomic_compare_exchange_weak(&largest, &seen, waited))
			;
		usleep(5000);
	}
gone:
	lost++;
	return NULL;
}

int main(int argc, char **argv)
{
	int number = argc == 3 ? atoi(argv[2]) : 0;
	char line[16];

	if (number < 1) {
		fprintf(stderr, "usage: clients PORT NUMBER\n");
		return 2;
	}
	shop.sin_port = htons(atoi(argv[1]));
	shop.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < number; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, order, NULL))
			lost++;
	}
	while (connected + lost < number)
		usleep(1000);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		printf("%lu %lu %d\n", (unsigned long)answers, atomic_exchange(&largest, 0), (int)lost);
		fflush(stdout);
	}
	return 0;
}
