//! The few attributes of a derivation that bear on scheduling, from either place they can be in.
//!
//! Without structured attributes they are environment strings (`"1"`, words); with them they are JSON
//! values, and then the environment says nothing about them, even where it has the name.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::assemble::BadDerivation;
use super::derivation::Options;

/// The environment variables that are read; the others are not kept.
#[derive(Debug, Default)]
pub(super) struct Environment<'a> {
    pname: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
    required_features: Option<Cow<'a, str>>,
    prefer_local: Option<Cow<'a, str>>,
    allow_substitutes: Option<Cow<'a, str>>,
    parallel: Option<Cow<'a, str>>,
    /// The path of the first output, from which the store directory is known.
    pub(super) out: Option<Cow<'a, str>>,
    /// Structured attributes, where the format puts them into the environment.
    json: Option<Cow<'a, str>>,
}

impl<'a> Environment<'a> {
    /// Where the value of this variable goes, if it is of any interest.
    pub(super) fn slot(&mut self, name: &[u8]) -> Option<&mut Option<Cow<'a, str>>> {
        Some(match name {
            b"pname" => &mut self.pname,
            b"version" => &mut self.version,
            b"requiredSystemFeatures" => &mut self.required_features,
            b"preferLocalBuild" => &mut self.prefer_local,
            b"allowSubstitutes" => &mut self.allow_substitutes,
            b"enableParallelBuilding" => &mut self.parallel,
            b"out" => &mut self.out,
            b"__json" => &mut self.json,
            _ => return None,
        })
    }

    /// Reads the attributes, from `structured` (JSON text) where there is such.
    pub(super) fn read(&self, structured: Option<&str>) -> Result<Attributes, BadDerivation> {
        match structured.or(self.json.as_deref()) {
            Some(json) => Structured::parse(json)?.read(),
            None => Ok(self.read_strings()),
        }
    }

    fn read_strings(&self) -> Attributes {
        let is_one = |value: &Option<Cow<'_, str>>| value.as_ref().map(|text| text == "1");
        let text =
            |value: &Option<Cow<'_, str>>| value.as_deref().filter(|t| !t.is_empty()).map(str::to_owned);
        let words = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect();
        Attributes {
            pname: text(&self.pname),
            version: text(&self.version),
            options: Options {
                required_features: ascending(
                    self.required_features.as_deref().map(words).unwrap_or_default(),
                ),
                prefer_local: is_one(&self.prefer_local).unwrap_or(false),
                allow_substitutes: is_one(&self.allow_substitutes).unwrap_or(true),
                parallel: is_one(&self.parallel).unwrap_or(false),
            },
        }
    }
}

/// What was found.
#[derive(Debug)]
pub(super) struct Attributes {
    pub(super) pname: Option<String>,
    pub(super) version: Option<String>,
    pub(super) options: Options,
}

/// The same attributes among structured ones.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structured {
    pname: Option<Value>,
    version: Option<Value>,
    required_system_features: Option<Value>,
    prefer_local_build: Option<Value>,
    allow_substitutes: Option<Value>,
    enable_parallel_building: Option<Value>,
}

impl Structured {
    fn parse(json: &str) -> Result<Self, BadDerivation> {
        serde_json::from_str(json).map_err(|error| BadDerivation::Structured(error.to_string()))
    }

    fn read(self) -> Result<Attributes, BadDerivation> {
        let text = |value| match value {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        Ok(Attributes {
            pname: text(self.pname),
            version: text(self.version),
            options: Options {
                required_features: features(self.required_system_features)?,
                prefer_local: boolean(self.prefer_local_build, "preferLocalBuild")?.unwrap_or(false),
                allow_substitutes: boolean(self.allow_substitutes, "allowSubstitutes")?.unwrap_or(true),
                // Nix gives this one no meaning, so it may be anything.
                parallel: self.enable_parallel_building == Some(Value::Bool(true)),
            },
        })
    }
}

fn boolean(value: Option<Value>, name: &'static str) -> Result<Option<bool>, BadDerivation> {
    match value {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(_) => Err(BadDerivation::Attribute { name, wanted: "a boolean" }),
    }
}

fn features(value: Option<Value>) -> Result<Vec<String>, BadDerivation> {
    let bad = || BadDerivation::Attribute { name: "requiredSystemFeatures", wanted: "a list of strings" };
    let text = |item| match item {
        Value::String(text) => Ok(text),
        _ => Err(bad()),
    };
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(ascending(items.into_iter().map(text).collect::<Result<_, _>>()?)),
        Some(_) => Err(bad()),
    }
}

fn ascending(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(pairs: &[(&str, &'a str)]) -> Environment<'a> {
        let mut env = Environment::default();
        for (name, value) in pairs {
            *env.slot(name.as_bytes()).unwrap() = Some(Cow::Borrowed(value));
        }
        env
    }

    #[test]
    fn reads_strings() {
        let env = environment(&[
            ("pname", "hello"),
            ("version", ""),
            ("requiredSystemFeatures", " kvm\n big-parallel kvm"),
            ("preferLocalBuild", "1"),
            ("allowSubstitutes", ""),
            ("enableParallelBuilding", "true"),
        ]);
        insta::assert_debug_snapshot!(env.read(None).unwrap(), @r#"
        Attributes {
            pname: Some(
                "hello",
            ),
            version: None,
            options: Options {
                required_features: [
                    "big-parallel",
                    "kvm",
                ],
                prefer_local: true,
                allow_substitutes: false,
                parallel: false,
            },
        }
        "#);
        assert_eq!(Environment::default().read(None).unwrap().options, Options::default());
    }

    #[test]
    fn structured_attributes_silence_the_environment() {
        let json =
            r#"{"pname":"a","version":3,"preferLocalBuild":false,"enableParallelBuilding":true,"x":[{}]}"#;
        let strings = [("pname", "b"), ("preferLocalBuild", "1"), ("allowSubstitutes", ""), ("__json", json)];
        let beside = environment(&strings[..3]).read(Some(json)).unwrap();
        let inside = environment(&strings).read(None).unwrap();
        for found in [beside, inside] {
            assert_eq!((found.pname.as_deref(), found.version), (Some("a"), None));
            assert_eq!(found.options, Options { parallel: true, ..Options::default() });
        }
    }

    #[test]
    fn refuses_what_nix_refuses() {
        let error = |json| Environment::default().read(Some(json)).unwrap_err().to_string();
        insta::assert_snapshot!(error(r#"{"preferLocalBuild":"1"}"#), @"its attribute 'preferLocalBuild' is not a boolean");
        insta::assert_snapshot!(error(r#"{"requiredSystemFeatures":"kvm"}"#), @"its attribute 'requiredSystemFeatures' is not a list of strings");
        insta::assert_snapshot!(error(r#"{"requiredSystemFeatures":[1]}"#), @"its attribute 'requiredSystemFeatures' is not a list of strings");
        insta::assert_snapshot!(error(r#"{"pname":"a","#), @"its structured attributes are not right: EOF while parsing a value at line 1 column 13");
        insta::assert_snapshot!(error("[]"), @"its structured attributes are not right: invalid length 0, expected struct Structured with 6 elements at line 1 column 2");
    }
}
