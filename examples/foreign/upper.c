/* Sends back in capitals what it receives. The number of its socket is its argument or in its
   environment. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *number = argc > 1 ? argv[1] : getenv("IPCPIPES_STREAM");
    char bytes[4096];
    ssize_t count, sent, done, i;
    int fd;

    if (number == NULL) {
        fprintf(stderr, "upper: no descriptor was given\n");
        return 2;
    }
    fd = atoi(number);
    while ((count = read(fd, bytes, sizeof bytes)) > 0) { /* 0: the parent has closed or ended */
        for (i = 0; i < count; i++)
            bytes[i] = (char)toupper((unsigned char)bytes[i]);
        for (done = 0; done < count; done += sent) {
            sent = write(fd, bytes + done, (size_t)(count - done));
            if (sent < 0)
                return 1;
        }
    }
    return count < 0;
}
