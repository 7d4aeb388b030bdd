/* What is set and asked for each new connection, in one call each. The rules are those of posix.c. */

/* More groups are asked for separately (ipc_peer_groups). */
#define IPC_FEW_GROUPS 16

typedef struct {
    int32_t pid; /* this and the next two as in ipc_credentials */
    uint32_t uid;
    uint32_t gid;
    int group_count; /* -errno if the system does not tell the groups */
    uint32_t groups[IPC_FEW_GROUPS];
    int address_length;
    char address[sizeof(((struct sockaddr_un *)0)->sun_path)];
} ipc_peer;

/* Sets the options of a connected socket. The buffer size is a hint: a system that refuses so large a
 * buffer (the BSDs) keeps its own. A system without urgent bytes may refuse to keep them inline. Both
 * errors are ignored; it is an error if the system cannot add the credentials to packets. */
static int ipc_set_options(int fd, int buffer_size, int packets)
{
    (void)ipc_set_buffer_size(fd, buffer_size);
    if (packets)
        return ipc_ask_credentials(fd);
    (void)ipc_keep_urgent_inline(fd);
    return 0;
}

/* Fills `peer` with what the kernel knows of the process that called listen(2) or connect(2), without
 * its address. `groups` is filled if `group_count` is at most IPC_FEW_GROUPS. */
static int ipc_ask_peer(int fd, ipc_peer *peer)
{
    ipc_credentials found = {.pid = -1};
    int code = ipc_peer_credentials(fd, &found);

    if (code < 0)
        return code;
    peer->pid = found.pid;
    peer->uid = found.uid;
    peer->gid = found.gid;
    peer->group_count = ipc_peer_groups(fd, peer->groups, IPC_FEW_GROUPS);
    peer->address_length = 0;
    return 0;
}

/* Does the same for the client of an accepted connection, with its address. Returns 1 if the client
 * has left, see ipc_peer_left; otherwise 0. */
static int ipc_ask_client(int fd, ipc_peer *peer)
{
    int code = ipc_ask_peer(fd, peer);

    if (code < 0)
        return code;
    code = ipc_peer_address(fd, peer->address, sizeof(peer->address));
    if (code < 0)
        return code;
    peer->address_length = code;
    return ipc_peer_left(fd);
}
