/* Starts a program as vfork(2) and execve(2) do. The rules of posix.c apply here too.
 *
 * The child uses the memory of this process, and the calling thread stands still until the child has
 * begun the new program or has ended. So the child calls only functions that signal handlers may
 * call, and writes only to its own variables and to `code`. All signals are blocked in the child
 * until it has removed every handler: a handler that ran there would act on this process' memory.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* clone */
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* On the other architectures clone(2) differs, or the stack grows upwards. */
#if defined(__linux__) && !defined(__ia64__) && !defined(__hppa__)
#define IPC_CAN_SPAWN
#include <sched.h>
#include <sys/syscall.h>
#ifndef SYS_close_range
#define SYS_close_range 436 /* Linux 5.9, the same number on every architecture */
#endif
#ifndef O_LARGEFILE
#define O_LARGEFILE 0
#endif

typedef struct {
    char **programs; /* the places where the program may be; NULL at the end, as in the next two */
    char **words;
    char **variables;
    const char *directory; /* NULL: that of this process */
    const int *standard;   /* the descriptors of the three standard streams; -1: inherited */
    const int *kept;       /* the other descriptors that the program has, in rising order */
    size_t kept_count;
    int new_session;
    sigset_t mask; /* the signals that are blocked when the program begins */
    int code;      /* why the program could not be begun: -errno */
} ipc_program;

/* What ipc_begin needs: a few KiB for the kernel's structures in sigaction(2). */
#define IPC_STACK_SIZE 16384

/* The program would have to be read from a disk, or the disk is on a network and has to be asked:
 * -EAGAIN. 0 if its beginning is in the page cache, or if its file system does not tell. -errno if it
 * cannot be opened. The interpreter of a script is not looked at. */
static int ipc_is_cached(const ipc_program *program)
{
#if defined(SYS_openat2) && defined(SYS_preadv2)
    /* linux/openat2.h; older systems have no such header. RESOLVE_CACHED: Linux 5.12. */
    struct {
        uint64_t flags, mode, resolve;
    } how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .mode = 0, .resolve = 0x20};
    const int rwf_nowait = 0x08; /* Linux 4.14 */
    int folder = AT_FDCWD;
    int code = -ENOENT;

    if (program->directory != NULL) {
        folder = (int)syscall(SYS_openat2, AT_FDCWD, program->directory, &how, sizeof(how));
        if (folder == -1)
            return -errno;
    }
    how.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | O_LARGEFILE;
    for (char **place = program->programs; *place != NULL; place++) {
        int fd = (int)syscall(SYS_openat2, folder, *place, &how, sizeof(how));
        if (fd != -1) {
            char first;
            struct iovec part = {.iov_base = &first, .iov_len = 1};
            /* Not every C library has preadv2(2). The two zeros are the offset. */
            long count = syscall(SYS_preadv2, fd, &part, 1UL, 0UL, 0UL, rwf_nowait);
            code = count != -1 || errno == EOPNOTSUPP ? 0 : -errno;
            close(fd);
            break;
        }
        code = -errno;
        if (code != -ENOENT && code != -ENOTDIR)
            break;
    }
    if (folder != AT_FDCWD)
        close(folder);
    return code;
#else
    (void)program;
    return -ENOSYS;
#endif
}

/* Points at each of the next `count` strings, and adds a NULL. Returns where the next string begins;
 * NULL if the text has fewer of them. */
static char *ipc_point_at(char *from, const char *end, size_t count, char **pointers)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strnlen(from, (size_t)(end - from));
        if (from + length == end)
            return NULL;
        pointers[i] = from;
        from += length + 1;
    }
    pointers[count] = NULL;
    return from;
}

/* Closes all descriptors from 3 on but the kept ones. */
static int ipc_close_others(const int *kept, size_t count)
{
    unsigned int first = STDERR_FILENO + 1;

    for (size_t i = 0; i <= count; i++) {
        unsigned int end = i < count ? (unsigned int)kept[i] : UINT_MAX;
        if (first < end && syscall(SYS_close_range, first, i < count ? end - 1 : end, 0) == -1)
            return -errno;
        first = end + 1;
    }
    return 0;
}

/* Restores the default action of each signal that this process handles, and of those that Python
 * ignores on its own account, as restore_signals=True does. */
static void ipc_reset_signals(const sigset_t *mask)
{
    struct sigaction found, initial;

    memset(&initial, 0, sizeof(initial));
    initial.sa_handler = SIG_DFL;
    sigemptyset(&initial.sa_mask);
    sigaction(SIGPIPE, &initial, NULL);
    sigaction(SIGXFSZ, &initial, NULL);
    for (int number = 1; number < NSIG; number++)
        if (sigaction(number, NULL, &found) == 0 && found.sa_handler != SIG_DFL
            && found.sa_handler != SIG_IGN)
            sigaction(number, &initial, NULL);
    pthread_sigmask(SIG_SETMASK, mask, NULL);
}

