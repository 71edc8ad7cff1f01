//! Classes of A64 instructions, and the multiply-adds of the vector instructions that networks use.
//! The encodings are those of the Arm Architecture Reference Manual, section C4.1.

/// What an instruction does, for the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Arithmetic on vectors, of SVE too, and on floating-point numbers.
    Vector,
    /// A load, of any register.
    Load,
    /// A store, of any register.
    Store,
    /// Integers, addresses and branches.
    Other,
}

/// The class of an instruction word. Prefetches count as loads.
pub fn class(word: u32) -> Class {
    match word >> 25 & 0xf {
        // Loads and stores: bits 28 to 25 are x1x0.
        op if op & 0b0101 == 0b0100 => match stores(word) {
            true => Class::Store,
            false => Class::Load,
        },
        // Floating point and Advanced SIMD: x111.
        op if op & 0b0111 == 0b0111 => Class::Vector,
        // SVE: 0010. Its loads and stores are in the upper half.
        0b0010 => match (word >> 31, word >> 29 & 0b111) {
            (0, _) => Class::Vector,
            (_, 0b111) => Class::Store,
            _ => Class::Load,
        },
        _ => Class::Other,
    }
}

/// Whether an instruction of the group "loads and stores" stores.
fn stores(word: u32) -> bool {
    match word >> 27 & 0b111 {
        // Structures of SIMD (bit 26), exclusive and ordered: bit 22 is L. Pairs too.
        0b001 | 0b101 => word >> 22 & 1 == 0,
        // A load of a literal.
        0b011 => false,
        // One register: `opc`, whose upper bit is part of the size for SIMD.
        _ => match word >> 26 & 1 {
            1 => word >> 22 & 1 == 0,
            _ => word >> 22 & 0b11 == 0,
        },
    }
}

