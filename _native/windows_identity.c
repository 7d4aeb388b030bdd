/* Accounts, and the identity of the peer of a Windows named pipe.
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
#include <string.h>
#include <windows.h>
#include <aclapi.h>
#include <sddl.h>

static uint32_t ipc_peer_process(intptr_t handle, int server_end, uint32_t *pid)
{
    ULONG found = 0;
    BOOL done = server_end ? GetNamedPipeClientProcessId((HANDLE)handle, &found)
                           : GetNamedPipeServerProcessId((HANDLE)handle, &found);

    if (!done)
        return GetLastError();
    *pid = found;
    return 0;
}

/* Copies a terminated text with its terminator; sizes count 16-bit units. */
static uint32_t ipc_copy_text(uint16_t *to, uint32_t to_size, const WCHAR *text)
{
    size_t needed = 0;

    while (text[needed] != 0)
        needed++;
    if (needed + 1 > to_size)
        return ERROR_INSUFFICIENT_BUFFER;
    memcpy(to, text, (needed + 1) * sizeof(*to));
    return 0;
}

/* "DOMAIN\user" of a SID, or an empty text if the system does not know the name. */
static uint32_t ipc_account_name(PSID sid, uint16_t *account, uint32_t account_size)
{
    WCHAR user[257], domain[257], full[514];
    DWORD user_size = 257, domain_size = 257;
    SID_NAME_USE use;
    size_t length = 0, i;

    if (account_size < 1)
        return ERROR_INSUFFICIENT_BUFFER;
    account[0] = 0;
    if (!LookupAccountSidW(NULL, sid, user, &user_size, domain, &domain_size, &use))
        return 0;
    for (i = 0; domain[i] != 0; i++)
        full[length++] = domain[i];
    if (length > 0)
        full[length++] = L'\\';
    for (i = 0; user[i] != 0; i++)
        full[length++] = user[i];
    full[length] = 0;
    return ipc_copy_text(account, account_size, full);
}

/* The SID (as text) and, unless account is null, the account name of a token. */
static uint32_t ipc_token_owner(intptr_t token, uint16_t *sid, uint32_t sid_size,
                                uint16_t *account, uint32_t account_size)
{
    union {
        TOKEN_USER user;
        unsigned char space[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
    } found;
    DWORD size;
    LPWSTR text;
    uint32_t error;

    if (!GetTokenInformation((HANDLE)token, TokenUser, &found, sizeof(found), &size))
        return GetLastError();
    if (!ConvertSidToStringSidW(found.user.User.Sid, &text))
        return GetLastError();
    error = ipc_copy_text(sid, sid_size, text);
    LocalFree(text);
    if (error == 0 && account != NULL)
        error = ipc_account_name(found.user.User.Sid, account, account_size);
    return error;
}

/* The SID (as text) and, unless account is null, the account name that the
 * process runs under. pid 0 means this process. */
static uint32_t ipc_process_owner(uint32_t pid, uint16_t *sid, uint32_t sid_size,
                                  uint16_t *account, uint32_t account_size)
{
    HANDLE process, token;
    uint32_t error;

    process = pid == 0 ? GetCurrentProcess()
                       : OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
    if (process == NULL)
        return GetLastError();
    if (OpenProcessToken(process, TOKEN_QUERY, &token)) {
        error = ipc_token_owner((intptr_t)token, sid, sid_size, account, account_size);
        CloseHandle(token);
    } else {
        error = GetLastError();
    }
    if (pid != 0)
        CloseHandle(process);
    return error;
}

/* The default owner of objects that this process makes: its user, or for an elevated process the
 * administrators' group. */
static uint32_t ipc_default_owner(uint16_t *sid, uint32_t sid_size)
{
    union {
        TOKEN_OWNER owner;
        unsigned char space[sizeof(TOKEN_OWNER) + SECURITY_MAX_SID_SIZE];
    } found;
    HANDLE token;
    DWORD size;
    LPWSTR text;
    uint32_t error = 0;

    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
        return GetLastError();
    if (!GetTokenInformation(token, TokenOwner, &found, sizeof(found), &size)
        || !ConvertSidToStringSidW(found.owner.Owner, &text))
        error = GetLastError();
    CloseHandle(token);
    if (error == 0) {
        error = ipc_copy_text(sid, sid_size, text);
        LocalFree(text);
    }
    return error;
}

/* The path of the program that a process runs. */
static uint32_t ipc_process_image(uint32_t pid, uint16_t *path, uint32_t path_size)
{
    HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
    DWORD size = path_size;
    uint32_t error = 0;

    if (process == NULL)
        return GetLastError();
    if (!QueryFullProcessImageNameW(process, 0, (LPWSTR)path, &size))
        error = GetLastError();
    CloseHandle(process);
    return error;
}

/* The SID of an account, as text, and its kind (SID_NAME_USE). */
static uint32_t ipc_account_sid(const uint16_t *account, uint16_t *sid, uint32_t sid_size,
                                uint32_t *use)
{
    union {
        SID sid;
        BYTE room[SECURITY_MAX_SID_SIZE];
    } found;
    WCHAR domain[256];
    DWORD size = sizeof(found), domain_size = sizeof(domain) / sizeof(domain[0]);
    SID_NAME_USE kind;
    LPWSTR text;
    uint32_t error;

    if (!LookupAccountNameW(NULL, (LPCWSTR)account, &found.sid, &size, domain, &domain_size, &kind)
        || !ConvertSidToStringSidW(&found.sid, &text))
        return GetLastError();
    *use = (uint32_t)kind;
    error = ipc_copy_text(sid, sid_size, text);
    LocalFree(text);
    return error;
}

/* Whether the user of this process belongs to a group, also if the group counts only to deny
 * (SE_GROUP_USE_FOR_DENY_ONLY), which CheckTokenMembership ignores. */
static uint32_t ipc_belongs_to(const uint16_t *group, int *belongs)
{
    TOKEN_GROUPS *groups = NULL;
    HANDLE token = NULL;
    PSID sid = NULL;
    DWORD size = 0, error = 0, i;

    *belongs = 0;
    if (!ConvertStringSidToSidW((LPCWSTR)group, &sid)
        || !OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) {
        error = GetLastError();
    } else {
        GetTokenInformation(token, TokenGroups, NULL, 0, &size);
        groups = LocalAlloc(LMEM_FIXED, size);
        if (groups == NULL || !GetTokenInformation(token, TokenGroups, groups, size, &size))
            error = GetLastError();
        else
            for (i = 0; i < groups->GroupCount; i++)
                if (EqualSid(groups->Groups[i].Sid, sid))
                    *belongs = 1;
    }
    LocalFree(groups);
    LocalFree(sid);
    if (token != NULL)
        CloseHandle(token);
    return error;
}

/* Checks that the text is a security descriptor with an access list; without one, the system would
 * use the default list of the token. */
static uint32_t ipc_check_sddl(const uint16_t *sddl)
{
    PSECURITY_DESCRIPTOR descriptor;
    BOOL has_list = FALSE, is_default;
    PACL list;
    DWORD error = 0;

    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW((LPCWSTR)sddl, SDDL_REVISION_1,
                                                              &descriptor, NULL))
        return GetLastError();
    if (!GetSecurityDescriptorDacl(descriptor, &has_list, &list, &is_default))
        error = GetLastError();
    else if (!has_list)
        error = ERROR_INVALID_ACL;
    LocalFree(descriptor);
    return error;
}

