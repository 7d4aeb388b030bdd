/* The baseline: blocking calls on a Unix domain socket, with the system's own
 * buffer sizes, or on an inherited pipe. It follows the protocol in benchmarks/pair.py. It ends at any
 * error, which the harness notices. */
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

/* Reads pieces of up to `size` bytes until it has read `total`. */
static void receive_total(int fd, char *buffer, size_t size, size_t total)
{
    size_t received = 0;

    while (received < total)
        received += receive_some(fd, buffer, size);
    if (received != total)
        fail("more than was sent");
}

/* The round ends with the answer of the receiver that everything has arrived. */
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

static void pipe_send(int fd, char *buffer, size_t size, long count)
{
    size_t left = size * (size_t)count;

    while (left > 0) {
        ssize_t sent = write(fd, buffer, size);
        /* In blocking mode it writes all of it, unless a signal arrives. */
        if (sent != (ssize_t)size)
            fail("write");
        left -= size;
    }
}

static void pipe_receive(int fd, char *buffer, size_t size, long count)
{
    size_t left = size * (size_t)count;

    while (left > 0) {
        ssize_t received = read(fd, buffer, size);
        if (received <= 0)
            fail("read");
        if ((size_t)received > left)
            fail("more than was sent");
        left -= (size_t)received;
    }
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

/* Messages: a length of four bytes, little-endian, and then as many bytes. They
 * are received in the fastest way: one call reads all bytes that have arrived. */
enum { HEADER = 4, BATCH = 256, READ_AHEAD = 64 * 1024 };

struct reader {
    int fd;
    size_t capacity, start, end;
    unsigned char *buffer;
};

static struct reader open_reader(int fd, size_t size)
{
    struct reader reader = {fd, HEADER + size + READ_AHEAD, 0, 0, NULL};

    reader.buffer = malloc(reader.capacity);
    if (reader.buffer == NULL)
        fail("malloc");
    return reader;
}

static void ensure(struct reader *reader, size_t count)
{
    if (reader->end - reader->start >= count)
        return;
    memmove(reader->buffer, reader->buffer + reader->start, reader->end - reader->start);
    reader->end -= reader->start;
    reader->start = 0;
    while (reader->end < count)
        reader->end += receive_some(reader->fd, (char *)reader->buffer + reader->end,
                                    reader->capacity - reader->end);
}

static void receive_message(struct reader *reader, size_t expected)
{
    const unsigned char *header;
    size_t size;

    ensure(reader, HEADER);
    header = reader->buffer + reader->start;
    size = header[0] | header[1] << 8 | header[2] << 16 | (size_t)header[3] << 24;
    if (size != expected)
        fail("a message of another size");
    ensure(reader, HEADER + size);
    reader->start += HEADER + size;
}

/* Returns `count` messages with their lengths, one behind the other. */
static char *framed(size_t size, size_t count)
{
    char *wire = malloc(count * (HEADER + size));
    size_t i;

    if (wire == NULL)
        fail("malloc");
    memset(wire, 'x', count * (HEADER + size));
    for (i = 0; i < count; i++) {
        unsigned char *header = (unsigned char *)wire + i * (HEADER + size);
        header[0] = size & 0xff;
        header[1] = size >> 8 & 0xff;
        header[2] = size >> 16 & 0xff;
        header[3] = size >> 24 & 0xff;
    }
    return wire;
}

static void ask_message(struct reader *reader, char *wire, size_t size, long count)
{
    long i;

    for (i = 0; i < count; i++) {
        send_all(reader->fd, wire, HEADER + size);
        receive_message(reader, size);
    }
}

static void answer_message(struct reader *reader, char *wire, size_t size, long count)
{
    long i;

    for (i = 0; i < count; i++) {
        receive_message(reader, size);
        send_all(reader->fd, wire, HEADER + size);
    }
}

static void send_messages(struct reader *reader, char *wire, size_t size, long count)
{
    long i;

    for (i = 0; i < count; i++)
        send_all(reader->fd, wire, HEADER + size);
    receive_message(reader, size);
}

static void send_batches(struct reader *reader, char *wire, size_t size, long count)
{
    while (count > 0) {
        long batch = count < BATCH ? count : BATCH;
        send_all(reader->fd, wire, (size_t)batch * (HEADER + size));
        count -= batch;
    }
    receive_message(reader, size);
}

static void receive_messages(struct reader *reader, char *wire, size_t size, long count)
{
    long i;

    for (i = 0; i < count; i++)
        receive_message(reader, size);
    send_all(reader->fd, wire, HEADER + size);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void report(double seconds, long completed)
{
    printf("%.9f %ld\n", seconds, completed);
    fflush(stdout);
}

static void play_bytes(int fd, size_t size, void (*play)(int, char *, size_t, long))
{
    char *buffer = malloc(size);
    long count;

    if (buffer == NULL)
        fail("malloc");
    memset(buffer, 'x', size);
    while (scanf("%ld", &count) == 1) {
        double start = now();
        play(fd, buffer, size, count);
        report(now() - start, count);
    }
    free(buffer);
}

static void play_messages(int fd, size_t size,
                          void (*play)(struct reader *, char *, size_t, long))
{
    struct reader reader = open_reader(fd, size);
    char *wire = framed(size, play == send_batches ? BATCH : 1);
    long count;

    while (scanf("%ld", &count) == 1) {
        double start = now();
        play(&reader, wire, size, count);
        report(now() - start, count);
    }
    free(wire);
    free(reader.buffer);
}

int main(int argc, char **argv)
{
    int fd, server;
    size_t size;

    if (argc != 6 || strcmp(argv[5], "1") != 0 || (size = strtoul(argv[4], NULL, 10)) == 0) {
        fprintf(stderr, "usage: c_blocking SCENARIO ROLE NAME SIZE 1\n");
        return 2;
    }
    server = strcmp(argv[2], "server") == 0;
    if (strcmp(argv[1], "pipe") == 0) {
        say_ready();
        play_bytes(atoi(argv[3]), size, server ? pipe_receive : pipe_send);
        return 0;
    }
    fd = server ? open_server(argv[3]) : open_client(argv[3]);
    if (strcmp(argv[1], "bulk") == 0) {
        play_bytes(fd, size, server ? bulk_receive : bulk_send);
    } else if (strcmp(argv[1], "roundtrip") == 0) {
        play_bytes(fd, size, server ? answer : ask);
    } else if (strcmp(argv[1], "message-roundtrip") == 0) {
        play_messages(fd, size, server ? answer_message : ask_message);
    } else if (strcmp(argv[1], "messages") == 0) {
        play_messages(fd, size, server ? receive_messages : send_messages);
    } else if (strcmp(argv[1], "message-batches") == 0) {
        play_messages(fd, size, server ? receive_messages : send_batches);
    } else {
        fprintf(stderr, "unknown scenario %s\n", argv[1]);
        return 2;
    }
    return 0;
}
