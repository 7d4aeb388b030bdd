/* Unix domain sockets for ipcpipes: Linux, macOS and the BSDs.
 *
 * Rules of this file: no Python, no allocation, no global state; every function
 * returns a value of 0 or more, or -errno; a descriptor that is not returned is
 * closed. Descriptors are close-on-exec and non-blocking from birth where the
 * system can do it (SOCK_CLOEXEC, accept4); macOS cannot, and there a process
 * that forks and execs in another thread between the two calls inherits one.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* accept4, struct ucred, O_PATH */
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE on the socket does the same */
#endif

/* The size of sun_path. It includes the terminator of a path, or the leading NUL of an
 * abstract name. */
static size_t ipc_address_limit(void)
{
    return sizeof(((struct sockaddr_un *)0)->sun_path);
}

/* An abstract name begins with a NUL and has no terminator. */
static int ipc_fill_address(struct sockaddr_un *to, socklen_t *to_length,
                            const char *address, size_t length)
{
    size_t terminator = (length > 0 && address[0] != '\0') ? 1 : 0;

    if (length == 0)
        return -EINVAL;
    if (length + terminator > sizeof(to->sun_path))
        return -ENAMETOOLONG;
    memset(to, 0, sizeof(*to));
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path, address, length);
    *to_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + terminator);
    return 0;
}

#if !defined(__linux__)
static int ipc_prepare(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1
        || fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
        return -errno;
#ifdef SO_NOSIGPIPE
    {
        int on = 1;
        /* EINVAL: the peer of an accepted socket has closed; the listener's is inherited. */
        if (setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on)) == -1 && errno != EINVAL)
            return -errno;
    }
#endif
    return 0;
}
#endif

static int ipc_fail(int fd, int code)
{
    close(fd);
    return code;
}

/* The same descriptor under a number that is not one of the standard streams'. If those are
 * closed, the system gives their numbers to the next files that are opened, and the output of a
 * program would go there. Takes the result of socket(2) and its like; on failure the descriptor is
 * closed. */
static int ipc_lift(int fd)
{
    int lifted;

    if (fd == -1)
        return -errno;
    if (fd > STDERR_FILENO)
        return fd;
    lifted = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return ipc_fail(fd, lifted == -1 ? -errno : lifted);
}

/* Whether all three standard streams are open. */
static int ipc_has_standard_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1)
            return 0;
    return 1;
}

