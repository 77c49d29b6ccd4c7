/* Many readers of event streams in one thread: they count what comes, and a few of them how late.
 *
 *     listeners EXPECTED SECONDS http://127.0.0.1:PORT/PATH=CLIENTS ...
 *
 * prints "ready" once every stream is open, and a JSON line (bench.listeners.Heard) once each reader has EXPECTED events
 * or SECONDS are over. In C because a reader in Python takes as much of the machine as the gateway that is measured.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* As in bench/events.py: MARK stands once in each event, directly before DIGITS digits of its moment. */
#define MARK "\"t="
#define MARK_BYTES 3
#define DIGITS 14
#define KEPT (MARK_BYTES + DIGITS - 1)
/* One reader in so many measures each event's delay; the others count. */
#define SAMPLED 20
#define OPEN_SECONDS 60
#define BUFFER (1 << 18)

struct reader {
    int fd;
    int open;
    int kept;          /* bytes of the last read that may belong to an event that is not whole */
    char tail[KEPT];
    long count;
    int64_t *delays;   /* of a reader that measures, room for EXPECTED */
};

static char buffer[KEPT + BUFFER];

static int64_t moment(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void fail(const char *what) {
    fprintf(stderr, "listeners: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t number(const char *digits) {
    int64_t value = 0;
    for (int i = 0; i < DIGITS; i++) value = value * 10 + (digits[i] - '0');
    return value;
}

static void open_stream(struct reader *reader, const char *host, int port, const char *target) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    char request[2048];
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail("an address must be numbers");
    if ((reader->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0) fail("socket");
    if (connect(reader->fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: text/event-stream\r\n\r\n",
                          target, host, port);
    if (length >= (int)sizeof request || write(reader->fd, request, length) != length) fail("request");
}

/* Counts the events that `size` bytes at buffer + KEPT complete, and keeps what may be the beginning of another. */
static void take(struct reader *reader, int size, long expected) {
    char *begin = buffer + KEPT - reader->kept, *end = buffer + KEPT + size, *place = begin, *found;
    int64_t now = reader->delays ? moment() : 0;
    memcpy(begin, reader->tail, reader->kept);
    while ((found = memmem(place, end - place, MARK, MARK_BYTES)) && end - found >= MARK_BYTES + DIGITS) {
        if (reader->delays && reader->count < expected) reader->delays[reader->count] = now - number(found + MARK_BYTES);
        reader->count++;
        place = found + MARK_BYTES + DIGITS;
    }
    reader->kept = end - place < KEPT ? end - place : KEPT;
    memcpy(reader->tail, end - reader->kept, reader->kept);
}

static int earlier(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "listeners EXPECTED SECONDS URL=CLIENTS ...\n"), 2;
    long expected = atol(argv[1]), clients = 0;
    double seconds = atof(argv[2]);
    for (int i = 3; i < argc; i++) clients += atol(strrchr(argv[i], '=') + 1);
    struct rlimit files = {clients + 64, clients + 64};
    setrlimit(RLIMIT_NOFILE, &files);
    struct reader *readers = calloc(clients, sizeof *readers);
    int poll = epoll_create1(0);
    long number_of = 0, unopened = clients, unfinished = clients, measured = 0;
    for (int i = 3; i < argc; i++) {
        char host[64], target[1024];
        int port;
        char *equals = strrchr(argv[i], '=');
        long here = atol(equals + 1);
        *equals = 0;
        if (sscanf(argv[i], "http://%63[^:]:%d%1023s", host, &port, target) != 3) fail(argv[i]);
        for (long n = 0; n < here; n++, number_of++) {
            struct reader *reader = &readers[number_of];
            open_stream(reader, host, port, target);
            if (here < SAMPLED || n % SAMPLED == 0) reader->delays = malloc(expected * sizeof *reader->delays);
            struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = reader};
            if (epoll_ctl(poll, EPOLL_CTL_ADD, reader->fd, &wanted) < 0) fail("epoll");
        }
    }
    int64_t until = moment() + OPEN_SECONDS * 1000000LL, first = 0, last = 0;
    while (unfinished && moment() < until) {
        struct epoll_event ready[256];
        int count = epoll_wait(poll, ready, 256, 100);
        for (int i = 0; i < count; i++) {
            struct reader *reader = ready[i].data.ptr;
            ssize_t size = read(reader->fd, buffer + KEPT, BUFFER);
            if (size <= 0) {
                epoll_ctl(poll, EPOLL_CTL_DEL, reader->fd, NULL);
                continue;
            }
            if (!reader->open) {
                if (size < 12 || memcmp(buffer + KEPT, "HTTP/1.1 200", 12)) return fprintf(stderr, "not a stream\n"), 1;
                reader->open = 1;
                if (!--unopened) {
                    puts("ready");
                    fflush(stdout);
                    until = moment() + (int64_t)(seconds * 1e6);
                }
            }
            long before = reader->count;
            take(reader, size, expected);
            if (reader->count == before) continue;
            last = moment();
            if (!first) first = last;
            if (before < expected && reader->count >= expected) unfinished--;
        }
    }
    if (unopened) return fprintf(stderr, "%ld streams were not opened\n", unopened), 1;
    long events = 0, place = 0;
    for (long i = 0; i < clients; i++) {
        events += readers[i].count;
        if (readers[i].delays) measured += readers[i].count < expected ? readers[i].count : expected;
    }
    int64_t *delays = malloc((measured + 1) * sizeof *delays);
    for (long i = 0; i < clients; i++) {
        if (!readers[i].delays) continue;
        long many = readers[i].count < expected ? readers[i].count : expected;
        memcpy(delays + place, readers[i].delays, many * sizeof *delays);
        place += many;
    }
    qsort(delays, measured, sizeof *delays, earlier);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"events\": %ld, \"wanted\": %ld, \"seconds\": %.6f, \"p50\": %.3f, \"p99\": %.3f, \"slowest\": %.3f, "
           "\"cpu_seconds\": %.2f}\n",
           events, expected * clients, (last - first) / 1e6, measured ? delays[measured / 2] / 1e3 : 0,
           measured ? delays[measured * 99 / 100] / 1e3 : 0, measured ? delays[measured - 1] / 1e3 : 0,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}
