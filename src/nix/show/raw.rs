//! One derivation as the JSON has it, whichever version: every field of every shape, borrowed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::assemble::{BadDerivation, OutputParts, Parts, Unsupported};
use super::super::attributes::Environment;
use super::super::store_path::{BadStorePath, StorePath, shorten};

/// A string, borrowed unless it has escapes.
#[derive(Debug, PartialEq)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        from.deserialize_str(TextVisitor)
    }
}

/// Reads an object as pairs in their order, with duplicates.
pub(super) fn pairs<'de, D, V>(from: D, expected: &'static str) -> Result<Vec<(Text<'de>, V)>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct PairsVisitor<V>(&'static str, PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
        type Value = Vec<(Text<'de>, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }

    from.deserialize_map(PairsVisitor(expected, PhantomData))
}

/// A derivation. Fields that are not needed (`args`) are skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawDerivation<'a> {
    pub(super) version: Option<u64>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    // Nix before 2.4 called it so.
    #[serde(borrow, alias = "platform")]
    system: Text<'a>,
    #[serde(borrow)]
    builder: Text<'a>,
    #[serde(borrow, deserialize_with = "outputs")]
    outputs: Vec<(Text<'a>, RawOutput<'a>)>,
    #[serde(borrow)]
    inputs: Option<RawInputs<'a>>,
    #[serde(borrow)]
    input_srcs: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    input_drvs: Option<RawInputDrvs<'a>>,
    #[serde(borrow, deserialize_with = "environment")]
    env: Environment<'a>,
    #[serde(borrow)]
    structured_attrs: Option<&'a RawValue>,
}

/// Both kinds of inputs, together since format version 4.
#[derive(Deserialize)]
struct RawInputs<'a> {
    #[serde(borrow)]
    srcs: Vec<Text<'a>>,
    #[serde(borrow)]
    drvs: RawInputDrvs<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawOutput<'a> {
    #[serde(borrow)]
    path: Option<Text<'a>>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    hash_algo: Option<Text<'a>>,
    #[serde(borrow)]
    hash: Option<Text<'a>>,
    impure: Option<bool>,
}

fn outputs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(Text<'de>, RawOutput<'de>)>, D::Error> {
    pairs(from, "an object of outputs")
}

struct RawInputDrvs<'a>(Vec<(Text<'a>, RawInputDrv)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawInputDrvs<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        pairs(from, "an object of input derivations").map(Self)
    }
}

/// What is used of an input derivation.
struct RawInputDrv {
    outputs: Vec<String>,
    /// Whether it uses outputs of a derivation that an output of the input is.
    dynamic: bool,
}

impl<'de> Deserialize<'de> for RawInputDrv {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InputVisitor;

        impl<'de> Visitor<'de> for InputVisitor {
            type Value = RawInputDrv;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of outputs, or an object with 'outputs' and 'dynamicOutputs'")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut outputs = Vec::new();
                while let Some(output) = list.next_element()? {
                    outputs.push(output);
                }
                Ok(RawInputDrv { outputs, dynamic: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut outputs, mut dynamic) = (None, false);
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    match &*key {
                        "outputs" if outputs.is_some() => return Err(A::Error::duplicate_field("outputs")),
                        "outputs" => outputs = Some(map.next_value()?),
                        "dynamicOutputs" => dynamic |= map.next_value::<AnyEntry>()?.0,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let outputs = outputs.ok_or_else(|| A::Error::missing_field("outputs"))?;
                Ok(RawInputDrv { outputs, dynamic })
            }
        }

        from.deserialize_any(InputVisitor)
    }
}

/// Whether an object has entries.
struct AnyEntry(bool);

impl<'de> Deserialize<'de> for AnyEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let entries: Vec<(_, IgnoredAny)> = pairs(from, "an object of dynamic outputs")?;
        Ok(Self(!entries.is_empty()))
    }
}