/* packets: SOCK_SEQPACKET, which keeps messages apart; macOS does not have it for AF_UNIX. */
static int ipc_socket(int packets)
{
    int type = packets ? SOCK_SEQPACKET : SOCK_STREAM;
#if defined(__linux__)
    return ipc_lift(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
#else
    int fd = ipc_lift(socket(AF_UNIX, type, 0));
    int code;
    if (fd < 0)
        return fd;
    code = ipc_prepare(fd);
    return code < 0 ? ipc_fail(fd, code) : fd;
#endif
}

/* listen(2)'s backlog for a queue that holds this many connections, 1 or more: Linux holds one more
 * than the backlog (unix(7)), and XNU takes 0 for its largest. */
static int ipc_backlog(int length)
{
#if defined(__linux__)
    return length > 0 ? length - 1 : 0;
#else
    return length > 0 ? length : 1;
#endif
}

/* The file that bind(2) made: its device and inode. */
typedef struct {
    int64_t device;
    uint64_t inode;
} ipc_file;

static void ipc_remember(ipc_file *file, const struct stat *found)
{
    file->device = (int64_t)found->st_dev;
    file->inode = (uint64_t)found->st_ino;
}

#if defined(__linux__)
/* 0 if the socket file at `own` is bound and does not listen, as the file that was just bound;
 * ESTALE if it has a listener, or another type than `probe`, and so is another one. EACCES: the
 * umask has removed the owner's rights; the caller is about to restore them. */
static int ipc_check_silent(const char *own, int probe)
{
    struct sockaddr_un where;
    socklen_t where_length;
    int code = ipc_fill_address(&where, &where_length, own, strlen(own));

    if (code == 0
        && (connect(probe, (struct sockaddr *)&where, where_length) == 0
            || (errno != ECONNREFUSED && errno != EACCES)))
        code = -ESTALE;
    return code;
}

/* Gives the socket file that was just bound at `path` its mode and group. The path is used once: a
 * user that may write in the directory can replace the file at any moment, so one descriptor
 * stands for the file that is checked and changed. (fchmod(2) does not accept an O_PATH
 * descriptor, so the mode is set through /proc, as in glibc's fchmodat.) ESTALE: it is not the
 * file that bind(2) made. */
static int ipc_set_access(const char *path, mode_t mode, int64_t group, int probe, ipc_file *file)
{
    struct stat found;
    char own[32];
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int code;

    if (fd == -1) {
        code = errno == ENOENT ? -ESTALE : -errno;
        if (lstat(path, &found) == 0 && S_ISSOCK(found.st_mode))
            ipc_remember(file, &found); /* to be removed */
        return code;
    }
    if (fstat(fd, &found) == -1)
        return ipc_fail(fd, -errno);
    if (!S_ISSOCK(found.st_mode))
        return ipc_fail(fd, -ESTALE);
    snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
    code = ipc_check_silent(own, probe);
    if (code < 0)
        return ipc_fail(fd, code);
    ipc_remember(file, &found);
    if ((found.st_mode & 07777) == mode && (group < 0 || found.st_gid == (gid_t)group)) {
        close(fd);
        return 0;
    }
    /* The file that bind(2) made has our owner, one name, and no rights for other users. */
    if (found.st_uid != geteuid() || found.st_nlink != 1 || (found.st_mode & 07077) != 0)
        return ipc_fail(fd, -ESTALE);
    /* The group first: to give it away can take rights from the mode. */
    if ((group >= 0 && fchownat(fd, "", (uid_t)-1, (gid_t)group, AT_EMPTY_PATH) == -1)
        || chmod(own, mode) == -1)
        return ipc_fail(fd, -errno);
    close(fd);
    return 0;
}

/* On Linux bind(2) gives the file the mode of the socket, less the umask. So the file never has
 * more rights than its final ones: at first only its owner's, because the group is not the right
 * one yet. The probe is opened before bind(2), so that a lack of descriptors cannot leave a socket
 * file that cannot be checked and removed. */
static int ipc_bind(int fd, const struct sockaddr_un *where, socklen_t where_length, mode_t mode,
                    int64_t group, int packets, ipc_file *file)
{
    int probe, code;

    if (fchmod(fd, mode & S_IRWXU) == -1)
        return -errno;
    probe = ipc_socket(packets);
    if (probe < 0)
        return probe;
    code = bind(fd, (const struct sockaddr *)where, where_length) == -1 ? -errno : 0;
    if (code == 0)
        code = ipc_set_access(where->sun_path, mode, group, probe, file);
    close(probe);
    return code;
}
#else
/* Uses the path: macOS has no descriptor of a socket file (no O_PATH, no fchmod(2)). A user that
 * may write in the directory could replace the file, and another file would be changed. So the
 * caller must not let root listen in such a directory. No link is followed. */
static int ipc_bind(int fd, const struct sockaddr_un *where, socklen_t where_length, mode_t mode,
                    int64_t group, int packets, ipc_file *file)
{
    const char *path = where->sun_path;
    struct stat found;

    (void)packets;
    if (bind(fd, (const struct sockaddr *)where, where_length) == -1)
        return -errno;
    if (lstat(path, &found) == -1)
        return errno == ENOENT ? -ESTALE : -errno;
    if (!S_ISSOCK(found.st_mode) || found.st_uid != geteuid() || found.st_nlink != 1)
        return -ESTALE;
    ipc_remember(file, &found);
    /* The group first: to give it away can take rights from the mode. */
    if (group >= 0
        && fchownat(AT_FDCWD, path, (uid_t)-1, (gid_t)group, AT_SYMLINK_NOFOLLOW) == -1)
        return -errno;
    return fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW) == -1 ? -errno : 0;
}
#endif

