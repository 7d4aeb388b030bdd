/* Sends and receives descriptors over a Unix domain socket: SCM_RIGHTS (unix(7), cmsg(3)).
 *
 * The rules of posix.c apply here too. Every descriptor that the system opens in this process is in
 * `found` when a function returns, or closed.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* struct ucred */
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE on the socket does the same */
#endif
#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0 /* macOS does not have it; fcntl(2) follows a moment later */
#endif

/* SCM_MAX_FD (unix(7)). macOS allows more, but the limit is the same on every system. */
#define IPC_MOST_DESCRIPTORS 253
/* Used instead of a count: descriptors arrived, and were closed. */
#define IPC_TOO_MANY_DESCRIPTORS (-1)
#define IPC_NO_DESCRIPTORS_LEFT (-2)

typedef struct {
    int count; /* or one of the two above */
    int numbers[IPC_MOST_DESCRIPTORS];
} ipc_descriptors;

#if defined(__linux__)
/* Linux delivers only as many descriptors as fit. There is also room for what the program that made
 * the socket may have asked for: credentials (SO_PASSCRED), and a pidfd of the sender (6.5). */
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif
#define IPC_OTHER_ANCILLARY (CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int)))
#define IPC_ANCILLARY_FOR(count) (IPC_OTHER_ANCILLARY + CMSG_LEN(sizeof(int) * (count)))
#define IPC_LARGEST_ANCILLARY                                                                      \
    (IPC_OTHER_ANCILLARY + CMSG_SPACE(sizeof(int) * IPC_MOST_DESCRIPTORS))
#else
/* XNU delivers all of them but copies only those that fit, so the others would stay open with unknown
 * numbers. So there is room for as many as it allows (512). */
#define IPC_LARGEST_ANCILLARY (CMSG_SPACE(sizeof(int) * 512) + 256)
#define IPC_ANCILLARY_FOR(count) IPC_LARGEST_ANCILLARY
#endif

/* Sends data[0:length], and the descriptors with its first byte: they are sent if any byte is. A
 * stream needs at least one byte. `wait` and the result are those of ipc_send_rest, which sends the
 * rest if *position says that a part was sent. */
static int ipc_send_descriptors(int fd, const char *data, size_t length, const int *descriptors,
                                int count, size_t *position, int wait)
{
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int) * IPC_MOST_DESCRIPTORS)];
    } control;
    struct iovec part = {.iov_base = (char *)data, .iov_len = length};
    struct msghdr message;
    struct cmsghdr *header;
    size_t size;
    ssize_t sent;

    *position = 0;
    if (count < 1 || count > IPC_MOST_DESCRIPTORS)
        return -EINVAL;
    size = sizeof(int) * (size_t)count;
    memset(&control, 0, sizeof(control));
    memset(&message, 0, sizeof(message));
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = (socklen_t)CMSG_SPACE(size);
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = (socklen_t)CMSG_LEN(size);
    memcpy(CMSG_DATA(header), descriptors, size);
    sent = sendmsg(fd, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    if (sent == -1)
        return -errno;
    if ((size_t)sent == length)
        return 0;
    *position = (size_t)sent;
    return -EINTR;
}

static void ipc_close_descriptors(ipc_descriptors *found)
{
    while (found->count > 0)
        close(found->numbers[--found->count]);
    found->count = 0;
}

/* Takes the descriptors of one header, up to `most` in all. Returns 0, or why some were closed:
 * IPC_TOO_MANY_DESCRIPTORS; IPC_NO_DESCRIPTORS_LEFT if none was free to move one away from the
 * numbers of the standard streams. */
static int ipc_take_descriptors(struct cmsghdr *header, int most, ipc_descriptors *found)
{
    const unsigned char *from = CMSG_DATA(header);
    size_t left = ((size_t)header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    int fault = 0;

    for (; left > 0; left--, from += sizeof(int)) {
        int number;
        memcpy(&number, from, sizeof(number));
        if (found->count >= most) {
            close(number);
            fault = IPC_TOO_MANY_DESCRIPTORS;
            continue;
        }
        number = ipc_lift(number);
        if (number >= 0)
            found->numbers[found->count++] = number;
        else if (fault == 0)
            fault = IPC_NO_DESCRIPTORS_LEFT;
    }
    return fault;
}

/* Receives into data[0:size] as recv(2) does, and up to `most` descriptors into `found`. Returns the
 * number of bytes, or -errno if nothing was received. A stream delivers the descriptors of only one
 * send at a time. */
static int64_t ipc_receive_descriptors(int fd, char *data, size_t size, int most,
                                       ipc_descriptors *found)
{
    union {
        struct cmsghdr aligned;
        char bytes[IPC_LARGEST_ANCILLARY];
    } control;
    struct iovec part = {.iov_base = data, .iov_len = size};
    struct msghdr message;
    struct cmsghdr *header;
    int fault = 0;
    ssize_t count;

    ipc_close_descriptors(found); /* those of the last call that were not taken */
    if (most < 1 || most > IPC_MOST_DESCRIPTORS)
        return -EINVAL;
    memset(&message, 0, sizeof(message));
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = (socklen_t)IPC_ANCILLARY_FOR((size_t)most);
    count = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (count == -1)
        return -errno;
    for (header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET)
            continue;
        if (header->cmsg_type == SCM_RIGHTS) {
            int of_these = ipc_take_descriptors(header, most, found);
            if (of_these != 0)
                fault = of_these;
        }
#if defined(SCM_PIDFD)
        else if (header->cmsg_type == SCM_PIDFD) {
            ipc_descriptors unasked = {.count = 0};
            ipc_take_descriptors(header, 1, &unasked);
            ipc_close_descriptors(&unasked);
        }
#endif
    }
    /* Linux dropped some because there was no more room here, or in the table of the process. */
    if (fault == 0 && (message.msg_flags & MSG_CTRUNC))
        fault = found->count == most ? IPC_TOO_MANY_DESCRIPTORS : IPC_NO_DESCRIPTORS_LEFT;
    if (fault != 0) {
        ipc_close_descriptors(found);
        found->count = fault;
    }
#if !defined(__linux__)
    /* It fails only for numbers that are not open, and these are open. */
    for (int i = 0; i < found->count; i++)
        (void)fcntl(found->numbers[i], F_SETFD, FD_CLOEXEC);
#endif
    return (int64_t)count;
}
