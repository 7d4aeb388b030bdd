/* The default framing: each message follows its length, an unsigned number of 1, 2, 4 or 8
 * bytes in either byte order.
 *
 * Pure computation on memory that the caller owns: no system call, no allocation, no
 * state, and the same on every system.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Means "the length is not known yet". An announced length of 8 bytes can have the same
 * value, which does not matter: it is above every limit. */
#define IPC_UNKNOWN UINT64_MAX

static uint64_t ipc_get_length(const unsigned char *from, int width, int big_endian)
{
    uint64_t value = 0;
    int i;

    for (i = 0; i < width; i++)
        value = value << 8 | from[big_endian ? i : width - 1 - i];
    return value;
}

static void ipc_put_length(unsigned char *to, uint64_t value, int width, int big_endian)
{
    int i;

    for (i = 0; i < width; i++) {
        to[big_endian ? width - 1 - i : i] = (unsigned char)(value & 0xff);
        value >>= 8;
    }
}

static int ipc_is_width(int width)
{
    return width == 1 || width == 2 || width == 4 || width == 8;
}

/* Finds the whole messages in data[start:length], at most `capacity` of them. Message i is
 * data[found[2 + 2 * i] : found[3 + 2 * i]]; found[0] is the position after the last whole
 * message, and found[1] the length that is announced there, or IPC_UNKNOWN. `found` has room
 * for 2 + 2 * capacity numbers. An announced length above max_size ends the search. Returns
 * the number of messages, or -1 for invalid arguments. */
static int64_t ipc_split(const char *data, size_t start, size_t length, int width,
                         int big_endian, uint64_t max_size, uint64_t *found, size_t capacity)
{
    size_t position = start, prefix = (size_t)width, count = 0;

    if (!ipc_is_width(width) || start > length || capacity > INT32_MAX)
        return -1;
    found[0] = start;
    found[1] = IPC_UNKNOWN;
    while (count < capacity && length - position >= prefix) {
        uint64_t size =
            ipc_get_length((const unsigned char *)data + position, width, big_endian);
        if (size > max_size || size > length - position - prefix) {
            found[1] = size;
            break;
        }
        position += prefix;
        found[2 + 2 * count] = position;
        position += (size_t)size;
        found[3 + 2 * count] = position;
        count++;
    }
    found[0] = position;
    return (int64_t)count;
}

/* The reverse: `payload` has `count` messages one after the other, with the lengths `sizes`.
 * Writes each message after its length to `to`. Returns 0, or -1 if the sizes do not add up
 * to `payload_length` and `to_length`, or one of them does not fit its prefix. */
static int ipc_join(const char *payload, size_t payload_length, const uint64_t *sizes,
                    size_t count, int width, int big_endian, char *to, size_t to_length)
{
    size_t prefix = (size_t)width, position = 0, i;

    if (!ipc_is_width(width) || count > to_length / prefix
        || payload_length != to_length - count * prefix)
        return -1;
    for (i = 0; i < count; i++) {
        uint64_t size = sizes[i];
        if (size > payload_length - position || (width < 8 && size >> (8 * width) != 0))
            return -1;
        ipc_put_length((unsigned char *)to, size, width, big_endian);
        memcpy(to + prefix, payload + position, (size_t)size);
        to += prefix + (size_t)size;
        position += (size_t)size;
    }
    return position == payload_length ? 0 : -1;
}
