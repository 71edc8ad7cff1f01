//! Compares the layout of the stored bindings with the kernel's headers, as the C compilers of both
//! architectures see them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use v4l2_sys_mit::*;

/// `_Static_assert`s on the size of each structure and the offset of each listed field.
macro_rules! assertions {
    ($($kind:ident $name:ident { $($field:ident $(= $c:literal)?),* })*) => {{
        let mut text = String::new();
        $(
            let c = concat!(stringify!($kind), " ", stringify!($name));
            text += &size(c, size_of::<$name>());
            $(text += &offset(c, [stringify!($field) $(, $c)?].last().unwrap(), offset_of!($name, $field));)*
        )*
        text
    }};
}

fn size(name: &str, bytes: usize) -> String {
    format!("_Static_assert(sizeof({name}) == {bytes}, \"sizeof {name}\");\n")
}

fn offset(name: &str, field: &str, bytes: usize) -> String {
    format!("_Static_assert(offsetof({name}, {field}) == {bytes}, \"{name}.{field}\");\n")
}

/// C source with assertions on every structure that `v4l` passes to the kernel.
fn source() -> String {
    let mut text = "#include <stddef.h>\n#include <linux/videodev2.h>\n".to_owned();
    text += &assertions! {
        struct v4l2_capability { driver, card, bus_info, version, capabilities, device_caps, reserved }
        struct v4l2_fmtdesc { index, type_ = "type", flags, description, pixelformat, mbus_code }
        struct v4l2_format { type_ = "type", fmt }
        struct v4l2_pix_format { width, height, pixelformat, field, bytesperline, sizeimage, colorspace, flags, quantization, xfer_func }
        struct v4l2_requestbuffers { count, type_ = "type", memory, capabilities, flags }
        struct v4l2_buffer { index, type_ = "type", bytesused, flags, field, timestamp, timecode, sequence, memory, m, length }
        struct v4l2_exportbuffer { type_ = "type", index, plane, flags, fd }
        struct v4l2_streamparm { type_ = "type", parm }
        struct v4l2_captureparm { capability, capturemode, timeperframe, extendedmode, readbuffers }
        struct v4l2_outputparm { capability, outputmode, timeperframe, extendedmode, writebuffers }
        struct v4l2_fract { numerator, denominator }
        struct v4l2_frmsizeenum { index, pixel_format, type_ = "type" }
        struct v4l2_frmivalenum { index, pixel_format, width, height, type_ = "type" }
        struct v4l2_control { id, value }
        struct v4l2_ext_control { id, size }
        struct v4l2_ext_controls { count, error_idx, request_fd, reserved, controls }
        struct v4l2_queryctrl { id, type_ = "type", name, minimum, maximum, step, default_value, flags }
        struct v4l2_query_ext_ctrl { id, type_ = "type", name, minimum, maximum, step, default_value, flags, elem_size, elems, nr_of_dims, dims }
        struct v4l2_querymenu { id, index, reserved }
        struct v4l2_framebuffer { capability, flags, base, fmt }
        struct v4l2_standard { index, id, name, frameperiod, framelines }
        struct v4l2_input { index, name, type_ = "type", audioset, tuner, std, status, capabilities }
        struct v4l2_output { index, name, type_ = "type", audioset, modulator, std, capabilities }
        struct v4l2_tuner { index, name, type_ = "type", capability, rangelow, rangehigh, rxsubchans, audmode, signal, afc }
        struct v4l2_modulator { index, name, capability, rangelow, rangehigh, txsubchans, type_ = "type" }
        struct v4l2_frequency { tuner, type_ = "type", frequency }
        struct v4l2_audio { index, name, capability, mode }
        struct v4l2_audioout { index, name, capability, mode }
        struct v4l2_edid { pad, start_block, blocks, edid }
        struct v4l2_crop { type_ = "type", c }
        struct v4l2_cropcap { type_ = "type", bounds, defrect, pixelaspect }
        struct v4l2_jpegcompression { quality, APPn, APP_len, APP_data, COM_len, COM_data, jpeg_markers }
        struct v4l2_sliced_vbi_cap { service_set, service_lines, type_ = "type" }
        struct v4l2_enc_idx { entries, entries_cap, entry }
        struct v4l2_encoder_cmd { cmd, flags }
        struct timeval { tv_sec, tv_usec }
    };
    text
}

fn accepts(compiler: &str, source: &Path) -> Option<Result<(), String>> {
    let mut command = Command::new(compiler);
    command.args(["-std=gnu11", "-fsyntax-only"]).arg(source);
    let output = command.output().ok()?;
    Some(match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    })
}

#[test]
fn the_bindings_have_the_layout_of_the_kernels_header() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("layout.c");
    std::fs::write(&file, source()).unwrap();
    // A wrong offset, which the compilers must reject.
    let wrong = folder.join("wrong.c");
    let line = offset("struct v4l2_buffer", "sequence", 1);
    std::fs::write(&wrong, source() + &line).unwrap();
    for compiler in ["cc", "aarch64-linux-gnu-gcc"] {
        let accepted = accepts(compiler, &file);
        let accepted = accepted
            .unwrap_or_else(|| panic!("no {compiler}; `cargo xtask test --install` puts it there"));
        accepted.unwrap_or_else(|error| panic!("{compiler}: {error}"));
        assert!(
            matches!(accepts(compiler, &wrong), Some(Err(_))),
            "{compiler} does not check the assertions"
        );
    }
}
