use proptest::prelude::*;

use super::*;

/// The example of the maker's manual.
const EXAMPLE: [u8; LENGTH] = [
    0x54, 0x2C, 0x68, 0x08, 0xAB, 0x7E, 0xE0, 0x00, 0xE4, 0xDC, 0x00, 0xE2, 0xD9, 0x00, 0xE5, 0xD5,
    0x00, 0xE3, 0xD3, 0x00, 0xE4, 0xD0, 0x00, 0xE9, 0xCD, 0x00, 0xE4, 0xCA, 0x00, 0xE2, 0xC7, 0x00,
    0xE9, 0xC5, 0x00, 0xE5, 0xC2, 0x00, 0xE5, 0xC0, 0x00, 0xE5, 0xBE, 0x82, 0x3A, 0x1A, 0x50,
];

fn found(parser: &mut Parser, bytes: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    parser.take(bytes, |packet| packets.push(*packet));
    packets
}

#[test]
fn the_makers_example_is_read() {
    let packets = found(&mut Parser::default(), &EXAMPLE);
    let [packet] = packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!((packet.speed, packet.time), (2152, 6714));
    assert_eq!(packet.millimetres[..3], [224, 220, 217]);
    assert_eq!((packet.angle(0), packet.angle(11)), (32427, 33470));
}

fn packet() -> impl Strategy<Value = [u8; LENGTH]> {
    let (start, span) = (0..TURN, 0..=WIDEST);
    (
        0..9000_u16,
        start,
        span,
        any::<[u16; POINTS]>(),
        0..30_000_u16,
    )
        .prop_map(|(speed, start, span, distances, time)| {
            let angles = (start as u16, ((start + span) % TURN) as u16);
            encode(speed, angles, &distances, time)
        })
}

proptest! {
    #[test]
    fn any_bytes_are_counted_and_do_not_hide_the_packets_after_them(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        packet in packet(),
        pieces in prop::collection::vec(1..60_usize, 20),
    ) {
        let mut parser = Parser::default();
        // A noise that begins as a packet does takes bytes of the first packets as its own, and gives
        // them back.
        let mut stream = noise.clone();
        for _ in 0..3 {
            stream.extend(packet);
        }
        let mut packets = 0;
        let mut rest = &stream[..];
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*piece));
            packets += found(&mut parser, now).len();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(packets >= 3, "{packets}");
        let counts = parser.counts();
        let used = counts.good as usize * LENGTH + counts.skipped as usize + parser.filled;
        prop_assert_eq!(used, stream.len());
    }

    #[test]
    fn one_changed_byte_damages_its_packet_alone(
        packet in packet(), at in 0..LENGTH, change in 1..=255_u8,
    ) {
        let mut stream = [packet, packet, packet].concat();
        stream[LENGTH + at] ^= change;
        let mut parser = Parser::default();
        let packets = found(&mut parser, &stream);
        prop_assert!(packets.len() >= 2);
        prop_assert!(packets[0] == packets[packets.len() - 1]);
        prop_assert!(parser.counts().bad > 0 || at < 2, "{:?}", parser.counts());
    }

    #[test]
    fn what_is_written_is_read(
        start in 0..TURN, span in 0..=WIDEST, distances in any::<[u16; POINTS]>(), time in 0..30_000_u16,
    ) {
        let end = (start + span) % TURN;
        let bytes = encode(3600, (start as u16, end as u16), &distances, time);
        let read = found(&mut Parser::default(), &bytes);
        let expected = Packet { speed: 3600, start, span, millimetres: distances, time };
        prop_assert_eq!(read, vec![expected]);
    }
}

#[test]
fn a_packet_that_covers_too_much_is_damaged() {
    let bytes = encode(3600, (0, 3001), &[1; POINTS], 0);
    let mut parser = Parser::default();
    assert_eq!(found(&mut parser, &bytes), []);
    assert_eq!(parser.counts().bad, 1);
}
