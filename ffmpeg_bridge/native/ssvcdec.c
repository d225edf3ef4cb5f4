/*
 * SSVC decoder
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


/**
 * @file
 * SSVC decoder: hands packets to a worker process and takes its frames.
 */

#include "libavutil/imgutils.h"
#include "libavutil/intreadwrite.h"
#include "libavutil/opt.h"

#include "avcodec.h"
#include "codec_internal.h"
#include "internal.h"
#include "ssvcworker.h"

#define MAX_EXTRADATA (1 << 16)

typedef struct SSVCDecContext {
    const AVClass *class;
    SSVCWorker worker;
    char *objects;
    char *exclude;
    int   background;
    char *fill;
    int   flow_only;
    char *device;
    char *model;
} SSVCDecContext;

/** Samples are known before the first packet, so that nobody has to decode one to find out. */
static av_cold int ssvc_decode_init(AVCodecContext *avctx)
{
    const SSVCDecContext *s = avctx->priv_data;
    const uint8_t *data = avctx->extradata, *end = data + avctx->extradata_size;

    if (avctx->extradata_size > MAX_EXTRADATA) {
        av_log(avctx, AV_LOG_ERROR, "%d bytes of extradata are too many\n", avctx->extradata_size);
        return AVERROR_INVALIDDATA;
    }
    if (avctx->extradata_size < 8 || memcmp(data, "SSV1", 4))
        return 0;
    for (data += 5; data < end && *data & 0x80; data++)  // the length of what follows
        ;
    if (data + 1 < end)
        avctx->pix_fmt = data[1] & 1 && !s->flow_only ? AV_PIX_FMT_YUV420P10 : AV_PIX_FMT_YUV420P;
    return 0;
}

static int start_worker(AVCodecContext *avctx)
{
    SSVCDecContext *s = avctx->priv_data;
    AVBPrint config;
    uint8_t size[4];
    int ret;

    av_bprint_init(&config, 0, AV_BPRINT_SIZE_UNLIMITED);
    AV_WL32(size, avctx->extradata_size);
    av_bprint_append_data(&config, size, sizeof(size));
    av_bprint_append_data(&config, avctx->extradata, avctx->extradata_size);
#define TEXT(name) if (s->name) av_bprintf(&config, #name "=%s%c", s->name, 0)
    TEXT(objects);
    TEXT(exclude);
    TEXT(fill);
    TEXT(device);
    TEXT(model);
    if (s->background >= 0)
        av_bprintf(&config, "background=%d%c", s->background, 0);
    av_bprintf(&config, "flow_only=%d%c", s->flow_only, 0);
    av_bprintf(&config, "threads=%d%c", avctx->thread_count, 0);
    ret = ff_ssvc_start(avctx, &s->worker, SSVC_CONFIGURE_DECODER, &config);
    return ret < 0 ? ret : 0;
}

static int read_frame(AVCodecContext *avctx, AVFrame *frame)
{
    SSVCDecContext *s = avctx->priv_data;
    uint8_t head[SSVC_FRAME_HEAD];
    AVRational sar;
    int ret;

    if ((ret = ff_ssvc_read(avctx, &s->worker, head, sizeof(head))) < 0 ||
        (ret = ff_set_dimensions(avctx, AV_RL32(head + 16), AV_RL32(head + 20))) < 0)
        return ret;
    sar = (AVRational) { AV_RL32(head + 24), AV_RL32(head + 28) };
    if (av_image_check_sar(avctx->width, avctx->height, sar) >= 0)
        avctx->sample_aspect_ratio = sar;
    avctx->pix_fmt                = head[32] == 10 ? AV_PIX_FMT_YUV420P10 : AV_PIX_FMT_YUV420P;
    avctx->color_primaries        = head[34];
    avctx->color_trc              = head[35];
    avctx->colorspace             = head[36];
    avctx->color_range            = head[37];
    avctx->chroma_sample_location = head[38];
    if ((ret = ff_get_buffer(avctx, frame, 0)) < 0 ||
        (ret = ff_ssvc_read_planes(avctx, &s->worker, frame)) < 0)
        return ret;
    frame->pts       = AV_RL64(head);
    frame->key_frame = head[33] & 1;
    frame->pict_type = frame->key_frame ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_P;
    return 0;
}