/// The multiply-adds of an instruction on vectors: float32, or 8-bit integers and the 16-bit ones that
/// they are widened to. Vectors of SVE have 128 bits, as on the emulated processor. 0 for any other
/// instruction.
pub fn multiply_adds(word: u32) -> u64 {
    let is = |mask: u32, value: u32| word & mask == value;
    let full = |lanes: u64| lanes >> (1 - (word >> 30 & 1));
    // SMMLA, UMMLA, USMMLA.
    if is(0xdfe0_fc00, 0x4e80_a400) || is(0xffe0_fc00, 0x4e80_ac00) {
        return 32;
    }
    // The same of SVE, and its SDOT and UDOT.
    if is(0xff20_fc00, 0x4500_9800) {
        return 32;
    }
    if is(0xffe0_f800, 0x4480_0000) {
        return 16;
    }
    // SDOT and UDOT of vectors and by element; USDOT of vectors; USDOT and SUDOT by element.
    if is(0x9fe0_fc00, 0x0e80_9400)
        || is(0x9fc0_f400, 0x0f80_e000)
        || is(0xbfe0_fc00, 0x0e80_9c00)
        || is(0xbf40_f400, 0x0f00_f000)
    {
        return full(16);
    }
    // FMLA of vectors and by element, single precision.
    if is(0xbfe0_fc00, 0x0e20_cc00) || is(0xbfc0_f400, 0x0f80_1000) {
        return full(4);
    }
    // SMLAL, SMULL and their unsigned forms of vectors: 8, 4 or 2 lanes.
    if is(0x9f20_fc00, 0x0e20_8000) || is(0x9f20_fc00, 0x0e20_c000) {
        return 8 >> (word >> 22 & 0b11);
    }
    // The same by element: 4 or 2 lanes.
    if is(0x9f00_f400, 0x0f00_2000) || is(0x9f00_f400, 0x0f00_a000) {
        return 8 >> (word >> 22 & 0b11);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words from GNU as 2.40.
    #[test]
    fn instructions_have_their_class() {
        for (word, name, expected) in [
            (0x3dc0_0400, "ldr q0, [x0, #16]", Class::Load),
            (0x3d80_0400, "str q0, [x0, #16]", Class::Store),
            (0x3d40_0000, "ldr b0, [x0]", Class::Load),
            (0xbd00_0000, "str s0, [x0]", Class::Store),
            (0xf940_0000, "ldr x0, [x0]", Class::Load),
            (0xf900_0000, "str x0, [x0]", Class::Store),
            (0xb980_0000, "ldrsw x0, [x0]", Class::Load),
            (0x4d40_c800, "ld1r {v0.4s}, [x0]", Class::Load),
            (0x4c00_7800, "st1 {v0.4s}, [x0]", Class::Store),
            (0xa940_0400, "ldp x0, x1, [x0]", Class::Load),
            (0xad00_0400, "stp q0, q1, [x0]", Class::Store),
            (0x5800_0000, "ldr x0, .", Class::Load),
            (0x4e82_9420, "sdot v0.4s, v1.16b, v2.16b", Class::Vector),
            (0x1e22_2820, "fadd s0, s1, s2", Class::Vector),
            (0x0490_0000, "mul z0.s, p0/m, z0.s, z0.s", Class::Vector),
            (0xa540_a000, "ld1w {z0.s}, p0/z, [x0]", Class::Load),
            (0xe540_e000, "st1w {z0.s}, p0, [x0]", Class::Store),
            (0x8b01_0000, "add x0, x0, x1", Class::Other),
            (0x54ff_ffe1, "b.ne", Class::Other),
            (0xd65f_03c0, "ret", Class::Other),
        ] {
            assert_eq!(class(word), expected, "{name}");
        }
    }

    #[test]
    fn multiply_adds_are_counted_for_each_lane() {
        for (word, name, expected) in [
            (0x4e82_9420, "sdot v0.4s, v1.16b, v2.16b", 16),
            (0x0e82_9420, "sdot v0.2s, v1.8b, v2.8b", 8),
            (0x6e82_9420, "udot v0.4s, v1.16b, v2.16b", 16),
            (0x4fa2_e820, "sdot v0.4s, v1.16b, v2.4b[3]", 16),
            (0x4e82_9c20, "usdot v0.4s, v1.16b, v2.16b", 16),
            (0x4f02_f020, "sudot v0.4s, v1.16b, v2.4b[0]", 16),
            (0x4f82_f020, "usdot v0.4s, v1.16b, v2.4b[0]", 16),
            (0x4e82_a420, "smmla v0.4s, v1.16b, v2.16b", 32),
            (0x6e82_a420, "ummla v0.4s, v1.16b, v2.16b", 32),
            (0x4e82_ac20, "usmmla v0.4s, v1.16b, v2.16b", 32),
            (0x4502_9820, "smmla z0.s, z1.b, z2.b", 32),
            (0x45c2_9820, "ummla z0.s, z1.b, z2.b", 32),
            (0x4582_9820, "usmmla z0.s, z1.b, z2.b", 32),
            (0x4482_0020, "sdot z0.s, z1.b, z2.b", 16),
            (0x4482_0420, "udot z0.s, z1.b, z2.b", 16),
            (0x44c2_0020, "sdot z0.d, z1.h, z2.h", 0),
            (0x4e22_cc20, "fmla v0.4s, v1.4s, v2.4s", 4),
            (0x0e22_cc20, "fmla v0.2s, v1.2s, v2.2s", 2),
            (0x4fa2_1820, "fmla v0.4s, v1.4s, v2.s[3]", 4),
            (0x0e22_c020, "smull v0.8h, v1.8b, v2.8b", 8),
            (0x4e22_8020, "smlal2 v0.8h, v1.16b, v2.16b", 8),
            (0x0e62_8020, "smlal v0.4s, v1.4h, v2.4h", 4),
            (0x0f62_2820, "smlal v0.4s, v1.4h, v2.h[6]", 4),
            (0x2f52_a020, "umull v0.4s, v1.4h, v2.h[1]", 4),
            (0x4e62_cc20, "fmla v0.2d, v1.2d, v2.2d", 0),
            (0x4e60_6820, "sadalp v0.4s, v1.8h", 0),
            (0x8b01_0000, "add x0, x0, x1", 0),
        ] {
            assert_eq!(multiply_adds(word), expected, "{name}");
        }
    }
}
