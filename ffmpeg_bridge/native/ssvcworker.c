/*
 * SSVC: the worker process that codes for libavcodec
 *
 * This file is part of FFmpeg.
 *
 * FFmpeg is free software; you can redistribute it and/or
 * modify it under the terms of the GNU Lesser General Public
 * License as published by the Free Software Foundation; either
 * version 2.1 of the License, or (at your option) any later version.
 *
 * FFmpeg is distributed in the hope that it will be useful,
 * but WITHOUT ANY WARRANTY; without even the implied warranty of
 * MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the GNU
 * Lesser General Public License for more details.
 *
 * You should have received a copy of the GNU Lesser General Public
 * License along with FFmpeg; if not, write to the Free Software
 * Foundation, Inc., 51 Franklin Street, Fifth Floor, Boston, MA 02110-1301 USA
 */


#define _DEFAULT_SOURCE /* syscall() */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libavutil/common.h"
#include "libavutil/error.h"
#include "libavutil/intreadwrite.h"
#include "libavutil/log.h"
#include "libavutil/macros.h"
#include "libavutil/pixdesc.h"
#include "libavutil/time.h"

#include "ssvcworker.h"

#define VERSION      1
#define HEAD_SIZE    8
#define WORKER_FD    3
#define MAX_TEXT     4096
#define MAX_LINES    512      ///< of a plane in one call; below IOV_MAX
#define SOCKET_BYTES (4 << 20)
#define GRACE_MS     2000     ///< from goodbye to SIGKILL

enum { ERROR_DAMAGED = 1, ERROR_ARGUMENT = 2 };

static int fail(void *log, SSVCWorker *w, const char *what)
{
    if (!w->failure)
        av_log(log, AV_LOG_ERROR, "ssvc worker: %s\n", what);
    w->failure = AVERROR_EXTERNAL;
    return w->failure;
}

/** Move all bytes of some areas, in the order given; the areas are used up. */
static int transfer(void *log, SSVCWorker *w, struct iovec *iov, int n, int is_write)
{
    while (n) {
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = n };
        ssize_t done = is_write ? sendmsg(w->fd, &message, MSG_NOSIGNAL) : recvmsg(w->fd, &message, MSG_WAITALL);
        if (done < 0 && errno == EINTR)
            continue;
        if (!done || done < 0 && (errno == EPIPE || errno == ECONNRESET))
            return fail(log, w, "it has ended");
        if (done < 0)
            return fail(log, w, strerror(errno));
        while (n && done >= iov->iov_len) {
            done -= iov->iov_len;
            iov++;
            n--;
        }
        if (n) {
            iov->iov_base = (uint8_t *)iov->iov_base + done;
            iov->iov_len -= done;
        }
    }
    return 0;
}

static int transfer_planes(void *log, SSVCWorker *w, const AVFrame *frame, int is_write)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(frame->format);
    int bytes = (desc->comp[0].depth + 7) / 8;

    for (int i = 0; i < 3; i++) {
        int width    = i ? AV_CEIL_RSHIFT(frame->width,  1) : frame->width;
        int height   = i ? AV_CEIL_RSHIFT(frame->height, 1) : frame->height;
        size_t row   = (size_t)width * bytes;
        int is_solid = frame->linesize[i] == row;

        for (int y = 0; y < height;) {
            struct iovec iov[MAX_LINES];
            int n = 0, ret;
            for (; y < height && n < MAX_LINES; n++) {
                int lines = is_solid ? height : 1;
                iov[n] = (struct iovec) { frame->data[i] + (ptrdiff_t)y * frame->linesize[i], lines * row };
                y += lines;
            }
            if ((ret = transfer(log, w, iov, n, is_write)) < 0)
                return ret;
        }
    }
    return 0;
}

static size_t planes_size(const AVFrame *frame)
{
    int bytes = (av_pix_fmt_desc_get(frame->format)->comp[0].depth + 7) / 8;
    size_t chroma = (size_t)AV_CEIL_RSHIFT(frame->width, 1) * AV_CEIL_RSHIFT(frame->height, 1);

    return ((size_t)frame->width * frame->height + 2 * chroma) * bytes;
}

int ff_ssvc_read(void *log, SSVCWorker *w, void *data, size_t size)
{
    struct iovec iov = { data, size };

    if (w->failure)
        return w->failure;
    if (size > w->size)
        return fail(log, w, "a message is too short");
    w->size -= size;
    return transfer(log, w, &iov, size > 0, 0);
}

int ff_ssvc_read_planes(void *log, SSVCWorker *w, AVFrame *frame)
{
    if (w->size != planes_size(frame))
        return fail(log, w, "a frame has not the size it names");
    w->size = 0;
    return transfer_planes(log, w, frame, 0);
}

/** Read what went wrong, and tell the user. */
static int read_error(void *log, SSVCWorker *w)
{
    uint8_t code[4];
    char text[MAX_TEXT + 1];
    int size, ret;

    if (w->size > sizeof(code) + MAX_TEXT)
        return fail(log, w, "a message is too long");
    if ((ret = ff_ssvc_read(log, w, code, sizeof(code))) < 0)
        return ret;
    size = w->size;
    if ((ret = ff_ssvc_read(log, w, text, size)) < 0)
        return ret;
    text[size] = 0;
    av_log(log, AV_LOG_ERROR, "%s\n", text);
    if (AV_RL32(code) == ERROR_DAMAGED)
        return AVERROR_INVALIDDATA;
    w->failure = AV_RL32(code) == ERROR_ARGUMENT ? AVERROR(EINVAL) : AVERROR_EXTERNAL;
    return w->failure;
}

