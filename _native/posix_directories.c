/* The directories of sockets. The rules are those of posix.c. */

/* 1 if, by owner and mode bits, no user except `owner` and root can make files in `directory` or
 * replace it in `parent`; otherwise 0, also if stat(2) fails. A shared parent can belong to another
 * user, and then must be sticky (inode(7)), as /tmp. Neither may be a link, except a shared
 * parent. */
static int ipc_is_private(const char *directory, const char *parent, uint32_t owner,
                          int is_parent_shared)
{
    struct stat found;

    if (lstat(directory, &found) == -1 || !S_ISDIR(found.st_mode) || found.st_uid != owner
        || (found.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return 0;
#if !defined(__linux__)
    if (is_parent_shared && owner == 0)
        return 0; /* root needs more there: see _check_for_root */
#endif
    if (is_parent_shared)
        return stat(parent, &found) == 0 && S_ISDIR(found.st_mode)
               && ((found.st_mode & S_IWOTH) == 0 || (found.st_mode & S_ISVTX) != 0);
    return lstat(parent, &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == owner
           && (found.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}
