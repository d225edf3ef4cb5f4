#!/usr/bin/env bash
# Builds a small ffmpeg and ffprobe with the codec ssvc, from Debian's source package of FFmpeg 5.1.
#
#   build.sh [--cache FOLDER] [FOLDER]
#
# FOLDER (build/ffmpeg-ssvc) then holds ffmpeg and ffprobe. --cache: where the source archive is kept, and looked for
# before anything is downloaded. JOBS: of make, 2 if not set.
# The source comes from the mirror that apt is configured for; its own lists are not touched, and root is not needed.
# Exit codes: 0 done, 77 it cannot be built here (the reason is on stderr), else it failed.
set -euo pipefail

native=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
release=5.1
cache=''
assembler=()
out=''
while (($#)); do
    case $1 in
        --cache) cache=$2; shift ;;
        -*) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
        *) out=$1 ;;
    esac
    shift
done
out=${out:-$native/../../build/ffmpeg-ssvc}
mkdir -p "$out"
out=$(cd "$out" && pwd)
[[ -z $cache ]] || { mkdir -p "$cache" && cache=$(cd "$cache" && pwd); }

skip() { echo "build.sh: $*" >&2; exit 77; }

for tool in gcc make patch tar xz; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prints the path of the archive.
fetch() {
    local found parts="$work/parts" version file
    found=$(find "${cache:-$work}" -maxdepth 1 -name "ffmpeg_$release*.orig.tar.xz" | sort -V | tail -1)
    if [[ -n $found ]] && xz -t "$found" 2>/dev/null; then
        echo "$found"
        return
    fi
    command -v apt-get >/dev/null || skip "there is no apt-get to fetch the source package with"
    mkdir -p "$parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/got"
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ ! -f $file ]] || sed -E 's/^Types:.*/Types: deb-src/' "$file" >"$parts/$(basename "$file")"
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [[ ! -f $file ]] || sed -E 's/^deb(-src)? /deb-src /' "$file" >"$parts/from-$(basename "$file")"
    done
    local apt=(
        -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$parts" -o Dir::State::lists="$work/lists"
        -o Dir::Cache="$work/cache" -o APT::Sandbox::User=
    )
    apt-get "${apt[@]}" -qq update >"$work/log" 2>&1 || true
    version=$(apt-cache "${apt[@]}" showsrc ffmpeg 2>>"$work/log" | sed -nE "s/^Version: (([0-9]+:)?$release[.-].*)/\1/p" |
        sort -V | tail -1) || true
    [[ -n $version ]] ||
        skip "apt knows no source package of FFmpeg $release: $(grep -E '^[EW]:' "$work/log" | head -1)"
    (cd "$work/got" && apt-get "${apt[@]}" -qq --download-only source "ffmpeg=$version" >>"$work/log" 2>&1) ||
        skip "the source package of FFmpeg $version cannot be fetched: $(grep -E '^E:' "$work/log" | tail -1)"
    found=$(find "$work/got" -name 'ffmpeg_*.orig.tar.xz')
    if [[ -n $cache ]]; then
        cp "$found" "$cache/"
        found=$cache/$(basename "$found")
    fi
    echo "$found"
}

# What the tests need, and no more.
features=(
    --enable-encoder=ssvc,rawvideo,wrapped_avframe,ffv1,mpeg4,pcm_s16le
    --enable-decoder=ssvc,rawvideo,ffv1,h264,mpeg4,aac,pcm_s16le
    --enable-demuxer=matroska,mov,avi,nut,yuv4mpegpipe,rawvideo
    --enable-muxer=matroska,mp4,avi,nut,yuv4mpegpipe,rawvideo,framemd5,null
    --enable-parser=h264,mpeg4video,aac
    --enable-bsf=extract_extradata,noise,null
    --enable-protocol=file,pipe
    --enable-filter=scale,format,null,anull,aresample,aformat,trim,atrim,fps,transpose,hflip,vflip
)

patch=$native/ffmpeg-$release.patch
if ! cmp -s "$patch" "$out/src/applied.patch"; then
    archive=$(fetch)
    rm -rf "$out/src"
    mkdir "$out/src"
    echo "unpacking $(basename "$archive")"
    tar -xf "$archive" -C "$out/src" --strip-components=1
    patch -s -d "$out/src" -p1 <"$patch"
    cp "$native"/*.c "$native"/*.h "$out/src/libavcodec/"
    command -v nasm >/dev/null || assembler=(--disable-x86asm)
    echo "configuring"
    (cd "$out/src" && ./configure --disable-everything --disable-autodetect --disable-doc \
        --disable-debug --disable-ffplay --disable-network --disable-avdevice "${assembler[@]}" "${features[@]}" \
        >"$work/configure" 2>&1) || { tail -20 "$work/configure" >&2; exit 1; }
    cp "$patch" "$out/src/applied.patch"
fi
for file in "$native"/*.[ch]; do
    cmp -s "$file" "$out/src/libavcodec/$(basename "$file")" || cp "$file" "$out/src/libavcodec/"
done
echo "compiling"
make -s -C "$out/src" -j"${JOBS:-2}" >"$work/make" 2>&1 || { tail -30 "$work/make" >&2; exit 1; }
grep -A5 'ssvc.*warning' "$work/make" >&2 || true
cp "$out/src/ffmpeg" "$out/src/ffprobe" "$out/"
echo "$out/ffmpeg"
