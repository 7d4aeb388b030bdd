/* Windows named pipes for ipcpipes.
 *
 * Rules of this file: no Python, no global state; every function that can fail
 * returns 0 or a code of winerror.h; one that opens a handle returns the handle,
 * or minus the code; a handle that is not returned is closed.
 * Handles are overlapped, and not inheritable. It compiles with mingw and MSVC.
 */
#ifndef UNICODE
#define UNICODE
#endif
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0602 /* Windows 8 */
#endif
#include <stdint.h>
#include <string.h>
#include <windows.h>
#include <sddl.h>
#include <winternl.h>

#ifndef PIPE_REJECT_REMOTE_CLIENTS
#define PIPE_REJECT_REMOTE_CLIENTS 0x00000008
#endif

typedef struct {
    OVERLAPPED overlapped;
} ipc_operation;

/* ntstatus.h: what GetOverlappedResult turns into ERROR_NO_DATA. */
#define IPC_STATUS_PIPE_CLOSING 0xC00000B1u

#define IPC_SENDS 1
#define IPC_RECEIVES 2

/* What a function that opens something returns: the handle, or minus the error code. A handle is
 * returned and not stored, so that the caller can keep it in the step that makes the call. */
static intptr_t ipc_opened(HANDLE handle, DWORD error)
{
    return error == 0 ? (intptr_t)handle : -(intptr_t)error;
}

static intptr_t ipc_create_instance(const uint16_t *name, int first, int direction,
                                    uint32_t max_instances, uint32_t buffer_size,
                                    const uint16_t *sddl, int remote, int messages)
{
    DWORD mode = messages ? PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE
                          : PIPE_TYPE_BYTE | PIPE_READMODE_BYTE;
    SECURITY_ATTRIBUTES attributes;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    DWORD open_mode = FILE_FLAG_OVERLAPPED;
    DWORD error = 0;
    HANDLE instance;

    if (max_instances < 1 || max_instances > PIPE_UNLIMITED_INSTANCES)
        return ipc_opened(NULL, ERROR_INVALID_PARAMETER);
    if (direction & IPC_SENDS)
        open_mode |= PIPE_ACCESS_OUTBOUND;
    if (direction & IPC_RECEIVES)
        open_mode |= PIPE_ACCESS_INBOUND;
    if (first)
        open_mode |= FILE_FLAG_FIRST_PIPE_INSTANCE;
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW((LPCWSTR)sddl, SDDL_REVISION_1,
                                                              &descriptor, NULL))
        return ipc_opened(NULL, GetLastError());
    attributes.nLength = sizeof(attributes);
    attributes.lpSecurityDescriptor = descriptor;
    attributes.bInheritHandle = FALSE;
    instance = CreateNamedPipeW((LPCWSTR)name, open_mode,
                                mode | PIPE_WAIT | (remote ? 0 : PIPE_REJECT_REMOTE_CLIENTS),
                                max_instances,
                                buffer_size, buffer_size, 0, &attributes);
    if (instance == INVALID_HANDLE_VALUE)
        error = GetLastError();
    LocalFree(descriptor);
    return ipc_opened(instance, error);
}

/* Begins to wait for a client. The event is set when one has connected; its lowest
 * bit keeps the result away from any completion port (GetQueuedCompletionStatus,
 * Remarks). If the system refuses, for example because a client has connected before,
 * and may have closed again, it uses neither the operation nor the event, so both are
 * set here: the result is always in the operation, which is never left pending. */
static uint32_t ipc_begin_connect(intptr_t handle, ipc_operation *operation, intptr_t event)
{
    DWORD error;

    memset(operation, 0, sizeof(*operation));
    operation->overlapped.hEvent = (HANDLE)(event | 1);
    if (ConnectNamedPipe((HANDLE)handle, &operation->overlapped))
        return 0;
    error = GetLastError();
    if (error == ERROR_IO_PENDING)
        return 0;
    operation->overlapped.Internal = error == ERROR_PIPE_CONNECTED ? 0 : IPC_STATUS_PIPE_CLOSING;
    if (error != ERROR_PIPE_CONNECTED && error != ERROR_NO_DATA)
        return error;
    return SetEvent((HANDLE)event) ? 0 : GetLastError();
}

