/* Handles for another process, and how far that is to be believed.
 *
 * The rules of windows.c hold here too.
 */
#ifndef UNICODE
#define UNICODE
#endif
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0602 /* Windows 8 */
#endif
#include <stdint.h>
#include <windows.h>

#define IPC_MOST_HANDLES 253

/* Handles that were duplicated into another process: their numbers there, and that process. A number
 * has at most 32 bits, also in a process of 64 bits ("Interprocess Communication Between
 * 32-bit and 64-bit Applications"). */
typedef struct {
    intptr_t process;
    uint32_t count;
    uint32_t numbers[IPC_MOST_HANDLES];
} ipc_given;

/* Leaves the handles open in the other process. */
static void ipc_keep_given(ipc_given *given)
{
    HANDLE process = (HANDLE)given->process;

    given->count = 0;
    given->process = 0;
    if (process != NULL)
        CloseHandle(process);
}

/* Closes the handles in the other process. */
static void ipc_take_back(ipc_given *given)
{
    while (given->count > 0) {
        given->count--;
        DuplicateHandle((HANDLE)given->process, (HANDLE)(intptr_t)given->numbers[given->count],
                        NULL, NULL, 0, FALSE, DUPLICATE_CLOSE_SOURCE);
    }
    ipc_keep_given(given);
}

/* Duplicates all handles into process pid, or none. ERROR_INVALID_HANDLE: one of them is not open;
 * ERROR_INVALID_PARAMETER: the process does not exist or has ended. After 0, one of the two functions
 * above must follow. */
static uint32_t ipc_give_handles(uint32_t pid, const intptr_t *handles, uint32_t count,
                                 ipc_given *given)
{
    HANDLE process, copy;
    DWORD ignored;
    uint32_t error, i;

    given->process = 0;
    given->count = 0;
    if (count > IPC_MOST_HANDLES)
        return ERROR_INVALID_PARAMETER;
    /* Before OpenProcess makes a handle, which could get the number of a closed one. */
    for (i = 0; i < count; i++)
        if (!GetHandleInformation((HANDLE)handles[i], &ignored))
            return GetLastError();
    process = OpenProcess(PROCESS_DUP_HANDLE | SYNCHRONIZE, FALSE, pid);
    if (process == NULL)
        return GetLastError();
    given->process = (intptr_t)process;
    if (WaitForSingleObject(process, 0) == WAIT_OBJECT_0) {
        ipc_take_back(given);
        return ERROR_INVALID_PARAMETER;
    }
    for (i = 0; i < count; i++) {
        if (!DuplicateHandle(GetCurrentProcess(), (HANDLE)handles[i], process, &copy, 0, FALSE,
                             DUPLICATE_SAME_ACCESS)) {
            error = GetLastError();
            ipc_take_back(given);
            return error;
        }
        given->numbers[i] = (uint32_t)(intptr_t)copy;
        given->count++;
    }
    return 0;
}

/* Checks that all of them are open in this process, and makes them not inheritable, because the
 * sender may have duplicated them as inheritable. */
static uint32_t ipc_check_received(const uint32_t *numbers, uint32_t count)
{
    DWORD ignored;
    uint32_t i;

    for (i = 0; i < count; i++)
        if (!GetHandleInformation((HANDLE)(intptr_t)numbers[i], &ignored))
            return GetLastError();
    for (i = 0; i < count; i++)
        if (!SetHandleInformation((HANDLE)(intptr_t)numbers[i], HANDLE_FLAG_INHERIT, 0))
            return GetLastError();
    return 0;
}

/* Reads the integrity level of a token, such as SECURITY_MANDATORY_MEDIUM_RID. */
static uint32_t ipc_token_integrity(intptr_t token, uint32_t *level)
{
    union {
        TOKEN_MANDATORY_LABEL label;
        unsigned char space[sizeof(TOKEN_MANDATORY_LABEL) + SECURITY_MAX_SID_SIZE];
    } found;
    DWORD size;
    UCHAR parts;

    if (!GetTokenInformation((HANDLE)token, TokenIntegrityLevel, &found, sizeof(found), &size))
        return GetLastError();
    parts = *GetSidSubAuthorityCount(found.label.Label.Sid);
    if (parts == 0)
        return ERROR_INVALID_SID;
    *level = *GetSidSubAuthority(found.label.Label.Sid, (DWORD)parts - 1);
    return 0;
}

/* Reads the integrity level of a process; pid 0 means this process. */
static uint32_t ipc_process_integrity(uint32_t pid, uint32_t *level)
{
    HANDLE process, token;
    uint32_t error;

    process = pid == 0 ? GetCurrentProcess()
                       : OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
    if (process == NULL)
        return GetLastError();
    if (OpenProcessToken(process, TOKEN_QUERY, &token)) {
        error = ipc_token_integrity((intptr_t)token, level);
        CloseHandle(token);
    } else {
        error = GetLastError();
    }
    if (pid != 0)
        CloseHandle(process);
    return error;
}
