/*
 * SSVC encoder
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
 * SSVC encoder: hands frames to a worker process and takes its packets.
 */

#include "libavutil/intreadwrite.h"
#include "libavutil/mem.h"
#include "libavutil/opt.h"
#include "libavutil/pixdesc.h"

#include "avcodec.h"
#include "codec_internal.h"
#include "encode.h"
#include "internal.h"
#include "ssvcworker.h"

#define MAX_EXTRADATA (1 << 16)

typedef struct SSVCEncContext {
    const AVClass *class;
    SSVCWorker worker;
    float crf;
    char *preset;
    int   scenecut;
    char *detector;
    char *classes;
    char *object_quality;
    int   detect_every;
    char *device;
    char *model;
} SSVCEncContext;

static av_cold void write_config(AVCodecContext *avctx, AVBPrint *config)
{
    const SSVCEncContext *s = avctx->priv_data;
    const AVRational rate = avctx->framerate, sar = avctx->sample_aspect_ratio;
    static const uint8_t no_extradata[4];

    av_bprint_append_data(config, no_extradata, sizeof(no_extradata));
#define NUMBER(name, value) av_bprintf(config, name "=%d%c", value, 0)
    NUMBER("width", avctx->width);
    NUMBER("height", avctx->height);
    NUMBER("bit_depth", av_pix_fmt_desc_get(avctx->pix_fmt)->comp[0].depth);
    NUMBER("primaries", avctx->color_primaries);
    NUMBER("transfer", avctx->color_trc);
    NUMBER("matrix", avctx->colorspace);
    NUMBER("range", avctx->pix_fmt == AV_PIX_FMT_YUVJ420P ? AVCOL_RANGE_JPEG : avctx->color_range);
    NUMBER("chroma_location", avctx->chroma_sample_location);
    NUMBER("threads", avctx->thread_count);
    NUMBER("scenecut", s->scenecut);
    NUMBER("detect_every", s->detect_every);
    if (avctx->gop_size >= 0)
        NUMBER("keyint", FFMAX(avctx->gop_size, 1));
    if (avctx->keyint_min > 0)
        NUMBER("min_keyint", avctx->keyint_min);
#define RATIO(name, q) if ((q).num > 0 && (q).den > 0) av_bprintf(config, name "=%d/%d%c", (q).num, (q).den, 0)
    RATIO("time_base", avctx->time_base);
    RATIO("frame_rate", rate);
    RATIO("sample_aspect_ratio", sar);
    av_bprintf(config, "crf=%g%c", s->crf, 0);
#define TEXT(name) if (s->name) av_bprintf(config, #name "=%s%c", s->name, 0)
    TEXT(preset);
    TEXT(detector);
    TEXT(classes);
    TEXT(object_quality);
    TEXT(device);
    TEXT(model);
}

static av_cold int ssvc_encode_init(AVCodecContext *avctx)
{
    SSVCEncContext *s = avctx->priv_data;
    AVBPrint config;
    int ret;

    av_bprint_init(&config, 0, AV_BPRINT_SIZE_UNLIMITED);
    write_config(avctx, &config);
    if ((ret = ff_ssvc_start(avctx, &s->worker, SSVC_CONFIGURE_ENCODER, &config)) < 0)
        return ret;
    if (!s->worker.size || s->worker.size > MAX_EXTRADATA) {
        av_log(avctx, AV_LOG_ERROR, "ssvc worker: no sequence header\n");
        return AVERROR_EXTERNAL;
    }
    avctx->extradata = av_mallocz(s->worker.size + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!avctx->extradata)
        return AVERROR(ENOMEM);
    avctx->extradata_size = s->worker.size;
    return ff_ssvc_read(avctx, &s->worker, avctx->extradata, avctx->extradata_size);
}

static int read_packet(AVCodecContext *avctx, AVPacket *pkt)
{
    SSVCEncContext *s = avctx->priv_data;
    uint8_t head[SSVC_PACKET_HEAD];
    int ret;

    if ((ret = ff_ssvc_read(avctx, &s->worker, head, sizeof(head))) < 0 ||
        (ret = ff_get_encode_buffer(avctx, pkt, s->worker.size, 0)) < 0 ||
        (ret = ff_ssvc_read(avctx, &s->worker, pkt->data, pkt->size)) < 0)
        return ret;
    pkt->pts = pkt->dts = AV_RL64(head);
    pkt->duration       = AV_RL64(head + 8);
    if (head[16] & 1)
        pkt->flags |= AV_PKT_FLAG_KEY;
    return 0;
}