/// Keeps the few variables that matter.
fn environment<'de, D: Deserializer<'de>>(from: D) -> Result<Environment<'de>, D::Error> {
    struct EnvironmentVisitor;

    impl<'de> Visitor<'de> for EnvironmentVisitor {
        type Value = Environment<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of environment variables")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut environment = Environment::default();
            while let Some(name) = map.next_key::<Text<'de>>()? {
                match environment.slot(name.as_bytes()) {
                    None => drop(map.next_value::<IgnoredAny>()?),
                    Some(Some(_)) => {
                        return Err(A::Error::custom(format_args!("duplicate variable '{}'", &*name)));
                    }
                    Some(slot) => *slot = Some(map.next_value::<Text<'de>>()?.0),
                }
            }
            Ok(environment)
        }
    }

    from.deserialize_map(EnvironmentVisitor)
}

impl<'a> RawDerivation<'a> {
    /// The path of its output `out`, as its environment has it.
    pub(super) fn own_path(&self) -> Option<StorePath> {
        let out = StorePath::parse(self.env.out.as_deref()?).ok()?;
        let (_, output) = self.outputs.iter().find(|(name, _)| &**name == "out")?;
        output.path.as_ref().is_none_or(|base| **base == *out.base_name()).then_some(out)
    }

    /// Resolves all paths; `key` is its own. Takes the inputs out.
    pub(super) fn parts(&'a mut self, key: &str, store_dir: &str) -> Result<Parts<'a>, BadDerivation> {
        let path = resolve(key, store_dir)?;
        if let Some(name) = self.name.as_deref().filter(|name| path.derivation_name() != Some(*name)) {
            return Err(BadDerivation::Name(shorten(name)));
        }
        let (srcs, drvs) = self.take_inputs()?;
        let outputs: Result<_, BadDerivation> =
            self.outputs.iter().map(|(name, output)| output.parts(name, store_dir)).collect();
        let input_srcs: Result<_, _> = srcs.iter().map(|src| resolve(src, store_dir)).collect();
        let input_drvs: Result<_, _> =
            drvs.0.into_iter().map(|(drv, used)| used.resolve(&drv, store_dir)).collect();
        Ok(Parts {
            path,
            system: &self.system,
            builder: &self.builder,
            outputs: outputs?,
            input_srcs: input_srcs?,
            input_drvs: input_drvs?,
            environment: &self.env,
            structured: self.structured_attrs.map(RawValue::get),
        })
    }

    fn take_inputs(&mut self) -> Result<(Vec<Text<'a>>, RawInputDrvs<'a>), BadDerivation> {
        match (self.inputs.take(), self.input_srcs.take(), self.input_drvs.take()) {
            (Some(inputs), None, None) => Ok((inputs.srcs, inputs.drvs)),
            (None, Some(srcs), Some(drvs)) => Ok((srcs, drvs)),
            (Some(_), _, _) => {
                Err(BadDerivation::Inputs("it has 'inputs' beside 'inputSrcs' or 'inputDrvs'"))
            }
            (None, None, None) => {
                Err(BadDerivation::Inputs("it has neither 'inputs' nor 'inputSrcs' and 'inputDrvs'"))
            }
            (None, None, Some(_)) => Err(BadDerivation::Inputs("it has no 'inputSrcs'")),
            (None, Some(_), None) => Err(BadDerivation::Inputs("it has no 'inputDrvs'")),
        }
    }
}

impl<'a> RawOutput<'a> {
    fn parts(&'a self, name: &'a str, store_dir: &str) -> Result<OutputParts<'a>, BadDerivation> {
        Ok(OutputParts {
            name,
            path: self.path.as_ref().map(|path| resolve(path, store_dir)).transpose()?,
            method: self.method.as_deref(),
            algo: self.hash_algo.as_deref(),
            hash: self.hash.as_deref(),
            impure: self.impure.unwrap_or(false),
        })
    }
}

impl RawInputDrv {
    fn resolve(self, drv: &str, store_dir: &str) -> Result<(StorePath, Vec<String>), BadDerivation> {
        let path = resolve(drv, store_dir)?;
        if self.dynamic {
            return Err(BadDerivation::Unsupported {
                unsupported: Unsupported::Dynamic,
                at: path.to_string(),
            });
        }
        Ok((path, self.outputs))
    }
}

/// Base names and full paths are told apart by the `/` in front.
fn resolve(text: &str, store_dir: &str) -> Result<StorePath, BadStorePath> {
    if text.starts_with('/') { StorePath::parse(text) } else { StorePath::from_base_name(store_dir, text) }
}