/* Returns ERROR_IO_INCOMPLETE until a client has connected. */
static uint32_t ipc_connect_result(intptr_t handle, ipc_operation *operation)
{
    DWORD ignored;

    if (GetOverlappedResult((HANDLE)handle, &operation->overlapped, &ignored, FALSE))
        return 0;
    return GetLastError();
}

/* The kernel may write to the operation until it is done with it, so the
 * operation may be freed only after this has returned. In an operation of zeros,
 * no wait for a client is pending. */
static void ipc_close_instance(ipc_operation *operation, intptr_t handle)
{
    CancelIoEx((HANDLE)handle, &operation->overlapped);
    CloseHandle((HANDLE)handle);
    while (!HasOverlappedIoCompleted(&operation->overlapped))
        SwitchToThread();
}

/* `level` (SECURITY_IMPERSONATION_LEVEL) limits what the server may do in our name: without
 * SECURITY_SQOS_PRESENT it could act as us (CreateFileW, "Security and Access Rights"). */
static intptr_t ipc_open(const uint16_t *name, int direction, int messages, int level)
{
    DWORD access = 0, mode = PIPE_READMODE_MESSAGE, tracking = 0, error;
    HANDLE opened;

    if (level < SecurityAnonymous || level > SecurityDelegation)
        return ipc_opened(NULL, ERROR_INVALID_PARAMETER);

    if (direction & IPC_SENDS)
        access |= GENERIC_WRITE;
    if (direction & IPC_RECEIVES)
        access |= GENERIC_READ;
    /* With dynamic tracking, a server that may act as us gets our token with the first bytes that we
     * send, not with the connection: so we can check the server first. */
    if (level >= SecurityImpersonation)
        tracking = SECURITY_CONTEXT_TRACKING;
    opened = CreateFileW((LPCWSTR)name, access, 0, NULL, OPEN_EXISTING,
                         FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | tracking
                             | ((DWORD)level << 16),
                         NULL);
    if (opened == INVALID_HANDLE_VALUE)
        return ipc_opened(NULL, GetLastError());
    if (GetFileType(opened) != FILE_TYPE_PIPE) {
        CloseHandle(opened);
        return ipc_opened(NULL, ERROR_BAD_PIPE);
    }
    /* ERROR_INVALID_PARAMETER: it is a byte-type pipe. */
    if (messages && !SetNamedPipeHandleState(opened, &mode, NULL, NULL)) {
        error = GetLastError();
        CloseHandle(opened);
        return ipc_opened(NULL, error);
    }
    return ipc_opened(opened, 0);
}

/* Returns 0 if a completion packet will arrive. One also arrives for an immediate
 * result, because FILE_SKIP_COMPLETION_PORT_ON_SUCCESS is never set. */
static uint32_t ipc_begun(BOOL done)
{
    DWORD error;

    if (done)
        return 0;
    error = GetLastError();
    return error == ERROR_IO_PENDING || error == ERROR_MORE_DATA ? 0 : error;
}

static uint32_t ipc_begin_read(intptr_t handle, ipc_operation *operation, char *buffer,
                               uint32_t size)
{
    memset(operation, 0, sizeof(*operation));
    return ipc_begun(ReadFile((HANDLE)handle, buffer, size, NULL, &operation->overlapped));
}

static uint32_t ipc_begin_write(intptr_t handle, ipc_operation *operation, const char *data,
                                uint32_t size)
{
    memset(operation, 0, sizeof(*operation));
    return ipc_begun(WriteFile((HANDLE)handle, data, size, NULL, &operation->overlapped));
}

/* Returns the result of a finished operation. */
static uint32_t ipc_outcome(HANDLE handle, ipc_operation *operation)
{
    DWORD ignored;

    return GetOverlappedResult(handle, &operation->overlapped, &ignored, TRUE) ? 0
                                                                               : GetLastError();
}

/* Cancels an operation of ipc_transfer that may be pending, and waits until the system is done with
 * it. Returns its result, because it may have finished before. For an operation that was not begun or
 * failed at once, returns ERROR_OPERATION_ABORTED. */
static uint32_t ipc_abandon(intptr_t handle, ipc_operation *operation)
{
    if (operation->overlapped.hEvent == NULL)
        return ERROR_OPERATION_ABORTED;
    if (!HasOverlappedIoCompleted(&operation->overlapped))
        CancelIoEx((HANDLE)handle, &operation->overlapped);
    return ipc_outcome((HANDLE)handle, operation);
}