static int ssvc_decode_frame(AVCodecContext *avctx, AVFrame *frame, int *got_frame, AVPacket *avpkt)
{
    SSVCDecContext *s = avctx->priv_data;
    uint8_t head[SSVC_PACKET_HEAD] = { 0 };
    int ret;

    if (!avpkt->size && (!s->worker.pid || s->worker.failure))
        return 0;
    if (!s->worker.pid && (ret = start_worker(avctx)) < 0)
        return ret;
    if (avpkt->size) {
        AV_WL64(head, avpkt->pts);
        AV_WL64(head + 8, avpkt->duration);
        head[16] = !!(avpkt->flags & AV_PKT_FLAG_KEY);
        ret = ff_ssvc_request(avctx, &s->worker, SSVC_PACKET, head, sizeof(head), avpkt->data, avpkt->size, NULL);
    } else {
        ret = ff_ssvc_request(avctx, &s->worker, SSVC_DRAIN, NULL, 0, NULL, 0, NULL);
    }
    if (ret == SSVC_FRAME) {
        if ((ret = read_frame(avctx, frame)) < 0) {
            s->worker.failure = s->worker.failure ? s->worker.failure : ret;
            return ret;
        }
        *got_frame = 1;
    } else if (ret >= 0 && ret != SSVC_NOTHING) {
        av_log(avctx, AV_LOG_ERROR, "ssvc worker: an unexpected reply\n");
        return s->worker.failure = AVERROR_EXTERNAL;
    }
    return ret < 0 ? ret : avpkt->size;
}

static void ssvc_decode_flush(AVCodecContext *avctx)
{
    SSVCDecContext *s = avctx->priv_data;

    if (s->worker.pid)
        ff_ssvc_request(avctx, &s->worker, SSVC_FLUSH, NULL, 0, NULL, 0, NULL);
}

static av_cold int ssvc_decode_close(AVCodecContext *avctx)
{
    SSVCDecContext *s = avctx->priv_data;

    ff_ssvc_close(&s->worker);
    return 0;
}

#define OFFSET(x) offsetof(SSVCDecContext, x)
#define VD AV_OPT_FLAG_VIDEO_PARAM | AV_OPT_FLAG_DECODING_PARAM
static const AVOption options[] = {
    { "objects",    "decode these objects only: classes and #tracks, parted by commas", OFFSET(objects), AV_OPT_TYPE_STRING, { .str = NULL }, 0, 0, VD },
    { "exclude",    "but not these objects",                OFFSET(exclude),    AV_OPT_TYPE_STRING, { .str = NULL }, 0, 0, VD },
    { "background", "what belongs to no object; without it, shown unless objects are named", OFFSET(background), AV_OPT_TYPE_BOOL, { .i64 = -1 }, -1, 1, VD },
    { "fill",       "where nothing was decoded: gray, black, blur or hold", OFFSET(fill), AV_OPT_TYPE_STRING, { .str = "gray" }, 0, 0, VD },
    { "flow_only",  "show the optical flow in colours; nothing else is decoded", OFFSET(flow_only), AV_OPT_TYPE_BOOL, { .i64 = 0 }, 0, 1, VD },
    { "device",     "where the networks run: auto, cpu or cuda", OFFSET(device), AV_OPT_TYPE_STRING, { .str = "auto" }, 0, 0, VD },
    { "model",      "folder of weights that are not installed", OFFSET(model), AV_OPT_TYPE_STRING, { .str = NULL }, 0, 0, VD },
    { NULL },
};

static const AVClass ssvc_decoder_class = {
    .class_name = "ssvc decoder",
    .item_name  = av_default_item_name,
    .option     = options,
    .version    = LIBAVUTIL_VERSION_INT,
};

const FFCodec ff_ssvc_decoder = {
    .p.name         = "ssvc",
    .p.long_name    = NULL_IF_CONFIG_SMALL("SSVC (semantically structured video coding)"),
    .p.type         = AVMEDIA_TYPE_VIDEO,
    .p.id           = AV_CODEC_ID_SSVC,
    .p.priv_class   = &ssvc_decoder_class,
    .p.capabilities = AV_CODEC_CAP_DR1 | AV_CODEC_CAP_DELAY | AV_CODEC_CAP_OTHER_THREADS,
    .priv_data_size = sizeof(SSVCDecContext),
    .init           = ssvc_decode_init,
    .close          = ssvc_decode_close,
    .flush          = ssvc_decode_flush,
    FF_CODEC_DECODE_CB(ssvc_decode_frame),
    .caps_internal  = FF_CODEC_CAP_INIT_THREADSAFE,
};