int ff_ssvc_request(void *log, SSVCWorker *w, int type, const uint8_t *head, size_t head_size,
                    const uint8_t *data, size_t size, const AVFrame *frame)
{
    size_t total = head_size + size + (frame ? planes_size(frame) : 0);
    uint8_t message[HEAD_SIZE] = { 0 };
    struct iovec iov[3] = { { message, HEAD_SIZE }, { (void *)head, head_size }, { (void *)data, size } };
    struct iovec reply  = { message, HEAD_SIZE };
    int ret;

    if (w->failure)
        return w->failure;
    if (total > INT_MAX)
        return AVERROR_INVALIDDATA;
    AV_WL32(message, total);
    message[4] = type;
    if ((ret = transfer(log, w, iov, 3, 1)) < 0 ||
        frame && (ret = transfer_planes(log, w, frame, 1)) < 0 ||
        (ret = transfer(log, w, &reply, 1, 0)) < 0)
        return ret;
    w->size = AV_RL32(message);
    return message[4] == SSVC_ERROR ? read_error(log, w) : message[4];
}

/** What the child does from fork to exec: only what a signal handler may do. */
static void run_worker(int fd, const char *program, const uint8_t *complaint, size_t size)
{
    char *const arguments[] = { (char *)program, (char *)"worker", (char *)"--fd", (char *)AV_STRINGIFY(WORKER_FD),
                                NULL };
    int nothing;

    fd = fcntl(fd, F_DUPFD, WORKER_FD + 1);  // out of the way of those that are set here
    nothing = open("/dev/null", O_RDONLY);
    signal(SIGINT, SIG_IGN);
    dup2(nothing, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    dup2(fd, WORKER_FD);
#ifdef SYS_close_range
    syscall(SYS_close_range, WORKER_FD + 1, ~0U, 0);
#endif
    execvp(program, arguments);
    if (write(WORKER_FD, complaint, size) < 0)
        _exit(126);
    _exit(127);
}

static int spawn(void *log, SSVCWorker *w)
{
    const char *program = getenv("SSVC_WORKER");
    uint8_t complaint[HEAD_SIZE + 4 + 512] = { 0 };
    char *text = (char *)complaint + HEAD_SIZE + 4;
    int pair[2], length, size = SOCKET_BYTES;

    if (!program || !*program)
        program = "ssvc";
    snprintf(text, 512, "cannot start %.300s: install ssvc, or name its program in SSVC_WORKER", program);
    length = strlen(text);
    AV_WL32(complaint, 4 + length);
    complaint[4] = SSVC_ERROR;
    AV_WL32(complaint + HEAD_SIZE, 3);

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return fail(log, w, strerror(errno));
    for (int i = 0; i < 2; i++)
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    w->pid = fork();
    if (!w->pid)
        run_worker(pair[1], program, complaint, HEAD_SIZE + 4 + length);
    close(pair[1]);
    if (w->pid < 0) {
        close(pair[0]);
        w->pid = 0;
        return fail(log, w, strerror(errno));
    }
    w->fd = pair[0];
    return 0;
}

int ff_ssvc_start(void *log, SSVCWorker *w, int type, AVBPrint *config)
{
    uint8_t hello[8] = "SSVW", answer[8];
    int ret = w->failure;

    AV_WL32(hello + 4, VERSION);
    if (!ret && !av_bprint_is_complete(config))
        ret = AVERROR(ENOMEM);
    if (!ret && (ret = spawn(log, w)) >= 0 &&
        (ret = ff_ssvc_request(log, w, SSVC_HELLO, hello, sizeof(hello), NULL, 0, NULL)) >= 0 &&
        (ret = ff_ssvc_read(log, w, answer, sizeof(answer))) >= 0) {
        if (w->size || memcmp(hello, answer, sizeof(hello)))
            ret = fail(log, w, "it speaks another version of the protocol");
        else
            ret = ff_ssvc_request(log, w, type, NULL, 0, config->str, config->len, NULL);
    }
    av_bprint_finalize(config, NULL);
    if (ret >= 0 && ret != SSVC_CONFIGURED)
        ret = fail(log, w, "an unexpected reply");
    return ret;
}

void ff_ssvc_close(SSVCWorker *w)
{
    static const uint8_t bye[HEAD_SIZE] = { 0, 0, 0, 0, SSVC_BYE };

    if (!w->pid)
        return;
    send(w->fd, bye, sizeof(bye), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(w->fd);
    for (int ms = 0; waitpid(w->pid, NULL, WNOHANG) == 0; ms += 5) {
        if (ms >= GRACE_MS) {
            kill(w->pid, SIGKILL);
            waitpid(w->pid, NULL, 0);
            break;
        }
        av_usleep(5000);
    }
    w->pid = 0;
}
