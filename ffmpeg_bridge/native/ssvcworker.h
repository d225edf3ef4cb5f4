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

#ifndef AVCODEC_SSVCWORKER_H
#define AVCODEC_SSVCWORKER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libavutil/bprint.h"
#include "libavutil/frame.h"

/* The protocol is specified in ffmpeg_bridge/worker_protocol.py of ssvc. */
enum SSVCMessage {
    SSVC_HELLO = 1,
    SSVC_CONFIGURE_DECODER,
    SSVC_CONFIGURE_ENCODER,
    SSVC_CONFIGURED,
    SSVC_PACKET,
    SSVC_FRAME,
    SSVC_NOTHING,
    SSVC_DRAIN,
    SSVC_FLUSH,
    SSVC_ERROR,
    SSVC_BYE,
};

#define SSVC_PACKET_HEAD 24
#define SSVC_FRAME_HEAD  40

typedef struct SSVCWorker {
    int      fd;       ///< our end of the socket pair
    pid_t    pid;      ///< 0 while there is no process
    int      failure;  ///< AVERROR code of what ended the conversation, 0 while it goes on
    unsigned size;     ///< bytes of the reply that have not been read
} SSVCWorker;

/**
 * Start the worker and configure it.
 *
 * @param type   SSVC_CONFIGURE_DECODER or SSVC_CONFIGURE_ENCODER
 * @param config extradata and options as that message holds them; finalized by this
 * @return SSVC_CONFIGURED, with worker->size bytes to read, or a negative AVERROR code
 */
int ff_ssvc_start(void *log, SSVCWorker *worker, int type, AVBPrint *config);

/**
 * Send one message, and wait for the head of its reply.
 *
 * @param data  bytes after the head, may be NULL
 * @param frame planes after the head, may be NULL
 * @return type of the reply, with worker->size bytes to read, or a negative AVERROR code.
 *         After AVERROR_INVALIDDATA the conversation goes on.
 */
int ff_ssvc_request(void *log, SSVCWorker *worker, int type, const uint8_t *head, size_t head_size,
                    const uint8_t *data, size_t size, const AVFrame *frame);

/** Read bytes of the reply. @return 0 or a negative AVERROR code */
int ff_ssvc_read(void *log, SSVCWorker *worker, void *data, size_t size);

/** Read the planes of a 4:2:0 frame straight to their place. @return 0 or a negative AVERROR code */
int ff_ssvc_read_planes(void *log, SSVCWorker *worker, AVFrame *frame);

/** Say goodbye, and see the process off. */
void ff_ssvc_close(SSVCWorker *worker);

#endif /* AVCODEC_SSVCWORKER_H */
