use super::*;
use proptest::prelude::*;

#[test]
fn the_checksum_has_the_published_check_value() {
    // CRC-16/XMODEM's check value (reveng's catalogue).
    assert_eq!(crc16(b"123456789"), 0x31C3);
}

#[test]
fn packets_are_framed() {
    let mut packet = Packet::default();
    packet.set_duty(0.2);
    let [high, low] = crc16(&[5, 0, 0, 0x4E, 0x20]).to_be_bytes();
    assert_eq!(packet.bytes(), [2, 5, 5, 0, 0, 0x4E, 0x20, high, low, 3]);
    let mut packet = Packet::default();
    packet.stop(0.0);
    assert_eq!(packet.bytes()[2], SET_CURRENT);
    let mut packet = Packet::default();
    packet.stop(12.5);
    assert_eq!(packet.bytes()[2..7], [SET_CURRENT_BRAKE, 0, 0, 0x30, 0xD4]);
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let mut sent = Packet::default();
    sent.add(payload);
    sent.bytes().to_vec()
}

#[test]
fn answers_are_found_among_noise() {
    let mut parser = Parser::default();
    let mut bytes = vec![7, 3, START, 0, 9];
    bytes.extend(packet(&[0, 6, 2]));
    bytes.extend(packet(&[4, 1]));
    let mut broken = packet(&[0, 6, 2]);
    broken[4] ^= 1;
    bytes.extend(broken);
    bytes.extend(packet(&[0, 6, 2, b'V', 0]));
    // A value that was not requested, and the requested one.
    bytes.extend(packet(&[50, 0, 0, 0, 1, 0, 0, 3, 0]));
    bytes.extend(packet(&[50, 0, 0, 0, 0x80, 0xFF, 0xFF, 0xFF, 0x9C]));
    let found: Vec<_> = bytes
        .iter()
        .filter_map(|byte| parser.answer(*byte))
        .collect();
    assert_eq!(
        found,
        [Answer::Version, Answer::Version, Answer::Erpm(-100)]
    );
}

#[test]
fn an_echoed_request_is_not_an_answer() {
    let mut request = Packet::default();
    request.ask_version();
    request.ask_erpm();
    let mut parser = Parser::default();
    let mut bytes = request.bytes().iter();
    assert_eq!(bytes.find_map(|byte| parser.answer(*byte)), None);
}

proptest! {
    #[test]
    fn the_first_answer_after_noise_is_found(noise in prop::collection::vec(any::<u8>(), 0..5000)) {
        let mut parser = Parser::default();
        for byte in noise {
            let _ = parser.answer(byte);
        }
        // The start of a longer packet.
        for byte in [START, 250, FW_VERSION] {
            let _ = parser.answer(byte);
        }
        let answer = packet(&[0, 6, 2]);
        let found: Vec<bool> = answer.iter().map(|byte| parser.answer(*byte).is_some()).collect();
        prop_assert_eq!(found, [false, false, false, false, false, false, false, true]);
    }
}