/* The access list of the pipe, as SDDL. */
static uint32_t ipc_security(intptr_t handle, uint16_t *sddl, uint32_t sddl_size)
{
    PSECURITY_DESCRIPTOR descriptor = NULL;
    LPWSTR text = NULL;
    DWORD error = GetSecurityInfo((HANDLE)handle, SE_KERNEL_OBJECT, DACL_SECURITY_INFORMATION,
                                  NULL, NULL, NULL, NULL, &descriptor);

    if (error != 0)
        return error;
    if (ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor, SDDL_REVISION_1, DACL_SECURITY_INFORMATION, &text, NULL)) {
        error = ipc_copy_text(sddl, sddl_size, text);
        LocalFree(text);
    } else {
        error = GetLastError();
    }
    LocalFree(descriptor);
    return error;
}

/* The owner of the pipe, as text. */
static uint32_t ipc_pipe_owner(intptr_t handle, uint16_t *sid, uint32_t sid_size,
                               uint16_t *account, uint32_t account_size)
{
    PSECURITY_DESCRIPTOR descriptor = NULL;
    PSID owner = NULL;
    LPWSTR text;
    DWORD error = GetSecurityInfo((HANDLE)handle, SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION,
                                  &owner, NULL, NULL, NULL, &descriptor);

    if (error != 0)
        return error;
    if (owner == NULL) {
        error = ERROR_INVALID_OWNER;
    } else if (!ConvertSidToStringSidW(owner, &text)) {
        error = GetLastError();
    } else {
        error = ipc_copy_text(sid, sid_size, text);
        LocalFree(text);
        if (error == 0)
            error = ipc_account_name(owner, account, account_size);
    }
    LocalFree(descriptor);
    return error;
}

/* Ends the process if it cannot revert, because running under the wrong identity would be worse. */
static void ipc_revert(void)
{
    if (!RevertToSelf())
        TerminateProcess(GetCurrentProcess(), ERROR_BAD_IMPERSONATION_LEVEL);
}

/* The token of the client of the pipe, and its level (SECURITY_IMPERSONATION_LEVEL). The thread acts
 * as the client only inside this function. */
static uint32_t ipc_client_token(intptr_t handle, intptr_t *token, uint32_t *level)
{
    SECURITY_IMPERSONATION_LEVEL found;
    HANDLE opened;
    DWORD size, error = 0;

    if (!ImpersonateNamedPipeClient((HANDLE)handle))
        return GetLastError();
    if (!OpenThreadToken(GetCurrentThread(), TOKEN_QUERY | TOKEN_IMPERSONATE, TRUE, &opened))
        error = GetLastError();
    ipc_revert();
    if (error != 0)
        return error;
    if (!GetTokenInformation(opened, TokenImpersonationLevel, &found, sizeof(found), &size)) {
        error = GetLastError();
        CloseHandle(opened);
        return error;
    }
    *token = (intptr_t)opened;
    *level = (uint32_t)found;
    return 0;
}

/* Makes the calling thread act as the client, until ipc_revert. */
static uint32_t ipc_impersonate(intptr_t token)
{
    return SetThreadToken(NULL, (HANDLE)token) ? 0 : GetLastError();
}
