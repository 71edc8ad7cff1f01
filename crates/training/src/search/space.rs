//! The combinations of strategies that a search tries.

use crate::optimise::recipe::Settings;
use crate::optimise::strategy::Strategy;

/// The shares of the multiply-adds that structured pruning leaves.
const SHARES: [f64; 6] = [0.7, 0.5, 0.35, 0.25, 0.18, 0.12];

/// A strategy with its settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// The name of its files: the strategy, and the share that is left in percent.
    pub name: String,
    /// The strategy.
    pub strategy: Strategy,
    /// Its settings.
    pub settings: Settings,
}

/// All combinations: pruned or clustered, with fewer and fewer channels. Each is trained in the
/// engine's arithmetic, so that its error is that of the engine.
pub fn combinations(settings: Settings) -> Vec<Combination> {
    let whole = [Strategy::Qat, Strategy::Cqat, Strategy::PruneQat].map(|strategy| Combination {
        name: strategy.name().to_owned(),
        strategy,
        settings,
    });
    let smaller = SHARES.into_iter().flat_map(|share| {
        [Strategy::StructuredQat, Strategy::StructuredCqat].map(|strategy| Combination {
            name: format!("{}-{:.0}", strategy.name(), 100.0 * share),
            strategy,
            settings: Settings {
                share: Some(share),
                microseconds: None,
                ..settings
            },
        })
    });
    whole.into_iter().chain(smaller).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_have_different_names() {
        let mut names: Vec<String> = combinations(Settings::default())
            .into_iter()
            .map(|combination| combination.name)
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), count), (15, 15));
        assert!(names.contains(&"structured-qat-35".to_owned()), "{names:?}");
    }
}
