#!/bin/sh
# Regenerates src/bindings.rs. Needs bindgen (cargo install bindgen-cli --version 0.73.2) with
# libclang (LIBCLANG_PATH; the libclang of PyPI works) and the kernel's headers. If libclang was
# installed without clang, C_HEADERS must be gcc's folder with stddef.h. The allow list has only
# the types that `v4l` 0.14 uses. The structures of codec controls stay opaque, because they differ
# between kernels and are only used through pointers.
set -e
cd "$(dirname "$0")"
types='v4l2_(audio|audioout|buffer|capability|captureparm|control|crop|cropcap|edid|enc_idx'
types="$types|encoder_cmd|exportbuffer|ext_controls?|fmtdesc|format|fract|framebuffer|frequency"
types="$types|frmivalenum|frmivaltypes|frmsizeenum|frmsizetypes|input|jpegcompression|modulator"
types="$types|output|outputparm|pix_format|query_ext_ctrl|queryctrl|querymenu|requestbuffers"
types="$types|sliced_vbi_cap|standard|std_id|streamparm|tuner)"
bindgen wrapper.h \
    --allowlist-type "$types|timeval|time_t" \
    --allowlist-var 'V4L2_CTRL_FLAG_.*' \
    --opaque-type 'v4l2_ctrl_.*' \
    --no-doc-comments \
    --rust-target 1.85 --rust-edition 2024 \
    --output src/bindings.rs \
    -- ${C_HEADERS:+-I"$C_HEADERS"}