/* Binds and listens. The socket file has its final mode before the first client can connect,
 * because the kernel refuses connections until listen(2). The alternative, umask(2), would change
 * the mode of files that other threads make. bind(2) never replaces another file. `file` tells
 * which file was made, also after an error; the caller removes it. Its inode is 0 if there is no
 * file (an abstract name), or no file that is known to be ours. */
static int ipc_listen(const char *address, size_t length, uint32_t mode, int64_t group,
                      int queue_length, int packets, ipc_file *file)
{
    struct sockaddr_un where;
    socklen_t where_length;
    int named = length > 0 && address[0] != '\0';
    int code = ipc_fill_address(&where, &where_length, address, length);
    int fd;

    file->inode = 0;
    if (code < 0)
        return code;
    fd = ipc_socket(packets);
    if (fd < 0)
        return fd;
    if (named)
        code = ipc_bind(fd, &where, where_length, (mode_t)mode, group, packets, file);
    else if (bind(fd, (struct sockaddr *)&where, where_length) == -1)
        code = -errno;
    if (code == 0 && listen(fd, ipc_backlog(queue_length)) == -1)
        code = -errno;
    return code < 0 ? ipc_fail(fd, code) : fd;
}

/* 1 if a process has bound the socket at this path, 0 if that process has ended, or -errno. An
 * attempt to connect would not do: a server would take it for a client, and it is refused, as by a
 * dead server, if the queue is full (macOS, the BSDs) or the server is about to listen. So a
 * datagram socket connects. The error is EPROTOTYPE if a socket of another type is bound, and
 * ECONNREFUSED if no socket is bound (Linux' unix_find_bsd, FreeBSD's and XNU's unp_connect check
 * in that order). To another datagram socket the connection lasts for an instant, which that
 * socket does not notice (EPERM: it accepts one other peer only). */
static int ipc_is_bound(const char *address, size_t length)
{
    struct sockaddr_un where;
    socklen_t where_length;
    int code = ipc_fill_address(&where, &where_length, address, length);
    int probe;

    if (code < 0)
        return code;
#if defined(__linux__)
    probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe == -1)
        return -errno;
#else
    probe = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (probe == -1)
        return -errno;
    code = ipc_prepare(probe);
    if (code < 0)
        return ipc_fail(probe, code);
#endif
    code = connect(probe, (struct sockaddr *)&where, where_length) == 0 ? 0 : errno;
    close(probe);
    if (code == 0 || code == EPROTOTYPE || code == EPERM)
        return 1;
    return code == ECONNREFUSED ? 0 : -code;
}

/* listen(2) may be called again to change the length of the queue. */
static int ipc_set_queue_length(int fd, int queue_length)
{
    return listen(fd, ipc_backlog(queue_length)) == -1 ? -errno : 0;
}

