/* The directories of sockets. The rules are those of posix.c. */

/* 1 if both directories exist, only `owner` can put a file into the first one, and no other user can
 * replace the first one in the second; 0 if not, or if the system does not say. A shared parent
 * belongs to others too, and must be sticky (inode(7)), as /tmp. Neither may be a link, except a
 * shared parent. */
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