/* Waits for an operation of ipc_transfer. Returns its result, or WAIT_TIMEOUT if it is still pending
 * after so many milliseconds. If the event `closing` is set, the operation is cancelled
 * (ERROR_OPERATION_ABORTED, unless it has finished before). */
static uint32_t ipc_await(intptr_t handle, ipc_operation *operation, intptr_t closing,
                          uint32_t milliseconds)
{
    HANDLE events[2];
    DWORD found;

    events[0] = (HANDLE)((intptr_t)operation->overlapped.hEvent & ~(intptr_t)1);
    events[1] = (HANDLE)closing;
    found = WaitForMultipleObjects(2, events, FALSE, milliseconds);
    if (found == WAIT_OBJECT_0)
        return ipc_outcome((HANDLE)handle, operation);
    if (found == WAIT_TIMEOUT)
        return WAIT_TIMEOUT;
    return ipc_abandon(handle, operation);
}

/* Reads or writes, and waits as ipc_await does. No other operation uses `event`; its lowest bit keeps
 * the result away from a completion port that other code may have bound the pipe to
 * (GetQueuedCompletionStatus, Remarks). After WAIT_TIMEOUT, ipc_await or ipc_abandon must follow;
 * after any other result the memory may be freed. */
static uint32_t ipc_transfer(intptr_t handle, ipc_operation *operation, char *data, uint32_t size,
                             int writing, intptr_t event, intptr_t closing, uint32_t milliseconds)
{
    BOOL done;
    DWORD error;

    memset(operation, 0, sizeof(*operation));
    operation->overlapped.hEvent = (HANDLE)(event | 1);
    if (writing)
        done = WriteFile((HANDLE)handle, data, size, NULL, &operation->overlapped);
    else
        done = ReadFile((HANDLE)handle, data, size, NULL, &operation->overlapped);
    if (done)
        return 0;
    error = GetLastError();
    if (error == ERROR_IO_PENDING)
        return ipc_await(handle, operation, closing, milliseconds);
    if (error != ERROR_MORE_DATA)
        operation->overlapped.hEvent = NULL; /* there is nothing to wait for or to cancel */
    return error;
}

/* Returns 0 when the event is set, or WAIT_TIMEOUT after so many milliseconds. */
static uint32_t ipc_wait_event(intptr_t event, uint32_t milliseconds)
{
    DWORD found = WaitForSingleObject((HANDLE)event, milliseconds);

    return found == WAIT_FAILED ? GetLastError() : found;
}

/* Cancels all pending operations of the handle. */
static void ipc_cancel(intptr_t handle)
{
    CancelIoEx((HANDLE)handle, NULL);
}

static uint32_t ipc_transferred(const ipc_operation *operation)
{
    return (uint32_t)operation->overlapped.InternalHigh;
}

static intptr_t ipc_operation_address(ipc_operation *operation)
{
    return (intptr_t)&operation->overlapped;
}

/* Returns 0 while the client is connected or has left something to read, and
 * ERROR_BROKEN_PIPE afterwards. */
static uint32_t ipc_peek(intptr_t handle)
{
    DWORD available;

    return PeekNamedPipe((HANDLE)handle, NULL, 0, NULL, &available, NULL) ? 0 : GetLastError();
}

/* Reads the size of the next message, or of the rest of a message that was read in part; 0 if
 * no message is waiting. */
static uint32_t ipc_message_rest(intptr_t handle, uint32_t *rest)
{
    DWORD left;

    if (!PeekNamedPipe((HANDLE)handle, NULL, 0, NULL, NULL, &left))
        return GetLastError();
    *rest = left;
    return 0;
}

static uint32_t ipc_close(intptr_t handle)
{
    return CloseHandle((HANDLE)handle) ? 0 : GetLastError();
}

static intptr_t ipc_create_event(void)
{
    HANDLE created = CreateEventW(NULL, TRUE, FALSE, NULL);

    return ipc_opened(created, created == NULL ? GetLastError() : 0);
}

static uint32_t ipc_set_event(intptr_t event, int signalled)
{
    BOOL done = signalled ? SetEvent((HANDLE)event) : ResetEvent((HANDLE)event);
    return done ? 0 : GetLastError();
}

static uint32_t ipc_buffer_sizes(intptr_t handle, uint32_t *out_size, uint32_t *in_size)
{
    DWORD out_bytes, in_bytes;

    if (!GetNamedPipeInfo((HANDLE)handle, NULL, &out_bytes, &in_bytes, NULL))
        return GetLastError();
    *out_size = out_bytes;
    *in_size = in_bytes;
    return 0;
}

