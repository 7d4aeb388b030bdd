/* Messages behind their length, as framing.c writes it, over Unix domain sockets. The rules are those
 * of posix.c. */

#define IPC_SMALL 2048

/* Sends a length and then the message, in one system call if possible. *position counts the bytes of
 * both that were sent; it is 0 again when everything is sent. Otherwise the rules are those of
 * ipc_send_from. */
static int ipc_send_message(int fd, const char *data, size_t length, int width, int big_endian,
                            size_t *position, int wait)
{
    unsigned char head[8];
    size_t prefix = (size_t)width, rest;
    int code = 0;

    if (!ipc_is_width(width) || length > INT64_MAX - sizeof(head) || *position > prefix + length)
        return -EINVAL;
    if (width < 8 && length >> (8 * width) != 0)
        return -EMSGSIZE;
    ipc_put_length(head, length, width, big_endian);
    if (*position == 0 && length <= IPC_SMALL) {
        /* To copy a small message takes less time than sendmsg(2) takes longer than send(2). */
        char whole[sizeof(head) + IPC_SMALL];
        ssize_t sent;

        memcpy(whole, head, prefix);
        if (length > 0)
            memcpy(whole + prefix, data, length);
        sent = send(fd, whole, prefix + length, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
        if (sent == -1)
            return -errno;
        *position = (size_t)sent;
        if (wait && *position < prefix + length)
            return -EINTR;
    }
    while (*position < prefix) {
        struct iovec parts[2] = {
            {.iov_base = head + *position, .iov_len = prefix - *position},
            {.iov_base = (char *)data, .iov_len = length},
        };
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));

        if (sent == -1)
            return -errno;
        *position += (size_t)sent;
        if (wait && *position < prefix + length)
            return -EINTR;
    }
    rest = *position - prefix;
    if (rest < length)
        code = ipc_send_from(fd, data, length, &rest, wait);
    *position = code == 0 ? 0 : prefix + rest;
    return code;
}