static int ipc_accept(int fd)
{
#if defined(__linux__)
    return ipc_lift(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
#else
    int connection = ipc_lift(accept(fd, NULL, NULL));
    int code;
    if (connection < 0)
        return connection;
    code = ipc_prepare(connection);
    return code < 0 ? ipc_fail(connection, code) : connection;
#endif
}

/* A local connect(2) succeeds or fails at once; it is never in progress. The server sees `source`
 * as the client's address; with length 0 the client has no address. */
static int ipc_connect(const char *address, size_t length, const char *source,
                       size_t source_length, int packets)
{
    struct sockaddr_un where, from;
    socklen_t where_length, from_length = 0;
    int code = ipc_fill_address(&where, &where_length, address, length);
    int fd;

    if (code == 0 && source_length > 0)
        code = ipc_fill_address(&from, &from_length, source, source_length);
    if (code < 0)
        return code;
    fd = ipc_socket(packets);
    if (fd < 0)
        return fd;
    if (source_length > 0 && bind(fd, (struct sockaddr *)&from, from_length) == -1)
        return ipc_fail(fd, -errno);
    if (connect(fd, (struct sockaddr *)&where, where_length) == -1)
        return ipc_fail(fd, -errno);
    return fd;
}

/* Sends data[offset:length] as far as the system accepts it without waiting. Returns the number of
 * bytes sent. An error is returned only if no byte was sent, so that a count is never lost; the
 * next call returns the error again. */
static int64_t ipc_send(int fd, const char *data, size_t offset, size_t length)
{
    size_t position = offset;

    if (offset > length || length > INT64_MAX)
        return -EINVAL;
    while (position < length) {
        ssize_t sent = send(fd, data + position, length - position, MSG_NOSIGNAL);
        if (sent >= 0) {
            position += (size_t)sent;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (position > offset)
            break;
        return -errno;
    }
    return (int64_t)(position - offset);
}

/* As ipc_send, for the concatenation of head[0:head_length] and data[0:length]; `offset` counts
 * through both. One system call sends both, so that the head does not wake the other end before the
 * data is there. */
static int64_t ipc_send_two(int fd, const char *head, size_t head_length, const char *data,
                            size_t length, size_t offset)
{
    size_t position = offset;
    int64_t rest;

    if (head_length > INT64_MAX || length > INT64_MAX - head_length
        || offset > head_length + length)
        return -EINVAL;
    if (position < head_length) {
        struct iovec parts[2] = {
            {.iov_base = (char *)head + position, .iov_len = head_length - position},
            {.iov_base = (char *)data, .iov_len = length},
        };
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t sent;

        do
            sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        if (sent < 0)
            return -errno;
        position += (size_t)sent;
        if (position < head_length)
            return (int64_t)(position - offset);
    }
    rest = ipc_send(fd, data, position - head_length, length);
    if (rest < 0)
        return position > offset ? (int64_t)(position - offset) : rest;
    return (int64_t)(position - offset) + rest;
}

/* Sends data[*position:length], and advances *position. The count is stored there, and not
 * returned, because a signal handler's exception discards a returned value; at the end it is
 * `length`, so that nothing is sent twice. `wait`: whether it may wait for room. A signal ends the
 * wait with -EINTR, so that Python's handlers run. With nothing to send, an invalid descriptor is
 * still an error. Returns 0, or -errno. */
static int ipc_send_from(int fd, const char *data, size_t length, size_t *position, int wait)
{
    int flags = MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT);

    if (*position > length)
        return -EINVAL;
    do {
        ssize_t sent = send(fd, data + *position, length - *position, flags);
        if (sent == -1)
            return -errno;
        *position += (size_t)sent;
        /* If a signal ends a send that has accepted some bytes, there is no error. */
        if (wait && *position < length)
            return -EINTR;
    } while (*position < length);
    return 0;
}

/* As ipc_send_from, but *position is 0 again when everything is sent, ready for the next send. */
static int ipc_send_rest(int fd, const char *data, size_t length, size_t *position, int wait)
{
    int code = ipc_send_from(fd, data, length, position, wait);

    if (code == 0)
        *position = 0;
    return code;
}

/* The size of the next packet, or -errno (-EAGAIN: the queue is empty), or IPC_PACKETS_END. For an
 * empty packet recv(2) returns 0, as for the end of the stream; but with SO_PASSCRED every packet
 * has its sender's credentials (unix(7)), and the end has none. */
#define IPC_PACKETS_END INT64_MIN

static int ipc_ask_credentials(int fd)
{
#if defined(SO_PASSCRED)
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == -1 ? -errno : 0;
#else
    (void)fd;
    return -EOPNOTSUPP;
#endif
}

#if defined(SO_PASSCRED)
static int64_t ipc_peek_packet(int fd, int wait)
{
    struct msghdr message;
    union {
        struct cmsghdr aligned;
        /* No room for more: descriptors that the peer sends would be opened in this process. */
        char credentials[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    ssize_t size;

    memset(&message, 0, sizeof(message));
    message.msg_control = control.credentials;
    message.msg_controllen = sizeof(control.credentials);
    size = recvmsg(fd, &message, MSG_PEEK | MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT));
    if (size == -1)
        return -errno;
    return size == 0 && message.msg_controllen == 0 ? IPC_PACKETS_END : (int64_t)size;
}
#endif

static int64_t ipc_next_packet_size(int fd, int wait)
{
#if defined(SO_PASSCRED)
    int64_t size = ipc_peek_packet(fd, wait);

    /* Linux looks for a packet first, and then checks whether the peer has closed. A packet that
     * was sent in between is in the queue, although the end is reported. After the end no packet
     * can come. */
    return size == IPC_PACKETS_END ? ipc_peek_packet(fd, 0) : size;
#else
    (void)fd;
    (void)wait;
    return -EOPNOTSUPP;
#endif
}

/* Sends one packet, as a whole or not at all. */
static int ipc_send_packet(int fd, const char *data, size_t length, int wait)
{
    ssize_t sent = send(fd, data, length, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));

    if (sent == -1)
        return -errno;
    return (size_t)sent == length ? 0 : -EIO;
}

static int ipc_close_half(int fd, int sending)
{
    return shutdown(fd, sending ? SHUT_WR : SHUT_RD) == -1 ? -errno : 0;
}

/* Whether a socket whose peer has closed still has a byte or a packet, perhaps an empty one, to
 * read. */
static int ipc_has_rest(int fd)
{
    char byte;
#if defined(SO_PASSCRED)
    int type = 0;
    socklen_t size = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET) {
        int64_t packet;

        if (ipc_ask_credentials(fd) != 0)
            return 0;
        packet = ipc_next_packet_size(fd, 0);
        if (packet == -ECONNRESET) /* reported once, before the packets that are left */
            packet = ipc_next_packet_size(fd, 0);
        return packet >= 0;
    }
#endif
    return recv(fd, &byte, 1, MSG_PEEK) > 0;
}

