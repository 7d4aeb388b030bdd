/* The child in the cases that measure the start of a child: it sends each byte
 * back until its input ends. ipcpipes gives it the number of its descriptor; the
 * other contenders give it two pipes as input and output. */
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    const char *number = getenv("IPCPIPES_STREAM");
    int in = number == NULL ? STDIN_FILENO : atoi(number);
    int out = number == NULL ? STDOUT_FILENO : in;
    char byte;

    while (read(in, &byte, 1) == 1)
        if (write(out, &byte, 1) != 1)
            return 1;
    return 0;
}
