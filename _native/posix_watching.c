/* A descriptor that is readable when a listening socket is, and also from time to time: an epoll(7)
 * with the socket and a timerfd_create(2). The rules are those of posix.c. */

#if defined(__linux__)
#include <sys/epoll.h>
#include <sys/timerfd.h>
#endif

/* Opens the epoll and the timer, which expires every `milliseconds`, and stores both in `numbers`.
 * Returns 0, or -errno; then both are -1. */
static int ipc_open_watch(int fd, int milliseconds, int *numbers)
{
#if defined(__linux__)
    struct timespec period = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    struct itimerspec timing = {.it_interval = period, .it_value = period};
    struct epoll_event readable = {.events = EPOLLIN};
    int epoll, timer, code;

    numbers[0] = numbers[1] = -1;
    if (milliseconds < 1)
        return -EINVAL;
    epoll = ipc_lift(epoll_create1(EPOLL_CLOEXEC));
    if (epoll < 0)
        return epoll;
    timer = ipc_lift(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    if (timer < 0)
        return ipc_fail(epoll, timer);
    if (timerfd_settime(timer, 0, &timing, NULL) == -1
        || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &readable) == -1
        || epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &readable) == -1) {
        code = -errno;
        close(timer);
        return ipc_fail(epoll, code);
    }
    numbers[0] = epoll;
    numbers[1] = timer;
    return 0;
#else
    (void)fd, (void)milliseconds;
    numbers[0] = numbers[1] = -1;
    return -ENOSYS;
#endif
}

/* Returns 1 if the timer has expired since the last call; otherwise 0, or -errno. */
static int ipc_has_expired(int timer)
{
    uint64_t count;

    if (read(timer, &count, sizeof(count)) == sizeof(count))
        return 1;
    return errno == EAGAIN ? 0 : -errno;
}