/* 1 if the peer has closed its end and left nothing to read: it left before it was accepted. A peer
 * that has only shut down one half is still there. */
static int ipc_peer_left(int fd)
{
    struct pollfd look;

    look.fd = fd;
    look.events = POLLIN;
    look.revents = 0;
    if (poll(&look, 1, 0) == -1)
        return errno == EINTR ? 0 : -errno;
    if (look.revents & POLLNVAL)
        return -EBADF;
    if (!(look.revents & (POLLHUP | POLLERR)))
        return 0;
    if (ipc_has_rest(fd))
        return 0;
#if !defined(__linux__)
    /* On these systems POLLHUP is also set if the peer has only ended its sending half. */
    if (send(fd, "", 0, MSG_NOSIGNAL) == 0)
        return 0;
#endif
    return 1;
}

static int ipc_buffer_size(int fd, int sending)
{
    int value;
    socklen_t size = sizeof(value);

    if (getsockopt(fd, SOL_SOCKET, sending ? SO_SNDBUF : SO_RCVBUF, &value, &size) == -1)
        return -errno;
    return value;
}

/* Linux counts bytes in flight against the sender's buffer only (unix(7)), macOS against the
 * receiver's too. */
static int ipc_set_buffer_size(int fd, int size)
{
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == -1)
        return -errno;
#if !defined(__linux__)
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == -1)
        return -errno;
#endif
    return 0;
}

/* Leaves urgent bytes (send(2) with MSG_OOB, for Unix domain sockets since Linux 5.15) in their
 * place among the others. Out of line they would make poll(2) report something to read, and the
 * read would wait for the bytes after them, beyond any deadline. */
