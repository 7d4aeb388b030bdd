/* Computes how much work the keys of a MessagePack value can cause: keys with the same hash cost the
 * square of their number, in sets and in dicts.
 *
 * Pure computation on memory that the caller owns, in one pass over it: no system call, no
 * allocation, and the same on every system.
 */
#include <stddef.h>
#include <stdint.h>

/* Levels of arrays and maps that are not empty. Fewer than the 1,000 that the smallest limit of any
 * supported Python allows (3.10 and 3.11), so that the limit is the same in every version. */
#define IPC_DEEPEST 512
/* A cost that means that only the depth is limited. */
#define IPC_NO_LIMIT UINT64_MAX
/* Containers of so few keys cost nothing that is worth counting. */
#define IPC_FEW 8
/* Keys other than numbers can have the same hash, and cost more to compare; most of all dataclasses,
 * which are encoded as maps. */
#define IPC_OTHER 16
#define IPC_RECORD 32

#define IPC_ITEMS_OF_ARRAYS 1
#define IPC_TEXTS 2

typedef struct {
    uint64_t left;   /* items that were not read yet */
    uint64_t keys;
    uint64_t weight; /* of these keys */
    int is_map;
} ipc_level;

/* One item of the value, without its contents. */
typedef struct {
    uint64_t payload; /* bytes after the head */
    uint64_t inner;   /* items in the container */
    int weight;
    int is_map;
} ipc_item;

static uint64_t ipc_big_endian(const unsigned char *from, size_t size)
{
    uint64_t value = 0;
    size_t i;

    for (i = 0; i < size; i++)
        value = value << 8 | from[i];
    return value;
}

/* Reads the head of an item at `data`, which has `left` bytes. Returns the size of the head, or 0 if
 * the value ends inside it or it is invalid. */
static size_t ipc_read_head(const unsigned char *data, size_t left, int flags, ipc_item *item)
{
    static const unsigned char fixed[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8}; /* from 0xca on */
    int text = flags & IPC_TEXTS ? IPC_OTHER : 0;
    unsigned char kind;
    size_t size; /* of the length after the first byte */
    uint64_t length;

    item->payload = item->inner = 0;
    item->weight = 1;
    item->is_map = 0;
    if (left == 0)
        return 0;
    kind = data[0];
    if (kind <= 0x7f || kind >= 0xe0 || kind == 0xc0 || kind == 0xc2 || kind == 0xc3)
        return 1; /* a small number, nil, false, true */
    if (kind <= 0x9f) { /* a small map or array */
        item->is_map = kind <= 0x8f;
        item->inner = (uint64_t)(kind & 0x0f) << item->is_map;
        item->weight = item->is_map ? IPC_RECORD : IPC_OTHER;
        return 1;
    }
    if (kind <= 0xbf) { /* a short text */
        item->payload = kind & 0x1f;
        item->weight = text;
        return 1;
    }
    if (kind >= 0xca && kind <= 0xd3) { /* a number */
        item->payload = fixed[kind - 0xca];
        return 1;
    }
    if (kind >= 0xd4 && kind <= 0xd8) { /* an extension of 1, 2, 4, 8 or 16 bytes, and its type */
        item->payload = ((uint64_t)1 << (kind - 0xd4)) + 1;
        item->weight = IPC_OTHER;
        return 1;
    }
    if (kind == 0xc1)
        return 0;
    if (kind >= 0xdc) /* an array or a map */
        size = (kind & 1) == 0 ? 2 : 4;
    else if (kind >= 0xd9) /* a text */
        size = (size_t)1 << (kind - 0xd9);
    else if (kind >= 0xc7) /* an extension */
        size = (size_t)1 << (kind - 0xc7);
    else /* bytes */
        size = (size_t)1 << (kind - 0xc4);
    if (left - 1 < size)
        return 0;
    length = ipc_big_endian(data + 1, size);
    if (kind >= 0xdc) {
        item->is_map = kind >= 0xde;
        item->inner = length << item->is_map;
        item->weight = item->is_map ? IPC_RECORD : IPC_OTHER;
    } else {
        item->payload = length + (kind >= 0xc7 && kind <= 0xc9);
        item->weight = kind >= 0xc7 && kind <= 0xc9 ? IPC_OTHER : text;
    }
    return 1 + size;
}

/* Returns whether the total cost is above the limit with this container. */
static int ipc_adds_too_much(const ipc_level *level, uint64_t *left)
{
    uint64_t cost;

    if (level->keys <= IPC_FEW || *left == IPC_NO_LIMIT)
        return 0;
    if (level->weight > UINT32_MAX)
        return 1;
    cost = level->weight * level->weight;
    if (cost > *left)
        return 1;
    *left -= cost;
    return 0;
}

/* Checks the first value in data[0:length]. The cost of a map, and with IPC_ITEMS_OF_ARRAYS of an
 * array, is the square of the weight of its keys: 1 for a number, IPC_RECORD for a map, IPC_OTHER for
 * other keys. Texts and bytes weigh nothing, because their hashes cannot be predicted, unless
 * IPC_TEXTS says that the decoder may make other keys of them. Returns 1 if the total cost is above
 * `most`, 0 if it is not, and -1 if the value is nested too deeply. If the value ends too early or is
 * invalid, the part before that is counted. */
static int ipc_may_collide(const char *data, size_t length, int flags, uint64_t most)
{
    const unsigned char *at = (const unsigned char *)data;
    ipc_level levels[IPC_DEEPEST];
    uint64_t left = most;
    size_t depth = 0;

    for (;;) {
        ipc_item item;
        size_t head = ipc_read_head(at, length, flags, &item);

        if (head == 0 || item.payload > length - head)
            break;
        at += head + (size_t)item.payload;
        length -= head + (size_t)item.payload;
        if (depth != 0) {
            ipc_level *level = &levels[depth - 1];
            int is_key = level->is_map ? (level->left & 1) == 0 : flags & IPC_ITEMS_OF_ARRAYS;

            if (is_key && item.weight != 0) {
                level->keys++;
                level->weight += (uint64_t)item.weight;
            }
            level->left--;
        }
        if (item.inner != 0) {
            if (depth == IPC_DEEPEST)
                return -1;
            levels[depth].left = item.inner;
            levels[depth].keys = levels[depth].weight = 0;
            levels[depth].is_map = item.is_map;
            depth++;
        }
        while (depth != 0 && levels[depth - 1].left == 0)
            if (ipc_adds_too_much(&levels[--depth], &left))
                return 1;
        if (depth == 0)
            return 0;
    }
    while (depth != 0)
        if (ipc_adds_too_much(&levels[--depth], &left))
            return 1;
    return 0;
}