static int ssvc_encode_frame(AVCodecContext *avctx, AVPacket *pkt, const AVFrame *frame, int *got_packet)
{
    SSVCEncContext *s = avctx->priv_data;
    uint8_t head[SSVC_FRAME_HEAD] = { 0 };
    int ret;

    if (frame) {
        AV_WL64(head, frame->pts);
        AV_WL32(head + 16, frame->width);
        AV_WL32(head + 20, frame->height);
        head[32] = av_pix_fmt_desc_get(frame->format)->comp[0].depth;
        head[33] = frame->pict_type == AV_PICTURE_TYPE_I;
        ret = ff_ssvc_request(avctx, &s->worker, SSVC_FRAME, head, sizeof(head), NULL, 0, frame);
    } else {
        ret = ff_ssvc_request(avctx, &s->worker, SSVC_DRAIN, NULL, 0, NULL, 0, NULL);
    }
    if (ret == SSVC_PACKET) {
        if ((ret = read_packet(avctx, pkt)) < 0) {
            s->worker.failure = s->worker.failure ? s->worker.failure : ret;
            return ret;
        }
        *got_packet = 1;
    } else if (ret >= 0 && ret != SSVC_NOTHING) {
        av_log(avctx, AV_LOG_ERROR, "ssvc worker: an unexpected reply\n");
        ret = s->worker.failure = AVERROR_EXTERNAL;
    }
    return FFMIN(ret, 0);
}

static av_cold int ssvc_encode_close(AVCodecContext *avctx)
{
    SSVCEncContext *s = avctx->priv_data;

    ff_ssvc_close(&s->worker);
    return 0;
}

#define OFFSET(x) offsetof(SSVCEncContext, x)
#define VE AV_OPT_FLAG_VIDEO_PARAM | AV_OPT_FLAG_ENCODING_PARAM
static const AVOption options[] = {
    { "crf",            "quality: 0 is best, 63 smallest", OFFSET(crf), AV_OPT_TYPE_FLOAT, { .dbl = 28 }, 0, 63, VE },
    { "preset",         "effort: fast, medium or slow",    OFFSET(preset), AV_OPT_TYPE_STRING, { .str = "medium" }, 0, 0, VE },
    { "scenecut",       "start each scene with a key frame", OFFSET(scenecut), AV_OPT_TYPE_BOOL, { .i64 = 1 }, 0, 1, VE },
    { "detector",       "what finds objects: parser, an .onnx file or none", OFFSET(detector), AV_OPT_TYPE_STRING, { .str = "parser" }, 0, 0, VE },
    { "classes",        "only these objects",              OFFSET(classes), AV_OPT_TYPE_STRING, { .str = NULL }, 0, 0, VE },
    { "object_quality", "finer or coarser classes, as in person=+6,background=-6", OFFSET(object_quality), AV_OPT_TYPE_STRING, { .str = NULL }, 0, 0, VE },
    { "detect_every",   "frames from one detection to the next", OFFSET(detect_every), AV_OPT_TYPE_INT, { .i64 = 4 }, 1, INT_MAX, VE },
    { "device",         "where the networks run: auto, cpu or cuda", OFFSET(device), AV_OPT_TYPE_STRING, { .str = "auto" }, 0, 0, VE },
    { "model",          "name or folder of the weights",   OFFSET(model), AV_OPT_TYPE_STRING, { .str = NULL }, 0, 0, VE },
    { NULL },
};

static const AVClass ssvc_encoder_class = {
    .class_name = "ssvc encoder",
    .item_name  = av_default_item_name,
    .option     = options,
    .version    = LIBAVUTIL_VERSION_INT,
};

static const FFCodecDefault ssvc_defaults[] = {
    { "g",          "-1" },  // the worker chooses: 2 seconds
    { "keyint_min", "0" },
    { NULL },
};

const FFCodec ff_ssvc_encoder = {
    .p.name         = "ssvc",
    .p.long_name    = NULL_IF_CONFIG_SMALL("SSVC (semantically structured video coding)"),
    .p.type         = AVMEDIA_TYPE_VIDEO,
    .p.id           = AV_CODEC_ID_SSVC,
    .p.priv_class   = &ssvc_encoder_class,
    .p.capabilities = AV_CODEC_CAP_DR1 | AV_CODEC_CAP_DELAY | AV_CODEC_CAP_OTHER_THREADS,
    .p.pix_fmts     = (const enum AVPixelFormat[]) {
        AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUV420P10, AV_PIX_FMT_NONE
    },
    .priv_data_size = sizeof(SSVCEncContext),
    .defaults       = ssvc_defaults,
    .init           = ssvc_encode_init,
    .close          = ssvc_encode_close,
    FF_CODEC_ENCODE_CB(ssvc_encode_frame),
    .caps_internal  = FF_CODEC_CAP_INIT_THREADSAFE | FF_CODEC_CAP_INIT_CLEANUP,
};
