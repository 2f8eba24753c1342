//! The outermost level of the JSON: which derivations there are, each still unread.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::raw::Text;
use super::{NEWEST, OLDEST, ShowError, bare_message, shorten};

type Entries<'a> = Vec<(Text<'a>, &'a RawValue)>;

/// The derivations by name, in the order of the text, duplicates included.
pub(super) struct Listing<'a> {
    pub(super) entries: Entries<'a>,
    /// The version of the wrapped form.
    version: Option<u64>,
}

impl<'a> Listing<'a> {
    pub(super) fn parse(json: &'a str) -> Result<Self, ShowError> {
        let unknown = |version: &u64| !(OLDEST..=NEWEST).contains(version);
        let listing: Self = serde_json::from_str(json).map_err(|error| {
            // A version that is not known explains a shape that is not, so it is the better message.
            match serde_json::from_str::<Version>(json) {
                Ok(Version { version: Some(found) }) if unknown(&found) => ShowError::Version { found },
                _ => ShowError::Json {
                    line: error.line(),
                    column: error.column().max(1),
                    what: bare_message(&error),
                },
            }
        })?;
        match listing.version.filter(unknown) {
            Some(found) => Err(ShowError::Version { found }),
            None => Ok(listing),
        }
    }
}

/// Only the version, whatever else there is.
#[derive(serde::Deserialize)]
struct Version {
    version: Option<u64>,
}

impl<'de> Deserialize<'de> for Listing<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ListingVisitor)
    }
}

struct ListingVisitor;

impl<'de> Visitor<'de> for ListingVisitor {
    type Value = Listing<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of derivations, as `nix derivation show` prints it")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut bare = Entries::new();
        let mut wrapped: Option<Entries<'de>> = None;
        let mut version = None;
        let mut other: Option<Text<'de>> = None;
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match &*key {
                "derivations" if wrapped.is_some() => return Err(A::Error::duplicate_field("derivations")),
                "derivations" => wrapped = Some(map.next_value::<Wrapped<'de>>()?.0),
                "version" if version.is_some() => return Err(A::Error::duplicate_field("version")),
                "version" => version = Some(map.next_value()?),
                name if name.ends_with(".drv") => bare.push((key, map.next_value()?)),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    other.get_or_insert(key);
                }
            }
        }
        match (wrapped, bare.first(), other) {
            (Some(entries), None, _) => Ok(Listing { entries, version }),
            (Some(_), Some((key, _)), _) => {
                Err(A::Error::custom(format_args!("derivation '{}' beside 'derivations'", shorten(key))))
            }
            (None, _, Some(key)) => {
                Err(A::Error::custom(format_args!("the key '{}' is not a derivation", shorten(&key))))
            }
            (None, _, None) if version.is_some() => Err(A::Error::missing_field("derivations")),
            (None, _, None) => Ok(Listing { entries: bare, version }),
        }
    }
}

/// The inner object of the wrapped form.
struct Wrapped<'a>(Entries<'a>);

impl<'de> Deserialize<'de> for Wrapped<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        super::raw::pairs(from, "an object of derivations").map(Self)
    }
}
