/* The baseline: blocking calls on a Unix domain socket, with the system's own
 * buffer sizes. It talks with the harness as benchmarks/pair.py says. Any error
 * ends it, which the harness notices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_un address_of(const char *name)
{
    struct sockaddr_un address;
    const char *directory = getenv("XDG_RUNTIME_DIR");
    int length;

    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s",
                      directory == NULL ? "." : directory, name);
    if (length < 0 || (size_t)length >= sizeof(address.sun_path)) {
        fprintf(stderr, "the path of the socket is too long\n");
        exit(1);
    }
    return address;
}

static void say_ready(void)
{
    printf("ready\n");
    fflush(stdout);
}

static int open_server(const char *name)
{
    struct sockaddr_un address = address_of(name);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    int fd;

    if (listener == -1 || bind(listener, (struct sockaddr *)&address, sizeof(address)) == -1
        || listen(listener, 1) == -1)
        fail("listen");
    say_ready();
    fd = accept(listener, NULL, NULL);
    if (fd == -1)
        fail("accept");
    return fd;
}

static int open_client(const char *name)
{
    struct sockaddr_un address = address_of(name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd == -1 || connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1)
        fail("connect");
    say_ready();
    return fd;
}

static void send_all(int fd, const char *data, size_t length)
{
    size_t position = 0;

    while (position < length) {
        ssize_t sent = send(fd, data + position, length - position, MSG_NOSIGNAL);
        if (sent == -1)
            fail("send");
        position += (size_t)sent;
    }
}

static size_t receive_some(int fd, char *buffer, size_t size)
{
    ssize_t received = recv(fd, buffer, size, 0);

    if (received <= 0)
        fail("recv");
    return (size_t)received;
}

/* Reads pieces of up to `size` bytes until there have been `total`. */
static void receive_total(int fd, char *buffer, size_t size, size_t total)
{
    size_t received = 0;

    while (received < total)
        received += receive_some(fd, buffer, size);
    if (received != total)
        fail("more than was sent");
}

/* A round ends when the receiver has answered that everything is there. */
static void bulk_send(int fd, char *buffer, size_t size, long count)
{
    long i;

    for (i = 0; i < count; i++)
        send_all(fd, buffer, size);
    receive_total(fd, buffer, 1, 1);
}

static void bulk_receive(int fd, char *buffer, size_t size, long count)
{
    receive_total(fd, buffer, size, size * (size_t)count);
    send_all(fd, buffer, 1);
}

static void ask(int fd, char *buffer, size_t size, long count)
{
    long i;

    for (i = 0; i < count; i++) {
        send_all(fd, buffer, size);
        receive_total(fd, buffer, size, size);
    }
}

static void answer(int fd, char *buffer, size_t size, long count)
{
    long i;

    for (i = 0; i < count; i++) {
        receive_total(fd, buffer, size, size);
        send_all(fd, buffer, size);
    }
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    void (*play)(int, char *, size_t, long);
    int fd, server;
    size_t size;
    char *buffer;
    long count;

    if (argc != 5) {
        fprintf(stderr, "usage: c_blocking SCENARIO ROLE NAME SIZE\n");
        return 2;
    }
    server = strcmp(argv[2], "server") == 0;
    if (strcmp(argv[1], "bulk") == 0) {
        play = server ? bulk_receive : bulk_send;
    } else if (strcmp(argv[1], "roundtrip") == 0) {
        play = server ? answer : ask;
    } else {
        fprintf(stderr, "unknown scenario %s\n", argv[1]);
        return 2;
    }
    size = strtoul(argv[4], NULL, 10);
    buffer = malloc(size);
    if (size == 0 || buffer == NULL)
        fail("malloc");
    memset(buffer, 'x', size);
    fd = server ? open_server(argv[3]) : open_client(argv[3]);
    while (scanf("%ld", &count) == 1) {
        double start = now();
        play(fd, buffer, size, count);
        printf("%.9f %ld\n", now() - start, count);
        fflush(stdout);
    }
    free(buffer);
    return 0;
}
