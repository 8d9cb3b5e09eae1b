/* Open-loop load generator: it sends HTTP requests at a constant rate, and times each from the moment it was due.
 *
 * constant_rate PORT RATE SECONDS CONNECTIONS < REQUEST > TIMES
 *
 * bench/constant_rate.py compiles and runs it, and says what it is for. A request is due at its place in the schedule,
 * whatever became of the others; one that finds no connection free is sent late, and its wait counts.
 *
 * TIMES: the number of answers that were not 200 (a double), then three doubles for each answer, in seconds: from when
 * it was due until the answer was whole, how late it was sent, and how late from the moment a connection was free.
 *
 * Exit codes: 0 done, 1 wrong use or a system call failed, 3 the other side ended a connection, 4 answers did not come in
 * time. Answers have a Content-Length.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ENDED = 3, LATE = 4, LARGEST_REQUEST = 65536, LARGEST_ANSWER = 65536, EVENTS = 256 };
static const double LATE_SECONDS = 5;

struct connection {
    int fd;
    double due;
    double late;
    double own;
    size_t received; /* bytes of an answer that is not whole */
    char answer[LARGEST_ANSWER + 1];
};

struct times {
    double latency;
    double late;
    double own;
};

static _Noreturn void fail(int code, const char *message, ...) {
    va_list values;
    va_start(values, message);
    vfprintf(stderr, message, values);
    va_end(values);
    fputc('\n', stderr);
    exit(code);
}

static void *memory(size_t count, size_t size) {
    void *found = calloc(count, size);
    if (!found) fail(1, "no memory for %zu things of %zu bytes", count, size);
    return found;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double number(const char *text) {
    char *end;
    double found = strtod(text, &end);
    if (*end || !(found > 0)) fail(1, "not a number above 0: %s", text);
    return found;
}

static int opened(int port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) fail(1, "connect: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* Return the status of the connection's answer if it is whole and nothing is behind it, or 0 if more is to come. */
static int status_of(struct connection *one) {
    one->answer[one->received] = 0;
    char *end = strstr(one->answer, "\r\n\r\n");
    if (!end) {
        if (one->received == LARGEST_ANSWER) fail(1, "an answer's head is larger than %d bytes", LARGEST_ANSWER);
        return 0;
    }
    size_t head = end + 4 - one->answer;
    *end = 0; /* the fields alone */
    char *field = strcasestr(one->answer, "\r\nContent-Length:");
    if (!field) fail(1, "an answer without Content-Length");
    size_t length = strtoul(field + strlen("\r\nContent-Length:"), NULL, 10);
    *end = '\r';
    if (head + length > LARGEST_ANSWER) fail(1, "an answer is larger than %d bytes", LARGEST_ANSWER);
    if (one->received < head + length) return 0;
    if (one->received > head + length) fail(1, "more was received than an answer");
    one->received = 0;
    return atoi(one->answer + strlen("HTTP/1.1 "));
}

int main(int count, char **words) {
    if (count != 5) fail(1, "usage: constant_rate PORT RATE SECONDS CONNECTIONS < REQUEST > TIMES");
    int port = number(words[1]), connections = number(words[4]);
    double rate = number(words[2]), seconds = number(words[3]), errors = 0;
    size_t total = rate * seconds + 0.5, sent = 0, answered = 0;
    if (!total) total = 1;
    char *request = memory(LARGEST_REQUEST, 1);
    size_t length = fread(request, 1, LARGEST_REQUEST, stdin);

    prctl(PR_SET_TIMERSLACK, 1); /* by default the kernel may wake a process 50 us late */
    int poll_fd = epoll_create1(0);
    struct connection *all = memory(connections, sizeof *all);
    struct times *times = memory(total, sizeof *times);
    /* A queue: the connection that has been free the longest is taken first, so that all are used. */
    struct connection **free_ones = memory(connections, sizeof *free_ones);
    size_t first = 0, free_count = connections;
    for (int i = 0; i < connections; i++) {
        all[i].fd = opened(port);
        free_ones[i] = &all[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, all[i].fd, &event)) fail(1, "epoll_ctl: %s", strerror(errno));
    }
    memset(times, 1, total * sizeof *times); /* its pages are there before the schedule begins */

    struct epoll_event events[EVENTS];
    double began = now(), due = began, last = began + total / rate + LATE_SECONDS, free_since = 0, time = began;
    int waited = 0; /* a request was due, and no connection free */
    while (answered < total) {
        while (sent < total && (time = now()) >= due) {
            if (!free_count) {
                waited = 1;
                break;
            }
            struct connection *one = free_ones[first];
            first = (first + 1) % connections;
            free_count--;
            one->due = due;
            one->late = time - due;
            one->own = time - (due > free_since ? due : free_since);
            ssize_t written = send(one->fd, request, length, MSG_NOSIGNAL);
            if (written < 0) fail(ENDED, "the proxy closed a connection in the middle of the run");
            if ((size_t)written != length) fail(1, "a request was not taken whole");
            due = began + ++sent / rate;
        }
        int ready = epoll_wait(poll_fd, events, EVENTS, 0);
        for (int i = 0; i < ready; i++) {
            struct connection *one = events[i].data.ptr;
            ssize_t more = recv(one->fd, one->answer + one->received, LARGEST_ANSWER - one->received, 0);
            if (more <= 0) fail(ENDED, "the proxy closed a connection in the middle of the run");
            one->received += more;
            int status = status_of(one);
            if (!status) continue;
            errors += status != 200;
            times[answered++] = (struct times){now() - one->due, one->late, one->own};
            free_ones[(first + free_count++) % connections] = one;
        }
        if (waited && free_count) {
            waited = 0;
            free_since = now();
        }
        if (ready > 0) continue;
        time = now();
        if (time > last) fail(LATE, "%zu of %zu requests were answered in time", answered, total);
        /* epoll's own timeout counts milliseconds; ppoll's, nanoseconds. */
        double wait = free_count && sent < total ? due - time : 0.1;
        if (wait <= 0) continue;
        struct timespec until = {.tv_sec = wait, .tv_nsec = (wait - (long)wait) * 1e9};
        struct pollfd any = {.fd = poll_fd, .events = POLLIN};
        ppoll(&any, 1, &until, NULL);
    }
    if (fwrite(&errors, sizeof errors, 1, stdout) != 1 || fwrite(times, sizeof *times, total, stdout) != total ||
        fflush(stdout))
        fail(1, "the times could not be written");
    return 0;
}
