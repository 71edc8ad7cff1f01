//! The `minisign` crate, which shares no code with the verifier, and the minisign program itself
//! make the signatures.

use std::io::Cursor;

use minisign::KeyPair;
use proptest::prelude::*;

use super::*;

/// The minisign program's signature with the key `PROGRAM`, of the bytes `test`.
const PROGRAM: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const BY_PROGRAM: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==
";
/// The signature of an old minisign program, which signs the bytes instead of their hash.
const BY_OLD_PROGRAM: &str = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
";

fn trusting(keys: &[&str]) -> Trust {
    Trust {
        keys: keys.iter().map(|key| public_key(key).unwrap()).collect(),
        required: true,
    }
}

fn signed(bytes: &[u8]) -> (Trust, String) {
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let signature = minisign::sign(None, &pair.sk, Cursor::new(bytes), Some("for Sally"), None);
    let key = pair.pk.to_base64();
    (trusting(&[&key]), signature.unwrap().into_string())
}

#[test]
fn the_minisign_program_s_signature_is_good() {
    let comment = "timestamp:1556193335\tfile:test".to_owned();
    assert_eq!(
        trusting(&[PROGRAM]).check(b"test", Some(BY_PROGRAM.as_bytes())),
        Ok(Signature::Good { comment })
    );
    assert_eq!(
        trusting(&[PROGRAM]).check(b"Test", Some(BY_PROGRAM.as_bytes())),
        Err(SignatureError::Wrong)
    );
    assert_eq!(
        trusting(&[PROGRAM]).check(b"test", Some(BY_OLD_PROGRAM.as_bytes())),
        Err(SignatureError::Legacy)
    );
}

#[test]
fn any_trusted_key_may_have_signed_and_no_other() {
    let (trust, signature) = signed(b"an engine");
    let comment = "for Sally".to_owned();
    let signature = Some(signature.as_bytes());
    let good = Ok(Signature::Good { comment });
    assert_eq!(trust.check(b"an engine", signature), good);
    let mut two = trusting(&[PROGRAM]);
    assert_eq!(
        two.check(b"an engine", signature),
        Err(SignatureError::UnknownKey)
    );
    two.keys.extend(trust.keys);
    assert_eq!(two.check(b"an engine", signature), good);
}

#[test]
fn a_key_with_the_number_of_a_trusted_key_is_refused() {
    let [signer, trusted] = [(); 2].map(|()| KeyPair::generate_unencrypted_keypair().unwrap());
    // Bytes 2 to 10 are the key's number, which only selects a key.
    let mut bytes = trusted.pk.to_bytes();
    bytes[2..10].copy_from_slice(&signer.pk.to_bytes()[2..10]);
    let key = minisign::PublicKey::from_bytes(&bytes).unwrap().to_base64();
    let signature = minisign::sign(None, &signer.sk, Cursor::new(b"an engine"), None, None);
    assert_eq!(
        trusting(&[&key]).check(
            b"an engine",
            Some(signature.unwrap().into_string().as_bytes())
        ),
        Err(SignatureError::Wrong)
    );
}

#[test]
fn a_signature_may_be_left_out_only_where_none_is_required() {
    let mut trust = trusting(&[PROGRAM]);
    assert_eq!(trust.check(b"test", None), Err(SignatureError::Missing));
    trust.required = false;
    assert_eq!(trust.check(b"test", None), Ok(Signature::Absent));
    assert_eq!(
        trust.check(b"Test", Some(BY_PROGRAM.as_bytes())),
        Err(SignatureError::Wrong),
        "one that is there counts all the same"
    );
    let no_keys = Trust::default();
    assert_eq!(no_keys.check(b"test", None), Ok(Signature::Absent));
    assert_eq!(
        no_keys.check(b"Test", Some(BY_PROGRAM.as_bytes())),
        Ok(Signature::Unchecked)
    );
    let required = Trust {
        required: true,
        ..no_keys
    };
    assert_eq!(
        required.check(b"test", Some(BY_PROGRAM.as_bytes())),
        Err(SignatureError::UnknownKey)
    );
}

#[test]
fn invalid_signature_files_are_refused() {
    let trust = trusting(&[PROGRAM]);
    let mut long = BY_PROGRAM.to_owned();
    long.push_str(&"\n".repeat(LONGEST_FILE as usize));
    for bytes in [&b""[..], b"\xff\xfe", b"a\nb\nc\nd\n", long.as_bytes()] {
        assert_eq!(
            trust.check(b"test", Some(bytes)),
            Err(SignatureError::Malformed)
        );
    }
}

#[test]
fn a_signature_lies_beside_its_file() {
    assert_eq!(
        path(Path::new("/cars/my.engine")),
        Path::new("/cars/my.engine.minisig")
    );
}

proptest! {
    #[test]
    fn one_changed_bit_is_found(bytes in prop::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, bit in 0_u8..8) {
        let (trust, signature) = signed(&bytes);
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= 1_u8 << bit;
        prop_assert_eq!(
            trust.check(&changed, Some(signature.as_bytes())),
            Err(SignatureError::Wrong)
        );
        // Also in the signature, except for its first line, the untrusted comment.
        let first = signature.find('\n').unwrap() + 1;
        let end = signature.trim_end().len();
        let mut changed = signature.into_bytes();
        let place = first + at.index(end - first);
        changed[place] ^= 1_u8 << bit;
        prop_assert!(trust.check(&bytes, Some(&changed)).is_err(), "byte {}", place);
    }

    #[test]
    fn no_bytes_are_a_signature_by_chance(signature: Vec<u8>) {
        prop_assert!(trusting(&[PROGRAM]).check(b"test", Some(&signature)).is_err());
    }
}
