use proptest::prelude::*;

use super::*;

fn command(sequence: u64) -> Command {
    Command {
        steering: 0.0,
        throttle: 0.0,
        captured: Time::ZERO,
        sequence,
    }
}

proptest! {
    #[test]
    fn a_queue_is_a_stable_sort_by_arrival_of_fixed_size(
        moves in prop::collection::vec((0u64..8, any::<bool>()), 1..200),
    ) {
        let mut queue = Queue::default();
        let mut reference: Vec<(Time, u64)> = Vec::new();
        for (sequence, (nanos, push)) in (0u64..).zip(moves) {
            let time = Time::from_nanos(nanos);
            if push {
                let fits = reference.len() < QUEUE_CAPACITY;
                prop_assert_eq!(queue.push(time, command(sequence)), fits);
                if fits {
                    reference.push((time, sequence));
                    reference.sort_by_key(|&(time, _)| time);
                }
            } else {
                let arrived = reference.first().is_some_and(|&(at, _)| at <= time);
                let expected = arrived.then(|| reference.remove(0));
                let popped = queue.pop(time).map(|(at, command)| (at, command.sequence));
                prop_assert_eq!(popped, expected);
            }
        }
    }
}
