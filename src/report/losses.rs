//! Where a run's time went beyond its lower bound, in words.

use crate::base::Span;
use crate::run::Losses;

/// What is less than this part of the makespan is not worth a word.
const NOTABLE: u64 = 1000;

/// `no ready work 12s, transfer 3.0s`: the largest first. Nothing if there is nothing to speak of.
pub fn loss_parts(losses: &Losses) -> Option<String> {
    let least = Span((losses.makespan.0 / NOTABLE).max(50_000));
    let mut parts: Vec<_> = losses.parts().into_iter().filter(|(_, span)| *span >= least).collect();
    parts.sort_by_key(|(_, span)| std::cmp::Reverse(*span));
    let words: Vec<String> = parts.into_iter().map(|(what, span)| format!("{what} {span}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_loss_comes_first_and_none_is_not_mentioned() {
        let losses = Losses {
            makespan: Span::from_secs(100),
            bound: Span::from_secs(85),
            transfer: Span::from_secs(3),
            no_ready_work: Span::from_millis(60),
            waiting_by_choice: Span(11_940_000),
            ..Losses::default()
        };
        assert_eq!(loss_parts(&losses).as_deref(), Some("waiting by choice 12s, transfer 3.0s"));
        assert_eq!(loss_parts(&Losses::default()), None);
    }
}