/* In the child. Returns -errno if the program cannot be begun; otherwise it does not return. */
static int ipc_begin(const ipc_program *program)
{
    int code;

    for (int number = 0; number <= STDERR_FILENO; number++)
        if (program->standard[number] != -1 && dup2(program->standard[number], number) == -1)
            return -errno;
    for (size_t i = 0; i < program->kept_count; i++)
        if (fcntl(program->kept[i], F_SETFD, 0) == -1)
            return -errno;
    if (program->directory != NULL && chdir(program->directory) == -1)
        return -errno;
    ipc_reset_signals(&program->mask);
    if (program->new_session && setsid() == -1)
        return -errno;
    code = ipc_close_others(program->kept, program->kept_count);
    if (code < 0)
        return code;
    for (char **place = program->programs; *place != NULL; place++)
        execve(*place, program->words, program->variables);
    return -errno;
}

static int ipc_child(void *program)
{
    /* volatile: the compiler does not know that this process goes on to read it. */
    *(volatile int *)&((ipc_program *)program)->code = ipc_begin(program);
    _exit(127);
}
#endif

/* Whether ipc_spawn can work here: 0, or -errno. Linux has close_range since 5.9, and a sandbox can
 * refuse it. */
static int ipc_can_spawn(void)
{
#if defined(IPC_CAN_SPAWN)
    /* No descriptor has this number. */
    return syscall(SYS_close_range, UINT_MAX, UINT_MAX, 0) == -1 ? -errno : 0;
#else
    return -ENOSYS;
#endif
}

/* Starts a program. `text` has `programs` places of the program, of which the first that can be
 * begun is taken, `words` arguments and `variables` of the environment, each with a NUL at its end.
 * `pointers` has room for them and 3 more. `directory` can be NULL. The other descriptors of the
 * child are the three in `standard` (-1: that of this process), and those in `kept`, in rising
 * order; all of these are 3 or more. With `only_cached`, nothing is started, and the result is
 * -EAGAIN, if this thread would have to wait until the program is read from a disk.
 *
 * *pid is written before the function returns, so that a child is not lost if a signal handler
 * raises before the result is stored; it stays as it is if this fails. Then no child is left. */
static int ipc_spawn(const char *text, size_t length, size_t programs, size_t words,
                     size_t variables, char **pointers, size_t room, const char *directory,
                     const int *standard, const int *kept, size_t kept_count, int new_session,
                     int only_cached, int *pid)
{
#if !defined(IPC_CAN_SPAWN)
    return -ENOSYS;
#else
    ipc_program program = {.directory = directory,
                           .standard = standard,
                           .kept = kept,
                           .kept_count = kept_count,
                           .new_session = new_session,
                           .code = 0};
    char stack[IPC_STACK_SIZE] __attribute__((aligned(16)));
    const char *end = text + length;
    char *next = (char *)text;
    sigset_t all;
    int child, code;

    if (programs < 1 || words < 1 || room < 3 || programs > room - 3 || words > room - 3 - programs
        || variables > room - 3 - programs - words)
        return -EINVAL;
    for (int i = 0; i <= STDERR_FILENO; i++)
        if (standard[i] != -1 && standard[i] <= STDERR_FILENO)
            return -EINVAL;
    for (size_t i = 0; i < kept_count; i++)
        if (kept[i] <= (i == 0 ? STDERR_FILENO : kept[i - 1]))
            return -EINVAL;
    program.programs = pointers;
    program.words = program.programs + programs + 1;
    program.variables = program.words + words + 1;
    next = ipc_point_at(next, end, programs, program.programs);
    if (next != NULL)
        next = ipc_point_at(next, end, words, program.words);
    if (next != NULL)
        next = ipc_point_at(next, end, variables, program.variables);
    if (next != end)
        return -EINVAL; /* a string contains a NUL, for example */
    code = only_cached ? ipc_is_cached(&program) : 0;
    if (code < 0)
        return code;

    sigfillset(&all);
    code = pthread_sigmask(SIG_BLOCK, &all, &program.mask);
    if (code != 0)
        return -code;
    /* vfork(2) in a form that a C function can call safely, with a stack for the child. */
    child = clone(ipc_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &program);
    code = child == -1 ? -errno : *(volatile int *)&program.code;
    pthread_sigmask(SIG_SETMASK, &program.mask, NULL);
    if (child == -1)
        return code;
    if (code != 0) {
        while (waitpid(child, NULL, 0) == -1 && errno == EINTR)
            ;
        return code;
    }
    *pid = child;
    return 0;
#endif
}