static int ipc_keep_urgent_inline(int fd)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) == -1 ? -errno : 0;
}

/* Two connected sockets, for this process and for a child. The child's socket is in blocking mode,
 * as programs expect of inherited descriptors; it is close-on-exec until it is handed over, so
 * that no other child inherits it. */
static int ipc_pair(int packets, int *fds)
{
    int type = packets ? SOCK_SEQPACKET : SOCK_STREAM;
    int code = 0;

#if defined(__linux__)
    type |= SOCK_CLOEXEC;
#endif
    if (socketpair(AF_UNIX, type, 0, fds) == -1)
        return -errno;
    for (int i = 0; i < 2; i++) {
        fds[i] = ipc_lift(fds[i]);
        if (fds[i] < 0)
            code = fds[i];
    }
#if defined(__linux__)
    if (code == 0 && fcntl(fds[0], F_SETFL, O_RDWR | O_NONBLOCK) == -1)
        code = -errno;
#else
    if (code == 0)
        code = ipc_prepare(fds[1]);
    if (code == 0 && fcntl(fds[1], F_SETFL, O_RDWR) == -1)
        code = -errno;
    if (code == 0)
        code = ipc_prepare(fds[0]);
#endif
    for (int i = 0; i < 2 && code != 0; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return code;
}

/* write(2) to a pipe whose reader has closed raises SIGPIPE, and there is no MSG_NOSIGNAL for
 * pipes. Python ignores that signal unless the program changes it, and a library must not let it
 * kill the program. So this thread blocks the signal meanwhile, and consumes it if this write has
 * raised it. */
#if defined(F_SETNOSIGPIPE)
static ssize_t ipc_write_quietly(int fd, const char *data, size_t length)
{
    ssize_t written;

    /* macOS sends it to the process, where any thread can receive it; but it can be turned off for
     * the pipe. */
    if (fcntl(fd, F_SETNOSIGPIPE, 1) == -1)
        return -errno;
    written = write(fd, data, length);
    return written == -1 ? -errno : written;
}
#else
static ssize_t ipc_write_quietly(int fd, const char *data, size_t length)
{
    sigset_t pipe_signal, before, pending;
    ssize_t written;
    int code, is_older;

    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    code = pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    if (code != 0)
        return -code;
    /* A signal that is pending because the program blocks it must stay pending. */
    is_older = sigismember(&before, SIGPIPE) == 1 && sigpending(&pending) == 0
               && sigismember(&pending, SIGPIPE) == 1;
    written = write(fd, data, length);
    if (written == -1)
        written = -errno;
    if (written == -EPIPE && !is_older) {
        int signal_number;
        /* Pending for this thread, so that no other thread can take it and sigwait returns at
         * once. */
        if (sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE))
            sigwait(&pipe_signal, &signal_number);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return written;
}
#endif

/* Does what ipc_send does, for a pipe. */
static int64_t ipc_write(int fd, const char *data, size_t offset, size_t length)
{
    size_t position = offset;

    if (offset > length || length > INT64_MAX)
        return -EINVAL;
    while (position < length) {
        ssize_t written = ipc_write_quietly(fd, data + position, length - position);
        if (written >= 0)
            position += (size_t)written;
        else if (written != -EINTR)
            return position > offset ? (int64_t)(position - offset) : (int64_t)written;
    }
    return (int64_t)(position - offset);
}

/* Does what ipc_send_rest does without waiting, for a pipe in non-blocking mode. */
static int ipc_write_rest(int fd, const char *data, size_t length, size_t *position)
{
    if (*position > length)
        return -EINVAL;
    do {
        ssize_t written = ipc_write_quietly(fd, data + *position, length - *position);
        if (written < 0)
            return (int)written;
        *position += (size_t)written;
    } while (*position < length);
    *position = 0;
    return 0;
}
