#!/bin/sh
# Writes src/bindings.rs anew. Wants bindgen (cargo install bindgen-cli --version 0.73.2) with
# libclang (LIBCLANG_PATH; PyPI's libclang serves) and the kernel's headers; C_HEADERS is
# gcc's folder of stddef.h where libclang came without clang. What `v4l` 0.14 uses is named
# here, the rest left out; what codecs are controlled with stays opaque, for it differs from
# kernel to kernel and is only pointed at.
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
