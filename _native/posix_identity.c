/* The identity of the peer of a Unix domain socket.
 *
 * The rules of posix.c apply here too.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* struct ucred */
#endif

#include <errno.h>
#include <fcntl.h>
#if defined(__linux__)
#include <linux/capability.h>
#include <linux/magic.h>
#endif
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <sys/vfs.h>
#endif
#include <sys/types.h>
#include <sys/un.h>
#if defined(__APPLE__) || defined(__FreeBSD__)
#include <sys/ucred.h>
#endif
#include <unistd.h>

#if defined(__linux__)
/* asm-generic/socket.h; the library's headers may be older than the kernel. */
#if !defined(SO_PEERGROUPS)
#define SO_PEERGROUPS 59
#endif
#if !defined(SO_PEERPIDFD)
#define SO_PEERPIDFD 77
#endif
/* The number is the same on every architecture except Alpha, where the call returns -ENOSYS. */
#if !defined(SYS_openat2) && !defined(__alpha__)
#define SYS_openat2 437
#endif
#endif

typedef struct {
    int32_t pid; /* -1 where the system does not tell it */
    uint32_t uid;
    uint32_t gid;
} ipc_credentials;

/* The credentials of the peer when it called connect(2) or listen(2):
 * Linux SO_PEERCRED (unix(7)), macOS LOCAL_PEERCRED and LOCAL_PEERPID. */
static int ipc_peer_credentials(int fd, ipc_credentials *credentials)
{
#if defined(__linux__)
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == -1)
        return -errno;
    credentials->pid = peer.pid;
    credentials->uid = peer.uid;
    credentials->gid = peer.gid;
#else
    uid_t uid;
    gid_t gid;

    if (getpeereid(fd, &uid, &gid) == -1)
        return -errno;
    credentials->pid = -1;
    credentials->uid = uid;
    credentials->gid = gid;
#if defined(LOCAL_PEERPID)
    {
        pid_t pid;
        socklen_t size = sizeof(pid);
        if (getsockopt(fd, SOL_LOCAL, LOCAL_PEERPID, &pid, &size) == 0)
            credentials->pid = pid;
    }
#endif
#endif
    return 0;
}

/* The supplementary groups of the peer when it called connect(2) or listen(2): Linux SO_PEERGROUPS
 * (socket(7), 4.13), macOS and FreeBSD in the xucred of LOCAL_PEERCRED. Returns their number; if it is
 * more than `size`, `groups` is not filled. */
static int ipc_peer_groups(int fd, uint32_t *groups, int size)
{
    if (size < 0)
        return -EINVAL;
#if defined(__linux__)
    {
        socklen_t length = (socklen_t)((size_t)size * sizeof(gid_t));

        _Static_assert(sizeof(gid_t) == sizeof(groups[0]), "a group is a number of 32 bits");
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) == -1 && errno != ERANGE)
            return -errno;
        return (int)(length / sizeof(gid_t));
    }
#elif defined(LOCAL_PEERCRED)
    {
        struct xucred peer;
        socklen_t length = sizeof(peer);
        int i;

        if (getsockopt(fd, SOL_LOCAL, LOCAL_PEERCRED, &peer, &length) == -1)
            return -errno;
        if (peer.cr_version != XUCRED_VERSION)
            return -EINVAL;
        for (i = 0; i < peer.cr_ngroups && i < size; i++)
            groups[i] = peer.cr_groups[i];
        return peer.cr_ngroups;
    }
#else
    (void)fd;
    (void)groups;
    return -ENOTSUP;
#endif
}

/* A pidfd of the peer (Linux 6.5), or -errno. */
static int ipc_peer_pidfd(int fd)
{
#if defined(__linux__)
    int pidfd;
    socklen_t size = sizeof(pidfd);

    return getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == -1 ? -errno : ipc_lift(pidfd);
#else
    (void)fd;
    return -ENOTSUP;
#endif
}

/* The address that the peer connected from, as far as it fits. Returns its length, 0 for none. */
static int ipc_peer_address(int fd, char *address, size_t size)
{
    struct sockaddr_un peer;
    socklen_t length = sizeof(peer);
    size_t named;

    if (getpeername(fd, (struct sockaddr *)&peer, &length) == -1)
        return -errno;
    if (length > sizeof(peer))
        length = sizeof(peer);
    named = length > offsetof(struct sockaddr_un, sun_path)
                ? length - offsetof(struct sockaddr_un, sun_path)
                : 0;
    if (named > size)
        named = size;
    memcpy(address, peer.sun_path, named);
    return (int)named;
}

/* Drops the capabilities of the calling thread permanently. */
static int ipc_drop_capabilities(void)
{
#if defined(__linux__)
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

    memset(none, 0, sizeof(none));
    return syscall(SYS_capset, &header, none) == -1 ? -errno : 0;
#else
    return -ENOTSUP;
#endif
}

/* Makes only the calling thread act as another user, permanently. It uses the raw system calls,
 * because the functions of the C library change all threads (nptl(7)). The real and saved ids change
 * too, so that the thread cannot change back, and access(2) and started programs see the new user.
 * The kernel drops capabilities only if the user id was 0 (capabilities(7), "Effect of user ID changes
 * on capabilities"), so they are dropped here. After an error the identity of the thread is undefined:
 * it must end. */
static int ipc_become_user(uint32_t uid, uint32_t gid, const uint32_t *groups, size_t count)
{
#if defined(__linux__)
#if defined(SYS_setresuid32)
    const long set_groups = SYS_setgroups32, set_gid = SYS_setresgid32, set_uid = SYS_setresuid32;
#else
    const long set_groups = SYS_setgroups, set_gid = SYS_setresgid, set_uid = SYS_setresuid;
#endif
    /* -1 would leave an id unchanged (setresuid(2)). */
    if (uid == UINT32_MAX || gid == UINT32_MAX)
        return -EINVAL;
    if (syscall(set_groups, count, groups) == -1 || syscall(set_gid, gid, gid, gid) == -1
        || syscall(set_uid, uid, uid, uid) == -1)
        return -errno;
    return uid == 0 ? 0 : ipc_drop_capabilities();
#else
    (void)uid;
    (void)gid;
    (void)groups;
    (void)count;
    return -ENOTSUP;
#endif
}

/* Opens a file as open(2) does, close-on-exec, without following a magic link (a link of procfs that
 * leads to an object instead of a path, symlink(7)): openat2(2), Linux 5.6. Returns -ENOSYS if the
 * kernel does not have it; a sandbox that does not know the call may return -EPERM instead. */
static int ipc_open_without_magic_links(const char *path, int flags, uint32_t mode)
{
#if defined(SYS_openat2)
    /* linux/openat2.h; older systems have no such header. */
    struct {
        uint64_t flags, mode, resolve;
    } how;
    const uint64_t resolve_no_magiclinks = 0x02;
    long fd;

    memset(&how, 0, sizeof(how));
    how.flags = (uint32_t)(flags | O_CLOEXEC | O_LARGEFILE);
    /* openat2(2) refuses a mode if no file is created. */
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
        how.mode = mode;
    how.resolve = resolve_no_magiclinks;
    fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
    return fd == -1 ? -errno : (int)fd;
#else
    (void)path;
    (void)flags;
    (void)mode;
    return -ENOSYS;
#endif
}

/* Whether an open file belongs to procfs: 1 or 0, or -errno. */
static int ipc_is_of_procfs(int fd)
{
#if defined(__linux__)
    struct statfs found;

    if (fstatfs(fd, &found) == -1)
        return -errno;
    return found.f_type == PROC_SUPER_MAGIC;
#else
    (void)fd;
    return 0;
#endif
}
