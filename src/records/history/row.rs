//! What the history keeps of a build and of a transfer.

use serde::de::IntoDeserializer;
use serde::de::value::Error as NoSuch;
use serde::{Deserialize, Serialize};

use crate::cost::{LinkSample, OutputClass, Sample};
use crate::run::Failure;

/// The longest text that is kept of a name, in bytes; a store path's name has 211 at most.
const LONGEST: usize = 255;

/// A build that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// What was built, where, and how long it took.
    #[serde(flatten)]
    pub sample: Sample,
    /// How it ended. Only [`Ended::Built`] says how long such builds take.
    pub outcome: Ended,
    /// The run that it was part of, or the file that it was taken from.
    pub run: String,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It was built.
    Built,
    /// Its outputs were there already, or were fetched.
    Cached,
    /// The builder failed.
    Failed,
    /// It ran longer, or was silent longer, than allowed.
    TimedOut,
    /// A fixed output had another hash.
    HashMismatch,
    /// A check build differed.
    NotDeterministic,
    /// It wrote more log than allowed.
    LogLimit,
}

/// A transfer over the link between this machine and a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Where, how much, how long.
    #[serde(flatten)]
    pub sample: LinkSample,
    /// When it ended, in seconds since 1970.
    pub at: u64,
}

/// One thing to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    Build(Build),
    Transfer(Transfer),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Ended {
        match failure {
            Failure::Build => Ended::Failed,
            Failure::TimedOut => Ended::TimedOut,
            Failure::HashMismatch => Ended::HashMismatch,
            Failure::NotDeterministic => Ended::NotDeterministic,
            Failure::LogLimit => Ended::LogLimit,
        }
    }
}

impl Build {
    /// With names no longer than a name can be.
    pub fn bounded(mut self) -> Build {
        let Sample { pname, version, system, host, .. } = &mut self.sample;
        [pname, version, system, host, &mut self.run].into_iter().for_each(bound);
        self
    }

    /// Its name with its version.
    pub fn name(&self) -> String {
        name(&self.sample.pname, &self.sample.version)
    }
}

/// A package's name with its version, if it has one.
pub fn name(pname: &str, version: &str) -> String {
    if version.is_empty() { pname.to_owned() } else { format!("{pname}-{version}") }
}

/// Cuts a text off where it is longer than any name, between two characters.
pub fn bound(text: &mut String) {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
}

/// A word as a value; `None` for words of other versions.
pub fn word<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    T::deserialize(IntoDeserializer::<NoSuch>::into_deserializer(text)).ok()
}

/// The word for a kind of derivation.
pub fn class_word(class: OutputClass) -> String {
    to_word(&class)
}

/// The word for an outcome.
pub fn outcome_word(outcome: Ended) -> String {
    to_word(&outcome)
}

fn to_word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for class in OutputClass::ALL {
            assert_eq!(word(&class_word(class)), Some(class));
        }
        assert_eq!(word(&outcome_word(Ended::TimedOut)), Some(Ended::TimedOut));
        assert_eq!(outcome_word(Ended::TimedOut), "timed-out");
        assert_eq!(word::<Ended>("vanished"), None);
    }

    #[test]
    fn names_are_cut_between_characters() {
        let mut long = "ä".repeat(300);
        bound(&mut long);
        assert_eq!(long, "ä".repeat(127));
        let mut short = "gcc".to_owned();
        bound(&mut short);
        assert_eq!(short, "gcc");
    }
}