static uint32_t ipc_pipe_flags(intptr_t handle, uint32_t *flags, uint32_t *max_instances)
{
    DWORD found, limit;

    if (!GetNamedPipeInfo((HANDLE)handle, &found, NULL, NULL, &limit))
        return GetLastError();
    *flags = found;
    *max_instances = limit;
    return 0;
}

/* Returns whether the handle is open and belongs to a pipe (or a socket). */
static int ipc_is_pipe(intptr_t handle)
{
    return GetFileType((HANDLE)handle) == FILE_TYPE_PIPE;
}

/* Some facts are available only from native calls; their library is loaded in every process. */
typedef void (*ipc_function)(void);

static ipc_function ipc_native_call(const char *name)
{
    HMODULE library = GetModuleHandleW(L"ntdll.dll");

    return library == NULL ? NULL : (ipc_function)GetProcAddress(library, name);
}

/* Returns what the handle may be used for: IPC_SENDS, IPC_RECEIVES, both or nothing. */
static int ipc_directions(intptr_t handle)
{
    typedef NTSTATUS(NTAPI * query)(HANDLE, int, void *, ULONG, ULONG *);
    query ask = (query)ipc_native_call("NtQueryObject");
    const int object_basic_information = 0;
    PUBLIC_OBJECT_BASIC_INFORMATION found;

    if (ask == NULL
        || ask((HANDLE)handle, object_basic_information, &found, sizeof(found), NULL) < 0)
        return 0;
    return (found.GrantedAccess & FILE_WRITE_DATA ? IPC_SENDS : 0)
           | (found.GrantedAccess & FILE_READ_DATA ? IPC_RECEIVES : 0);
}

/* Returns whether the handle was opened without FILE_FLAG_OVERLAPPED, as by CreatePipe. Such a handle
 * cannot be bound to a completion port, and each operation on it blocks, and blocks all others
 * (ntifs.h, FileModeInformation). */
static int ipc_is_synchronous(intptr_t handle)
{
    typedef NTSTATUS(NTAPI * query)(HANDLE, IO_STATUS_BLOCK *, void *, ULONG, int);
    const ULONG synchronous_alert = 0x10, synchronous_nonalert = 0x20;
    const int file_mode_information = 16;
    query ask = (query)ipc_native_call("NtQueryInformationFile");
    IO_STATUS_BLOCK status;
    ULONG mode = 0;

    if (ask == NULL || ask((HANDLE)handle, &status, &mode, sizeof(mode), file_mode_information) < 0)
        return 0;
    return (mode & (synchronous_alert | synchronous_nonalert)) != 0;
}

/* After this call a write to this end of a pipe does not wait (ipc_write_now). */
static uint32_t ipc_write_without_waiting(intptr_t handle)
{
    DWORD mode = PIPE_READMODE_BYTE | PIPE_NOWAIT;

    return SetNamedPipeHandleState((HANDLE)handle, &mode, NULL, NULL) ? 0 : GetLastError();
}

/* Reads the available bytes from a synchronous handle; WAIT_TIMEOUT if there are none. */
static uint32_t ipc_read_now(intptr_t handle, char *buffer, uint32_t size, uint32_t *count)
{
    DWORD available, done = 0;

    if (!PeekNamedPipe((HANDLE)handle, NULL, 0, NULL, &available, NULL))
        return GetLastError();
    if (available == 0)
        return WAIT_TIMEOUT;
    if (!ReadFile((HANDLE)handle, buffer, size < available ? size : available, &done, NULL)
        && GetLastError() != ERROR_MORE_DATA)
        return GetLastError();
    *count = done;
    return 0;
}

/* Writes a part to a synchronous handle after ipc_write_without_waiting; WAIT_TIMEOUT if there is no
 * room for one byte. A write that does not fit writes nothing, so smaller ones are tried. */
static uint32_t ipc_write_now(intptr_t handle, const char *data, uint32_t size, uint32_t *count)
{
    DWORD done;

    for (; size > 0; size /= 2) {
        done = 0;
        if (!WriteFile((HANDLE)handle, data, size, &done, NULL))
            return GetLastError();
        if (done > 0) {
            *count = done;
            return 0;
        }
    }
    return WAIT_TIMEOUT;
}
